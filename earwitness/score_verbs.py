"""The verbs of the command line that judge score files; torch is not needed for any of them."""

import csv
import io
from collections.abc import Sequence
from json import dumps
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earwitness.errors import ProtocolError, SettingsError, nearest
from earwitness.files import require_new_outputs, write_text
from earwitness.terminal import print_table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from earwitness.breakdown import Breakdown
    from earwitness.evaluation import Evaluation
    from earwitness.metrics.review import Review
    from earwitness.protocols import Protocol
    from earwitness.scores import Scores
    from earwitness.system_comparison import Pair

__all__ = [
    "Column",
    "Draws",
    "HigherIs",
    "Layout",
    "OneIs",
    "Probabilities",
    "ProtocolFile",
    "Unit",
    "Where",
    "as_reading",
    "compare_score_files",
    "evaluate",
    "metrics",
    "read_judged",
    "read_scores",
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
Threshold = Annotated[float | None, typer.Option(help="for accuracy; score >= threshold is bonafide")]
Unit = Annotated[
    str, typer.Option(help="what the bootstrap draws: auto, trial, a column, or speaker,attack")
]
Draws = Annotated[int, typer.Option(min=1, help="bootstrap draws")]


def metrics(
    scores: ScoreFile,
    manifest: Annotated[Path | None, typer.Option(help="the same as --protocol", hidden=True)] = None,
    protocol: ProtocolFile = None,
    layout: Layout = None,
    where: Where = None,
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    dev: Dev = None,
    threshold: Threshold = None,
    asv_scores: AsvScores = None,
    sasv: Sasv = False,
    preset: Preset = None,
    score_column: Column = None,
    higher_is: HigherIs = None,
    one_is: OneIs = None,
    probabilities: Probabilities = False,
    intervals: Annotated[bool, typer.Option(help="bootstrap intervals")] = True,
    unit: Unit = "auto",
    draws: Draws = 1000,
) -> None:
    """EER, minDCF, Cllr, AUC and more of a score file; needs no torch."""
    from earwitness.evaluation import evaluate as judge

    key = _protocol(protocol or manifest, layout, where, unit=unit, one_is=one_is)
    reading = as_reading(score_column, higher_is, one_is, probabilities)
    if sasv:
        _print_tandem(scores, key, json)
        return
    judged = judge(
        _joined(scores, key, reading),
        key and key[0],
        threshold=_threshold(threshold, dev, reading),
        more=_tandem_metrics(asv_scores, preset),
        intervals=intervals,
        unit=unit,
        draws=draws,
    )
    typer.echo(dumps(judged.to_dict(), indent=2) if json else str(judged))
    _warn([*judged.warnings, *_notes(key)])


def evaluate(
    scores: ScoreFile,
    protocol: ProtocolFile = None,
    layout: Layout = None,
    where: Where = None,
    by: Annotated[
        list[str] | None, typer.Option(help="a column of the protocol, or a grid: attack,codec")
    ] = None,
    ci: Annotated[bool, typer.Option("--ci", help="95 % bootstrap intervals")] = False,
    unit: Unit = "auto",
    draws: Draws = 1000,
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    csv: Annotated[Path | None, typer.Option(help="write every part, a line each")] = None,
    html: Annotated[Path | None, typer.Option(help="write a page with curves, opens offline")] = None,
    review: Annotated[
        str | None,
        typer.Option(help="fakes found in the first hours: column of seconds, or 'each' for 1 a trial"),
    ] = None,
    dev: Dev = None,
    threshold: Threshold = None,
    asv_scores: AsvScores = None,
    preset: Preset = None,
    metric: Annotated[str, typer.Option(help="shown in grids")] = "eer",
    score_column: Column = None,
    higher_is: HigherIs = None,
    one_is: OneIs = None,
    probabilities: Probabilities = False,
) -> None:
    """Judge a score file, whole and by attack, codec, speaker or any column of its protocol."""
    from earwitness.breakdown import break_down
    from earwitness.evaluation import evaluate as judge

    costs = [review] if review not in (None, "each") else []
    key = _protocol(protocol, layout, where, [*(by or []), *costs], unit, one_is)
    require_new_outputs([csv, html], [scores, protocol, dev, asv_scores])
    reading = as_reading(score_column, higher_is, one_is, probabilities)
    if (by or costs) and key is None:
        raise SettingsError("--by and --review name columns of a --protocol; there is none.")
    joined = _joined(scores, key, reading)
    settings: dict[str, Any] = {
        "threshold": _threshold(threshold, dev, reading),
        "more": _tandem_metrics(asv_scores, preset),
        "intervals": ci,
        "unit": unit,
        "draws": draws,
    }
    judged = judge(joined, key and key[0], **settings)
    parts = [break_down(joined, key[0], one, **settings) for one in by or []] if key else []
    if metric not in judged.values:
        raise SettingsError(
            f"no metric {metric!r} here{nearest(metric, judged.values)} "
            f"There are: {', '.join(judged.values)}."
        )
    heard = _reviewed(joined, key[0] if key else None, review) if review else None
    if csv is not None:
        write_text(csv, _as_csv(judged, parts))
        typer.echo(f"wrote {csv}", err=True)
    if html is not None:
        from earwitness.scorecard import Scorecard, render

        by_trial = unit == "trial"
        band = (
            _band(joined, key[0] if key and not by_trial else None, review) if review and ci else None
        )
        facts = _facts(scores, protocol, where, settings, {**reading, "asv": asv_scores or preset})
        hours = "hours" if costs else "trials"
        card = Scorecard(scores.name, joined, judged, parts, heard, hours, band, facts)
        write_text(html, render(card))
    if json:
        told = {"all": judged.to_dict(), "by": {",".join(p.columns): _as_dicts(p) for p in parts}}
        if heard is not None:
            told["review"] = _review_numbers(heard)
        typer.echo(dumps(told, indent=2))
    else:
        typer.echo(str(judged))
        for one in parts:
            _print_grid(one, metric) if len(one.columns) == 2 else _print_parts(one)
        if heard is not None:
            _print_review(heard, "hours" if costs else "trials")
    if html is not None:
        typer.echo(f"wrote {html}", err=True)
    _warn([*judged.warnings, *_notes(key)])


def compare_score_files(
    paths: Sequence[Path],
    *,
    protocol: Path | None,
    layout: str | None,
    where: Sequence[str] | None,
    by: Sequence[str],
    unit: str,
    draws: int,
    json: bool,
    reading: dict[str, Any],
) -> None:
    """Print which of the differences between the first system and the others hold."""
    from earwitness.system_comparison import compare_systems, deltas, require_one_scope

    if len(paths) < 2:
        raise SettingsError("a comparison of score files needs two or more.")
    require_one_scope(paths)
    systems, key = read_judged(paths, protocol, layout, where, reading, by, unit)
    pairs = compare_systems(systems, key, unit=unit, draws=draws)
    parts = {one: deltas(systems, key, one) for one in by} if key is not None else {}
    if json:
        told = {
            "first": systems[0].source,
            "pairs": [pair.to_dict() for pair in pairs],
            "eer_by": parts,
        }
        typer.echo(dumps(told, indent=2))
        return
    rows = [_pair_row(pair, name, paths) for pair in pairs for name in pair.difference]
    print_table(("", "metric", "first", "this", "difference", "p", "this one is"), rows)
    typer.echo(f"first: {systems[0].source}; 95 % intervals and p by {pairs[0].unit}, p after Holm")
    _warn(pairs[0].doubts)
    for one, lines in parts.items():
        shown = [
            [value, *(f"{100 * rate:.2f}" for rate in rates), f"{100 * (rates[-1] - rates[0]):+.2f}"]
            for value, rates in lines
        ]
        names = [_short(str(path), paths) for path in paths]
        print_table((one, *names, "last - first"), shown, title="EER, %, without a test")


def _short(path: str, among: Sequence[Path]) -> str:
    """The file's name, with its folder where another has the same."""
    names = [one.name for one in among]
    return path if names.count(Path(path).name) > 1 else Path(path).name


def _pair_row(pair: "Pair", name: str, paths: Sequence[Path]) -> list[str]:
    scale, digits = (100, 2) if name == "eer" else (1, 4)
    first, other = (f"{scale * value:.{digits}f}" for value in pair.values[name])
    one = pair.difference[name]
    told = f"{scale * one.value:+.{digits}f}"
    reach = f" ({scale * one.low:+.{digits}f} to {scale * one.high:+.{digits}f})"
    label = "EER, %" if name == "eer" else name
    p = f"{pair.corrected_p[name]:.3f}"
    return [_short(pair.other, paths), label, first, other, told + reach, p, pair.verdict(name)]


def _protocol(
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
    conditions = dict(_condition(text) for text in where or [])
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


def _condition(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise SettingsError(f"--where is {text!r}; expected column=value, or column='one|other'.")
    return name.strip(), value.strip()


def _joined(path: Path, key: "tuple[Protocol, Protocol] | None", reading: dict[str, Any]) -> "Scores":
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

    key = _protocol(protocol, layout, where, columns, unit, reading.get("one_is"))
    systems = [_joined(path, key, reading) for path in paths]
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


def _threshold(given: float | None, dev: Path | None, reading: dict[str, Any]) -> float | None:
    from earwitness.evaluation import dev_threshold

    if given is not None and dev is not None:
        raise SettingsError("--threshold and --dev both say where to decide; give one.")
    return dev_threshold(read_scores(dev, reading)) if dev else given


def _tandem_metrics(asv_scores: Path | None, preset: str | None) -> dict[str, dict[str, Any]]:
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


def _print_tandem(path: Path, key: "tuple[Protocol, Protocol] | None", json: bool) -> None:
    from earwitness.tandem import judge_tandem, read_tandem

    values = judge_tandem(read_tandem(path, *(key or ())))
    lines = (f"{name:12}{value:10.6f}" for name, value in values.items())
    typer.echo(dumps(values, indent=2) if json else "\n".join(lines))


def _print_parts(told: "Breakdown") -> None:
    rows = []
    for part in told.parts:
        judged = part.evaluation
        numbers = [_percent(judged), _plain(judged, "min_dcf"), _plain(judged, "auc")]
        rows.append([*part.values, f"{part.n_bonafide:,}", f"{part.n_spoof:,}", *numbers])
    columns = (*told.columns, "bonafide", "spoof", "EER, %", "minDCF", "AUC")
    print_table(columns, rows)


def _percent(judged: "Evaluation | None") -> str:
    if judged is None:
        return "–"
    value = f"{100 * judged.values['eer']:.2f}"
    if "eer" not in judged.intervals:
        return value
    low, high = judged.intervals["eer"]
    return f"{value} ({100 * low:.2f} to {100 * high:.2f})"


def _plain(judged: "Evaluation | None", name: str) -> str:
    return "–" if judged is None else f"{judged.values[name]:.4f}"


def _print_grid(told: "Breakdown", metric: str) -> None:
    known = next(part.evaluation for part in told.parts if part.evaluation).values
    if metric not in known:
        raise SettingsError(
            f"no {metric!r} here{nearest(metric, known)} There are: {', '.join(known)}."
        )
    rows, across, table = told.grid(metric)
    percent = metric in ("eer", "eer_challenge", "accuracy", "balanced_accuracy")
    scale, digits = (100, 2) if percent else (1, 3)
    shown = [
        [name, *("–" if isnan(value) else f"{scale * value:.{digits}f}" for value in line)]
        for name, line in zip(rows, table.tolist(), strict=True)
    ]
    title = f"{metric}{', %' if percent else ''}: {told.columns[0]} down, {told.columns[1]} across"
    print_table(["", *across], shown, title=title)


def _reviewed(scores: "Scores", key: "Protocol | None", column: str) -> "Review":
    """The review curve; costs are seconds in the protocol and hours here."""
    from earwitness.metrics.review import review

    return review(scores.values, scores.codes == 1, _hours(key, column))


def _hours(key: "Protocol | None", column: str) -> "NDArray[np.float64] | None":
    import polars as pl

    if column == "each" or key is None:
        return None
    cells = key.column(column)
    seconds = cells.cast(pl.Float64, strict=False)
    if seconds.null_count():
        first = cells[int(seconds.is_null().arg_max() or 0)]
        raise ProtocolError(
            f"{key.name}: the column {column} holds {first!r} and {seconds.null_count() - 1} more that "
            "are no numbers; --review needs seconds for every trial."
        )
    return seconds.to_numpy() / 3600


def _band(scores: "Scores", key: "Protocol | None", column: str) -> Any:
    """Shares of the hours, and the lowest and highest recall there over resamples."""
    import numpy as np

    from earwitness.metrics.review import review_band

    shares = np.geomspace(0.001, 1, 60)
    speakers = key.columns.get("speaker") if key is not None else None
    known = speakers is not None and not speakers.is_in(["", "-"]).any()
    clusters = speakers.to_numpy() if known and speakers is not None else None
    hours = _hours(key, column)
    return shares, *review_band(scores.values, scores.codes == 1, hours, shares, clusters=clusters)


def _review_numbers(heard: "Review") -> dict[str, Any]:
    """Recall at shares of the hours, hours for shares of the fakes, and the area under the curve."""
    return {
        "total": heard.total,
        "recall_at": {str(s): heard.recall_at(s * heard.total) for s in (0.01, 0.05, 0.1)},
        "random_at": {str(s): heard.random_at(s * heard.total) for s in (0.01, 0.05, 0.1)},
        "oracle_at": {str(s): heard.oracle_at(s * heard.total) for s in (0.01, 0.05, 0.1)},
        "budget_for": {str(r): heard.budget_for(r) for r in (0.5, 0.8, 0.95)},
        "area": heard.area(),
    }


def _print_review(heard: "Review", unit: str) -> None:
    numbers = _review_numbers(heard)
    names = {"recall_at": "this system", "random_at": "in any order", "oracle_at": "fakes alone"}
    rows = [
        [name, *(f"{100 * share:.1f}" for share in numbers[key].values())]
        for key, name in names.items()
    ]
    heads = [f"{100 * float(share):g} % heard" for share in numbers["recall_at"]]
    print_table(("fakes found, %", *heads), rows, title=f"of {heard.total:,.2f} {unit}")
    told = (f"{100 * float(r):g} %: {budget:,.2f}" for r, budget in numbers["budget_for"].items())
    typer.echo(f"{unit} to find " + ", ".join(told))


def _facts(
    scores: Path,
    protocol: Path | None,
    where: Sequence[str] | None,
    settings: dict[str, Any],
    options: dict[str, Any],
) -> dict[str, str]:
    """What was judged, with digests, for the end of a page."""
    import earwitness
    from earwitness.files import digest

    facts = {"scores": f"{scores} (SHA-256 {digest(scores)})"}
    if protocol is not None:
        facts["protocol"] = f"{protocol} (SHA-256 {digest(protocol)})"
    if where:
        facts["only trials with"] = ", ".join(where)
    given = {**options, "threshold": settings["threshold"], "unit": settings["unit"]}
    told = {name: value for name, value in given.items() if value not in (None, False)}
    facts["options"] = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in told.items())
    drawn = f"{settings['draws']} draws, seed 0" if settings["intervals"] else "none"
    return {**facts, "bootstrap": drawn, "earwitness": earwitness.__version__}


def _as_dicts(told: "Breakdown") -> list[dict[str, Any]]:
    return [part.to_dict() for part in told.parts]


def _as_csv(judged: "Evaluation", parts: Sequence["Breakdown"]) -> str:
    rows: list[dict[str, Any]] = [{"by": "", "value": "", **judged.to_dict()}]
    for one in parts:
        for part in one.parts:
            told = part.to_dict()
            rows.append({"by": ",".join(one.columns), "value": ",".join(told.pop("values")), **told})
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _notes(key: "tuple[Protocol, Protocol] | None") -> list[str]:
    return [key[0].note] if key and key[0].note else []


def _warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)
