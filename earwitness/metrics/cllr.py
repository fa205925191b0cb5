"""Log-likelihood-ratio cost: how much information scores carry, wrong scale and shift included."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.metrics.base import both_classes, metric
from earwitness.metrics.curves import Sweep

__all__ = ["cllr"]


def _bits(ratios: NDArray[np.float64]) -> NDArray[np.float64]:
    """``log2(1 + exp(-ratio))``, without overflow."""
    return np.logaddexp(0.0, -ratios) / np.log(2)


def _of_sweep(counts: Sweep) -> NDArray[np.float64]:
    ratios = counts.thresholds[:-1]
    bonafide = np.diff(counts.bonafide, axis=-1) @ _bits(ratios) / counts.bonafide[..., -1]
    spoof = np.diff(counts.spoof, axis=-1) @ _bits(-ratios) / counts.spoof[..., -1]
    return (bonafide + spoof) / 2


@metric(lower_is_better=True, of_sweep=_of_sweep, order_only=False)
def cllr(bonafide: ArrayLike, spoof: ArrayLike) -> float:
    """Cllr in bits: 0 for perfect log-likelihood ratios, 1 for scores that are all 0.

    ``1/2 [mean over bonafide of log2(1 + e^-s) + mean over spoof of log2(1 + e^s)]``, Brümmer & du
    Preez, "Application-independent evaluation of speaker detection", Computer Speech & Language
    2006. Scores are read as natural-log likelihood ratios; a value above 1 says that they mislead,
    however well they order the trials (`min_cllr` is what is left after the best monotone map).

    Args:
        bonafide: ``(n_bonafide,)`` log-likelihood ratios, finite.
        spoof: ``(n_spoof,)`` log-likelihood ratios, finite.

    Returns:
        Bits, from 0 without an upper limit.

    Raises:
        ProtocolError: an array is not one-dimensional, empty, or not finite.

    >>> cllr([2.0, 1.5, 0.3, -0.2, 3.1], [-3.0, -1.0, 0.4, -0.7, -2.2, -0.5, 1.0])
    0.6167862858865861
    """
    bonafide, spoof = both_classes(bonafide, spoof)
    return float((_bits(bonafide).mean() + _bits(-spoof).mean()) / 2)
