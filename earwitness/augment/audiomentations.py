"""Any transform of the library audiomentations."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.audio import SAMPLE_RATE
from earwitness.augment.base import Augment, Drawn, Wave, draw_seed
from earwitness.errors import MissingExtra, SettingsError, nearest

__all__ = ["Audiomentations"]


class Audiomentations(Augment):
    """A ``transform`` of audiomentations (Jordal), by its class's name, with its own ``settings``.

    The library draws from Python's and NumPy's global generators, when it is applied. So a seed is
    drawn here; for the time of a call both generators are set to it, and afterwards put back as they
    were. Other threads that use them meanwhile would notice. Its probability is 1: a `Chain` has its
    own.

    >>> turned = Audiomentations(transform="PolarityInversion")
    >>> turned(np.ones(400), np.random.default_rng(0))[0][:2]
    array([-1., -1.], dtype=float32)

    Raises:
        MissingExtra: audiomentations isn't installed.
        SettingsError: no transform of that name, or settings that it refuses.
    """

    def __init__(self, *, transform: str, settings: dict[str, Any] | None = None):
        library = _library()
        known = [name for name in dir(library) if name[:1].isupper()]
        if transform not in known:
            close = nearest(transform, known)
            raise SettingsError(f"audiomentations: no transform is called {transform!r}{close}")
        try:
            self._transform = getattr(library, transform)(**{"p": 1.0, **(settings or {})})
        except (TypeError, ValueError, AssertionError) as error:
            raise SettingsError(
                f"audiomentations: {transform} refuses {settings or {}}: {error}"
            ) from None

    def draw(self, rng: np.random.Generator, samples: int) -> Drawn:
        """The seed."""
        return {"seed": draw_seed(rng)}

    def change(self, wave: Wave, drawn: Drawn) -> NDArray[np.float32]:
        """Apply the transform."""
        with _seeded(drawn["seed"]):
            return self._transform(samples=wave.copy(), sample_rate=SAMPLE_RATE)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Set the global generators for a while."""
    before, before_numpy = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(before_numpy)


def _library() -> Any:
    try:
        import audiomentations
    except ImportError:
        raise MissingExtra("the augmentation 'audiomentations'", "augment") from None
    return audiomentations
