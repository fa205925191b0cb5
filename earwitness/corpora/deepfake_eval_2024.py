"""Deepfake-Eval-2024, audio: what was reported as suspicious on the internet in 2024.

Chandra et al., "Deepfake-Eval-2024: a multi-modal in-the-wild benchmark of deepfakes circulated in
2024", 2025. As published: a CSV file of metadata with ``Filename``, ``Finetuning Set`` and
``Ground Truth`` (``Real`` or ``Fake``), and the files.
"""

from pathlib import Path

from earwitness.corpora.about import About
from earwitness.corpora.base import find_holder, read_table
from earwitness.corpora.lines import finish
from earwitness.errors import ProtocolError, nearest
from earwitness.trials import Manifest, Trial, read_label

__all__ = ["ABOUT", "read"]

_COLUMNS = ("Filename", "Finetuning Set", "Ground Truth")
ABOUT = About(
    title="Deepfake-Eval-2024 (audio)",
    source="Chandra et al., 2025",
    home="https://huggingface.co/datasets/nuriachandra/Deepfake-Eval-2024",
    licence="see its home; access is asked for",
    doubtful="numbers of files are not known here, so none are enforced",
    by_hand="From its home, after asking for access.",
)


def read(
    root: str | Path,
    *,
    metadata: str = "audio-metadata-publish.csv",
    audio: str = "audio-data",
    require_audio: bool = True,
) -> dict[str, Manifest]:
    """One manifest for each finetuning set, as the column is spelled.

    Args:
        root: the folder with the metadata, or one at most two levels above.
        metadata: name of the CSV file; releases name it differently.
        audio: name of the folder with the files.
        require_audio: every file must be there.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> text = "Filename,Finetuning Set,Ground Truth\\na.mp3,Train,Fake\\nb.wav,Test,Real\\n"
    >>> _ = (folder / "audio-metadata-publish.csv").write_text(text)
    >>> {name: part.counts() for name, part in read(folder, require_audio=False).items()}
    {'Train': {'spoof': 1}, 'Test': {'bonafide': 1}}

    Raises:
        ProtocolError: metadata or audio is missing, or a label that is not known.
    """
    path = find_holder(root, metadata) / metadata
    trials = [_trial(row, audio, path) for row in read_table(path)]
    parts = Manifest("deepfake_eval_2024", trials, root=path.parent).split()
    return finish(parts, {}, check_counts=False, require_audio=require_audio)


def _trial(row: dict[str, str], audio: str, path: Path) -> Trial:
    for name in _COLUMNS:
        if name not in row:
            raise ProtocolError(
                f"{path}, line 1: no column {name!r}{nearest(name, row)} Found: {list(row)}."
            )
    try:
        label = read_label(row["Ground Truth"])
    except ValueError as error:
        raise ProtocolError(f"{path} ({row['Filename']}): {error}") from None
    file = row["Filename"]
    return Trial(Path(file).stem, f"{audio}/{file}", label, split=row["Finetuning Set"] or "-")
