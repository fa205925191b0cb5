"""CtrSVDD: singing voices, fourteen ways to fake them.

Zang et al., "CtrSVDD: a benchmark dataset and baseline analysis for controlled singing voice deepfake
detection", Interspeech 2024. As published::

    {train,dev,test}.txt
    {train,dev,test}_set/{CLIP}.flac

A line is ``SOURCE SINGER CLIP - ATTACK LABEL``, the label ``bonafide`` or ``deepfake``.
"""

from pathlib import Path

from earwitness.corpora.about import About
from earwitness.corpora.base import find_holder
from earwitness.corpora.lines import chosen, finish, read_lines
from earwitness.trials import Manifest, Trial

__all__ = ["ABOUT", "read"]

PARTS = ("train", "dev", "test")
_COLUMNS = ("source", "speaker", "id", "rest", "attack", "label")
ABOUT = About(
    title="CtrSVDD",
    source="Zang et al., Interspeech 2024",
    home="https://github.com/SVDDChallenge/CtrSVDD_Utils",
    licence="mixed: that of each source corpus; parts of it must be assembled from them",
    doubtful="numbers of clips are not known here, so none are enforced",
    by_hand="Follow the makers' scripts: parts of the bonafide singing can't be redistributed.",
)


def read(
    root: str | Path, *, parts: tuple[str, ...] = PARTS, require_audio: bool = True
) -> dict[str, Manifest]:
    """The manifests of the chosen parts.

    Args:
        root: the folder with ``train.txt``, or one at most two levels above.
        parts: which of train, dev and test.
        require_audio: every audio file must be there.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> line = "jvsmusic CtrSVDD_0097 CtrSVDD_0097_D_0010993 - A06 deepfake\\n"
    >>> _ = (folder / "dev.txt").write_text(line)
    >>> read(folder, parts=("dev",), require_audio=False)["dev"].counts("attack")
    {'A06': 1}

    Raises:
        SettingsError: a part that does not exist.
        ProtocolError: a protocol or audio is missing, or a line is malformed.
    """
    wanted = chosen(parts, PARTS, "ctrsvdd")
    holder = find_holder(root, f"{wanted[0]}.txt")
    manifests = {part: _part(holder, part) for part in wanted}
    return finish(manifests, {}, check_counts=False, require_audio=require_audio)


def _part(holder: Path, part: str) -> Manifest:
    def make(cells: dict[str, str], label: str) -> Trial:
        return Trial(
            cells["id"], f"{part}_set/{cells['id']}.flac", label,
            attack=cells["attack"], speaker=cells["speaker"], domain=cells["source"], split=part,
        )  # fmt: skip

    return Manifest(f"ctrsvdd/{part}", read_lines(holder / f"{part}.txt", _COLUMNS, make), root=holder)
