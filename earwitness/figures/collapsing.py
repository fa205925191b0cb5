"""Pictures of neural collapse while a detector learns."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from earwitness.collapse.words import WORDS
from earwitness.figures.style import INK, PALETTE, grid_of_axes, styled

__all__ = ["collapse_curves", "drawable"]

# Metric -> its words; a share of clips is drawn as such, where `describe` says per cent.
_SHOWN = {
    **{name: WORDS[name] for name in ("nc1", "nc2_etf_error", "nc3", "wg_plus_b")},
    "nc4": WORDS["nc4_train"].replace(", %", ", share"),
}


@styled
def collapse_curves(records: Sequence[dict[str, Any]]) -> Figure:
    """Each metric over the records of `Run.collapse`; vertical lines are where a new task begins.

    NC1 is on a logarithmic scale. NC2 says nothing with two classes and is left out there; what was not
    defined at some record has a gap.

    >>> record = {"task": "a", "counts": [5, 5], "nc1": 0.5, "nc3": 0.1, "nc2_etf_error": 0.0}
    >>> [p.get_title("left")[:3] for p in collapse_curves([record, record | {"nc1": 0.2}]).axes]
    ['NC1', 'NC3']
    """
    shown = _shown(records)
    figure, panels = grid_of_axes(len(shown), across=2, share=False)
    for place, (panel, name) in enumerate(zip(panels, shown, strict=True)):
        values = [r[name] if isinstance(r.get(name), int | float) else float("nan") for r in records]
        panel.plot(range(len(values)), values, color=PALETTE[place % len(PALETTE)], marker=".")
        panel.set_title(_SHOWN[name], pad=18)
        if name == "nc1" and np.nanmin(values) > 0:
            panel.set_yscale("log")
            panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            panel.yaxis.set_minor_formatter(NullFormatter())
        else:
            panel.set_ylim(bottom=0)
        for place_, (before, after) in enumerate(zip(records, records[1:], strict=False)):
            if before["task"] != after["task"]:
                panel.axvline(place_ + 0.5, color=INK, linewidth=0.7, linestyle=":")
    figure.supxlabel("records, in order", fontsize=10)
    return figure


def drawable(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The records, or none of them where nothing in them is a number that can be drawn.

    >>> drawable([{"counts": [4], "nc1": "undefined: one class"}])
    []
    """
    return [dict(r) for r in records] if records and _shown(records) else []


def _shown(records: Sequence[Mapping[str, Any]]) -> list[str]:
    two = len(records[0]["counts"]) == 2
    return [
        name
        for name in _SHOWN
        if any(isinstance(r.get(name), int | float) for r in records) and not (two and "nc2" in name)
    ]
