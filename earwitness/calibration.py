"""Calibration and fusion: scores of one or several systems to one log-likelihood ratio.

A calibrated score is a natural-log likelihood ratio, ``ln p(x | bonafide) / p(x | spoof)``: it says how
much a recording should move anybody's opinion, whatever they thought before, and a threshold follows
from prior and costs (`metrics.decisions.bayes_threshold`). It holds for trials like those it was fitted
on. Fit on development scores, never on those that are judged.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earwitness.errors import ProtocolError, SettingsError
from earwitness.files import read_text, write_json

__all__ = ["Calibration", "fit_affine", "fit_isotonic"]

_Floats = NDArray[np.float64]
# So that weights stay finite where a class is perfectly apart; far too weak to be seen elsewhere.
_RIDGE = 1e-9
_FORMAT = "earwitness-calibration-1"


@dataclass(frozen=True)
class Calibration:
    """A map from the scores of ``systems`` to log-likelihood ratios.

    An affine one has ``weights``, one a system, and ``offset``; an isotonic one has ``knots``, rising
    scores, and the ``ratios`` from each on. ``fitted_on`` says on what, for a reader; ``reading`` how
    the score files were read (`Scores.read`), so that others are read alike; ``scales`` what each of
    them said of its scale ("" = raw).

    >>> Calibration("affine", weights=(2.0,), offset=-1.0).apply([0.5, 1.0])
    array([0., 1.])
    """

    kind: Literal["affine", "isotonic"]
    weights: tuple[float, ...] = ()
    offset: float = 0.0
    knots: tuple[float, ...] = ()
    ratios: tuple[float, ...] = ()
    prior: float = 0.5
    fitted_on: str = ""
    reading: Mapping[str, Any] = field(default_factory=dict)
    scales: tuple[str, ...] = ()

    def apply(self, *scores: ArrayLike) -> _Floats:
        """Log-likelihood ratios of trials, from the scores of each system in order.

        Raises:
            ProtocolError: not as many systems as were fitted, or scores that are not finite.
        """
        columns = _columns(scores, "given")
        expected = len(self.weights) if self.kind == "affine" else 1
        if len(columns) != expected:
            raise ProtocolError(
                f"scores of {len(columns)} system(s) were given; the calibration is of {expected}."
            )
        if self.kind == "affine":
            return np.array(self.weights) @ columns + self.offset
        place = np.searchsorted(self.knots, columns[0], side="right") - 1
        return np.array(self.ratios)[np.maximum(place, 0)]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        own: dict[str, Any] = {"format": _FORMAT, "kind": self.kind, "prior": self.prior}
        if self.kind == "affine":
            own |= {"weights": list(self.weights), "offset": self.offset}
        else:
            own |= {"knots": list(self.knots), "ratios": list(self.ratios)}
        said = {"reading": dict(self.reading), "scales": list(self.scales)}
        return {**own, "fitted_on": self.fitted_on, **said}

    @classmethod
    def from_dict(cls, told: dict[str, Any], where: str = "calibration") -> "Calibration":
        """What `to_dict` gave.

        Raises:
            ProtocolError: it is something else.
        """
        if told.get("format") != _FORMAT or told.get("kind") not in ("affine", "isotonic"):
            raise ProtocolError(f"{where}: expected {_FORMAT!r}, found {told.get('format')!r}.")
        try:
            weights, knots, ratios = (
                tuple(map(float, told.get(name, ()))) for name in ("weights", "knots", "ratios")
            )
            numbers = float(told.get("offset", 0)), float(told.get("prior", 0.5))
        except (TypeError, ValueError) as error:
            raise ProtocolError(f"{where}: expected numbers ({error}).") from None
        if not np.isfinite([*weights, *knots, *ratios, *numbers]).all() or list(knots) != sorted(knots):
            raise ProtocolError(f"{where}: numbers are not finite, or the knots don't rise.")
        if not (weights if told["kind"] == "affine" else len(knots) == len(ratios) > 0):
            raise ProtocolError(f"{where}: a calibration of kind {told['kind']} lacks its numbers.")
        return cls(
            told["kind"],
            weights=weights,
            offset=numbers[0],
            knots=knots,
            ratios=ratios,
            prior=numbers[1],
            fitted_on=str(told.get("fitted_on", "")),
            reading=told["reading"] if isinstance(told.get("reading"), dict) else {},
            scales=tuple(map(str, told.get("scales", ()))),
        )

    def write(self, path: str | Path) -> None:
        """Write as JSON, atomically."""
        write_json(path, self.to_dict())

    @classmethod
    def read(cls, path: str | Path) -> "Calibration":
        """Read what `write` wrote.

        Raises:
            ProtocolError: no such file, or something else.
        """
        try:
            told = json.loads(read_text(path))
        except json.JSONDecodeError as error:
            raise ProtocolError(f"{path}: not JSON ({error}).") from None
        if not isinstance(told, dict):
            raise ProtocolError(f"{path}: expected an object with format {_FORMAT!r}.")
        return cls.from_dict(told, str(path))


def fit_affine(
    bonafide: Sequence[ArrayLike],
    spoof: Sequence[ArrayLike],
    *,
    prior: float = 0.5,
    fitted_on: str = "",
) -> Calibration:
    """Linear logistic calibration of one system, or fusion of several.

    ``llr = sum_k w_k s_k + b`` with the least prior-weighted logistic loss: Brümmer & du Preez,
    "Application-independent evaluation of speaker detection", 2006, section 8; each class weighs
    as the prior says, however many trials it has, and the prior's own log-odds are not part of the
    ratio. Convex: there is one solution. Adding ratios up, all weights 1, would be right only for
    systems that err independently.

    Args:
        bonafide: scores of the bonafide trials by each system, ``(n_bonafide,)`` each.
        spoof: of the spoof trials, by the same systems in the same order.
        prior: probability of bonafide at which the fit is best, between 0 and 1.
        fitted_on: words for the record.

    Raises:
        ProtocolError: systems without trials, or with different numbers of them.
        SettingsError: the prior is out of its range.

    >>> rng = np.random.default_rng(0)
    >>> fitted = fit_affine([rng.normal(1, 1, 20_000)], [rng.normal(-1, 1, 20_000)])
    >>> round(fitted.weights[0], 1)  # 2 s is the ratio of these classes
    2.0
    """
    if not 0 < prior < 1:
        raise SettingsError(f"the prior is {prior}; expected a probability between 0 and 1.")
    of_b, of_s = _columns(bonafide, "bonafide"), _columns(spoof, "spoof")
    if len(of_b) != len(of_s):
        raise ProtocolError(f"{len(of_b)} systems scored bonafide trials, {len(of_s)} spoof trials.")
    both = np.concatenate([of_b, of_s], axis=1)
    # By quartiles: one absurd score must not decide the scale at which the ridge is weak.
    low, middle, high = np.quantile(both, [0.25, 0.5, 0.75], axis=1)
    spread = np.where(high > low, high - low, both.std(axis=1))
    spread = np.where(spread > 0, spread, 1.0)  # a system that says nothing gets the weight 0
    if not np.isfinite(spread).all():
        raise ProtocolError("scores lie so far apart that floats don't hold their spread.")
    of_b, of_s = (((one.T - middle) / spread).T for one in (of_b, of_s))
    solved = _solve(of_b, of_s, prior)
    weights = solved[:-1] / spread
    offset = float(solved[-1] - weights @ middle)
    return Calibration("affine", tuple(weights.tolist()), offset, prior=prior, fitted_on=fitted_on)


def _columns(scores: Sequence[ArrayLike], label: str) -> _Floats:
    columns = [np.asarray(one, dtype=np.float64) for one in scores]
    lengths = {one.shape for one in columns}
    if not columns or len(lengths) > 1 or columns[0].ndim != 1 or not columns[0].size:
        raise ProtocolError(
            f"{label} scores of shapes {sorted(lengths)}; expected as many, and some, for each system."
        )
    if not all(np.isfinite(one).all() for one in columns):
        raise ProtocolError(f"{label} scores are NaN or infinite; scores are real numbers.")
    return np.array(columns)


def _solve(bonafide: _Floats, spoof: _Floats, prior: float) -> _Floats:
    """Newton's method on the prior-weighted logistic loss; weights, then the offset."""
    design = np.concatenate([bonafide, spoof], axis=1)
    design = np.vstack([design, np.ones(design.shape[1])])
    n_bonafide, n_spoof = bonafide.shape[1], spoof.shape[1]
    sign = np.repeat([1.0, -1.0], [n_bonafide, n_spoof])
    share = np.repeat([prior / n_bonafide, (1 - prior) / n_spoof], [n_bonafide, n_spoof])
    ridge = np.append(np.full(len(bonafide), _RIDGE), 0.0)
    log_odds = np.log(prior / (1 - prior))

    def loss(solution: _Floats) -> float:
        margins = sign * (solution @ design + log_odds)
        return float(share @ np.logaddexp(0, -margins) + ridge @ solution**2 / 2)

    solution = np.zeros(len(design))
    for _ in range(100):
        margins = sign * (solution @ design + log_odds)
        wrong = np.exp(-np.logaddexp(0, margins))  # how far from sure, 0 to 1
        slope = -design @ (share * sign * wrong) + ridge * solution
        curve = (design * (share * wrong * (1 - wrong))) @ design.T + np.diag(ridge + 1e-12)
        step = np.linalg.solve(curve, slope)
        length = _shorten(loss, solution, step, float(slope @ step))
        solution = solution - length * step
        if np.abs(length * step).max() < 1e-10:
            break
    return solution


def _shorten(loss: Callable[[_Floats], float], start: _Floats, step: _Floats, gain: float) -> float:
    """The longest of 1, 1/2, 1/4, ... at which the loss falls as it should (Armijo)."""
    here, length = loss(start), 1.0
    while loss(start - length * step) > here - 1e-4 * length * gain and length > 1e-10:
        length /= 2
    return length


def fit_isotonic(
    bonafide: ArrayLike, spoof: ArrayLike, *, prior: float = 0.5, fitted_on: str = ""
) -> Calibration:
    """The best rising step function, by pool-adjacent-violators.

    Zadrozny & Elkan, "Transforming classifier scores into accurate multiclass probability
    estimates", KDD 2002. One trial of the other class is added beyond either end, so that ratios
    stay finite: with n trials they stay within about ln n. It needs hundreds of trials of each class.

    Args:
        bonafide: ``(n_bonafide,)`` scores.
        spoof: ``(n_spoof,)`` scores.
        prior: kept for the record; the fit doesn't depend on it.
        fitted_on: words for the record.

    Raises:
        ProtocolError: bad scores.

    >>> fitted = fit_isotonic([1, 2, 3, 3], [0, 1, 1, 2])
    >>> fitted.apply([-5, 1, 3, 9]).round(2)
    array([-0.41, -0.41,  0.69,  0.69])
    """
    from scipy.optimize import isotonic_regression

    of_b, of_s = (
        _columns([one], label)[0] for one, label in ((bonafide, "bonafide"), (spoof, "spoof"))
    )
    knots = np.unique(np.concatenate([of_b, of_s]))
    hits = np.bincount(np.searchsorted(knots, of_b), minlength=len(knots)).astype(float)
    misses = np.bincount(np.searchsorted(knots, of_s), minlength=len(knots)).astype(float)
    hits, misses = np.pad(hits, 1), np.pad(misses, 1)
    hits[0], misses[-1] = 1, 1
    shares = isotonic_regression(hits / (hits + misses), weights=hits + misses).x[1:-1]
    ratios = np.log(shares) - np.log1p(-shares) - np.log((len(of_b) + 1) / (len(of_s) + 1))
    first = np.append(True, np.diff(ratios) > 0)
    return Calibration(
        "isotonic",
        knots=tuple(knots[first].tolist()),
        ratios=tuple(ratios[first].tolist()),
        prior=prior,
        fitted_on=fitted_on,
    )
