"""Butterworth filters: low-pass, high-pass, band-pass, band-stop.

Frequencies are drawn uniformly over the mel scale and steepness in steps of 6 dB per octave, from the
ranges of audiomentations 0.43. A filter starts from rest, as if silence went before.
"""

from abc import ABC

import numpy as np
from numpy.typing import NDArray

from earwitness.audio import SAMPLE_RATE
from earwitness.augment.base import Augment, Drawn, Wave, draw_mel, require_range
from earwitness.errors import SettingsError

__all__ = ["BandPass", "BandStop", "HighPass", "LowPass"]

_HIGHEST = 0.9999 * SAMPLE_RATE / 2  # a band that reaches half the rate is cut there


class _Edge(Augment, ABC):
    """One cut-off, where the power is halved."""

    kind: str

    def __init__(self, cutoff: tuple[float, float], rolloff: tuple[int, int]):
        require_range(f"{self.kind}_pass: cutoff", cutoff, 1, SAMPLE_RATE / 2)
        _require_rolloff(f"{self.kind}_pass", rolloff)
        self.cutoff, self.rolloff = cutoff, rolloff

    def draw(self, rng: np.random.Generator, samples: int) -> Drawn:
        """The cut-off in Hz and the steepness in dB per octave."""
        return {"cutoff": draw_mel(rng, self.cutoff), "rolloff": _draw_rolloff(rng, self.rolloff)}

    def change(self, wave: Wave, drawn: Drawn) -> NDArray[np.float64]:
        """Filter."""
        return _filtered(wave, drawn["rolloff"], min(drawn["cutoff"], _HIGHEST), f"{self.kind}pass")


class LowPass(_Edge):
    """What lies above a cut-off is weakened, by ``rolloff`` dB per octave (Butterworth 1930).

    >>> tone = np.sin(np.arange(16_000) * 2 * np.pi * 6000 / 16_000)
    >>> low = LowPass(cutoff=(1000.0, 1000.0))(tone, np.random.default_rng(0))[0]
    >>> bool(np.abs(low[1000:]).max() < 0.02)
    True

    Raises:
        SettingsError: a cut-off that isn't within 1 to 8000 Hz; a roll-off that isn't in steps of 6 dB.
    """

    kind = "low"

    def __init__(
        self, *, cutoff: tuple[float, float] = (150.0, 7500.0), rolloff: tuple[int, int] = (12, 24)
    ):
        super().__init__(cutoff, rolloff)


class HighPass(_Edge):
    """What lies below a cut-off is weakened, by ``rolloff`` dB per octave (Butterworth 1930).

    >>> high = HighPass()(np.ones(16_000), np.random.default_rng(0))[0]
    >>> bool(abs(high[-1]) < 0.001)
    True

    Raises:
        SettingsError: a cut-off that isn't within 1 to 8000 Hz; a roll-off that isn't in steps of 6 dB.
    """

    kind = "high"

    def __init__(
        self, *, cutoff: tuple[float, float] = (20.0, 2400.0), rolloff: tuple[int, int] = (12, 24)
    ):
        super().__init__(cutoff, rolloff)


class _Band(Augment, ABC):
    """A band around a centre, at whose edges the power is halved."""

    kind: str

    def __init__(
        self, centre: tuple[float, float], fraction: tuple[float, float], rolloff: tuple[int, int]
    ):
        require_range(f"band_{self.kind}: centre", centre, 10, 0.99 * SAMPLE_RATE / 2)
        require_range(f"band_{self.kind}: fraction", fraction, 0.01, 1.99)
        _require_rolloff(f"band_{self.kind}", rolloff)
        self.centre, self.fraction, self.rolloff = centre, fraction, rolloff

    def draw(self, rng: np.random.Generator, samples: int) -> Drawn:
        """Centre and width in Hz, and the steepness in dB per octave."""
        centre = draw_mel(rng, self.centre)
        width = centre * rng.uniform(*self.fraction)
        return {"centre": centre, "width": width, "rolloff": _draw_rolloff(rng, self.rolloff)}

    def change(self, wave: Wave, drawn: Drawn) -> NDArray[np.float64]:
        """Filter."""
        half = drawn["width"] / 2
        edges = [drawn["centre"] - half, min(drawn["centre"] + half, _HIGHEST)]
        return _filtered(wave, drawn["rolloff"], edges, f"band{self.kind}")


class BandPass(_Band):
    """Only a band is left, ``fraction`` of its centre wide (Butterworth 1930).

    >>> band = BandPass(centre=(2000.0, 2000.0))(np.ones(16_000), np.random.default_rng(0))[0]
    >>> bool(abs(band[-1]) < 0.001)
    True

    Raises:
        SettingsError: a centre that isn't within 10 to 7920 Hz, a fraction that isn't within 0.01 to
        1.99,
            or a roll-off that isn't in steps of 6 dB.
    """

    kind = "pass"

    def __init__(
        self,
        *,
        centre: tuple[float, float] = (200.0, 4000.0),
        fraction: tuple[float, float] = (0.5, 1.99),
        rolloff: tuple[int, int] = (12, 24),
    ):
        super().__init__(centre, fraction, rolloff)


class BandStop(_Band):
    """A band is taken out, ``fraction`` of its centre wide (Butterworth 1930).

    >>> rest = BandStop(centre=(2000.0, 2000.0))(np.ones(16_000), np.random.default_rng(0))[0]
    >>> bool(abs(rest[-1] - 1) < 0.01)
    True

    Raises:
        SettingsError: as `BandPass`.
    """

    kind = "stop"

    def __init__(
        self,
        *,
        centre: tuple[float, float] = (200.0, 4000.0),
        fraction: tuple[float, float] = (0.5, 1.99),
        rolloff: tuple[int, int] = (12, 24),
    ):
        super().__init__(centre, fraction, rolloff)


def _require_rolloff(what: str, rolloff: tuple[int, int]) -> None:
    require_range(f"{what}: rolloff", rolloff, 6, 96)
    if any(one % 6 for one in rolloff):
        raise SettingsError(
            f"{what}: rolloff is {list(rolloff)}, expected multiples of 6 dB per octave."
        )


def _draw_rolloff(rng: np.random.Generator, rolloff: tuple[int, int]) -> int:
    return 6 * int(rng.integers(rolloff[0] // 6, rolloff[1] // 6, endpoint=True))


def _filtered(wave: Wave, rolloff: int, edges: float | list[float], kind: str) -> NDArray[np.float64]:
    from scipy.signal import butter, sosfilt

    sections = butter(rolloff // 6, edges, btype=kind, fs=SAMPLE_RATE, output="sos")
    return sosfilt(sections, wave.astype(np.float64))
