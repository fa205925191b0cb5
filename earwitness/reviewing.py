"""Recall against a review budget for the trials of a protocol, whose columns say what hearing costs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import ProtocolError
from earwitness.metrics.review import Review, review, review_band
from earwitness.protocols import Protocol
from earwitness.scores import Scores

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Reviewed", "review_trials"]

Floats = NDArray[np.float64]
_SHARES = (0.01, 0.05, 0.1)
_RECALLS = (0.5, 0.8, 0.95)


@dataclass(frozen=True)
class Reviewed:
    """The curve, its unit (``"hours"`` or ``"trials"``) and, if wanted, a band over resamples.

    The band is shares of the total cost, and the lowest and highest recall there.
    """

    curve: Review
    unit: str
    band: tuple[Floats, Floats, Floats] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Recall at shares of the cost, cost for shares of the fakes, and the area under the curve."""
        curve = self.curve
        ways = {
            "recall_at": curve.recall_at,
            "random_at": curve.random_at,
            "oracle_at": curve.oracle_at,
        }
        return {
            "unit": self.unit,
            "total": curve.total,
            **{name: {str(s): at(s * curve.total) for s in _SHARES} for name, at in ways.items()},
            "budget_for": {str(r): curve.budget_for(r) for r in _RECALLS},
            "area": curve.area(),
        }


def review_trials(
    scores: Scores,
    protocol: Protocol | None = None,
    seconds: str | None = None,
    *,
    band: bool = False,
    unit: str = "auto",
) -> Reviewed:
    """What share of the fakes is found when the most suspicious are heard first.

    Args:
        scores: labelled, in the protocol's order.
        protocol: holds the column of seconds and the speakers.
        seconds: a column with each recording's length; without it each costs one trial.
        band: whether to resample.
        unit: ``"auto"`` draws whole speakers where all are known, ``"trial"`` recordings.

    Raises:
        ProtocolError: no spoof, no such column, or cells that are no numbers above 0.

    >>> labels = ["spoof", "bonafide", "spoof", "bonafide"]
    >>> review_trials(Scores("abcd", [0, 1, 2, 3], labels)).to_dict()["budget_for"]
    {'0.5': 1.0, '0.8': 2.6, '0.95': 2.9}
    """
    fake = scores.codes == 1
    hours = None if seconds is None or protocol is None else _hours(protocol, seconds)
    curve = review(scores.values, fake, hours)
    counted = "trials" if hours is None else "hours"
    if not band:
        return Reviewed(curve, counted)
    shares = np.geomspace(0.001, 1, 60)
    clusters = _speakers(protocol) if protocol is not None and unit != "trial" else None
    ends = review_band(scores.values, fake, hours, shares, clusters=clusters)
    return Reviewed(curve, counted, (shares, *ends))


def _hours(protocol: Protocol, column: str) -> Floats:
    import polars as pl

    cells = protocol.column(column)
    seconds = cells.cast(pl.Float64, strict=False)
    if seconds.null_count():
        first = cells[int(seconds.is_null().arg_max() or 0)]
        raise ProtocolError(
            f"{protocol.name}: the column {column} holds {first!r} and {seconds.null_count() - 1} more "
            "that are no numbers; a review needs the seconds of every trial (`earwitness corpus "
            "manifest --seconds` writes them)."
        )
    return seconds.to_numpy() / 3600


def _speakers(protocol: Protocol) -> "NDArray[np.str_] | None":
    speakers: pl.Series | None = protocol.columns.get("speaker")
    if speakers is None or speakers.is_in(["", "-"]).any():
        return None
    return speakers.to_numpy()
