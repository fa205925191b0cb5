"""One of several augmentations."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.augment.base import Augment, Drawn, Wave
from earwitness.augment.chain import build_part, draw_part
from earwitness.errors import SettingsError

__all__ = ["OneOf"]


class OneOf(Augment):
    """One of the ``parts``, written as in a `Chain`; their probabilities are weights, 1 by default.

    >>> one = OneOf(parts=({"name": "mu_law"}, {"name": "a_law"}))
    >>> one(np.ones(400), np.random.default_rng(0))[1]
    {'choice': 1, 'drawn': {'name': 'a_law'}}

    Raises:
        SettingsError: no parts, weights that are all 0, or as for `Chain`.
    """

    def __init__(self, *, parts: tuple[Any, ...]):
        built = [build_part(f"one_of: part {n}", part) for n, part in enumerate(parts, 1)]
        weights = np.array([weight for _, weight in built])
        if not weights.sum() > 0:
            raise SettingsError(
                f"one_of has {len(built)} part(s) of weight {weights.sum():g}, expected one or more."
            )
        self.parts = [part for part, _ in built]
        self.weights = weights / weights.sum()
        self.makes_spoof = any(part.makes_spoof for part in self.parts)

    def draw(self, rng: np.random.Generator, samples: int) -> Drawn:
        """Which one, counted from 0, and what it drew."""
        choice = int(rng.choice(len(self.parts), p=self.weights))
        return {"choice": choice, "drawn": draw_part(self.parts[choice], rng, samples)}

    def change(self, wave: Wave, drawn: Drawn) -> NDArray[Any]:
        """Apply the one."""
        return self.parts[drawn["choice"]].change(wave, drawn["drawn"])

    def at_most(self, samples: int) -> int:
        """The longest of all."""
        return max(part.at_most(samples) for part in self.parts)

    def made_spoof(self, drawn: Drawn) -> bool:
        """Whether the one that was drawn makes a spoof."""
        return self.parts[drawn["choice"]].made_spoof(drawn["drawn"])
