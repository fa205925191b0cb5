"""The verbs of the command line that judge score files; torch is not needed for any of them."""

from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earwitness.errors import SettingsError, nearest
from earwitness.files import require_new_outputs, write_text
from earwitness.score_inputs import (
    AsvScores,
    Column,
    Dev,
    DevProtocol,
    Draws,
    HigherIs,
    Layout,
    OneIs,
    Preset,
    Probabilities,
    ProtocolFile,
    Sasv,
    ScoreFile,
    Threshold,
    Unit,
    Where,
    as_reading,
    join_key,
    read_judged,
    read_key,
    tandem_metrics,
    threshold_from,
)
from earwitness.score_tables import as_csv, print_breakdown, print_pairs, print_review

if TYPE_CHECKING:
    from earwitness.breakdown import Breakdown
    from earwitness.evaluation import Evaluation
    from earwitness.protocols import Protocol
    from earwitness.reviewing import Reviewed

__all__ = ["compare_score_files", "evaluate", "metrics"]

DetectorFolder = Annotated[
    Path | None, typer.Option("--detector", "-d", help="score a manifest with it, to judge references")
]
Ways = Annotated[
    list[str] | None,
    typer.Option(help="real, zero, silence, noise, snr=10, duration=1, mismatch, or all of them"),
]
PolicyName = Annotated[str, typer.Option(help="of references: same-speaker, rat-compat, enrolment")]
Enrolment = Annotated[Path | None, typer.Option(help="list of each speaker's files, beside them")]
OutFolder = Annotated[
    Path | None, typer.Option("--out", "-o", help="with --detector: folder for scores and pictures")
]


def metrics(
    scores: ScoreFile,
    manifest: Annotated[Path | None, typer.Option(help="the same as --protocol", hidden=True)] = None,
    protocol: ProtocolFile = None,
    layout: Layout = None,
    where: Where = None,
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    dev: Dev = None,
    dev_protocol: DevProtocol = None,
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

    key = read_key(protocol or manifest, layout, where, unit=unit, one_is=one_is)
    reading = as_reading(score_column, higher_is, one_is, probabilities)
    if sasv:
        _print_tandem(scores, key, json)
        return
    judged = judge(
        join_key(scores, key, reading),
        key and key[0],
        threshold=threshold_from(threshold, dev, dev_protocol, reading),
        more=tandem_metrics(asv_scores, preset),
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
    dev_protocol: DevProtocol = None,
    threshold: Threshold = None,
    asv_scores: AsvScores = None,
    preset: Preset = None,
    metric: Annotated[str, typer.Option(help="shown in grids")] = "eer",
    score_column: Column = None,
    higher_is: HigherIs = None,
    one_is: OneIs = None,
    probabilities: Probabilities = False,
    detector: DetectorFolder = None,
    reference: Ways = None,
    policy: PolicyName = "same-speaker",
    enrolment: Enrolment = None,
    out: OutFolder = None,
) -> None:
    """Judge a score file, whole and by attack, codec, speaker or any column of its protocol.

    With --detector, a manifest in place of the score file: what references are worth to it.
    """
    if detector is not None or reference:
        from earwitness.reference_verbs import evaluate_references

        if detector is None or protocol is not None or by or csv or html:
            raise SettingsError(
                "--reference goes with --detector and a manifest; --protocol, --by, --csv and --html "
                "don't go with it."
            )
        evaluate_references(
            scores, detector, reference or ["all"], policy=policy, enrolment=enrolment, draws=draws,
            unit=unit, json=json, out=out,
        )  # fmt: skip
        return
    from earwitness.breakdown import break_down
    from earwitness.evaluation import evaluate as judge
    from earwitness.reviewing import review_trials
    from earwitness.scorecard import Scorecard, render

    seconds = None if review == "each" else review
    if (by or seconds) and protocol is None:
        raise SettingsError("--by and --review name columns of a --protocol; there is none.")
    columns = [*(by or []), *([seconds] if seconds else [])]
    key = read_key(protocol, layout, where, columns, unit, one_is)
    require_new_outputs([csv, html], [scores, protocol, dev, dev_protocol, asv_scores])
    reading = as_reading(score_column, higher_is, one_is, probabilities)
    joined = join_key(scores, key, reading)
    settings: dict[str, Any] = {
        "threshold": threshold_from(threshold, dev, dev_protocol, reading),
        "more": tandem_metrics(asv_scores, preset),
        "intervals": ci,
        "unit": unit,
        "draws": draws,
    }
    trials = key[0] if key else None
    judged = judge(joined, trials, **settings)
    _require_known(metric, judged)
    parts = [break_down(joined, trials, one, **settings) for one in by or []] if trials else []
    band = bool(ci and html)
    heard = review_trials(joined, trials, seconds, band=band, unit=unit) if review else None
    if csv is not None:
        write_text(csv, as_csv(judged, parts))
        typer.echo(f"wrote {csv}", err=True)
    if html is not None:
        facts = _facts(scores, protocol, where, settings, {**reading, "asv": asv_scores or preset})
        write_text(html, render(Scorecard(scores.name, joined, judged, parts, heard, facts)))
        typer.echo(f"wrote {html}", err=True)
    if json:
        typer.echo(dumps(_all_numbers(judged, parts, heard), indent=2))
    else:
        _print_judged(judged, parts, heard, metric)
    _warn([*judged.warnings, *_notes(key)])


def _require_known(metric: str, judged: "Evaluation") -> None:
    if metric not in judged.values:
        raise SettingsError(
            f"no metric {metric!r} here{nearest(metric, judged.values)} "
            f"There are: {', '.join(judged.values)}."
        )


def _all_numbers(
    judged: "Evaluation", parts: "Sequence[Breakdown]", heard: "Reviewed | None"
) -> dict[str, Any]:
    by = {",".join(one.columns): [part.to_dict() for part in one.parts] for one in parts}
    told: dict[str, Any] = {"all": judged.to_dict(), "by": by}
    return told if heard is None else {**told, "review": heard.to_dict()}


def _print_judged(
    judged: "Evaluation", parts: "Sequence[Breakdown]", heard: "Reviewed | None", metric: str
) -> None:
    typer.echo(str(judged))
    for one in parts:
        print_breakdown(one, metric)
    if heard is not None:
        print_review(heard)


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
    print_pairs(pairs, systems[0].source, paths, parts)
    _warn(pairs[0].doubts)


def _print_tandem(path: Path, key: "tuple[Protocol, Protocol] | None", json: bool) -> None:
    from earwitness.tandem import judge_tandem, read_tandem

    values = judge_tandem(read_tandem(path, *(key or ())))
    lines = (f"{name:12}{value:10.6f}" for name, value in values.items())
    typer.echo(dumps(values, indent=2) if json else "\n".join(lines))


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


def _notes(key: "tuple[Protocol, Protocol] | None") -> list[str]:
    return [key[0].note] if key and key[0].note else []


def _warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)
