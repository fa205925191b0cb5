"""Telephone companding: a logarithm, 256 levels, and back."""

import numpy as np
from numpy.typing import NDArray

from earwitness.augment.base import Augment, Drawn, Wave
from earwitness.errors import SettingsError

__all__ = ["ALaw", "MuLaw"]

_A = 87.6  # ITU-T G.711


class MuLaw(Augment):
    """Companding by the continuous mu-law, ``levels`` values, and expanding again.

    ``sign(x) log(1 + mu |x|) / log(1 + mu)`` with ``mu = levels - 1``, rounded to ``levels`` values
    spread evenly over [-1, 1]: the arithmetic of torchaudio's ``MuLawEncoding`` and ``MuLawDecoding``,
    which augmentation chains use. Samples beyond [-1, 1] are clipped, for which torchaudio makes codes
    beyond ``levels``. An even number of values has none at zero: silence comes out at 8.6e-5. The
    piecewise form of ITU-T G.711 at 8 kHz is ``codec`` with ``codecs = ["mu_law"]``. Nothing is drawn.

    >>> MuLaw()(np.resize([0.5, -0.01], 400), np.random.default_rng(0))[0][:2].round(4)
    array([ 0.4967, -0.0102], dtype=float32)

    Raises:
        SettingsError: under 2 levels.
    """

    def __init__(self, *, levels: int = 256):
        _require_levels("mu_law", levels)
        self.levels = levels

    def draw(self, rng: np.random.Generator, samples: int) -> Drawn:
        """Nothing."""
        return {}

    def change(self, wave: Wave, drawn: Drawn) -> NDArray[np.float64]:
        """There and back."""
        mu, size = self.levels - 1, _size(wave)
        code = _nearest(np.copysign(np.log1p(mu * size) / np.log1p(mu), wave), self.levels)
        values = _values(self.levels)
        return np.copysign(np.expm1(np.abs(values) * np.log1p(mu)) / mu, values)[code]


class ALaw(Augment):
    """Companding by the continuous A-law with A = 87.6, ``levels`` values, and expanding again.

    Linear below 1/A, logarithmic above (ITU-T G.711); rounded and clipped as `MuLaw`. Nothing is drawn.

    >>> ALaw()(np.resize([0.5, -0.01], 400), np.random.default_rng(0))[0][:2].round(4)
    array([ 0.5032, -0.01  ], dtype=float32)

    Raises:
        SettingsError: under 2 levels.
    """

    def __init__(self, *, levels: int = 256):
        _require_levels("a_law", levels)
        self.levels = levels

    def draw(self, rng: np.random.Generator, samples: int) -> Drawn:
        """Nothing."""
        return {}

    def change(self, wave: Wave, drawn: Drawn) -> NDArray[np.float64]:
        """There and back."""
        size, span = _size(wave), 1 + np.log(_A)
        coded = np.where(size < 1 / _A, _A * size, 1 + np.log(np.maximum(_A * size, 1))) / span
        code = _nearest(np.copysign(coded, wave), self.levels)
        values = _values(self.levels)
        size = np.abs(values) * span
        return np.copysign(np.where(size < 1, size, np.exp(size - 1)) / _A, values)[code]


def _size(wave: Wave) -> NDArray[np.float64]:
    return np.minimum(np.abs(wave.astype(np.float64)), 1)


def _values(levels: int) -> NDArray[np.float64]:
    """All values there are, spread evenly over [-1, 1]."""
    return np.linspace(-1, 1, levels)


def _nearest(coded: NDArray[np.float64], levels: int) -> NDArray[np.int64]:
    """The number of the nearest value; halfway it is the upper one."""
    return ((coded + 1) / 2 * (levels - 1) + 0.5).astype(np.int64)


def _require_levels(what: str, levels: int) -> None:
    if levels < 2:
        raise SettingsError(f"{what}: levels is {levels}, expected at least 2.")
