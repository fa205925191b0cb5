"""Neural collapse tracked while a detector learns."""

import json

import numpy as np
import pytest
import torch

from earwitness import Detector, audio, collapse
from earwitness.batches import Clips
from earwitness.experiment import Experiment
from earwitness.figures.collapsing import collapse_curves, drawable
from earwitness.report import write
from earwitness.running import run
from earwitness.tracking import measure_collapse
from earwitness.trials import CLASSES, Manifest, Trial

EXPERIMENT = {
    "name": "tracked",
    "stream": {"corpus": "manifest", "root": "manifest.tsv"},
    "detector": {
        "front_end": {"name": "lfcc", "normalise": "none"},
        "back_end": {"name": "mlp", "hidden": [6]},
        "windows": {"seconds": 0.25, "hop": 0.25},
    },
    "training": {"epochs": 2, "batch_size": 5, "seconds": 0.25, "learning_rate": 0.01},
    "strategies": {"naive": {}},
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("tracked")
    rng = np.random.default_rng(0)
    trials = []
    for task in ("one", "two"):
        for split in ("train", "dev", "test"):
            for n in range(9):
                name = f"{task}-{split}-{n}"
                audio.write(root / f"{name}.wav", 0.1 * rng.normal(size=5000).clip(-4, 4))
                trials.append(Trial(name, f"{name}.wav", CLASSES[n % 2], domain=task, split=split))
    Manifest("all", trials, root=root).write(root / "manifest.tsv")
    return root


def experiment(corpus, how: str) -> Experiment:
    settings = json.loads(json.dumps(EXPERIMENT))
    settings["stream"]["root"] = str(corpus / "manifest.tsv")
    settings["training"]["collapse"] = how
    return Experiment.from_settings(settings)


@pytest.mark.parametrize(("how", "places"), [("off", []), ("tasks", [1, 3]), ("epochs", [0, 1, 2, 3])])
def test_records_come_when_asked_for_and_change_nothing(corpus, tmp_path, how, places) -> None:
    plain, tracked = (run(experiment(corpus, one), tmp_path / one) for one in ("off", how))
    (own,), (other,) = plain.runs(), tracked.runs()
    assert Detector.load(own.path / "detector").digest == Detector.load(other.path / "detector").digest
    records = other.collapse()
    every = [(position, epoch) for position in range(2) for epoch in range(2)]
    assert [(r["position"], r["epoch"]) for r in records] == [every[place] for place in places]
    write([tracked], tmp_path / "report")
    text = (tmp_path / "report/report.html").read_text()
    assert ('id="collapse"' in text) == bool(places)


def test_a_record_is_what_the_package_says_of_the_same_embeddings(corpus, tmp_path) -> None:
    (done,) = run(experiment(corpus, "tasks"), tmp_path / "a").runs()
    record, detector = done.collapse()[-1], Detector.load(done.path / "detector")
    manifest = Manifest.read(corpus / "manifest.tsv").where(
        lambda t: t.domain == "two" and t.split == "train"
    )
    waves = np.stack([audio.read(manifest.path(t)).wave for t in manifest])
    clips = Clips(manifest, seconds=0.25)
    batch = clips.batch(np.arange(len(clips)))
    assert batch.wave.shape[1] <= waves.shape[1]
    with torch.no_grad():
        h = detector.eval()(batch.wave).embedding.double().numpy()
    y = np.array([CLASSES.index(t.label) for t in manifest])
    means = np.stack([h[y == c].mean(0) for c in (0, 1)])
    within = sum(((h[y == c] - means[c]) ** 2).sum() for c in (0, 1)) / len(h)
    assert record["counts"] == [5, 4]
    assert record["within_variance"] == pytest.approx(within, rel=1e-5)
    head = detector.back_end.head
    told = collapse.CollapseAccumulator(2, h.shape[1]).update(h, y).metrics(
        head.weight.detach().numpy(), head.bias.detach().numpy()
    )  # fmt: skip
    for name in ("nc1", "cdnv", "nc3", "wg_plus_b"):
        assert record[name] == pytest.approx(told[name], rel=1e-4)
    nearest = np.linalg.norm(h[:, None] - means, axis=2).argmin(1)
    with torch.no_grad():
        named = detector(batch.wave).logits.argmax(1).numpy()
    assert record["nc4"] == pytest.approx(np.mean(nearest != named))


def test_measuring_leaves_the_detector_as_it_was(corpus) -> None:
    detector = Detector.build("lfcc", {"name": "resnet", "width": 4}, seed=0).train()
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    train = Manifest.read(corpus / "manifest.tsv").where(lambda t: t.split == "train")
    measure_collapse(detector, Clips(train, seconds=0.25))
    assert detector.training
    assert all(torch.equal(before[name], value) for name, value in detector.state_dict().items())


def test_a_class_without_clips_is_told_in_words(corpus, tmp_path) -> None:
    spoofs = Manifest.read(corpus / "manifest.tsv").where(lambda t: t.label == "spoof")
    told = measure_collapse(Detector.build("lfcc", "linear"), Clips(spoofs, seconds=0.25))
    assert told["classes"] == ["spoof"]
    assert told["counts"] == [24]
    assert str(told["nc1"]).startswith("undefined")
    json.dumps(told, allow_nan=False)
    record = {"task": "a", "position": 0, "epoch": 0} | told
    bare = {name: value for name, value in record.items() if name not in ("nc3", "wg_plus_b")}
    assert drawable([bare]) == []
    full = measure_collapse(
        Detector.build("lfcc", "linear"),
        Clips(Manifest.read(corpus / "manifest.tsv"), seconds=0.25),
    )
    drawn = collapse_curves([record, {"task": "b", "position": 1, "epoch": 0} | full])
    assert drawn.axes[0].get_title("left").startswith("NC1")


def test_classes_that_a_task_lacks_are_left_out_and_others_are_not(corpus) -> None:
    names = ("hum", *CLASSES)
    detector = Detector.build("lfcc", "linear", classes=names, seed=0)
    whole = Manifest.read(corpus / "manifest.tsv")
    seen = Manifest("three", list(whole), root=whole.root, classes=names)
    told = measure_collapse(detector, Clips(seen, seconds=0.25))
    assert told["classes"] == list(CLASSES)
    two = Detector.build("lfcc", "linear", seed=0)
    two.load_state_dict(
        detector.state_dict()
        | {f"back_end.head.{n}": getattr(detector.back_end.head, n)[1:] for n in ("weight", "bias")}
    )
    same = measure_collapse(two, Clips(whole, seconds=0.25))
    assert told == same


def test_a_head_that_is_not_linear_has_no_nc4_and_says_so(corpus) -> None:
    detector = Detector.build("lfcc", {"name": "linear", "head": "cosine"})
    told = measure_collapse(detector, Clips(Manifest.read(corpus / "manifest.tsv"), seconds=0.25))
    assert told["nc4"] == "undefined: the head is not linear"


def test_an_epoch_done_again_takes_its_lines_place(corpus, tmp_path) -> None:
    (done,) = run(experiment(corpus, "epochs"), tmp_path / "a").runs()
    before = done.collapse()
    lines = (done.path / "collapse.jsonl").read_text()
    (done.path / "collapse.jsonl").write_text(lines + lines.splitlines()[-1] + "\n")
    from earwitness.running import _StepLog

    log = _StepLog(done, lambda *_: None)
    log.note_collapse(before[2])
    assert done.collapse() == before[:3]
