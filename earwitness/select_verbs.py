"""The verb ``select``: which clips are learned from, by the embeddings of one or more detectors."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earwitness.errors import SettingsError
from earwitness.settings import read_assignments
from earwitness.terminal import count_bar, print_table

if TYPE_CHECKING:
    from earwitness.selection.coverage import Coverage
    from earwitness.selection.sources import Source
    from earwitness.selection.union import Pick
    from earwitness.trials import Manifest

__all__ = ["select"]


def select(
    folders: Annotated[list[Path], typer.Argument(help="folders that `earwitness embed` wrote")],
    out: Annotated[Path, typer.Option("--out", "-o", help="manifest to write, .tsv or .csv")],
    rule: Annotated[
        str, typer.Option("--rule", "-r", help="see `earwitness list selection`")
    ] = "per-generator-cap",
    rate: Annotated[float | None, typer.Option(help="share of each class, up to 1")] = None,
    count: Annotated[int | None, typer.Option(help="or how many clips of each folder")] = None,
    balance: Annotated[bool, typer.Option(help="equally many clips of both classes")] = True,
    quota: Annotated[
        str | None, typer.Option(help="of clusters: equal or proportional [default: equal]")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", "-s", help="setting=value of the rule")
    ] = None,
    manifests: Annotated[
        list[Path] | None,
        typer.Option("--manifest", "-m", help="what was embedded: one for each folder, or for all"),
    ] = None,
    scores: Annotated[
        list[Path] | None, typer.Option(help="the detector's scores of the clips, one for each folder")
    ] = None,
    threshold: Annotated[float, typer.Option(help="scores above it say bonafide")] = 0.0,
    gate: Annotated[
        bool, typer.Option(help="with scores: leave out clips that the detector gets wrong")
    ] = True,
    split: Annotated[str, typer.Option(help="which clips, where a folder has splits")] = "train",
    keep: Annotated[
        list[str] | None, typer.Option(help="split to add whole, such as dev or test, to judge by")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="another seed draws other clips")] = 0,
) -> None:
    """Select clips to learn from; what several detectors select stands there once."""
    from earwitness.files import require_new_outputs, write_json
    from earwitness.selection import SELECTORS
    from earwitness.selection.union import add_whole, union
    from earwitness.trials import Manifest

    beside, kept = out.with_name(out.name + ".json"), keep or []
    audio = _one_each(manifests, folders, "--manifest")
    scored = _one_each(scores, folders, "--scores")
    require_new_outputs([out, beside], [*_files(folders), *audio, *scored])
    set_ = read_assignments(settings or (), "clusters=6") | ({} if quota is None else {"quota": quota})
    how: dict[str, Any] = {
        "rule": SELECTORS.build(rule, **set_), "rate": rate, "count": count, "balance": balance,
        "gate": gate, "seed": seed,
    }  # fmt: skip
    told = {**how, "rule": how["rule"].built_from, "threshold": threshold if scores else None}
    sources = _open(folders, audio, split, kept)
    picks, lines = [], []
    for source, file in zip(sources, scored, strict=True):
        margins = None if file is None else source.margins(file, threshold)
        own, covered = _choose(source, margins, how)
        picks += own
        lines += covered
    with count_bar("recordings") as on_clip:
        trials = union(picks, _common(rule, rate, seed), on_clip=on_clip)
    whole = [(source.corpus, trial) for source in sources for trial in source.of_splits(kept)]
    selected = Manifest(out.stem, add_whole(trials, whole) if kept else trials)
    write_json(beside, {**told, **_provenance(sources, scored, lines, len(picks) - len(trials))})
    selected.write(out)
    _tell(lines, selected, len(trials), len(picks), out)


def _files(folders: Iterable[Path]) -> list[Path]:
    names = ("manifest.tsv", "vectors.npy", "embedding.json")
    return [folder / name for folder in folders for name in names]


def _one_each(
    files: Sequence[Path] | None, folders: Sequence[Path], option: str
) -> Sequence[Path | None]:
    """A file for each folder, or None for each; one manifest is that of all folders."""
    if not files:
        return [None] * len(folders)
    if option == "--manifest" and len(files) == 1:
        return [*files] * len(folders)
    if len(files) != len(folders):
        raise SettingsError(
            f"{option} is given {len(files)} time(s) for {len(folders)} folder(s); name one for each, "
            "in the same order."
        )
    return files


def _open(
    folders: Sequence[Path], audio: Sequence[Path | None], split: str, keep: Sequence[str]
) -> "list[Source]":
    from earwitness.selection.sources import read_source

    if split in keep:
        raise SettingsError(
            f"--keep {split}: clips are selected from that split, so it isn't kept whole."
        )
    sources = [
        read_source(folder, split=split, manifest=manifest)
        for folder, manifest in zip(folders, audio, strict=True)
    ]
    if audio[0] is None and len({source.detector for source in sources}) > 1:
        raise SettingsError(
            "these are embeddings of different detectors, which nothing can learn from together; say "
            "which recordings they are of: --manifest FILE."
        )
    return sources


def _choose(source: "Source", margins: Any, how: dict[str, Any]) -> "tuple[list[Pick], list[Coverage]]":
    """What is selected from one folder, and what that leaves of each generator."""
    from earwitness.selection import select as choose
    from earwitness.selection.coverage import coverage
    from earwitness.selection.union import picks_of

    labels, generators = source.column("label"), source.column("attack")
    selection = choose(
        source.embeddings, labels, source.column("id"),
        generators=generators, margins=margins, rows=source.lines, **how,
    )  # fmt: skip
    return picks_of(source, selection), coverage(selection, labels, generators, corpus=source.corpus)


def _common(rule: str, rate: float | None, seed: int) -> dict[str, str]:
    return {"rule": rule, "rate": "-" if rate is None else repr(rate), "seed": str(seed)}


def _provenance(
    sources: "Sequence[Source]",
    scored: Sequence[Path | None],
    lines: "Sequence[Coverage]",
    merged: int,
) -> dict[str, Any]:
    import earwitness
    from earwitness.files import digest

    return {
        "sources": [
            {
                "corpus": source.corpus,
                "clips": len(source.lines),
                "detector": source.detector,
                "embedding": source.embedding,
                "scores": None if file is None else digest(file),
            }
            for source, file in zip(sources, scored, strict=True)
        ],
        "coverage": [line._asdict() for line in lines],
        "selected_again": merged,
        "earwitness": earwitness.__version__,
    }


def _tell(
    lines: "Sequence[Coverage]", written: "Manifest", selected: int, picked: int, out: Path
) -> None:
    from earwitness.selection.coverage import lost

    columns = ("corpus", "generator", "clips", "passed the gate", "selected")
    print_table(columns, ([*line[:2], *(f"{n:,}" for n in line[2:])] for line in lines))
    for corpus, generator, clips in lost(lines):
        typer.echo(
            f"warning: {corpus}: none of the {clips:,} clip(s) of {generator} is selected.", err=True
        )
    again = picked - selected
    typer.echo(
        f"selected {selected:,} recording(s)"
        + (f"; {again:,} selection(s) were of one that was there already" if again else "")
    )
    of = ", ".join(f"{n:,} {label}" for label, n in written.counts().items())
    typer.echo(f"wrote {len(written):,} line(s) to {out}: {of}")
