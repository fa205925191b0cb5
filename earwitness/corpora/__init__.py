"""Corpus readers: a folder as its makers publish it -> one manifest for each split.

Each reader is one file with ``read(root, *, ...) -> dict[str, Manifest]``: split name ->
manifest, ``"all"`` where the corpus has no splits. A reader never opens audio, never repairs and
never leaves out a line; what does not fit the published form is a `ProtocolError`.
"""

from pathlib import Path
from typing import Any

from earwitness.shelf import Shelf, bind_settings
from earwitness.trials import Manifest

__all__ = ["CORPORA", "read"]

CORPORA = Shelf(
    "earwitness.corpora",
    "corpus",
    {
        "manifest": "manifest:read",
        "folder": "folder:read",
        "vectors": "vectors:read",
        "asvspoof2019_la": "asvspoof2019_la:read",
        "asvspoof2021_la": "asvspoof2021_la:read",
        "asvspoof2021_df": "asvspoof2021_df:read",
        "asvspoof5": "asvspoof5:read",
        "in_the_wild": "in_the_wild:read",
        "hf": "hf:read",
        "add2022": "add2022:read",
        "add2023": "add2023:read",
        "mlaad": "mlaad:read",
        "codecfake_xie": "codecfake_xie:read",
        "ctrsvdd": "ctrsvdd:read",
        "morphing": "morphing:read",
        "fake_or_real": "fake_or_real:read",
        "wavefake": "wavefake:read",
        "codecfake_wu": "codecfake_wu:read",
        "spoofceleb": "spoofceleb:read",
        "decro": "decro:read",
        "deepfake_eval_2024": "deepfake_eval_2024:read",
        "synthetic": "synthetic:read",
        "images": "images:read",
        "digits": "digits:read",
        "clear": "clear:read",
        "evda": "evda:read",
        "drifting": "drifting:read",
    },
    helpers=("about", "base", "checking", "contamination", "fetching", "lengths", "lines"),
)


def read(name: str, root: str | Path, **settings: Any) -> dict[str, Manifest]:
    """Read the corpus ``name`` that lies in ``root``: split name -> manifest.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "manifest.tsv").write_text("path\\tlabel\\na.wav\\treal\\nb.wav\\tfake\\n")
    >>> read("manifest", folder)
    {'all': Manifest('manifest', 2 trials, {'bonafide': 1, 'spoof': 1})}

    Raises:
        SettingsError: no such corpus, or a setting its reader does not take.
        ProtocolError: the folder is not what the reader expects.
    """
    reader = CORPORA.get(name)
    bound = bind_settings(reader, {"root": root, **settings}, f"corpus {name!r}")
    splits: dict[str, Manifest] = reader(**bound)
    return splits
