"""Writing a report beside the score files it was computed from."""

from collections.abc import Callable, Sequence
from pathlib import Path

from earwitness import figures
from earwitness.errors import SettingsError, nearest
from earwitness.files import write_text
from earwitness.report.collect import build
from earwitness.report.page import render
from earwitness.report.pictures import front_picture, matrix_picture
from earwitness.report.result import Report
from earwitness.runs import RunFolder

__all__ = ["FORMATS", "write"]

FORMATS = ("html", "json", "csv", "png")


def write(
    folders: RunFolder | Sequence[RunFolder],
    out: str | Path | None = None,
    formats: Sequence[str] = FORMATS,
) -> list[Path]:
    """Write ``report.html``, ``report.json``, ``report.csv`` and two PNG pictures.

    Returns the paths. Each file is replaced whole or not at all.

    Args:
        folders: one run folder, or several to be put side by side.
        out: the folder to write into; by default the first run folder.
        formats: which of ``FORMATS``.

    Raises:
        SettingsError: a format that is not one of ``FORMATS``.
        RunError: see ``build``.
    """
    for name in formats:
        if name not in FORMATS:
            raise SettingsError(
                f"no report format is called {name!r}{nearest(name, FORMATS)} "
                f"Known: {', '.join(FORMATS)}."
            )
    folders = [folders] if isinstance(folders, RunFolder) else list(folders)
    report = build(folders)
    place = Path(out) if out is not None else folders[0].path
    write_as: dict[str, Callable[[], list[Path]]] = {
        "html": lambda: _text(place / "report.html", render(report, folders)),
        "json": lambda: _text(place / "report.json", report.to_json()),
        "csv": lambda: _text(place / "report.csv", report.to_csv()),
        "png": lambda: _pictures(place, report),
    }
    return [path for name in formats for path in write_as[name]()]


def _text(path: Path, text: str) -> list[Path]:
    write_text(path, text)
    return [path]


def _pictures(place: Path, report: Report) -> list[Path]:
    drawn = {
        place / "report.png": front_picture(report),
        place / "report-matrix.png": matrix_picture(report),
    }
    for path, figure in drawn.items():
        figures.to_png(figure, path)
    return list(drawn)
