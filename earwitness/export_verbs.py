"""The verb ``export``."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from earwitness.errors import SettingsError
from earwitness.score_inputs import as_conditions

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
    where: Annotated[
        list[str] | None, typer.Option(help="only these trials of that manifest, such as split=dev")
    ] = None,
    int8: Annotated[
        Literal["static", "dynamic"] | None,
        typer.Option(help="8-bit integers; --check then names a manifest with labels"),
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
        clips = _clips(check, as_conditions(where), Path(folder))
        done = write(
            loaded, out, clips, format=format, calibration=own, bits=int8,
            say=lambda line: typer.echo(line, err=True),
        )  # fmt: skip
    found = done.parity
    on = f"{found.windows} windows of {found.clips} clip(s) ({found.on})"
    typer.echo(
        f"{done.folder}: on {on} scores differ by at most {found.score:.1g} from the detector's in "
        f"float64, {found.float32:.1g} in float32"
    )
    if done.change is not None:
        typer.echo(f"{done.change}")
    if format == "onnx":
        typer.echo(f"next: earwitness score RECORDING --detector {done.folder}")


def _clips(check: list[Path] | None, where: dict[str, str], folder: Path) -> "Manifest":
    from earwitness.trials import Manifest, Trial

    listed = check and len(check) == 1 and check[0].suffix in (".csv", ".tsv")
    if where and not listed:
        raise SettingsError("--where chooses among the trials of a manifest; --check names none.")
    if not check:
        from earwitness.corpora import synthetic

        whole = synthetic.make(
            folder / "c", domains=("upsampler",), clips=(1, 1, 3), seconds=(1.0, 4.0)
        )
        return Manifest("stand-ins", whole.trials, root=whole.root)
    if listed:
        return Manifest.read(check[0]).having(where)
    trials = [Trial(str(path), str(path.resolve()), "unknown") for path in check]
    return Manifest("recordings", trials)
