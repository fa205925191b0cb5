"""A room around the voice: impulse responses from a folder, or simulated."""

import numpy as np
from numpy.typing import NDArray

from earwitness.audio import SAMPLE_RATE
from earwitness.augment._recordings import list_recordings, read_recording
from earwitness.augment.base import Augment, Drawn, Wave, draw_seed, require_range
from earwitness.errors import AudioError

__all__ = ["Reverberation", "room_response"]

_FALL = 3 * np.log(10)  # 60 dB is a factor of 1000 in amplitude


class Reverberation(Augment):
    """The clip convolved with a room impulse response.

    With a ``folder`` (for instance that of Ko et al. 2017, openslr.org/28), a file of it, each equally
    likely. Without, Polack's model (1988): a direct sound, then Gaussian noise whose energy falls by 60
    dB in ``t60`` seconds, the direct sound being ``direct`` dB above all that follows.

    A response has unit energy and starts at its peak, so that the voice stays where it was and about as
    loud; what is before the peak is left out. Length is kept: the tail beyond the clip's end is lost.

    >>> click = np.zeros(16_000)
    >>> click[0] = 1
    >>> room, drawn = Reverberation()(click, np.random.default_rng(0))
    >>> bool(np.allclose(room[: len(room_response(drawn))], room_response(drawn), atol=1e-6))
    True

    Raises:
        SettingsError: no such folder, no audio in it, or a range that isn't one.
        AudioError: when applied, where a response can't be read or is silent.
    """

    def __init__(
        self,
        *,
        folder: str = "",
        t60: tuple[float, float] = (0.1, 0.8),
        direct: tuple[float, float] = (-3.0, 12.0),
    ):
        require_range("reverberation: t60", t60, 0.01, 10)
        require_range("reverberation: direct", direct)
        self.folder, self.t60, self.direct = folder, t60, direct
        self._files = list_recordings(folder, "reverberation") if folder else []

    def draw(self, rng: np.random.Generator, samples: int) -> Drawn:
        """The file; or the decay, the direct sound's level and the seed of the noise."""
        if self._files:
            return {"file": self._files[rng.integers(len(self._files))]}
        return {
            "t60": rng.uniform(*self.t60),
            "direct": rng.uniform(*self.direct),
            "seed": draw_seed(rng),
        }

    def change(self, wave: Wave, drawn: Drawn) -> NDArray[np.float64]:
        """Convolve."""
        from scipy.signal import oaconvolve

        response = room_response(drawn, self.folder)
        return oaconvolve(wave.astype(np.float64), response)[: len(wave)]


def room_response(drawn: Drawn, folder: str = "") -> NDArray[np.float64]:
    """The drawn impulse response, (samples,), of unit energy, its peak first.

    >>> response = room_response({"t60": 0.5, "direct": 6.0, "seed": 0})
    >>> len(response), round(float((response**2).sum()), 6)
    (8000, 1.0)

    Raises:
        AudioError: the file can't be read, or is silent.
    """
    if "file" in drawn:
        response = read_recording(folder, drawn["file"]).astype(np.float64)
        if not response.any():
            raise AudioError(drawn["file"], "silent, expected an impulse response")
        response = response[np.abs(response).argmax() :]
    else:
        time = np.arange(round(drawn["t60"] * SAMPLE_RATE)) / SAMPLE_RATE
        tail = np.random.default_rng(drawn["seed"]).standard_normal(len(time))
        tail *= np.exp(-_FALL * time / drawn["t60"])
        tail[0] = 0
        response = 10 ** (-drawn["direct"] / 20) * tail / np.linalg.norm(tail)
        response[0] = 1
    return response / np.linalg.norm(response)
