"""Any corpus with a manifest: a TSV or CSV file with the columns ``path`` and ``label``.

See `earwitness.trials` for the columns. Paths are relative to the file's folder.
"""

from collections.abc import Mapping
from pathlib import Path

from earwitness.corpora.base import by_split, listing, require_columns
from earwitness.errors import ProtocolError
from earwitness.trials import Manifest

__all__ = ["read"]


def read(root: str | Path, *, columns: Mapping[str, str] | None = None) -> dict[str, Manifest]:
    """One manifest for each value of the column ``split``; ``"all"`` without such a column.

    Args:
        root: the file, or the folder that holds it as manifest.tsv or manifest.csv.
        columns: our column name -> the file's, for instance ``{"attack": "generator"}``.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "trials.csv"
    >>> _ = file.write_text("path,label,model,split\\na.wav,real,-,dev\\nb.wav,fake,vits,test\\n")
    >>> read(file, columns={"attack": "model"})["test"].counts("attack")
    {'vits': 1}

    Raises:
        ProtocolError: no such file, or what `Manifest.read` refuses.
    """
    path = _find(Path(root))
    require_columns(path, columns)
    return by_split(Manifest.read(path, columns=columns))


def _find(root: Path) -> Path:
    if root.is_file():
        return root
    found = [f for f in (root / "manifest.tsv", root / "manifest.csv") if f.is_file()]
    if len(found) != 1:
        what = "both" if found else listing(root)
        raise ProtocolError(f"{root}: expected manifest.tsv or manifest.csv; found {what}.")
    return found[0]
