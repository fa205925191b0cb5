"""SpoofCeleb: celebrities' voices from VoxCeleb1, and 23 synthesisers that learned them.

Jung et al., "SpoofCeleb: speech deepfake detection and SASV in the wild", IEEE OJSP 2025. As published:
CSV files of metadata with the header ``file,speaker,attack``, ``a00`` meaning bonafide, and FLAC files.
"""

from pathlib import Path

from earwitness.corpora.about import About
from earwitness.corpora.base import find_holder, read_table
from earwitness.corpora.lines import finish
from earwitness.errors import ProtocolError, nearest
from earwitness.trials import Manifest, Trial

__all__ = ["ABOUT", "read"]

_PARTS = {"train": "train", "dev": "development", "eval": "evaluation"}
ABOUT = About(
    title="SpoofCeleb",
    source="Jung et al., IEEE OJSP 2025",
    home="https://www.jungjee.com/spoofceleb",
    licence="CC BY 4.0",
    doubtful="numbers of clips and the folders' names are not certain here, so none are enforced",
    by_hand="From its home, after asking for access.",
)


def read(
    root: str | Path, *, metadata: str = "metadata", audio: str = "flac", require_audio: bool = True
) -> dict[str, Manifest]:
    """One manifest for each part that has metadata: train, dev, eval.

    Args:
        root: the folder with the folder of metadata, or one at most two levels above.
        metadata: folder with ``train.csv``, ``development.csv`` and ``evaluation.csv``.
        audio: folder of the audio, with a folder for each part.
        require_audio: every file must be there.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "metadata").mkdir()
    >>> text = "file,speaker,attack\\na00/id1/x.flac,id1,a00\\na03/id1/y.flac,id1,a03\\n"
    >>> _ = (folder / "metadata/train.csv").write_text(text)
    >>> read(folder, require_audio=False)["train"].counts("attack")
    {'-': 1, 'a03': 1}

    Raises:
        ProtocolError: no metadata, another header, or audio is missing.
    """
    holder = find_holder(root, metadata)
    files = {part: holder / metadata / f"{name}.csv" for part, name in _PARTS.items()}
    found = {part: path for part, path in files.items() if path.is_file()}
    if not found:
        expected = ", ".join(path.name for path in files.values())
        raise ProtocolError(f"{holder / metadata}: none of {expected} is there.")
    manifests = {
        part: _part(path, part, f"{audio}/{_PARTS[part]}", holder) for part, path in found.items()
    }
    return finish(manifests, {}, check_counts=False, require_audio=require_audio)


def _part(path: Path, part: str, audio: str, holder: Path) -> Manifest:
    trials = []
    for row in read_table(path):
        for name in ("file", "speaker", "attack"):
            if name not in row:
                raise ProtocolError(f"{path}, line 1: no column {name!r}{nearest(name, row)}")
        attack = row["attack"].lower()
        label, told = ("bonafide", "-") if attack == "a00" else ("spoof", attack)
        name = row["file"].rsplit(".", 1)[0]
        file = f"{audio}/{row['file']}"
        trials.append(Trial(name, file, label, attack=told, speaker=row["speaker"], split=part))
    return Manifest(f"spoofceleb/{part}", trials, root=holder)
