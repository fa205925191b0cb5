"""Fake-or-Real (FoR): read speech against seven synthesisers, in four versions of the same clips.

Reimao & Tzerpos, "FoR: a dataset for synthetic speech detection", SpeD 2019. As published::

    for-{original,norm,2seconds,rerecorded}/{training,validation,testing}/{fake,real}/*.wav

Some files are MP3. The synthesiser of a clip is not told.
"""

from pathlib import Path
from typing import Literal

from earwitness.corpora import folder
from earwitness.corpora.about import About
from earwitness.corpora.base import find_holder
from earwitness.trials import Manifest

__all__ = ["ABOUT", "read"]

Version = Literal["original", "norm", "2seconds", "rerecorded"]
ABOUT = About(
    title="Fake-or-Real (FoR)",
    source="Reimao & Tzerpos, SpeD 2019",
    home="https://bil.eecs.yorku.ca/datasets",
    licence="see its home and its source corpora",
    doubtful="numbers of clips are not known here, so none are enforced; folders of rerecorded differ "
    "between copies",
    by_hand="From its home; unpack the versions you need.",
)


def read(root: str | Path, *, version: Version = "norm") -> dict[str, Manifest]:
    """One manifest for each of train, dev and test of a version.

    Args:
        root: ``for-VERSION/``, or a folder that holds it at most two levels below.
        version: original; norm (balanced, normalised); 2seconds; rerecorded.

    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> for name in ("training/real/a.wav", "training/fake/b.mp3"):
    ...     (root / "for-norm" / name).parent.mkdir(parents=True)
    ...     (root / "for-norm" / name).touch()
    >>> read(root)["train"].counts()
    {'spoof': 1, 'bonafide': 1}

    Raises:
        ProtocolError: no such folder, another layout, or a file that is not audio.
    """
    name = f"for-{version}"
    here = Path(root)
    return folder.read(here if here.name == name else find_holder(here, name) / name)
