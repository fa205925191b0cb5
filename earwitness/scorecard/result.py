"""What a scorecard shows, collected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.breakdown import Breakdown
from earwitness.evaluation import Evaluation
from earwitness.metrics.review import Review
from earwitness.scores import Scores

__all__ = ["Scorecard"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scorecard:
    """Labelled scores and what was made of them; ``facts`` says what was judged, for the page's end.

    >>> from earwitness.evaluation import evaluate
    >>> scores = Scores("abcd", [2, 1, 1, 0], ["bonafide", "bonafide", "spoof", "spoof"])
    >>> Scorecard("toy", scores, evaluate(scores, draws=10)).title
    'toy'
    """

    title: str
    scores: Scores
    judged: Evaluation
    parts: Sequence[Breakdown] = ()
    review: Review | None = None
    review_unit: str = "trials"
    review_band: tuple[Floats, Floats, Floats] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
