"""Copy-synthesis with the WORLD vocoder."""

from functools import cache
from importlib import util
from importlib.machinery import PathFinder
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.audio import SAMPLE_RATE
from earwitness.augment.base import Augment, Drawn, Wave, require_range
from earwitness.errors import MissingExtra

__all__ = ["World"]


class World(Augment):
    """A spoof from genuine speech: pitch, spectral envelope and aperiodicity, and a voice made of them.

    WORLD of Morise, Yokomori and Ozawa (2016) through pyworld: DIO with StoneMask, CheapTrick, D4C.
    With a ``pitch`` other than 1 the voice is also shifted, by that factor. Length is kept.

    >>> wave = 0.1 * np.random.default_rng(0).normal(size=16_000)
    >>> spoof, drawn = World()(wave, np.random.default_rng(0))
    >>> len(spoof), drawn
    (16000, {'pitch': 1.0})

    Raises:
        MissingExtra: pyworld isn't installed.
        SettingsError: a pitch that isn't within 0.25 to 4.
    """

    makes_spoof = True

    def __init__(self, *, pitch: tuple[float, float] = (1.0, 1.0)):
        require_range("world: pitch", pitch, 0.25, 4)
        _pyworld()
        self.pitch = pitch

    def draw(self, rng: np.random.Generator, samples: int) -> Drawn:
        """The factor on the pitch."""
        return {"pitch": rng.uniform(*self.pitch)}

    def change(self, wave: Wave, drawn: Drawn) -> NDArray[np.float64]:
        """Analyse and synthesise."""
        world, voice = _pyworld(), wave.astype(np.float64)
        rough, times = world.dio(voice, SAMPLE_RATE)
        pitch = world.stonemask(voice, rough, times, SAMPLE_RATE)
        envelope = world.cheaptrick(voice, pitch, times, SAMPLE_RATE)
        aperiodicity = world.d4c(voice, pitch, times, SAMPLE_RATE)
        made = world.synthesize(pitch * drawn["pitch"], envelope, aperiodicity, SAMPLE_RATE)
        return np.pad(made[: len(wave)], (0, max(0, len(wave) - len(made))))


@cache
def _pyworld() -> Any:
    """pyworld's compiled part alone: the package's own file imports pkg_resources, which is no more."""
    package = util.find_spec("pyworld")
    places = package.submodule_search_locations if package else None
    spec = PathFinder.find_spec("pyworld.pyworld", places) if places else None
    if spec is None or spec.loader is None:
        raise MissingExtra("the augmentation 'world'", "augment")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
