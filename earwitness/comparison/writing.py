"""Writing a comparison: a page, its values, and its pictures."""

from pathlib import Path

from earwitness import figures
from earwitness.comparison.page import render
from earwitness.comparison.pictures import draw
from earwitness.comparison.result import Comparison
from earwitness.files import write_text

__all__ = ["write"]


def write(comparison: Comparison, out: str | Path) -> list[Path]:
    """Write ``compare.html``, ``.json``, ``.csv``, and pictures ``compare-<name>.png`` and ``.svg``.

    Returns the paths. Each file is replaced whole or not at all.
    """
    out, drawn = Path(out), draw(comparison)
    texts = {
        "compare.html": render(comparison, drawn),
        "compare.json": comparison.to_json(),
        "compare.csv": comparison.to_csv(),
        **{f"compare-{name}.svg": figures.to_svg(figure) for name, figure in drawn.items()},
    }
    for name, text in texts.items():
        write_text(out / name, text)
    for name, figure in drawn.items():
        figures.to_png(figure, out / f"compare-{name}.png")
    return [out / name for name in texts] + [out / f"compare-{name}.png" for name in drawn]
