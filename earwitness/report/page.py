"""The report as one HTML file that opens anywhere, without a network."""

import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from earwitness.figures.collapsing import drawable
from earwitness.report.collect import runs_of
from earwitness.report.pictures import draw_detail, draw_overview, inline
from earwitness.report.result import Report, StrategyResult
from earwitness.report.words import MEASURES, METRICS, best_of, number, percent, plus_minus, rated
from earwitness.runs import RunFolder

__all__ = ["render", "style"]


def render(report: Report, folders: Sequence[RunFolder]) -> str:
    """The whole page; ``folders`` are those the report was built from.

    Words from the run folder are escaped, whatever they hold. The same folders give the same page.
    """
    drawn = draw_overview(report)
    runs_by_label = runs_of(folders)
    for label, runs in runs_by_label.items():
        drawn |= draw_detail(label, runs[0], report.split)
    template = _environment().from_string(_template())
    return template.render(
        report=report,
        pictures={name: Markup(inline(name, figure)) for name, figure in drawn.items()},
        measures={key: MEASURES[key] for key in MEASURES if _is_shown(key, report.strategies)},
        metrics=METRICS,
        best=best_of(report.strategies),
        collapsed=_collapsed({label: runs[0].collapse() for label, runs in runs_by_label.items()}),
    )


def _collapsed(records: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any] | None:
    """Whose neural collapse was tracked, and whether there are two classes; None where nobody's was."""
    labels = [label for label, found in records.items() if drawable(found)]
    if not labels:
        return None
    return {"labels": labels, "two": len(records[labels[0]][0]["counts"]) == 2}


def style() -> str:
    """The style of the page, as a ``<style>`` element: all pages look alike."""
    found = re.search(r"<style>.*?</style>", _template(), re.S)
    assert found is not None
    return found[0]


def _template() -> str:
    return files("earwitness.report").joinpath("report.html.jinja").read_text(encoding="utf-8")


def _environment() -> Environment:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "percent": percent,
        "number": number,
        "plus_minus": plus_minus,
        "rated": rated,
        "spelled": _spelled,
    }
    return environment


def _is_shown(key: str, strategies: Sequence[StrategyResult]) -> bool:
    """Whether any strategy has this summary: forward transfer, say, needs an untrained model."""
    return any(key in one.summaries for one in strategies)


def _spelled(value: Any) -> str:
    """A settings value as text; nested ones as indented JSON."""
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
