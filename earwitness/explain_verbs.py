"""The verbs ``explain`` and ``landmarks``: why a detector says what it says about a recording."""

import csv
import io
import itertools
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earwitness.errors import AudioError, ProtocolError, RunError, SettingsError
from earwitness.settings import read_assignments
from earwitness.terminal import count_bar

if TYPE_CHECKING:
    from earwitness.explainers import Explainer
    from earwitness.explanation import Explanation
    from earwitness.trials import Manifest, Trial

__all__ = ["explain", "landmarks"]

_COLUMNS = ("id", "score", "verdict", "network", "nearest", "u", "v", "farther_than_bonafide",
            "farther_than_spoof", "page")  # fmt: skip


def explain(
    clip: Annotated[Path | None, typer.Argument(help="a recording")] = None,
    detector: Annotated[
        Path, typer.Option("--detector", "-d", help="folder of a saved detector")
    ] = Path("detector"),
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help=".html, .png or .json [default: explanation.html]; with --manifest a folder "
            "[default: explanations]",
        ),
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option("--manifest", "-m", help="explain every recording of it instead")
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--as", help="with --manifest: html, png or json, one for each recording [default: html]"
        ),
    ] = None,
    method: Annotated[
        str, typer.Option(help="what the score rests on: see `earwitness list explainers`; or none")
    ] = "occlusion",
    settings: Annotated[
        list[str] | None, typer.Option("--set", "-s", help="setting=value of the method")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="also explain a network with random weights, and compare")
    ] = False,
) -> None:
    """Explain a verdict: where the recording lies, when, what it rests on, and what that is worth."""
    from earwitness.detector import Detector
    from earwitness.explanation import explain as explain_one
    from earwitness.landmarks import Landmarks

    if (clip is None) == (manifest is None):
        raise SettingsError("name one recording, or a list of them with --manifest.")
    if manifest is None and form is not None:
        raise SettingsError("--as is for --manifest; the name of --out says the form of one file.")
    if manifest is not None and check:
        raise SettingsError("--check is for one recording.")
    form = form or "html"
    out = out or Path("explanations" if manifest else "explanation.html")
    _require_form(out if manifest is None else Path(f"x.{form}"))
    explainer = _explainer(method, settings or ())
    if check and explainer is None:
        raise SettingsError("--check compares two attributions; give a --method.")
    loaded = Detector.load(detector)
    marks = Landmarks.read(detector, detector=loaded.digest)

    def one(path: Path) -> "Explanation":
        return explain_one(loaded, marks, path, explainer=explainer)

    if manifest is not None:
        from earwitness.trials import Manifest

        _explain_all(Manifest.read(manifest), one, out, form)
        return
    assert clip is not None
    _explain_to(clip, one, out)
    if check and explainer is not None:
        _check(loaded, explainer, one(clip))


def _explain_to(clip: Path, one: Any, out: Path) -> None:
    from earwitness.explanation import words
    from earwitness.explanation.page import write
    from earwitness.files import require_new_outputs

    require_new_outputs([out], [clip])
    told = one(clip)
    write(told, out)
    typer.echo(f"{told.word}: {words.headline(told)}")
    typer.echo(words.meaning(told))
    typer.echo(words.worth(told.landmarks, told.word))
    typer.echo(f"wrote {out}")


def _explain_all(manifest: "Manifest", one: Any, folder: Path, form: str) -> None:
    """A file for each recording, and a table of all of them; what can't be read is told at the end."""
    from earwitness.explanation.page import write
    from earwitness.files import write_text

    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(_COLUMNS)
    failed = []
    words: dict[str, int] = {}
    with count_bar("recordings") as count:
        names = _names(t.id for t in manifest)
        for number, (trial, name) in enumerate(zip(manifest, names, strict=True), 1):
            try:
                told = one(manifest.path(trial))
            except (AudioError, ProtocolError) as error:
                failed.append(error)
                continue
            finally:
                count(number, len(manifest))
            write(told, folder / f"{name}.{form}")
            words[told.word] = words.get(told.word, 0) + 1
            rows.writerow(_row(trial.id, told, f"{name}.{form}"))
    if not words:
        raise RunError(f"manifest {manifest.name!r}: none of its {len(manifest)} files can be used.")
    write_text(folder / "explanations.csv", table.getvalue())
    typer.echo(", ".join(f"{count:,} {word}" for word, count in sorted(words.items())))
    typer.echo(f"wrote {sum(words.values()):,} file(s) and explanations.csv into {folder}")
    if failed:
        raise RunError(
            "\n".join([f"{len(failed)} file(s) can't be used:", *(f"  {e}" for e in failed)])
        )


def _row(id_: str, told: "Explanation", page: str) -> list[Any]:
    place = told.place
    numbers = (place.u, place.v, place.percentiles["bonafide"], place.percentiles["spoof"])
    return [id_, repr(told.score), told.word, told.named, place.nearest, *map(repr, numbers), page]


def _names(ids: Iterable[str]) -> list[str]:
    """File names for ids, which may hold slashes: unlike, whatever the file system takes for alike.

    >>> _names(["a/b", "a_b", "c"])
    ['a_b', 'a_b-2', 'c']
    """
    taken: set[str] = set()
    names = []
    for id_ in ids:
        plain = "".join(c if c.isalnum() or c in "-._" else "_" for c in id_).strip(".")
        plain = plain.encode(errors="replace")[:180].decode(errors="ignore") or "clip"  # bytes count
        name, number = plain, 1
        while name.lower() in taken:
            number += 1
            name = f"{plain}-{number}"
        taken.add(name.lower())
        names.append(name)
    return names


def _require_form(out: Path) -> None:
    from earwitness.explanation.page import SUFFIXES

    if out.suffix not in SUFFIXES:
        raise SettingsError(
            f"{out.suffix or out}: an explanation is written as {', '.join(SUFFIXES)}; name one so."
        )


def _explainer(method: str, settings: Iterable[str]) -> "Explainer | None":
    from earwitness.explainers import EXPLAINERS

    given = read_assignments(settings, "bands=16")
    if method == "none":
        if given:
            raise SettingsError("--set is for a --method; there is none.")
        return None
    built: Explainer = EXPLAINERS.build(method, **given)
    return built


def _check(detector: Any, explainer: "Explainer", told: "Explanation") -> None:
    from earwitness.explainers import agreement, randomised

    own = told.telling.attribution
    assert own is not None
    others = [explainer.attribute(randomised(detector, seed), told.telling.wave) for seed in range(3)]
    ranks = ", ".join(f"{agreement(own, other):+.2f}" for other in others)
    typer.echo(
        f"check: maps of three networks with random weights correlate by rank {ranks} with this one; "
        "a map that stayed the same would say nothing about what was learned."
    )


def landmarks(
    detector: Annotated[Path, typer.Argument(help="folder of a saved detector")],
    manifest: Annotated[Path, typer.Argument(help="what it was trained on, with splits train and dev")],
    train: Annotated[str, typer.Option(help="split of the clips that it learned from")] = "train",
    held_out: Annotated[str, typer.Option(help="split of others; '' for none")] = "dev",
) -> None:
    """Note where a detector's training clips lie in its embedding, so that it can be explained."""
    from earwitness.detector import Detector
    from earwitness.landmarks import Landmarks
    from earwitness.scoring import hear_manifest
    from earwitness.trials import Manifest

    if train == held_out:
        raise SettingsError("--held-out: clips that were learned from say nothing about others.")
    loaded, whole = Detector.load(detector), Manifest.read(manifest)
    parts = {name: whole.where(partial(_is_of, name)) for name in (train, held_out) if name}
    for name, part in parts.items():
        if not len(part):
            raise SettingsError(f"{manifest}: no line of the split {name!r}; --train and --held-out?")
    total, done = sum(map(len, parts.values())), itertools.count(1)
    with count_bar("recordings") as told_of:
        heard = {
            name: hear_manifest(
                loaded, part, on_error="skip", on_clip=lambda: told_of(next(done), total)
            )
            for name, part in parts.items()
        }
    lost = total - sum(len(one.ids) for one in heard.values())
    if lost:
        typer.echo(f"left out {lost:,} recording(s) that can't be used", err=True)
    marks = Landmarks.fit(heard[train], heard.get(held_out), detector=loaded.digest)
    marks.write(detector)
    told = ", ".join(f"{n:,} {label}" for label, n in marks.counts["training"].items())
    typer.echo(f"wrote landmarks of {told} training clips into {detector}")


def _is_of(split: str, trial: "Trial") -> bool:
    return trial.split == split
