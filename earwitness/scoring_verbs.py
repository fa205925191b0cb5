"""The verb ``score``: recordings, folders and manifests to scores."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earwitness.errors import RunError, SettingsError
from earwitness.files import require_new_outputs, write_json
from earwitness.runtimes import Runtime
from earwitness.score_inputs import as_conditions

if TYPE_CHECKING:
    from earwitness.archive import Heard, Listener, Recording
    from earwitness.calibration import Calibration

__all__ = ["score"]

_FEW, _FAILED = 64, 20  # so many are worth a line each on the screen beside the file


def score(
    inputs: Annotated[
        list[Path], typer.Argument(help="recordings, folders of them, manifests (.csv, .tsv)")
    ],
    detector: Annotated[
        Path, typer.Option("--detector", "-d", help="folder of a saved or exported detector")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", "--csv", help="score file: .csv, .tsv or .parquet"),
    ] = None,
    segments: Annotated[Path | None, typer.Option(help="with --out: each window's score here")] = None,
    where: Annotated[
        list[str] | None, typer.Option(help="of manifests: only these trials, such as split=dev")
    ] = None,
    window: Annotated[float | None, typer.Option(help="seconds scored at a time")] = None,
    hop: Annotated[float | None, typer.Option(help="seconds between windows")] = None,
    skip_bad: Annotated[bool, typer.Option(help="count unusable files instead of failing")] = False,
    llr: Annotated[
        bool, typer.Option("--llr", help="log-likelihood ratios, by the calibration in the card")
    ] = False,
    runtime: Annotated[
        Runtime | None, typer.Option(help="torch or onnx [default: what the folder holds]")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="processes [default: one a core, for 64 recordings each]")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda, of torch")] = "cpu",
) -> None:
    """Is this file real? Scores whole recordings; higher = more bonafide.

    With --out the same command goes on where it was stopped, and scores only what is new or changed.
    Started by torchrun, several processes or machines share the work.
    """
    from earwitness.archive import Listener, Share, gather
    from earwitness.verdict import calibration_of, explain_worth
    from earwitness.windows import Windows

    _require_outputs(out, segments, inputs)
    alone = Share.own().size == 1
    if out is None and not alone:
        raise SettingsError("several processes of torchrun write one score file: name it with --out.")
    listener = Listener.open(detector, runtime=runtime, device=device, workers=workers)
    own = listener.windows
    seconds = own.seconds if window is None else window
    policy = Windows(seconds, min(own.hop, seconds) if hop is None else hop)
    listener = _with(listener, windows=policy)
    skipped: Counter[str] = Counter()
    recordings = gather(inputs, as_conditions(where), skipped)
    if skipped:
        told = ", ".join(f"{n:,} {kind}" for kind, n in skipped.most_common(10))
        typer.echo(f"files that were not taken, by their extension: {told}", err=True)
    calibration = calibration_of(listener.detector) if llr else None
    if out is None:
        failed = _say_all(listener, recordings, calibration)
    else:
        heard = _write(listener, recordings, out, segments, calibration)
        if heard is None:  # another process of torchrun's has the result
            return
        failed = heard.failed
    typer.echo(explain_worth(listener.detector))
    if failed and not skip_bad:
        typer.echo(f"error: {len(failed)} of {len(recordings)} file(s) not scored.", err=True)
        if alone:  # torchrun would take it for a crash, and start all of it again
            raise typer.Exit(1)


def _require_outputs(out: Path | None, segments: Path | None, inputs: Sequence[Path]) -> None:
    from earwitness.archive import FORMATS

    if segments is not None and out is None:
        raise SettingsError("--segments goes with --out.")
    for path in (out, segments):
        if path is not None and path.suffix.lower() not in FORMATS:
            raise SettingsError(f"{path}: expected a name that ends in {', '.join(FORMATS)}.")
    require_new_outputs([out, segments], inputs)


def _with(listener: "Listener", **changes: Any) -> "Listener":
    from dataclasses import replace

    return replace(listener, **changes)


def _say_all(
    listener: "Listener", recordings: "Sequence[Recording]", calibration: "Calibration | None"
) -> dict[str, str]:
    """A line a recording, as they come; the failed ones with their reasons."""
    from earwitness.archive import hear_all
    from earwitness.verdict import ScoreTable

    table, failed = ScoreTable(listener.detector, typer.echo, calibration), {}
    for one in hear_all(listener, recordings):
        if one.failed is None:
            table.add(one.name, one.mean, min(one.scores), len(one.scores))
        else:
            failed[one.name] = one.failed
            table.fail(one.name, one.failed)
    return failed


def _write(
    listener: "Listener",
    recordings: "Sequence[Recording]",
    out: Path,
    segments: Path | None,
    calibration: "Calibration | None",
) -> "Heard | None":
    from earwitness.archive import open_journal, score_archive, write_scores, write_segments
    from earwitness.terminal import pace

    with pace("recordings", len(recordings)) as on_chunk:
        heard = score_archive(listener, recordings, out, on_chunk=on_chunk)
    if heard is None:
        return None
    _say_heard(listener, heard, calibration)
    if len(heard.failed) == len(heard.rows):
        reasons = f"{next(iter(heard.failed.items()))}"
        raise RunError(f"none of the {len(heard.rows)} recordings can be used; the first: {reasons}.")
    labels = {one.name: one.label for one in recordings}
    ratios = None if calibration is None else lambda scores: calibration.apply(scores).tolist()
    write_scores(out, heard.rows, labels, ratios)
    write_json(f"{out}.json", _provenance(listener, heard, calibration))
    typer.echo(f"wrote {out}", err=True)
    if segments is not None:
        write_segments(segments, open_journal(listener, out), recordings, listener.windows)
        typer.echo(f"wrote {segments}", err=True)
    return heard


def _say_heard(listener: "Listener", heard: "Heard", calibration: "Calibration | None") -> None:
    from earwitness.verdict import ScoreTable

    if len(heard.rows) <= _FEW:
        table = ScoreTable(listener.detector, typer.echo, calibration)
        for name, row in heard.rows.items():
            if row.failed is None:
                table.add(name, row.mean, row.worst, row.windows)
            else:
                table.fail(name, row.failed)
        return
    for name, reason in list(heard.failed.items())[:_FAILED]:
        typer.echo(f"failed: {name}: {reason}", err=True)
    if len(heard.failed) > _FAILED:
        typer.echo(f"failed: and {len(heard.failed) - _FAILED} more", err=True)
    before = f", {heard.already:,} of them earlier" if heard.already else ""
    typer.echo(
        f"{len(heard.rows) - len(heard.failed):,} of {len(heard.rows):,} recordings scored{before}; "
        f"{heard.seconds / 3600:,.1f} h of audio in {heard.took:,.0f} s, {heard.speed:,.0f} x real time"
    )


def _provenance(
    listener: "Listener", heard: "Heard", calibration: "Calibration | None"
) -> dict[str, Any]:
    import earwitness

    policy = listener.windows
    told = {
        "detector": listener.detector.digest,
        "orientation": "higher = more bonafide",
        "trial_scope": "whole recording, mean over windows",
        "windows": {"seconds": policy.seconds, "hop": policy.hop},
        "coverage": {
            "trials": len(heard.rows),
            "scored": len(heard.rows) - len(heard.failed),
            "failed": [{"id": name, "reason": why} for name, why in heard.failed.items()],
        },
        "earwitness": earwitness.__version__,
    }
    if calibration is not None:
        told |= {"scale": "natural-log likelihood ratio", "calibration": calibration.to_dict()}
    return told
