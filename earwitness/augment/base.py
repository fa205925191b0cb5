"""What every augmentation is: parameters drawn from a generator, then applied to a wave."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earwitness.errors import AudioError, SettingsError

__all__ = [
    "MIN_SAMPLES",
    "Augment",
    "Drawn",
    "Wave",
    "add_at_ratio",
    "draw_mel",
    "draw_seed",
    "require_range",
    "to_wave",
]

MIN_SAMPLES = 400  # 25 ms at 16 kHz, the shortest recording that `earwitness.audio.read` lets through

Wave = NDArray[np.float32]
Drawn = dict[str, Any]


class Augment(ABC):
    """Base of augmentations.

    ``augment(wave, rng)`` draws and applies. The two steps can also be had alone: `apply` with the same
    wave and the same draw gives the same bits, on any day and after any other call.

    Attributes:
        makes_spoof: True where genuine speech comes out as a spoof, so that its label changes.
        built_from: name and settings, from the shelf.

    >>> from earwitness.augment import AUGMENTS
    >>> wave = np.ones(16_000, dtype=np.float32)
    >>> louder, drawn = AUGMENTS.build("gain", decibels=[6, 6])(wave, np.random.default_rng(0))
    >>> drawn, round(float(louder[0]), 3)
    ({'decibels': 6.0}, 1.995)
    """

    makes_spoof: bool = False
    built_from: dict[str, Any]

    @abstractmethod
    def draw(self, rng: np.random.Generator, samples: int) -> Drawn:
        """Draw the parameters for a wave of at most ``samples`` samples; nothing else is random.

        The wave may turn out shorter, because an earlier part of a chain trims it.
        """

    @abstractmethod
    def change(self, wave: Wave, drawn: Drawn) -> NDArray[Any]:
        """What `apply` does, without its checks; ``wave`` can't be written into."""

    def apply(self, wave: NDArray[Any], drawn: Drawn) -> Wave:
        """Change a wave as drawn; the wave that is given stays as it is.

        Raises:
            AudioError: not floating-point, not of shape (samples,), under 400 samples, or not finite.
        """
        return to_wave(self.change(_checked(wave), drawn))

    def __call__(self, wave: NDArray[Any], rng: np.random.Generator) -> tuple[Wave, Drawn]:
        """Draw, apply, and give both the new wave and what was drawn.

        Raises:
            AudioError: as for `apply`.
        """
        checked = _checked(wave)
        drawn = self.draw(rng, len(checked))
        return to_wave(self.change(checked, drawn)), drawn

    def at_most(self, samples: int) -> int:
        """The longest wave that can come out where ``samples`` samples go in."""
        return samples

    def made_spoof(self, drawn: Drawn) -> bool:
        """Whether this draw turns genuine speech into a spoof."""
        return self.makes_spoof


def to_wave(values: NDArray[Any]) -> Wave:
    """As float32 that nobody writes into by mistake.

    >>> to_wave(np.zeros(3)).dtype.name
    'float32'
    """
    wave = np.ascontiguousarray(values, dtype=np.float32)
    return wave.copy() if not wave.flags.writeable else wave


def _checked(wave: NDArray[Any]) -> Wave:
    wave = np.asarray(wave)
    if wave.ndim != 1 or wave.dtype.kind != "f":
        told = f"{wave.dtype.name} of shape {wave.shape}"
        raise AudioError("the wave", f"expected floats of shape (samples,), found {told}")
    if len(wave) < MIN_SAMPLES:
        told = f"{len(wave)} samples, at least {MIN_SAMPLES} are needed"
        raise AudioError("the wave", f"too short: {told}")
    if not np.isfinite(wave).all():
        raise AudioError("the wave", "some samples are NaN or infinite")
    guarded = np.ascontiguousarray(wave, dtype=np.float32).view()
    guarded.flags.writeable = False  # who changes the caller's wave is stopped, not only told not to
    return guarded


def require_range(
    what: str, values: tuple[float, ...], lowest: float = -np.inf, highest: float = np.inf
) -> None:
    """Refuse what isn't a pair ``lowest <= low <= high <= highest``.

    >>> require_range("noise: snr", (5, 40))

    Raises:
        SettingsError: it isn't.
    """
    if len(values) == 2 and lowest <= values[0] <= values[1] <= highest:
        return
    bounds = f" between {lowest:g} and {highest:g}" if np.isfinite([lowest, highest]).any() else ""
    raise SettingsError(f"{what} is {list(values)}, expected [low, high] with low <= high{bounds}.")


def draw_seed(rng: np.random.Generator) -> int:
    """A seed for noise that is made when the draw is applied, which keeps the draw small.

    >>> draw_seed(np.random.default_rng(0)) < 2**32
    True
    """
    return int(rng.integers(2**32))


def draw_mel(rng: np.random.Generator, hertz: tuple[float, float]) -> float:
    """A frequency in Hz, uniform over the mel scale of O'Shaughnessy (1987).

    >>> 200 <= draw_mel(np.random.default_rng(0), (200.0, 4000.0)) <= 4000
    True
    """
    low, high = 2595 * np.log10(1 + np.asarray(hertz) / 700)
    return float(np.clip(700 * (10 ** (rng.uniform(low, high) / 2595) - 1), *hertz))


def add_at_ratio(wave: NDArray[Any], noise: NDArray[np.float64], snr: float) -> NDArray[np.float64]:
    """The wave with noise at exactly ``snr`` dB below it, over the whole clip.

    Where wave or noise is silent there is no such level, and the wave stays as it is.

    >>> wave, noise = np.full(400, 0.5, dtype=np.float32), np.resize([1.0, -1.0], 400)
    >>> add_at_ratio(wave, noise, 20.0)[:2].round(3)
    array([0.55, 0.45])
    """
    speech = wave.astype(np.float64)
    level = np.linalg.norm(noise)
    scale = np.linalg.norm(speech) / level * 10 ** (-snr / 20) if level > 0 else 0.0
    return speech + scale * noise
