"""What a scorecard shows, collected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from earwitness.breakdown import Breakdown
from earwitness.evaluation import Evaluation
from earwitness.reviewing import Reviewed
from earwitness.scores import Scores

__all__ = ["Scorecard"]


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
    review: Reviewed | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
