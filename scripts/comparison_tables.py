"""The tables of a comparison as Markdown, and its figures as PNG, for a page in docs/results.

    python scripts/comparison_tables.py [--part NAME] [--units orders] RUN... docs/results/PAGE.md

Replaces what stands between ``<!-- comparison -->`` and ``<!-- /comparison -->`` in the page and writes
figures into a folder of the page's name; the words around them are written by hand. A page about
several runs has further, shorter parts without figures: ``--part few`` fills what stands between
``<!-- comparison few -->`` and the next end, with ``--reference LABEL`` by differences from that label.
"""

import argparse
from pathlib import Path

from earwitness import figures
from earwitness.comparison import Comparison, compare
from earwitness.comparison.pictures import draw
from earwitness.comparison.tables import (
    Rows,
    against_reference,
    by_order,
    by_task,
    costs,
    measures,
    shown,
)
from earwitness.runs import RunFolder

END = "<!-- /comparison -->"
CAPTIONS = {
    "final": "Final average of every method",
    "curves": "Mean over the tasks seen so far",
    "storage": "Final average against storage",
    "time": "Final average against time",
    "trade-off": "Forgetting against learning",
}


def table(told: Rows) -> str:
    lines = [told.columns, ["---"] * len(told.columns), *told.rows]
    return (
        "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines) + "\n"
    )


def listed(comparison: Comparison, kind: str) -> str:
    marks = comparison.marks
    return "".join(f"- {marks[key].told}\n" for key in shown(comparison, kind) if key in marks)


def beginning(comparison: Comparison) -> list[str]:
    return [
        f"Mean ± half of the 95 % Student-t interval over {comparison.units}, per cent. ● is better "
        "than every other method, ○ cannot be told apart from the best (paired differences, Holm, "
        "5 %); (bounds) are not ranked. Made by `scripts/comparison_tables.py`.\n",
        *(f"{line}\n" for line in (*comparison.headline, *comparison.notes)),
    ]


def differences(comparison: Comparison) -> list[str]:
    if not comparison.reference:
        return []
    return [
        f"Differences from {comparison.reference}, paired by seed and order [95 % Student-t interval]. "
        "p: Student's, and of sign flips, never below 2/2^n with n runs; both corrected for the "
        "number of methods (Holm):\n",
        table(against_reference(comparison)),
    ]


def brief(comparison: Comparison) -> list[str]:
    return [*beginning(comparison), table(measures(comparison, "summary"))]


def parts(comparison: Comparison, pictures: dict[str, str]) -> list[str]:
    def picture(name: str) -> list[str]:
        return [f"![{CAPTIONS[name]}]({pictures[name]})\n"] if name in pictures else []

    orders = [
        "Final average of each order, and the shares of its variance:\n",
        table(by_order(comparison)),
    ]
    return [
        *beginning(comparison),
        *picture("final"),
        table(measures(comparison, "summary")),
        listed(comparison, "summary"),
        *differences(comparison),
        *picture("curves"),
        "CLEAR's four (levels, not differences):\n",
        table(measures(comparison, "clear")),
        "What is kept after the last task, and time, judging included:\n",
        table(costs(comparison)),
        *picture("storage"),
        *picture("time"),
        *picture("trade-off"),
        "At the end, on each task:\n",
        table(by_task(comparison)),
        *(orders if len(comparison.orders) > 1 else []),
    ]


def drawn(comparison: Comparison, folder: Path) -> dict[str, str]:
    pictures = draw(comparison)
    for name, figure in pictures.items():
        figures.to_png(figure, folder / f"{name}.png")
    return {name: f"{folder.name}/{name}.png" for name in pictures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--part", help="a shorter part of that name")
    parser.add_argument("--reference", help="the part has differences from this label alone")
    parser.add_argument("--units", choices=("runs", "seeds", "orders"), default="runs")
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("page", type=Path)
    given = parser.parse_args()
    start = f"<!-- comparison {given.part} -->" if given.part else "<!-- comparison -->"
    before, found, rest = given.page.read_text(encoding="utf-8").partition(start)
    if not found:
        parser.error(f"{given.page} has no {start}")
    runs = [RunFolder(run) for run in given.runs]
    comparison = compare(runs, units=given.units, reference=given.reference)
    folder = given.page.with_suffix("")
    short = differences if given.reference else brief
    told = short(comparison) if given.part else parts(comparison, drawn(comparison, folder))
    text = before + start + "\n\n" + "\n".join(told) + "\n" + END + rest.partition(END)[2]
    given.page.write_text(text, encoding="utf-8")
    print(f"wrote {given.page}")


if __name__ == "__main__":
    main()
