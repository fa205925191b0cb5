"""Codecfake: speech that neural codecs or language models over them made, Chinese and English.

Xie et al., "The Codecfake dataset and countermeasures for the universally detection of deepfake audio",
TASLP 2025. As published::

    label/{train,dev,C1,...,C7}.txt
    {train,dev,C1,...,C7}/{FILE}

A line is ``FILE real|fake CODEC``, the codec ``0`` for real speech.
"""

from pathlib import Path

from earwitness.corpora.about import About
from earwitness.corpora.base import find_holder
from earwitness.corpora.lines import chosen, finish, read_lines
from earwitness.trials import Manifest, Trial

__all__ = ["ABOUT", "read"]

PARTS = ("train", "dev", *(f"C{n}" for n in range(1, 8)))
_COLUMNS = ("file", "label", "codec")
ABOUT = About(
    title="Codecfake (Xie et al.)",
    source="Xie et al., TASLP 2025",
    home="https://github.com/xieyuankun/Codecfake",
    licence="see its Zenodo records",
    doubtful="numbers of clips are not known here, so none are enforced",
    by_hand="Several Zenodo records; unpack into one folder, a folder a part.",
)


def read(
    root: str | Path, *, parts: tuple[str, ...] = PARTS, require_audio: bool = True
) -> dict[str, Manifest]:
    """The manifests of the chosen parts; C1 to C7 are codecs, of which C7 is in no other part.

    Args:
        root: the folder with ``label/``, or one at most two levels above.
        parts: which of train, dev, C1 to C7.
        require_audio: every audio file must be there.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "label").mkdir()
    >>> lines = "SSB13650058.wav real 0\\nF01_SSB13650058.wav fake 1\\n"
    >>> _ = (folder / "label/dev.txt").write_text(lines)
    >>> read(folder, parts=("dev",), require_audio=False)["dev"].counts("attack")
    {'-': 1, 'codec-1': 1}

    Raises:
        SettingsError: a part that does not exist.
        ProtocolError: a label file or audio is missing, or a line is malformed.
    """
    wanted = chosen(parts, PARTS, "codecfake_xie")
    holder = find_holder(root, "label")
    manifests = {part: _part(holder, part) for part in wanted}
    return finish(manifests, {}, check_counts=False, require_audio=require_audio)


def _part(holder: Path, part: str) -> Manifest:
    def make(cells: dict[str, str], label: str) -> Trial:
        attack = "-" if label == "bonafide" else f"codec-{cells['codec']}"
        name = f"{part}/{cells['file']}"
        return Trial(name.rsplit(".", 1)[0], name, label, attack=attack, split=part)

    path = holder / "label" / f"{part}.txt"
    return Manifest(f"codecfake_xie/{part}", read_lines(path, _COLUMNS, make), root=holder)
