import csv
import io
import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from run_folder import separation, write_run_folder

from earwitness import figures
from earwitness.errors import RunError, SettingsError
from earwitness.report import FORMATS, Report, build, render, write
from earwitness.report.words import best_of, headline, verdict
from earwitness.runs import RunFolder
from earwitness.scores import Scores

TASKS = ("clean", "phone", "vocoder")
STRATEGIES = ("naive", "rwm")
SEEDS = (1, 2)
ADDRESS = re.compile(r"""(?:https?:)?//[^\s"'<>)]+""")
NAMESPACES = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "toy"
    return write_run_folder(path, tasks=TASKS, strategies=STRATEGIES, seeds=SEEDS)


@pytest.fixture(scope="module")
def report(folder):
    return build(folder)


@pytest.fixture(scope="module")
def page(folder, report):
    return render(report, [folder])


@pytest.fixture
def small(tmp_path):
    """The least there can be: one task, one strategy, one seed, no logs."""
    return write_run_folder(
        tmp_path / "small", tasks=["only"], strategies=["naive"], seeds=[7], with_logs=False
    )


def eer_by_counting(path):
    """With as many spoofs as bonafide, n of each, both error rates are equal where the lowest n
    scores are rejected: the EER is the share of bonafide among them."""
    rows = list(csv.DictReader(path.read_text().splitlines()))
    labels = [row["label"] for row in sorted(rows, key=lambda row: float(row["score"]))]
    each = labels.count("bonafide")
    assert each * 2 == len(labels)
    return labels[:each].count("bonafide") / each


def counted(folder, label, seed):
    root = folder.path / label / f"seed-{seed}" / "scores" / "test"
    return np.array(
        [
            [
                eer_by_counting(root / f"{i}-{learned}" / f"{j}-{judged}.csv")
                for j, judged in enumerate(TASKS, start=1)
            ]
            for i, learned in enumerate(("untrained", *TASKS))
        ]
    )


def half_of_two(one, other):
    """Half the 95 % t interval of two values: 12.706 standard errors."""
    return 12.7062047 * abs(one - other) / 2


# --- values ---------------------------------------------------------------------------------


def test_matrices_equal_a_count_over_the_score_files(folder, report):
    compared = 0
    for one in report.strategies:
        for seed, matrix, untrained in zip(one.seeds, one.matrices, one.untrained, strict=True):
            expected = counted(folder, one.label, seed)
            np.testing.assert_allclose(untrained, expected[0], atol=1e-12)
            np.testing.assert_allclose(matrix, expected[1:], atol=1e-12)
            compared += 1
    assert compared == len(STRATEGIES) * len(SEEDS) == 4


def test_final_average_and_its_interval_by_hand(folder, report):
    for one in report.strategies:
        first, second = (counted(folder, one.label, seed)[-1].mean() for seed in SEEDS)
        found = one.summaries["final_average"]
        half = half_of_two(first, second)
        assert found["mean"] == pytest.approx((first + second) / 2)
        assert found["low"] == pytest.approx((first + second) / 2 - half, abs=1e-6)
        assert found["high"] == pytest.approx((first + second) / 2 + half, abs=1e-6)


def test_differences_are_taken_seed_by_seed(folder, report):
    rwm = report.strategies[1]
    first, second = (
        counted(folder, "rwm", seed)[-1].mean() - counted(folder, "naive", seed)[-1].mean()
        for seed in SEEDS
    )
    found = rwm.against_naive["final_average"]
    assert found["mean"] == pytest.approx((first + second) / 2)
    assert found["high"] == pytest.approx((first + second) / 2 + half_of_two(first, second), abs=1e-6)
    assert rwm.verdict == verdict(found)


def test_roles_and_costs(report):
    assert [one.role for one in report.strategies] == ["naive", "strategy"]
    assert report.strategies[0].against_naive is None
    assert report.strategies[1].stores == {"bytes": 36_864, "clips": 0, "keeps_audio": False}
    assert report.strategies[0].seconds == pytest.approx(7.5)


def test_final_models_are_judged_with_intervals(folder, report):
    for one in report.strategies:
        assert [row["task"] for row in one.judged] == list(TASKS)
        for row, expected in zip(one.judged, counted(folder, one.label, 1)[-1], strict=True):
            eer = row["metrics"]["eer"]
            assert eer["mean"] == pytest.approx(expected)
            assert eer["low"] <= eer["mean"] <= eer["high"]
            assert (row["bonafide"], row["spoof"]) == (97, 97)


def test_action_is_summed_up_for_each_layer(folder, report):
    naive, rwm = report.strategies
    assert naive.action == []
    records = [r for run in folder.runs() if run.label == "rwm" for r in run.action()]
    of_head = [r["gradient_ratio"] for r in records if r["layer"] == "back_end.head"]
    (head,) = [row for row in rwm.action if row["layer"] == "back_end.head"]
    assert head["records"] == len(of_head) > 0
    assert head["gradient_ratio"] == pytest.approx(np.mean(of_head))


def test_unfinished_runs_are_left_out_and_pairs_need_both(tmp_path):
    made = write_run_folder(
        tmp_path / "run", tasks=["a", "b"], strategies=["naive", "rwm"], seeds=[1, 2], trials=20
    )
    (made.path / "naive" / "seed-2" / "done.json").unlink()
    naive, rwm = build(made).strategies
    assert (naive.seeds, rwm.seeds) == ([1], [1, 2])
    assert rwm.against_naive["final_average"]["low"] is None
    (made.path / "rwm" / "seed-1" / "done.json").unlink()
    apart = build(made).strategies[1]
    assert apart.against_naive is None
    assert "not compared" in apart.verdict


# --- words ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (-0.2, -0.1, "better"),
        (0.1, 0.2, "worse"),
        (-0.1, 0.1, "no difference that the seeds can show"),
        (-0.1, 0.0, "no difference that the seeds can show"),
        (None, None, "one shared seed: nothing can be said about chance"),
    ],
)
def test_the_interval_alone_chooses_the_word(low, high, word):
    assert verdict({"mean": -0.15, "low": low, "high": high}) == word


def test_the_headline_names_the_lowest_and_its_interval(report):
    lowest = min(report.strategies, key=lambda one: one.summaries["final_average"]["mean"])
    assert f"{lowest.label} has the lowest final average EER" in report.headline
    assert f"{100 * lowest.summaries['final_average']['mean']:.1f} %" in report.headline
    assert report.headline.endswith(f"{lowest.verdict}.")


def test_joint_training_is_a_bound_and_never_the_winner(report):
    naive, rwm = report.strategies
    perfect = {"final_average": {"mean": 0.0, "low": 0.0, "high": 0.0}}
    joint = replace(rwm, label="all at once", role="joint", summaries=perfect)
    assert best_of([joint, naive, rwm]) is rwm
    told = headline([joint, naive, rwm], 3)
    assert told.startswith("Of 2 strategies")
    assert "from all data at once (all at once)" in told
    assert best_of([joint]) is joint


def test_without_naive_the_headline_says_so(tmp_path):
    made = write_run_folder(tmp_path / "run", tasks=["a"], strategies=["rwm"], seeds=[1])
    assert "No naive strategy was run" in build(made).headline


# --- formats --------------------------------------------------------------------------------


def test_json_gives_the_report_back(report):
    assert Report.from_json(report.to_json()) == report
    assert json.loads(report.to_json())["strategies"][0]["label"] == "naive"


def test_csv_has_a_line_for_every_number(report):
    rows = list(csv.DictReader(io.StringIO(report.to_csv())))
    cells = [row for row in rows if row["metric"] == "eer"]
    assert len(cells) == len(STRATEGIES) * len(SEEDS) * len(TASKS) * (len(TASKS) + 1)
    summaries = sum(v is not None for s in report.strategies for p in s.per_seed for v in p.values())
    assert len(rows) == len(cells) + summaries
    (one,) = [
        row
        for row in cells
        if (row["strategy"], row["seed"]) == ("rwm", "2")
        and (row["after"], row["on"]) == ("vocoder", "clean")
    ]
    assert float(one["value"]) == report.strategies[1].matrices[1][2][0]


# --- page -----------------------------------------------------------------------------------


def test_the_page_loads_nothing(page):
    assert set(ADDRESS.findall(page)) <= NAMESPACES
    assert not re.search(r"\bsrc\s*=|<link|<script|@import|url\((?!#)", page)
    targets = re.findall(r'href="([^"]*)"', page)
    ids = set(re.findall(r'\bid="([^"]*)"', page))
    assert len(targets) > 8
    assert all(target.startswith("#") and target[1:] in ids for target in targets)


def test_the_address_check_can_fail():
    assert ADDRESS.findall('<img src="https://example.org/a.png">') == ["https://example.org/a.png"]
    assert ADDRESS.findall('<script src="//example.org/a.js">') == ["//example.org/a.js"]


def test_ids_are_unique(page):
    ids = re.findall(r'\bid="([^"]*)"', page)
    repeated = {one for one in ids if ids.count(one) > 1}
    # Matplotlib names a shape by its outline and may define it twice: same name, same shape.
    assert not [one for one in repeated if not re.fullmatch(r".+-[mhp][0-9a-f]{10}", one)]


def test_the_page_shows_the_numbers_and_where_they_come_from(report, page):
    assert "synthetic stand-in: says nothing about real speech" in page
    for one in report.strategies:
        assert f"{100 * one.summaries['final_average']['mean']:.1f} ±" in page
    for fingerprint in re.findall(r"[0-9a-f]{64}", json.dumps(report.provenance)):
        assert fingerprint in page
    assert len(re.findall(r"<svg ", page)) == 3 + 2 * 4 + 1  # to compare; of each strategy; its action
    for heading in ("Summary", "Task matrices", "Proof of action", "Provenance", "Recompute"):
        assert re.search(rf'<h2 id="\w+">{heading}</h2>\s*<p class="how">', page)


def test_names_are_escaped_and_real_data_has_no_banner(tmp_path):
    made = write_run_folder(
        tmp_path / "run",
        tasks=["<i>t&$x$"],
        strategies=["<b>naive"],
        seeds=[1],
        name="<script>alert(1)<",
        stand_in=False,
    )
    report = build(made)
    page = render(report, [made])
    for markup in ("<script", "<b>", "<i>t"):
        assert markup not in page
    assert "&lt;b&gt;naive" in page
    assert "&lt;i&gt;t&amp;$x$" in page
    assert report.strategies[0].label == "<b>naive"
    assert "stand-in" not in page


def test_the_least_there_can_be_is_written_whole_and_the_same_twice(small, tmp_path):
    names = ["report.html", "report.json", "report.csv", "report.png", "report-matrix.png"]
    assert write(small) == [small.path / name for name in names]
    assert (small.path / "report.png").read_bytes().startswith(b"\x89PNG")
    assert not [path for path in small.path.iterdir() if path.name.startswith(".")]
    report = Report.from_json((small.path / "report.json").read_text(encoding="utf-8"))
    (only,) = report.strategies
    assert only.summaries["final_average"]["low"] is None
    assert only.summaries.get("forgetting") is None
    assert "one seed, so no interval" in report.headline
    page = (small.path / "report.html").read_text(encoding="utf-8")
    assert "No training log" in page
    assert "there is no such log" in page
    assert "None" not in page
    assert render(report, [small]) == page
    assert write(small, tmp_path / "new", ["csv"]) == [tmp_path / "new" / "report.csv"]
    assert FORMATS == ("html", "json", "csv", "png")


# --- side by side ---------------------------------------------------------------------------


def test_runs_side_by_side_are_compared_with_their_own_naive(tmp_path):
    made = [
        write_run_folder(tmp_path / n, tasks=["a", "b"], seeds=[1, 2], trials=15 + k, name=n)
        for k, n in enumerate(("one", "two"))
    ]
    both, alone = build(made), build(made[1])
    assert [s.label for s in both.strategies][2:5] == ["one/rwm", "two/naive", "two/replay"]
    assert [s.against_naive for s in both.strategies[3:]] == [s.against_naive for s in alone.strategies]
    assert len(both.provenance) == 2
    assert {path.name for path in write(made, tmp_path / "both", ["json"])} == {"report.json"}


def test_unlike_runs_are_refused(tmp_path):
    one = write_run_folder(tmp_path / "1", tasks=["a"], strategies=["naive"], name="one")
    other = write_run_folder(tmp_path / "2", tasks=["b"], strategies=["naive"], name="other")
    with pytest.raises(RunError, match=r"tasks \['b'\] differ"):
        build([one, other])
    with pytest.raises(RunError, match="names of their own"):
        build([one, one])
    with pytest.raises(RunError, match="at least one"):
        build([])


def test_what_is_not_a_report_is_refused(small, tmp_path):
    with pytest.raises(SettingsError, match="did you mean 'html'"):
        write(small, formats=["htm"])
    with pytest.raises(RunError, match="not a run folder"):
        RunFolder(tmp_path)
    (small.path / "naive" / "seed-7" / "done.json").unlink()
    with pytest.raises(RunError, match="no finished run"):
        build(small)


# --- figures --------------------------------------------------------------------------------


def stack(seeds, tasks=3):
    return np.random.default_rng(0).uniform(0.05, 0.4, (seeds, tasks, tasks))


def test_a_heatmap_writes_every_cell_and_veils_what_is_not_learned():
    matrix = stack(1)[0]
    (axes,) = figures.matrix_heatmap(matrix, TASKS, "rwm").axes
    assert [text.get_text() for text in axes.texts] == [f"{100 * r:.1f}" for r in matrix.flat]
    assert len(axes.patches) == 2 * 3


@pytest.mark.parametrize(("seeds", "bands", "lines"), [(1, 0, 1), (2, 0, 3), (3, 1, 1)])
def test_seeds_are_shown_as_themselves_or_as_a_band(seeds, bands, lines):
    (axes,) = figures.average_curve({"rwm": stack(seeds)}, TASKS).axes
    assert (len(axes.collections), len(axes.lines)) == (bands, lines)


def test_the_average_curve_looks_at_tasks_seen_only():
    values = stack(1)
    (axes,) = figures.average_curve({"rwm": values}, TASKS).axes
    expected = [100 * values[0, i, : i + 1].mean() for i in range(3)]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), expected)


def test_each_class_of_a_histogram_sums_to_a_hundred():
    scores = Scores("abcde", [0, 1, 2, 3, 4], ["spoof"] * 2 + ["bonafide"] * 3)
    (axes,) = figures.score_histograms({"clean": scores}).axes
    sums = [patch.get_data().values.sum() for patch in axes.patches]
    assert sums == pytest.approx([100] * 4)  # of each class the filled shape and its outline


def test_naive_is_grey_and_no_two_strategies_look_alike():
    looks = figures.colours(["naive", *(f"s{i}" for i in range(17))])
    assert looks["naive"].colour not in {looks[f"s{i}"].colour for i in range(17)}
    assert len(set(looks.values())) == 18
    assert figures.colours(["rwm"])["rwm"] == looks["s0"]
    assert len(set(figures.colours(["a/naive", "b/naive", "a/joint", "b/joint"]).values())) == 4


@pytest.mark.parametrize("tasks", [1, 4])
def test_every_figure_works_for_any_number_of_tasks(tasks):
    names = [f"task {i}" for i in range(tasks)]
    stacks = {"naive": stack(2, tasks), "rwm": stack(2, tasks)}
    drawn = [
        figures.forgetting_curves(stacks, names),
        figures.average_curve(stacks, names),
        figures.headline(stacks, names, "title", shown=["naive"]),
        figures.matrix_sheet({k: v[0] for k, v in stacks.items()}, names, "title"),
    ]
    assert [len(one.axes) for one in drawn] == [tasks, 1, 2, 2]


def test_pictures_are_the_same_bytes_twice_and_carry_no_date():
    first, second = (figures.to_svg(figures.average_curve({"rwm": stack(3)}, TASKS)) for _ in range(2))
    assert first == second
    assert first.startswith("<svg")
    assert "<metadata" not in first
    assert not re.search(r"\b20\d\d-\d\d", first)
    assert ">clean<" in first.replace("\n", "")


def test_drawing_touches_neither_pyplot_nor_torch_nor_settings():
    code = (
        "import sys, matplotlib\n"
        "keys = ('font.size', 'axes.grid', 'svg.hashsalt')\n"
        "seen = lambda: [matplotlib.rcParams[key] for key in keys]\n"
        "before = seen()\n"
        "import numpy as np, earwitness.report\nfrom earwitness import figures\n"
        "figures.to_svg(figures.matrix_heatmap(np.eye(2), ['a', 'b'], 't'))\n"
        "assert seen() == before\n"
        "print(sorted({'torch', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_the_fake_run_forgets_where_it_should():
    assert separation("naive", 2, 0) < separation("rwm", 2, 0) < separation("replay", 2, 0)
    assert separation("rwm", 0, 1) == separation("naive", 0, 1)
