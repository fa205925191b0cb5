"""ADD 2022: Mandarin, genuine, generated and partly faked.

Yi et al., "ADD 2022: the first audio deep synthesis detection challenge", ICASSP 2022. As published:
label files with lines ``FILE genuine|fake`` (``label.txt`` of train and dev, ``track3_R1_label.txt``
and the like for tests), and WAV files in a folder beside or below them. How folders are called differs
between copies, so the folder that holds a label file's first recording is looked for.
"""

from pathlib import Path

from earwitness.corpora.about import About
from earwitness.corpora.base import listing
from earwitness.corpora.lines import finish, read_lines
from earwitness.errors import ProtocolError
from earwitness.files import read_text
from earwitness.trials import Manifest, Trial

__all__ = ["ABOUT", "read"]

_COLUMNS = ("file", "label")
ABOUT = About(
    title="ADD 2022",
    source="Yi et al., ICASSP 2022",
    home="http://addchallenge.cn/add2022",
    licence="CC BY-NC-ND 4.0",
    counts={
        "train": {"bonafide": 3_012, "spoof": 24_072},
        "dev": {"bonafide": 2_307, "spoof": 26_017},
    },
    doubtful="numbers of clips are from memory, so they are told and not enforced",
    by_hand="From the challenge's page, after registration.",
)


def read(root: str | Path, *, require_audio: bool = True) -> dict[str, Manifest]:
    """One manifest for each label file, named by its folder, or by itself where that has several.

    Args:
        root: a folder that holds the label files, at most three levels above them.
        require_audio: every WAV file must be there.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "train/wav").mkdir(parents=True)
    >>> (folder / "train/wav/ADD_T_00000000.wav").touch()
    >>> _ = (folder / "train/label.txt").write_text("ADD_T_00000000.wav genuine\\n")
    >>> read(folder)["train"].counts()
    {'bonafide': 1}

    Raises:
        ProtocolError: no label file, no folder with its audio, or a line is malformed.
    """
    root = Path(root)
    files = sorted(
        {f for level in ("", "*/", "*/*/", "*/*/*/") for f in root.glob(f"{level}*label*.txt")}
    )
    if not files:
        raise ProtocolError(
            f"{root}: expected label.txt of train and dev, or track3_R1_label.txt and the like; "
            f"found {listing(root)}."
        )
    folders = [file.parent for file in files]
    names = [
        file.parent.name if folders.count(file.parent) == 1 else file.stem.replace("_label", "")
        for file in files
    ]
    parts = {name: _part(file, name, root) for file, name in zip(files, names, strict=True)}
    return finish(parts, {}, check_counts=False, require_audio=require_audio)


def _part(file: Path, name: str, root: Path) -> Manifest:
    audio = _audio(file, root)

    def make(cells: dict[str, str], label: str) -> Trial:
        where = (audio / cells["file"]).relative_to(root).as_posix()
        return Trial(cells["file"].rsplit(".", 1)[0], where, label, split=name)

    return Manifest(f"add2022/{name}", read_lines(file, _COLUMNS, make), root=root)


def _audio(file: Path, root: Path) -> Path:
    """The folder of a label file's recordings: where its first one is."""
    first = (read_text(file).split() or [""])[0]
    below = [file.parent, *sorted(p for p in file.parent.glob("*") if p.is_dir())]
    beside = (
        [] if file.parent == root else sorted(p for p in file.parent.parent.glob("*") if p.is_dir())
    )
    for folder in (*below, *beside):
        if first and (folder / first).is_file():
            return folder
    raise ProtocolError(
        f"{file}: its first recording {first!r} is neither beside it nor in a folder below or beside; "
        f"found {listing(file.parent)}."
    )
