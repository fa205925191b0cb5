"""ASVspoof 2019, logical access.

Wang et al., "ASVspoof 2019: a large-scale public database of synthesized, converted and replayed
speech", Computer Speech & Language 64, 2020. As published::

    LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.{train.trn,dev.trl,eval.trl}.txt
    LA/ASVspoof2019_LA_{train,dev,eval}/flac/{UTTERANCE}.flac

A protocol line is ``SPEAKER UTTERANCE - SYSTEM KEY``, SYSTEM being ``-`` for bonafide and
A01 to A19 for spoof. Attacks A07 to A19 are in eval only.
"""

from pathlib import Path

from earwitness.corpora.about import About
from earwitness.corpora.base import find_holder, listing, require_counts
from earwitness.errors import ProtocolError, SettingsError, nearest
from earwitness.files import read_text
from earwitness.trials import Manifest, Trial

__all__ = ["ABOUT", "PARTS", "read"]

PARTS = ("train", "dev", "eval")
_PROTOCOLS = "ASVspoof2019_LA_cm_protocols"
_FILES = {
    "train": "ASVspoof2019.LA.cm.train.trn.txt",
    "dev": "ASVspoof2019.LA.cm.dev.trl.txt",
    "eval": "ASVspoof2019.LA.cm.eval.trl.txt",
}
ABOUT = About(
    title="ASVspoof 2019 logical access",
    source="Wang et al., Computer Speech & Language 2020",
    home="https://doi.org/10.7488/ds/2555",
    licence="ODC-By 1.0",
    counts={
        "train": {"bonafide": 2_580, "spoof": 22_800},
        "dev": {"bonafide": 2_548, "spoof": 22_296},
        "eval": {"bonafide": 7_355, "spoof": 63_882},
    },
    speakers={"train": 20, "dev": 20, "eval": 67},
    by_hand="LA.zip from its home; it unpacks to LA/.",
)
# Trials for each attack; "-" is bonafide.
_OFFICIAL = {
    "train": {"-": 2_580, **{f"A{n:02}": 3_800 for n in range(1, 7)}},
    "dev": {"-": 2_548, **{f"A{n:02}": 3_716 for n in range(1, 7)}},
    "eval": {"-": 7_355, **{f"A{n:02}": 4_914 for n in range(7, 20)}},
}


def read(
    root: str | Path,
    *,
    parts: tuple[str, ...] = PARTS,
    check_counts: bool = True,
    require_audio: bool = True,
) -> dict[str, Manifest]:
    """The manifests of the chosen parts.

    Args:
        root: ``LA/``, or a folder that holds it at most two levels below.
        parts: which of train, dev and eval.
        check_counts: compare with the official number of trials of every attack.
        require_audio: every FLAC file must be there.

    >>> import tempfile
    >>> la = Path(tempfile.mkdtemp()) / "LA"
    >>> file = la / "ASVspoof2019_LA_cm_protocols" / "ASVspoof2019.LA.cm.dev.trl.txt"
    >>> file.parent.mkdir(parents=True)
    >>> _ = file.write_text("LA_0069 LA_D_1047731 - - bonafide\\nLA_0076 LA_D_1 - A03 spoof\\n")
    >>> read(la, parts=("dev",), check_counts=False, require_audio=False)["dev"].counts("attack")
    {'-': 1, 'A03': 1}

    Raises:
        SettingsError: a part that does not exist.
        ProtocolError: a protocol or audio is missing, counts differ, or a line is malformed.
    """
    for part in parts:
        if part not in PARTS:
            raise SettingsError(
                f"asvspoof2019_la has no part {part!r}{nearest(part, PARTS)} "
                f"Choose from: {', '.join(PARTS)}."
            )
    la = find_holder(root, _PROTOCOLS)
    manifests = {part: _read_part(la, part) for part in parts}
    for part, manifest in manifests.items():
        if check_counts:
            require_counts(manifest, _OFFICIAL[part], "attack")
        if require_audio:
            manifest.require_files()
    return manifests


def _read_part(la: Path, part: str) -> Manifest:
    path = la / _PROTOCOLS / _FILES[part]
    if not path.is_file():
        raise ProtocolError(
            f"{path}: no such protocol; found {listing(path.parent)}. "
            "Set parts to those that are there."
        )
    # Only trailing blank lines are harmless; one in the middle is a line that was lost.
    lines = read_text(path).rstrip().splitlines()
    trials = [_trial(line, part, f"{path}, line {n}") for n, line in enumerate(lines, 1)]
    return Manifest(f"asvspoof2019_la/{part}", trials, root=la)


def _trial(line: str, part: str, where: str) -> Trial:
    cells = line.split()
    if len(cells) != 5:
        raise ProtocolError(
            f"{where}: {len(cells)} column(s), expected 5: SPEAKER UTTERANCE - SYSTEM KEY."
        )
    speaker, utterance, environment, system, key = cells
    if key not in ("bonafide", "spoof"):
        raise ProtocolError(f"{where}: the key is {key!r}, expected bonafide or spoof.")
    if environment != "-":
        raise ProtocolError(
            f"{where}: column 3 is {environment!r}, expected '-'; is this physical access (PA)?"
        )
    if (system == "-") != (key == "bonafide"):
        expected = "'-'" if key == "bonafide" else "an attack such as A01"
        raise ProtocolError(f"{where}: the system of a {key} is {system!r}, expected {expected}.")
    audio = f"ASVspoof2019_LA_{part}/flac/{utterance}.flac"
    return Trial(utterance, audio, key, attack=system, speaker=speaker, split=part)
