"""Writing files so that a reader sees the old content or the new, never half of either."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from earwitness.errors import CheckpointError, ProtocolError, RunError, SettingsError

__all__ = [
    "append_line",
    "digest",
    "is_read_only",
    "read_card",
    "read_text",
    "remove_leftovers",
    "require_new_outputs",
    "set_read_only",
    "write_atomically",
    "write_json",
    "write_text",
]


_state = {"read_only": False}


def set_read_only(on: bool) -> None:
    """Whether writing does nothing: of several processes at one run, the first alone writes."""
    _state["read_only"] = on


def is_read_only() -> bool:
    """Whether writing does nothing."""
    return _state["read_only"]


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> None:
    """Call ``write`` on a temporary file beside ``path``, then rename it into place.

    The rename is atomic and the bytes are flushed to disk first, so a killed process leaves
    either the whole old file or the whole new one. A link stays a link; what is no file (a device, a
    pipe) is written into, as nothing can take its place.

    Raises:
        RunError: a folder is there.
    """
    path = Path(path)
    if _state["read_only"]:
        return
    if path.is_dir():
        raise RunError(f"{path}: a folder is there; expected the name of a file to write.")
    if path.is_symlink():
        path = path.resolve()
    if path.exists() and not path.is_file():
        _write_into(path, write)
        return
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


def _write_into(path: Path, write: Callable[[Path], object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        write(whole)
        path.write_bytes(whole.read_bytes())


def require_new_outputs(outputs: Iterable[Path | None], inputs: Iterable[Path | None]) -> None:
    """Refuse an output that is also an input, or another output: it would be lost.

    Raises:
        SettingsError: two of them are one file.
    """
    read = {path.resolve(): path for path in inputs if path is not None}
    written: set[Path] = set()
    for path in outputs:
        if path is None:
            continue
        if path.resolve() in read:
            raise SettingsError(
                f"{path} is an input; writing there would destroy it. Name another file."
            )
        if path.resolve() in written:
            raise SettingsError(f"{path} is to be written twice; name two files.")
        written.add(path.resolve())


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


def read_card(folder: str | Path, form: str, *, of: str, written_by: str) -> dict[str, Any]:
    """The card.json of a folder that holds something saved; ``form`` is its entry ``format``.

    Raises:
        CheckpointError: absent, not JSON, or the card of something else than ``of``.
    """
    path = Path(folder) / "card.json"
    if not path.is_file():
        raise CheckpointError(f"{folder}: no card.json; expected a folder written by {written_by}.")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: not JSON ({error}).") from None
    if not isinstance(card, dict) or card.get("format") != form:
        raise CheckpointError(f"{path}: not the card of {of}.")
    return card


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
    if _state["read_only"]:
        return
    for pattern in (".*.tmp", ".tmp*"):
        for path in Path(folder).rglob(pattern):
            path.unlink(missing_ok=True)


def append_line(path: str | Path, value: object) -> None:
    """Append ``value`` as one line of JSON."""
    if _state["read_only"]:
        return
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
