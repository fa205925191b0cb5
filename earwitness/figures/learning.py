"""Pictures of the training log: the loss, and the proof that a projection acted."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from earwitness.figures.style import INK, PALETTE, grid_of_axes, legend_above, styled

__all__ = ["action_plot", "loss_curve"]

_Records = Sequence[dict[str, Any]]
_ACTIONS = {
    "gradient_ratio": "gradient kept: ‖GR‖ / ‖G‖",
    "old_input_ratio": "old input let through: ‖P r‖ / ‖r‖",
    "beta": "radian weight β",
    "rank_energy": "share of directions protected",
    "cosine": "cosine with the teacher's class direction",
    "length": "length beside the teacher's: ‖s‖ / ‖t‖",
}
_DASHES = ("-", "--", ":")


@styled
def action_plot(records: _Records) -> Figure:
    """What a strategy did at each logged step, a line for each layer that it acted on.

    ``records`` are those of ``Run.action()``. A quantity that was never logged (beta, for OWM)
    has no panel. Vertical lines are where a new task begins.

    >>> record = {"task": "b", "step": 1, "layer": "head", "gradient_ratio": 0.5}
    >>> len(action_plot([record | {"old_input_ratio": 0.1, "beta": None, "rank_energy": 0.2}]).axes)
    3
    """
    shown = [key for key in _ACTIONS if any(r.get(key) is not None for r in records)]
    figure, panels = grid_of_axes(len(shown), across=2, share=False)
    layers = list(dict.fromkeys(r["layer"] for r in records))
    for panel, key in zip(panels, shown, strict=True):
        for place, layer in enumerate(layers):
            of_layer = [r for r in records if r["layer"] == layer]
            kept = [(x, r[key]) for x, r in enumerate(of_layer) if r.get(key) is not None]
            turn, colour = divmod(place, len(PALETTE))
            panel.plot(
                [x for x, _ in kept], [y for _, y in kept], label=layer, marker=".",
                linewidth=1.3, color=PALETTE[colour], linestyle=_DASHES[turn % len(_DASHES)],
            )  # fmt: skip
        _mark_tasks(panel, [r for r in records if r["layer"] == layers[0]])
        panel.set_title(_ACTIONS[key], pad=18)
        _from_zero(panel)
    figure.supxlabel("logged steps, in order", fontsize=10)
    legend_above(figure, panels[0])
    return figure


@styled
def loss_curve(steps: _Records) -> Figure:
    """Training loss at each step of the whole stream; vertical lines are where a task begins.

    >>> loss_curve([{"task": "a", "step": 1, "loss": 0.7}]).axes[0].get_ylabel()
    'training loss'
    """
    figure = Figure(figsize=(7.6, 2.9), layout="constrained")
    panel = figure.subplots()
    panel.plot([record["loss"] for record in steps], color=PALETTE[0], linewidth=1)
    _mark_tasks(panel, steps)
    panel.set(xlabel="steps, in order", ylabel="training loss")
    _from_zero(panel)
    return figure


def _from_zero(panel: Axes) -> None:
    low, high = panel.get_ylim()
    panel.set_ylim(min(0, low), high + 0.04 * abs(high))


def _mark_tasks(panel: Axes, records: _Records) -> None:
    """A vertical line and the name wherever the task changes."""
    previous = None
    for x, record in enumerate(records):
        if record["task"] != previous:
            previous = record["task"]
            panel.axvline(x, color=INK, linewidth=0.7, alpha=0.5)
            panel.annotate(
                str(previous), (x, 1), xycoords=("data", "axes fraction"),
                xytext=(2, 2), textcoords="offset points", fontsize=7.5,
            )  # fmt: skip
