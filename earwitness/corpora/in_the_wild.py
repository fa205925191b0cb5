"""In-the-Wild: public figures, genuine and faked, found on the internet.

Müller et al., "Does audio deepfake detection generalize?", Interspeech 2022. As published: the
folder ``release_in_the_wild`` with ``meta.csv`` (``file,speaker,label``; label ``bona-fide`` or
``spoof``) and the WAV files beside it. The generators are not known. There is no official split:
everything is for testing, under the name ``"all"``.
"""

from pathlib import Path

from earwitness.corpora.about import About
from earwitness.corpora.base import find_holder, require_columns, require_counts
from earwitness.trials import Manifest

__all__ = ["ABOUT", "read"]

_COLUMNS = {"path": "file", "speaker": "speaker", "label": "label"}
_OFFICIAL = {"bonafide": 19_963, "spoof": 11_816}
ABOUT = About(
    title="In-the-Wild",
    source="Müller et al., Interspeech 2022",
    home="https://deepfake-total.com/in_the_wild",
    licence="Apache-2.0",
    counts={"all": _OFFICIAL},
    doubtful="54 to 58 speakers are told, so their number is not enforced",
    by_hand="release_in_the_wild.zip from its home.",
)


def read(
    root: str | Path, *, check_counts: bool = True, require_audio: bool = True
) -> dict[str, Manifest]:
    """``{"all": manifest}``: the corpus has no official split.

    Args:
        root: ``release_in_the_wild/``, or a folder that holds it at most two levels below.
        check_counts: compare with the official number of trials of both labels.
        require_audio: every WAV file must be there.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> rows = "file,speaker,label\\n0.wav,Alec Guinness,spoof\\n4.wav,Alec Guinness,bona-fide\\n"
    >>> _ = (folder / "meta.csv").write_text(rows)
    >>> read(folder, check_counts=False, require_audio=False)["all"].counts("speaker")
    {'Alec Guinness': 2}

    Raises:
        ProtocolError: meta.csv or audio is missing, counts differ, or a line is malformed.
    """
    path = find_holder(root, "meta.csv") / "meta.csv"
    require_columns(path, _COLUMNS)
    manifest = Manifest.read(path, name="in_the_wild", columns=_COLUMNS)
    if check_counts:
        require_counts(manifest, _OFFICIAL)
    if require_audio:
        manifest.require_files()
    return {"all": manifest}
