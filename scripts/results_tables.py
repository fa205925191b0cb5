"""The numbers of a run as Markdown, and its figures as PNG, for a page in docs/results.

    python scripts/results_tables.py RUN docs/results/PAGE.md

Replaces what stands between ``<!-- numbers -->`` and ``<!-- end of numbers -->`` in the page and
writes figures into a folder of the page's name; the words around them are written by hand.
"""

import sys
from pathlib import Path

import numpy as np

from earwitness import figures
from earwitness.report import Report, StrategyResult, build
from earwitness.runs import RunFolder

START, END = "<!-- numbers -->", "<!-- end of numbers -->"
SUMMARIES = {
    "final_average": "final average",
    "average_over_time": "average over time",
    "forgetting": "forgetting",
    "backward_transfer": "backward transfer",
    "forward_transfer": "forward transfer",
    "learning_accuracy": "just learned",
    "pooled": "pooled",
}
CLEAR = {
    "clear_in_domain": "in-domain",
    "clear_next_domain": "next-domain",
    "clear_backward": "backward",
    "clear_forward": "forward",
}


def percent(interval: dict[str, float | None] | None, sign: str = "") -> str:
    if interval is None:
        return "-"
    mean, low, high = (interval[k] for k in ("mean", "low", "high"))
    if low is None or high is None:
        return f"{100 * mean:{sign}.1f}"
    return f"{100 * mean:{sign}.1f} [{100 * low:{sign}.1f}, {100 * high:{sign}.1f}]"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def summary_table(report: Report, names: dict[str, str]) -> str:
    rows = [
        [one.label, *(percent(one.summaries.get(key)) for key in names)] for one in report.strategies
    ]
    return table(["strategy", *names.values()], rows)


def against_naive(report: Report) -> str:
    keys = ("final_average", "forgetting", "learning_accuracy")
    rows = [
        [one.label, *(percent(one.against_naive[k], "+") for k in keys), one.verdict]
        for one in report.strategies
        if one.against_naive
    ]
    return table(
        ["strategy minus naive", "final average", "forgetting", "just learned", "verdict"], rows
    )


def matrix_table(report: Report, one: StrategyResult) -> str:
    mean = np.mean(one.matrices, axis=0)
    rows = [
        [f"after {task}", *(f"{100 * v:.1f}" for v in row)]
        for task, row in zip(report.tasks, mean, strict=True)
    ]
    before = [row for row in one.untrained if row is not None]
    if before:
        rows.insert(0, ["untrained", *(f"{100 * v:.1f}" for v in np.mean(before, axis=0))])
    return f"**{one.label}**\n\n" + table(["EER %", *report.tasks], rows)


def costs(report: Report) -> str:
    rows = []
    for one in report.strategies:
        stores = one.stores
        seconds = f"{one.seconds:.0f}" if one.seconds else "-"
        keeps = "yes" if stores.get("keeps_audio") else "no"
        rows.append(
            [
                one.label,
                f"{stores.get('bytes', 0) / 1e6:.1f}",
                str(stores.get("clips", 0)),
                keeps,
                seconds,
            ]
        )
    return table(["strategy", "MB kept", "clips kept", "keeps audio", "seconds a run"], rows)


def action(report: Report) -> str:
    rows = [
        [one.label, a["layer"], *(_number(a.get(k)) for k in
         ("gradient_ratio", "old_input_ratio", "beta", "rank_energy"))]
        for one in report.strategies for a in one.action
    ]  # fmt: skip
    head = ["strategy", "layer", "‖GR‖/‖G‖", "‖P r_old‖/‖r_old‖", "β", "share protected"]
    return table(head, rows)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def main() -> None:
    run, page = Path(sys.argv[1]), Path(sys.argv[2])
    report = build(RunFolder(run))
    pictures = page.with_suffix("")
    stacks = {one.label: np.array(one.matrices) for one in report.strategies}
    means = {label: stack.mean(0) for label, stack in stacks.items()}
    figures.to_png(figures.average_curve(stacks, report.tasks), pictures / "average.png")
    figures.to_png(figures.matrix_sheet(means, report.tasks, report.name), pictures / "matrices.png")
    figures.to_png(figures.forgetting_curves(stacks, report.tasks), pictures / "forgetting.png")
    seeds = len(report.strategies[0].seeds)
    parts = [
        f"EER in % on the {report.split} splits; mean over {seeds} seeds [95 % Student-t interval over "
        "seeds]. Made by `scripts/results_tables.py`.\n",
        f"![EER over the stream]({pictures.name}/average.png)\n",
        summary_table(report, SUMMARIES),
        "Differences from naive, paired by seed (negative = lower error):\n",
        against_naive(report),
        "CLEAR's four (levels of EER, not differences):\n",
        summary_table(report, CLEAR),
        "What is kept from task to task, and time on one thread, judging included:\n",
        costs(report),
        f"![EER on each task over the stream]({pictures.name}/forgetting.png)\n",
        "Task matrices, mean over seeds (row: after learning; column: judged on):\n",
        f"![Task matrices]({pictures.name}/matrices.png)\n",
        *(matrix_table(report, one) for one in report.strategies),
        "Proof of action, mean over seeds and logged steps:\n",
        action(report),
    ]
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(START)
    after = rest.split(END)[1]
    page.write_text(before + START + "\n\n" + "\n".join(parts) + "\n" + END + after, encoding="utf-8")
    print(f"wrote {page}")


if __name__ == "__main__":
    main()
