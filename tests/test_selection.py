"""Selection against a reference that does everything the long way, its promises, and the verb."""

import json
import math
import subprocess
import sys
import tracemalloc
from collections import Counter
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import silhouette_score

from earwitness import audio
from earwitness.corpora import manifest as manifest_reader
from earwitness.corpora import vectors
from earwitness.detector import Detector, Windows
from earwitness.errors import AudioError, ProtocolError, SettingsError
from earwitness.files import digest
from earwitness.scores import Scores
from earwitness.scoring import embed, score
from earwitness.select_verbs import select as select_verb
from earwitness.selection import SELECTORS, Pool, clusters, pool, select
from earwitness.selection.base import Chosen, Selector
from earwitness.selection.coverage import Coverage, coverage, lost
from earwitness.selection.quotas import class_counts, share
from earwitness.selection.sources import read_listing, read_source
from earwitness.selection.union import content
from earwitness.streams import Stream
from earwitness.trials import Manifest, Trial

CLASSES = ["bonafide", "spoof"]
RULES = list(SELECTORS.table)


def toy(bonafide: int = 25, spoof: int = 60, width: int = 4, seed: int = 0) -> dict:
    """Clips of both classes mixed, ids in an order of their own, fakes of three unequal generators."""
    rng = np.random.default_rng(seed)
    n = bonafide + spoof
    labels = np.array(["bonafide"] * bonafide + ["spoof"] * spoof)[rng.permutation(n)]
    of = rng.choice(["A1", "A2", "A3"], n, p=[0.6, 0.3, 0.1])
    generators = np.where(labels == "spoof", of, "-")
    centres = {"-": 0.0, "A1": 2.0, "A2": -3.0, "A3": 7.0}
    shift = np.array([centres[g] for g in generators])
    return {
        "embeddings": (rng.normal(size=(n, width)) + shift[:, None]).astype(np.float32),
        "labels": labels.tolist(),
        "ids": [f"c{k:03}" for k in rng.permutation(n)],
        "generators": generators.tolist(),
        "margins": rng.normal(1, 1, n),
    }


def ids_of(clips: dict, chosen) -> list[str]:
    return [clips["ids"][place] for place in chosen.places]


def as_bytes(chosen) -> bytes:
    columns = (chosen.places, chosen.cluster, chosen.distance, chosen.rank, chosen.passed)
    return b"".join(column.tobytes() for column in columns)


# The reference: lists, loops and the definitions.


def reference(clips: dict, rule: str, counts: dict[str, int], seed: int = 0, **how) -> list[str]:
    """Ids in the order of a selection without a gate."""
    found = []
    for number, label in enumerate(sorted(set(clips["labels"]))):
        members = [n for n, one in enumerate(clips["labels"]) if one == label]
        rng = np.random.default_rng([seed, number])
        found += REFERENCES[rule](clips, members, label, counts[label], rng, **how)
    return [clips["ids"][n] for n in found]


def rows_of(clips: dict, members: list[int]) -> dict[int, np.ndarray]:
    return {n: clips["embeddings"][n].astype(np.float64) for n in members}


def mean_of(rows) -> np.ndarray:
    return sum(rows) / len(rows)


def far(one: np.ndarray, other: np.ndarray) -> float:
    return math.sqrt(sum((a - b) ** 2 for a, b in zip(one, other, strict=True)))


def by_distance(clips, members, label, count, rng, *, sign=1):
    rows = rows_of(clips, members)
    mean = mean_of(list(rows.values()))
    return sorted(members, key=lambda n: (sign * far(rows[n], mean), clips["ids"][n]))[:count]


def drawn(clips, members, rng):
    by_id = sorted(members, key=lambda n: clips["ids"][n])
    return [by_id[place] for place in rng.permutation(len(by_id))]


def at_random(clips, members, label, count, rng):
    return drawn(clips, members, rng)[:count]


def in_turns(count: int, sizes: list[int]) -> list[int]:
    """One to each group that has some left, again and again; the last ones to the largest."""
    parts = [0] * len(sizes)
    while count and any(p < s for p, s in zip(parts, sizes, strict=True)):
        hungry = [g for g in range(len(sizes)) if parts[g] < sizes[g]]
        for g in sorted(hungry, key=lambda g: (-sizes[g], g))[:count]:
            parts[g] += 1
            count -= 1
    return parts


def capped(clips, members, label, count, rng):
    order = drawn(clips, members, rng)
    groups: dict[str, list[int]] = {}
    for name in sorted({clips["generators"][n] for n in members}):
        groups[name] = [n for n in order if clips["generators"][n] == name]
    parts = in_turns(count, [len(g) for g in groups.values()])
    return [n for part, g in zip(parts, groups.values(), strict=True) for n in g[:part]]


def middle(clips, members, label, count, rng):
    ordered = sorted(members, key=lambda n: (abs(clips["margins"][n]), clips["ids"][n]))
    start = (len(members) - count) // 2
    return ordered[start : start + count]


def herded(clips, members, label, count, rng):
    """Algorithm 4 of iCaRL, as it is written."""
    rows = rows_of(clips, members)
    mean, chosen = mean_of(list(rows.values())), []
    for k in range(1, count + 1):
        rest = [n for n in members if n not in chosen]
        before = sum((rows[n] for n in chosen), np.zeros(len(mean)))
        chosen.append(min(rest, key=lambda n: (far(mean, (rows[n] + before) / k), clips["ids"][n])))
    return chosen


def naive_kmeans(rows: list[np.ndarray], k: int, rng, restarts: int) -> list[np.ndarray]:
    best, least = [], math.inf
    for _ in range(restarts):
        centres = [rows[rng.integers(len(rows))]]
        while len(centres) < k:
            gaps = [min(far(row, c) ** 2 for c in centres) for row in rows]
            target, total, place = rng.random() * sum(gaps), 0.0, -1
            for gap in gaps:
                total += gap
                place += 1
                if total > target:
                    break
            centres.append(rows[place])
        before = None
        while True:
            own = [min(range(k), key=lambda c, row=row: far(row, centres[c])) for row in rows]
            if own == before:
                break
            before = own
            centres = [mean_of([r for r, o in zip(rows, own, strict=True) if o == c]) for c in range(k)]
        inertia = sum(far(row, centres[o]) ** 2 for row, o in zip(rows, own, strict=True))
        if inertia < least * (1 - 1e-9):
            best, least = centres, inertia
    return best


def clustered(clips, members, label, count, rng, *, quota="equal"):
    rows = rows_of(clips, members)
    k = 1 if label == "bonafide" else len({clips["generators"][n] for n in members})
    if k == 1:
        centres = [mean_of(list(rows.values()))]
    else:
        by_id = sorted(members, key=lambda n: clips["ids"][n])
        centres = naive_kmeans([rows[n] for n in by_id], k, rng, restarts=10)
    own = {n: min(range(k), key=lambda c: far(rows[n], centres[c])) for n in members}
    groups = [[n for n in members if own[n] == c] for c in range(k)]
    sizes = [len(g) for g in groups]
    parts = in_turns(count, sizes) if quota == "equal" else share(count, sizes, "proportional")
    chosen = []
    for c, part in enumerate(parts):
        ordered = sorted(groups[c], key=lambda n: (far(rows[n], centres[c]), clips["ids"][n]))
        chosen += ordered[:part]
    return chosen


REFERENCES = {
    "nearest-mean": by_distance,
    "furthest": lambda *a: by_distance(*a, sign=-1),
    "random": at_random,
    "per-generator-cap": capped,
    "margin": middle,
    "herding": herded,
    "kmeans-nearest": clustered,
}


def test_there_is_a_reference_for_every_rule():
    assert set(REFERENCES) == set(RULES)
    assert len(RULES) == 7


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("rule", RULES)
def test_a_selection_is_the_reference_index_for_index(rule, seed):
    clips = toy(seed=seed)
    chosen = select(**clips, rule=rule, rate=0.3, gate=False, seed=seed)
    assert ids_of(clips, chosen) == reference(clips, rule, dict.fromkeys(CLASSES, 7), seed)
    unequal = select(**clips, rule=rule, rate=0.3, gate=False, balance=False, seed=seed)
    counts = {"bonafide": 7, "spoof": 18}
    assert ids_of(clips, unequal) == reference(clips, rule, counts, seed)


def test_proportional_clusters_are_the_reference_too():
    clips = toy(spoof=80)
    how = {"rule": "kmeans-nearest", "quota": "proportional"}
    chosen = select(**clips, **how, count=30, gate=False)
    counts = dict.fromkeys(CLASSES, 15)
    assert ids_of(clips, chosen) == reference(clips, "kmeans-nearest", counts, quota="proportional")
    equal = select(**clips, rule="kmeans-nearest", count=30, gate=False)
    assert sorted(ids_of(clips, equal)) != sorted(ids_of(clips, chosen))


def test_distance_rank_and_cluster_say_what_they_should():
    clips = toy()
    chosen = select(**clips, rule="nearest-mean", rate=0.2, gate=False)
    rows = clips["embeddings"].astype(np.float64)
    for place, distance in zip(chosen.places, chosen.distance, strict=True):
        own = [n for n, label in enumerate(clips["labels"]) if label == clips["labels"][place]]
        assert distance == pytest.approx(np.linalg.norm(rows[place] - rows[own].mean(0)), rel=1e-12)
    assert chosen.rank.tolist() == [1, 2, 3, 4, 5] * 2
    clustered = select(**clips, rule="kmeans-nearest", count=24, gate=False)
    assert clustered.cluster.tolist() == [0] * 12 + [0] * 4 + [1] * 4 + [2] * 4
    assert clustered.rank.tolist() == [*range(1, 13), *(1, 2, 3, 4) * 3]
    assert (np.diff(clustered.distance)[clustered.rank[1:] > 1] >= 0).all()
    assert np.isnan(select(**clips, rule="random", count=4).distance).all()
    margin = select(**clips, rule="margin", count=4, gate=False)
    assert margin.distance.tolist() == np.abs(clips["margins"])[margin.places].tolist()


def test_the_kmeans_step_keeps_a_rare_generator_that_nearest_mean_loses():
    clips = toy(bonafide=60, spoof=300)
    rare = {n for n, g in enumerate(clips["generators"]) if g == "A3"}
    assert not rare & set(select(**clips, rule="nearest-mean", count=60).places)
    assert rare & set(select(**clips, rule="kmeans-nearest", count=60).places)


# Ties, order, blocks, storage.


@pytest.mark.parametrize("rule", ["nearest-mean", "furthest", "margin", "herding"])
def test_ties_go_by_id_wherever_the_clips_stand(rule):
    ids = ["d", "b", "e", "a", "c"]
    rows = np.tile([[0.1, 0.7, -0.3]], (5, 1))
    chosen = select(rows, ["spoof"] * 5, ids, margins=[0.3] * 5, rule=rule, count=5)
    assert [ids[place] for place in chosen.places] == list("abcde")


@pytest.mark.parametrize("rule", RULES)
def test_the_order_of_the_clips_makes_no_difference(rule):
    clips = toy(seed=3)
    mixed = np.random.default_rng(9).permutation(len(clips["ids"]))
    other = {
        name: values[mixed] if isinstance(values, np.ndarray) else [values[n] for n in mixed]
        for name, values in clips.items()
    }
    assert ids_of(clips, select(**clips, rule=rule, rate=0.3)) == ids_of(
        other, select(**other, rule=rule, rate=0.3)
    )


@pytest.mark.parametrize("rule", RULES)
def test_the_same_bytes_whatever_the_blocks_and_wherever_the_array_lies(rule, monkeypatch, tmp_path):
    clips = toy(bonafide=200, spoof=400, width=33)
    first = as_bytes(select(**clips, rule=rule, rate=0.2))
    assert first == as_bytes(select(**clips, rule=rule, rate=0.2))
    for block in (1, 7, 64, 599, 10_000):
        monkeypatch.setattr(pool, "_BLOCK", block)
        assert as_bytes(select(**clips, rule=rule, rate=0.2)) == first, block
    np.save(tmp_path / "rows.npy", clips["embeddings"])
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    strided = np.zeros((600, 66), dtype=np.float32)[:, ::2]
    strided[:] = clips["embeddings"]
    for stored in (
        mapped, np.asarray(mapped), np.asfortranarray(mapped), strided, mapped.astype(np.float64)
    ):  # fmt: skip
        assert as_bytes(select(**{**clips, "embeddings": stored}, rule=rule, rate=0.2)) == first


@pytest.mark.parametrize("width", [1, 2, 3, 129])
def test_means_and_distances_of_any_width_do_not_depend_on_blocks(width, monkeypatch):
    rows = 1e3 + np.random.default_rng(0).normal(size=(300, width))

    def numbers() -> bytes:
        mine = Pool(rows, np.arange(300), np.arange(300), "spoof", np.zeros(300))
        return mine.mean().tobytes() + mine.distances(mine.mean()).tobytes()

    first = numbers()
    for block in (1, 2, 5, 300):
        monkeypatch.setattr(pool, "_BLOCK", block)
        assert numbers() == first


def test_clips_between_two_centres_go_to_the_first_in_any_block(monkeypatch):
    rng = np.random.default_rng(0)
    middle, apart = rng.normal(size=300), rng.normal(size=300)
    apart -= apart @ middle / (middle @ middle) * middle
    rows = np.tile(middle, (50, 1))
    centres = np.stack([apart, -apart])
    expected = [int(far(row, centres[0]) > far(row, centres[1])) for row in rows[:1]] * 50
    for block in (1, 3, 50):
        monkeypatch.setattr(pool, "_BLOCK", block)
        mine = Pool(rows, np.arange(50), np.arange(50), "spoof", np.zeros(50))
        assert len(set(mine.nearest(centres)[0].tolist())) == 1
        assert mine.nearest(centres)[0].tolist() in (expected, [0] * 50)


def test_a_common_offset_costs_no_accuracy():
    clips = toy(bonafide=40, spoof=90, seed=4)
    near = clips["embeddings"].astype(np.float64).round(2)
    for rule in ("nearest-mean", "kmeans-nearest", "herding"):
        here = select(**{**clips, "embeddings": near}, rule=rule, rate=0.2, gate=False)
        there = select(**{**clips, "embeddings": near + 2.0**20}, rule=rule, rate=0.2, gate=False)
        assert there.distance == pytest.approx(here.distance, abs=1e-6)
        assert here.places.tolist() == there.places.tolist(), rule


def test_the_nearest_centre_is_right_where_products_of_matrices_say_nothing():
    """Squares of 2^40 leave no digits for distances about 1, which differences still have."""
    rng = np.random.default_rng(0)
    rows, centres = rng.integers(-9, 9, (60, 3)) / 8, np.array([[0.1, 0.6, 0], [-0.7, 0, 0.3]])
    far_off = Pool(rows + 2.0**40, np.arange(60), np.arange(60), "spoof", np.zeros(60))
    moved = centres + 2.0**40
    cluster, distance = far_off.nearest(moved)
    gaps = np.array([[far(row, centre) for centre in moved] for row in far_off.embeddings])
    assert cluster.tolist() == gaps.argmin(1).tolist()
    assert 10 < cluster.sum() < 50
    assert distance == pytest.approx(gaps.min(1), rel=1e-12)


def test_half_precision_is_read_as_it_is():
    clips = toy()
    halves = clips["embeddings"].astype(np.float16)
    same = {**clips, "embeddings": halves.astype(np.float64)}
    for rule in ("nearest-mean", "kmeans-nearest"):
        assert as_bytes(select(**{**clips, "embeddings": halves}, rule=rule, count=20)) == as_bytes(
            select(**same, rule=rule, count=20)
        )


def test_rows_say_where_embeddings_are():
    clips = toy()
    scattered = np.full((300, 4), np.nan, dtype=np.float32)
    rows = np.random.default_rng(5).permutation(300)[: len(clips["ids"])]
    scattered[rows] = clips["embeddings"]
    for rule in ("nearest-mean", "kmeans-nearest", "herding"):
        plain = select(**clips, rule=rule, count=10)
        assert as_bytes(
            select(**{**clips, "embeddings": scattered}, rows=rows, rule=rule, count=10)
        ) == (as_bytes(plain))


def test_memory_does_not_grow_with_the_embeddings(tmp_path):
    """Of 64 MB on disk, some hundred kilobytes are in memory at a time, and 100 bytes or so a clip."""
    clips, width = 16_000, 1024
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).standard_normal((clips, width), np.float32))
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    labels, ids = ["spoof"] * clips, [f"{n:05}" for n in range(clips)]
    for rule, how in (("nearest-mean", {}), ("kmeans-nearest", {"clusters": 2, "sample": 500})):
        tracemalloc.start()
        select(mapped, labels, ids, rule=rule, count=10, **how)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 200 * clips + 6 * 500 * width * 8, (rule, peak)
    smaps = Path("/proc/self/smaps")
    if smaps.exists():
        held = smaps.read_text().split(str(tmp_path / "rows.npy"))[1].split("Rss:")[1].split()[0]
        assert int(held) < 4_000, f"{held} kB of the file are still counted as this process's memory"


# Quotas, gate, counts.


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=8),
    st.integers(0, 200),
    st.sampled_from(["equal", "proportional"]),
)
def test_shares_sum_exactly_and_are_never_more_than_there_are(sizes, count, quota):
    parts = share(count, sizes, quota)
    assert sum(parts) == min(count, sum(sizes))
    assert all(0 <= part <= size for part, size in zip(parts, sizes, strict=True))
    if quota == "equal":
        assert parts == in_turns(count, sizes)
    else:
        total = max(sum(sizes), 1)
        exact = [min(count, sum(sizes)) * size / total for size in sizes]
        assert all(abs(part - one) < 1 for part, one in zip(parts, exact, strict=True))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 30),
    st.integers(1, 30),
    st.sampled_from(RULES),
    st.one_of(st.floats(0.001, 1.0), st.just(1.0)),
    st.integers(0, 5),
)
def test_any_selection_has_the_counts_asked_for_and_no_clip_twice(bonafide, spoof, rule, rate, seed):
    clips = toy(bonafide, spoof, seed=seed)
    chosen = select(**clips, rule=rule, rate=rate, gate=False, balance=False, seed=seed)
    assert len(set(chosen.places.tolist())) == len(chosen)
    counts = Counter(clips["labels"][place] for place in chosen.places)
    exact = Decimal(repr(rate))  # as it is written; a product of floats may fall below a whole number
    assert counts == {
        "bonafide": max(1, math.floor(exact * bonafide)),
        "spoof": max(1, math.floor(exact * spoof)),
    }
    if rate == 1:
        assert sorted(chosen.places.tolist()) == list(range(bonafide + spoof))
    balanced = select(**clips, rule=rule, rate=rate, gate=False, seed=seed)
    least = min(counts.values())
    assert Counter(clips["labels"][p] for p in balanced.places) == dict.fromkeys(CLASSES, least)


def test_a_rate_is_the_number_that_was_written():
    assert class_counts([100], [100], rate=0.29, count=None, balance=True) == [29]  # floats: 28.999...
    assert class_counts([2580, 22800], [2580, 22800], rate=0.05, count=None, balance=True) == [129, 129]
    assert class_counts([3], [3], rate=0.01, count=None, balance=True) == [1]


def test_a_count_is_of_all_clips_or_as_many_as_there_are():
    clips = toy(bonafide=5, spoof=60)
    chosen = select(**clips, count=20, gate=False)
    assert Counter(clips["labels"][p] for p in chosen.places) == {"bonafide": 5, "spoof": 15}
    assert len(select(**clips, count=1000, gate=False)) == 65
    assert len(select(**clips, count=1, gate=False)) == 1


def test_the_gate_leaves_out_what_the_detector_gets_wrong():
    clips = toy()
    wrong = clips["margins"] <= 0
    assert 5 < wrong.sum() < 40
    for rule in RULES:
        chosen = select(**clips, rule=rule, rate=0.4)
        assert not wrong[chosen.places].any()
        assert chosen.passed.tolist() == (~wrong).tolist()
        assert select(**clips, rule=rule, rate=0.4, gate=False).passed.all()
    without = {**clips, "margins": None}
    assert select(**without, rule="nearest-mean", rate=0.4).passed.all()
    # The mean is that of the clips let through, as a selection of those alone shows.
    kept = np.flatnonzero(~wrong)
    alone = {n: [clips[n][k] for k in kept] for n in ("labels", "ids", "generators")}
    fewer = select(clips["embeddings"][kept], **alone, rule="nearest-mean", count=10)
    assert kept[fewer.places].tolist() == select(**clips, rule="nearest-mean", count=10).places.tolist()


def test_a_cap_holds_for_generators_and_not_for_bonafide():
    clips = toy(bonafide=30, spoof=90)
    chosen = select(**clips, rule="per-generator-cap", cap=6, rate=1.0, balance=False, gate=False)
    of = Counter(clips["generators"][p] for p in chosen.places)
    assert of == {"-": 30, "A1": 6, "A2": 6, "A3": min(6, clips["generators"].count("A3"))}


def test_candidates_bound_what_herding_reads():
    clips = toy(bonafide=1, spoof=200)
    mine = {**clips, "labels": ["spoof"] * 201}
    some = select(**mine, rule="herding", candidates=50, count=20)
    assert some.places.tolist() != select(**mine, rule="herding", count=20).places.tolist()
    assert as_bytes(select(**mine, rule="herding", candidates=201, count=20)) == as_bytes(
        select(**mine, rule="herding", count=20)
    )
    assert len(select(**mine, rule="herding", candidates=5, count=20)) == 20
    first = select(**mine, rule="herding", count=30).places[:20]
    assert first.tolist() == select(**mine, rule="herding", count=20).places.tolist()


def test_a_memory_chooses_some_of_a_class():
    """As a replay strategy would: features of one class, all in memory, and how many to keep."""
    features = np.random.default_rng(0).normal(size=(40, 8))
    chosen = select(features, ["7"] * 40, [f"{n:02}" for n in range(40)], rule="herding", count=6)
    running = np.cumsum(features[chosen.places], axis=0) / np.arange(1, 7)[:, None]
    gaps = np.linalg.norm(running - features.mean(0), axis=1)
    assert gaps[-1] < gaps[0] / 2


# K-means and silhouettes.


def inertia(rows, centres) -> float:
    return (np.linalg.norm(rows[:, None] - centres, axis=2).min(1) ** 2).sum()


def test_kmeans_ends_at_a_fixed_point_and_restarts_help():
    rows = np.random.default_rng(0).normal(size=(120, 3))
    better = 0
    for seed in range(10):
        one, many = (clusters.kmeans(rows, 4, np.random.default_rng(seed), restarts=n) for n in (1, 10))
        own = np.linalg.norm(rows[:, None] - many, axis=2).argmin(1)
        means = np.stack([rows[own == c].mean(0) for c in range(4)])
        assert many == pytest.approx(means, abs=1e-12)
        assert inertia(rows, many) <= inertia(rows, one) * (1 + 1e-9)
        better += inertia(rows, many) < inertia(rows, one) * (1 - 1e-6)
    assert better > 3


def test_kmeans_of_many_rows_goes_on_from_a_draft(monkeypatch):
    rng = np.random.default_rng(0)
    rows = np.repeat([[0.0, 0], [9, 0], [0, 9]], 200, axis=0) + rng.normal(size=(600, 2))
    whole = clusters.kmeans(rows, 3, np.random.default_rng(1))
    monkeypatch.setattr(clusters, "_DRAFT", 60)
    drafted = clusters.kmeans(rows, 3, np.random.default_rng(1))
    assert np.sort(drafted, axis=0) == pytest.approx(np.sort(whole, axis=0), abs=1e-9)


def test_kmeans_of_equal_rows_has_fewer_centres():
    rows = np.repeat([[1.0], [4.0]], 5, axis=0)
    assert sorted(clusters.kmeans(rows, 4, np.random.default_rng(0)).ravel()) == [1.0, 4.0]
    assert len(clusters.kmeans(np.ones((6, 2)), 3, np.random.default_rng(0))) == 1


def test_an_empty_cluster_starts_from_the_row_furthest_off():
    rows = np.array([[0.0], [1.0], [2.0], [30.0]])
    nearest, gaps = np.zeros(4, dtype=int), np.array([1.0, 0.0, 1.0, 841.0])
    assert clusters._means(rows, nearest, gaps, 2).tolist() == [[8.25], [30.0]]


def test_silhouettes_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.normal(size=(4, 3)) * 4, 20, axis=0) + rng.normal(size=(80, 3))
    gaps = np.linalg.norm(rows[:, None] - rows, axis=2)
    for cluster in (np.arange(80) // 20, np.arange(80) % 7, np.r_[0, 1, np.full(78, 2)]):
        expected = silhouette_score(rows, cluster)
        assert clusters.silhouette(gaps, cluster) == pytest.approx(expected, abs=1e-12)
    assert clusters.silhouette(gaps, np.zeros(80, dtype=int)) == -1


def test_the_number_of_clusters_is_the_generators_or_the_best_silhouette():
    rng = np.random.default_rng(0)
    rows = np.repeat(20 * np.eye(5), 30, axis=0) + rng.normal(size=(150, 5))
    ids = [f"{n:03}" for n in range(150)]

    def k_of(label="spoof", generators=None, **how) -> int:
        chosen = select(
            rows, [label] * 150, ids, generators=generators, rule="kmeans-nearest", rate=1.0, **how
        )
        return len(set(chosen.cluster.tolist()))

    two = ["A", "B"] * 75
    assert k_of(generators=two) == 2
    assert k_of(generators=two, clusters="silhouette") == 5
    assert k_of() == 5
    assert k_of(clusters=3) == 3
    assert k_of("bonafide") == k_of("bonafide", clusters="silhouette") == 1
    assert k_of(generators=["A", "B", "-"] * 50) == 3


@pytest.mark.parametrize("clips", [1, 2, 3])
def test_silhouettes_of_a_few_clips(clips):
    ids = list("abc")[:clips]
    chosen = select(np.eye(3)[:clips], ["spoof"] * clips, ids, rule="kmeans-nearest", rate=1.0)
    assert sorted(chosen.places.tolist()) == list(range(clips))


# What is refused.


def refused(match: str, error=ProtocolError, **changed):
    clips = {**toy(), "rule": "nearest-mean", "count": 4, **changed}
    with pytest.raises(error, match=match):
        select(**clips)


def test_wrong_settings_are_refused():
    refused(r"did you mean 'nearest-mean'", SettingsError, rule="nearest-means")
    refused(r"no setting 'clusters'", SettingsError, clusters=3)
    refused(r"a rate or a count", SettingsError, rate=0.1)
    refused(r"a rate or a count", SettingsError, count=None)
    refused(r"rate is 1\.5", SettingsError, count=None, rate=1.5)
    refused(r"rate is 0", SettingsError, count=None, rate=0.0)
    refused(r"count is 0", SettingsError, count=0)
    refused(r"needs the detector's margins", SettingsError, rule="margin", margins=None)
    refused(r"clusters is 0", SettingsError, rule="kmeans-nearest", clusters=0)
    refused(r"cap is 0", SettingsError, rule="per-generator-cap", cap=0)
    refused(r"candidates is 0", SettingsError, rule="herding", candidates=0)
    refused(r"quota is 'even'", SettingsError, rule="kmeans-nearest", quota="even")
    built = SELECTORS.build("random")
    refused(r"built already.*cap", SettingsError, rule=built, cap=3)


def test_wrong_input_is_refused():
    clips = toy()
    refused(r"85 ids, but 84 labels", labels=clips["labels"][1:])
    refused(r"85 ids, but 84 embeddings", embeddings=clips["embeddings"][1:])
    refused(r"85 ids, but 2 generators", generators=["A", "B"])
    refused(r"85 ids, but 1 margins", margins=[1.0])
    refused(r"1 id\(s\) stand there twice", ids=[clips["ids"][1], *clips["ids"][1:]])
    refused(r"found int64 of \(85, 4\)", embeddings=clips["embeddings"].astype(int))
    refused(r"found float32 of \(4,\)", embeddings=clips["embeddings"][0])
    refused(r"margins are NaN", margins=np.full(85, np.nan))
    refused(r"none of the 25 clip\(s\) of 'bonafide' right", margins=np.full(85, -1.0))
    refused(r"clip 3 is said to have row 99 of 85", rows=[0, 1, 2, 99, *range(4, 85)])
    refused(r"no clips", embeddings=np.empty((0, 4)), labels=[], ids=[], generators=[], margins=[])


@pytest.mark.parametrize("rule", ["nearest-mean", "furthest", "herding", "kmeans-nearest"])
def test_numbers_that_are_not_finite_are_named(rule):
    spoilt = toy()["embeddings"].copy()
    spoilt[70, 2] = np.nan
    refused(r"row 70 of the embeddings has NaN", embeddings=spoilt, rule=rule, margins=None)
    spoilt = toy()["embeddings"].astype(np.float64)
    for huge in (1e200, -1e200, -np.inf):
        spoilt[3] = huge
        refused(r"row 3 of the embeddings", embeddings=spoilt, rule=rule, margins=None)


def test_a_rule_of_ones_own_needs_no_entry():
    class Last(Selector):
        """By id, from behind."""

        def choose(self, pool, count, rng):
            return Chosen.of(np.argsort(-pool.order)[:count])

    clips = toy()
    chosen = select(**clips, rule=Last(), count=2, gate=False)
    of = {label: max(i for i, one in zip(clips["ids"], clips["labels"], strict=True) if one == label)
          for label in CLASSES}  # fmt: skip
    assert ids_of(clips, chosen) == list(of.values())
    assert chosen.rule == {"name": "Last"}


# Coverage.


def test_coverage_counts_before_gate_and_after():
    clips = toy()
    chosen = select(**clips, rule="nearest-mean", rate=0.2)
    lines = coverage(chosen, clips["labels"], clips["generators"], corpus="x")
    assert [line.generator for line in lines] == ["A1", "A2", "A3", "bonafide"]
    assert sum(line.before for line in lines) == len(clips["ids"])
    assert sum(line.passed for line in lines) == (clips["margins"] > 0).sum()
    assert sum(line.selected for line in lines) == len(chosen)
    for line in lines[:3]:
        own = [n for n, g in enumerate(clips["generators"]) if g == line.generator]
        assert line.before == len(own)
        assert line.selected == len(set(own) & set(chosen.places.tolist()))


def test_a_generator_is_lost_when_no_line_of_its_corpus_has_it():
    lines = [
        Coverage("la", "A1", 9, 9, 0),
        Coverage("df", "A1", 9, 9, 3),
        Coverage("la", "A1", 9, 4, 0),
    ]
    assert lost(lines) == [("la", "A1", 9)]
    assert lost([*lines, Coverage("la", "A1", 9, 9, 1)]) == []


# Folders.


def write_folder(folder: Path, clips: dict, *, detector: str | None = "d" * 64, split="train") -> Path:
    trials = [
        Trial(i, "", label, attack, split=split)
        for i, label, attack in zip(clips["ids"], clips["labels"], clips["generators"], strict=True)
    ]
    vectors.write(folder, clips["embeddings"], trials)
    if detector:
        (folder / "embedding.json").write_text(json.dumps({"detector": detector, "card": {}}))
    return folder


def write_audio(folder: Path, clips: dict, *, kind="wav", name="corpus.tsv") -> Path:
    """A recording for each clip; clip n of any folder sounds the same."""
    trials = []
    for n, id_ in enumerate(clips["ids"]):
        wave = 0.1 * np.random.default_rng(n).normal(size=4000).clip(-5, 5)
        audio.write(folder / f"{id_}.{kind}", wave)
        label, attack = clips["labels"][n], clips["generators"][n]
        trials.append(Trial(id_, f"{id_}.{kind}", label, attack, split="train", tags={"text": "hm"}))
    Manifest("corpus", trials, root=folder).write(folder / name)
    return folder / name


def table_of(path: Path) -> list[dict[str, str]]:
    header, *lines = path.read_text().splitlines()
    return [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]


def test_the_verb_selects_what_the_function_does(tmp_path, capsys):
    clips = toy(12, 30)
    folder, audio_of = write_folder(tmp_path / "vec", clips), write_audio(tmp_path, clips)
    out = tmp_path / "chosen.tsv"
    how = {"rule": "kmeans-nearest", "rate": 0.25, "quota": "proportional", "seed": 3}
    select_verb([folder], out, **how, manifests=[audio_of], settings=["restarts=2"])
    told = capsys.readouterr()
    chosen = select(**{**clips, "margins": None}, **how, restarts=2)
    written = table_of(out)
    assert [line["id"] for line in written] == ids_of(clips, chosen)
    assert [int(line["cluster"]) for line in written] == chosen.cluster.tolist()
    assert [float(line["distance"]) for line in written] == chosen.distance.tolist()
    assert [int(line["rank"]) for line in written] == chosen.rank.tolist()
    for line, place in zip(written, chosen.places, strict=True):
        assert (line["class"], line["generator"]) == (line["label"], line["attack"])
        assert line["generator"] == clips["generators"][place]
        assert line["corpus"] == "corpus"
        assert (line["rule"], line["rate"], line["seed"]) == ("kmeans-nearest", "0.25", "3")
        assert line["detector"] == "d" * 64
        assert line["embedding"] == digest(folder / "vectors.npy")
        assert (line["text"], line["split"]) == ("hm", "train")
        assert Path(line["path"]) == tmp_path / f"{line['id']}.wav"
        assert line["audio"] == content(Trial("x", line["path"], "spoof"))
        assert "row" not in line
    assert "A1" in told.out
    assert "selected 6 recording(s)" in told.out
    beside = json.loads((tmp_path / "chosen.tsv.json").read_text())
    assert beside["rule"] == {"name": "kmeans-nearest", "clusters": "generators",
                              "quota": "proportional", "restarts": 2, "sample": 20_000}  # fmt: skip
    assert sum(line["selected"] for line in beside["coverage"]) == len(written)
    before = out.read_bytes()
    select_verb([folder], out, **how, manifests=[audio_of], settings=["restarts=2"])
    assert out.read_bytes() == before


def test_what_two_detectors_select_stands_there_once(tmp_path, capsys):
    clips = toy(12, 30)
    other = {**clips, "embeddings": clips["embeddings"][:, ::-1] * 2 + 1}
    one = write_folder(tmp_path / "one", clips)
    two = write_folder(tmp_path / "two", other, detector="e" * 64)
    audio_of = write_audio(tmp_path, clips)
    out = tmp_path / "chosen.tsv"
    select_verb([one, two], out, rule="nearest-mean", rate=0.5, manifests=[audio_of])
    written = table_of(out)
    chosen = [set(ids_of(clips, select(**{**c, "margins": None}, rule="nearest-mean", rate=0.5)))
              for c in (clips, other)]  # fmt: skip
    assert {line["id"] for line in written} == chosen[0] | chosen[1]
    assert len(written) == len(chosen[0] | chosen[1])
    for line in written:
        by = [d * 64 for d, ids in zip("de", chosen, strict=True) if line["id"] in ids]
        assert line["detector"].split(";") == by
        assert len(line["distance"].split(";")) == len(line["rank"].split(";")) == len(by)
    again = len(chosen[0] & chosen[1])
    assert again
    assert f"{again} selection(s) were of one that was there already" in capsys.readouterr().out


def test_the_same_recording_in_two_corpora_counts_once_and_ids_that_clash_get_a_corpus(tmp_path):
    clips = toy(6, 6)
    a, b = tmp_path / "a", tmp_path / "b"
    first = write_folder(a / "vec", clips)
    one = write_audio(a, clips, name="manifest.tsv")
    moved = {**clips, "ids": [*clips["ids"][:3], *(f"z{n}" for n in range(9))]}
    second = write_folder(b / "vec", moved)
    two = write_audio(b, moved, kind="flac", name="manifest.tsv")
    for n in range(3):  # the same ids as in the other corpus, for other recordings
        audio.write(b / f"{moved['ids'][n]}.flac", np.random.default_rng(99 + n).uniform(-1, 1, 4000))
    out = tmp_path / "chosen.tsv"
    select_verb([first, second], out, rule="random", rate=1.0, balance=False, manifests=[one, two])
    written = {line["id"]: line for line in table_of(out)}
    assert len(written) == 12 + 3
    for id_ in clips["ids"][:3]:
        assert written[f"a/{id_}"]["corpus"] == "a"
        assert written[f"b/{id_}"]["path"].endswith(".flac")
    for id_ in clips["ids"][3:]:
        assert written[id_]["corpus"] == "a;b"
        assert written[id_]["path"].endswith(".wav")


def test_one_recording_with_two_labels_is_refused(tmp_path):
    clips = toy(4, 4)
    audio_of = write_audio(tmp_path, clips)
    spoof, real = clips["labels"].index("spoof"), clips["labels"].index("bonafide")
    twin = (tmp_path / f"{clips['ids'][spoof]}.wav").read_bytes()
    (tmp_path / f"{clips['ids'][real]}.wav").write_bytes(twin)
    folder = write_folder(tmp_path / "vec", clips)
    with pytest.raises(ProtocolError, match=r"same recording; which of the labels is right"):
        select_verb([folder], tmp_path / "o.tsv", rate=1.0, manifests=[audio_of])
    assert not (tmp_path / "o.tsv").exists()


def test_a_recording_that_cannot_be_used_is_refused(tmp_path):
    clips = toy(4, 4)
    audio_of = write_audio(tmp_path, clips)
    (tmp_path / f"{clips['ids'][2]}.wav").write_bytes(b"nothing")
    folder = write_folder(tmp_path / "vec", clips)
    with pytest.raises(AudioError, match=clips["ids"][2]):
        select_verb([folder], tmp_path / "o.tsv", rate=1.0, manifests=[audio_of])


def test_vectors_without_audio_make_a_manifest_of_vectors(tmp_path):
    clips = toy(10, 20)
    clips["embeddings"][clips["labels"].index("spoof")] = clips["embeddings"][-1]
    clips["labels"][-1] = "spoof"
    folder = write_folder(tmp_path / "vec", clips, detector=None, split="-")
    out = tmp_path / "chosen.tsv"
    select_verb([folder], out, rule="random", rate=1.0, balance=False)
    made = Manifest.read(out)
    assert len(made) == 29  # two of the 30 have the same numbers
    rows = vectors.load_vectors(made)
    for trial, row in zip(made, rows, strict=True):
        assert (row == clips["embeddings"][clips["ids"].index(trial.id)]).all()
        assert set(trial.tags["detector"].split(";")) == {"-"}


def test_a_generator_that_disappears_is_warned_of(tmp_path, capsys):
    clips = toy(12, 60)
    folder = write_folder(tmp_path / "vec", clips)
    out = tmp_path / "chosen.tsv"
    select_verb([folder], out, rule="nearest-mean", count=6)
    kept = {line["generator"] for line in table_of(out)}
    rare = clips["generators"].count("A3")
    assert "A3" not in kept
    told = capsys.readouterr()
    assert f"warning: vec: none of the {rare} clip(s) of A3 is selected" in told.err
    select_verb([folder], out, rule="per-generator-cap", count=12)
    assert "warning" not in capsys.readouterr().err


def test_scores_are_the_gate(tmp_path, capsys):
    clips = toy(12, 30)
    side = np.where(np.array(clips["labels"]) == "bonafide", 1, -1)
    folder = write_folder(tmp_path / "vec", clips)
    file = tmp_path / "scores.csv"
    Scores(clips["ids"][::-1], (side * clips["margins"] + 0.5)[::-1], clips["labels"][::-1]).write(file)
    out = tmp_path / "chosen.tsv"
    select_verb([folder], out, rule="margin", rate=0.3, scores=[file], threshold=0.5)
    assert [line["id"] for line in table_of(out)] == ids_of(
        clips, select(**clips, rule="margin", rate=0.3)
    )
    select_verb([folder], out, rule="margin", rate=0.3, scores=[file], threshold=0.5, gate=False)
    assert [line["id"] for line in table_of(out)] == ids_of(
        clips, select(**clips, rule="margin", rate=0.3, gate=False)
    )
    beside = json.loads((tmp_path / "chosen.tsv.json").read_text())
    assert beside["sources"][0]["scores"] == digest(file)
    assert (beside["threshold"], beside["gate"], beside["rate"]) == (0.5, False, 0.3)
    Scores(clips["ids"][1:], clips["margins"][1:]).write(file)
    with pytest.raises(ProtocolError, match=r"1 without a score"):
        select_verb([folder], out, rule="margin", rate=0.3, scores=[file])


def test_only_the_split_that_is_learned_from_is_selected_from(tmp_path):
    clips = toy(20, 20)
    trials = [
        Trial(i, "", label, split=("train", "dev", "test")[n % 3])
        for n, (i, label) in enumerate(zip(clips["ids"], clips["labels"], strict=True))
    ]
    vectors.write(tmp_path / "vec", clips["embeddings"], trials)
    out = tmp_path / "chosen.tsv"
    select_verb([tmp_path / "vec"], out, rule="random", rate=1.0, balance=False)
    assert {line["id"] for line in table_of(out)} == {clips["ids"][n] for n in range(0, 40, 3)}
    select_verb([tmp_path / "vec"], out, rule="random", count=4, keep=["dev", "test"])
    written = table_of(out)
    assert Counter(line["split"] for line in written) == {"train": 4, "dev": 13, "test": 13}
    assert {line["rule"] for line in written if line["split"] != "train"} == {"-"}
    with pytest.raises(SettingsError, match=r"no split 'tran'; did you mean 'train'.*--split"):
        select_verb([tmp_path / "vec"], out, count=4, split="tran")
    with pytest.raises(SettingsError, match=r"no split 'tets'; did you mean 'test'"):
        select_verb([tmp_path / "vec"], out, count=4, keep=["tets"])
    with pytest.raises(SettingsError, match=r"--keep train"):
        select_verb([tmp_path / "vec"], out, count=4, keep=["train"])


def test_what_does_not_fit_together_is_refused(tmp_path):
    clips = toy(8, 8)
    one = write_folder(tmp_path / "one", clips)
    two = write_folder(tmp_path / "two", clips, detector="e" * 64)
    out = tmp_path / "o.tsv"
    with pytest.raises(SettingsError, match=r"different detectors.*--manifest"):
        select_verb([one, two], out, count=4)
    with pytest.raises(SettingsError, match=r"--scores is given 1 time\(s\) for 2 folder"):
        select_verb([one, two], out, count=4, scores=[tmp_path / "s.csv"])
    with pytest.raises(SettingsError, match=r"is an input"):
        select_verb([one], one / "manifest.tsv", count=4)
    with pytest.raises(SettingsError, match=r"no setting 'quota'"):
        select_verb([one], out, rule="random", count=4, quota="equal")
    with pytest.raises(SettingsError, match=r"expected setting=value"):
        select_verb([one], out, count=4, settings=["cap"])
    other = write_audio(tmp_path, {**clips, "labels": clips["labels"][::-1]})
    with pytest.raises(ProtocolError, match=r"isn't what .*one was embedded from: \d+ clip"):
        select_verb([one], out, count=4, manifests=[other])


def test_wrong_folders_are_refused(tmp_path):
    clips = toy(8, 8)
    folder = write_folder(tmp_path / "vec", clips)
    with pytest.raises(ProtocolError, match=r"manifest\.tsv: no such file"):
        read_source(tmp_path)
    np.save(folder / "vectors.npy", clips["embeddings"][1:])
    with pytest.raises(ProtocolError, match=r"shape \(15, 4\), but manifest\.tsv has 16"):
        read_source(folder)
    (folder / "vectors.npy").write_bytes(b"nothing")
    with pytest.raises(ProtocolError, match=r"not an array that numpy can open"):
        read_source(folder)
    (folder / "vectors.npy").unlink()
    with pytest.raises(ProtocolError, match=r"earwitness embed"):
        read_source(folder)
    folder = write_folder(tmp_path / "vec", clips)
    (folder / "embedding.json").write_text("[]")
    with pytest.raises(ProtocolError, match=r"not what `earwitness embed` writes"):
        read_source(folder)
    folder = write_folder(tmp_path / "vec", clips)
    text = (folder / "manifest.tsv").read_text()
    (folder / "manifest.tsv").write_text(text.replace("\t15\n", "\t14\n"))
    with pytest.raises(ProtocolError, match=r"column row"):
        read_source(folder)
    (folder / "manifest.tsv").write_text(text.replace("bonafide", "unknown", 1))
    with pytest.raises(ProtocolError, match=r"1 of 16 clip\(s\) are labelled unknown"):
        read_source(folder)


def test_listings_say_what_is_wrong_with_them(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("path,label,split\nx/a.wav,real,-\nb.wav,fake,-\n")
    listing = read_listing(path)
    assert listing.column("id") == ["a", "b"]
    assert listing.column("attack") == ["-", "-"]
    assert listing.trials([1]) == [Trial("b", str(tmp_path / "b.wav"), "spoof", split="-")]
    path.write_text("id,label\na,1\n")
    with pytest.raises(ProtocolError, match=r"label '1' is not known"):
        read_listing(path)
    path.write_text("id,label\na,real\na,fake\n")
    with pytest.raises(ProtocolError, match=r"the id 'a' stands there more than once"):
        read_listing(path)
    path.write_text("a,real\nb,fake\n")
    with pytest.raises(ProtocolError, match=r"expected a header"):
        read_listing(path)


# From recordings to a detector that learned from what was selected.


@pytest.mark.slow
def test_embed_select_run(toy_manifest, tmp_path):
    """Two detectors embed a corpus, the union of what they select is learned from by `run`."""
    for seed in (0, 1):
        detector = Detector.build("logmel", "mlp", seed=seed, windows=Windows(0.5, 0.5))
        embed(detector, toy_manifest, tmp_path / f"vec{seed}")
        score(detector, toy_manifest).write(tmp_path / f"s{seed}.csv")
    command = [
        *("select", "vec0", "vec1", "-m", toy_manifest.root / "manifest.tsv", "-o", "chosen.tsv"),
        *("--scores", "s0.csv", "--scores", "s1.csv", "--no-gate", "--rule", "kmeans-nearest"),
        *("--set", "clusters=2", "--rate", "0.25", "--keep", "dev", "--keep", "test"),
    ]
    told = earwitness(*command, cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert "buzz" in told.stdout
    parts = manifest_reader.read(tmp_path / "chosen.tsv")
    assert 16 <= len(parts["train"]) <= 32
    assert (len(parts["dev"]), len(parts["test"])) == (32, 32)
    whole = Manifest.read(tmp_path / "chosen.tsv").require_files()
    assert [task.name for task in Stream.by(whole, "all")] == ["all"]
    (tmp_path / "e.toml").write_text(
        'stream = { root = "chosen.tsv", by = "all" }\n'
        'detector = { front_end = { name = "logmel", bands = 8 }, back_end = { name = "linear" } }\n'
        "training = { epochs = 1, seconds = 0.5 }\n"
        "strategies = { naive = {} }\n"
    )
    ran = earwitness("run", "e.toml", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "runs/e/naive/seed-0/detector").is_dir()


def earwitness(*words: object, cwd: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "earwitness", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


def test_the_verb_needs_no_torch(tmp_path):
    write_folder(tmp_path / "vec", toy(8, 8))
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['safetensors'] = None\n"
        "sys.argv = ['earwitness', 'select', 'vec', '-o', 'o.tsv', '--count', '6']\n"
        "from earwitness.cli import main; main()"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert len(table_of(tmp_path / "o.tsv")) == 6
    told = earwitness("select", "vec", "-o", "o.tsv", cwd=tmp_path)
    assert told.returncode == 2
    assert "a rate or a count" in told.stderr


def test_reference_itself_can_fail():
    """What the reference gives depends on rule and seed; else agreement with it would be empty."""
    clips = toy()
    counts = dict.fromkeys(CLASSES, 7)
    found = {rule: tuple(sorted(reference(clips, rule, counts))) for rule in RULES}
    assert len(set(found.values())) == len(RULES)
    assert all(a != b for a, b in pairwise(reference(clips, "random", counts, s) for s in range(3)))
