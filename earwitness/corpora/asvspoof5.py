"""ASVspoof 5: crowd-sourced speech of many hundred speakers, 32 attacks, eleven codecs in evaluation.

Wang et al., "ASVspoof 5: design, collection and validation of resources for spoofing, deepfake, and
adversarial attack detection using crowdsourced speech", 2025. As published; files called ``.tsv`` are
parted by single spaces and have no header::

    ASVspoof5.train.tsv, ASVspoof5.dev.track_1.tsv, ASVspoof5.eval.track_1.tsv
    ASVspoof5.{dev,eval}.track_2.{trial,enroll}.tsv
    flac_T/, flac_D/, flac_E_eval/

Track 1 is detection. Track 2 is spoofing-robust verification: a trial is a claimed speaker and a file,
target, nontarget or spoof, and each speaker has enrolment files.
"""

from pathlib import Path
from typing import Literal

from earwitness.corpora.about import About
from earwitness.corpora.base import find_holder
from earwitness.corpora.lines import chosen, finish, read_lines, require_file
from earwitness.errors import ProtocolError, SettingsError
from earwitness.files import read_text
from earwitness.trials import Manifest, Trial

__all__ = ["ABOUT", "enrolment", "read"]

PARTS = ("train", "dev", "eval")
_AUDIO = {"train": "flac_T", "dev": "flac_D", "eval": "flac_E_eval"}
_TRACK_1 = (
    *("speaker", "id", "gender", "codec", "codec_quality", "codec_seed"),
    *("attack_class", "attack", "label", "rest"),
)
_KINDS = ("target", "nontarget", "spoof")
ABOUT = About(
    title="ASVspoof 5",
    source="Wang et al., 2025",
    home="https://doi.org/10.5281/zenodo.14498691",
    licence="ODC-By 1.0",
    counts={
        "train": {"bonafide": 18_797, "spoof": 163_560},
        "dev": {"bonafide": 31_334, "spoof": 109_616},
        "eval": {"bonafide": 138_688, "spoof": 542_086},
    },
    speakers={"train": 400, "dev": 785, "eval": 737},
    digests={
        "ASVspoof5.train.tsv": "cbfa08e2fab1423e828f102bc97a22f0",
        "ASVspoof5.dev.track_1.tsv": "e949dee1091a49b04943c548b5cf9860",
        "ASVspoof5.dev.track_2.enroll.tsv": "11d144e71599f455265bfaa229a3168f",
        "ASVspoof5.dev.track_2.trial.tsv": "86b20750e7df2c5607401a98225b8606",
        "ASVspoof5.eval.track_1.tsv": "50c0591d45a282cb787a5a4614394f67",
        "ASVspoof5.eval.track_2.enroll.tsv": "fb754cb8905e7d0816cccaca2d8ffd5f",
        "ASVspoof5.eval.track_2.trial.tsv": "de83d6de35d80b58e932fe4ecfccc6e4",
    },
    zenodo="14498691",
    by_hand="All archives of the Zenodo record, unpacked into one folder.",
)


def read(
    root: str | Path,
    *,
    parts: tuple[str, ...] = PARTS,
    track: Literal[1, 2] = 1,
    check_counts: bool = True,
    require_audio: bool = True,
) -> dict[str, Manifest]:
    """The manifests of the chosen parts.

    Args:
        root: the folder with the protocols, or one at most two levels above.
        parts: which of train, dev and eval; track 2 has no train.
        track: 1 for detection; 2 for trials of a claimed speaker and a file, whose ids are
            ``SPEAKER FILE`` and which have the tags ``kind`` and ``enrolment`` (ids, by commas).
        check_counts: compare with the official numbers of trials (track 1).
        require_audio: every FLAC file must be there.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> line = "E_4608 E_0002302238 F C04 2 E_0007161785 AC2 A18 spoof -\\n"
    >>> _ = (folder / "ASVspoof5.eval.track_1.tsv").write_text(line)
    >>> read(folder, parts=("eval",), check_counts=False, require_audio=False)["eval"].counts("codec")
    {'C04': 1}

    Raises:
        SettingsError: a part that does not exist.
        ProtocolError: a protocol or audio is missing, counts differ, or a line is malformed.
    """
    wanted = chosen(parts, PARTS if track == 1 else PARTS[1:], f"asvspoof5 track {track}")
    first = _file(wanted[0], track) if wanted else ""
    if not first:
        raise SettingsError("asvspoof5: parts is empty; choose from train, dev, eval.")
    holder = find_holder(root, first)
    make = _detection if track == 1 else _verification
    manifests = {part: make(holder, part) for part in wanted}
    counts = ABOUT.counts if track == 1 else {}
    return finish(manifests, counts, check_counts=check_counts, require_audio=require_audio)


def _file(part: str, track: int) -> str:
    if part == "train":
        return "ASVspoof5.train.tsv"
    return f"ASVspoof5.{part}.track_{track}{'.trial' if track == 2 else ''}.tsv"


def _detection(holder: Path, part: str) -> Manifest:
    kept = ("gender", "codec", "codec_quality", "codec_seed", "attack_class")

    def make(cells: dict[str, str], label: str) -> Trial:
        attack = "-" if label == "bonafide" else cells["attack"]
        tags = {name: cells[name] for name in kept}
        # An uncoded trial of eval has the quality 0 beside the codec "-".
        return Trial(
            cells["id"], f"{_AUDIO[part]}/{cells['id']}.flac", label,
            attack=attack, speaker=cells["speaker"], split=part, tags=tags,
        )  # fmt: skip

    trials = read_lines(holder / _file(part, 1), _TRACK_1, make)
    return Manifest(f"asvspoof5/{part}", trials, root=holder)


def _verification(holder: Path, part: str) -> Manifest:
    enrolled = enrolment(holder / f"ASVspoof5.{part}.track_2.enroll.tsv")
    path = require_file(holder / _file(part, 2))
    trials = []
    for number, line in enumerate(read_text(path).rstrip().splitlines(), 1):
        cells = line.split()
        where = f"{path}, line {number}"
        if len(cells) != 5 or cells[4] not in _KINDS:
            raise ProtocolError(
                f"{where}: {line!r}; expected SPEAKER FILE GENDER ATTACK and {', '.join(_KINDS)}."
            )
        speaker, file, gender, attack, kind = cells
        if speaker not in enrolled:
            raise ProtocolError(f"{where}: the speaker {speaker!r} has no enrolment line.")
        label = "spoof" if kind == "spoof" else "bonafide"
        tags = {"gender": gender, "kind": kind, "enrolment": ",".join(enrolled[speaker])}
        trials.append(
            Trial(
                f"{speaker} {file}", f"{_AUDIO[part]}/{file}.flac", label,
                attack=attack if kind == "spoof" else "-", speaker=speaker, split=part, tags=tags,
            )
        )  # fmt: skip
    return Manifest(f"asvspoof5/{part} track 2", trials, root=holder)


def enrolment(path: str | Path) -> dict[str, list[str]]:
    """Speaker -> the ids of its enrolment files, of a line ``SPEAKER ID,ID,ID``.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "enroll.tsv"
    >>> _ = file.write_text("D_4205 D_A0000000562,D_A0000000898\\n")
    >>> enrolment(file)
    {'D_4205': ['D_A0000000562', 'D_A0000000898']}

    Raises:
        ProtocolError: a line of another form, or a speaker twice.
    """
    path = require_file(Path(path))
    found: dict[str, list[str]] = {}
    for number, line in enumerate(read_text(path).rstrip().splitlines(), 1):
        cells = line.split()
        if len(cells) != 2 or not all(cells[1].split(",")) or cells[0] in found:
            raise ProtocolError(
                f"{path}, line {number}: {line!r}; expected a speaker that is new and ids by commas."
            )
        found[cells[0]] = cells[1].split(",")
    return found
