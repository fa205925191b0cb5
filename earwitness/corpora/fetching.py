"""Downloads that can be cut: whole files or none, checked, and gone on with where they stopped."""

import hashlib
import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

from earwitness.errors import RunError

__all__ = ["Remote", "fetch", "fetch_all", "zenodo_files"]

_BLOCK = 1 << 20
_ZENODO = "https://zenodo.org/api/records"
_Progress = Callable[[str, int, int], object]


class Remote(NamedTuple):
    """A file elsewhere: what it is called here, its address, bytes, and MD5 sum or ``""``."""

    name: str
    url: str
    size: int
    md5: str = ""


def zenodo_files(record: str, *, api: str = _ZENODO) -> list[Remote]:
    """The files of a Zenodo record, with the sizes and sums that Zenodo tells.

    Raises:
        RunError: the record can't be asked for, or the answer is no record.
    """
    try:
        with urllib.request.urlopen(f"{api}/{record}", timeout=60) as answer:
            told = json.load(answer)
        return [
            Remote(
                one["key"], one["links"]["self"], int(one["size"]), one["checksum"].removeprefix("md5:")
            )
            for one in told["files"]
        ]
    except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{api}/{record}: the record's files can't be listed ({error!r}).") from None


def fetch_all(
    remotes: list[Remote],
    folder: str | Path,
    *,
    tries: int = 5,
    pause: float = 2.0,
    on_bytes: _Progress = lambda name, done, total: None,
) -> list[Path]:
    """Fetch what is not there yet; the room on disk is asked for first.

    Raises:
        RunError: too little room, or a file that can't be fetched whole.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lacking = sum(one.size - _have(folder, one) for one in remotes)
    room = shutil.disk_usage(folder).free
    if lacking > room:
        raise RunError(
            f"{folder}: {lacking / 1e9:.1f} GB are to be fetched and {room / 1e9:.1f} GB are free; "
            "make room, or choose another folder. Unpacking needs about as much again."
        )
    return [fetch(one, folder, tries=tries, pause=pause, on_bytes=on_bytes) for one in remotes]


def _have(folder: Path, one: Remote) -> int:
    """Bytes that are there, whole or in part."""
    for path in (folder / one.name, _partly(folder, one)):
        if path.is_file():
            return min(path.stat().st_size, one.size)
    return 0


def _partly(folder: Path, one: Remote) -> Path:
    return folder / f"{one.name}.part"


def fetch(
    one: Remote,
    folder: str | Path,
    *,
    tries: int = 5,
    pause: float = 2.0,
    on_bytes: _Progress = lambda name, done, total: None,
) -> Path:
    """Fetch a file, going on from ``NAME.part`` if that is there; a whole one is only checked.

    The file gets its name when its size and sum are right. A server that doesn't take ranges begins
    anew. After a cut it is tried again, ``tries`` times in all without a byte gained.

    Raises:
        RunError: it can't be fetched, or its sum is wrong (then the part is removed).
    """
    folder = Path(folder)
    path, part = folder / one.name, _partly(folder, one)
    if Path(one.name).name != one.name:
        raise RunError(f"{one.url}: the name {one.name!r} leads out of the folder.")
    if path.is_file():
        _require_sum(path, one, remove=False)
        return path
    failures, last = 0, "nothing was sent"
    while not part.is_file() or part.stat().st_size < one.size:
        before = part.stat().st_size if part.is_file() else 0
        try:
            _go_on(one, part, on_bytes)
        except (OSError, HTTPException) as error:
            last = str(error) or type(error).__name__
            if isinstance(error, urllib.error.HTTPError) and error.code in (401, 403, 404, 410):
                raise RunError(f"{one.url}: the server answers {error.code} {error.reason}.") from None
        gained = (part.stat().st_size if part.is_file() else 0) > before
        failures = 0 if gained else failures + 1
        if failures >= tries:
            raise RunError(
                f"{one.url}: {tries} tries without a byte, the last one: {last}. What there is stays "
                f"in {part}; the same command goes on from there."
            )
        if failures:
            time.sleep(pause * failures)
    _require_sum(part, one, remove=True)
    part.replace(path)
    return path


def _go_on(one: Remote, part: Path, on_bytes: _Progress) -> None:
    start = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(one.url, headers={"Range": f"bytes={start}-"} if start else {})
    with urllib.request.urlopen(request, timeout=60) as answer:
        begins_anew = start and answer.status != 206
        done = 0 if begins_anew else start
        with part.open("wb" if begins_anew else "ab") as file:
            while block := answer.read(_BLOCK):
                file.write(block)
                done += len(block)
                on_bytes(one.name, done, one.size)


def _require_sum(path: Path, one: Remote, *, remove: bool) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if size == one.size and found == (one.md5 or found):
        return
    if remove:
        path.unlink()
    raise RunError(
        f"{path}: {size:,} bytes with MD5 {found}; expected {one.size:,} with {one.md5 or 'any sum'}. "
        + ("It was removed; fetch it again." if remove else "Remove it to fetch it again.")
    )
