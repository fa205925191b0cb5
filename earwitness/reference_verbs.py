"""``earwitness evaluate --detector``: a grid of references, and how much a detector leans on them."""

from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from earwitness.errors import SettingsError
from earwitness.files import write_json, write_text
from earwitness.terminal import print_table

if TYPE_CHECKING:
    from earwitness.reference_grid import Diagnosis, Heard

__all__ = ["evaluate_references"]


def evaluate_references(
    manifest: Path,
    detector: Path,
    ways: Sequence[str],
    *,
    policy: str,
    enrolment: Path | None,
    draws: int,
    unit: str,
    json: bool,
    out: Path | None,
) -> None:
    """Print a line for each way to hear references; with ``out`` also scores, numbers and pictures."""
    from earwitness.detector import Detector
    from earwitness.reference_grid import GRID, diagnose, reference_grid
    from earwitness.references import Policy
    from earwitness.trials import Manifest

    trials, loaded = Manifest.read(manifest), Detector.load(detector)
    asked = list(GRID) if list(ways) == ["all"] else [one for way in ways for one in way.split(",")]
    root = str(enrolment.parent) if enrolment else ""
    how: dict[str, Any] = {"scoring": policy, "enrolment": str(enrolment or ""), "root": root}
    references = Policy(**how).of(trials, "scoring")
    if references is None:
        raise SettingsError("--policy none gives no references; there is nothing to compare.")
    heard = reference_grid(
        loaded, trials, references, asked, draws=draws, unit=unit,
        on_way=lambda way: typer.echo(f"scoring: {way}", err=True),
    )  # fmt: skip
    found = diagnose(loaded, trials, references) if _has_block(loaded) else None
    told = _numbers(heard, found, references.missing)
    if json:
        typer.echo(dumps(told, indent=2))
    else:
        _print(heard, found, references.missing)
    if out is not None:
        _write(out, heard, found, told)


def _has_block(loaded: Any) -> bool:
    settings = loaded.settings["back_end"]
    return settings["name"] == "rat" and settings.get("variant") != "baseline"


def _numbers(
    heard: "Sequence[Heard]", found: "Diagnosis | None", missing: Sequence[str]
) -> dict[str, Any]:
    lines = {
        one.way: {
            **one.judged.to_dict(),
            "minus_real": {name: value._asdict() for name, value in one.difference.items()},
        }
        for one in heard
    }
    return {
        "ways": lines,
        "without_reference": len(missing),
        "diagnosis": found.summary() if found else None,
    }


def _print(heard: "Sequence[Heard]", found: "Diagnosis | None", missing: Sequence[str]) -> None:
    rows = []
    for one in heard:
        low, high = one.judged.intervals["eer"]
        cells = [f"{100 * one.judged.values['eer']:.2f}", f"{100 * low:.2f} to {100 * high:.2f}"]
        apart = one.difference.get("eer")
        against = ["", ""]
        if apart is not None:
            ends = f"{100 * apart.low:+.2f} to {100 * apart.high:+.2f}"
            against = [f"{100 * apart.value:+.2f} ({ends})", f"{apart.p:.3f}"]
        rows.append([one.way, *cells, f"{one.judged.values['min_dcf']:.4f}", *against])
    unit = heard[0].judged.sampling_unit
    head = ("reference", "EER, %", f"95 % by {unit}", "minDCF", "EER minus real", "p")
    print_table(head, rows)
    if missing:
        typer.echo(f"{len(missing)} trial(s) have no reference and are heard without one in every line")
    if found is not None:
        told = (f"{name.replace('_', ' ')} {value:.4g}" for name, value in found.summary().items())
        typer.echo("; ".join(told))


def _write(
    out: Path, heard: "Sequence[Heard]", found: "Diagnosis | None", told: dict[str, Any]
) -> None:
    from earwitness.figures.references import degradation, leaning
    from earwitness.figures.style import to_png

    for one in heard:
        one.scores.write(out / f"{one.way}.csv")
    write_json(out / "references.json", told)
    to_png(degradation(heard), out / "references.png")
    if found is not None:
        to_png(leaning(found), out / "diagnosis.png")
        columns = found._asdict()
        rows = zip(*(value.tolist() for value in columns.values()), strict=True)
        lines = [",".join(columns), *(",".join(map(repr, row)) for row in rows)]
        write_text(out / "diagnosis.csv", "\n".join(lines) + "\n")
    typer.echo(f"wrote scores, references.json and pictures into {out}", err=True)
