"""ASVspoof 2021, deepfake: over a hundred generators through lossy compression.

Liu et al., "ASVspoof 2021: towards spoofed and deepfake speech detection in the wild", TASLP 2023.
As published in four archives and the keys, unpacked beside each other::

    keys/DF/CM/trial_metadata.txt
    ASVspoof2021_DF_eval/flac/{UTTERANCE}.flac

A line of the key has thirteen columns: ``SPEAKER UTTERANCE COMPRESSION SOURCE ATTACK KEY TRIM SUBSET
VOCODER TASK TEAM GENDERS LANGUAGE``. The usual figures are of the subset eval.
"""

from pathlib import Path

from earwitness.corpora._asvspoof2021 import SUBSETS, read_2021
from earwitness.corpora.about import About
from earwitness.trials import Manifest

__all__ = ["ABOUT", "read"]

_COLUMNS = (
    *("speaker", "id", "codec", "source", "attack", "label", "trim", "subset"),
    *("vocoder", "task", "team", "gender", "language"),
)
ABOUT = About(
    title="ASVspoof 2021 deepfake",
    source="Liu et al., TASLP 2023",
    home="https://www.asvspoof.org",
    licence="see its Zenodo record",
    counts={
        "eval": {"bonafide": 14_869, "spoof": 519_059},
        "progress": {"total": 59_325},
        "hidden": {"total": 18_576},
    },
    digests={"DF-keys-full.tar.gz": "dabbc5628de4fcef53036c99ac7ab93a"},
    by_hand="Four archives from Zenodo, DF-keys-full.tar.gz from asvspoof.org; unpack into one folder.",
)


def read(
    root: str | Path,
    *,
    subsets: tuple[str, ...] = SUBSETS,
    check_counts: bool = True,
    require_audio: bool = True,
) -> dict[str, Manifest]:
    """One manifest for each subset: eval, progress, hidden.

    Args:
        root: the folder with ``keys/`` and the audio, or one at most two levels above.
        subsets: which of them.
        check_counts: compare with the official numbers of trials.
        require_audio: every FLAC file must be there.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "keys/DF/CM").mkdir(parents=True)
    >>> line = "TEF2 DF_E_2000013 low_m4a vcc2020 T20 spoof notrim eval neural Task1 team20 FF E\\n"
    >>> _ = (folder / "keys/DF/CM/trial_metadata.txt").write_text(line)
    >>> read(folder, check_counts=False, require_audio=False)["eval"].counts("source")
    {'vcc2020': 1}

    Raises:
        SettingsError: a subset that does not exist.
        ProtocolError: the key or audio is missing, counts differ, or a line is malformed.
    """
    settings = {"check_counts": check_counts, "require_audio": require_audio}
    return read_2021(root, "DF", _COLUMNS, ABOUT.counts, subsets=subsets, **settings)
