"""A recording of any length as one picture, and as a file that a browser plays, in bounded memory."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from earwitness.audio import SAMPLE_RATE
from earwitness.blocks import blocks
from earwitness.files import write_atomically

__all__ = ["COLUMNS", "picture_and_sound"]

COLUMNS = 1200  # of the picture; a longer recording has more seconds in each
_FFT = 512
_HEIGHT = 192
_DECIBELS = 70.0  # from the loudest down


def picture_and_sound(recording: Path, seconds: float, picture: Path, sound: Path) -> None:
    """Write the spectrogram of all of it as PNG, 0 to 8 kHz, and the sound as it was heard as FLAC.

    Raises:
        AudioError: the recording can't be used.
    """
    write_atomically(sound, lambda part: _copy(recording, part, picture, seconds))


def _copy(recording: Path, part: Path, picture: Path, seconds: float) -> None:
    columns = _Columns(max(1, round(seconds * SAMPLE_RATE)))
    with soundfile.SoundFile(part, "w", SAMPLE_RATE, 1, "PCM_16", format="FLAC") as out:
        for piece in blocks(recording):
            columns.add(piece)
            out.write(np.clip(piece, -1, 1))
    write_atomically(picture, lambda temporary: _draw(temporary, columns.decibels()))


class _Columns:
    """Mean power of the frames that fall into each column of the picture."""

    def __init__(self, samples: int):
        self.count = int(min(COLUMNS, max(1, samples // (_FFT // 4))))
        self._samples = max(samples, _FFT)
        self._power = np.zeros((self.count, _FFT // 2 + 1))
        self._frames = np.zeros(self.count)
        self._rest: NDArray[np.float32] = np.zeros(0, np.float32)
        self._at = 0  # the first sample of the rest
        # Not all frames of a long recording are needed: a few for each column are enough.
        self._hop = max(_FFT // 4, self._samples // (self.count * 8))

    def add(self, piece: NDArray[np.float32]) -> None:
        wave = np.concatenate([self._rest, piece])
        starts = np.arange(0, max(0, len(wave) - _FFT + 1), self._hop)
        for some in _parts(starts):
            frames = wave[some[:, None] + np.arange(_FFT)] * np.hanning(_FFT)
            power = np.abs(np.fft.rfft(frames)) ** 2
            places = np.minimum((self._at + some) * self.count // self._samples, self.count - 1)
            np.add.at(self._power, places, power)
            np.add.at(self._frames, places, 1)
        done = min(len(wave), int(starts[-1]) + self._hop) if len(starts) else 0
        self._rest, self._at = wave[done:], self._at + done

    def decibels(self) -> NDArray[np.float64]:
        """(columns, bins) between 0 and 1."""
        power = self._power / np.maximum(self._frames, 1)[:, None]
        empty = self._frames == 0  # a short recording's last column, say
        if empty.any() and not empty.all():
            known = np.flatnonzero(~empty)
            nearest = known[np.abs(np.flatnonzero(empty)[:, None] - known).argmin(1)]
            power[empty] = power[nearest]
        level = 10 * np.log10(np.maximum(power, 1e-12))
        scaled: NDArray[np.float64] = np.clip((level - level.max()) / _DECIBELS + 1, 0, 1)
        return scaled


def _parts(starts: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for first in range(0, len(starts), 1024):
        yield starts[first : first + 1024]


def _draw(path: Path, values: NDArray[np.float64]) -> None:
    from matplotlib import colormaps
    from matplotlib.image import imsave

    rows = np.linspace(values.shape[1] - 1, 0, _HEIGHT).round().astype(int)
    colours = colormaps["magma"](values.T[rows])
    imsave(path, colours, format="png", metadata={"Software": ""})
