"""Recordings of any length in bounded memory: blocks as they are decoded, and the windows in them.

Short recordings are read whole, by `audio.read`, so that they are heard exactly as when they are
scored. Longer ones are decoded, averaged over channels and resampled piece by piece; their samples then
differ from `audio.read`'s in the resampler's rounding only, and at 16 kHz not at all.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from earwitness import audio
from earwitness.errors import AudioError

__all__ = ["Heard", "blocks", "windows_of"]

Wave = NDArray[np.float32]
_WHOLE_SECONDS = 300.0  # up to here a recording is read whole
_WHOLE_SAMPLES = 300 * 48_000 * 2  # of all channels
_UNKNOWN_BYTES = 2**20
_BLOCK = 10  # seconds


class Heard:
    """What is known of a recording once all of it has gone through: samples at 16 kHz."""

    def __init__(self) -> None:
        self.samples = 0

    @property
    def seconds(self) -> float:
        """Length."""
        return self.samples / audio.SAMPLE_RATE


def blocks(
    path: str | Path, *, whole_seconds: float = _WHOLE_SECONDS, most_seconds: float = np.inf
) -> Iterator[Wave]:
    """A recording's wave, float32, mono, 16 kHz, piece by piece.

    Recordings of up to ``whole_seconds`` come in one piece, unless many channels or a high rate make
    them large; those whose length libsndfile doesn't know, up to a mebibyte.

    Raises:
        AudioError: as of `audio.read`; of a long recording, when the fault is met. Its header says that
            it has more than ``most_seconds``.
    """
    path = Path(path)
    audio.require_file(path)
    if _is_short(path, whole_seconds, most_seconds):
        yield audio.read(path).wave
        return
    seen, low, high, quietest = 0, np.inf, -np.inf, np.inf
    resampler: soxr.ResampleStream | None = None
    for frames, rate in _decoded(path):
        mono = frames.mean(axis=1, dtype=np.float32)
        wrong = int(np.count_nonzero(~np.isfinite(mono)))
        if wrong:
            raise AudioError(path, f"{wrong} sample(s) after {seen / rate:.2f} s are NaN or infinite")
        seen += len(mono)
        low, high = min(low, mono.min(initial=low)), max(high, mono.max(initial=high))
        quietest = min(quietest, np.abs(mono).min(initial=quietest))
        if rate == audio.SAMPLE_RATE:
            yield mono
            continue
        if resampler is None:
            resampler = soxr.ResampleStream(rate, audio.SAMPLE_RATE, 1, quality="VHQ")
        yield resampler.resample_chunk(mono)
    if resampler is not None:
        yield resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True)
    if low >= high or quietest >= audio.FULL_SCALE:
        raise AudioError(path, "constant signal, or clipped to one: nothing to hear")


def windows_of(
    pieces: Iterator[Wave], window: int, hop: int, heard: Heard
) -> Iterator[tuple[int, Wave]]:
    """Windows of ``window`` samples every ``hop``, with their starts, as `audio.windows` places them.

    The last ends with the recording; a recording shorter than a window is repeated. ``heard`` counts.

    >>> heard = Heard()
    >>> pieces = iter([np.arange(3, dtype=np.float32), np.arange(3, 11, dtype=np.float32)])
    >>> [(start, row.tolist()) for start, row in windows_of(pieces, 4, 3, heard)][2:], heard.samples
    ([(6, [6.0, 7.0, 8.0, 9.0]), (7, [7.0, 8.0, 9.0, 10.0])], 11)
    """
    audio.windows(1, window, hop)  # says what is wrong with them
    kept, first, begin = np.zeros(0, dtype=np.float32), 0, 0  # kept[0] is sample ``first``
    for piece in pieces:
        heard.samples += len(piece)
        kept = np.concatenate([kept, piece])
        # Strictly less: the last window is the one that ends with the recording.
        while begin + window < heard.samples:
            yield begin, kept[begin - first : begin - first + window]
            begin += hop
        drop = max(0, min(begin, heard.samples - window) - first)
        kept, first = kept[drop:].copy(), first + drop
    last = max(0, heard.samples - window)
    yield last, audio.crop_or_repeat(kept[last - first :], window)


def _is_short(path: Path, seconds: float, most_seconds: float) -> bool:
    try:
        told = soundfile.info(audio.openable(path))
    except (soundfile.LibsndfileError, TypeError):
        return path.stat().st_size <= _UNKNOWN_BYTES
    if told.frames > most_seconds * told.samplerate:
        raise AudioError(path, f"longer than {most_seconds:g} s")
    small = told.frames * told.channels <= _WHOLE_SAMPLES
    return bool(told.frames <= seconds * told.samplerate and small)


def _decoded(path: Path) -> Iterator[tuple[Wave, int]]:
    """Frames (samples, channels) and the rate; PyAV takes over where libsndfile gives up."""
    done = 0
    try:
        with soundfile.SoundFile(audio.openable(path)) as file:
            for frames in file.blocks(_BLOCK * file.samplerate, dtype="float32", always_2d=True):
                done += len(frames)
                yield frames, file.samplerate
            if done < file.frames:
                raise AudioError(path, f"damaged: {done} of {file.frames} samples can be decoded")
            return
    except soundfile.LibsndfileError as error:
        refusal = error.error_string.rstrip(".")
    for frames, rate in audio.pyav_blocks(path, refusal):
        skip = min(done, len(frames))
        done -= skip
        if skip < len(frames):
            yield frames[skip:], rate
