"""The verbs ``explain`` and ``landmarks``: why a detector says what it says about a recording."""

import itertools
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earwitness.errors import RunError, SettingsError, nearest
from earwitness.settings import read_assignments
from earwitness.terminal import count_bar

if TYPE_CHECKING:
    from earwitness.explainers import Explainer
    from earwitness.explanation import Explanation
    from earwitness.explanation.batch import Batch
    from earwitness.trials import Trial

__all__ = ["explain", "landmarks"]


def explain(
    detector: Annotated[Path, typer.Option("--detector", "-d", help="folder of a saved detector")],
    clip: Annotated[Path | None, typer.Argument(help="a recording")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help=".html, .pdf, .png or .json [default: explanation.html]; with --manifest a folder "
            "[default: explanations]",
        ),
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option("--manifest", "-m", help="explain every recording of it instead")
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--as",
            help="with --manifest: html, pdf, png or json, one for each recording [default: html]",
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
        from earwitness.explanation.batch import explain_all
        from earwitness.trials import Manifest

        how = {"detector": loaded.digest, "form": form, "method": explainer and explainer.built_from}
        with count_bar("recordings") as count:
            done = explain_all(Manifest.read(manifest), one, out, form, how, count)
        _tell_batch(done, out)
        return
    assert clip is not None
    told = _explain_to(clip, one, out)
    if check and explainer is not None:
        _check(loaded, explainer, told)


def _explain_to(clip: Path, one: Any, out: Path) -> "Explanation":
    from earwitness.explanation import words
    from earwitness.explanation.page import write
    from earwitness.files import require_new_outputs

    require_new_outputs([out], [clip])
    told: Explanation = one(clip)
    write(told, out)
    typer.echo(f"{told.word}: {words.headline(told)}")
    typer.echo(words.meaning(told))
    typer.echo(words.worth(told.landmarks, told.word))
    typer.echo(f"wrote {out}")
    return told


def _tell_batch(done: "Batch", folder: Path) -> None:
    count = sum(done.words.values())
    if not count:
        raise RunError(f"none of the {len(done.failed)} file(s) can be used: {done.failed[0]}")
    typer.echo(", ".join(f"{n:,} {word}" for word, n in done.words.items()))
    typer.echo(f"{count:,} file(s) and explanations.csv are in {folder}")
    if done.failed:
        lines = [f"{len(done.failed)} file(s) can't be used:", *(f"  {e}" for e in done.failed)]
        raise RunError("\n".join(lines))


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
    there = whole.counts("split")
    for option, name in (("--train", train), ("--held-out", held_out)):
        if name and name not in there:
            raise SettingsError(
                f"{option} {name}: {manifest} has no such split{nearest(name, there)} "
                f"Its splits: {', '.join(there)}."
            )
    parts = {name: whole.where(partial(_is_of, name)) for name in (train, held_out) if name}
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
