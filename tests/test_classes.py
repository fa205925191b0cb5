"""Other classes than bonafide and spoof: manifests, streams, detectors, score files, runs."""

import json

import numpy as np
import pytest
import torch

from earwitness.detector import Detector
from earwitness.errors import CheckpointError, ProtocolError, SettingsError
from earwitness.evaluation import dev_threshold, evaluate, matrix, pooled, summary
from earwitness.rules.base import UNKNOWN
from earwitness.runs import Run
from earwitness.scores import ClassScores, Scores, read_scores
from earwitness.scoring import score
from earwitness.strategies.naive import Naive
from earwitness.streams import Stream, Task
from earwitness.training import Training, learn
from earwitness.trials import Manifest, Trial, join_manifests

CLASSES = ("cat", "cow", "dog", "hen")
TRAINING = Training(epochs=3, batch_size=8, learning_rate=0.1, balance="none")


@pytest.fixture
def stream(tmp_path) -> Stream:
    """Two tasks: cats and cows, then dogs and hens; a class is a corner of a cube."""
    rng = np.random.default_rng(0)
    labels = [*(["cat", "cow"] * 20), *(["dog", "hen"] * 20)]
    corners = rng.normal(size=(4, 6))
    rows = np.array([corners[CLASSES.index(label)] for label in labels]) * 2
    np.save(tmp_path / "vectors.npy", (rows + rng.normal(size=rows.shape)).astype(np.float32))
    trials = [
        Trial(f"{n}", "vectors.npy", label, domain="ab"[n // 40], tags={"row": f"{n}"},
              split=("train", "train", "dev", "test")[n // 2 % 4])
        for n, label in enumerate(labels)
    ]  # fmt: skip
    return Stream.by(Manifest("animals", trials, root=tmp_path, classes=CLASSES))


def make(classes=CLASSES) -> Detector:
    back_end = {"name": "mlp", "hidden": (8,), "pooling": "mean"}
    return Detector.build({"name": "vectors", "dim": 6}, back_end, seed=1, classes=classes)


def test_a_manifest_keeps_its_classes_through_every_cut(stream, tmp_path):
    manifest = stream[0].train
    assert manifest.classes == manifest.split("label")["cat"].classes == CLASSES
    assert join_manifests("both", [manifest, stream[1].train]).classes == CLASSES
    with pytest.raises(ProtocolError, match="'spoof'.*expected one of cat, cow, dog, hen, unknown"):
        Manifest("x", [Trial("a", "a", "spoof")], classes=CLASSES)
    speech = Manifest("speech", [Trial("a", "a", "spoof")])
    with pytest.raises(ProtocolError, match="different classes can't be joined"):
        join_manifests("mixed", [manifest, speech])


def test_tasks_of_different_classes_make_no_stream(stream, tmp_path):
    two = [Trial("x", "x", "bonafide"), Trial("y", "y", "spoof")]
    speech = Task("speech", *(Manifest(n, two, root=tmp_path / n) for n in ("train", "dev", "test")))
    with pytest.raises(ProtocolError, match="differ in their classes"):
        Stream([stream[0], speech])


def test_a_detector_must_name_the_streams_classes(stream):
    with pytest.raises(SettingsError, match=r"names bonafide, spoof; the stream's classes are cat"):
        next(learn(make(("bonafide", "spoof")), Naive(), stream, training=TRAINING))
    back_end = {"name": "linear", "classes": 3}
    with pytest.raises(SettingsError, match="3 logits for 4 classes"):
        Detector.build({"name": "vectors", "dim": 6}, back_end, classes=CLASSES)


def test_a_score_needs_two_classes():
    with pytest.raises(SettingsError, match="names 4 classes, so use its logits"):
        _ = make()(torch.randn(2, 6)).score


def test_classes_not_seen_yet_cannot_be_named(stream, tmp_path):
    detector = make()
    training = Training(**{**vars(TRAINING), "heads": "seen"})
    learning = learn(detector, Naive(), stream, training=training)
    next(learning)
    assert detector.known == ("cat", "cow")
    logits = detector(torch.randn(5, 6)).logits
    assert (logits[:, 2:] == UNKNOWN).all()
    assert (logits.softmax(1)[:, 2:] == 0).all()
    assert (logits[:, :2] != UNKNOWN).all()
    detector.save(tmp_path / "early")
    early = Detector.load(tmp_path / "early")
    assert early.known == ("cat", "cow")
    assert early.digest == detector.digest
    assert score(early, stream[1].test).right.sum() == 0  # honest: it has never heard of them
    next(learning)
    assert detector.known == CLASSES
    assert early.digest != detector.digest


def test_a_detector_comes_back_with_its_classes(tmp_path):
    detector = make().eval()
    detector.save(tmp_path)
    again = Detector.load(tmp_path)
    wave = torch.randn(3, 6)
    assert again.classes == CLASSES
    assert torch.equal(again(wave).logits, detector(wave).logits)
    card = (tmp_path / "card.json").read_text().replace('"hen"', '"hen",\n    "ox"', 1)
    (tmp_path / "card.json").write_text(card)
    with pytest.raises(CheckpointError, match="don't make a detector"):
        Detector.load(tmp_path)


def test_a_card_of_the_first_version_is_read(tmp_path):
    make().save(tmp_path)
    card = json.loads((tmp_path / "card.json").read_text())
    del card["known"], card["rule"]
    (tmp_path / "card.json").write_text(json.dumps(card))
    assert Detector.load(tmp_path).known == CLASSES


def test_scores_have_one_number_a_class_and_come_back_with_all_bits(stream, tmp_path):
    told = score(make(), stream[0].test)
    assert isinstance(told, ClassScores)
    assert told.values.shape == (len(stream[0].test), 4)
    told.write(tmp_path / "s.csv")
    again = read_scores(tmp_path / "s.csv")
    assert isinstance(again, ClassScores)
    assert np.array_equal(again.values, told.values)
    assert (again.ids, again.labels, again.classes) == (told.ids, told.labels, CLASSES)
    Scores(["a"], [1.0], ["spoof"]).write(tmp_path / "two.csv")
    assert isinstance(read_scores(tmp_path / "two.csv"), Scores)


@pytest.mark.parametrize(
    ("values", "labels", "message"),
    [
        ([[1.0, 2.0]], ["cat"], "a column a class"),
        ([[1.0, 2.0, 3.0, np.nan]], ["cat"], "NaN or infinite"),
        ([[1.0, 2.0, 3.0, 4.0]], ["ox"], "'ox' is none of the classes"),
        ([[1.0] * 4, [1.0] * 4], ["cat", "cow"], "stands there twice"),
    ],
)
def test_bad_numbers_are_refused(values, labels, message):
    with pytest.raises(ProtocolError, match=message):
        ClassScores(["a"] * len(values), values, labels, classes=CLASSES)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ((), "expected at least one"),
        (("cat", ""), "a name of its own"),
        (("cat", "cow", "cat"), "a name of its own"),
        (("cat", "unknown"), "'unknown' is among the classes"),
    ],
)
def test_classes_that_cannot_be_any_are_refused(classes, message):
    with pytest.raises(ProtocolError, match=f"manifest 'x': .*{message}"):
        Manifest("x", [Trial("a", "a", "cat")], classes=classes)
    with pytest.raises(ProtocolError, match=f"scores: .*{message}"):
        ClassScores(["a"], np.zeros((1, len(classes))), ["cat"], classes=classes)


def test_trials_that_nobody_has_judged_have_scores_but_are_not_right(tmp_path):
    values = [[0.0, 1.0, 0.0, 0.0]] * 3
    told = ClassScores("abc", values, ["cow", "unknown", "unknown"], classes=CLASSES)
    told.write(tmp_path / "s.csv")
    again = read_scores(tmp_path / "s.csv")
    assert again.labels == ["cow", "unknown", "unknown"]
    with pytest.raises(
        ProtocolError, match=r"s\.csv: 2 of 3 trial\(s\) are labelled unknown, first 'b'"
    ):
        _ = again.right


def test_a_share_of_bonafide_is_for_bonafide_and_spoof(stream):
    with pytest.raises(SettingsError, match="bonafide_share weighs .* classes are cat, cow, dog, hen"):
        stream.thinned(bonafide_share=0.5)
    assert len(stream.thinned(later_clips=4)[1].train) == 4


def test_class_scores_are_not_judged_as_scores_of_bonafide_and_spoof(tmp_path):
    told = ClassScores(["a"], [[0.0, 1.0, 0.0, 0.0]], ["cow"], classes=CLASSES)
    told.write(tmp_path / "s.csv")
    message = "scores of other classes.*one number a class.*accuracy, with `earwitness compare`"
    with pytest.raises(ProtocolError, match=rf"s\.csv: .*{message}"):
        Scores.read(tmp_path / "s.csv")
    for judge in (evaluate, dev_threshold):
        with pytest.raises(ProtocolError, match=message):
            judge(told)
    with pytest.raises(ProtocolError, match=message):
        evaluate(told, Manifest("x", [Trial("a", "a", "cow")], classes=CLASSES))


BAD_ROWS = {
    "a,cow,1,2\n\nb,cow,1,2\n": "line 3: a blank line, expected 4 columns",
    "a,cow,1,2\nb,cow,1\n": r"line 3: 3 column\(s\), expected 4",
    "a,cow,1,2,3\n": r"line 2: 5 column\(s\), expected 4",
    "a,cow,1,x\n": "line 2: expected a number a class",
}


@pytest.mark.parametrize("rows", BAD_ROWS)
def test_a_bad_row_is_named_by_its_line(rows, tmp_path):
    (tmp_path / "s.csv").write_text("file_name,label,cat,cow\n" + rows)
    with pytest.raises(ProtocolError, match=rf"s\.csv, {BAD_ROWS[rows]}"):
        read_scores(tmp_path / "s.csv")


@pytest.mark.parametrize("text", ["file_name,label,cat\n", "file_name,label,cat\na,cat,x\n", ""])
def test_a_bad_file_is_refused(text, tmp_path):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(ProtocolError, match=r"s\.csv"):
        ClassScores.read(tmp_path / "s.csv")


def test_a_matrix_of_accuracies_is_counted_from_the_files(tmp_path):
    run = Run(tmp_path, "naive", 0, ("one", "two"), metric="accuracy")
    right = {(0, 0): [1, 1], (0, 1): [0, 0], (1, 0): [1, 0], (1, 1): [1, 1]}
    for (after, on), hits in right.items():
        values = [[0.0, 1.0, 0.0, 0.0] if hit else [1.0, 0.0, 0.0, 0.0] for hit in hits]
        told = ClassScores("ab", values, ["cow", "cow"], classes=CLASSES)
        told.write(run.score_file(after, on))
    assert matrix(run).tolist() == [[1.0, 0.0], [0.5, 1.0]]
    assert summary(run)["forgetting"] == 0.5  # higher is better
    assert pooled(run, after=1) == 0.75
    with pytest.raises(SettingsError, match="eer weighs bonafide against spoof"):
        matrix(run, "eer")


def test_best_epoch_is_chosen_by_errors_on_dev(stream):
    training = Training(**{**vars(TRAINING), "restore": "best", "epochs": 20})
    detector = make()
    list(learn(detector, Naive(), stream, training=training))
    assert score(detector, stream[1].test).right.mean() > 0.9


# Embeddings as a corpus of vectors.


def test_embeddings_are_written_in_the_manifests_order_and_read_as_vectors(toy_manifest, tmp_path):
    from earwitness import audio
    from earwitness.corpora import read
    from earwitness.corpora.vectors import load_vectors
    from earwitness.detector import Windows
    from earwitness.scoring import embed

    detector = Detector.build(
        {"name": "logmel", "bands": 8},
        {"name": "mlp", "hidden": (5,)},
        windows=Windows(seconds=0.1, hop=0.004),  # a recording has over 64 windows, and one has one
    ).eval()
    audio.write(tmp_path / "short.wav", 0.1 * np.sin(np.arange(1600, dtype=np.float32)))
    trials = list(toy_manifest)[:5]
    trials = [
        Trial(t.id, str(toy_manifest.path(t)), t.label, domain=t.domain, split=t.split) for t in trials
    ]
    trials.insert(0, Trial("short", str(tmp_path / "short.wav"), "spoof", split="test"))
    manifest = Manifest("some", trials)
    assert embed(detector, manifest, tmp_path / "v") == (6, 5)
    whole = read("vectors", tmp_path / "v")
    for part in whole.values():
        vectors = load_vectors(part)
        for trial, row in zip(part, vectors, strict=True):
            wave = audio.read(manifest.path(next(t for t in trials if t.id == trial.id))).wave
            starts = audio.windows(len(wave), 1600, 64)
            rows = np.stack([audio.crop_or_repeat(wave, 1600, start=s) for s in starts])
            with torch.no_grad():
                expected = detector(torch.from_numpy(rows)).embedding.double().mean(0).numpy()
            assert row == pytest.approx(expected, abs=1e-5)


# What a run is: classes are a part of it.


def reversed_stream(stream) -> Stream:
    def part(m):
        return Manifest(m.name, m.trials, root=m.root, classes=CLASSES[::-1])

    return Stream(Task(t.name, part(t.train), part(t.dev), part(t.test)) for t in stream)


def test_a_checkpoint_of_classes_in_another_order_is_refused(stream, tmp_path):
    path = tmp_path / "c.safetensors"
    next(learn(make(), Naive(), stream, training=TRAINING, checkpoint=path))
    with pytest.raises(CheckpointError, match="classes was"):
        list(
            learn(
                make(CLASSES[::-1]),
                Naive(),
                reversed_stream(stream),
                training=TRAINING,
                checkpoint=path,
            )
        )


def test_a_checkpoint_of_another_criterion_is_refused(stream, tmp_path):
    def mine(output, batch):
        return output.logits.square().mean()

    path = tmp_path / "c.safetensors"
    next(learn(make(), Naive(), stream, training=TRAINING, checkpoint=path))
    with pytest.raises(CheckpointError, match="criterion was"):
        list(learn(make(), Naive(), stream, training=TRAINING, checkpoint=path, criterion=mine))


def test_the_digest_tells_classes_in_another_order_apart():
    assert make().digest == make().digest != make(CLASSES[::-1]).digest


def test_what_was_known_stays_known_and_all_heads_are_opened(stream):
    detector = make()
    detector.know(("dog",))
    training = Training(**{**vars(TRAINING), "heads": "seen"})
    next(learn(detector, Naive(), stream, training=training))
    assert detector.known == ("cat", "cow", "dog")
    next(learn(detector, Naive(), stream, training=TRAINING))
    assert detector.known == CLASSES
    for strangers in (("ox",), ()):
        with pytest.raises(SettingsError, match="can't be known"):
            detector.know(strangers)


@pytest.mark.parametrize("classes", [("spoof", "bonafide"), ("female", "male")])
def test_two_other_classes_have_no_score(classes):
    detector = Detector.build({"name": "logmel", "bands": 8}, "linear", classes=classes)
    with pytest.raises(SettingsError, match="a score weighs bonafide against spoof"):
        detector.score(np.random.default_rng(0).normal(size=48_000).astype(np.float32))


def test_a_rule_goes_where_the_detector_goes():
    from earwitness.rules.affine import Affine

    detector = make()
    detector.set_rule(Affine(classes=4))
    assert detector.double().rule.scale.dtype == torch.float64
    assert detector.to("meta").rule.scale.device.type == "meta"


def test_the_best_epoch_is_not_chosen_by_logits_that_don_t_decide(stream):
    from earwitness.strategies.cope import CoPE

    training = Training(**{**vars(TRAINING), "restore": "best"})
    with pytest.raises(SettingsError, match="CoPE decides by a rule"):
        next(learn(make(), CoPE(), stream, training=training))
