"""A speaking machine: glottal pulses and noise through moving formants.

Source-filter synthesis after Fant (1960) and Klatt (1980): a Rosenberg glottal flow with jitter
and shimmer, breath that follows the flow, cascaded resonators that glide from phone to phone, and
noise bands for fricatives and bursts. It babbles; it says nothing. Units: hertz, seconds, amplitude
relative to a full vowel.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import convolve1d

from earwitness.audio import SAMPLE_RATE
from earwitness.corpora._spectra import HOP, POINTS, at_samples, frame_count, move_filter

__all__ = ["Speaker", "draw_speaker", "speak"]

_STEP = 32  # samples between two values of a control track: 2 ms


class _Phone(NamedTuple):
    """Targets of one stretch of speech; noise is a band of ``width`` around ``centre``."""

    seconds: float
    f1: float
    f2: float
    f3: float
    voice: float
    breath: float = 0.0
    noise: float = 0.0
    centre: float = 4000.0
    width: float = 1500.0


_PAUSE = _Phone(0.12, 500, 1500, 2500, 0.0)
# Formants of men's vowels: Peterson and Barney (1952), table II.
_VOWELS = tuple(
    _Phone(0.11, *formants, voice=1.0)
    for formants in (
        (270, 2290, 3010),
        (390, 1990, 2550),
        (530, 1840, 2480),
        (660, 1720, 2410),
        (730, 1090, 2440),
        (570, 840, 2410),
        (300, 870, 2240),
        (490, 1350, 1690),
    )
)
# A consonant is one or more stretches: a plosive closes, bursts and breathes.
_CONSONANTS = (
    (_Phone(0.09, 320, 1700, 2600, 0.0, noise=0.35, centre=6200, width=1300),),  # s
    (_Phone(0.09, 320, 1900, 2500, 0.0, noise=0.40, centre=3400, width=1000),),  # sh
    (_Phone(0.08, 340, 1100, 2300, 0.0, noise=0.12, centre=5000, width=3000),),  # f
    (_Phone(0.07, 280, 1700, 2600, 0.4, noise=0.20, centre=6000, width=1300),),  # z
    (_Phone(0.06, 500, 1500, 2500, 0.0, breath=0.9),),  # h
    (_Phone(0.07, 260, 1050, 2300, 0.45),),  # m
    (_Phone(0.07, 270, 1500, 2500, 0.45),),  # n
    (_Phone(0.06, 360, 1100, 2700, 0.6),),  # l
    (_Phone(0.06, 290, 2200, 3000, 0.7),),  # y
    (_Phone(0.06, 300, 700, 2200, 0.7),),  # w
    (
        _Phone(0.06, 300, 800, 2200, 0.0),
        _Phone(0.010, 300, 800, 2200, 0.0, noise=0.4, centre=900, width=900),
        _Phone(0.03, 400, 900, 2300, 0.0, breath=0.6),
    ),  # p
    (
        _Phone(0.06, 300, 1800, 2700, 0.0),
        _Phone(0.012, 300, 1800, 2700, 0.0, noise=0.7, centre=4500, width=1500),
        _Phone(0.03, 400, 1750, 2600, 0.0, breath=0.6),
    ),  # t
    (
        _Phone(0.06, 300, 2000, 2300, 0.0),
        _Phone(0.015, 300, 2000, 2300, 0.0, noise=0.6, centre=2100, width=600),
        _Phone(0.03, 400, 1900, 2300, 0.0, breath=0.6),
    ),  # k
    (
        _Phone(0.05, 220, 1750, 2600, 0.15),
        _Phone(0.008, 300, 1750, 2600, 0.1, noise=0.4, centre=4000, width=1500),
    ),  # d
)


@dataclass(frozen=True)
class Speaker:
    """Who babbles: mean pitch, vocal tract, habits."""

    name: str
    pitch: float  # Hz
    tract: float  # formants are multiplied by this; above 1 is a shorter tract
    open_quotient: float  # share of a glottal cycle with open folds
    breathiness: float
    rate: float  # phones are this much faster than the table
    jitter: float  # standard deviation of a pulse's time, in periods
    shimmer: float  # standard deviation of a pulse's amplitude


def draw_speaker(name: str, rng: np.random.Generator) -> Speaker:
    """Draw a speaker; low voices have long tracts.

    >>> draw_speaker("x", np.random.default_rng(0)) == draw_speaker("x", np.random.default_rng(0))
    True
    """
    height = rng.uniform(0, 1)
    return Speaker(
        name,
        pitch=float(95 * (230 / 95) ** height * np.exp(0.06 * rng.normal())),
        tract=float(0.94 + 0.2 * height + 0.02 * rng.normal()),
        open_quotient=rng.uniform(0.5, 0.7),
        breathiness=rng.uniform(0.03, 0.12),
        rate=rng.uniform(0.9, 1.3),
        jitter=rng.uniform(0.004, 0.009),
        shimmer=rng.uniform(0.03, 0.07),
    )


def speak(speaker: Speaker, samples: int, lead: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Babble for ``samples`` samples after ``lead`` seconds of silence; the level is arbitrary.

    >>> rng = np.random.default_rng(0)
    >>> speak(draw_speaker("x", rng), 16_000, 0.05, rng).shape
    (16000,)
    """
    phones = _plan(speaker, samples / SAMPLE_RATE, lead, rng)
    formants, levels, bands = _tracks(phones, samples)
    voice, breath, noise = levels
    flow, glottis = _glottal_source(speaker, samples, rng)
    hiss = rng.normal(size=samples) * (breath + speaker.breathiness * voice * (0.3 + flow))
    throat = _tract_response(formants, speaker.tract)
    return move_filter(
        (glottis * voice + 0.25 * hiss, throat),
        (rng.normal(size=samples) * noise, _band_response(bands)),
    )


def _plan(
    speaker: Speaker, seconds: float, lead: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Rows of phones, syllable by syllable, stretched to end shortly before ``seconds``."""
    end = seconds - 0.06
    phones: list[_Phone] = []
    while sum(p.seconds for p in phones) < (end - lead):
        phones.extend(_syllable(speaker, rng))
    rows = np.array(phones)
    rows[:, 0] *= (end - lead) / rows[:, 0].sum()
    silence = np.array([_PAUSE._replace(seconds=lead), _PAUSE._replace(seconds=seconds - end)])
    return np.concatenate([silence[:1], rows, silence[1:]])


def _syllable(speaker: Speaker, rng: np.random.Generator) -> list[_Phone]:
    """A consonant, a vowel, now and then a second consonant or a pause."""
    onset = _CONSONANTS[rng.integers(len(_CONSONANTS))]
    vowel = _VOWELS[rng.integers(len(_VOWELS))]
    vowel = vowel._replace(seconds=vowel.seconds * rng.uniform(0.7, 1.7), voice=rng.uniform(0.5, 1))
    phones = [*onset, vowel]
    if rng.random() < 0.3:
        phones.extend(_CONSONANTS[rng.integers(len(_CONSONANTS))])
    phones = [p._replace(seconds=p.seconds / speaker.rate * rng.uniform(0.85, 1.2)) for p in phones]
    return [*phones, _PAUSE] if rng.random() < 0.12 else phones


def _tracks(
    phones: NDArray[np.float64], samples: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Formants and bands, one row a frame, and the levels of voice, breath, noise, one a sample."""
    ends = np.cumsum(phones[:, 0]) * SAMPLE_RATE
    times = np.arange(0, samples + HOP + _STEP, _STEP)
    targets = phones[np.minimum(np.searchsorted(ends, times, side="right"), len(phones) - 1), 1:]
    frames = np.minimum(np.arange(frame_count(samples)) * (HOP // _STEP), len(times) - 1)
    formants = _glide(targets[:, :3], 0.07)[frames]
    levels = _glide(targets[:, 3:6], 0.016)
    at_samples = [np.interp(np.arange(samples), times, level) for level in levels.T]
    return formants, np.array(at_samples), targets[frames, 6:]


def _glide(track: NDArray[np.float64], seconds: float) -> NDArray[np.float64]:
    """Smooth steps into transitions that last ``seconds``."""
    kernel = np.hanning(2 * int(seconds * SAMPLE_RATE / _STEP / 2) + 3)
    return convolve1d(track, kernel / kernel.sum(), axis=0, mode="nearest")


def _pitch(speaker: Speaker, samples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """F0 in Hz at each sample: it declines, and accents rise from it."""
    time = np.arange(frame_count(samples)) * HOP / SAMPLE_RATE
    melody = 0.12 - 0.25 * time / time[-1]
    for _ in range(1 + rng.poisson(2 * time[-1])):
        height, centre = 0.14 * rng.normal(), rng.uniform(0, time[-1])
        melody += height * np.exp(-(((time - centre) / 0.1) ** 2))
    return at_samples(speaker.pitch * np.exp(melody), samples)


def _glottal_source(
    speaker: Speaker, samples: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rosenberg's glottal flow (1971, pulse C), in 0..1, and its derivative with shimmer.

    The derivative is taken of the sampled flow, which damps the aliases of the closing edge.
    """
    cycles = np.cumsum(_pitch(speaker, samples, rng)) / SAMPLE_RATE
    numbers = np.arange(int(cycles[-1]) + 2)
    instants = np.interp(numbers, cycles, np.arange(samples))
    instants += speaker.jitter * rng.normal(size=len(numbers)) * SAMPLE_RATE / speaker.pitch
    cycles = np.interp(np.arange(samples), instants, numbers)
    number, phase = cycles.astype(int), cycles % 1.0
    closing = speaker.open_quotient * 0.3
    opening = speaker.open_quotient - closing
    rise = 0.5 - 0.5 * np.cos(np.pi * phase / opening)
    fall = np.cos(np.pi / 2 * (phase - opening) / closing)
    flow = np.where(phase < opening, rise, np.where(phase < opening + closing, fall, 0.0))
    strength = 1 + speaker.shimmer * rng.normal(size=len(numbers))
    period = SAMPLE_RATE / speaker.pitch
    return flow, np.diff(flow * strength[number], prepend=0.0) * period / 20


def _tract_response(formants: NDArray[np.float64], tract: float) -> NDArray[np.complex128]:
    """Klatt's cascade: three moving resonators and four that stay, unity gain at 0 Hz."""
    fixed = np.broadcast_to([3500.0, 4500.0, 5500.0, 6500.0], (len(formants), 4))
    centres = np.minimum(np.concatenate([formants, fixed], axis=1) * tract, 7800)
    widths = np.array([70.0, 90.0, 130.0, 200.0, 280.0, 350.0, 400.0])
    radius = np.exp(-np.pi * widths / SAMPLE_RATE)
    poles = -2 * radius * np.cos(2 * np.pi * centres / SAMPLE_RATE)
    denominator = np.zeros((len(formants), 1 + 2 * len(widths)))
    denominator[:, 0] = 1
    for pole, r in zip(poles.T[:, :, None], radius, strict=True):  # times 1 + pole z + r^2 z^2
        denominator[:, 2:] += pole * denominator[:, 1:-1] + r**2 * denominator[:, :-2]
        denominator[:, 1:2] += pole
    return denominator.sum(axis=1, keepdims=True) / fft.rfft(denominator, POINTS)


def _band_response(bands: NDArray[np.float64]) -> NDArray[np.float64]:
    """A bell over frequency for each frame."""
    frequency = fft.rfftfreq(POINTS, 1 / SAMPLE_RATE)
    centre, width = bands.T[:, :, None]
    return np.exp(-0.5 * ((frequency - centre) / width) ** 2)
