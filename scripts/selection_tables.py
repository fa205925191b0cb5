"""The tables and the picture of docs/results/selection.md, from the rows that selection_runs.py wrote.

    python scripts/selection_tables.py RUNS.csv docs/results/selection.md [OTHER_CHOOSERS.csv]

A cell is the mean over left-out domains and seeds. Its interval is over domains (Student, 95 %) of the
means over seeds, as what is asked for is another domain; differences are paired by domain and seed.
Seeds and rates that not all domains have yet are left out.
"""

import csv
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import t

from earwitness.figures.style import INK, PALETTE, legend_above, styled, to_png

BEGIN, END = "<!-- selection -->", "<!-- /selection -->"
Cells = dict[tuple[str, str, str], dict[tuple[str, str], dict[str, str]]]


def main() -> None:
    table, page, *others = map(Path, sys.argv[1:])
    cells = read(table)
    lines = [*by_domain(cells), ""]
    for equal in ("steps", "epochs"):
        lines += [f"### Equal {equal}", ""]
        for name, title in (("eer", "EER, %"), ("average_precision", "average precision, %")):
            lines += [*grid(cells, equal, name, title), ""]
        lines += [*differences(cells, equal, "random", "random"), ""]
        lines += [*differences(cells, equal, "all", "all clips"), ""]
        to_png(curves(cells, equal), page.with_suffix("") / f"equal-{equal}.png")
        lines += [f"![EER by rate, equal {equal}]({page.stem}/equal-{equal}.png)", ""]
    for path in others:
        lines += [*other_choosers(cells, path), ""]
    text = page.read_text(encoding="utf-8")
    before, after = text.index(BEGIN) + len(BEGIN), text.index(END)
    page.write_text(text[:before] + "\n\n" + "\n".join(lines) + text[after:], encoding="utf-8")


def read(path: Path) -> Cells:
    """(rule, rate, equal) -> (seed, target) -> row; of the seeds that have as many runs as any."""
    cells: Cells = defaultdict(dict)
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    runs = Counter(row["seed"] for row in rows)
    for row in rows:
        of = ("steps", "epochs") if row["rule"] == "all" else (row["equal"],)
        for equal in of if runs[row["seed"]] == max(runs.values()) else ():
            cells[row["rule"], row["rate"], equal][row["seed"], row["target"]] = row
    return cells


def values(
    rows: dict[tuple[str, str], dict[str, str]], name: str, of: Iterable[tuple[str, str]]
) -> np.ndarray:
    """Per cent: mean over seeds for each domain."""
    domains: dict[str, list[float]] = defaultdict(list)
    for seed, target in of:
        domains[target].append(100 * float(rows[seed, target][name]))
    return np.array([np.mean(one) for one in domains.values()])


def told(numbers: np.ndarray, sign: str = "") -> str:
    mean = f"{numbers.mean():{sign}.1f}"
    if len(numbers) < 2:
        return mean
    half = t.ppf(0.975, len(numbers) - 1) * numbers.std(ddof=1) / np.sqrt(len(numbers))
    return f"{mean} ({numbers.mean() - half:{sign}.1f} to {numbers.mean() + half:{sign}.1f})"


def rules_and_rates(cells: Cells, equal: str) -> tuple[list[str], list[str]]:
    rules = list(dict.fromkeys(rule for rule, _, e in cells if e == equal and rule != "all"))
    rates = sorted({rate for rule, rate, e in cells if e == equal and rule != "all"}, key=float)
    whole = cells["all", "1", equal]
    return rules, [
        rate
        for rate in rates
        if all(cells.get((r, rate, equal), {}).keys() >= whole.keys() for r in rules)
    ]


def grid(cells: Cells, equal: str, name: str, title: str) -> list[str]:
    rules, rates = rules_and_rates(cells, equal)
    whole = cells["all", "1", equal]
    lines = [f"| {title} | clips | {' | '.join(rules)} |", "| --- " * (len(rules) + 2) + "|"]
    for rate in rates:
        own = cells[rules[0], rate, equal]
        clips = np.mean([int(own[key]["clips"]) for key in whole])
        found = [told(values(cells[rule, rate, equal], name, whole)) for rule in rules]
        lines.append(f"| {100 * float(rate):g} % | {clips:.0f} | {' | '.join(found)} |")
    clips = np.mean([int(row["clips"]) for row in whole.values()])
    lines.append(
        f"| all clips | {clips:.0f} | {told(values(whole, name, whole))} |" + " |" * (len(rules) - 1)
    )
    return lines


def differences(cells: Cells, equal: str, than: str, title: str) -> list[str]:
    """EER less that of as many random clips, or of all clips."""
    rules, rates = rules_and_rates(cells, equal)
    whole, shown = cells["all", "1", equal], [rule for rule in rules if rule != than]
    lines = [f"| EER minus {title} | {' | '.join(shown)} |", "| --- " * (len(shown) + 1) + "|"]
    for rate in rates:
        base = values(whole if than == "all" else cells[than, rate, equal], "eer", whole)
        found = [told(values(cells[rule, rate, equal], "eer", whole) - base, "+") for rule in shown]
        lines.append(f"| {100 * float(rate):g} % | {' | '.join(found)} |")
    return lines


def by_domain(cells: Cells) -> list[str]:
    """All clips: EER on each domain left out, a number a seed; and what shares choose of generators."""
    whole = cells["all", "1", "steps"]
    lines = ["| all clips, domain left out | EER %, a seed each |", "| --- | --- |"]
    for domain in dict.fromkeys(target for _, target in whole):
        found = [f"{100 * float(row['eer']):.0f}" for (_, on), row in whole.items() if on == domain]
        lines.append(f"| {domain} | {', '.join(found)} |")
    rules, rates = rules_and_rates(cells, "steps")
    lines += ["", f"| generators represented, % | {' | '.join(rules)} |"]
    lines.append("| --- " * (len(rules) + 1) + "|")
    for rate in rates:
        shares = [represented(cells[rule, rate, "steps"].values()) for rule in rules]
        lines.append(
            f"| {100 * float(rate):g} % | {' | '.join(f'{100 * one:.0f}' for one in shares)} |"
        )
    return lines


def represented(rows: Iterable[dict[str, str]]) -> float:
    """Mean share of generators that have a clip among the chosen."""
    return float(np.mean([int(row["generators"]) / int(row["of_generators"]) for row in rows]))


def mean_of_seed(rows: dict[tuple[str, str], dict[str, str]], seed: str) -> float:
    """Mean EER over domains, per cent."""
    return float(np.mean([100 * float(row["eer"]) for (own, _), row in rows.items() if own == seed]))


def other_choosers(cells: Cells, path: Path) -> list[str]:
    """Mean EER over domains of one seed: another chooser beside this one's and random's."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["rule"] != "all"]
    lines = ["| another chooser, seed | rate, equal | its EER, % | resnet-small | random |"]
    lines.append("| --- " * 5 + "|")
    groups: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for row in rows:
        key = tuple(row[name] for name in ("chooser", "seed", "rule", "rate", "equal"))
        groups[key].append(100 * float(row["eer"]))
    for (chooser, seed, rule, rate, equal), found in groups.items():
        beside = [mean_of_seed(cells[name, rate, equal], seed) for name in (rule, "random")]
        numbers = " | ".join(f"{one:.1f}" for one in (np.mean(found), *beside))
        lines.append(f"| {chooser}, {seed} | {100 * float(rate):g} %, {equal} | {numbers} |")
    return lines


@styled
def curves(cells: Cells, equal: str) -> Figure:
    rules, rates = rules_and_rates(cells, equal)
    whole = cells["all", "1", equal]
    figure = Figure(figsize=(6.4, 3.9), layout="constrained")
    panel = figure.subplots()
    for rule, colour in zip(rules, PALETTE, strict=False):
        means = [values(cells[rule, rate, equal], "eer", whole).mean() for rate in rates]
        panel.plot([100 * float(r) for r in rates], means, marker="o", color=colour, label=rule)
    panel.axhline(values(whole, "eer", whole).mean(), color=INK, linestyle=":", label="all clips")
    panel.set(xscale="log", xlabel="share of the clips, %", ylabel="EER on the domain left out, %")
    panel.set_xticks([100 * float(r) for r in rates], [f"{100 * float(r):g}" for r in rates])
    panel.minorticks_off()
    legend_above(figure, panel)
    return figure


if __name__ == "__main__":
    main()
