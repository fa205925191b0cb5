"""ASVspoof 2021, logical access: the attacks of 2019 through telephony and its codecs.

Liu et al., "ASVspoof 2021: towards spoofed and deepfake speech detection in the wild", TASLP 2023.
As published, the keys unpacked beside the audio::

    keys/LA/CM/trial_metadata.txt
    ASVspoof2021_LA_eval/flac/{UTTERANCE}.flac

A line of the key is ``SPEAKER UTTERANCE CODEC TRANSMISSION ATTACK KEY TRIM SUBSET``. The usual figures
are of the subset eval; hidden trials had their silences trimmed.
"""

from pathlib import Path

from earwitness.corpora._asvspoof2021 import SUBSETS, read_2021
from earwitness.corpora.about import About
from earwitness.trials import Manifest

__all__ = ["ABOUT", "read"]

_COLUMNS = ("speaker", "id", "codec", "transmission", "attack", "label", "trim", "subset")
ABOUT = About(
    title="ASVspoof 2021 logical access",
    source="Liu et al., TASLP 2023",
    home="https://www.asvspoof.org",
    licence="see its Zenodo record",
    counts={
        "eval": {"bonafide": 14_816, "spoof": 133_360},
        "progress": {"total": 16_464},
        "hidden": {"total": 16_926},
    },
    digests={"LA-keys-full.tar.gz": "f052cc2ed276745afa3b5198665d3b26"},
    by_hand="The audio from Zenodo, LA-keys-full.tar.gz from asvspoof.org; unpack into one folder.",
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
    >>> (folder / "keys/LA/CM").mkdir(parents=True)
    >>> line = "LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval\\n"
    >>> _ = (folder / "keys/LA/CM/trial_metadata.txt").write_text(line)
    >>> read(folder, check_counts=False, require_audio=False)["eval"].counts("codec")
    {'alaw': 1}

    Raises:
        SettingsError: a subset that does not exist.
        ProtocolError: the key or audio is missing, counts differ, or a line is malformed.
    """
    settings = {"check_counts": check_counts, "require_audio": require_audio}
    return read_2021(root, "LA", _COLUMNS, ABOUT.counts, subsets=subsets, **settings)
