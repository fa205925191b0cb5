"""Distillation: losses beside derivations by hand, lessons beside the teacher, students whole."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from earwitness import audio, contracts, distill, teaching
from earwitness.backends.base import Output
from earwitness.batches import Clips
from earwitness.cli import app
from earwitness.detector import Detector, Windows
from earwitness.distill import Lessons, Projector, class_means, cosine_loss, kd_loss, nd_loss, norm_loss
from earwitness.errors import CheckpointError, ProtocolError, RunError, SettingsError
from earwitness.experiment import Experiment
from earwitness.strategies import STRATEGIES
from earwitness.strategies.distil import Distil
from earwitness.strategies.naive import Naive
from earwitness.streams import Stream
from earwitness.training import Training, learn
from earwitness.trials import Manifest, Trial

TRAINING = Training(
    epochs=2, batch_size=8, seconds=0.3, crops="windows", learning_rate=0.02, checkpoint_every=2,
    log_every=1,
)  # fmt: skip
WINDOWS = Windows(0.3, 0.1)


# Losses, in float64, beside a derivation with numpy.


def reference_nd(s, t, means, y):
    """Value and gradient of each clip's loss, by hand: two cases, no automatic differentiation."""
    values, gradients = [], []
    for row, norm, c in zip(s, t, y, strict=True):
        e = means[c] / np.sqrt((means[c] ** 2).sum())
        length = np.sqrt((row**2).sum())
        if length < norm:
            values.append(1 - row @ e / norm)
            gradients.append(-e / norm)
        else:
            values.append(1 - row @ e / length)
            gradients.append(-(e - (row @ e) * row / length**2) / length)
    return np.array(values), np.array(gradients)


def random_case(seed, clips=40, dim=6, classes=3):
    rng = np.random.default_rng(seed)
    s = rng.normal(size=(clips, dim)) * rng.uniform(0.1, 3, size=(clips, 1))
    return (
        s,
        rng.uniform(0.5, 4, size=clips),
        rng.normal(size=(classes, dim)),
        rng.integers(classes, size=clips),
    )


@pytest.mark.parametrize("seed", range(5))
def test_nd_and_its_gradient_equal_a_derivation_by_hand(seed):
    s, t, means, y = random_case(seed)
    student = torch.tensor(s, requires_grad=True)
    each = nd_loss(student, torch.tensor(t), torch.tensor(means), torch.tensor(y), reduction="none")
    values, gradients = reference_nd(s, t, means, y)
    assert (np.sqrt((s**2).sum(1)) < t).any()
    assert not (np.sqrt((s**2).sum(1)) < t).all()  # both branches
    np.testing.assert_allclose(each.detach(), values, atol=1e-12)
    each.sum().backward()
    np.testing.assert_allclose(student.grad, gradients, atol=1e-12)
    assert float(each.detach().min()) >= 0
    assert float(each.detach().max()) <= 2


def test_only_the_teachers_norm_counts_and_the_mean_is_over_clips():
    s, t, means, y = (torch.tensor(part) for part in random_case(1))
    whole = torch.randn(len(t), 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    whole *= (t / whole.norm(dim=1))[:, None]
    each = nd_loss(s, t, means, y, reduction="none")
    torch.testing.assert_close(nd_loss(s, whole, means, y), each.mean(), rtol=0, atol=1e-12)


def test_the_length_and_the_direction_of_a_class_mean_matter_as_said():
    s, t, means, y = (torch.tensor(part) for part in random_case(2))
    torch.testing.assert_close(nd_loss(s, t, 7 * means, y), nd_loss(s, t, means, y))
    moved = nd_loss(s, t, means + 1.0, y)  # not centred by itself
    assert abs(float(moved - nd_loss(s, t, means, y))) > 1e-3


def test_nd_is_direction_times_length():
    s, t, means, y = (torch.tensor(part) for part in random_case(3))
    nd = nd_loss(s, t, means, y, reduction="none")
    cosine = cosine_loss(s, means, y, reduction="none")
    norm = norm_loss(s, t, reduction="none")
    torch.testing.assert_close(1 - nd, (1 - cosine) * (1 - norm), rtol=0, atol=1e-12)


def test_at_a_tie_the_gradient_is_the_cosines():
    student = torch.tensor([[3.0, 4.0]], dtype=torch.float64, requires_grad=True)
    means, label = torch.tensor([[2.0, 0.0]], dtype=torch.float64), torch.tensor([0])
    nd_loss(student, torch.tensor([5.0]), means, label).backward()
    # Without a radial part: at right angles to s. Halved between the branches it would not be.
    assert float((student.grad * student.detach()).sum()) == pytest.approx(0, abs=1e-15)
    _, expected = reference_nd(student.detach().numpy(), [5.0], means.numpy(), [0])
    np.testing.assert_allclose(student.grad, expected, atol=1e-15)


def test_zeros_give_numbers():
    student = torch.zeros(2, 3, requires_grad=True)
    each = nd_loss(
        student, torch.tensor([0.0, 2.0]), torch.eye(3), torch.tensor([0, 1]), reduction="none"
    )
    each.sum().backward()
    assert each.tolist() == [1, 1]
    assert student.grad.tolist() == [[0, 0, 0], [0, -0.5, 0]]
    assert cosine_loss(student, torch.eye(3), torch.tensor([0, 1])) == 1
    assert norm_loss(student, torch.tensor([0.0, 2.0]), reduction="none").tolist() == [0, 1]
    flat = nd_loss(torch.ones(1, 3), torch.ones(1), torch.zeros(2, 3), torch.tensor([1]))
    assert flat == 1  # a mean of zeros has no direction


def test_a_longer_student_is_not_pulled_back():
    means, label = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
    for length in (2.0, 20.0):
        student = torch.tensor([[length, 0.0]], requires_grad=True)
        loss = nd_loss(student, torch.tensor([2.0]), means, label)
        loss.backward()
        assert loss == 0
        assert student.grad.abs().max() == 0


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_kd_equals_its_definition(temperature):
    rng = np.random.default_rng(7)
    s, t = rng.normal(size=(2, 30, 4)) * 5

    def softmax(z):
        z = np.exp((z - z.max(1, keepdims=True)) / temperature)
        return z / z.sum(1, keepdims=True)

    p, q = softmax(t), softmax(s)
    expected = temperature**2 * (p * np.log(p / q)).sum(1).mean()
    assert float(kd_loss(torch.tensor(s), torch.tensor(t), temperature)) == pytest.approx(
        expected, abs=1e-12
    )


def test_kds_gradient_is_the_difference_of_the_softened_outputs():
    student = torch.tensor([[0.3, -1.2], [2.0, 0.1]], dtype=torch.float64, requires_grad=True)
    teacher = torch.tensor([[1.0, 0.0], [-3.0, 4.0]], dtype=torch.float64, requires_grad=True)
    kd_loss(student, teacher, 3.0, reduction="none").sum().backward()
    expected = 3.0 * (torch.softmax(student / 3, 1) - torch.softmax(teacher / 3, 1))
    torch.testing.assert_close(student.grad, expected.detach(), rtol=0, atol=1e-12)
    assert teacher.grad is None


def test_no_class_can_be_named_is_no_infinity():
    masked = torch.tensor([[2.0, 1.0, -1e9]])
    assert torch.isfinite(kd_loss(torch.tensor([[0.0, 1.0, -1e9]]), masked))


def test_class_means_equal_numpys_at_an_offset():
    rng = np.random.default_rng(3)
    features = rng.normal(size=(100, 5)) + 1e6
    labels = np.array([0] * 90 + [1] * 9 + [2])
    found = class_means(torch.tensor(features), torch.tensor(labels), 3)
    expected = np.stack([features[labels == c].mean(0) for c in range(3)])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def nd_of_zeros(teacher=(2,), means=(2, 3), labels=(2,)):
    labels = torch.zeros(labels, dtype=torch.long)
    return nd_loss(torch.zeros(2, 3), torch.zeros(teacher), torch.zeros(means), labels)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: kd_loss(torch.zeros(2, 2), torch.zeros(2, 2), 0.0), "temperature is 0.0"),
        (lambda: kd_loss(torch.zeros(2, 2), torch.zeros(3, 2)), "logits"),
        (lambda: nd_of_zeros(means=(2, 4)), "projector"),
        (lambda: nd_of_zeros(teacher=(5,)), "norms of 2"),
        (lambda: nd_of_zeros(labels=(1,)), "labels"),
        (lambda: class_means(torch.zeros(2, 3), torch.tensor([0, 0]), 2), "class 1 has no clip"),
        (lambda: class_means(torch.zeros(2, 3), torch.tensor([0, 2]), 2), "from 0 to 2"),
        (lambda: Projector(2, 3, 1.0), "dropout is 1.0"),
        (lambda: Distil(lessons="x", warm_up=-1), "warm_up >= 0"),
        (lambda: STRATEGIES.build("distil"), "lessons"),
        (lambda: STRATEGIES.build("distil", lessons="x", hold="nb"), "nd-centred"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(call, says):
    with pytest.raises(SettingsError, match=says):
        call()


# Lessons.


@pytest.fixture(scope="module")
def teacher():
    settings = {"hidden": (12,), "pooling": "mean"}
    return Detector.build({"name": "logmel", "bands": 16}, {"name": "mlp", **settings}, seed=9).eval()


def student(seed=1, hidden=8):
    """With 12 its embedding is as wide as the teacher's, and there is no projector."""
    front_end, back_end = {"name": "logmel", "bands": 16}, {"name": "mlp", "hidden": (hidden,)}
    return Detector.build(front_end, back_end, seed=seed, windows=WINDOWS)


@pytest.fixture(scope="module")
def train(toy_manifest):
    return toy_manifest.where(lambda trial: trial.split == "train")


@pytest.fixture(scope="module")
def written(teacher, train, tmp_path_factory):
    path = tmp_path_factory.mktemp("lessons") / "lessons.safetensors"
    teaching.teach(teacher, train, path, windows=WINDOWS)
    return path


def test_lessons_are_what_the_teacher_says_of_each_window(teacher, train, written):
    """By another way: each window of each clip heard alone, by the training's own crops."""
    lessons = Lessons.read(written)
    clips = Clips(train, seconds=0.3, hop=0.1)
    for draw in range(4):
        batch = clips.batch(range(len(train)), np.random.default_rng(draw))
        lesson = lessons.find(batch)
        for row in range(0, len(train), 7):
            with torch.no_grad():
                said = teacher(batch.wave[row : row + 1])
            torch.testing.assert_close(lesson.logits[row], said.logits[0], rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(
                lesson.norms[row], said.embedding[0].norm(), rtol=1e-5, atol=1e-5
            )
            away = (said.embedding[0] - lessons.centre).norm().float()
            torch.testing.assert_close(lesson.centred_norms[row], away, rtol=1e-4, atol=1e-4)
    assert len(lessons.keys) > len(train)  # more than one window a clip
    assert not (written.parent / "lessons.safetensors.parts").exists()


def test_means_weigh_clips_equally(teacher, train, written):
    lessons = Lessons.read(written)
    clips = {label: [] for label in train.classes}
    for trial in train:
        own = Manifest("one", [trial], root=train.root)
        rows = next(iter(teaching._rows(teacher, own, own.trials, WINDOWS)))
        with torch.no_grad():
            clips[trial.label].append(teacher(torch.from_numpy(rows)).embedding.double().mean(0))
    for mean, name in zip(lessons.means, lessons.classes, strict=True):
        torch.testing.assert_close(
            mean.double(), torch.stack(clips[name]).mean(0), rtol=1e-5, atol=1e-6
        )
    assert lessons.generator_names == ("bonafide", "buzz")
    torch.testing.assert_close(lessons.generator_means, lessons.means)
    assert lessons.clips == (32, 32)


def test_lessons_of_whole_clips_are_means_over_their_windows(teacher, train, written, tmp_path):
    by_window = Lessons.read(written)
    of_clips = teaching.teach(teacher, train, tmp_path / "l", windows=WINDOWS, view="clip")
    torch.testing.assert_close(of_clips.means, by_window.means, rtol=0, atol=0)
    batch = Clips(train, seconds=0.2).batch([3, 50], np.random.default_rng(0))  # crops anywhere
    found = of_clips.find(batch)
    for row, place in enumerate((3, 50)):
        own = Manifest("one", [train.trials[place]], root=train.root)
        rows = torch.from_numpy(next(iter(teaching._rows(teacher, own, own.trials, WINDOWS))))
        with torch.no_grad():
            said = teacher(rows)
        torch.testing.assert_close(
            found.norms[row], said.embedding.norm(dim=1).mean(), rtol=1e-5, atol=1e-5
        )
        torch.testing.assert_close(found.logits[row], said.logits.mean(0), rtol=1e-5, atol=1e-5)


def test_likeness_is_the_largest_cosine(written):
    lessons = dataclasses.replace(
        Lessons.read(written), means=torch.tensor([[1.0, 0.0], [1.0, 1.0], [-1.0, 0.1]])
    )
    assert lessons.likeness() == pytest.approx(0.5**0.5)


def test_what_was_not_heard_is_an_error_that_says_what_was(train, written):
    batch = Clips(train, seconds=0.25).batch([0])
    with pytest.raises(
        SettingsError, match=r"4000 samples of clip 'low-train-bonafide-0'.*0\.3 s every 0\.1 s"
    ):
        Lessons.read(written).find(batch)


def test_a_killed_teacher_goes_on_and_ends_with_the_same_bits(
    teacher, train, written, tmp_path, monkeypatch
):
    monkeypatch.setattr(teaching, "_PART", 20)
    heard = []

    def killed():
        heard.append(1)
        if len(heard) == 45:
            raise KeyboardInterrupt

    path = tmp_path / "lessons.safetensors"
    with pytest.raises(KeyboardInterrupt):
        teaching.teach(teacher, train, path, windows=WINDOWS, on_clip=killed)
    assert not path.exists()
    again = []
    monkeypatch.setattr(teaching, "_judged", counting(teaching._judged, again))
    teaching.teach(teacher, train, path, windows=WINDOWS)
    assert path.read_bytes() == written.read_bytes()
    assert sum(again) < len(Lessons.read(path).keys)  # the first parts were not heard again
    again.clear()
    teaching.teach(teacher, train, path, windows=WINDOWS)
    assert not again  # all is there


def counting(call, calls):
    def counted(teacher, rows):
        calls.append(len(rows))
        return call(teacher, rows)

    return counted


def test_parts_of_another_teacher_are_not_taken(teacher, train, written, tmp_path, monkeypatch):
    monkeypatch.setattr(teaching, "_PART", 20)
    other = Detector.build({"name": "logmel", "bands": 16}, {"name": "mlp", "hidden": (12,)}, seed=10)
    path, count = tmp_path / "lessons.safetensors", iter(range(100))

    def killed():
        if next(count) == 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        teaching.teach(other, train, path, windows=WINDOWS, on_clip=killed)
    teaching.teach(teacher, train, path, windows=WINDOWS)
    assert path.read_bytes() == written.read_bytes()
    with pytest.raises(CheckpointError, match="another teacher"):
        teaching.teach(other, train, path, windows=WINDOWS)
    with pytest.raises(CheckpointError, match="another hop"):
        teaching.teach(teacher, train, path, windows=Windows(0.3, 0.3))


def test_silence_in_both_classes_stays_with_its_clip(teacher, tmp_path):
    """Windows with the same samples: each has its own clip's label and generator."""
    trials = []
    for name, label, attack in (("r", "bonafide", "-"), ("a", "spoof", "A1"), ("b", "spoof", "A2")):
        wave = np.random.default_rng(len(trials)).normal(size=8000) * 0.1
        wave[:5000] = 0
        audio.write(tmp_path / f"{name}.wav", wave)
        trials.append(Trial(name, f"{name}.wav", label, attack))
    manifest = Manifest("silent", trials, root=tmp_path)
    lessons = teaching.teach(teacher, manifest, tmp_path / "l", windows=WINDOWS)
    batch = Clips(manifest, seconds=0.3).batch([0, 1, 2])  # from the beginning: silence
    assert torch.equal(batch.wave[0], batch.wave[2])
    assert lessons.find(batch).generators.tolist() == [0, 1, 2]
    made_spoof = dataclasses.replace(batch, label=torch.tensor([1, 1, 1]))
    with pytest.raises(SettingsError, match="'r' has another label"):
        lessons.find(made_spoof)


def test_a_teacher_that_says_nothing_is_an_error(train, tmp_path):
    broken = student(4).eval()
    with torch.no_grad():
        broken.back_end.head.bias.fill_(float("nan"))
    with pytest.raises(
        RunError, match="clip 'low-train-bonafide-0': the teacher's embedding or logits"
    ):
        teaching.teach(broken, train, tmp_path / "l", windows=WINDOWS)


def test_what_a_killed_command_left_goes(teacher, train, written):
    left = written.with_name(written.name + ".parts")
    left.mkdir()
    teaching.teach(teacher, train, written, windows=WINDOWS)
    assert not left.exists()


def test_lessons_that_are_none(tmp_path, train, teacher):
    with pytest.raises(CheckpointError, match="earwitness distill EXPERIMENT"):
        Lessons.read(tmp_path / "absent")
    (tmp_path / "text").write_text("no")
    with pytest.raises(CheckpointError, match="absent, truncated or foreign"):
        Lessons.read(tmp_path / "text")
    one_class = train.where(lambda trial: trial.label == "spoof")
    with pytest.raises(ProtocolError, match="no clip of bonafide"):
        teaching.teach(teacher, one_class, tmp_path / "l", windows=WINDOWS)
    digits = Manifest("d", [Trial("a", "a.wav", "one")], classes=("one", "two"))
    with pytest.raises(SettingsError, match="labelled one, two"):
        teaching.teach(teacher, digits, tmp_path / "l", windows=WINDOWS)


def test_generators_without_a_name_are_spoofs():
    trials = [
        Trial("a", "a", "bonafide", "x"), Trial("b", "b", "spoof"), Trial("c", "c", "spoof", "A2"),
        Trial("d", "d", "spoof", "bonafide"),
    ]  # fmt: skip
    assert distill.lessons.generators_of(Manifest("m", trials)) == ("bonafide", "A2", "spoof")


# Students.


@pytest.mark.parametrize("hold", ["nd", "nd-centred"])
def test_resume_equals_uninterrupted(hold, written, toy_stream, tmp_path):
    build = lambda: STRATEGIES.build("distil", lessons=str(written), hold=hold, warm_up=1.0)  # noqa: E731
    contracts.check_strategy(build, student, toy_stream, tmp_path, TRAINING)


def test_strength_zero_is_naive_and_needs_no_lessons(toy_stream):
    zero = lambda: STRATEGIES.build("distil", lessons="nowhere", kd=0.0, nd=0.0)  # noqa: E731
    contracts.check_strength_zero(
        zero, lambda: STRATEGIES.build("naive"), student, toy_stream, TRAINING
    )


def test_strength_zero_needs_no_lessons_to_go_on_either(toy_stream, tmp_path):
    strategy = STRATEGIES.build("distil", lessons="nowhere", kd=0.0, nd=0.0)
    for _ in learn(student(), strategy, toy_stream, training=TRAINING, checkpoint=tmp_path / "c"):
        pass
    assert strategy.built_from["lessons"] == "nowhere"


@pytest.mark.parametrize("settings", [{"batch_size": 1}, {"batch_size": 4, "accumulate": 4}])
def test_one_clip_alone_is_no_batch_for_the_projector(settings, written, toy_stream):
    alone = dataclasses.replace(TRAINING, **settings)
    with pytest.raises(SettingsError, match="training.batch_size"):
        learned(Distil(lessons=str(written)), toy_stream, alone)


def test_in_half_precision_the_distances_are_whole(written, train):
    batch = Clips(train, seconds=0.3, hop=0.1).batch(range(8), np.random.default_rng(0))
    output = student(hidden=12).eval()(batch.wave)
    half = Output(output.logits.bfloat16(), output.embedding.bfloat16())
    told = Distil(lessons=str(written), warm_up=0.0).penalty(learning_at(0), batch, half)
    same = Output(half.logits.float(), half.embedding.float())
    assert told.dtype == torch.float32
    torch.testing.assert_close(
        told, Distil(lessons=str(written), warm_up=0.0).penalty(learning_at(0), batch, same)
    )


def learned(strategy, stream, training=TRAINING):
    detector = student()
    for _ in learn(detector, strategy, stream, training=training, seed=3):
        pass
    return detector


def test_kd_is_off_in_the_first_epoch(written, toy_stream):
    """Epochs count from 0: with one epoch and a warm-up, KD alone is naive; without, it isn't."""
    one = dataclasses.replace(TRAINING, epochs=1)
    digests = [
        learned(strategy, toy_stream, one).digest
        for strategy in (
            Naive(),
            Distil(lessons=str(written), nd=0.0, warm_up=20.0),
            Distil(lessons=str(written), nd=0.0, warm_up=0.0),
        )
    ]
    assert digests[0] == digests[1] != digests[2]


def test_kd_grows_with_the_epochs(written, train):
    lessons, detector = Lessons.read(written), student().eval()
    batch = Clips(train, seconds=0.3, hop=0.1).batch(range(8), np.random.default_rng(0))
    output = detector(batch.wave)
    strategy = Distil(lessons=str(written), nd=0.0, kd=3.0, warm_up=20.0)
    whole = 3.0 * kd_loss(output.logits, lessons.find(batch).logits, 4.0)
    for epoch, share in ((1, 0.05), (10, 0.5), (20, 1.0), (21, 1.0)):
        told = strategy.penalty(learning_at(epoch), batch, output)
        torch.testing.assert_close(told, share * whole)


def learning_at(epoch):
    class Now:
        pass

    now = Now()
    now.epoch, now.detector = epoch, student()
    return now


@pytest.mark.parametrize("hold", ["nd", "nd-centred", "nd-per-generator"])
def test_the_penalty_is_the_loss_of_the_teachers_own_embedding(hold, teacher, train, written):
    """From the teacher heard again, not from the cached norms; dims equal, so no projector."""
    own = student(2, hidden=12).eval()
    batch = Clips(train, seconds=0.3, hop=0.1).batch([1, 20, 40, 60], np.random.default_rng(0))
    lessons = Lessons.read(written)
    with torch.no_grad():
        s, t = own(batch.wave), teacher(batch.wave)
    found = Distil(lessons=str(written), kd=0.0, nd=2.0, hold=hold).penalty(learning_at(0), batch, s)
    centre = lessons.centre if hold == "nd-centred" else torch.zeros(lessons.dim)
    parts = (x - centre for x in (s.embedding, t.embedding, lessons.means))
    expected = 2 * nd_loss(*parts, batch.label).float()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_centred_directions_of_two_classes_are_opposite(written):
    lessons = Lessons.read(written)
    one, other = torch.nn.functional.normalize(lessons.means - lessons.centre)
    torch.testing.assert_close(one, -other, rtol=0, atol=1e-6)


def test_classes_can_weigh_the_same(train, written):
    batch = Clips(train, seconds=0.3, hop=0.1).batch([0, 1, 2, 63], np.random.default_rng(0))
    output = student().eval()(batch.wave)
    plain, balanced = (
        Distil(lessons=str(written), nd=0.0, warm_up=0.0, weights=w) for w in ("none", "batch")
    )
    each = kd_loss(output.logits, Lessons.read(written).find(batch).logits, 4.0, reduction="none")
    torch.testing.assert_close(plain.penalty(learning_at(0), batch, output), each.mean())
    halves = (each[batch.label == 0].mean() + each[batch.label == 1].mean()) / 2
    torch.testing.assert_close(balanced.penalty(learning_at(0), batch, output), halves)


def test_a_student_is_as_large_and_as_fast_as_without_a_teacher(written, toy_stream, tmp_path):
    """The projector learns, and stays out: weights, file and card's network are those of naive."""
    strategy = Distil(lessons=str(written), warm_up=0.0)
    sizes = []
    stream = Stream([toy_stream[0]])
    detector = student()
    before = None
    for _ in learn(
        detector, strategy, stream, training=TRAINING, seed=3,
        on_step=lambda record: sizes.append(
            [p.detach().clone() for p in strategy.projector.parameters()]
        ),
    ):  # fmt: skip
        before = strategy.projector
    assert not list(before.parameters())  # gone after the task
    assert not all(torch.equal(a, b) for a, b in zip(sizes[0], sizes[-1], strict=True))  # it learned
    naive = learned(Naive(), stream)
    shapes = [{n: v.shape for n, v in d.whole_state().items()} for d in (detector, naive)]
    assert shapes[0] == shapes[1]
    files = []
    for name, one in (("student", detector), ("naive", naive)):
        one.card = {}
        one.save(tmp_path / name)
        files.append((tmp_path / name / "weights.safetensors").stat().st_size)
    assert files[0] == files[1]
    assert detector.digest != naive.digest
    wave = torch.randn(2, 8000)
    assert operations(detector, wave) == operations(naive, wave)


def operations(detector, wave):
    """Everything that a forward pass calls, in order: the same list is the same work."""
    with torch.profiler.profile() as profile, torch.no_grad():
        detector.eval()(wave)
    return [event.name for event in profile.events()]


def test_a_student_learns_on_with_any_strategy(written, toy_stream):
    detector = learned(Distil(lessons=str(written)), Stream([toy_stream[0]]))
    before = detector.digest
    for name in ("rwm", "replay", "ewc_online"):
        for _ in learn(detector, STRATEGIES.build(name), toy_stream, training=TRAINING):
            pass
    assert detector.digest != before


def test_it_pulls_the_student_towards_the_teacher(written, toy_stream, train):
    """Not only another number: with nd the embedding's cosine with its class's mean rises."""
    lessons = Lessons.read(written)
    batch = Clips(train, seconds=0.3).batch(range(len(train)))
    cosines = []
    for nd in (0.0, 4.0):
        strategy = Distil(lessons=str(written), kd=0.0, nd=nd, hold="nd-centred")
        # a student of the teacher's dim: no projector, so that its own embedding is what is held
        own = student(2, hidden=12)
        for _ in learn(own, strategy, toy_stream, training=dataclasses.replace(TRAINING, epochs=10)):
            pass
        with torch.no_grad():
            h = own.eval()(batch.wave).embedding - lessons.centre.float()
        cosines.append(1 - float(cosine_loss(h, (lessons.means - lessons.centre).float(), batch.label)))
    assert cosines[1] > cosines[0] + 0.1


def test_classes_that_differ_are_refused(written, toy_stream, tmp_path):
    lessons = dataclasses.replace(Lessons.read(written), classes=("one", "two"))
    lessons.write(tmp_path / "l")
    with pytest.raises(SettingsError, match="names one, two; the student bonafide, spoof"):
        learned(Distil(lessons=str(tmp_path / "l")), toy_stream)


def test_it_goes_alone_in_a_chain():
    with pytest.raises(SettingsError, match="distil goes alone"):
        STRATEGIES.build("chain", parts=[{"name": "distil", "lessons": "x"}, {"name": "replay"}])


# The command.

EXPERIMENT = """
name = "small"
[stream]
root = "corpus"
by = "all"
[detector]
front_end = "lfcc"
back_end = {{ name = "resnet", width = 4, blocks = [1, 1] }}
windows = {{ seconds = 0.3, hop = 0.1 }}
[training]
epochs = 2
seconds = 0.3
{more}
[strategies.naive]
[strategies.small]
name = "distil"
lessons = "lessons.safetensors"
"""


@pytest.fixture
def desk(tmp_path, toy_manifest, teacher, monkeypatch):
    """A folder with a corpus, a teacher and an experiment of students."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(toy_manifest.root, "corpus")
    teacher.save("teacher")
    Path("small.toml").write_text(EXPERIMENT.format(more='crops = "windows"'))
    return tmp_path


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def told(*words):
    """What the command line says: a message for a deliberate error, as ``main`` prints it."""
    result = call(*words)
    return result.exit_code, result.output + str(result.exception or "")


def test_the_command_teaches_once_and_learns(desk):
    done = call("distill", "small.toml", "--teacher", "teacher")
    assert done.exit_code == 0, done.output
    assert "windows of 64 clips; cosine of the class means" in done.output
    settings = (desk / "runs/small/small/seed-0/settings.json").read_text()
    assert str(desk) not in settings  # the lessons are told by their digest
    assert "embedding" in (desk / "runs/small/small/seed-0/action.jsonl").read_text()
    before = Detector.load("runs/small/small/seed-0/detector").digest
    shutil.rmtree("teacher")
    shutil.rmtree("runs")
    again = call("run", "small.toml")  # the teacher is not needed any more
    assert again.exit_code == 0, again.output
    assert Detector.load("runs/small/small/seed-0/detector").digest == before
    assert call("report", "runs/small").exit_code == 0
    page = (desk / "runs/small/report.html").read_text()
    assert "cosine with the class" in page
    assert "gradient kept" not in page


def test_crops_that_fall_anywhere_have_lessons_of_whole_clips(desk):
    Path("small.toml").write_text(EXPERIMENT.format(more='crops = "random"'))
    done = call("distill", "small.toml", "--teacher", "teacher", "--out", "r")
    assert done.exit_code == 0, done.output
    assert "64 clips of 64 clips" in done.output


def test_what_a_user_would_do_wrong(desk):
    code, said = told("run", "small.toml")
    assert code != 0
    assert "earwitness distill EXPERIMENT --teacher DETECTOR" in said
    assert not Path("runs/small/naive").exists()  # said before the first run
    _, said = told("distill", "small.toml", "--teacher", "nobody")
    assert "nobody" in said
    naive = EXPERIMENT.format(more="").split("[strategies.small]")[0]
    Path("naive.toml").write_text(naive)
    assert (
        "no strategy of this experiment learns from a teacher"
        in told("distill", "naive.toml", "--teacher", "teacher")[1]
    )
    call("distill", "small.toml", "--teacher", "teacher")
    code, said = told("run", "small.toml", "training.seconds=0.2", "--out", "other")
    assert code != 0
    assert "0.3 s every 0.1 s" in said


def test_another_file_of_lessons_is_another_run(desk):
    call("distill", "small.toml", "--teacher", "teacher")
    lessons = Lessons.read("lessons.safetensors")
    dataclasses.replace(lessons, norms=lessons.norms * 2).write("lessons.safetensors")
    code, said = told("run", "small.toml")
    assert code != 0
    assert "made with other settings: strategy.lessons was" in said
    assert "temperature" not in said  # what differs, and nothing else
    Path("lessons.safetensors").write_text("no")
    _, said = told("run", "small.toml", "--out", "new")
    assert "truncated or foreign" in said
    assert not Path("new").exists()  # said before anything is learned


def test_only_some_trials_are_learned_from(desk):
    def stream(where):
        settings = f'[stream]\nroot = "corpus"\nby = "all"\nwhere = {where}\n[strategies.naive]'
        Path("some.toml").write_text(settings)
        return Experiment.read("some.toml").stream()

    (task,) = stream('{ domain = ["low"] }')
    assert task.train.counts("domain") == {"low": 32}
    assert stream('{ domain = "high" }')[0].train.counts("domain") == {"high": 32}
    for where, says in (
        ('{ domain = "lo" }', "no trial has domain 'lo'; did you mean 'low'"),
        ('{ domian = "low" }', "no trial has a 'domian'; did you mean 'domain'"),
        ("{ domain = [] }", "expected a text or a list of texts"),
        ("{ domain = [3] }", "expected a text or a list of texts"),
    ):
        with pytest.raises(SettingsError, match=says):
            stream(where)


def test_one_file_is_not_two_kinds_of_lessons(desk):
    more = '[strategies.other]\nname = "distil"\nlessons = "lessons.safetensors"\n'
    more += "training = { seconds = 0.2 }"
    Path("two.toml").write_text(EXPERIMENT.format(more='crops = "windows"') + more)
    with pytest.raises(SettingsError, match="in other windows by another strategy"):
        teaching.plan_lessons(Experiment.read("two.toml"))


def test_vectors_have_lessons_too(teacher, train, tmp_path):
    """Rows that stand in for audio are heard whole."""
    from earwitness.corpora import vectors

    rng = np.random.default_rng(0)
    names = [trial.label for trial in train]
    rows = rng.normal(size=(len(train), 8)) + 2 * np.array([[n == "spoof"] for n in names])
    vectors.write(tmp_path / "v", rows.astype(np.float32), train, name="v", classes=train.classes)
    manifest = vectors.read(tmp_path / "v")["train"] if hasattr(vectors, "read") else None
    if manifest is None:
        from earwitness.corpora import read

        manifest = read("vectors", tmp_path / "v")["train"]
    big = Detector.build({"name": "vectors", "dim": 8}, {"name": "mlp", "hidden": (16,)}, seed=4)
    lessons = teaching.teach(big, manifest, tmp_path / "l", windows=Windows())
    assert len(lessons.keys) == len(train)
    batch = Clips(manifest, kind="vector").batch(range(len(manifest)))
    with torch.no_grad():
        torch.testing.assert_close(lessons.find(batch).logits, big.eval()(batch.wave).logits)
