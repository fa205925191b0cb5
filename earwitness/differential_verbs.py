"""The verbs of ``earwitness differential``: fit and score detectors of a difference of embeddings."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from earwitness.errors import ProtocolError
from earwitness.settings import read_assignments

if TYPE_CHECKING:
    from earwitness.differentials import Differential
    from earwitness.differentials.pairs import Pairs
    from earwitness.trials import Manifest

__all__ = ["differential"]

differential = typer.Typer(
    help="Detectors without a network, on a genuine recording's embedding minus the recording's own.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Vectors = Annotated[Path, typer.Argument(help="folder that `earwitness embed` wrote")]
Split = Annotated[str | None, typer.Option(help="which trials, where the folder has several splits")]
Elsewhere = Annotated[
    Path | None,
    typer.Option("--references", help="folder of vectors to look for references in, as enrolment"),
]
Seed = Annotated[int, typer.Option(min=0, help="another seed chooses other references")]
LeaveOut = Annotated[
    bool, typer.Option("--leave-out", help="leave out trials without a reference, and name them")
]


@differential.command()
def fit(
    vectors: Vectors,
    out: Annotated[Path, typer.Option("--out", "-o", help="folder to write the detector into")],
    method: Annotated[
        str, typer.Option("--method", "-m", help="see `earwitness list differentials`")
    ] = "lda_gaussian",
    settings: Annotated[
        list[str] | None, typer.Option("--set", "-s", help="setting=value of the method")
    ] = None,
    split: Split = None,
    references: Elsewhere = None,
    seed: Seed = 0,
    leave_out: LeaveOut = False,
) -> None:
    """Fit a detector on differences of training embeddings; needs scikit-learn, no torch."""
    from earwitness.differentials import DIFFERENTIALS
    from earwitness.differentials.base import refuse_other_card

    refuse_other_card(out)
    model: Differential = DIFFERENTIALS.build(
        method, **read_assignments(settings or (), "kernel=linear")
    )
    pairs, told = _pair(vectors, split, references, seed, leave_out)
    model.fit(pairs.differences, pairs.labels)
    counts = {label: pairs.labels.count(label) for label in ("bonafide", "spoof")}
    model.fitted_on = {**told, "labels": counts, "without_reference": list(pairs.missing)}
    model.save(out)
    of = " and ".join(f"{count} {label}" for label, count in counts.items())
    typer.echo(f"fitted {method} on {of} differences of {pairs.differences.shape[1]} numbers")
    typer.echo(f"next: earwitness differential score TEST_VECTORS -d {out} -o scores.csv")


@differential.command()
def score(
    vectors: Vectors,
    detector: Annotated[
        Path, typer.Option("--detector", "-d", help="folder that `earwitness differential fit` wrote")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="score file to write")],
    split: Split = None,
    references: Elsewhere = None,
    seed: Seed = 0,
    leave_out: LeaveOut = False,
) -> None:
    """Score embeddings against references; higher = more bonafide."""
    import earwitness
    from earwitness.differentials import Differential
    from earwitness.files import digest, require_new_outputs
    from earwitness.scores import Scores

    require_new_outputs([out], [vectors / "manifest.tsv", vectors / "vectors.npy"])
    model = Differential.load(detector)
    pairs, told = _pair(vectors, split, references, seed, leave_out)
    _require_same_encoder(model, pairs)
    scored, left = len(pairs.trials), [{"id": i, "reason": "no reference"} for i in pairs.missing]
    provenance = {
        "detector": digest(detector / "arrays.npz"),
        "differential": model.built_from,
        "orientation": "higher = more bonafide",
        "tells": model.tells,
        "trial_scope": "one vector a trial, subtracted from its reference's",
        **told,
        "coverage": {"trials": scored + len(left), "scored": scored, "failed": left},
        "earwitness": earwitness.__version__,
    }
    Scores(pairs.ids, model.score(pairs.differences), pairs.labels, provenance=provenance).write(out)
    typer.echo(f"wrote {scored} scores to {out}: {model.tells}")


def _pair(
    folder: Path, split: str | None, elsewhere: Path | None, seed: int, leave_out: bool
) -> "tuple[Pairs, dict[str, Any]]":
    """Differences of the trials asked for, and what a reader should know of both."""
    from earwitness.differentials.pairs import pair, read_all, read_split

    trials = read_split(folder, split)
    pool = read_all(elsewhere) if elsewhere is not None else None
    pairs = pair(trials, pool, seed=seed, without="leave-out" if leave_out else "refuse")
    if pairs.missing:
        typer.echo(
            f"left out {len(pairs.missing)} of {len(trials)} trial(s) without a reference: "
            f"{', '.join(pairs.missing[:10])}{', ...' if len(pairs.missing) > 10 else ''}",
            err=True,
        )
    told = {
        "manifest": _named(trials),
        "references": {
            "policy": "same-speaker",
            "from": _named(pool or trials),
            "seed": seed,
            "without": len(pairs.missing),
        },
        "embedded_by": pairs.embedded_by,
    }
    return pairs, told


def _named(manifest: "Manifest") -> dict[str, str]:
    return {"name": manifest.name, "fingerprint": manifest.fingerprint()}


def _require_same_encoder(model: "Differential", pairs: "Pairs") -> None:
    before, now = str(model.fitted_on.get("embedded_by", "")), pairs.embedded_by
    if before and now and before != now:
        raise ProtocolError(
            f"the detector was fitted on embeddings of {before[:12]}…, these are of {now[:12]}…; embed "
            "the recordings with the same detector."
        )
