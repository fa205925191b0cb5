"""Metrics beside the ASVspoof 5 package, on the same scores in one run.

    python benchmarks/metrics.py --official DIR      # its evaluation-package, from its own checkout
    python benchmarks/metrics.py --scores            # ten million scores: read, join, judge

CPU seconds, one process; values must agree under the package's order of ties. Exits with an error where
a bar is missed.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from earwitness.evaluation import evaluate
from earwitness.metrics.bootstrap import bootstrap_intervals
from earwitness.metrics.eer import eer
from earwitness.metrics.eer_challenge import eer_challenge
from earwitness.metrics.min_dcf import min_dcf
from earwitness.metrics.sasv import min_adcf
from earwitness.metrics.t_eer import TandemScores, t_eer
from earwitness.protocols import Protocol
from earwitness.scores import Scores

BARS = {"EER + minDCF, 1 M": 20, "a-DCF, 1 M": 50, "exact t-EER, 29.5 k": 500}


def timed(call: Callable[[], object], repeats: int = 5) -> tuple[float, object]:
    """The least CPU time of several, and the value."""
    best, value = float("inf"), None
    for _ in range(repeats):
        start = time.process_time()
        value = call()
        best = min(best, time.process_time() - start)
    return best, value


def beside_the_package(folder: Path) -> bool:
    sys.path.insert(0, str(folder))
    import a_dcf
    import calculate_modules as package

    rng = np.random.default_rng(0)
    bonafide, spoof = rng.normal(2, 1, 203_700), rng.normal(0, 1, 796_300)
    target, nontarget = rng.normal(3, 1, 150_000), rng.normal(0, 1, 150_000)
    other = rng.normal(1, 1, 700_000)
    small = [rng.normal(mean, 1, n) for mean, n in ((3, 1_484), (0, 5_768), (1.5, 22_296))]
    cm = [rng.normal(mean, 1, n) for mean, n in ((2, 1_484), (2, 5_768), (0, 22_296))]

    def theirs() -> tuple[float, float]:
        rate, miss, alarm, thresholds, _ = package.compute_eer(bonafide, spoof)
        return rate, package.compute_mindcf(miss, alarm, thresholds, 0.05, 1, 10)[0]

    def their_t_eer() -> float:
        curve = package.compute_det_curve(np.concatenate(cm[:2]), cm[2])
        return package.compute_teer(*curve, *package.compute_Pmiss_Pfa_Pspoof_curves(*small)) / 100

    costs = a_dcf.CostModel(0.05, 0.0095, 0.9405, 1, 10, 10)
    rows = {
        "EER + minDCF, 1 M": (
            lambda: (eer_challenge(bonafide, spoof), min_dcf(bonafide, spoof)),
            theirs,
        ),
        "a-DCF, 1 M": (
            lambda: min_adcf(target, nontarget, other),
            lambda: a_dcf._calculate_a_dcf(target, nontarget, other, costs, False)["min_a_dcf"],
        ),
        "exact t-EER, 29.5 k": (
            lambda: t_eer(TandemScores(*cm), TandemScores(*small)),
            their_t_eer,
        ),
    }
    met = True
    print("| what | ours, s | package, s | times | bar |\n| --- | --- | --- | --- | --- |")
    for name, (own, other_call) in rows.items():
        ours, value = timed(own)
        package_time, expected = timed(other_call, 1)
        assert np.allclose(value, expected, rtol=0, atol=1e-12), (name, value, expected)
        met &= package_time / ours >= BARS[name]
        print(
            f"| {name} | {ours:.4f} | {package_time:.3f} | {package_time / ours:.0f} | {BARS[name]} |"
        )
    return met


def by_ourselves() -> bool:
    rng = np.random.default_rng(1)
    bonafide, spoof = rng.normal(1, 1, 14_869), rng.normal(0, 1, 519_059)
    seconds, _ = timed(lambda: eer(bonafide, spoof))
    met = seconds < 0.05
    print(f"| EER of 533,928 | {seconds:.4f} | | | under 0.05 s |")
    metrics = {"eer": eer, "min_dcf": min_dcf}
    rows = (("680,774", 138_688, 542_086, None, 60), ("71,237 by 67 speakers", 7_355, 63_882, 67, 10))
    for name, n_bonafide, n_spoof, speakers, bar in rows:
        both = rng.normal(1, 1, n_bonafide), rng.normal(0, 1, n_spoof)
        named = tuple(rng.integers(0, speakers, len(one)) for one in both) if speakers else None

        def draw(both=both, named=named) -> object:
            return bootstrap_intervals(metrics, *both, draws=1000, clusters=named)

        seconds, _ = timed(draw, 1)
        met &= seconds < bar
        print(f"| 1,000 draws of {name}: EER, minDCF | {seconds:.1f} | | | under {bar} s |")
    return met


def ten_millions(shuffled: bool) -> bool:
    """Written, then read, joined and judged as a user would; wall time and the peak of memory."""
    trials = 10_000_000
    with tempfile.TemporaryDirectory() as folder:
        scores, key = Path(folder) / "scores.csv", Path(folder) / "key.txt"
        write_ten_millions(scores, key, trials, shuffled)
        start = time.perf_counter()
        joined = Scores.read(scores).join(Protocol.read(key, columns=["attack"]))
        read = time.perf_counter() - start
        judged = evaluate(joined, intervals=False)
        whole = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    order = "shuffled" if shuffled else "in one order"
    print(
        f"10 M scores, {order}: read and joined {read:.1f} s, judged {whole:.1f} s, peak {peak:.2f} GB"
    )
    assert judged.n_bonafide + judged.n_spoof == trials
    return whole < 20 and peak < 2


def write_ten_millions(scores: Path, key: Path, trials: int, shuffled: bool) -> None:
    rng = np.random.default_rng(2)
    order = rng.permutation(trials) if shuffled else np.arange(trials)
    with scores.open("w") as file:
        file.write("file_name,score\n")
        for some in np.array_split(order, 20):
            values = rng.normal(0, 1, len(some)).tolist()
            file.writelines(f"E_{i:010d},{v!r}\n" for i, v in zip(some.tolist(), values, strict=True))
    with key.open("w") as file:
        for i in range(trials):
            label = "bonafide" if i % 5 == 0 else "spoof"
            file.write(f"S_{i % 4000:04d} E_{i:010d} F C{i % 11:02d} 0 - - A{i % 16:02d} {label} -\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--official", type=Path, help="the package's folder evaluation-package")
    parser.add_argument("--scores", action="store_true", help="ten million scores")
    parser.add_argument("--shuffled", action="store_true", help="the key in another order")
    asked = parser.parse_args()
    if asked.scores:
        met = ten_millions(asked.shuffled)
    else:
        met = beside_the_package(asked.official) if asked.official else True
        met &= by_ourselves()
    sys.exit(0 if met else "a bar is missed")


if __name__ == "__main__":
    main()
