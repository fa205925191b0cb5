"""The loop: determinism, resuming, growing streams, refusals, choosing the best epoch."""

import numpy as np
import pytest
import torch

from earwitness.batches import Clips, epoch_batches, random_for
from earwitness.detector import Detector
from earwitness.errors import CheckpointError, ProtocolError, RunError, SettingsError
from earwitness.state import load_state, save_state
from earwitness.strategies import STRATEGIES
from earwitness.streams import Stream, Task
from earwitness.training import Training, learn
from earwitness.trials import Manifest, Trial

FAST = Training(epochs=2, batch_size=8, seconds=0.5, learning_rate=0.02)


def make_detector(seed: int = 1) -> Detector:
    return Detector.build({"name": "logmel", "bands": 16}, {"name": "mlp", "hidden": [12]}, seed=seed)


def weights(detector: Detector) -> dict[str, torch.Tensor]:
    return {n: v.clone() for n, v in detector.state_dict().items()}


def run(stream, *, training=FAST, seed=0, strategy="naive", **kwargs):
    detector = make_detector()
    built = STRATEGIES.build(strategy)
    done = [d.task.name for d in learn(detector, built, stream, training=training, seed=seed, **kwargs)]
    return weights(detector), done


def same(one, other):
    return all(torch.equal(one[n], other[n]) for n in one)


def test_the_same_seed_gives_the_same_bits_and_another_doesnt(toy_stream):
    one, other, third = (run(toy_stream, seed=s)[0] for s in (0, 0, 1))
    assert same(one, other)
    assert not same(one, third)


def test_the_callers_random_state_is_left_alone(toy_stream):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    run(toy_stream, strategy="replay")
    assert torch.equal(torch.rand(3), expected)


def test_it_learns(toy_stream):
    losses = []
    run(toy_stream, on_step=lambda r: losses.append(r["loss"]), training=Training(
        epochs=8, batch_size=8, seconds=0.5, learning_rate=0.3))  # fmt: skip
    assert np.mean(losses[:4]) > 0.5 > np.mean(losses[-4:])


def test_a_finished_task_is_yielded_again_and_a_grown_stream_goes_on(toy_stream, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    first = Stream(toy_stream.tasks[:1])
    assert run(first, checkpoint=path)[1] == ["low"]
    assert run(first, checkpoint=path)[1] == ["low"]
    grown, done = run(toy_stream, checkpoint=path)
    assert done == ["low", "high"]
    whole, _ = run(toy_stream)
    assert same(grown, whole)


def test_a_checkpoint_of_other_settings_or_tasks_is_refused(toy_stream, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    run(toy_stream, checkpoint=path)
    with pytest.raises(CheckpointError, match="other settings"):
        run(toy_stream, checkpoint=path, seed=9)
    with pytest.raises(CheckpointError, match="other settings"):
        run(toy_stream, checkpoint=path, strategy="owm")
    built = STRATEGIES.build("naive")
    built.built_from = {"name": "naive", "strength": 2}
    with pytest.raises(CheckpointError, match="other settings: strategy"):
        next(learn(make_detector(), built, toy_stream, training=FAST, checkpoint=path))
    with pytest.raises(CheckpointError, match="only be added at the end"):
        run(Stream(toy_stream.tasks[::-1]), checkpoint=path)


def test_a_damaged_checkpoint_is_refused(toy_stream, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    run(toy_stream, checkpoint=path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="truncated"):
        run(toy_stream, checkpoint=path)


def test_a_loss_that_explodes_is_an_error(toy_stream):
    wild = Training(
        epochs=20, batch_size=8, seconds=0.5, learning_rate=1e30, clip_norm=0, schedule="constant"
    )
    with pytest.raises(RunError, match=r"loss became (nan|inf).*learning_rate"):
        run(toy_stream, training=wild)


@pytest.mark.parametrize("name", ["epochs", "batch_size", "learning_rate", "log_every"])
def test_impossible_training_is_refused(name):
    with pytest.raises(SettingsError, match=f"{name} is 0"):
        Training(**{name: 0})
    with pytest.raises(SettingsError, match="clip_norm is -1"):
        Training(clip_norm=-1)


def test_clips_too_short_for_the_network_are_refused(toy_stream):
    short = Training(epochs=1, seconds=0.1)
    detector = Detector.build("lfcc", "lcnn")
    with pytest.raises(SettingsError, match=r"training\.seconds is 0\.1 s.*at least 0\.182 s"):
        next(learn(detector, STRATEGIES.build("naive"), toy_stream, training=short))
    with pytest.raises(SettingsError, match="a clip has 1600 samples; this detector needs 2912"):
        detector(torch.zeros(2, 8000), torch.tensor([8000, 1600]))


def test_best_epoch_by_dev_and_late_as_released(toy_stream):
    """``best`` keeps the epoch whose own dev EER is lowest; ``best-late`` the epoch after it."""
    common = {"epochs": 4, "batch_size": 8, "seconds": 0.5, "learning_rate": 0.05}
    one_task = Stream(toy_stream.tasks[:1])
    by_epoch = []
    for epochs in range(1, 5):
        stop = Training(**{**common, "epochs": epochs, "schedule": "constant"})
        by_epoch.append(run(one_task, training=stop)[0])
    found = {}
    for restore in ("last", "best", "best-late"):
        training = Training(**common, schedule="constant", restore=restore)
        kept = run(one_task, training=training)[0]
        found[restore] = [same(kept, w) for w in by_epoch].index(True)
    assert found["last"] == 3
    assert found["best-late"] == min(found["best"] + 1, 3)


def test_epoch_batches_drop_nothing():
    for count, size in ((10, 3), (33, 32), (1, 8), (64, 32)):
        batches = epoch_batches(count, size, random_for(1))
        assert sorted(np.concatenate(batches)) == list(range(count))
        sizes = [len(b) for b in batches]
        assert max(sizes) <= size
        assert max(sizes) - min(sizes) <= 1


def test_a_small_cache_reads_again_and_gives_the_same_clips(toy_stream):
    manifest = toy_stream[0].train
    roomy, cramped = Clips(manifest, seconds=0.3), Clips(manifest, seconds=0.3, cache_mib=0)
    for _ in range(2):
        one = roomy.batch(range(8), random_for(2))
        other = cramped.batch(range(8), random_for(2))
        assert torch.equal(one.wave, other.wave)
    assert len(cramped._cache) <= 1 < len(roomy._cache)


def test_unlabelled_trials_cannot_be_learned():
    manifest = Manifest("m", [Trial("a", "a.wav", "unknown")])
    with pytest.raises(ProtocolError, match="'a' is labelled 'unknown'"):
        Clips(manifest)


def test_vectors_stand_in_for_audio(tmp_path):
    """The whole loop on pre-extracted embeddings, with a projected strategy."""
    from earwitness.corpora import read
    from earwitness.scoring import score

    rng = np.random.default_rng(0)
    lines, rows = ["id\tlabel\tdomain\tsplit"], []
    for domain in ("a", "b"):
        for split in ("train", "dev", "test"):
            for label, shift in (("bonafide", 1.5), ("spoof", -1.5)):
                for n in range(12):
                    lines.append(f"{domain}{split}{label}{n}\t{label}\t{domain}\t{split}")
                    rows.append(rng.normal(shift, 1, 6))
    (tmp_path / "manifest.tsv").write_text("\n".join(lines))
    np.save(tmp_path / "vectors.npy", np.array(rows, dtype=np.float32))
    parts = read("vectors", tmp_path)
    domains = {d: {s: parts[s].where(lambda t, d=d: t.domain == d) for s in parts} for d in "ab"}
    stream = Stream(Task(d, p["train"], p["dev"], p["test"]) for d, p in domains.items())
    detector = Detector.build({"name": "vectors", "dim": 6}, "linear")
    training = Training(epochs=5, batch_size=8, learning_rate=0.1)
    list(learn(detector, STRATEGIES.build("rwm"), stream, training=training))
    scores = score(detector, stream[0].test)
    assert scores.bonafide.mean() > scores.spoof.mean()
    assert scores.provenance["trial_scope"] == "one vector a trial"


def test_state_round_trip_and_refusals(tmp_path):
    tree = {"a": torch.arange(3), "b": [1, 2.5, "x", None, True, {"c": torch.ones(2, 2)}], 7: {}}
    save_state(tmp_path / "s", tree)
    found = load_state(tmp_path / "s")
    assert torch.equal(found["a"], tree["a"])
    assert torch.equal(found["b"][5]["c"], tree["b"][5]["c"])
    assert found["b"][:5] == tree["b"][:5]
    assert list(found) == ["a", "b", 7]
    save_state(tmp_path / "s", {"a.b": torch.zeros(1), "a": {"b": torch.ones(1)}})
    assert load_state(tmp_path / "s")["a"]["b"] == 1, "keys with dots must not collide"
    save_state(tmp_path / "s", tree)
    with pytest.raises(CheckpointError, match=r"state\.x is a set"):
        save_state(tmp_path / "s", {"x": {1}})
    assert torch.equal(load_state(tmp_path / "s")["a"], tree["a"]), "a refused save lost the old one"
    with pytest.raises(CheckpointError, match="absent"):
        load_state(tmp_path / "nothing")
