"""Corpora of vectors that are made on the spot: once into a folder, and from there ever after."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from earwitness.corpora import vectors
from earwitness.errors import ProtocolError
from earwitness.files import digest, write_json
from earwitness.trials import Manifest, Trial

_FILES = ("manifest.tsv", "vectors.npy")


def read_made(
    root: str | Path,
    settings: Mapping[str, Any],
    make: Callable[[], tuple[NDArray[Any], list[Trial]]],
    *,
    classes: tuple[str, ...],
) -> dict[str, Manifest]:
    """The corpus in ``root``, made first where it is absent; its splits.

    ``corpus.json`` stands first as unfinished and last with the digests of both files, so a killed
    run makes it anew and a changed file is noticed.

    Raises:
        ProtocolError: ``root`` holds something else, other settings, or a damaged corpus.
    """
    root = Path(root)
    card, found = {"settings": dict(settings), "files": {}}, _found(root)
    if found is None:
        write_json(root / "corpus.json", card)
    elif found["settings"] != settings:
        raise ProtocolError(
            f"{root} holds a corpus made with {found['settings']}, asked was {dict(settings)}; "
            "choose another folder or delete this one."
        )
    if not found or not found["files"]:
        rows, trials = make()
        vectors.write(root, rows, trials, classes=classes)
        found = card | {"files": {name: digest(root / name) for name in _FILES}}
        write_json(root / "corpus.json", found)
    for name, expected in found["files"].items():
        if not (root / name).is_file() or digest(root / name) != expected:
            raise ProtocolError(f"{root / name} was changed; delete {root} to make it again.")
    return vectors.read(root, classes=classes)


def _found(root: Path) -> dict[str, Any] | None:
    """The card of the corpus in ``root``; None where there is nothing yet."""
    if not root.exists() or (root.is_dir() and all(p.name[0] == "." for p in root.iterdir())):
        return None
    try:
        found = json.loads((root / "corpus.json").read_text(encoding="utf-8"))
        return {"settings": found["settings"], "files": found["files"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProtocolError(
            f"{root} is not empty and holds no corpus that was made here ({error!r}); "
            "choose another folder."
        ) from None
