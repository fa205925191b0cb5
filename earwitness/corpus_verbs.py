"""The verbs of ``earwitness corpus``: list, describe, check, contamination, fetch, manifest."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earwitness.terminal import print_table

if TYPE_CHECKING:
    from earwitness.trials import Manifest

__all__ = ["corpus"]

corpus = typer.Typer(
    help="Published corpora: what they are, whether yours is complete, and their trials.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(help="a reader, see `earwitness corpus list`")]
Root = Annotated[Path, typer.Argument(help="where the corpus lies")]


@corpus.command(name="list")
def list_corpora() -> None:
    """Every corpus and layout that can be read."""
    from earwitness.corpora import CORPORA
    from earwitness.corpora.checking import about

    rows = []
    for name in CORPORA.names():
        told = about(name)
        if told is None:
            rows.append([name, "a layout", "", ""])
            continue
        counts = [sum(n.values()) for n in told.counts.values()]
        size = f"{sum(counts):,}" if counts else "not known"
        rows.append([name, told.title, size, told.licence])
    print_table(("name", "what", "trials", "licence"), rows)


@corpus.command()
def describe(name: Name) -> None:
    """Where a corpus comes from, its licence, its official numbers, and how to get it."""
    from earwitness.corpora import CORPORA
    from earwitness.corpora.checking import about

    reader = CORPORA.get(name)
    module = __import__(reader.__module__, fromlist=["read"])
    typer.echo((module.__doc__ or "").strip().replace("``", ""))
    told = about(name)
    if told is None:
        return
    typer.echo(f"\nsource:  {told.source}\nhome:    {told.home}\nlicence: {told.licence}")
    for part, counts in told.counts.items():
        listed = ", ".join(f"{n:,} {label}" for label, n in counts.items())
        speakers = f", {told.speakers[part]} speakers" if part in told.speakers else ""
        typer.echo(f"{part}: {listed}{speakers}")
    if told.doubtful:
        typer.echo(f"not certain: {told.doubtful}")
    if told.by_hand:
        typer.echo(f"to get it: {told.by_hand}")


@corpus.command()
def check(
    name: Name,
    root: Root,
    decode: Annotated[int, typer.Option(min=0, help="files of each part to decode")] = 20,
    decode_all: Annotated[bool, typer.Option("--decode-all", help="decode every file")] = False,
) -> None:
    """Compare a corpus with what was published: counts, files, sound, duplicates, leaks."""
    from rich.console import Console
    from rich.progress import Progress

    from earwitness.corpora.checking import about
    from earwitness.corpora.checking import check as look

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("decoding", total=None)
        findings = look(
            name,
            root,
            decode=None if decode_all else decode,
            on_file=lambda done, total: progress.update(bar, completed=done, total=total),
        )
    for finding in findings:
        typer.echo(str(finding))
    told = about(name)
    if told is not None:
        typer.echo(f"{told.title}: {told.home} ({told.licence})")
    problems = sum(finding.is_problem for finding in findings)
    if problems:
        typer.echo(f"error: {problems} problem(s).", err=True)
        raise typer.Exit(1)


@corpus.command()
def contamination(
    train: Annotated[list[Path], typer.Argument(help="manifests of what was learned from")],
    test: Annotated[Path, typer.Option("--test", "-t", help="manifest of what is judged")],
    audio: Annotated[bool, typer.Option(help="also look for the same recordings")] = True,
) -> None:
    """What training and test share: speakers, sentences, sources, and the same recordings."""
    from rich.console import Console
    from rich.progress import Progress

    from earwitness.corpora.contamination import Twin, shared_values, twins
    from earwitness.trials import Manifest

    trained, judged = [Manifest.read(path) for path in train], Manifest.read(test)
    rows = [
        [one.column, f"{one.values:,}", f"{one.trials:,} of {len(judged):,}", ", ".join(one.examples)]
        for one in shared_values(trained, judged)
    ]
    found: list[Twin] = []
    failed: dict[str, str] = {}
    if audio:
        console = Console(stderr=True)
        with Progress(console=console, disable=not console.is_terminal) as progress:
            bar = progress.add_task("listening", total=sum(map(len, trained)) + len(judged))
            found, failed = twins(
                trained, judged, on_file=lambda done: progress.update(bar, completed=done)
            )
        examples = ", ".join(f"{Path(one.test).name} = {Path(one.train).name}" for one in found[:3])
        recordings = len({one.train for one in found})
        rows.append(["recording", f"{recordings:,}", f"{len(found):,} of {len(judged):,}", examples])
    print_table(("shared", "values", "test trials", "for instance"), rows)
    for path, reason in failed.items():
        typer.echo(f"not heard: {path}: {reason}", err=True)
    if failed:
        raise typer.Exit(1)


@corpus.command()
def fetch(
    name: Name,
    folder: Annotated[Path, typer.Argument(help="where to put the archives")],
    only: Annotated[list[str] | None, typer.Option(help="only these files of the record")] = None,
) -> None:
    """Download a corpus from its official home; the same command goes on after a cut."""
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

    from earwitness.corpora.checking import about
    from earwitness.corpora.fetching import fetch_all, zenodo_files
    from earwitness.errors import SettingsError, nearest

    told = about(name)
    if told is None or not told.zenodo:
        how = told.by_hand if told else "It is a layout, not a corpus."
        raise SettingsError(f"{name} can't be fetched by a program. {how}")
    remotes = zenodo_files(told.zenodo)
    known = [one.name for one in remotes]
    for wanted in only or []:
        if wanted not in known:
            raise SettingsError(f"the record has no file {wanted!r}{nearest(wanted, known)} {known}")
    chosen = [one for one in remotes if not only or one.name in only]
    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bars = {one.name: progress.add_task(one.name, total=one.size) for one in chosen}

        def on_bytes(file: str, done: int, total: int) -> None:
            progress.update(bars[file], completed=done, total=total)

        for path in fetch_all(chosen, folder, on_bytes=on_bytes):
            typer.echo(path)
    typer.echo(f"unpack them, then: earwitness corpus check {name} {folder}")


@corpus.command()
def manifest(
    name: Name,
    root: Root,
    out: Annotated[Path, typer.Option("--out", "-o", help="TSV or CSV to write")],
    seconds: Annotated[
        bool, typer.Option("--seconds", help="with the length of every recording, from its header")
    ] = False,
) -> None:
    """Read a corpus and write its trials as one manifest file."""
    from earwitness import corpora
    from earwitness.trials import join_manifests

    parts = corpora.read(name, root)
    whole = join_manifests(name, parts.values())
    (_measured(whole) if seconds else whole).write(out)
    for part, one in parts.items():
        typer.echo(f"{part}: {len(one)} trials {one.counts()}")
    typer.echo(f"wrote {out}")


def _measured(whole: "Manifest") -> "Manifest":
    from rich.console import Console
    from rich.progress import Progress

    from earwitness.corpora.lengths import with_seconds

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("measuring", total=len(whole))
        return with_seconds(whole, on_file=lambda: progress.advance(bar))
