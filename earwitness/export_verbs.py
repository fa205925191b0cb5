"""The verb ``export``."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from earwitness.trials import Manifest

__all__ = ["export"]


def export(
    detector: Annotated[Path, typer.Argument(help="folder of a saved detector")],
    out: Annotated[Path, typer.Option("--out", "-o", help="new folder for the model and its card")],
    format: Annotated[
        Literal["onnx", "torch"], typer.Option("--format", "-f", help="onnx, or a torch.export program")
    ] = "onnx",
    check: Annotated[
        list[Path] | None,
        typer.Option(help="recordings, or a manifest, to check on [default: stand-ins made for it]"),
    ] = None,
    calibration: Annotated[
        bool, typer.Option(help="with the calibration in the card, if there is one")
    ] = True,
) -> None:
    """Write a detector as a file that runs elsewhere, once it scores as the detector does."""
    from earwitness.detector import Detector
    from earwitness.export import export as write
    from earwitness.verdict import calibration_of

    loaded = Detector.load(detector)
    own = calibration_of(loaded) if calibration and loaded.card.get("calibration") else None
    with tempfile.TemporaryDirectory() as folder:
        clips = _clips(check, Path(folder))
        done = write(
            loaded, out, clips, format=format, calibration=own,
            say=lambda line: typer.echo(line, err=True),
        )  # fmt: skip
    found = done.parity
    typer.echo(
        f"{done.folder}: scores differ by at most {found.score:.1g} on {found.windows} windows of "
        f"{found.clips} clip(s) ({found.on})"
    )
    if format == "onnx":
        typer.echo(f"next: earwitness score RECORDING --detector {done.folder}")


def _clips(check: list[Path] | None, folder: Path) -> "Manifest":
    from earwitness.trials import Manifest, Trial

    if not check:
        from earwitness.corpora import synthetic

        whole = synthetic.make(
            folder / "c", domains=("upsampler",), clips=(1, 1, 3), seconds=(1.0, 4.0)
        )
        return Manifest("stand-ins", whole.trials, root=whole.root)
    if len(check) == 1 and check[0].suffix in (".csv", ".tsv"):
        return Manifest.read(check[0])
    trials = [Trial(str(path), str(path.resolve()), "unknown") for path in check]
    return Manifest("recordings", trials)
