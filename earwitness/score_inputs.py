"""What the verbs about score files are given: options, and the files read by them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earwitness.errors import ProtocolError, SettingsError, nearest

if TYPE_CHECKING:
    from earwitness.protocols import Protocol
    from earwitness.scores import Scores

__all__ = [
    "AsvScores",
    "Column",
    "Dev",
    "DevProtocol",
    "Draws",
    "HigherIs",
    "Layout",
    "OneIs",
    "Preset",
    "Probabilities",
    "ProtocolFile",
    "Sasv",
    "ScoreFile",
    "Threshold",
    "Unit",
    "Where",
    "as_conditions",
    "as_reading",
    "join_key",
    "read_judged",
    "read_key",
    "read_scores",
    "tandem_metrics",
    "threshold_from",
]

_PRESETS = ("asvspoof2019_la", "asvspoof5")

ScoreFile = Annotated[
    Path, typer.Argument(help="score file, as anybody wrote it (CSV, TSV, spaces; .gz)")
]
ProtocolFile = Annotated[
    Path | None,
    typer.Option("--protocol", "-p", help="labels and columns: a manifest or a challenge's key file"),
]
Layout = Annotated[str | None, typer.Option(help="of a key file without a header [default: found]")]
Where = Annotated[
    list[str] | None, typer.Option(help="only these trials of the protocol: subset=eval, codec='a|b'")
]
Column = Annotated[
    str | None, typer.Option(help="the header's name of the score, where several could be")
]
HigherIs = Annotated[
    str | None, typer.Option(help="bonafide or spoof: of which higher scores speak [default: bonafide]")
]
OneIs = Annotated[str | None, typer.Option(help="bonafide or spoof: what the label 1 is")]
Probabilities = Annotated[bool, typer.Option("--probabilities", help="scores are probabilities")]
AsvScores = Annotated[
    Path | None, typer.Option(help="scores of a speaker verifier with target, nontarget, spoof: t-DCF")
]
Sasv = Annotated[
    bool,
    typer.Option("--sasv", help="the file has sasv-score, or cm-score and asv-score: a-DCF, t-EER"),
]
Preset = Annotated[
    str | None, typer.Option(help="t-DCF with a challenge's own verifier: asvspoof2019_la, asvspoof5")
]
Dev = Annotated[Path | None, typer.Option(help="dev scores, for accuracy at their threshold")]
DevProtocol = Annotated[Path | None, typer.Option(help="labels of --dev, where the file has none")]
Threshold = Annotated[float | None, typer.Option(help="for accuracy; score >= threshold is bonafide")]
Unit = Annotated[
    str, typer.Option(help="what the bootstrap draws: auto, trial, a column, or speaker,attack")
]
Draws = Annotated[int, typer.Option(min=1, help="bootstrap draws")]


def read_key(
    path: Path | None,
    layout: str | None,
    where: Sequence[str] | None,
    by: Sequence[str] | None = None,
    unit: str = "auto",
    one_is: str | None = None,
) -> "tuple[Protocol, Protocol] | None":
    """The chosen trials, and all; with the columns that are needed."""
    from earwitness.protocols import Protocol

    if path is None:
        if where or layout or unit not in ("auto", "trial"):
            raise SettingsError("--where, --layout and --unit are about a --protocol; there is none.")
        return None
    conditions = as_conditions(where)
    asked = [name.strip() for one in by or [] for name in one.split(",")]
    drawn = [] if unit in ("auto", "trial") else [name.strip() for name in unit.split(",")]
    needed = [name for name in (*conditions, *asked, *drawn) if name != "label"]
    if one_is not in (None, "bonafide", "spoof"):
        raise SettingsError(f"--one-is is {one_is!r}; expected bonafide or spoof.")
    whole = Protocol.read(
        path,
        layout,
        columns=needed,
        if_there=("speaker", "attack", "kind", "subset"),
        one_is=one_is,  # type: ignore[arg-type]
    )
    chosen = whole.where(conditions) if conditions else whole
    counts = chosen.counts()
    if conditions and not (counts["bonafide"] and counts["spoof"]):
        raise ProtocolError(
            f"{path}: with {conditions} {counts['bonafide']} bonafide and {counts['spoof']} spoof "
            "trials are left; both are needed. Bonafide trials have no attack: see --by attack."
        )
    return chosen, whole


def as_conditions(where: Sequence[str] | None) -> dict[str, str]:
    """Columns and their values, of ``--where column=value``.

    >>> as_conditions(["split=dev"])
    {'split': 'dev'}
    """
    return dict(_condition(text) for text in where or [])


def _condition(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise SettingsError(f"--where is {text!r}; expected column=value, or column='one|other'.")
    return name.strip(), value.strip()


def join_key(path: Path, key: "tuple[Protocol, Protocol] | None", reading: dict[str, Any]) -> "Scores":
    """Scores in the order and with the labels of the chosen trials; as they are without a protocol."""
    scores = read_scores(path, reading)
    return scores.join(key[0], whole=key[1]) if key else scores


def read_judged(
    paths: Sequence[Path],
    protocol: Path | None,
    layout: str | None,
    where: Sequence[str] | None,
    reading: dict[str, Any],
    columns: Sequence[str],
    unit: str = "auto",
) -> "tuple[list[Scores], Protocol | None]":
    """Labelled scores of several systems in one order, and the trials' protocol if there is one.

    Raises:
        ProtocolError: systems scored different trials, or as `Scores.read` and `Protocol.read`.
        SettingsError: an option that can't be meant.
    """
    from earwitness.evaluation import require_labels
    from earwitness.protocols import Protocol

    key = read_key(protocol, layout, where, columns, unit, reading.get("one_is"))
    systems = [join_key(path, key, reading) for path in paths]
    if key is None:
        first = systems[0]
        alike = Protocol(first.source, first.id_column, first.codes)
        systems = [first, *(one.join(alike) for one in systems[1:])]
    return [require_labels(one) for one in systems], key[0] if key else None


def as_reading(
    column: str | None, higher_is: str | None, one_is: str | None, probabilities: bool = False
) -> dict[str, Any]:
    """How score files are read (`Scores.read`), from the options that every verb has."""
    return {
        "column": column,
        "higher_is": higher_is,
        "one_is": one_is,
        "probabilities": probabilities,
    }


def read_scores(path: Path, reading: dict[str, Any]) -> "Scores":
    """A score file by the options of the command line.

    Raises:
        ProtocolError: as `Scores.read`.
        SettingsError: an option that can't be meant.
    """
    from earwitness.scores import Scores

    for option in ("higher_is", "one_is"):
        if reading[option] not in (None, "bonafide", "spoof"):
            raise SettingsError(
                f"--{option.replace('_', '-')} is {reading[option]!r}; expected bonafide or spoof."
            )
    return Scores.read(path, **reading)


def threshold_from(
    given: float | None, dev: Path | None, dev_protocol: Path | None, reading: dict[str, Any]
) -> float | None:
    """The given threshold, or that of the EER on development scores.

    Raises:
        SettingsError: both are given, or a protocol without scores.
    """
    from earwitness.evaluation import dev_threshold

    if given is not None and dev is not None:
        raise SettingsError("--threshold and --dev both say where to decide; give one.")
    if dev is None:
        if dev_protocol is not None:
            raise SettingsError("--dev-protocol labels the scores of --dev; there are none.")
        return given
    return dev_threshold(join_key(dev, read_key(dev_protocol, None, None), reading))


def tandem_metrics(asv_scores: Path | None, preset: str | None) -> dict[str, dict[str, Any]]:
    """Both t-DCFs, with error rates of a verifier from its scores or from a challenge."""
    from earwitness.metrics.asv import ASVSPOOF5, ASVSPOOF2019_LA, AsvErrors
    from earwitness.tandem import read_tandem

    if asv_scores is not None and preset is not None:
        raise SettingsError("--asv-scores and --preset both name a speaker verifier; give one.")
    if asv_scores is not None:
        errors = AsvErrors.of(*read_tandem(asv_scores).scores["asv"])
    elif preset is None:
        return {}
    elif preset not in _PRESETS:
        raise SettingsError(
            f"no preset is called {preset!r}{nearest(preset, _PRESETS)} Known: {', '.join(_PRESETS)}."
        )
    else:
        errors = {"asvspoof2019_la": ASVSPOOF2019_LA, "asvspoof5": ASVSPOOF5}[preset]
    return {"min_tdcf": {"asv": errors}, "min_tdcf_legacy": {"asv": errors}}
