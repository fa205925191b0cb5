"""Occlusion: how much the score falls when a patch is taken away."""

import torch
from torch import Tensor

from earwitness.errors import SettingsError
from earwitness.explainers.base import Explainer, Grid, captum

__all__ = ["Occlusion"]


class Occlusion(Explainer):
    """The score of the window less its score without the patch: one forward pass a patch.

    Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014. What two
    patches say together is not seen.

    Args:
        at_once: patches in one batch.
        bands, slice_seconds, floor: see `Explainer`.
    """

    def __init__(
        self, *, bands: int = 8, slice_seconds: float = 0.25, floor: float = 40.0, at_once: int = 16
    ):
        super().__init__(bands=bands, slice_seconds=slice_seconds, floor=floor)
        if at_once < 1:
            raise SettingsError(f"explainer 'occlusion': at_once is {at_once}, expected at least 1.")
        self.at_once = at_once

    @torch.no_grad()
    def _values(self, grid: Grid, gain: float) -> Tensor:
        found = captum().Occlusion(grid).attribute(
            grid.ones(), sliding_window_shapes=(1, 1), baselines=gain,
            perturbations_per_eval=self.at_once,
        )  # fmt: skip
        return torch.as_tensor(found[0])
