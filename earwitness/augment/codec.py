"""The clip through a lossy codec and back.

Besides `earwitness.audio` the only place that knows PyAV and libsndfile.
"""

import io
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from earwitness.audio import SAMPLE_RATE
from earwitness.augment._resampling import resampled
from earwitness.augment.base import Augment, Drawn, Wave
from earwitness.errors import MissingExtra, SettingsError, nearest

__all__ = ["CODECS", "Codec", "offered"]

_TAIL = 3200  # zeros after the clip, so that what a codec holds back comes out


class _Format(NamedTuple):
    encoder: str
    decoder: str
    rate: int  # Hz
    kbps: tuple[float, ...]  # the usual ones
    bounds: tuple[float, float] | None = None  # of all others; where None, there are no others


_AMR_NB = (4.75, 5.15, 5.9, 6.7, 7.4, 7.95, 10.2, 12.2)
_AMR_WB = (6.6, 8.85, 12.65, 14.25, 15.85, 18.25, 19.85, 23.05, 23.85)
CODECS = {
    "mp3": _Format("libmp3lame", "mp3float", 16_000, (16, 24, 32, 48, 64), (8, 160)),
    "aac": _Format("aac", "aac", 16_000, (16, 24, 32, 48, 64), (8, 96)),
    "opus": _Format("libopus", "libopus", 16_000, (8, 12, 16, 24, 32), (6, 256)),
    "speex": _Format("libspeex", "speex", 16_000, (8, 12, 16, 24), (4, 42)),
    "amr_nb": _Format("libopencore_amrnb", "amrnb", 8000, _AMR_NB),
    "amr_wb": _Format("libvo_amrwbenc", "amrwb", 16_000, _AMR_WB),
    "gsm": _Format("libsndfile", "libsndfile", 8000, (13,)),
    "g722": _Format("g722", "g722", 16_000, (64,)),
    "g723_1": _Format("g723_1", "g723_1", 8000, (6.3,)),
    "mu_law": _Format("pcm_mulaw", "pcm_mulaw", 8000, (64,)),
    "a_law": _Format("pcm_alaw", "pcm_alaw", 8000, (64,)),
}


class Codec(Augment):
    """The clip encoded and decoded by one of ``codecs`` at one of ``kbps``, each equally likely.

    Encoders are FFmpeg's, through PyAV, and GSM 06.10 is libsndfile's. Known are mp3, aac, opus, speex,
    amr_nb, amr_wb, gsm, g722, g723_1, and mu_law and a_law (ITU-T G.711); which of them can be had
    depends on how PyAV was built, and `offered` lists them: the wheels of PyAV 18 have no encoder for
    speex and amr_wb. Narrow-band codecs go through 8 kHz. Without ``kbps`` a codec has its usual ones.

    Length is kept. The delay of each codec is measured once, with noise, and taken away, to a sample at
    16 kHz; codecs don't keep a wave's shape, so this is as near as a wave comes to where it was.
    Samples beyond [-1, 1] may be clipped.

    >>> tone = 0.3 * np.sin(np.arange(16_000) / 9)
    >>> coded, drawn = Codec(codecs=("mu_law",))(tone, np.random.default_rng(0))
    >>> drawn, len(coded), bool(np.abs(coded - tone)[400:-400].max() < 0.02)
    ({'codec': 'mu_law', 'kbps': 64.0}, 16000, True)

    Raises:
        MissingExtra: PyAV isn't installed.
        SettingsError: an unknown codec, one that this PyAV can't encode, or a bit rate it doesn't have.
    """

    def __init__(
        self, *, codecs: tuple[str, ...] = ("mp3", "aac", "opus"), kbps: tuple[float, ...] = ()
    ):
        if not codecs:
            raise SettingsError(f"codec: codecs is empty; choose from: {', '.join(CODECS)}.")
        for name in codecs:
            _require_codec(name)
            _require_rates(name, kbps)
        self.codecs, self.kbps = codecs, kbps

    def draw(self, rng: np.random.Generator, samples: int) -> Drawn:
        """The codec and its bit rate in kbit/s."""
        codec = self.codecs[rng.integers(len(self.codecs))]
        kbps = self.kbps or CODECS[codec].kbps
        return {"codec": codec, "kbps": float(kbps[rng.integers(len(kbps))])}

    def change(self, wave: Wave, drawn: Drawn) -> Wave:
        """Encode, decode, take away the delay."""
        codec, kbps = drawn["codec"], drawn["kbps"]
        late = _there_and_back(wave, codec, kbps)[_delay(codec, kbps) :][: len(wave)]
        return np.pad(late, (0, len(wave) - len(late)))


def offered() -> list[str]:
    """The codecs that can be encoded and decoded here.

    >>> {"mp3", "gsm", "mu_law"} <= set(offered())
    True

    Raises:
        MissingExtra: PyAV isn't installed.
    """
    return [name for name, format_ in CODECS.items() if name == "gsm" or _has(format_)]


def _has(format_: _Format) -> bool:
    av = _pyav()
    try:
        av.Codec(format_.encoder, "w")
        av.Codec(format_.decoder, "r")
    except av.codec.codec.UnknownCodecError:
        return False
    return True


def _pyav() -> Any:
    try:
        import av
    except ImportError:
        raise MissingExtra("the augmentation 'codec'", "codecs") from None
    return av


def _require_codec(name: str) -> None:
    if name not in CODECS:
        known = ", ".join(CODECS)
        raise SettingsError(
            f"codec: no codec is called {name!r}{nearest(name, CODECS)} Known: {known}."
        )
    if name not in offered():
        raise SettingsError(
            f"codec: the installed PyAV has no {CODECS[name].encoder}, which encodes {name!r}; "
            f"offered here: {', '.join(offered())}."
        )


def _require_rates(name: str, kbps: tuple[float, ...]) -> None:
    listed, bounds = CODECS[name].kbps, CODECS[name].bounds
    for one in kbps:
        if not (bounds[0] <= one <= bounds[1] if bounds else one in listed):
            rates = " to ".join(map(str, bounds)) if bounds else ", ".join(map(str, listed))
            raise SettingsError(f"codec: {name!r} has no {one:g} kbit/s, expected {rates}.")


@cache
def _delay(codec: str, kbps: float) -> int:
    """Samples by which a codec's output is late: where noise and coded noise are most alike."""
    from scipy import fft

    probe = (0.1 * np.random.default_rng(0).standard_normal(SAMPLE_RATE)).astype(np.float32)
    coded = _there_and_back(probe, codec, kbps)
    points = len(probe) + len(coded)
    alike = fft.irfft(fft.rfft(coded, points) * fft.rfft(probe, points).conj(), points)
    return int(np.abs(alike[:_TAIL]).argmax())


def _there_and_back(wave: Wave, codec: str, kbps: float) -> Wave:
    """Encoded and decoded, late, and longer than it was."""
    format_ = CODECS[codec]
    padded = np.pad(wave, (0, _TAIL))
    given = resampled(padded, SAMPLE_RATE, format_.rate, -(-len(padded) * format_.rate // SAMPLE_RATE))
    if codec == "gsm":
        coded, rate = _through_libsndfile(given, format_.rate), format_.rate
    else:
        coded, rate = _through_pyav(given, format_, kbps)
    return resampled(coded, rate, SAMPLE_RATE, len(coded) * SAMPLE_RATE // rate)


def _through_libsndfile(wave: Wave, rate: int) -> Wave:
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, np.clip(wave, -1, 1), rate, format="WAV", subtype="GSM610")
    file.seek(0)
    return soundfile.read(file, dtype="float32")[0]


def _through_pyav(wave: Wave, format_: _Format, kbps: float) -> tuple[Wave, int]:
    """Decoded samples and their rate, which is the decoder's choice."""
    av = _pyav()
    encoder = av.CodecContext.create(format_.encoder, "w")
    encoder.sample_rate, encoder.layout = format_.rate, "mono"
    encoder.format = encoder.codec.audio_formats[-1 if format_.encoder == "libopus" else 0]
    if not format_.encoder.startswith("pcm"):
        encoder.bit_rate = round(1000 * kbps)
    encoder.open()
    decoder = av.CodecContext.create(format_.decoder, "r")
    decoder.sample_rate, decoder.layout = format_.rate, "mono"
    packets = [p for frame in _frames(av, wave, encoder) for p in encoder.encode(frame)]
    if encoder.extradata:
        decoder.extradata = encoder.extradata
    return _joined(av, [frame for packet in [*packets, None] for frame in decoder.decode(packet)])


def _joined(av: Any, frames: list[Any]) -> tuple[Wave, int]:
    rate = frames[0].sample_rate
    to_float = av.AudioResampler(format="flt", layout="mono", rate=rate)
    blocks = [one.to_ndarray()[0] for frame in frames for one in to_float.resample(frame)]
    return np.concatenate(blocks), rate


def _frames(av: Any, wave: Wave, encoder: Any) -> list[Any]:
    """The wave as an encoder wants it, in its sample format and frame length, and the end."""
    frame = av.AudioFrame.from_ndarray(wave[None], format="flt", layout="mono")
    frame.sample_rate = encoder.sample_rate
    cut = av.AudioResampler(
        format=encoder.format.name,
        layout="mono",
        rate=encoder.sample_rate,
        frame_size=encoder.frame_size or None,
    )
    return [*cut.resample(frame), *cut.resample(None), None]
