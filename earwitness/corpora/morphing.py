"""Morphing: recordings of two speakers blended into one voice.

The author's protocol in Differential-Detection (BUT), for examples of Voice-morphing-RelGAN. As
published: ``protocol.txt``, parted by spaces, with the header ``FILE LABEL SPEAKER_ID1 SPEAKER_ID2``;
labels ``bonafide``, ``morph`` and ``other``, which is a fake as well.
"""

from pathlib import Path

from earwitness.corpora.about import About
from earwitness.corpora.base import find_holder
from earwitness.corpora.lines import finish
from earwitness.errors import ProtocolError
from earwitness.files import read_text
from earwitness.trials import Manifest, Trial

__all__ = ["ABOUT", "read"]

_HEADER = ["FILE", "LABEL", "SPEAKER_ID1", "SPEAKER_ID2"]
_LABELS = {"bonafide": "bonafide", "morph": "spoof", "other": "spoof"}
ABOUT = About(
    title="Morphing",
    source="vojteskas/Differential-Detection",
    home="https://github.com/vojteskas/Differential-Detection",
    licence="not stated",
    by_hand="Audio: examples of itsuki8914/Voice-morphing-RelGAN; the protocol from its home.",
)


def read(root: str | Path, *, require_audio: bool = True) -> dict[str, Manifest]:
    """``{"all": manifest}``: there is no split. A morph has the tag ``other_speaker``.

    Args:
        root: the folder with ``protocol.txt``, or one at most two levels above.
        require_audio: every audio file must be there.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> text = "FILE LABEL SPEAKER_ID1 SPEAKER_ID2\\na.wav morph 1 2\\nb.wav bonafide 1 1\\n"
    >>> _ = (folder / "protocol.txt").write_text(text)
    >>> read(folder, require_audio=False)["all"].counts("attack")
    {'morph': 1, '-': 1}

    Raises:
        ProtocolError: the protocol or audio is missing, or a line is malformed.
    """
    path = find_holder(root, "protocol.txt") / "protocol.txt"
    header, *lines = [line.split() for line in read_text(path).rstrip().splitlines()] or [[]]
    if header != _HEADER:
        raise ProtocolError(f"{path}, line 1: {' '.join(header)!r}; expected {' '.join(_HEADER)!r}.")
    trials = [_trial(cells, f"{path}, line {number}") for number, cells in enumerate(lines, 2)]
    whole = {"all": Manifest("morphing", trials, root=path.parent)}
    return finish(whole, {}, check_counts=False, require_audio=require_audio)


def _trial(cells: list[str], where: str) -> Trial:
    if len(cells) != 4 or cells[1] not in _LABELS:
        raise ProtocolError(
            f"{where}: {' '.join(cells)!r}; expected FILE bonafide|morph|other and two ids."
        )
    file, label, speaker, other = cells
    attack = "-" if label == "bonafide" else label
    name = Path(file).with_suffix("").as_posix()
    tags = {"other_speaker": other}
    return Trial(name, file, _LABELS[label], attack=attack, speaker=speaker, tags=tags)
