"""Streams of other things than audio: readers on trees made here, safe tensors, images, vectors."""

import io
import json
import os
import pickle
import sys
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from earwitness import contracts, corpora
from earwitness.batches import Clips, load_rows, random_for
from earwitness.corpora import clear, digits, drifting, evda, images, vectors
from earwitness.corpora._kept import Kept
from earwitness.corpora._pth import read_pth
from earwitness.corpora._trees import natural, set_apart
from earwitness.detector import Detector
from earwitness.errors import MissingExtra, ProtocolError, SettingsError
from earwitness.evaluation import matrix
from earwitness.experiment import Experiment
from earwitness.frontends.pixels import Pixels
from earwitness.running import run
from earwitness.scores import ClassScores, read_scores
from earwitness.scoring import score
from earwitness.strategies.grouping import PRESETS
from earwitness.strategies.naive import Naive
from earwitness.streams import Stream
from earwitness.training import Training, learn
from earwitness.trials import Manifest, Trial, join_manifests

RNG = np.random.default_rng(11)


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def stream_of(splits: dict[str, Manifest]) -> Stream:
    return Stream.by(join_manifests("stream", splits.values()))


# Tensors, read without torch.

TENSORS = [
    torch.arange(12, dtype=torch.float32).reshape(3, 4),
    torch.randn(5, generator=torch.Generator().manual_seed(0)).half(),
    torch.randn(2, 3, dtype=torch.float64),
    torch.arange(24, dtype=torch.float32).reshape(6, 4).t(),
    torch.arange(24, dtype=torch.float32).reshape(6, 4)[1::2, 1:3],
    torch.randn(1, 7, requires_grad=True),
    torch.zeros(0, 3),
    torch.tensor(2.5),
    torch.arange(4),
]


@pytest.mark.parametrize("tensor", TENSORS, ids=lambda t: f"{t.dtype} {tuple(t.shape)} {t.stride()}")
def test_a_saved_tensor_comes_back_with_all_bits(tensor, tmp_path):
    torch.save(tensor, tmp_path / "x.pth")
    found, expected = read_pth(tmp_path / "x.pth"), tensor.detach().numpy()
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == np.ascontiguousarray(expected).tobytes()


def test_tensors_in_tuples_and_dicts_and_of_another_byte_order(tmp_path):
    path = tmp_path / "x.pth"
    torch.save((TENSORS[0], ["bus", "cat", 3]), path)
    held, names = read_pth(path)
    assert names == ["bus", "cat", 3]
    assert np.array_equal(held, TENSORS[0].numpy())
    torch.save({"a": TENSORS[3]}, path)
    assert np.array_equal(read_pth(path)["a"], TENSORS[3].numpy())
    torch.save(TENSORS[2], path)
    big = entries(path)
    big["x/byteorder"] = b"big"
    big["x/data/0"] = np.frombuffer(big["x/data/0"], "<f8").astype(">f8").tobytes()
    write_archive(path, big)
    assert np.array_equal(read_pth(path), TENSORS[2].numpy())
    assert read_pth(path).dtype.isnative


def entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_archive(path: Path, content: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, raw in content.items():
            archive.writestr(name, raw)
    return path


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "hostile",
    [
        lambda marker: Calls(os.mkdir, marker),
        lambda marker: {"weights": [1.0, Calls(os.mkdir, marker)]},
        lambda marker: Calls(eval, f"__import__('os').mkdir({marker!r})"),
        lambda marker: Calls(exec, f"import os; os.mkdir({marker!r})"),
    ],
)
def test_a_pickle_that_calls_is_refused_before_it_does(hostile, tmp_path):
    marker = str(tmp_path / "was-here")
    content = pickle.dumps(hostile(marker))
    path = write_archive(tmp_path / "x.pth", {"x/data.pkl": content, "x/version": b"3"})
    with pytest.raises(ProtocolError, match="is not part of a plain tensor"):
        read_pth(path)
    assert not os.path.exists(marker)
    pickle.loads(content)  # the same bytes do act where nothing stops them
    assert os.path.exists(marker)


def rebuilding(offset=0, size=(2, 2), stride=(2, 1), numbers=4, storage="FloatStorage") -> bytes:
    """The pickle that torch writes for a tensor, with the numbers as wished."""
    words = io.BytesIO()

    class Writer(pickle.Pickler):
        def persistent_id(self, thing):
            return thing.reference if isinstance(thing, Stored) else None

    class Stored:
        reference = ("storage", getattr(torch, storage), "0", "cpu", numbers)

    rebuild = torch._utils._rebuild_tensor_v2
    Writer(words, 2).dump(Calls(rebuild, Stored(), offset, size, stride, False, {}))
    return words.getvalue()


FOUR = np.arange(4, dtype=np.float32).tobytes()


def test_the_hand_made_archive_is_a_tensor(tmp_path):
    path = write_archive(tmp_path / "x.pth", {"x/data.pkl": rebuilding(), "x/data/0": FOUR})
    assert read_pth(path).tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"offset": 1}, "does not lie inside its storage of 4"),
        ({"size": (2, 3)}, "does not lie inside"),
        ({"size": (1000, 1000), "stride": (0, 0)}, "does not lie inside"),
        ({"stride": (-2, 1)}, "does not lie inside"),
        ({"offset": -2, "size": (1, 1)}, "does not lie inside"),
        ({"size": (2.0, 2)}, "does not lie inside"),
        ({"size": (2,)}, "damaged"),
        ({"numbers": 5}, "storage 0 has 4 numbers, expected 5"),
        ({"storage": "BFloat16Storage"}, "torch.BFloat16Storage is not part of a plain tensor"),
    ],
)
def test_a_tensor_that_reaches_out_of_its_storage_is_refused(wrong, reason, tmp_path):
    content = {"x/data.pkl": rebuilding(**wrong), "x/data/0": FOUR}
    with pytest.raises(ProtocolError, match=reason):
        read_pth(write_archive(tmp_path / "x.pth", content))


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "x.pth"
    with pytest.raises(ProtocolError, match="no such file"):
        read_pth(path)
    torch.save(torch.ones(3), path, _use_new_zipfile_serialization=False)
    with pytest.raises(ProtocolError, match=r"not a zip archive.*torch 1\.6"):
        read_pth(path)
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(ProtocolError, match=r"torch\.nn\.modules\.linear\.Linear is not part"):
        read_pth(path)
    whole = {"x/data.pkl": rebuilding(), "x/data/0": FOUR}
    with pytest.raises(ProtocolError, match="is compressed"):
        read_pth(write_archive(path, whole, zipfile.ZIP_DEFLATED))
    with pytest.raises(ProtocolError, match="2 entries called data.pkl"):
        read_pth(write_archive(path, {**whole, "y/data.pkl": b""}))
    with pytest.raises(ProtocolError, match="damaged"):
        read_pth(write_archive(path, {"x/data.pkl": rebuilding()}))
    with pytest.raises(ProtocolError, match="damaged"):
        read_pth(write_archive(path, {**whole, "x/data.pkl": rebuilding()[:-9]}))


# Vectors of any classes, and a file for each trial.

ANIMALS = ("hen", "cow", "cat")


def test_vectors_of_other_classes_are_written_and_read_again(tmp_path):
    rows = RNG.standard_normal((4, 3))
    trials = [
        Trial(
            f"t{n}", "elsewhere.png", ANIMALS[n % 3], domain="ab"[n % 2], split="train", tags={"k": "v"}
        )
        for n in range(4)
    ]
    made = vectors.write(tmp_path, rows, trials, classes=ANIMALS)
    again = corpora.read("vectors", tmp_path, classes=list(ANIMALS))["train"]
    assert again.fingerprint() == made.fingerprint()
    assert (again.classes, again.trials[2].tags) == (ANIMALS, {"k": "v", "row": "2"})
    assert np.array_equal(vectors.load_vectors(again), rows.astype(np.float32))
    backwards = Manifest("b", again.trials[::-1], root=tmp_path, classes=ANIMALS)
    assert np.array_equal(vectors.load_vectors(backwards), rows[::-1].astype(np.float32))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["manifest.tsv", "vectors.npy"]


def test_labels_of_other_classes_match_exactly(tmp_path):
    vectors.write(tmp_path, [[1.0]], [Trial("a", "", "real")], classes=("real", "hen"))
    assert corpora.read("vectors", tmp_path)["all"].counts() == {"bonafide": 1}
    kept = corpora.read("vectors", tmp_path, classes=("real", "hen"))["all"]
    assert kept.counts() == {"real": 1}
    with pytest.raises(ProtocolError, match=r"'real' is not known; did you mean 'Real'.*Real, hen"):
        corpora.read("vectors", tmp_path, classes=("Real", "hen"))


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([1.0, 2.0], r"shape \(2,\) for 2 trial"),
        ([[1.0]], r"shape \(1, 1\) for 2 trial"),
        ([[1.0], [np.nan]], "NaN or infinite"),
        ([[1.0], [1e300]], "NaN or infinite"),
    ],
)
def test_vectors_that_fit_no_trials_are_not_written(rows, reason, tmp_path):
    trials = [Trial("a", "", "bonafide"), Trial("b", "", "spoof")]
    with pytest.raises(ProtocolError, match=reason):
        vectors.write(tmp_path / "new", rows, trials)
    assert not (tmp_path / "new").exists()


@pytest.fixture
def separate(tmp_path) -> Manifest:
    """Four trials with files of their own: a vector, one frame, several, and a tensor of torch."""
    np.save(tmp_path / "flat.npy", np.arange(3, dtype=np.float16))
    np.save(tmp_path / "one.npy", np.full((1, 3), 5.0))
    np.save(tmp_path / "many.npy", RNG.standard_normal((50, 3)).astype(np.float32))
    torch.save(torch.tensor([[7.0, 8.0, 9.0]]), tmp_path / "torch.pth")
    names = ("flat.npy", "one.npy", "many.npy", "torch.pth")
    return Manifest("separate", [Trial(n, n, "spoof") for n in names], root=tmp_path)


def test_a_file_of_its_own_is_a_trials_vector_or_its_frames(separate):
    loaded = vectors.load_vectors(separate)
    frames = np.load(separate.root / "many.npy").astype(np.float64)
    expected = [[0, 1, 2], [5, 5, 5], sum(frames) / 50, [7, 8, 9]]
    assert loaded.dtype == np.float32
    assert loaded == pytest.approx(np.array(expected), abs=1e-7)


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(separate, monkeypatch):
    vectors.load_vectors(separate)
    np.save(separate.root / "many.npy", np.ones((2, 3)))
    assert vectors.load_vectors(separate)[2].tolist() == [1, 1, 1]
    monkeypatch.setattr(vectors, "_numbers", None)
    assert vectors.load_vectors(separate)[2].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (np.zeros((0, 3)), r"found float64 of shape \(0, 3\)"),
        (np.zeros((2, 3, 4)), r"found float64 of shape \(2, 3, 4\)"),
        (np.zeros(3, dtype=int), "found int64"),
        (np.array([1.0, np.inf, 2.0]), "NaN or infinite"),
        (np.zeros(4), r"differ in dimensions, for instance .*: 3, .*one.npy: 4"),
        (np.array([{"a": 1}], dtype=object), "not an array that numpy can open"),
    ],
)
def test_a_file_that_is_no_vector_is_refused(separate, content, reason):
    np.save(separate.root / "one.npy", content, allow_pickle=True)
    with pytest.raises(ProtocolError, match=reason):
        vectors.load_vectors(separate)


def test_rows_and_whole_files_are_not_mixed_up(separate):
    rows = [Trial("a", "many.npy", "spoof", tags={"row": "3"}), Trial("b", "many.npy", "spoof")]
    with pytest.raises(ProtocolError, match="the tag row is '-'"):
        vectors.load_vectors(Manifest("m", rows, root=separate.root))
    third = vectors.load_vectors(Manifest("m", rows[:1], root=separate.root))
    assert np.array_equal(third[0], np.load(separate.root / "many.npy")[3])
    with pytest.raises(ProtocolError, match=r"absent\.npy: no such file"):
        vectors.load_vectors(Manifest("m", [Trial("a", "absent.npy", "spoof")], root=separate.root))


def test_what_is_kept_stays_within_its_bound_and_the_oldest_goes(tmp_path):
    read = []
    for name in "abc":
        (tmp_path / name).write_text(name)

    def make(path):
        read.append(path.name)
        return np.zeros(2**17)  # one mebibyte

    kept = Kept(2)
    for name in "abaca":
        kept.get(tmp_path / name, make)
    assert read == ["a", "b", "c"]
    kept.get(tmp_path / "b", make)
    assert read == ["a", "b", "c", "b"]
    with pytest.raises(ValueError, match="read-only"):
        kept.get(tmp_path / "a", make)[0] = 1


# A batch is a choice of rows.


def test_a_batch_of_vectors_is_its_rows(separate):
    clips = Clips(separate, kind="vector")
    batch = clips.batch([2, 0])
    assert torch.equal(batch.wave, torch.from_numpy(vectors.load_vectors(separate)[[2, 0]]))
    assert batch.length.tolist() == [3, 3]
    assert batch.label.tolist() == [1, 1]
    assert batch.ids == ("many.npy", "flat.npy")
    batch.wave.zero_()  # a batch is the taker's own
    assert clips.batch([2]).wave.abs().sum() > 0
    seen = [i for b in clips.batches(3, random_for(0)) for i in b.ids]
    assert sorted(seen) == sorted(t.id for t in separate)


# Digits


@pytest.fixture(scope="module")
def rotated(tmp_path_factory) -> dict[str, Manifest]:
    return digits.read(tmp_path_factory.mktemp("digits") / "rotated")


def turned(image: np.ndarray, degrees: float) -> np.ndarray:
    """Bilinear, counter-clockwise as seen, zero outside; pixel by pixel."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    out = np.zeros((8, 8))
    for i, j in np.ndindex(8, 8):
        y, x = c * (i - 3.5) + s * (j - 3.5) + 3.5, -s * (i - 3.5) + c * (j - 3.5) + 3.5
        if -1e-9 <= min(x, y) and max(x, y) <= 7 + 1e-9:
            weights = [np.maximum(0, 1 - np.abs(at - np.arange(8))) for at in (y, x)]
            out[i, j] = weights[0] @ image @ weights[1]
    return out


def test_rotated_digits_follow_the_recipe(rotated):
    from sklearn.datasets import load_digits
    from sklearn.model_selection import StratifiedShuffleSplit

    source = load_digits()
    drawing = StratifiedShuffleSplit(1, train_size=1280, test_size=450, random_state=0)
    train, test = next(drawing.split(source.images, source.target))
    rest = sorted({*range(1797)} - {*train} - {*test})
    expected = {"train": train, "dev": rest, "test": test}
    names = ("rot000", "rot045", "rot090", "rot135", "rot180")
    stream = stream_of(rotated)
    assert tuple(task.name for task in stream) == names
    for task, angle in zip(stream, (0, 45, 90, 135, 180), strict=True):
        for split, numbers in expected.items():
            part = getattr(task, split)
            assert [int(t.id[-4:]) for t in part] == list(numbers)
            assert [t.label for t in part] == [str(source.target[n]) for n in numbers]
            rows = vectors.load_vectors(part)
            for row in (0, 1, 30, len(rows) - 1):
                image = turned(source.images[numbers[row]] / 16, angle)
                assert rows[row] == pytest.approx(image.ravel(), abs=1e-6)
    assert (
        vectors.load_vectors(stream[0].train)[0].tolist()
        == (source.images[train[0]] / 16).ravel().tolist()
    )


def test_splits_of_digits_have_equal_shares_of_each_and_no_image_in_common(rotated):
    assert {split: len(part) for split, part in rotated.items()} == {
        "train": 5 * 1280, "dev": 5 * 67, "test": 5 * 450
    }  # fmt: skip
    numbers = {split: {t.id[-4:] for t in part} for split, part in rotated.items()}
    assert sum(map(len, numbers.values())) == len(set.union(*numbers.values())) == 1797
    whole = Counter(t.label for part in rotated.values() for t in part)
    for split, part in rotated.items():
        for digit, count in part.counts().items():
            fair = len(part) * whole[digit] / (5 * 1797)
            assert abs(count - fair) <= 5 * (2 if split == "dev" else 1)  # images in five tasks


def test_permuted_digits_have_the_same_pixels_in_another_order(tmp_path, rotated):
    stream = stream_of(digits.read(tmp_path, task="permuted", tasks=3))
    assert [task.name for task in stream] == ["perm0", "perm1", "perm2"]
    own = [vectors.load_vectors(task.train) for task in stream]
    assert np.array_equal(own[0], vectors.load_vectors(stream_of(rotated)[0].train))
    assert not np.array_equal(own[0], own[1])
    assert not np.array_equal(own[1], own[2])
    for permuted in own[1:]:
        assert np.array_equal(np.sort(permuted, 1), np.sort(own[0], 1))
        order = [np.flatnonzero((own[0] == column[:, None]).all(0)) for column in permuted.T]
        assert all(len(places) for places in order)  # one order for all images


def test_classes_of_digits_come_in_turn(tmp_path):
    stream = stream_of(digits.read(tmp_path, task="classes"))
    assert [sorted(task.train.counts()) for task in stream] == [
        ["0", "1"], ["2", "3"], ["4", "5"], ["6", "7"], ["8", "9"]
    ]  # fmt: skip
    assert [task.name for task in stream] == [f"classes-{n}{n + 1}" for n in range(0, 10, 2)]
    assert stream.classes == tuple("0123456789")
    assert sum(len(task.train) for task in stream) == 1280
    assert sum(len(task.dev) for task in stream) == 67
    assert sum(len(task.test) for task in stream) == 450


def test_other_numbers_of_tasks(tmp_path):
    three = digits.read(tmp_path / "a", tasks=3)["test"]
    assert list(three.counts("domain")) == ["rot000", "rot090", "rot180"]
    seven = digits.read(tmp_path / "b", task="classes", tasks=4)["test"]
    assert list(seven.counts("domain")) == ["classes-012", "classes-345", "classes-67", "classes-89"]
    for tasks, task in ((0, "rotated"), (11, "classes")):
        with pytest.raises(SettingsError, match=rf"tasks is {tasks}, expected 1 to .*\({task}\)"):
            digits.read(tmp_path / "c", task=task, tasks=tasks)


def test_digits_are_made_once_and_not_over_other_things(tmp_path, rotated, monkeypatch):
    root = rotated["train"].root
    before = {p.name: p.stat().st_mtime_ns for p in root.iterdir()}
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)  # not needed any more
    assert digits.read(root)["dev"].fingerprint() == rotated["dev"].fingerprint()
    assert before == {p.name: p.stat().st_mtime_ns for p in root.iterdir()}
    with pytest.raises(ProtocolError, match=r"made with .*'tasks': 5.*asked was .*'tasks': 4"):
        digits.read(root, tasks=4)
    with pytest.raises(ProtocolError, match="made with .*'digits'.*asked was .*'drifting'"):
        drifting.read(root)
    touch(tmp_path, "mine/vectors.npy")
    with pytest.raises(ProtocolError, match="is not empty and holds no corpus"):
        digits.read(tmp_path / "mine")
    with pytest.raises(MissingExtra, match=r"pip install 'earwitness\[digits\]'"):
        digits.read(tmp_path / "new")


def test_unfinished_digits_are_made_again_and_changed_ones_noticed(tmp_path, rotated):
    digits.read(tmp_path, task="classes")
    card = json.loads((tmp_path / "corpus.json").read_text())
    (tmp_path / "vectors.npy").write_bytes(b"half")
    with pytest.raises(ProtocolError, match=r"vectors\.npy was changed; delete"):
        digits.read(tmp_path, task="classes")
    (tmp_path / "corpus.json").write_text(json.dumps(card | {"files": {}}))
    assert len(digits.read(tmp_path, task="classes")["train"]) == 1280
    assert json.loads((tmp_path / "corpus.json").read_text()) == card


# Made vectors that drift


@pytest.fixture(scope="module")
def drift(tmp_path_factory) -> Stream:
    return stream_of(drifting.read(tmp_path_factory.mktemp("drift") / "d"))


def test_drifting_vectors_are_the_recipe_drawn_in_its_order(drift):
    """The recipe once more, with Gram-Schmidt in place of QR, up to the directions' signs."""
    rng = np.random.default_rng(20240501)
    normal = rng.standard_normal((1024, 11))
    q = []
    for column in normal.T:
        rest = column
        for _ in range(2):  # twice is enough (Kahan)
            rest = rest - sum((rest @ d) * d for d in q)
        q.append(rest / np.linalg.norm(rest))
    signs = np.sign([d @ o for d, o in zip(q, np.linalg.qr(normal)[0].T, strict=True)])
    q = [sign * d for sign, d in zip(signs, q, strict=True)]
    for t, task in enumerate(drift):
        s = 1.5 * q[0] + 4 * q[1 + t]
        m = 2 * q[6 + t] - (4 * q[t] if t > 0 else 0)
        for split, n in (("train", 4000), ("test", 1000)):
            y = np.array([i % 2 for i in range(n)])
            x = rng.standard_normal((n, 1024)) + m + np.outer(y, s)
            order = rng.permutation(n)
            part = getattr(task, split)
            assert [trial.label for trial in part] == [("bonafide", "spoof")[y[i]] for i in order]
            assert np.abs(vectors.load_vectors(part) - x[order]).max() < 1e-5
        assert task.dev.counts() == {"bonafide": 250, "spoof": 250}


def test_drifting_dev_lies_where_train_does_and_is_drawn_anew(drift):
    def middle(part: Manifest, label: str) -> np.ndarray:
        return vectors.load_vectors(part.split("label")[label]).mean(0, dtype=np.float64)

    for task in drift:
        for label in ("bonafide", "spoof"):
            off = middle(task.dev, label) - middle(task.train, label)
            assert np.linalg.norm(off) == pytest.approx(np.sqrt(1024 * (1 / 250 + 1 / 2000)), rel=0.15)
    dev, train = (vectors.load_vectors(p) for p in (drift[0].dev, drift[0].train))
    assert not {row.tobytes() for row in dev} & {row.tobytes() for row in train}


# Splits by lot


def test_lots_are_fair_stable_and_named(tmp_path):
    places = [(d, c, n) for d in "ab" for c in ("bonafide", "spoof") for n in range(20)]
    trials = [Trial(f"{d}{c}{n}", "x", c, domain=d, split="train") for d, c, n in places]
    once = set_apart(trials, "test", 0.3, seed=4)
    assert [t.id for t in once] == [t.id for t in trials]
    groups = Counter((t.domain, t.label) for t in once if t.split == "test")
    assert set(groups.values()) == {6}
    test = {t.id for t in once if t.split == "test"}
    assert test == {t.id for t in set_apart(trials[::-1], "test", 0.3, seed=4) if t.split == "test"}
    assert test != {t.id for t in set_apart(trials, "test", 0.3, seed=5) if t.split == "test"}
    both = set_apart(once, "dev", 0.5, seed=4)
    assert {t.id for t in both if t.split == "test"} == test
    assert sum(t.split == "dev" for t in both) == 4 * 7
    for share in (0.0, 1.0, -0.1):
        with pytest.raises(SettingsError, match=rf"test_share is {share}"):
            set_apart(trials, "test", share, seed=0)
    few = set_apart(trials[:2], "dev", 0.1, seed=0)
    assert sorted(t.split for t in few) == ["dev", "train"]  # one at least
    with pytest.raises(
        ProtocolError, match="domain 'a', class 'bonafide': test and train need.*found 1"
    ):
        set_apart(trials[:1], "test", 0.3, seed=0)


def test_names_sort_by_their_numbers():
    names = ["10", "9", "task2", "task10", "a", "b7c3", "b7c20"]
    assert sorted(names, key=natural) == ["9", "10", "a", "b7c3", "b7c20", "task2", "task10"]


# CLEAR

CLEAR10 = PRESETS["clear10-rwm"][0]


def test_a_bucket_of_the_published_size_is_split_as_published(tmp_path):
    touch(tmp_path, *(f"{b}/{c}/{n}.jpg" for b in (0, 1) for c in CLEAR10 for n in range(300)))
    parts = clear.read(tmp_path)
    assert {split: len(part) for split, part in parts.items()} == {
        "train": 2079, "dev": 231, "test": 990
    }  # fmt: skip
    assert set(parts["test"].counts().values()) == {90}
    assert parts["train"].classes == CLEAR10  # names in alphabetical order are the released table
    assert parts["train"].counts("domain") == {"1": 2079}
    assert clear.read(tmp_path, split_seed=1)["test"].fingerprint() != parts["test"].fingerprint()


@pytest.fixture
def photographs(tmp_path) -> Path:
    names = [f"{b}/{c}/{n}.jpg" for b in (0, 1, 2, 10) for c in ("bus", "camera") for n in range(10)]
    return touch(tmp_path, *names)


def test_buckets_in_order_without_the_first(photographs):
    touch(photographs, "bucket_indices.json", ".DS_Store")
    parts = clear.read(photographs)
    contracts.check_corpus(parts, trials=60)
    assert [task.name for task in stream_of(parts)] == ["1", "2", "10"]
    assert parts["train"].trials[0].id.startswith("1/bus/")
    fewer = clear.read(photographs, per_class=5, test_share=0.4, dev_share=0.4)
    names = sorted(t.path for part in fewer.values() for t in part if t.domain == "2")
    assert names == [f"2/{c}/{n}.jpg" for c in ("bus", "camera") for n in range(5)]
    assert {split: len(part) for split, part in fewer.items()} == {"train": 12, "dev": 6, "test": 12}
    only = clear.read(photographs, classes=("camera",))
    assert set().union(*(part.counts() for part in only.values())) == {"camera"}


def test_test_may_have_folders_of_its_own_and_classes_an_order(photographs, tmp_path):
    for name in ("train", "test"):
        (photographs / name).mkdir()
        (photographs / name / "class_names.txt").write_text("camera\nbus\n")
    for bucket in ("1", "2", "10"):
        (photographs / bucket).rename(photographs / "train" / bucket)
    touch(
        photographs,
        *(f"test/{b}/{c}/{n}.png" for b in (1, 2, 10) for c in ("bus", "camera") for n in "xyz"),
    )
    parts = clear.read(photographs, train="train", test="test")
    assert {split: len(part) for split, part in parts.items()} == {"train": 54, "dev": 6, "test": 18}
    assert parts["train"].classes == ("camera", "bus")
    few = clear.read(photographs, train="train", test="test", per_class=5)
    assert {split: len(part) for split, part in few.items()} == {"train": 24, "dev": 6, "test": 18}
    touch(photographs, "train/2/dress/a.jpg")
    with pytest.raises(ProtocolError, match="2: dress is not among the classes camera, bus"):
        clear.read(photographs, train="train", test="test")
    chosen = clear.read(photographs, train="train", test="test", classes=("bus", "camera"))
    assert chosen["train"].classes == ("bus", "camera")


def test_features_of_photographs_are_vectors(tmp_path):
    for bucket in (1, 2):
        for label, name in enumerate(("bus", "camera")):
            folder = tmp_path / "moco_resnet50_feature" / str(bucket) / name
            folder.mkdir(parents=True)
            for n in range(6):
                torch.save(torch.full((1, 4), 10.0 * bucket + label + n / 10), folder / f"{n}.pth")
    parts = corpora.read("clear", tmp_path, train="moco_resnet50_feature")
    contracts.check_corpus(parts, trials=24)
    loaded = vectors.load_vectors(parts["test"])
    told = [10 * int(t.domain) + (t.label == "camera") + int(t.id[-1]) / 10 for t in parts["test"]]
    assert loaded == pytest.approx(np.repeat(told, 4).reshape(-1, 4))


def test_the_makers_lists_and_features(tmp_path):
    lists, held = tmp_path / "training_folder/filelists", tmp_path / "training_folder/features/moco_b0"
    (tmp_path / "class_names.txt").write_text("bus\ncamera\nracing\n")
    tensor, labels = torch.arange(60.0).reshape(30, 2), [n % 3 for n in range(30)]
    for bucket in "12":
        (lists / bucket).mkdir(parents=True)
        (held / bucket).mkdir(parents=True)
        lines = [f"labeled images/{bucket}/{n}.jpg {label}" for n, label in enumerate(labels)]
        (lists / bucket / "all.txt").write_text("\n".join(lines))
        touch(tmp_path, *(line[:-2] for line in lines))
        torch.save((tensor + 100 * int(bucket), labels), held / bucket / "all.pth")
    photographs = clear.read(tmp_path, train="training_folder/filelists")
    contracts.check_corpus(photographs, trials=60)
    assert photographs["train"].classes == ("bus", "camera", "racing")
    for part in photographs.values():
        assert all(t.label == part.classes[int(Path(t.id).name) % 3] for t in part)
    features = clear.read(tmp_path, train="training_folder/features/moco_b0", classes=("racing", "bus"))
    assert sum(len(part) for part in features.values()) == 40
    for part in features.values():
        for trial, row in zip(part, vectors.load_vectors(part), strict=True):
            n = int(trial.get("row"))
            assert trial.label == ("bus", "camera", "racing")[n % 3]
            assert row.tolist() == [
                100 * int(trial.domain) + 2 * n,
                100 * int(trial.domain) + 2 * n + 1,
            ]
    split = tmp_path / "training_folder/testset_ratio_0.3/split_0/1"
    split.mkdir(parents=True)
    text = (lists / "1/all.txt").read_text().splitlines()
    (split / "train.txt").write_text("\n".join(text[:21]))
    (split / "test.txt").write_text("\n".join(text[21:]))
    place = "training_folder/testset_ratio_0.3/split_0"
    official = clear.read(tmp_path, train=place, test=place)
    assert [t.path for t in official["test"]] == [line[:-2] for line in text[21:]]
    assert len(official["train"]) + len(official["dev"]) == 21


@pytest.mark.parametrize(
    ("spoil", "settings", "reason"),
    [
        (("x/bus/1.jpg",), {}, "expected a folder for each bucket, 1, 2, 3"),
        (("loose.jpg",), {}, "expected a folder for each bucket"),
        (("2/bus/1.txt",), {}, r"bus: expected files \(\.png.*found 1\.txt"),
        (("2/bus/1.pth",), {}, r"bus: expected files \(\.pth\) only; found 0\.jpg"),
        (("2/bus/more/1.jpg",), {}, "found more"),
        (("3/bus/1.jpg",), {}, "3: no folder for the class 'camera'"),
        (("2/dress/1.jpg",), {}, "2: dress is not among the classes bus, camera"),
        ((), {"classes": ("bus", "kamera")}, "'kamera'; did you mean 'camera'"),
        ((), {"per_class": -1}, "per_class is -1"),
        ((), {"per_class": 11}, "10 of the class 'bus', expected at least 11"),
        ((), {"train": "absent"}, "absent: expected a folder with content; found no such folder"),
        ((), {"test": "absent"}, "no such folder"),
        ((), {"dev_share": 1.5}, "dev_share is 1.5"),
        (("3/all.txt",), {}, "0 of the class 'bus'"),
    ],
)
def test_what_is_not_clear_is_refused(photographs, spoil, settings, reason):
    touch(photographs, *spoil)
    with pytest.raises((ProtocolError, SettingsError), match=reason):
        clear.read(photographs, **settings)


def test_lists_without_names_or_with_wrong_ones_are_refused(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1/all.txt").write_text("a.jpg 0\nb.jpg 2\n")
    with pytest.raises(ProtocolError, match="lists need the classes' names"):
        clear.read(tmp_path)
    with pytest.raises(ProtocolError, match=r"line 2: '2' is not among the classes bus, camera"):
        clear.read(tmp_path, classes=("bus", "camera"))
    (tmp_path / "1/all.txt").unlink()
    for held in ((torch.ones(3, 2), [0, 1]), (torch.ones(2, 2), 1), torch.tensor(1.0), (), (1, 1)):
        torch.save(held, tmp_path / "1/all.pth")
        with pytest.raises(ProtocolError, match="a tensor and a list of as many classes"):
            clear.read(tmp_path, classes=("bus", "camera"))


# EVDA


@pytest.fixture
def utterances(tmp_path) -> Path:
    for part, count in (("train_w2v", 10), ("test_w2v", 4)):
        for task in ("1", "2", "10"):
            for label, name in enumerate(("real", "fake")):
                folder = tmp_path / part / task / name
                folder.mkdir(parents=True)
                for n in range(count):
                    frames = RNG.standard_normal((20 + n, 5)) + 10 * label + int(task)
                    np.save(folder / f"u{n}.npy_mono.npy", frames.astype(np.float32))
    return tmp_path


def test_utterances_are_averaged_over_frames(utterances):
    parts = corpora.read("evda", utterances, train="train_w2v", test="test_w2v")
    contracts.check_corpus(parts, trials=84)
    assert {split: len(part) for split, part in parts.items()} == {"train": 54, "dev": 6, "test": 24}
    stream = stream_of(parts)
    assert [task.name for task in stream] == ["1", "2", "10"]
    assert stream.classes == ("bonafide", "spoof")
    for part in (stream[2].train, stream[0].test):
        for trial, row in zip(part, vectors.load_vectors(part), strict=True):
            frames = np.load(part.path(trial)).astype(np.float64)
            assert row == pytest.approx(frames.sum(0) / len(frames), abs=1e-5)
            assert (row.mean() > int(trial.domain) + 5) == (trial.label == "spoof")


def test_utterances_without_a_test_folder_are_split_by_lot(utterances):
    parts = evda.read(utterances, train="train_w2v")
    assert {split: part.counts() for split, part in parts.items()} == {
        "train": {"bonafide": 18, "spoof": 18},
        "dev": {"bonafide": 3, "spoof": 3},
        "test": {"bonafide": 9, "spoof": 9},
    }


def foreign_lists(root: Path) -> None:
    """The lists as published: absolute paths of another machine, no end of the last line."""
    (root / "data_cache").mkdir()
    for split in ("train", "test"):
        lines = []
        for path in sorted((root / f"{split}_w2v").rglob("*.npy")):
            task, label = path.parts[-3:-1]
            file = f"/data1/someone/{path.relative_to(root).as_posix()}"
            lines.append(f"{file} {int(label == 'fake')} {task}")
        text = "\n".join(["file class_index timestamp", *lines])
        (root / "data_cache" / f"data_{split}_path.txt").write_text(text)


def test_published_lists_name_the_same_utterances(utterances):
    foreign_lists(utterances)
    by_folder = evda.read(utterances, train="train_w2v", test="test_w2v")
    by_list = evda.read(utterances, lists="data_cache")
    for split, part in by_folder.items():
        assert {t.id: t for t in part} == {t.id: t for t in by_list[split]}
    assert [task.name for task in stream_of(by_list)] == ["1", "2", "10"]
    with pytest.raises(SettingsError, match="lists say where"):
        evda.read(utterances, lists="data_cache", train="train_w2v")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("train_w2v/1/real/u0.npy_mono.npy 1 1", r"line 2: class 1 \(spoof\) of task 1.*in 1/real"),
        ("train_w2v/1/real/u0.npy_mono.npy 0 2", "of task 2, but the file lies in 1/real"),
        ("train_w2v/1/real/u0.npy_mono.npy 2 1", r"expected a path, 0 \(real\) or 1 \(fake\)"),
        ("train_w2v/1/real/u0.npy_mono.npy", "expected a path"),
        ("train_w2v/1/real/gone.npy 0 1", r"train_w2v/1/real/gone\.npy is not in"),
    ],
)
def test_a_line_that_does_not_fit_is_refused(utterances, line, reason):
    foreign_lists(utterances)
    path = utterances / "data_cache/data_train_path.txt"
    path.write_text(f"file class_index timestamp\n{line}")
    with pytest.raises(ProtocolError, match=reason):
        evda.read(utterances, lists="data_cache")
    path.write_text("path label\n")
    with pytest.raises(ProtocolError, match="line 1: expected 'file class_index timestamp'"):
        evda.read(utterances, lists="data_cache")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        ("train_w2v/3/real/a.npy", "3: no folder for the class 'spoof'"),
        ("train_w2v/2/unknown/a.npy", "2: unknown is not among the classes bonafide, spoof"),
        ("train_w2v/2/noise/a.npy", "2: noise is not among the classes bonafide, spoof"),
        ("train_w2v/2/real/a.wav", r"real: expected files \(\.npy\) only; found a\.wav"),
        ("train_w2v/readme.md", r"expected folders \(one a task\) only; found readme\.md"),
    ],
)
def test_a_tree_that_is_not_evda_is_refused(utterances, spoil, reason):
    touch(utterances, spoil)
    with pytest.raises(ProtocolError, match=reason):
        evda.read(utterances, train="train_w2v")


# Images


PLAIN = [f"{c}/{n}.png" for c in ("cat", "dog") for n in range(10)]
TREES = {
    "": ((12, 2, 6), ["-"]),
    "t2/ t10/": ((24, 4, 12), ["t2", "t10"]),
    "train/ val/ test/": ((20, 20, 20), ["-"]),
    "train/a/ test/a/": ((18, 2, 20), ["a"]),
}


@pytest.mark.parametrize("above", TREES)
def test_trees_of_images_with_and_without_splits_and_domains(above, tmp_path):
    names = [folder + name for folder in above.split() or [""] for name in PLAIN]
    sizes, domains = TREES[above]
    parts = corpora.read("images", touch(tmp_path, *names))
    contracts.check_corpus(parts, trials=len(names))
    assert tuple(len(parts[split]) for split in ("train", "dev", "test")) == sizes
    for part in parts.values():
        assert part.classes == ("cat", "dog")
        assert list(part.counts("domain")) == domains
        assert all(Path(t.path).parent.name == t.label for t in part)


def test_classes_of_images_are_chosen_and_may_differ_by_domain(tmp_path):
    names = [
        f"{d}/{c}/{n}.JPG" for d, c in (("a", "cat"), ("a", "dog"), ("b", "hen")) for n in range(10)
    ]
    touch(tmp_path, *names)
    parts = images.read(tmp_path)
    assert parts["train"].classes == ("cat", "dog", "hen")
    assert [sorted(task.train.counts()) for task in stream_of(parts)] == [["cat", "dog"], ["hen"]]
    chosen = images.read(tmp_path, classes=("hen", "cat"))["test"]
    assert (chosen.classes, chosen.counts()) == (("hen", "cat"), {"cat": 3, "hen": 3})
    with pytest.raises(ProtocolError, match="no folder for the class 'hem'; did you mean 'hen'"):
        images.read(tmp_path, classes=("cat", "dog", "hem"))


def test_spectrograms_of_speech_keep_our_two_classes(tmp_path):
    touch(tmp_path, *(f"{c}/{n}.png" for c in ("real", "fake") for n in range(10)))
    both = images.read(tmp_path, classes=("bonafide", "spoof"))["train"]
    assert both.counts() == {"bonafide": 6, "spoof": 6}


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ((), "no such folder"),
        (("cat/a.png", "b.png"), r"expected folders .* only; found b\.png"),
        (("cat/a.png", "cat/b.wav"), r"cat: expected files .* found b\.wav"),
        (("cat/a.png", "d/dog/a.png"), "d holds folders, but cat does not"),
        (("train/cat/a.png", "other/cat/a.png"), "expected train/, with or without dev/ and test/"),
        (("test/cat/a.png",), "expected train/"),
        (("train/cat/a.png", "test/cat/a.jpg"), "class 'cat': dev and train need"),
    ],
)
def test_another_layout_of_images_is_refused(tmp_path, names, reason):
    with pytest.raises(ProtocolError, match=reason):
        images.read(touch(tmp_path / "root", *names))


def save_image(path: Path, pixels: np.ndarray, mode: str | None = None) -> Path:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(path)
    return path


COLOUR = RNG.integers(0, 256, (6, 6, 3), dtype=np.uint8)


def test_pixels_are_channel_by_channel_row_by_row(tmp_path):
    path = save_image(tmp_path / "a.png", COLOUR)
    found = images.load_image(path, size=6, channels=3)
    assert found.dtype == np.uint8
    assert found.tolist() == [COLOUR[r, c, k] for k in range(3) for r in range(6) for c in range(6)]
    grey = images.load_image(path, size=6, channels=1).reshape(6, 6)
    expected = COLOUR @ np.array([299, 587, 114]) / 1000  # ITU-R 601
    assert np.abs(grey - expected).max() <= 1
    save_image(tmp_path / "grey.png", COLOUR[:, :, 0])
    same = images.load_image(tmp_path / "grey.png", size=6, channels=3).reshape(3, 6, 6)
    assert all(np.array_equal(channel, COLOUR[:, :, 0]) for channel in same)
    alpha = np.dstack([COLOUR, np.zeros((6, 6), np.uint8)])
    save_image(tmp_path / "alpha.png", alpha)
    assert np.array_equal(images.load_image(tmp_path / "alpha.png", size=6, channels=3), found)


def test_resizing_is_a_triangle_over_the_pixels_it_covers(tmp_path):
    path = save_image(tmp_path / "a.png", COLOUR[:, :, 0])
    at = (np.arange(3)[:, None] + 0.5) * 2
    weights = np.maximum(0, 1 - np.abs(np.arange(6) + 0.5 - at) / 2)
    weights /= weights.sum(1, keepdims=True)
    expected = weights @ COLOUR[:, :, 0] @ weights.T
    found = images.load_image(path, size=3, channels=1).reshape(3, 3)
    assert np.abs(found - expected).max() <= 1.5  # two roundings to whole numbers


def test_what_is_no_image_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_text("no image")
    with pytest.raises(ProtocolError, match=r"a\.png: not an image that Pillow can read"):
        images.load_image(path, size=4, channels=3)
    save_image(path, COLOUR)
    path.write_bytes(path.read_bytes()[:80])
    with pytest.raises(ProtocolError, match="not an image"):
        images.load_image(path, size=4, channels=3)
    save_image(path, (COLOUR[:, :, 0].astype(np.uint16) * 256))
    with pytest.raises(ProtocolError, match="more than 8 bits"):
        images.load_image(path, size=4, channels=1)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match=r"pip install 'earwitness\[images\]'"):
        images.load_image(path, size=4, channels=3)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Stream:
    """Two domains: bright discs or stripes on dark ground, then dark ones on bright."""
    root, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    y, x = np.mgrid[:20, :24]
    for domain in ("dark", "light"):
        for label in ("disc", "stripes"):
            for n in range(20):
                shape = (y - rng.uniform(7, 13)) ** 2 + (x - rng.uniform(8, 16)) ** 2 < 36
                if label == "stripes":
                    shape = (x + rng.integers(6)) % 6 < 3
                ground = 230 * shape[..., None] + rng.integers(0, 25, (20, 24, 3))
                pixels = ground if domain == "dark" else 255 - ground
                save_image(root / domain / label / f"{n}.png", pixels.astype(np.uint8))
    return stream_of(images.read(root))


def build(back_end: str, classes=("disc", "stripes"), **settings) -> Detector:
    size = {"resnet": {"width": 4}, "lcnn": {"width": 4}, "mlp": {"hidden": (16,)}}.get(back_end, {})
    front_end = {"size": 16, "channels": 3, **settings}
    parts = {"name": "pixels", **front_end}, {"name": back_end, **size}
    return Detector.build(*parts, seed=3, classes=classes)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_front_end_keeps_its_contract(channels, flat):
    contracts.check_front_end(Pixels(size=5, channels=channels, flat=flat))


def test_a_frame_is_a_column_of_all_channels():
    wave = torch.rand(2, 3 * 4 * 4)
    frames = Pixels(size=4)(wave, torch.tensor([48, 48]))
    image = wave.numpy().reshape(2, 3, 4, 4)
    for channel, row, column in np.ndindex(3, 4, 4):
        expected = image[:, channel, row, column]
        assert np.array_equal(frames.values[:, 4 * channel + row, column].numpy(), expected)
    assert frames.length.tolist() == [4, 4]
    assert Pixels(size=4, flat=True)(wave, torch.tensor([48, 48])).values[:, :, 0].equal(wave)


@pytest.mark.parametrize("back_end", ["resnet", "lcnn", "mlp", "linear"])
def test_a_detector_of_images_judges_each_by_itself(back_end):
    contracts.check_detector(build(back_end, classes=("bonafide", "spoof")))
    if back_end in ("mlp", "linear"):
        contracts.check_detector(build(back_end, classes=("bonafide", "spoof"), flat=True))


def test_images_too_small_for_a_back_end_are_refused():
    with pytest.raises(SettingsError, match="needs 16 frames, an image of size 8 gives 8"):
        build("lcnn", size=8)
    with pytest.raises(SettingsError, match="gives 1; choose a larger size, without flat"):
        build("lcnn", flat=True)
    with pytest.raises(SettingsError, match="size is 0"):
        Pixels(size=0)


def test_batches_of_images_are_the_files_pixels_between_0_and_1(pictures, monkeypatch):
    manifest = pictures[0].train
    clips = Clips(manifest, kind="image", size=10, channels=1)
    batch = clips.batch([3, 0, 3])
    assert batch.wave.shape == (3, 100)
    assert batch.wave.dtype == torch.float32
    pixels = images.load_image(manifest.path(manifest.trials[3]), size=10, channels=1)
    assert batch.wave[0].tolist() == (pixels.astype(np.float64) / 255).astype(np.float32).tolist()
    assert batch.wave[0].equal(batch.wave[2])
    assert clips.batch([0]).wave[0].equal(batch.wave[1])
    assert batch.ids[1] == manifest.trials[0].id
    from earwitness import batches

    monkeypatch.setitem(batches._ROWS, "image", 5)
    blocks = list(load_rows(manifest, Pixels(size=10, channels=1)))
    assert [len(block) for block in blocks] == [5, 5, 5, 5, 5, 1]
    whole = clips.batch(range(len(manifest))).wave.numpy()
    assert np.array_equal(np.concatenate(blocks), whole)
    monkeypatch.setattr(batches, "load_image", None)  # read once and kept
    assert np.array_equal(clips.batch([3]).wave[0], batch.wave[0])


def test_images_are_learned(pictures):
    """From files to accuracies: after each task a small network knows its shapes."""
    detector = build("resnet")
    training = Training(epochs=8, batch_size=8, learning_rate=0.05, balance="none")
    for done in learn(detector, Naive(), pictures, training=training, seed=1):
        told = score(detector, done.task.test)
        assert isinstance(told, ClassScores)
        assert told.right.mean() > 0.8
        assert told.provenance["trial_scope"] == "one image a trial"
    with pytest.raises(SettingsError, match="not audio"):
        detector.score(np.zeros(16_000, dtype=np.float32))


# Several classes from end to end.


def experiment(root: Path, classes: tuple[str, ...], **training) -> Experiment:
    return Experiment.from_settings(
        {
            "name": "digits",
            "seeds": [0],
            "stream": {"corpus": "vectors", "root": str(root), "reader": {"classes": list(classes)}},
            "detector": {
                "front_end": {"name": "vectors", "dim": 64},
                "back_end": {"name": "mlp", "hidden": [100], "pooling": "mean"},
            },
            "training": {
                "epochs": 1,
                "batch_size": 16,
                "learning_rate": 0.2,
                "balance": "none",
                **training,
            },
            "strategies": {"naive": {}},
        }
    )


def test_ten_digits_are_learned_judged_and_counted(tmp_path, rotated):
    folder = run(experiment(rotated["train"].root, digits.DIGITS), tmp_path / "run")
    (one,) = folder.runs()
    told = read_scores(one.score_file(4, 0))
    assert isinstance(told, ClassScores)
    assert (told.classes, len(told)) == (digits.DIGITS, 450)
    accuracy = matrix(one)
    assert accuracy.shape == (5, 5)
    for after, on in np.ndindex(5, 5):
        scores = read_scores(one.score_file(after, on))
        decided = [scores.classes[k] for k in np.argmax(scores.values, 1)]
        right = sum(d == t for d, t in zip(decided, scores.labels, strict=True))
        assert accuracy[after, on] == right / 450
    assert accuracy.diagonal().min() > 0.6  # one pass
    assert accuracy[0, 0] - accuracy[4, 0] > 0.2  # and forgotten


def test_digits_that_nobody_has_shown_cannot_be_named(tmp_path):
    digits.read(tmp_path / "d", task="classes")
    folder = run(experiment(tmp_path / "d", digits.DIGITS, heads="seen"), tmp_path / "run")
    accuracy = matrix(folder.runs()[0])
    assert accuracy[0, 0] > 0.9
    assert (accuracy[np.triu_indices(5, 1)] == 0).all()
