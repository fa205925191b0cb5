"""MLAAD: fakes in dozens of languages by over a hundred text-to-speech models; fakes alone.

Müller et al., "MLAAD: the multi-language audio anti-spoofing dataset", IJCNN 2024. As published::

    fake/{LANGUAGE}/{MODEL}/meta.csv
    fake/{LANGUAGE}/{MODEL}/{FILE}.wav

``meta.csv`` is parted by pipes and not quoted, as transcripts hold quotation marks. Bonafide speech of
the same languages is in M-AILABS; read both and join them.
"""

from pathlib import Path

from earwitness.corpora.about import About
from earwitness.corpora.base import find_holder
from earwitness.corpora.lines import finish
from earwitness.errors import ProtocolError, nearest
from earwitness.files import read_text
from earwitness.trials import Manifest, Trial

__all__ = ["ABOUT", "read"]

ABOUT = About(
    title="MLAAD",
    source="Müller et al., IJCNN 2024",
    home="https://deepfake-total.com/mlaad",
    licence="CC BY-NC 4.0",
    counts={"all": {"spoof": 456_000}},
    doubtful="456,000 is of version 10 and rounded, so it is not enforced; versions differ",
    by_hand="From its home; it is on Hugging Face as mueller91/MLAAD.",
)


def read(root: str | Path, *, require_audio: bool = True) -> dict[str, Manifest]:
    """``{"all": manifest}`` of fakes; the domain is the language, the attack the model's folder.

    Args:
        root: the folder with ``fake/``, or one at most two levels above.
        require_audio: every audio file must be there.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "fake" / "de" / "vits"
    >>> folder.mkdir(parents=True)
    >>> text = 'path|transcript\\nfake/de/vits/a.wav|"Ja", sagte er\\n'
    >>> _ = (folder / "meta.csv").write_text(text)
    >>> read(folder.parents[2], require_audio=False)["all"].counts("domain")
    {'de': 1}

    Raises:
        ProtocolError: no meta.csv, a line of another length, or audio is missing.
    """
    holder = find_holder(root, "fake")
    tables = sorted(holder.glob("fake/*/*/meta.csv"))
    if not tables:
        raise ProtocolError(f"{holder}: no fake/LANGUAGE/MODEL/meta.csv; is this the corpus?")
    trials = [trial for table in tables for trial in _trials(table)]
    whole = {"all": Manifest("mlaad", trials, root=holder)}
    return finish(whole, {}, check_counts=False, require_audio=require_audio)


def _trials(table: Path) -> list[Trial]:
    header, *lines = [line.split("|") for line in read_text(table).rstrip().splitlines()] or [[""]]
    if "path" not in header:
        raise ProtocolError(
            f"{table}, line 1: no column 'path'{nearest('path', header)} Found: {header}."
        )
    language, model = table.parent.parent.name, table.parent.name
    found = []
    for number, cells in enumerate(lines, 2):
        if len(cells) != len(header):
            raise ProtocolError(
                f"{table}, line {number}: {len(cells)} column(s), expected {len(header)}, as in line 1."
            )
        told = dict(zip(header, cells, strict=True))
        name = Path(told["path"]).name  # paths differ between versions; audio lies beside the table
        kept = ("architecture", "training_data")
        tags = {str(key): value for key, value in told.items() if key in kept}
        found.append(
            Trial(
                f"{language}/{model}/{Path(name).stem}", f"fake/{language}/{model}/{name}", "spoof",
                attack=model, domain=language, tags=tags,
            )
        )  # fmt: skip
    return found
