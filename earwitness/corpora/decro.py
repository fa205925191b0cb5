"""DECRO: English and Chinese, to see whether a detector crosses from one language to the other.

Ba et al., "Transferring audio deepfake detection capability across languages", WWW 2023. As published::

    {en,ch}_{train,dev,eval}.txt
    {en,ch}_{train,dev,eval}/{CLIP}.wav

A line is ``SPEAKER CLIP - SYSTEM LABEL``, as in ASVspoof 2019.
"""

from pathlib import Path

from earwitness.corpora.about import About
from earwitness.corpora.base import find_holder
from earwitness.corpora.lines import chosen, finish, read_lines
from earwitness.trials import Manifest, Trial

__all__ = ["ABOUT", "read"]

PARTS = tuple(f"{language}_{part}" for language in ("en", "ch") for part in ("train", "dev", "eval"))
_COLUMNS = ("speaker", "id", "rest", "attack", "label")
ABOUT = About(
    title="DECRO",
    source="Ba et al., WWW 2023",
    home="https://github.com/petrichorwq/DECRO-dataset",
    licence="see its home and its source corpora",
    doubtful="numbers of clips are not known here, so none are enforced; folder names may differ",
    by_hand="From its home (Zenodo); unpack both languages into one folder.",
)


def read(
    root: str | Path, *, parts: tuple[str, ...] = PARTS, require_audio: bool = True
) -> dict[str, Manifest]:
    """The manifests of the chosen parts, ``en_train`` to ``ch_eval``; the domain is the language.

    Args:
        root: the folder with the protocols, or one at most two levels above.
        parts: which of them.
        require_audio: every audio file must be there.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "ch_dev.txt").write_text("unknown 20032123 - baidu spoof\\n")
    >>> read(folder, parts=("ch_dev",), require_audio=False)["ch_dev"].counts("attack")
    {'baidu': 1}

    Raises:
        SettingsError: a part that does not exist.
        ProtocolError: a protocol or audio is missing, or a line is malformed.
    """
    wanted = chosen(parts, PARTS, "decro")
    holder = find_holder(root, f"{wanted[0]}.txt")
    manifests = {part: _part(holder, part) for part in wanted}
    return finish(manifests, {}, check_counts=False, require_audio=require_audio)


def _part(holder: Path, part: str) -> Manifest:
    language, split = part.split("_")

    def make(cells: dict[str, str], label: str) -> Trial:
        speaker = "-" if cells["speaker"] == "unknown" else cells["speaker"]
        attack = "-" if label == "bonafide" else cells["attack"]
        return Trial(
            cells["id"], f"{part}/{cells['id']}.wav", label,
            attack=attack, speaker=speaker, domain=language, split=split,
        )  # fmt: skip

    return Manifest(f"decro/{part}", read_lines(holder / f"{part}.txt", _COLUMNS, make), root=holder)
