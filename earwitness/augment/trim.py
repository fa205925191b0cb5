"""Leading and trailing silence cut off, found by energy."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from earwitness.audio import SAMPLE_RATE
from earwitness.augment.base import MIN_SAMPLES, Augment, Drawn, Wave, require_range

__all__ = ["Trim"]

_FRAME = 160  # samples, 10 ms


class Trim(Augment):
    """Silence before the first speech and after the last cut off, by a voice activity detector.

    Speech begins where ``hold`` seconds of 10 ms frames in a row are louder than ``threshold`` dB
    relative to the clip's loudest frame, so a click doesn't start it; the end is found from behind.
    ``keep`` seconds of what lies before (and after) stay. The clip is never cut below 400 samples, and
    one where nothing is found, as silence, is left as it is. Nothing but the threshold is drawn.

    Silence at the ends is a shortcut that detectors take (Müller et al., ASVspoof 2021 workshop).

    >>> wave = np.concatenate([np.zeros(8000), np.ones(8000), np.zeros(4000)])
    >>> trim = Trim(keep=0.0)
    >>> [len(one(wave, np.random.default_rng(0))[0]) for one in (trim, Trim(ends="both", keep=0.0))]
    [12000, 8000]

    Raises:
        SettingsError: a threshold that isn't within -100 to 0 dB, or a negative time.
    """

    def __init__(
        self,
        *,
        ends: Literal["start", "end", "both"] = "start",
        threshold: tuple[float, float] = (-35.0, -35.0),
        hold: float = 0.05,
        keep: float = 0.02,
    ):
        require_range("trim: threshold", threshold, -100, 0)
        require_range("trim: [hold, hold], seconds", (hold, hold), 0, 10)
        require_range("trim: [keep, keep], seconds", (keep, keep), 0, 10)
        self.ends, self.threshold, self.hold, self.keep = ends, threshold, hold, keep

    def draw(self, rng: np.random.Generator, samples: int) -> Drawn:
        """The threshold, in dB below the loudest frame."""
        return {"threshold": rng.uniform(*self.threshold)}

    def change(self, wave: Wave, drawn: Drawn) -> Wave:
        """The part between the ends that were asked for."""
        is_loud = _loud_frames(wave, drawn["threshold"])
        begin = self._lead(is_loud) if self.ends != "end" else 0
        stop = len(wave) - (self._lead(is_loud[::-1]) if self.ends != "start" else 0)
        begin = min(begin, max(0, len(wave) - MIN_SAMPLES))
        return wave[begin : max(stop, begin + MIN_SAMPLES)]

    def _lead(self, is_loud: NDArray[np.bool_]) -> int:
        """Samples before speech, less those that are kept."""
        run = min(len(is_loud), max(1, round(self.hold * SAMPLE_RATE / _FRAME)))
        whole = np.lib.stride_tricks.sliding_window_view(is_loud, run).all(axis=1)
        found = int(whole.argmax()) * _FRAME if whole.any() else 0
        return max(0, found - round(self.keep * SAMPLE_RATE))


def _loud_frames(wave: Wave, threshold: float) -> NDArray[np.bool_]:
    count = len(wave) // _FRAME
    frames = wave[: count * _FRAME].astype(np.float64).reshape(count, _FRAME)
    power = (frames**2).mean(axis=1)
    loudest = power.max()
    return (power >= loudest * 10 ** (threshold / 10)) & (loudest > 0)
