"""Noise from a folder of recordings, such as MUSAN."""

import numpy as np
from numpy.typing import NDArray

from earwitness.audio import crop_or_repeat
from earwitness.augment._recordings import list_recordings, read_recording
from earwitness.augment.base import Augment, Drawn, Wave, add_at_ratio, require_range

__all__ = ["RecordedNoise"]


class RecordedNoise(Augment):
    """A stretch of a recording from ``folder``, added at ``snr`` dB below the clip.

    Made for MUSAN (Snyder, Chen and Povey 2015), of which each folder is one kind: customary are 0 to
    15 dB for ``noise``, 5 to 15 for ``music``, 13 to 20 for ``speech``. Every file below the folder is
    equally likely, and so is every start; a recording shorter than the clip is repeated. Where the
    stretch is silent, nothing is added.

    >>> import tempfile
    >>> from earwitness import audio
    >>> folder = tempfile.mkdtemp()
    >>> audio.write(f"{folder}/hum.wav", 0.1 * np.sin(np.arange(8000) / 9))
    >>> noisy, drawn = RecordedNoise(folder=folder)(np.ones(16_000), np.random.default_rng(0))
    >>> drawn["file"], round(drawn["snr"], 1)
    ('hum.wav', 4.0)

    Raises:
        SettingsError: no such folder, no audio in it, or a ratio that isn't a range.
        AudioError: when applied, where the file can't be read.
    """

    def __init__(self, *, folder: str, snr: tuple[float, float] = (0.0, 15.0)):
        require_range("recorded_noise: snr", snr)
        self.folder, self.snr = folder, snr
        self._files = list_recordings(folder, "recorded_noise")

    def draw(self, rng: np.random.Generator, samples: int) -> Drawn:
        """The file, where in it the stretch starts (a share of where it fits), and the ratio."""
        file = self._files[rng.integers(len(self._files))]
        return {"file": file, "start": rng.random(), "snr": rng.uniform(*self.snr)}

    def change(self, wave: Wave, drawn: Drawn) -> NDArray[np.float64]:
        """Add the stretch."""
        noise = read_recording(self.folder, drawn["file"])
        start = int(drawn["start"] * max(0, len(noise) - len(wave)))
        stretch = crop_or_repeat(noise, len(wave), start=start)
        return add_at_ratio(wave, stretch.astype(np.float64), drawn["snr"])
