"""The verbs of the command line that turn scores into decisions: calibrate, fuse, apply, threshold."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from json import dumps, loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earwitness.errors import ProtocolError, SettingsError
from earwitness.files import require_new_outputs
from earwitness.score_inputs import (
    Column,
    HigherIs,
    Layout,
    OneIs,
    Probabilities,
    ProtocolFile,
    Unit,
    Where,
    as_reading,
    read_judged,
    read_scores,
)
from earwitness.terminal import print_table

if TYPE_CHECKING:
    import numpy as np

    from earwitness.calibration import Calibration
    from earwitness.protocols import Protocol
    from earwitness.scores import Scores

__all__ = ["apply", "calibrate", "fuse", "threshold"]

_KINDS = ("affine", "isotonic")
_SHOWN = ("cllr", "min_cllr", "act_dcf", "min_dcf")

Out = Annotated[Path | None, typer.Option("--out", "-o", help="calibration to write (JSON)")]
Prior = Annotated[float, typer.Option(help="of bonafide, at which the fit is best")]
By = Annotated[str | None, typer.Option(help="tell Cllr for each value of this column too")]
LeaveOut = Annotated[
    str | None, typer.Option(help="check: fit without each value of this column, judge on it")
]


def calibrate(
    dev: Annotated[Path, typer.Argument(help="development scores")],
    protocol: ProtocolFile = None,
    out: Out = None,
    kind: Annotated[
        str, typer.Option(help="affine, or isotonic (hundreds of trials a class)")
    ] = "affine",
    prior: Prior = 0.5,
    detector: Annotated[
        Path | None, typer.Option("--detector", "-d", help="also put it into this detector's card")
    ] = None,
    by: By = None,
    leave_out: LeaveOut = None,
    layout: Layout = None,
    where: Where = None,
    score_column: Column = None,
    higher_is: HigherIs = None,
    one_is: OneIs = None,
    probabilities: Probabilities = False,
) -> None:
    """Make scores log-likelihood ratios: fit on development scores, tell what that gains."""
    reading = as_reading(score_column, higher_is, one_is, probabilities)
    if out is None and detector is None:
        raise SettingsError("say where the calibration goes: --out FILE, --detector FOLDER, or both.")
    require_new_outputs([out], [dev, protocol])
    systems, key = _read([dev], protocol, layout, where, reading, [by, leave_out])
    fitted = _remembering(_fit(systems, kind, prior, f"{dev}"), reading, [dev])
    if out is not None:
        fitted.write(out)
    if detector is not None:
        from earwitness.verdict import put_calibration

        put_calibration(detector, fitted)
    _tell(systems, fitted, key, by)
    if leave_out is not None:
        _check(systems, key, leave_out, kind, prior)
    if out is not None:
        typer.echo(f"wrote {out}\nnext: earwitness apply {out} TEST_SCORES --out calibrated.csv")
    if detector is not None:
        typer.echo(f"the card of {detector} has it\nnext: earwitness score FILES -d {detector} --llr")


def fuse(
    dev: Annotated[list[Path], typer.Argument(help="development scores of two systems or more")],
    out: Annotated[Path, typer.Option("--out", "-o", help="fusion to write (JSON)")],
    protocol: ProtocolFile = None,
    prior: Prior = 0.5,
    leave_out: LeaveOut = None,
    layout: Layout = None,
    where: Where = None,
    score_column: Column = None,
    higher_is: HigherIs = None,
    one_is: OneIs = None,
    probabilities: Probabilities = False,
) -> None:
    """Join several systems into one log-likelihood ratio by linear logistic regression."""
    if len(dev) < 2:
        raise SettingsError(
            "fusion joins two systems or more; for one there is `earwitness calibrate`."
        )
    reading = as_reading(score_column, higher_is, one_is, probabilities)
    require_new_outputs([out], [*dev, protocol])
    systems, key = _read(dev, protocol, layout, where, reading, [leave_out])
    fitted = _remembering(_fit(systems, "affine", prior, ", ".join(map(str, dev))), reading, dev)
    fitted.write(out)
    told = zip(dev, fitted.weights, systems, strict=True)
    rows = [[str(path), f"{weight:.4g}", *_numbers(one.values, one)] for path, weight, one in told]
    fused = fitted.apply(*(one.values for one in systems))
    rows.append(["fused", "", *_numbers(fused, systems[0])])
    print_table(("system", "weight", *_SHOWN, "EER, %"), rows)
    typer.echo("(judged on the trials it was fitted on: the best it can look)")
    if leave_out is not None:
        _check(systems, key, leave_out, "affine", prior)
    tests = " ".join(f"TEST{n + 1}" for n in range(len(dev)))
    typer.echo(f"wrote {out}\nnext: earwitness apply {out} {tests} --out fused.csv")


def apply(
    calibration: Annotated[Path, typer.Argument(help="what calibrate or fuse wrote")],
    scores: Annotated[
        list[Path], typer.Argument(help="score file of each system, in the fitted order")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="score file to write: log-likelihood ratios")
    ],
    score_column: Column = None,
    higher_is: HigherIs = None,
    one_is: OneIs = None,
    probabilities: Probabilities = False,
) -> None:
    """Turn scores into log-likelihood ratios by a calibration or fusion that was fitted before."""
    from earwitness.calibration import Calibration
    from earwitness.files import digest
    from earwitness.protocols import Protocol
    from earwitness.scores import Scores

    reading = as_reading(score_column, higher_is, one_is, probabilities)
    require_new_outputs([out], [calibration, *scores])
    fitted = Calibration.read(calibration)
    _require_one_scale(fitted, scores)
    reading = _as_fitted(fitted, reading)
    first, *others = [read_scores(path, reading) for path in scores]
    alike = Protocol(first.source, first.id_column, first.codes)
    columns = [first.values, *(one.join(alike).values for one in others)]
    provenance = {
        "orientation": "higher = more bonafide",
        "scale": "natural-log likelihood ratio",
        "calibration": {**fitted.to_dict(), "sha256": digest(calibration)},
        "of": [{"file": str(path), "sha256": digest(path)} for path in scores],
    }
    scopes = {_said(path, "trial_scope") for path in scores} - {""}
    if scopes:
        provenance["trial_scope"] = "; ".join(sorted(scopes))
    Scores(first.id_column, fitted.apply(*columns), first.codes, provenance=provenance).write(out)
    typer.echo(f"wrote {len(first)} log-likelihood ratios to {out}")


def threshold(
    dev: Annotated[Path, typer.Argument(help="development scores")],
    protocol: ProtocolFile = None,
    false_alarm: Annotated[
        float | None, typer.Option(help="accept at most this share of the spoofs, such as 0.01")
    ] = None,
    miss: Annotated[
        float | None, typer.Option(help="with --false-alarm: a band between both, inconclusive")
    ] = None,
    p_spoof: Annotated[
        float | None, typer.Option(help="for scores that are LLRs: prior of a spoof")
    ] = None,
    c_miss: Annotated[float, typer.Option(help="cost of rejecting a bonafide recording")] = 1.0,
    c_fa: Annotated[float, typer.Option(help="cost of accepting a spoof")] = 10.0,
    json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
    unit: Unit = "auto",
    layout: Layout = None,
    where: Where = None,
    score_column: Column = None,
    higher_is: HigherIs = None,
    one_is: OneIs = None,
    probabilities: Probabilities = False,
) -> None:
    """A threshold from costs, from a wanted false-alarm rate, or two with an inconclusive band."""
    from earwitness.evaluation import doubts_of_scale
    from earwitness.metrics.decisions import bayes_threshold
    from earwitness.metrics.units import sampling
    from earwitness.thresholds import at_false_alarm, operating, three_way

    if p_spoof is not None and (false_alarm is not None or miss is not None):
        raise SettingsError("--p-spoof goes without --false-alarm and --miss: costs decide, or rates.")
    if false_alarm is None and p_spoof is None:
        raise SettingsError(
            "say what the threshold is for: --false-alarm RATE (with --miss RATE a band), or --p-spoof "
            "PRIOR with costs."
        )
    reading = as_reading(score_column, higher_is, one_is, probabilities)
    [scores], key = _read([dev], protocol, layout, where, reading, [], unit)
    both = scores.bonafide, scores.spoof
    for doubt in doubts_of_scale(scores):
        if p_spoof is not None or "inverted" in doubt:
            typer.echo(f"warning: {doubt}", err=True)
    if false_alarm is not None and miss is not None:
        band = three_way(*both, false_alarm=false_alarm, miss=miss)
        typer.echo(dumps(band._asdict(), indent=2) if json else _band_in_words(band))
        return
    at = bayes_threshold(p_spoof, c_miss, c_fa) if p_spoof is not None else None
    at = at_false_alarm(*both, false_alarm) if at is None and false_alarm is not None else at
    drawn = sampling(key, unit) if key is not None else None
    clusters, attacks = (drawn.clusters, drawn.attacks) if drawn else (None, None)
    told = operating(*both, float(at or 0.0), clusters=clusters, attacks=attacks)
    over = drawn.unit if drawn else "trial"
    typer.echo(
        dumps({**told._asdict(), "sampling_unit": over}, indent=2) if json else _in_words(told, over)
    )


def _in_words(told: Any, over: str) -> str:
    rates = (
        ("bonafide rejected", told.miss, told.miss_interval),
        ("spoofs accepted", told.false_alarm, told.false_alarm_interval),
    )
    lines = [f"threshold {told.threshold:.6g}   (score >= threshold is bonafide)"]
    lines += [
        f"{name:18}{100 * rate:7.2f} %   (95 %: {100 * low:.2f} to {100 * high:.2f}, by {over})"
        for name, rate, (low, high) in rates
    ]
    return "\n".join(lines)


def _band_in_words(band: Any) -> str:
    return "\n".join(
        [
            f"spoof below {band.low:.6g}, bonafide from {band.high:.6g} on, inconclusive between",
            f"bonafide called spoof  {100 * band.miss:7.2f} %",
            f"spoof called bonafide  {100 * band.false_alarm:7.2f} %",
            f"inconclusive: bonafide {100 * band.inconclusive_bonafide:7.2f} %",
            f"              spoof    {100 * band.inconclusive_spoof:7.2f} %",
        ]
    )


def _read(
    paths: Sequence[Path],
    protocol: Path | None,
    layout: str | None,
    where: Sequence[str] | None,
    reading: dict[str, Any],
    columns: Sequence[str | None],
    unit: str = "auto",
) -> "tuple[list[Scores], Protocol | None]":
    """Labelled scores of each system, in one order."""
    asked = [name for name in columns if name is not None]
    if asked and protocol is None:
        raise SettingsError("--by and --leave-out name columns of a --protocol; there is none.")
    return read_judged(paths, protocol, layout, where, reading, asked, unit)


def _fit(systems: "Sequence[Scores]", kind: str, prior: float, fitted_on: str) -> "Calibration":
    from earwitness.calibration import fit_affine, fit_isotonic

    if kind not in _KINDS:
        raise SettingsError(f"--kind is {kind!r}; expected {' or '.join(_KINDS)}.")
    bonafide, spoof = [one.bonafide for one in systems], [one.spoof for one in systems]
    if not len(bonafide[0]) or not len(spoof[0]):
        raise ProtocolError(
            f"{systems[0].source}: {len(bonafide[0])} bonafide and {len(spoof[0])} spoof trials; "
            "calibration needs both (and a protocol, where the file has no labels)."
        )
    if kind == "isotonic":
        return fit_isotonic(bonafide[0], spoof[0], prior=prior, fitted_on=fitted_on)
    return fit_affine(bonafide, spoof, prior=prior, fitted_on=fitted_on)


def _remembering(
    fitted: "Calibration", reading: dict[str, Any], paths: Sequence[Path]
) -> "Calibration":
    """With how the scores were read; a single weight below 0 is told."""
    if any(weight < 0 for weight in fitted.weights):
        typer.echo(
            "warning: scores that are higher for spoofs are turned round (a weight is below 0); if "
            "that is not meant, look at --higher-is.",
            err=True,
        )
    kept = {name: value for name, value in reading.items() if value not in (None, False)}
    return replace(fitted, reading=kept, scales=tuple(map(_scale_of, paths)))


def _scale_of(path: Path) -> str:
    """What a score file says of its scale; raw scores say nothing."""
    return _said(path, "scale")


def _said(path: Path, entry: str) -> str:
    """An entry of the file beside a score file, or ""."""
    side = path.with_name(path.name + ".json")
    try:
        told = loads(side.read_text(encoding="utf-8")) if side.is_file() else {}
    except ValueError:
        told = {}
    return str(told.get(entry, "")) if isinstance(told, dict) else ""


def _require_one_scale(fitted: "Calibration", scores: Sequence[Path]) -> None:
    """A calibration of raw scores is not applied to ratios, nor one of ratios to raw scores."""
    names = fitted.fitted_on.split(", ")
    for number, path in enumerate(scores[: len(fitted.scales)]):
        name = names[number] if number < len(names) else "?"
        typer.echo(f"{number + 1}: {path}, by what was fitted on {name}")
        found, expected = _scale_of(path), fitted.scales[number]
        if found != expected:
            raise SettingsError(
                f"{path} has {found or 'raw scores'}, and the calibration was fitted on "
                f"{expected or 'raw scores'} ({name}); was it calibrated already, or not yet?"
            )


def _as_fitted(fitted: "Calibration", reading: dict[str, Any]) -> dict[str, Any]:
    """Scores are read as those it was fitted on; another wish is refused."""
    for name, value in reading.items():
        if value not in (None, False) and fitted.reading.get(name) != value:
            raise SettingsError(
                f"--{name.replace('_', '-')} {value}: the calibration was fitted with "
                f"{fitted.reading.get(name, 'no such option')}; fit another one, or leave it out."
            )
    return {**reading, **fitted.reading}


def _numbers(values: "np.ndarray", labelled: "Scores") -> list[str]:
    from earwitness.metrics import METRICS

    both = values[labelled.codes == 0], values[labelled.codes == 1]
    numbers = [f"{METRICS.get(name)(*both):.3f}" for name in _SHOWN]
    return [*numbers, f"{100 * METRICS.get('eer')(*both):.2f}"]


def _parts(
    systems: "Sequence[Scores]", key: "Protocol", name: str
) -> "Iterator[tuple[str, np.ndarray]]":
    """Rows of each value of a column; spoofs of an attack come with all bonafide trials."""
    from earwitness.breakdown import binned

    column, bonafide = binned(key.column(name)), systems[0].codes == 0
    of_spoofs = column.filter(bonafide).is_in(["-", "", "bonafide"]).all()
    found = False
    for value in column.filter(~bonafide).unique().sort().to_list():
        rows = (column == value).to_numpy() | (bonafide if of_spoofs else False)
        if set(systems[0].codes[rows].tolist()) >= {0, 1}:
            found = True
            yield value, rows
    if not found:
        raise ProtocolError(f"{key.name}: no value of {name} has trials of both classes.")


def _tell(
    systems: "Sequence[Scores]", fitted: "Calibration", key: "Protocol | None", by: str | None
) -> None:
    """Before and after, whole and by a column: the fit itself, so the best it can look."""
    after = fitted.apply(*(one.values for one in systems))
    one = systems[0]
    rows = [["all", "before", *_numbers(one.values, one)], ["all", "after", *_numbers(after, one)]]
    for value, part in _parts(systems, key, by) if key is not None and by else ():
        taken = one.take(part)
        rows.append([value, "before", *_numbers(taken.values, taken)])
        rows.append([value, "after", *_numbers(after[part], taken)])
    print_table((by or "trials", "", *_SHOWN, "EER, %"), rows)
    typer.echo("(judged on the trials it was fitted on: the best it can look)")


def _check(
    systems: "Sequence[Scores]", key: "Protocol | None", name: str, kind: str, prior: float
) -> None:
    """Fit without each value and judge on it: what to expect of a domain that is new.

    Where the column says something of spoofs alone, bonafide trials are in both.
    """
    if key is None:
        raise SettingsError("--leave-out names a column of a --protocol; there is none.")
    rows = []
    for value, part in _parts(systems, key, name):
        others = ~part | ((systems[0].codes == 0) & bool(part[systems[0].codes == 0].all()))
        rest = [one.take(others) for one in systems]
        if set(rest[0].codes.tolist()) < {0, 1}:
            continue
        fitted = _fit(rest, kind, prior, f"all but {value}")
        judged = fitted.apply(*(one.values[part] for one in systems))
        rows.append([value, *_numbers(judged, systems[0].take(part))])
    if not rows:
        raise ProtocolError(f"{key.name}: {name} has one value; without it nothing is left to fit on.")
    print_table((name, *_SHOWN, "EER, %"), rows, title=f"fitted without the {name}, judged on it:")
