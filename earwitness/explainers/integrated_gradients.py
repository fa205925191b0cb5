"""Integrated gradients: the score's slope by each patch's level, summed on the way from the floor."""

import torch
from torch import Tensor

from earwitness.errors import SettingsError
from earwitness.explainers.base import Explainer, Grid, captum

__all__ = ["IntegratedGradients"]


class IntegratedGradients(Explainer):
    """Slopes along the straight way from all patches at the floor to the window as it is.

    Sundararajan et al., "Axiomatic attribution for deep networks", ICML 2017. The patches' values sum
    to the score less the floor's score, as far as ``steps`` suffice; a detector that doesn't hear
    levels finds both alike, so the sum is near 0 and the pattern is what says something.

    Args:
        steps: points on the way, by Gauss and Legendre.
        bands, slice_seconds, floor: see `Explainer`.
    """

    def __init__(
        self, *, bands: int = 8, slice_seconds: float = 0.25, floor: float = 40.0, steps: int = 32
    ):
        super().__init__(bands=bands, slice_seconds=slice_seconds, floor=floor)
        if steps < 1:
            raise SettingsError(
                f"explainer 'integrated-gradients': steps is {steps}, expected at least 1."
            )
        self.steps = steps

    def _values(self, grid: Grid, gain: float) -> Tensor:
        found = captum().IntegratedGradients(grid).attribute(
            grid.ones(), baselines=gain, n_steps=self.steps, internal_batch_size=8
        )  # fmt: skip
        return torch.as_tensor(found[0]).detach()
