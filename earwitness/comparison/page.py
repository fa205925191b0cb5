"""The comparison as one HTML file that opens anywhere, without a network."""

import json
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from earwitness.comparison.pictures import draw
from earwitness.comparison.result import Comparison
from earwitness.comparison.tables import kept, shown
from earwitness.comparison.words import (
    MEASURES,
    METRICS,
    counted,
    higher_is_better,
    name_of,
    p_value,
    signed,
    times,
    verdict,
)
from earwitness.figures.style import PALETTE
from earwitness.report.page import style
from earwitness.report.pictures import inline
from earwitness.report.words import number, percent, plus_minus

__all__ = ["render"]


def render(comparison: Comparison, drawn: dict[str, Figure] | None = None) -> str:
    """The whole page; ``drawn`` are its pictures, where they are drawn already.

    Words from the run folders are escaped, whatever they hold. The same comparison gives the same page.
    """
    drawn = draw(comparison) if drawn is None else drawn
    template = _environment(comparison).from_string(_resource("comparison", "compare.html.jinja"))
    return template.render(
        comparison=comparison,
        metric=METRICS[comparison.metric],
        higher=not comparison.lower_is_better,
        style=Markup(style()),
        pictures={name: _picture(name, figure) for name, figure in drawn.items()},
        tables={kind: shown(comparison, kind) for kind in ("summary", "clear")},
        cells=_cells(comparison),
    )


def _picture(name: str, figure: Figure) -> Markup:
    """Its one colour follows light and dark, as ink and paper do."""
    return Markup(inline(name, figure).replace(PALETTE[0], "var(--accent)"))


def _resource(package: str, name: str) -> str:
    return files(f"earwitness.{package}").joinpath(name).read_text(encoding="utf-8")


def _environment(comparison: Comparison) -> Environment:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "counted": counted,
        "kept": kept,
        "meaning": lambda key: MEASURES[key].meaning.format(METRICS[comparison.metric]),
        "measure": lambda key: name_of(key, comparison.metric),
        "number": number,
        "p_value": p_value,
        "percent": percent,
        "plus_minus": plus_minus,
        "signed": signed,
        "spelled": lambda value: (
            value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        ),
        "times": times,
        "verdict": lambda one, key: verdict(one, higher_is_better(key, comparison.lower_is_better)),
    }
    return environment


def _cells(comparison: Comparison) -> dict[str, dict[str, dict[str, Any]]]:
    """The differences of every two methods, row minus column."""
    found: dict[str, dict[str, Any]] = {one.label: {} for one in comparison.methods}
    for pair in comparison.pairs:
        mean = pair["mean"]
        found[pair["one"]][pair["other"]] = pair
        found[pair["other"]][pair["one"]] = {**pair, "mean": None if mean is None else -mean}
    return found
