"""The verbs of an experiment file: ``run``, ``extract`` and ``distill``."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from earwitness.terminal import count_bar

__all__ = ["Overrides", "distill", "extract", "run", "run_progress"]

Overrides = Annotated[
    list[str] | None, typer.Argument(help="section.key=value, replacing values of the file")
]
_NEARLY_ONE_DIRECTION = 0.5  # a cosine, above which the specification of nd-centred was made


def run(
    experiment: Annotated[Path, typer.Argument(help="experiment file (TOML)")],
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="run folder [default: runs/<name>]")] = None,
    workers: Annotated[int, typer.Option(min=1, help="runs side by side")] = 1,
    reuse: Annotated[
        list[Path] | None, typer.Option(help="copy equal finished runs from this run folder")
    ] = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="note a run that fails, and go on with the others")
    ] = False,
) -> None:
    """Learn a stream with one or more strategies; the same command resumes."""
    from earwitness.experiment import Experiment
    from earwitness.running import run as run_experiment

    if int(os.environ.get("RANK", "0")) > 0:  # of several processes, the first one talks
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    plan = Experiment.read(experiment, overrides or [])
    folder = out or Path("runs") / plan.name
    with run_progress(plan) as on_step:
        done = run_experiment(
            plan,
            folder,
            workers=workers,
            reuse=reuse or [],
            keep_going=keep_going,
            on_step=on_step,
        )
    for place, reason in done.failed().items():
        typer.echo(f"failed: {place}: {reason}", err=True)
    if plan.skipped:
        typer.echo(f"left out {len(plan.skipped)} unusable file(s), named in provenance.json", err=True)
    told = done.provenance
    verb = "report" if len(told["orders"]) == 1 and told["metric"] == "eer" else "compare"
    typer.echo(f"done: {folder}\nnext: earwitness {verb} {folder}")
    if done.failed():
        raise typer.Exit(1)


def distill(
    experiment: Annotated[Path, typer.Argument(help="experiment file (TOML) of the students")],
    overrides: Overrides = None,
    teacher: Annotated[
        Path, typer.Option("--teacher", "-t", help="folder of the detector that teaches")
    ] = ...,  # type: ignore[assignment]
    out: Annotated[Path | None, typer.Option(help="run folder [default: runs/<name>]")] = None,
    workers: Annotated[int, typer.Option(min=1, help="runs side by side")] = 1,
) -> None:
    """Have a detector hear an experiment's clips once, then teach smaller ones by what it said.

    Strategies called ``distil`` name the file of lessons; the teacher is not loaded again once that is
    there. The same command resumes.
    """
    from earwitness.experiment import Experiment
    from earwitness.teaching import plan_lessons, teach_all

    plan = Experiment.read(experiment, overrides or [])
    planned = plan_lessons(plan)
    with count_bar("clips heard by the teacher") as on_clip:
        found = teach_all(teacher, plan, planned, on_clip=on_clip)
    for path, lessons in found.items():
        typer.echo(
            f"{path}: {len(lessons.keys)} {lessons.view}s of {sum(lessons.clips)} clips; cosine of the "
            f"class means {lessons.likeness():.2f}"
        )
        if lessons.likeness() > _NEARLY_ONE_DIRECTION:
            typer.echo("they point nearly the same way: hold = 'nd-centred' tells them apart", err=True)
    run(experiment, overrides, out, workers)


def extract(
    experiment: Annotated[Path, typer.Argument(help="experiment file (TOML) with a [cache]")],
    overrides: Overrides = None,
    workers: Annotated[int, typer.Option(min=1, help="processes that share the recordings")] = 1,
) -> None:
    """Fill an experiment's cache of front-end frames before it is run; the same command resumes."""
    from earwitness.experiment import Experiment
    from earwitness.extraction import extract as extract_frames

    plan = Experiment.read(experiment, overrides or [])
    with count_bar("recordings") as on_clip:
        done = extract_frames(plan, workers=workers, on_clip=on_clip)
    typer.echo(
        f"heard {done.heard} window(s), {done.read} were there; the cache has {done.gib:.2f} GiB"
    )
    if done.not_kept:
        typer.echo(f"{done.not_kept} window(s) had no room in it; raise cache.gib", err=True)


@contextmanager
def run_progress(plan: Any) -> Iterator[Any]:
    """Show a bar a run: which task, which step, the loss. Quiet when nobody watches."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"))
    with Progress(
        *columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal
    ) as bars:
        rows: dict[tuple[str, int], Any] = {}
        tasks = len(plan.settings["stream"].get("order") or []) or None

        def on_step(label: str, seed: int, record: dict[str, Any]) -> None:
            if (label, seed) not in rows:
                rows[label, seed] = bars.add_task(f"{label} seed {seed}", total=tasks, told="")
            done = record["position"] + (record["step"] + 1) / record["steps"]
            where = f"{record['task']}  step {record['step'] + 1}/{record['steps']}"
            told = f"{where}  loss {record['loss']:.3f}"
            bars.update(rows[label, seed], completed=done, told=told)

        yield on_step
