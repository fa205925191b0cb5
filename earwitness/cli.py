"""The command line: verbs, each a thin caller of one public function.

Exit codes: 0 done; 1 the data or the run failed; 2 wrong usage. Heavy libraries are imported inside
the commands that need them, so that ``earwitness --help`` is quick.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from earwitness.augment_verbs import augment
from earwitness.calibration_verbs import apply, calibrate, fuse, threshold
from earwitness.corpus_verbs import corpus, manifest
from earwitness.differential_verbs import differential
from earwitness.errors import EarwitnessError, ProtocolError, SettingsError
from earwitness.explain_verbs import explain, landmarks
from earwitness.export_verbs import export
from earwitness.legacy import legacy
from earwitness.run_verbs import Overrides, distill, extract, run, run_progress
from earwitness.score_inputs import (
    Column,
    Draws,
    HigherIs,
    Layout,
    OneIs,
    Probabilities,
    ProtocolFile,
    Unit,
    Where,
    as_reading,
)
from earwitness.score_verbs import compare_score_files, evaluate, metrics
from earwitness.scoring_verbs import score
from earwitness.select_verbs import select
from earwitness.terminal import print_table
from earwitness.web_verbs import app as page
from earwitness.web_verbs import serve

__all__ = ["app", "main"]

_RESUMED = ("run", "extract", "distill", "tune", "demo", "legacy", "corpus", "score")
_INTERRUPTED = 130  # what typer makes of Ctrl-C

app = typer.Typer(
    help="Hear, remember, testify: speech deepfake detectors that keep learning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Entry point: runs the app and turns deliberate errors into one message and an exit code."""
    try:
        app()
    except EarwitnessError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        told = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
        typer.echo(f"error: {told}.", err=True)
        sys.exit(1)
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "safetensors"):
            raise
        typer.echo(
            f"error: this command needs {error.name}; run: pip install 'earwitness[torch]'",
            err=True,
        )
        sys.exit(1)
    except SystemExit as stop:
        if stop.code != _INTERRUPTED:
            raise
        goes_on = sys.argv[1:2] and sys.argv[1] in _RESUMED
        more = "; the same command goes on from here" if goes_on else ""
        typer.echo(f"interrupted{more}.", err=True)
        sys.exit(1)


for first in (run, extract, distill):
    app.command()(first)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="run folder(s), side by side")],
    out: Annotated[Path | None, typer.Option(help="where to write [default: the run]")] = None,
) -> None:
    """Write report.html (opens offline), and the same as JSON, CSV and PNG."""
    from earwitness.report import write
    from earwitness.runs import RunFolder

    for path in write([RunFolder(folder) for folder in runs], out):
        typer.echo(path)


@app.command()
def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="run folder(s) with the same tasks, or score files")
    ],
    out: Annotated[
        Path | None, typer.Option(help="of runs: where to write [default: the first run]")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="of runs: compare with this one [default: naive]")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="of runs: eer, accuracy or auc [default: the runs' own]")
    ] = None,
    units: Annotated[
        str | None,
        typer.Option(help="of runs: one observation is runs, seeds or orders [default: runs]"),
    ] = None,
    protocol: ProtocolFile = None,
    layout: Layout = None,
    where: Where = None,
    by: Annotated[
        list[str] | None, typer.Option(help="of score files: EER by this column as well")
    ] = None,
    unit: Unit = "auto",
    draws: Draws = 1000,
    json: Annotated[bool, typer.Option("--json", help="of score files: print JSON")] = False,
    score_column: Column = None,
    higher_is: HigherIs = None,
    one_is: OneIs = None,
    probabilities: Probabilities = False,
) -> None:
    """Which differences hold: of strategies in run folders, or of systems by score files."""
    for path in runs:
        if not path.exists():
            raise ProtocolError(f"{path}: no such run folder or score file.")
    of_runs = {"--out": out, "--reference": reference, "--metric": metric, "--units": units}
    if any(path.is_file() for path in runs):
        folders = [str(path) for path in runs if not path.is_file()]
        if folders:
            raise SettingsError(f"score files are compared with score files; {folders[0]} is none.")
        given = [name for name, value in of_runs.items() if value is not None]
        if given:
            raise SettingsError(
                f"{given[0]} is for run folders; of score files, the first is compared with the rest."
            )
        compare_score_files(
            runs,
            protocol=protocol,
            layout=layout,
            where=where,
            by=by or [],
            unit=unit,
            draws=draws,
            json=json,
            reading=as_reading(score_column, higher_is, one_is, probabilities),
        )
        return
    from earwitness.comparison import compare as compare_runs
    from earwitness.comparison import overview, write
    from earwitness.runs import RunFolder

    found = compare_runs(
        [RunFolder(folder) for folder in runs],
        reference=reference,
        metric=metric,
        units=units or "runs",
    )
    print_table(*overview(found))
    for line in (*found.headline, *found.notes):
        typer.echo(line)
    for path in write(found, out or runs[0]):
        typer.echo(path)


app.command()(score)


@app.command(name="list")
def list_components(
    shelf: Annotated[
        str | None,
        typer.Argument(help="corpora, augment, frontends, backends, selection, explainers, ..."),
    ] = None,
) -> None:
    """List the components of a shelf, or of all of them."""
    from earwitness.doctor import describe_shelf, shelves

    if shelf is not None and shelf not in shelves():
        raise SettingsError(f"no shelf is called {shelf!r}; choose from {', '.join(shelves())}.")
    for name in [shelf] if shelf else shelves():
        typer.echo(f"{name}:")
        for component, line in describe_shelf(name):
            typer.echo(f"  {component:16} {line}")


@app.command()
def tune(
    experiment: Annotated[Path, typer.Argument(help="experiment file (TOML) that says what to search")],
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="folder [default: runs/<file>-tuning, said once]")
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="for each strategy [default: 12]")] = None,
    workers: Annotated[int, typer.Option(min=1, help="runs side by side")] = 1,
) -> None:
    """Search settings on dev, equally many trials a strategy; the same command resumes."""
    from earwitness.tuning import tune as search

    tuned = search(
        experiment,
        out or Path("runs") / f"{experiment.stem.removesuffix('-tuning')}-tuning",
        trials=trials,
        workers=workers,
        overrides=overrides or [],
        on_trial=lambda one: typer.echo(one, err=True),
    )
    columns = ("strategy", "best settings", f"dev {tuned.metric}, %", "trials", "at an end")
    print_table(columns, tuned.rows())
    for label, edges in tuned.edges.items():
        for edge in edges:
            typer.echo(f"warning: {label} {edge}; better values may lie beyond.", err=True)
    typer.echo(f"next: earwitness run {tuned.path}")


@app.command()
def strategies() -> None:
    """List every way to keep learning: what it does, what it keeps, and where it is from."""
    from earwitness.doctor import describe_strategies

    print_table(("strategy", "does", "keeps", "source"), describe_strategies())


@app.command()
def embed(
    manifest: Annotated[Path, typer.Argument(help="manifest file, as `earwitness manifest` writes it")],
    detector: Annotated[Path, typer.Option("--detector", "-d", help="folder of a saved detector")],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder for manifest.tsv and vectors.npy")],
) -> None:
    """Write a detector's embedding of every recording, for the corpus reader `vectors`."""
    from earwitness.detector import Detector
    from earwitness.scoring import embed as embed_manifest
    from earwitness.trials import Manifest

    shape = embed_manifest(Detector.load(detector), Manifest.read(manifest), out)
    typer.echo(f"wrote {shape[0]} vectors of {shape[1]} numbers to {out}")


@app.command()
def doctor() -> None:
    """Say what works on this machine, and what to do about the rest."""
    from earwitness.doctor import examine

    findings = examine()
    for finding in findings:
        typer.echo(str(finding))
    if any(finding.is_broken for finding in findings):
        raise typer.Exit(1)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="folder for corpus, runs and report")] = Path("runs/demo"),
    quick: Annotated[bool, typer.Option(help="a tiny stream, for a look in seconds")] = False,
) -> None:
    """Make a stand-in stream, learn it with naive and rwm, and draw what was forgotten."""
    from earwitness.demo import run_demo

    run_demo(out, quick=quick, say=typer.echo, progress=run_progress)


for verb in (
    metrics,
    evaluate,
    calibrate,
    fuse,
    apply,
    threshold,
    augment,
    select,
    explain,
    landmarks,
    export,
    serve,
):
    app.command()(verb)
app.command(name="app")(page)
app.command(name="manifest")(manifest)  # the same as `corpus manifest`, from before there was that
app.add_typer(corpus, name="corpus")
app.add_typer(differential, name="differential")
app.add_typer(legacy, name="legacy")


@app.callback(invoke_without_command=True)
def version(
    context: typer.Context,
    show: Annotated[bool, typer.Option("--version", help="print the version")] = False,
) -> None:
    """Hear, remember, testify: speech deepfake detectors that keep learning."""
    if show:
        import earwitness

        typer.echo(earwitness.__version__)
        raise typer.Exit
