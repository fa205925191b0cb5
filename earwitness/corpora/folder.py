"""Any corpus sorted into folders by label, the layout of Fake-or-Real and of one's own recordings.

::

    root/[train|dev|test/]bonafide/...           any depth: speakers, sessions
    root/[train|dev|test/]spoof/[ATTACK/]...     the first folder below names the attack

Labels may be spelled as `read_label` knows them (real, fake, genuine, ...), splits also as
training, validation, testing and the like. Hidden files (``.DS_Store``) are no content, nor are
texts beside the label or split folders (``README.md``). A folder of another name is an error, and
so are a file that is not audio below a label and audio outside the labels: leaving something out
silently changes the corpus.
"""

from collections.abc import Iterator
from pathlib import Path

from earwitness.audio import EXTENSIONS
from earwitness.corpora.base import listing
from earwitness.errors import ProtocolError
from earwitness.trials import Manifest, Trial, read_label

__all__ = ["read"]

_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("dev", "development", "val", "valid", "validation"), "dev"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("eval", "evaluation"), "eval"),
}


def read(root: str | Path) -> dict[str, Manifest]:
    """One manifest for each split folder; ``"all"`` when the label folders lie in ``root``.

    Ids are paths relative to ``root`` without suffix; trials are in the order of their ids.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("real/a.wav", "fake/vits/b.wav"):
    ...     (folder / name).parent.mkdir(parents=True)
    ...     (folder / name).touch()
    >>> [(t.id, t.label, t.attack) for t in read(folder)["all"]]
    [('fake/vits/b', 'spoof', 'vits'), ('real/a', 'bonafide', '-')]

    Raises:
        ProtocolError: another layout, a file that is not audio, a split without both labels.
    """
    root = Path(root)
    splits: dict[str, list[Trial]] = {}
    for folder in _folders(root):
        if _is_label(folder):
            splits.setdefault("all", []).extend(_trials(folder, root, "-"))
        elif folder.name.lower() in _SPLITS:
            name = _SPLITS[folder.name.lower()]
            splits.setdefault(name, []).extend(_split_trials(folder, root, name))
        else:
            raise _unexpected(root, listing(root))
    if "all" in splits and len(splits) > 1:
        raise _unexpected(root, listing(root))
    return {
        name: Manifest(f"{root.name}/{name}", trials, root=root).require_both_classes()
        for name, trials in splits.items()
    }


def _split_trials(folder: Path, root: Path, split: str) -> Iterator[Trial]:
    for label in _folders(folder):
        if not _is_label(label):
            raise _unexpected(folder, listing(folder))
        yield from _trials(label, root, split)


def _trials(folder: Path, root: Path, split: str) -> Iterator[Trial]:
    label = read_label(folder.name)
    for path in _files(folder):
        if path.suffix.lower() not in EXTENSIONS:
            raise ProtocolError(
                f"{path}: expected audio ({', '.join(EXTENSIONS)}); move other files elsewhere."
            )
        below = path.relative_to(folder).parts
        attack = below[0] if label == "spoof" and len(below) > 1 else "-"
        name = path.relative_to(root)
        yield Trial(name.with_suffix("").as_posix(), name.as_posix(), label, attack=attack, split=split)


def _folders(folder: Path) -> list[Path]:
    visible = _visible(folder) if folder.is_dir() else []
    folders = [p for p in visible if p.is_dir()]
    loose = [p for p in visible if p not in folders and p.suffix.lower() in EXTENSIONS]
    if loose or not folders:
        raise _unexpected(folder, listing(folder))
    return folders


def _files(folder: Path) -> Iterator[Path]:
    for path in _visible(folder):
        if path.is_dir():
            yield from _files(path)
        else:
            yield path


def _visible(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if not p.name.startswith("."))


def _is_label(folder: Path) -> bool:
    try:
        return read_label(folder.name) in ("bonafide", "spoof")
    except ValueError:
        return False


def _unexpected(folder: Path, found: str) -> ProtocolError:
    return ProtocolError(
        f"{folder}: expected the folders bonafide/ and spoof/, or train/, dev/ and test/ that "
        f"hold them; found {found}."
    )
