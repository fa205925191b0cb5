"""Augmentations one after another, each with its probability."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.augment import AUGMENTS
from earwitness.augment.base import Augment, Drawn, Wave, to_wave
from earwitness.errors import SettingsError

__all__ = ["Chain", "build_part"]


class Chain(Augment):
    """Parts in order; each is applied with its own ``probability``, 1 where none is given.

    A part is a table: the ``name`` of an augmentation (a chain may hold chains), its settings, and the
    probability. The gate of each part is drawn, and where it opens, the part's own parameters; the draw
    holds one entry a part, ``None`` for those that were passed over. A chain without parts does
    nothing.

    >>> chain = Chain(parts=({"name": "gain", "probability": 0.5}, {"name": "mu_law"}))
    >>> _, drawn = chain(np.ones(400), np.random.default_rng(1))
    >>> drawn
    {'parts': [None, {'name': 'mu_law'}]}

    Raises:
        SettingsError: a part without a name, an unknown one, a wrong setting, or a probability that
            isn't within 0 to 1.
    """

    def __init__(self, *, parts: tuple[Any, ...] = ()):
        built = [build_part(f"chain: part {n}", part) for n, part in enumerate(parts, 1)]
        self.parts = [part for part, _ in built]
        self.probabilities = [probability for _, probability in built]
        self.makes_spoof = any(part.makes_spoof for part in self.parts)

    def draw(self, rng: np.random.Generator, samples: int) -> Drawn:
        """For each part ``None``, or its name and what it drew."""
        entries: list[Drawn | None] = []
        for part, probability in zip(self.parts, self.probabilities, strict=True):
            is_open = rng.random() < probability
            entries.append(draw_part(part, rng, samples) if is_open else None)
            samples = part.at_most(samples) if is_open else samples
        return {"parts": entries}

    def change(self, wave: Wave, drawn: Drawn) -> NDArray[Any]:
        """Apply the parts whose gate is open."""
        for part, entry in zip(self.parts, drawn["parts"], strict=True):
            if entry is not None:
                wave = to_wave(part.change(wave, entry))
                wave.flags.writeable = False
        return wave

    def at_most(self, samples: int) -> int:
        """The longest that the parts can make of it, whichever are applied."""
        for part, probability in zip(self.parts, self.probabilities, strict=True):
            after = part.at_most(samples)
            samples = after if probability == 1 else max(samples, after)
        return samples

    def made_spoof(self, drawn: Drawn) -> bool:
        """Whether a part that was applied makes a spoof."""
        pairs = zip(self.parts, drawn["parts"], strict=True)
        return any(part.made_spoof(entry) for part, entry in pairs if entry is not None)


def build_part(where: str, part: Any) -> tuple[Augment, float]:
    """The augmentation that a table describes, and its probability.

    >>> build_part("part 1", {"name": "gain", "probability": 0.3})[1]
    0.3

    Raises:
        SettingsError: not a table with a name, an unknown name or setting, or no probability.
    """
    if not isinstance(part, Mapping) or not isinstance(part.get("name"), str):
        raise SettingsError(f"{where} is {part!r}, expected a table with the name of an augmentation.")
    settings = {key: value for key, value in part.items() if key not in ("name", "probability")}
    probability = part.get("probability", 1.0)
    if isinstance(probability, bool) or not isinstance(probability, int | float):
        raise SettingsError(f"{where}: probability is {probability!r}, expected a number.")
    if not 0 <= probability <= 1:
        raise SettingsError(f"{where}: probability is {probability}, expected 0 to 1.")
    return AUGMENTS.build(part["name"], **settings), float(probability)


def draw_part(part: Augment, rng: np.random.Generator, samples: int) -> Drawn:
    """What a part draws, with its name for the log."""
    return {"name": part.built_from["name"], **part.draw(rng, samples)}
