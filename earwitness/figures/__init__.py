"""Pictures of a run: plain values in, a matplotlib ``Figure`` out.

Conventions: error rates come as fractions and are drawn in per cent; lower is better. A *stack*
is ``(seeds, tasks learned, tasks judged)``, one task matrix a seed. Nothing here keeps state,
opens a window or reads a file, and the same values give the same bytes.
"""

from earwitness.figures.forgetting import (
    average_curve,
    forgetting_curves,
    headline,
    summary_bars,
)
from earwitness.figures.judging import det_curves, score_histograms
from earwitness.figures.learning import action_plot, loss_curve
from earwitness.figures.matrices import matrix_heatmap, matrix_sheet
from earwitness.figures.style import colours, to_png, to_svg
from earwitness.figures.trust import condition_grid, reliability, review_curves

__all__ = [
    "action_plot",
    "average_curve",
    "colours",
    "condition_grid",
    "det_curves",
    "forgetting_curves",
    "headline",
    "loss_curve",
    "matrix_heatmap",
    "matrix_sheet",
    "reliability",
    "review_curves",
    "score_histograms",
    "summary_bars",
    "to_png",
    "to_svg",
]
