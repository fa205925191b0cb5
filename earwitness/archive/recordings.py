"""Which recordings an archive has: named files, folders with all that is in them, manifests."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from earwitness.audio import EXTENSIONS
from earwitness.errors import ProtocolError, SettingsError
from earwitness.trials import Manifest

__all__ = ["Recording", "chunks", "gather", "spelled"]

_LISTS = (".csv", ".tsv")
_MOST_RECORDINGS, _MOST_BYTES = 64, 2**25


@dataclass(frozen=True, slots=True)
class Recording:
    """One file to be scored, as it was when the list was made."""

    name: str
    path: str
    bytes: int  # -1: no such file
    changed: int  # nanoseconds
    label: str = "unknown"

    @classmethod
    def of(cls, name: str, path: str, label: str = "unknown") -> "Recording":
        """With the file's size and time as they are now; a name that is not UTF-8 is spelled out."""
        name = spelled(name)
        try:
            told = os.stat(path)
        except (OSError, ValueError):  # reading it will say why
            return cls(name, path, -1, 0, label)
        return cls(name, path, told.st_size, told.st_mtime_ns, label)


def spelled(name: str) -> str:
    """A name of the file system's as text that can be written anywhere.

    >>> print(spelled(os.fsdecode(bytes([99, 233]))))
    c\\xe9
    """
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def gather(
    inputs: Sequence[str | Path],
    where: Mapping[str, str] | None = None,
    skipped: Counter[str] | None = None,
) -> list[Recording]:
    """All recordings of these files, folders (and theirs) and manifests, in order of their names.

    A file is named as it was given, one of a folder by its path from there on, one of a manifest by
    its trial's id. In folders, files are taken by extension (`audio.EXTENSIONS`), and linked folders
    are not entered. ``where`` chooses
    among manifests' trials by their columns: ``{"split": "dev|test"}``. ``skipped`` counts the files of
    folders that were not taken, by extension.

    >>> [one.name for one in gather(["b.wav", "a.wav"])]
    ['a.wav', 'b.wav']

    Raises:
        SettingsError: a recording is named twice, or ``where`` is said of what is no manifest.
        ProtocolError: a folder without recordings, a manifest that cannot be used, or no trial is left.
    """
    found = sorted(
        (one for path in inputs for one in _of(Path(path), where or {}, skipped)),
        key=lambda recording: recording.name,
    )
    if not found:
        raise SettingsError("no recordings are named.")
    for one, following in zip(found, found[1:], strict=False):
        if one.name == following.name:
            raise SettingsError(f"{one.name} is named twice; every recording is scored once.")
    return found


def chunks(recordings: Sequence[Recording]) -> list[Sequence[Recording]]:
    """The same, parted into what one worker does at a time: by number and by size.

    >>> [len(part) for part in chunks(gather([f"{n:03}.wav" for n in range(100)]))]
    [64, 36]
    """
    cuts, first, weight = [0], 0, 0
    for place, recording in enumerate(recordings):
        full = place - first == _MOST_RECORDINGS or weight + recording.bytes > _MOST_BYTES
        if full and place > first:
            cuts.append(place)
            first, weight = place, 0
        weight += max(0, recording.bytes)
    ends = [*cuts[1:], len(recordings)]
    return [recordings[begin:end] for begin, end in zip(cuts, ends, strict=True)]


def _of(path: Path, where: Mapping[str, str], skipped: Counter[str] | None) -> Iterator[Recording]:
    if where and (path.is_dir() or path.suffix.lower() not in _LISTS):
        raise SettingsError(f"--where chooses among the trials of manifests; {path} is none.")
    if path.is_dir():
        yield from _of_folder(path, Counter() if skipped is None else skipped)
    elif path.suffix.lower() in _LISTS:
        manifest = Manifest.read(path).having(where)
        for trial in manifest:
            yield Recording.of(trial.id, str(manifest.path(trial)), trial.label)
    else:
        yield Recording.of(str(path), str(path))


def _of_folder(folder: Path, skipped: Counter[str]) -> Iterator[Recording]:
    empty = True
    for path in _files(folder):
        if path.lower().endswith(EXTENSIONS):
            empty = False
            yield Recording.of(path, path)
        else:
            skipped[spelled(os.path.splitext(path)[1].lower()) or "no extension"] += 1
    if empty:
        known = ", ".join(EXTENSIONS)
        raise ProtocolError(f"{folder}: no recordings are in it; expected files named {known}.")


def _files(folder: str | Path) -> Iterable[str]:
    for above, _, names in os.walk(folder, onerror=_refuse):
        for name in names:
            yield os.path.join(above, name)


def _refuse(error: OSError) -> None:
    raise error
