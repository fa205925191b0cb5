"""An explanation as one HTML file that opens anywhere, as a PDF, as a picture, or as numbers."""

import io
import textwrap
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

import earwitness
from earwitness.errors import SettingsError
from earwitness.explanation import Explanation, words
from earwitness.figures.explaining import patches, plane_card, timeline
from earwitness.figures.style import PAPER, styled
from earwitness.files import write_atomically, write_json, write_text
from earwitness.report.page import style
from earwitness.report.pictures import inline
from earwitness.verdict import worth_of_card

__all__ = ["SUFFIXES", "draw", "render", "write"]

SUFFIXES = (".html", ".pdf", ".png", ".json")
_DOTS = 130  # an inch
_LINES = 54  # on a sheet


def write(told: Explanation, path: str | Path, case: Sequence[tuple[str, str]] = ()) -> None:
    """Write ``.html``, ``.pdf``, ``.png`` or ``.json``, atomically.

    ``case`` is what is said of the case at the head of a page or PDF: pairs of a name and a text.

    Raises:
        SettingsError: another suffix.
    """
    path = Path(path)
    if path.suffix == ".html":
        write_text(path, render(told, case))
    elif path.suffix == ".json":
        write_json(path, told.to_dict())
    elif path.suffix == ".pdf":
        write_atomically(path, lambda temporary: _print(temporary, told, case))
    elif path.suffix == ".png":
        image = _stacked([_title(told), *draw(told).values()])
        write_atomically(path, lambda temporary: _save(temporary, image))
    else:
        raise SettingsError(f"{path}: expected a name ending in {', '.join(SUFFIXES)}.")


def render(told: Explanation, case: Sequence[tuple[str, str]] = ()) -> str:
    """The page. Words that come from files are escaped, whatever they hold."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(
        files("earwitness.explanation").joinpath("explanation.html.jinja").read_text(encoding="utf-8")
    )
    return template.render(
        told=told,
        case=case,
        place=told.place,
        words=words,
        style=Markup(style()),
        limits=[*words.LIMITS, worth_of_card(told.card)],
        method=_method(told),
        version=earwitness.__version__,
        pictures={name: Markup(inline(name, figure)) for name, figure in draw(told).items()},
    )


def draw(told: Explanation) -> dict[str, Figure]:
    """The pictures by name, in their order."""
    place, marks, telling = told.place, told.landmarks, told.telling
    drawn = {
        "plane": plane_card(
            place.u, place.v, marks.density, marks.edges_u, marks.edges_v,
            windows=told.u, word=told.word,
        ),
        "timeline": timeline(
            told.starts, told.scores, window=told.windows.seconds, seconds=told.seconds,
            threshold=told.threshold, telling=telling.start, wave=told.wave,
        ),
    }  # fmt: skip
    found = telling.attribution
    if found is not None:
        drawn["patches"] = patches(
            telling.wave, found.values, found.hertz, found.seconds, start=telling.start
        )
    return drawn


def _method(told: Explanation) -> str:
    found = told.telling.attribution
    if found is None:
        return ""
    settings = {k: v for k, v in found.method.items() if k != "name"}
    return f"{found.method['name']} ({', '.join(f'{k} {v}' for k, v in settings.items())})"


def _print(path: Path, told: Explanation, case: Sequence[tuple[str, str]]) -> None:
    """Sheets of A4: what is said, then the pictures."""
    from matplotlib.backends.backend_pdf import PdfPages

    about = {"Creator": f"earwitness {earwitness.__version__}", "CreationDate": None}
    with PdfPages(path, metadata=about) as sheets:
        for figure in (*_sheets(told, case), *draw(told).values()):
            sheets.savefig(figure, bbox_inches=None)


def _sheets(told: Explanation, case: Sequence[tuple[str, str]]) -> list[Figure]:
    """The words: a heading or a paragraph after another."""
    said = [
        ("h", told.name if case else f"{told.name}: {told.word}"),
        *(("p", f"{name}: {text}") for name, text in case),
        *([("h", f"The network's view: {told.word}")] if case else []),
        ("p", f"{words.headline(told)} {words.meaning(told)} {words.worth(told.landmarks, told.word)}"),
        *(
            [("p", "Synthetic stand-in: says nothing about real speech.")]
            * bool(told.card.get("stand_in"))
        ),
        ("h", "What was measured"),
        *(("p", one) for one in words.sentences(told)),
        ("h", "Limits"),
        *(("p", one) for one in (*words.LIMITS, worth_of_card(told.card))),
        ("h", "Settings"),
        ("p", f"File: {told.name}, SHA-256 {told.sha256}"),
        ("p", f"Detector: {told.detector}"),
        (
            "p",
            f"Windows of {told.windows.seconds} s every {told.windows.hop} s, score {told.score:.6f}",
        ),
        ("p", f"earwitness {earwitness.__version__}"),
    ]
    lines = [
        (kind, line)
        for kind, text in said
        for line in (*textwrap.wrap(text, 62 if kind == "h" else 96), "")
    ]
    return [_sheet(lines[first : first + _LINES]) for first in range(0, len(lines), _LINES)]


@styled
def _sheet(lines: list[tuple[str, str]]) -> Figure:
    figure = Figure(figsize=(8.27, 11.69))
    for n, (kind, line) in enumerate(lines):
        size, weight = (13, "bold") if kind == "h" else (9.5, "normal")
        y = 0.95 - 0.9 * n / _LINES
        figure.text(0.08, y, line, fontsize=size, fontweight=weight, va="top", parse_math=False)
    return figure


@styled
def _title(told: Explanation) -> Figure:
    figure = Figure(figsize=(9.8, 1.15))
    title = f"{told.name}: {told.word}"
    figure.text(0.015, 0.78, title, fontsize=13, fontweight="bold", va="center", parse_math=False)
    figure.text(0.015, 0.45, words.headline(told), fontsize=9, va="center")
    figure.text(0.015, 0.17, words.meaning(told), fontsize=9, va="center")
    return figure


def _stacked(figures: list[Figure]) -> np.ndarray:
    """Pictures above one another, (height, width, 4), on paper."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import to_rgba

    images = []
    for figure in figures:
        figure.set_dpi(_DOTS)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        images.append(np.asarray(canvas.buffer_rgba()))
    width = max(image.shape[1] for image in images)
    paper = (255 * np.array(to_rgba(PAPER))).astype(np.uint8)
    rows = []
    for image in images:
        row = np.tile(paper, (image.shape[0], width, 1))
        row[:, : image.shape[1]] = image
        rows.append(row)
    return np.concatenate(rows)


def _save(path: Path, image: np.ndarray) -> None:
    from matplotlib.image import imsave

    out = io.BytesIO()
    imsave(out, image, format="png", dpi=_DOTS, metadata={"Software": ""})
    path.write_bytes(out.getvalue())
