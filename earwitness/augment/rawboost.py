"""RawBoost: convolutive, impulsive and stationary noise for telephone speech."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from earwitness.audio import SAMPLE_RATE
from earwitness.augment.base import Augment, Drawn, Wave, add_at_ratio, draw_seed, require_range
from earwitness.errors import SettingsError

__all__ = ["RawBoost"]

_STAGES: dict[int, tuple[str, ...]] = {
    1: ("convolutive",),
    2: ("impulsive",),
    3: ("stationary",),
    4: ("convolutive", "impulsive", "stationary"),
    5: ("convolutive", "impulsive"),
    6: ("convolutive", "stationary"),
    7: ("impulsive", "stationary"),
    8: ("convolutive", "impulsive"),  # side by side, and summed
}
_GRID = 512  # frequencies from 0 to below half the rate at which a filter's peak is looked for
_BLOCK = 4096  # samples of an FFT block in the convolution
_EDGE = 1e-3  # Hz that a band edge keeps from 0 and from half the rate


class RawBoost(Augment):
    """RawBoost, all eight algorithms (Tak, Kamble, Patino, Todisco and Evans, ICASSP 2022).

    1. Linear and non-linear convolutive noise: ``y = sum_i b_i * x^i`` over ``orders`` powers of the
       wave, each through its own filter ``b_i`` of ``bands`` notches in cascade (windowed-sinc,
       Hamming) with a peak gain of ``gain`` dB, less ``bias`` for ``i > 1``; then without its mean.
    2. Impulsive, signal-dependent noise: a share of the samples, U(0, ``share``) per cent, gets
       ``x + strength * x * u * v`` with ``u``, ``v`` ~ U(-1, 1).
    3. Stationary, signal-independent noise: white noise through such a filter, at ``snr`` dB.
    4. 1, 2 and 3 in series. 5. 1 and 2. 6. 1 and 3. 7. 2 and 3.
    8. 1 and 2 side by side, summed.

    After 1, after 2 and after the sum of 8 a wave that leaves [-1, 1] is divided by its peak; 3 doesn't
    look at the peak. The defaults are those of the released code, github.com/TakHemlata/
    RawBoost-antispoofing, whose arithmetic is followed: given the same draws, a slow form of its
    definition agrees to 1e-6. That includes its habits: ``gain`` and ``bias`` are subtracted end by
    end, so that the default gain for ``i > 1`` is U(-20, -5) dB; an even number of taps gets one more;
    a filter's peak is looked for at 512 frequencies; and the result of 1 comes one sample early.

    Departures: from a generator and not from the global state; only the position of an impulse, not its
    place in a shuffle of the whole clip, is drawn (the same distribution); in 3 the noise isn't
    normalised by its peak and its filter has no gain, which the ratio that follows undoes anyway. The
    released code calls ``int()`` and ``float()`` on arrays of size one, which NumPy made an error in
    2.4, so that it, and every copy of it, stops there. It filters sample by sample, once for each
    power; here the powers are convolved by FFT, block by block, and summed between the transforms.

    Settings:
        algorithm: 1 to 8. orders: powers of the wave. bands: notches of a filter.
        centre, width: of a notch, Hz. taps: of a notch, low <= taps < high. gain, bias, snr: dB.
        share: the most samples with an impulse, per cent. strength: of an impulse.

    >>> wave = 0.1 * np.random.default_rng(0).normal(size=64_000)
    >>> boosted, drawn = RawBoost()(wave, np.random.default_rng(1))
    >>> boosted.shape, list(drawn), round(drawn["impulsive"]["percent"], 2)
    ((64000,), ['convolutive', 'impulsive'], 8.05)

    Raises:
        SettingsError: a range that isn't one, or a number below its least.
    """

    def __init__(
        self,
        *,
        algorithm: Literal[1, 2, 3, 4, 5, 6, 7, 8] = 5,
        orders: int = 5,
        bands: int = 5,
        centre: tuple[float, float] = (20.0, 8000.0),
        width: tuple[float, float] = (100.0, 1000.0),
        taps: tuple[int, int] = (10, 100),
        gain: tuple[float, float] = (0.0, 0.0),
        bias: tuple[float, float] = (5.0, 20.0),
        share: float = 10.0,
        strength: float = 2.0,
        snr: tuple[float, float] = (10.0, 40.0),
    ):
        require_range("rawboost: centre", centre, 0, SAMPLE_RATE / 2)
        require_range("rawboost: width", width, 1, SAMPLE_RATE / 2)
        require_range("rawboost: taps", taps, 3, 4096)
        for name, values in (("gain", gain), ("bias", bias), ("snr", snr)):
            require_range(f"rawboost: {name}", values)
        if algorithm not in _STAGES or orders < 1 or bands < 1 or not 0 <= share <= 100:
            told = f"algorithm {algorithm}, orders {orders}, bands {bands}, share {share}"
            raise SettingsError(
                f"rawboost has {told}; expected an algorithm 1 to 8, orders and bands of at least 1, "
                "and a share of 0 to 100 per cent."
            )
        self.algorithm, self.orders, self.bands = algorithm, orders, bands
        self.centre, self.width, self.taps = centre, width, taps
        self.gain, self.bias, self.snr = gain, bias, snr
        self.share, self.strength = share, strength

    def draw(self, rng: np.random.Generator, samples: int) -> Drawn:
        """The notches and gains of each filter, the share of impulses, a ratio; seeds for the noise."""
        draws = {
            "convolutive": lambda: {
                **self._draw_filters(rng, self.orders),
                "gain": [self._draw_gain(rng, order) for order in range(self.orders)],
            },
            "impulsive": lambda: {"percent": rng.uniform(0, self.share), "seed": draw_seed(rng)},
            "stationary": lambda: {
                **self._draw_filters(rng, 1),
                "snr": rng.uniform(*self.snr),
                "seed": draw_seed(rng),
            },
        }
        return {stage: draws[stage]() for stage in _STAGES[self.algorithm]}

    def _draw_filters(self, rng: np.random.Generator, count: int) -> Drawn:
        shape = (count, self.bands)
        low, high = self.taps
        return {
            "centre": rng.uniform(*self.centre, shape).tolist(),
            "width": rng.uniform(*self.width, shape).tolist(),
            "taps": (rng.integers(low, max(high, low + 1), shape) | 1).tolist(),  # odd, upwards
        }

    def _draw_gain(self, rng: np.random.Generator, order: int) -> float:
        shift = self.bias if order else (0.0, 0.0)
        start, end = self.gain[0] - shift[0], self.gain[1] - shift[1]
        return float(start + (end - start) * rng.random())

    def change(self, wave: Wave, drawn: Drawn) -> NDArray[np.float64]:
        """In series, or, for algorithm 8, side by side."""
        changed: NDArray[Any] = wave.astype(np.float64)
        if self.algorithm == 8:
            return _within_scale(
                _convolutive(changed, drawn["convolutive"])
                + self._impulsive(changed, drawn["impulsive"])
            )
        if "convolutive" in drawn:
            changed = _convolutive(changed, drawn["convolutive"])
        if "impulsive" in drawn:
            changed = self._impulsive(changed, drawn["impulsive"])
        return _stationary(changed, drawn["stationary"]) if "stationary" in drawn else changed

    def _impulsive(self, wave: NDArray[np.float64], drawn: Drawn) -> NDArray[np.float64]:
        rng = np.random.default_rng(drawn["seed"])
        count = int(len(wave) * (drawn["percent"] / 100))
        hit = rng.choice(len(wave), count, replace=False, shuffle=False)
        u, v = 2 * rng.random((2, count)) - 1
        changed = wave.copy()
        changed[hit] += self.strength * wave[hit] * u * v
        return _within_scale(changed)


def _convolutive(wave: NDArray[np.float64], drawn: Drawn) -> NDArray[np.float64]:
    summed = _filtered_powers(wave, _notch_filters(drawn, np.array(drawn["gain"])))
    return _within_scale(summed - summed.mean())


def _stationary(wave: NDArray[np.float64], drawn: Drawn) -> NDArray[np.float64]:
    white = np.random.default_rng(drawn["seed"]).standard_normal(len(wave))
    noise = _filtered_powers(white, _notch_filters(drawn, np.zeros(1)))
    return add_at_ratio(wave, noise, drawn["snr"])


def _within_scale(wave: NDArray[np.float64]) -> NDArray[np.float64]:
    peak = np.abs(wave).max()
    return wave / peak if peak > 1 else wave


def _notch_filters(drawn: Drawn, gain: NDArray[np.float64]) -> NDArray[np.float64]:
    """Symmetric filters (filter, 2 * half + 1), each the cascade of its notches, with its peak gain.

    All are centred, so they can be summed although their lengths differ.
    """
    from scipy import fft

    notches = _notches(*(np.array(drawn[key]) for key in ("centre", "width", "taps")))
    _, bands, length = notches.shape
    half = bands * (length // 2)
    points = max(2 * _GRID, 2 ** int(np.ceil(np.log2(2 * half + 1))))
    # Centred on sample 0 of the transform a symmetric filter has a real response.
    circular = np.zeros((*notches.shape[:2], points))
    circular[..., : length // 2 + 1] = notches[..., length // 2 :]
    circular[..., -(length // 2) :] = notches[..., : length // 2]
    response = fft.rfft(circular).real.prod(axis=1)
    grid = response[:, :: points // (2 * _GRID)][:, :_GRID]
    response *= (10 ** (gain / 20) / np.abs(grid).max(axis=1))[:, None]
    return np.roll(fft.irfft(response, points), half, axis=1)[:, : 2 * half + 1]


def _notches(
    centre: NDArray[np.float64], width: NDArray[np.float64], taps: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Band-stop filters by the window method, unit gain at 0 Hz: (filter, band, 2 * half + 1)."""
    nyquist = SAMPLE_RATE / 2
    low, high = centre - width / 2, centre + width / 2
    low = np.where(low <= 0, _EDGE, low)[..., None] / nyquist
    high = np.where(high >= nyquist, nyquist - _EDGE, high)[..., None] / nyquist
    reach = (taps[..., None] - 1) // 2
    place = np.arange(-reach.max(), reach.max() + 1)
    hamming = 0.54 + 0.46 * np.cos(np.pi * place / reach)
    ideal = low * np.sinc(low * place) + (place == 0) - high * np.sinc(high * place)
    notches = np.where(np.abs(place) <= reach, ideal * hamming, 0.0)
    return notches / notches.sum(axis=-1, keepdims=True)


def _filtered_powers(wave: NDArray[np.float64], filters: NDArray[np.float64]) -> NDArray[np.float64]:
    """``sum_i filters[i] * wave^(i + 1)`` of centred filters, one sample early.

    Overlap-save: the blocks of each power are transformed, and one transform leads back from the sum.
    """
    from scipy import fft

    half, samples = filters.shape[1] // 2, len(wave)
    block = max(_BLOCK, 2 ** int(np.ceil(np.log2(8 * half))))
    hop = block - 2 * half
    power = np.zeros(-(-samples // hop) * hop + 2 * half)
    inside = power[half - 1 : half - 1 + samples]
    inside[:] = 1
    blocks = np.lib.stride_tricks.sliding_window_view(power, block)[::hop]
    total: Any = 0
    for response in fft.rfft(filters, block):
        inside *= wave
        total += fft.rfft(blocks) * response
    return fft.irfft(total, block)[:, 2 * half :].ravel()[:samples]
