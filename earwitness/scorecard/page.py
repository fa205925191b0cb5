"""The scorecard as one HTML file that opens anywhere, without a network."""

from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from earwitness.breakdown import Breakdown, Part, shown
from earwitness.evaluation import WORDS, Evaluation
from earwitness.figures.judging import det_curves, score_histograms
from earwitness.figures.trust import condition_grid, reliability, review_curves
from earwitness.report.page import style
from earwitness.report.pictures import inline
from earwitness.scorecard.result import Scorecard

__all__ = ["render"]

_MEANINGS = {
    "eer": "error rate at the threshold where bonafide trials are rejected as often as spoofs are "
    "accepted; 0 is perfect, 50 is guessing",
    "eer_challenge": "the same in the order of the ASVspoof packages: pessimistic where scores tie",
    "min_dcf": "expected cost at the best threshold, costs of ASVspoof 5; 1 is not listening at all",
    "act_dcf": "the same cost at the threshold that scores imply as log-likelihood ratios",
    "cllr": "bits lost by taking the scores for log-likelihood ratios; above 1 they mislead",
    "min_cllr": "what would be left of that after the best monotone calibration",
    "auc": "how often a bonafide trial scores above a spoof",
    "average_precision": "how clean the list of suspects stays, most suspicious first",
    "accuracy": "share of right decisions at the given threshold",
    "balanced_accuracy": "the same with both classes weighing alike",
    "f1": "harmonic mean of precision and recall of spoofs at the given threshold",
    "min_tdcf": "cost with a speaker verifier behind, as in ASVspoof 2021 and 5",
    "min_tdcf_legacy": "the same as ASVspoof 2019 defined it",
}
_COLUMNS = ("eer", "min_dcf", "auc", "cllr", "min_cllr")
_BUDGETS = (0.01, 0.05, 0.1)
_RECALLS = (0.5, 0.8, 0.95)


def render(card: Scorecard) -> str:
    """The whole page; words from outside are escaped, whatever they hold."""
    drawn = _draw(card)
    template = _environment().from_string(
        files("earwitness.scorecard").joinpath("scorecard.html.jinja").read_text(encoding="utf-8")
    )
    return template.render(
        card=card,
        style=Markup(style()),
        pictures={name: Markup(inline(name, figure)) for name, figure in drawn.items()},
        words=WORDS,
        meanings=_MEANINGS,
        columns=_COLUMNS,
        budgets=_BUDGETS,
        recalls=_RECALLS,
    )


def _draw(card: Scorecard) -> dict[str, Figure]:
    named = {"all trials": card.scores}
    drawn = {
        "histogram": score_histograms(named),
        "det": det_curves(named),
        "reliability": reliability(card.scores.bonafide, card.scores.spoof),
    }
    if card.review is not None:
        drawn["review"] = review_curves(card.review.curve, card.review.unit, card.review.band)
    for place, told in enumerate(card.parts):
        if len(told.columns) == 2:
            rows, across, table = told.grid("eer")
            names = (told.columns[0], told.columns[1])
            drawn[f"grid-{place}"] = condition_grid(
                [*map(shown, rows)], [*map(shown, across)], table, names=names
            )
    return drawn


def _environment() -> Environment:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"value": _value, "interval": _interval, "joined": _joined, "lines": _lines}
    return environment


def _value(judged: Evaluation | None, name: str) -> str:
    if judged is None or name not in judged.values:
        return "–"
    scale, digits = _scale(name)
    return f"{scale * judged.values[name]:.{digits}f}"


def _interval(judged: Evaluation | None, name: str) -> str:
    if judged is None or name not in judged.intervals:
        return ""
    scale, digits = _scale(name)
    low, high = (f"{scale * end:.{digits}f}" for end in judged.intervals[name])
    return f"{low} to {high}"


def _scale(name: str) -> tuple[int, int]:
    return (100, 2) if WORDS.get(name, "").endswith("%") else (1, 3)


def _joined(part: Part) -> str:
    return ", ".join(map(shown, part.values))


def _lines(told: Breakdown) -> bool:
    """Whether it is shown as a table of lines; two columns are a grid."""
    return len(told.columns) == 1
