"""Metrics beside the ASVspoof 5 package on 400 sets of scores, and beside published values.

    python benchmarks/agreement.py --official DIR                 # its evaluation-package
    python benchmarks/agreement.py --published SCORES KEY PERCENT # EER of a real system, as published

Sets have 5 to 400 trials a class, in half of them rounded until many tie. The package goes through
thresholds inside ties that nobody can set, so with ties only its own order is compared. Exits with an
error where a value differs by more than 1e-12, or rounds to another published digit.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from earwitness.metrics.act_dcf import act_dcf
from earwitness.metrics.asv import ASVSPOOF5, AsvErrors
from earwitness.metrics.cllr import cllr
from earwitness.metrics.eer_challenge import eer_challenge
from earwitness.metrics.min_dcf import min_dcf
from earwitness.metrics.min_tdcf import min_tdcf
from earwitness.metrics.min_tdcf_legacy import min_tdcf_legacy
from earwitness.metrics.sasv import min_adcf
from earwitness.metrics.t_eer import TandemScores, t_eer
from earwitness.protocols import Protocol
from earwitness.scores import Scores

SETS, TOLERANCE = 400, 1e-12
LEGACY = {"Cfa_asv": 10, "Cmiss_asv": 1, "Cfa_cm": 10, "Cmiss_cm": 1}


def made(rng: np.random.Generator, tied: bool) -> tuple[TandemScores, TandemScores]:
    """Scores of a countermeasure and of a verifier for the same three kinds of trial."""
    sizes = rng.integers(5, 400, 3)
    digits = int(rng.integers(0, 3)) if tied else 15
    both = []
    for means in (rng.normal([2, 2, 0], 0.5), rng.normal([3, 0, 2], 0.5)):
        drawn = zip(means, sizes, strict=True)
        both.append(TandemScores(*(np.round(rng.normal(mean, 1, n), digits) for mean, n in drawn)))
    return both[0], both[1]


def both_ways(
    package, a_dcf, cm: TandemScores, asv: TandemScores, tied: bool
) -> Iterator[tuple[str, float, float]]:
    """Name, our value, the package's value."""
    bonafide, spoof = np.concatenate(cm[:2]), cm.spoof
    rate, miss, alarm, thresholds, _ = package.compute_eer(bonafide, spoof)
    yield "eer_challenge", eer_challenge(bonafide, spoof), rate
    yield "act_dcf", act_dcf(bonafide, spoof), package.compute_actDCF(bonafide, spoof, 0.05, 1, 10)[0]
    yield "cllr", cllr(bonafide, spoof), package.calculate_CLLR(bonafide, spoof)
    if tied:
        return
    lowest = package.compute_mindcf(miss, alarm, thresholds, 0.05, 1, 10)[0]
    yield "min_dcf", min_dcf(bonafide, spoof), lowest
    yield "t_eer", t_eer(cm, asv), their_t_eer(package, cm, asv)
    costs = a_dcf.CostModel(0.05, 0.0095, 0.9405, 1, 10, 10)
    theirs = a_dcf._calculate_a_dcf(*asv, costs, False)["min_a_dcf"]
    yield "min_adcf", min_adcf(*asv), theirs
    yield from tandem_costs(package, bonafide, spoof, asv)


def their_t_eer(package, cm: TandemScores, asv: TandemScores) -> float:
    curve = package.compute_det_curve(np.concatenate(cm[:2]), cm.spoof)
    return package.compute_teer(*curve, *package.compute_Pmiss_Pfa_Pspoof_curves(*asv)) / 100


def tandem_costs(package, bonafide, spoof, asv: TandemScores) -> Iterator[tuple[str, float, float]]:
    at = package.compute_eer(asv.target, asv.nontarget)[4]
    alarm, miss, miss_spoof, alarm_spoof = package.obtain_asv_error_rates(*asv, at)
    errors = AsvErrors.of(*asv)
    assert np.allclose(errors, (miss, alarm, alarm_spoof), rtol=0, atol=TOLERANCE)
    if not alarm_spoof:
        return  # a verifier that accepts no spoof: the cost isn't defined, and earwitness says so
    priors = {"Pspoof": 0.05, "Ptar": 0.95 * 0.99, "Pnon": 0.95 * 0.01}
    new = {**priors, "Cmiss": 1, "Cfa": 10, "Cfa_spoof": 10}
    theirs = package.compute_tDCF(bonafide, spoof, alarm, miss, alarm_spoof, new, False)[0]
    yield "min_tdcf", min_tdcf(bonafide, spoof, asv=errors), theirs.min()
    fixed = package.compute_tDCF(
        bonafide, spoof, ASVSPOOF5.false_alarm, ASVSPOOF5.miss, ASVSPOOF5.false_alarm_spoof, new, False
    )[0]
    yield "min_tdcf, ASVspoof 5's verifier", min_tdcf(bonafide, spoof, asv=ASVSPOOF5), fixed.min()
    old = {**priors, **LEGACY}
    theirs = package.compute_tDCF_legacy(bonafide, spoof, alarm, miss, miss_spoof, old, False)[0]
    yield "min_tdcf_legacy", min_tdcf_legacy(bonafide, spoof, asv=errors), theirs.min()


def beside_the_package(folder: Path) -> bool:
    sys.path.insert(0, str(folder))
    import a_dcf
    import calculate_modules as package

    rng = np.random.default_rng(0)
    far: dict[str, list[float]] = defaultdict(list)
    for number in range(SETS):
        tied = number % 2 == 1
        for name, ours, theirs in both_ways(package, a_dcf, *made(rng, tied), tied):
            far[name].append(abs(ours - theirs))
    print("| metric | sets | largest difference |\n| --- | --- | --- |")
    for name, differences in far.items():
        print(f"| {name} | {len(differences)} | {max(differences):.1e} |")
    return max(map(max, far.values())) <= TOLERANCE


def beside_the_published(scores: Path, key: Path, percent: str) -> bool:
    joined = Scores.read(scores).join(Protocol.read(key))
    found = 100 * eer_challenge(joined.bonafide, joined.spoof)
    digits = len(percent.partition(".")[2])
    print(f"{scores.name}: EER {found:.4f} %, published {percent} %, {len(joined):,} trials")
    return f"{found:.{digits}f}" == percent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--official", type=Path, help="the package's folder evaluation-package")
    parser.add_argument("--published", nargs=3, metavar=("SCORES", "KEY", "PERCENT"))
    asked = parser.parse_args()
    if not asked.official and not asked.published:
        parser.error("say beside what: --official or --published")
    agreed = beside_the_package(asked.official) if asked.official else True
    if asked.published:
        scores, key, percent = asked.published
        agreed &= beside_the_published(Path(scores), Path(key), percent)
    sys.exit(0 if agreed else "a value differs")


if __name__ == "__main__":
    main()
