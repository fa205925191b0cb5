"""The recordings of a folder, by names that hold no path of this machine."""

from pathlib import Path

from earwitness.audio import EXTENSIONS, read
from earwitness.augment.base import Wave
from earwitness.errors import SettingsError

__all__ = ["list_recordings", "read_recording"]


def list_recordings(folder: str, what: str) -> list[str]:
    """Names of the audio files anywhere below ``folder``, relative to it, sorted.

    Raises:
        SettingsError: no such folder, or no audio in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise SettingsError(f"{what}: folder is {folder!r}, expected a folder of recordings.")
    found = sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.suffix.lower() in EXTENSIONS and path.is_file()
    )
    if not found:
        listed = ", ".join(EXTENSIONS)
        raise SettingsError(f"{what}: no recording ({listed}) is in the folder {folder!r}.")
    return found


def read_recording(folder: str, name: str) -> Wave:
    """One of them, mono at 16 kHz.

    Raises:
        AudioError: it can't be read.
    """
    return read(Path(folder) / name, check=False).wave
