"""Audio files in and out; with `augment.codec`, the only place that knows soundfile, soxr and PyAV.

Conventions: a wave is float32, mono, 16 kHz, of shape (samples,). Channels are averaged; other
rates go through soxr's band-limited "very high quality" resampler. Levels are never changed.
libsndfile decodes; what it refuses (over a third of the ASVspoof 2021 FLAC files, or m4a) goes to
PyAV, and each clip names its decoder so that a run can count them. A file that cannot be used is
an `AudioError` with path and reason, never a shorter or an invented wave.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from earwitness.errors import AudioError, MissingExtra, SettingsError
from earwitness.files import write_atomically

__all__ = [
    "EXTENSIONS",
    "FULL_SCALE",
    "MIN_SECONDS",
    "SAMPLE_RATE",
    "Clip",
    "DecodingReport",
    "crop_or_repeat",
    "openable",
    "pad",
    "pyav_blocks",
    "random_start",
    "read",
    "read_many",
    "require_file",
    "seconds_of",
    "windows",
    "write",
]

SAMPLE_RATE = 16_000
MIN_SECONDS = 0.025  # one analysis frame: with less, no front end has anything to say
EXTENSIONS = (".wav", ".flac", ".ogg", ".mp3", ".m4a", ".opus")

Wave = NDArray[np.float32]
OnError = Literal["raise", "skip"]
_LONGEST = 2**31  # samples over all channels (37 h at 16 kHz): a header that says more is wrong
_GAP_SECONDS = 0.01  # below any codec's frame, above the rounding of a container's time stamps
# Of FFmpeg's formats those of recordings: others, such as playlists, make it open further files and
# addresses that are named inside.
_FORMATS = {
    "format_whitelist": "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,eac3,flac,matroska,mov,mp3,"
    "ogg,opus,tta,voc,w64,wav,webm,wv",
    "protocol_whitelist": "file,pipe",
}
FULL_SCALE = 0.99  # 8-bit full scale is 127/128


@dataclass(frozen=True, eq=False)
class Clip:
    """A decoded recording: ``wave`` is float32, mono, 16 kHz, of shape (samples,)."""

    wave: Wave
    original_rate: int  # Hz
    channels: int
    decoder: str  # "soundfile" or "pyav"

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.wave) / SAMPLE_RATE


@dataclass
class DecodingReport:
    """What became of many files: how many each decoder read, and what failed for which reason.

    >>> report = DecodingReport()
    >>> report.add(AudioError("a.wav", "no such file"))
    >>> print(report)
    0 read, 1 failed
      a.wav: no such file
    """

    decoders: Counter[str] = field(default_factory=Counter)
    failures: list[AudioError] = field(default_factory=list)

    def add(self, result: Clip | AudioError) -> None:
        """Count one file."""
        if isinstance(result, AudioError):
            self.failures.append(result)
        else:
            self.decoders[result.decoder] += 1

    def __str__(self) -> str:
        by = ", ".join(f"{n} by {decoder}" for decoder, n in sorted(self.decoders.items()))
        read_ = f"{self.decoders.total()} read" + (f" ({by})" if by else "")
        head = f"{read_}, {len(self.failures)} failed"
        return "\n".join([head, *(f"  {failure}" for failure in self.failures)])


def read(path: str | Path, *, check: bool = True) -> Clip:
    """Decode a recording of any format, rate, width and channel count.

    ``check=False`` lets through what is decodable but useless: NaN, constant or too short signals.

    >>> import tempfile
    >>> name = Path(tempfile.mkdtemp()) / "tone.wav"
    >>> write(name, 0.1 * np.sin(np.arange(8000) / 5), rate=8000)
    >>> clip = read(name)
    >>> clip.wave.shape, clip.wave.dtype.name, clip.original_rate, clip.duration
    ((16000,), 'float32', 8000, 1.0)

    Raises:
        AudioError: missing, a folder, not audio, damaged, empty, shorter than ``MIN_SECONDS``,
            with NaN or infinite samples, constant, or clipped to a constant.
    """
    path = Path(path)
    require_file(path)
    try:
        (frames, rate), decoder = _by_soundfile(path), "soundfile"
    except _Refused as refusal:
        (frames, rate), decoder = _by_pyav(path, str(refusal)), "pyav"
    if not len(frames):
        raise AudioError(path, "empty: it holds 0 samples")
    mono = frames.mean(axis=1, dtype=np.float32)
    if check and np.ptp(mono) == 0 and np.ptp(frames) > 0:
        raise AudioError(path, "its channels cancel out when they are averaged; give one of them alone")
    if check:
        _require_signal(path, mono, rate)
    if rate != SAMPLE_RATE:
        mono = soxr.resample(mono, rate, SAMPLE_RATE, quality="VHQ")
    return Clip(np.ascontiguousarray(mono), rate, frames.shape[1], decoder)


def seconds_of(path: str | Path) -> float:
    """A recording's length by its header, without decoding it where libsndfile knows the format.

    >>> import tempfile
    >>> name = Path(tempfile.mkdtemp()) / "tone.wav"
    >>> write(name, 0.1 * np.sin(np.arange(8000) / 5), rate=8000)
    >>> seconds_of(name)
    1.0

    Raises:
        AudioError: missing, a folder, not audio, or empty.
    """
    path = Path(path)
    require_file(path)
    try:
        told = soundfile.info(openable(path))
    except soundfile.LibsndfileError:
        return read(path, check=False).duration
    if not told.frames or told.frames > _LONGEST:
        return read(path, check=False).duration  # says what is wrong, or how long it really is
    return float(told.frames / told.samplerate)


def read_many(
    paths: Iterable[str | Path],
    *,
    on_error: OnError = "raise",
    report: DecodingReport | None = None,
) -> Iterator[tuple[Path, Clip | AudioError]]:
    """Read files one after another: one (path, clip) for each path, in their order.

    With ``on_error="skip"`` a bad file does not end the run: its pair holds the `AudioError`
    in place of the clip. ``report`` counts clips and failures as they pass.

    >>> report = DecodingReport()
    >>> [(path.name, type(result).__name__)
    ...  for path, result in read_many(["nothing.wav"], on_error="skip", report=report)]
    [('nothing.wav', 'AudioError')]

    Raises:
        AudioError: with ``on_error="raise"``, at the first bad file.
        SettingsError: ``on_error`` is neither "raise" nor "skip".
    """
    if on_error not in get_args(OnError):
        raise SettingsError(f"on_error is {on_error!r}, expected 'raise' or 'skip'.")
    return _each(paths, on_error, report if report is not None else DecodingReport())


def _each(
    paths: Iterable[str | Path], on_error: OnError, report: DecodingReport
) -> Iterator[tuple[Path, Clip | AudioError]]:
    for path in map(Path, paths):
        result: Clip | AudioError
        try:
            result = read(path)
        except AudioError as error:
            result = error
        report.add(result)
        if isinstance(result, AudioError) and on_error == "raise":
            raise result
        yield path, result


def write(path: str | Path, wave: NDArray[Any], *, rate: int = SAMPLE_RATE) -> None:
    """Write a mono wave of values in [-1, 1] as 16-bit FLAC or WAV, by extension, atomically.

    What `read` gave for a 16-bit file of the same rate is written back without a change.

    Raises:
        AudioError: another extension, not one-dimensional, empty, NaN, or beyond [-1, 1].
    """
    path = Path(path)
    wave = np.asarray(wave)
    format_ = path.suffix.lower().lstrip(".")
    if format_ not in ("flac", "wav"):
        raise AudioError(path, f"cannot write {path.suffix!r} files; use .flac or .wav")
    if wave.ndim != 1 or not len(wave):
        raise AudioError(path, f"expected a wave of shape (samples,), found {wave.shape}")
    peak = float(np.abs(wave).max())
    if not peak <= 1:  # also true for NaN
        raise AudioError(path, f"samples must lie in [-1, 1], found a peak of {peak:.4g}")
    integers = np.clip(np.rint(wave * 32768.0), -32768, 32767).astype(np.int16)
    write_atomically(
        path,
        lambda temporary: soundfile.write(
            temporary, integers, rate, format=format_.upper(), subtype="PCM_16"
        ),
    )


def crop_or_repeat(wave: Wave, samples: int, *, start: int = 0) -> Wave:
    """Exactly ``samples`` samples: a longer wave is cropped from ``start``, a shorter repeated.

    Repetition, not zeros, is the field's way to fill a fixed length (AASIST, RawNet2).

    >>> crop_or_repeat(np.array([1, 2, 3]), 5), crop_or_repeat(np.array([1, 2, 3]), 2, start=1)
    (array([1, 2, 3, 1, 2]), array([2, 3]))

    Raises:
        SettingsError: an empty wave, ``samples`` below 1, or a crop that leaves the wave.
    """
    if samples < 1 or not len(wave):
        raise SettingsError(f"cannot make {samples} sample(s) from a wave of {len(wave)}.")
    last = max(0, len(wave) - samples)
    if not 0 <= start <= last:
        raise SettingsError(f"the crop starts at sample {start}, expected 0 to {last}.")
    return np.resize(wave[start:], samples)


def pad(wave: Wave, samples: int) -> Wave:
    """Append zeros until the wave has ``samples`` samples.

    >>> pad(np.array([1, 2]), 4)
    array([1, 2, 0, 0])

    Raises:
        SettingsError: the wave is longer already; padding never crops.
    """
    if len(wave) > samples:
        raise SettingsError(f"cannot pad a wave of {len(wave)} samples to {samples}; crop it.")
    return np.pad(wave, (0, samples - len(wave)))


def random_start(length: int, samples: int, rng: np.random.Generator) -> int:
    """A uniform start for a crop of ``samples`` out of ``length``; 0 when there is no choice.

    >>> random_start(10, 16, np.random.default_rng(0))
    0
    """
    return int(rng.integers(max(0, length - samples) + 1))


def windows(length: int, window: int, hop: int) -> list[int]:
    """Starts of the windows that cover a recording of ``length`` samples.

    Every sample is in a window; the last window ends with the recording. A recording that is not
    longer than a window gets one.

    >>> windows(10, 4, 3), windows(11, 4, 3), windows(3, 4, 3)
    ([0, 3, 6], [0, 3, 6, 7], [0])

    Raises:
        SettingsError: a hop below 1, or above ``window`` so that samples would be left out.
    """
    if not 1 <= hop <= window:
        raise SettingsError(f"the hop is {hop} samples, expected 1 to the window's {window}.")
    last = max(0, length - window)
    return [*range(0, last, hop), last]


class _Refused(Exception):
    """libsndfile does not read the file; the message is its reason."""


def openable(path: Path) -> str | bytes:
    """A path as soundfile opens it, of whatever bytes its name is."""
    return str(path) if sys.platform == "win32" else os.fsencode(path)


def require_file(path: Path) -> None:
    """Raise `AudioError` for what can't be a recording, before it is opened."""
    if path.is_dir():
        raise AudioError(path, "a folder, expected an audio file")
    try:
        there = path.is_file()
    except (OSError, ValueError) as error:  # a name that no file can have, or no right to look
        raise AudioError(path, f"can't be read ({error})") from None
    if not there:
        what = "no recording, but a device or a pipe" if path.exists() else "no such file"
        raise AudioError(path, what)
    if path.stat().st_size == 0:
        raise AudioError(path, "empty: 0 bytes")
    if path.suffix.lower() == ".raw":
        raise AudioError(path, "headerless audio, its rate is unknown; convert it to WAV or FLAC")


def _require_signal(path: Path, wave: Wave, rate: int) -> None:
    seconds = len(wave) / rate
    if seconds < MIN_SECONDS:
        raise AudioError(path, f"too short: {seconds:.4f} s, at least {MIN_SECONDS} s is needed")
    wrong = int(np.count_nonzero(~np.isfinite(wave)))
    if wrong:
        raise AudioError(path, f"{wrong} of {len(wave)} samples are NaN or infinite")
    if np.abs(wave).min() >= FULL_SCALE:
        raise AudioError(path, "clipped to a constant: every sample is at full scale")
    if np.ptp(wave) == 0:
        raise AudioError(path, f"constant signal: every sample is {wave[0]:.4g}")


def _by_soundfile(path: Path) -> tuple[Wave, int]:
    """Frames of shape (samples, channels) and the rate."""
    try:
        with soundfile.SoundFile(openable(path)) as file:
            declared, rate = file.frames, file.samplerate
            if declared * file.channels > _LONGEST:
                raise _Refused(f"its header declares {declared} samples")
            frames = file.read(dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise _Refused(error.error_string.rstrip(".")) from error
    if len(frames) < declared:
        raise AudioError(path, f"damaged: {len(frames)} of {declared} samples can be decoded")
    return frames, rate


def _by_pyav(path: Path, refusal: str) -> tuple[Wave, int]:
    """Frames of shape (samples, channels) and the rate."""
    blocks = list(pyav_blocks(path, refusal))
    if not blocks:
        return np.zeros((0, 1), dtype=np.float32), SAMPLE_RATE
    return np.concatenate([block for block, _ in blocks]), blocks[0][1]


def pyav_blocks(path: Path, refusal: str) -> Iterator[tuple[Wave, int]]:
    """Frames of shape (samples, channels) and the rate, piece by piece as they are decoded."""
    try:
        import av
    except ImportError:
        hint = MissingExtra("the second decoder, PyAV,", "codecs")
        raise AudioError(path, f"libsndfile: {refusal}; {hint}") from None
    try:
        # Through an open file: FFmpeg takes a name with a colon for an address.
        with open(path, "rb") as file, av.open(file, mode="r", options=_FORMATS) as container:
            if not container.streams.audio:
                raise AudioError(path, f"no audio in it (libsndfile: {refusal})")
            stream = container.streams.audio[0]
            stream.codec_context.options = {"err_detect": "crccheck+explode"}
            to_float = av.AudioResampler(format="fltp")
            for frame in _without_gaps(path, stream, container.decode(stream)):
                for converted in to_float.resample(frame):
                    yield converted.to_ndarray().T.astype(np.float32, copy=False), stream.rate
    except av.FFmpegError as error:
        reason = f"not audio or damaged (libsndfile: {refusal}; PyAV: {error.strerror})"
        raise AudioError(path, reason) from None


def _without_gaps(path: Path, stream: Any, frames: Iterable[Any]) -> Iterator[Any]:
    """Pass the frames on; a jump in their time stamps means that FFmpeg left out a damaged one."""
    end = None if stream.start_time is None else float(stream.start_time * stream.time_base)
    for frame in frames:
        if frame.pts is not None:
            start = float(frame.pts * frame.time_base)
            if end is not None and abs(start - end) > _GAP_SECONDS:
                raise AudioError(path, f"damaged: the audio jumps from {end:.3f} to {start:.3f} s")
            end = start
        if end is not None:
            end += frame.samples / frame.sample_rate
        yield frame
