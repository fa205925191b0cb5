"""``earwitness legacy``: their three scripts as three commands, each a thin caller of one function."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["legacy"]

legacy = typer.Typer(
    help="The YAML files, logs and commands of the RWM, RAWM and EVDA repositories.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_Tasks = Annotated[int | None, typer.Option(help="number of tasks, to be checked")]
_TrainEval = Annotated[bool, typer.Option(help="the training sets were evaluated before the test sets")]


@legacy.command()
def run(
    file: Annotated[Path, typer.Argument(help="a YAML file of theirs")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value, replacing values of the file")
    ] = None,
    out: Annotated[Path, typer.Option(help="the run is written to OUT/<split>")] = Path(),
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
) -> None:
    """Run every method of a YAML file (train.py --yaml); the same command resumes."""
    from earwitness.legacy.run import run as run_file

    folder = run_file(file, overrides or [], out=out, device=device, say=typer.echo)
    typer.echo(f"done: {folder}\nnext: earwitness legacy parse --split {folder}")


@legacy.command()
def parse(
    split: Annotated[str, typer.Option(help="folder or name of the run")],
    verbose: Annotated[bool, typer.Option(help="say the matrix too")] = False,
    move: Annotated[Path | None, typer.Option(help="copy each log here as NAME<k>.txt")] = None,
    timestamp: _Tasks = None,
    train_eval: _TrainEval = False,
) -> None:
    """Say the five means of each log of a run (parse_log_to_result.py)."""
    from earwitness.legacy.parse import parse as parse_logs

    parse_logs(
        split,
        verbose=verbose,
        move=move,
        timestamp=timestamp,
        train_eval=train_eval,
        say=typer.echo,
    )


@legacy.command()
def metrics(
    folder: Annotated[Path, typer.Argument(help="moved logs, or a run's metric/")] = Path("metric"),
    plot: Annotated[bool, typer.Option(help="write heat maps and curves, PDF and PNG")] = False,
    plots: Annotated[Path, typer.Option(help="where to")] = Path("plot_avalanche"),
    verbose: Annotated[bool, typer.Option(help="say the means of every run")] = False,
    timestamp: _Tasks = None,
    train_eval: _TrainEval = False,
) -> None:
    """Say the means of each method over its runs (get_metric_all.py)."""
    from earwitness.legacy.metrics import metrics as all_metrics

    all_metrics(
        folder,
        plot=plot,
        plot_folder=plots,
        verbose=verbose,
        timestamp=timestamp,
        train_eval=train_eval,
        say=typer.echo,
    )
