"""Writing files so that a reader sees the old content or the new, never half of either."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from earwitness.errors import ProtocolError

__all__ = [
    "append_line",
    "digest",
    "read_text",
    "remove_leftovers",
    "write_atomically",
    "write_json",
    "write_text",
]


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> None:
    """Call ``write`` on a temporary file beside ``path``, then rename it into place.

    The rename is atomic and the bytes are flushed to disk first, so a killed process leaves
    either the whole old file or the whole new one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    try:
        write(Path(temporary))
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def read_text(path: str | Path) -> str:
    """The text of a UTF-8 file, with or without a byte order mark.

    Raises:
        ProtocolError: no such file, or not text.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ProtocolError(f"{path}: no such file.") from None
    except (UnicodeDecodeError, OSError) as error:
        raise ProtocolError(f"{path}: not a text file ({error}).") from None


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: str | Path, value: object) -> None:
    """Write ``value`` as indented JSON, atomically; NaN is refused because JSON has none."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def remove_leftovers(folder: str | Path) -> None:
    """Remove temporary files that a killed ``write_atomically`` left below a folder.

    Those of safetensors, which writes one of its own beside ours, are ``.tmp`` and some letters.
    """
    for pattern in (".*.tmp", ".tmp*"):
        for path in Path(folder).rglob(pattern):
            path.unlink(missing_ok=True)


def append_line(path: str | Path, value: object) -> None:
    """Append ``value`` as one line of JSON."""
    with open(path, "a", encoding="utf-8") as log:
        log.write(json.dumps(value, ensure_ascii=False) + "\n")


def digest(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
