"""ADD 2023, track 1.2: Mandarin, genuine and generated.

Yi et al., "ADD 2023: the second audio deepfake detection challenge", DADA 2023. As published::

    {train,dev,testR1,testR2}/label.txt
    {train,dev,testR1,testR2}/wav/{FILE}

A line is ``FILE genuine|fake``. The generators are not named.
"""

from pathlib import Path

from earwitness.corpora.about import About
from earwitness.corpora.base import find_holder
from earwitness.corpora.lines import chosen, finish, read_lines
from earwitness.trials import Manifest, Trial

__all__ = ["ABOUT", "read"]

PARTS = ("train", "dev", "testR1", "testR2")
_COLUMNS = ("file", "label")
ABOUT = About(
    title="ADD 2023, track 1.2",
    source="Yi et al., DADA 2023",
    home="http://addchallenge.cn/add2023",
    licence="see the challenge's terms",
    doubtful="numbers of clips are not known here, so none are enforced",
    by_hand="From the challenge's page, after registration.",
)


def read(
    root: str | Path, *, parts: tuple[str, ...] = PARTS, require_audio: bool = True
) -> dict[str, Manifest]:
    """The manifests of the chosen parts.

    Args:
        root: the folder with the parts, or one at most two levels above.
        parts: which of train, dev, testR1 and testR2.
        require_audio: every audio file must be there.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "testR2").mkdir()
    >>> _ = (folder / "testR2/label.txt").write_text("ADD2023_T1.2R2_E_00000003.wav genuine\\n")
    >>> read(folder, parts=("testR2",), require_audio=False)["testR2"].counts()
    {'bonafide': 1}

    Raises:
        SettingsError: a part that does not exist.
        ProtocolError: a label file or audio is missing, or a line is malformed.
    """
    wanted = chosen(parts, PARTS, "add2023")
    holder = find_holder(root, f"{wanted[0]}/label.txt").parent
    manifests = {part: _part(holder, part) for part in wanted}
    return finish(manifests, {}, check_counts=False, require_audio=require_audio)


def _part(holder: Path, part: str) -> Manifest:
    def make(cells: dict[str, str], label: str) -> Trial:
        return Trial(
            cells["file"].rsplit(".", 1)[0], f"{part}/wav/{cells['file']}", label, split=part
        )  # fmt: skip

    trials = read_lines(holder / part / "label.txt", _COLUMNS, make)
    return Manifest(f"add2023/{part}", trials, root=holder)
