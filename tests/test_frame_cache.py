"""Frames kept on disk: the same scores, fewer forwards, and whatever a kill or a neighbour does."""

import json
import os
import signal
import subprocess
import sys
import time
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import tomli_w
import torch

from earwitness import extraction
from earwitness.ahead import ahead
from earwitness.detector import Detector, Windows
from earwitness.errors import CheckpointError, RunError, SettingsError
from earwitness.experiment import Experiment
from earwitness.extraction import extract
from earwitness.frame_cache import FrameCache
from earwitness.frontends import FRONTENDS
from earwitness.running import run
from earwitness.training import Training, learn

TINY = {"name": "ssl", "config": {"shape": "tiny"}}
WAVES = torch.randn(3, 8000, generator=torch.Generator().manual_seed(1))
LENGTHS = torch.tensor([8000, 5000, 6400])


def padded(waves: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    return waves * (torch.arange(waves.shape[1]) < lengths[:, None])


def experiment(toy_manifest, folder: Path, **more) -> Experiment:
    settings = {
        "name": "kept",
        "stream": {"corpus": "manifest", "root": str(toy_manifest.root)},
        "detector": {
            "front_end": TINY, "back_end": "mlp", "windows": {"seconds": 0.25, "hop": 0.125},
        },
        "training": {
            "epochs": 2, "batch_size": 8, "seconds": 0.25, "crops": "windows", "checkpoint_every": 1,
        },
        "strategies": {"naive": {}},
        **more,
    }  # fmt: skip
    return Experiment.from_settings(settings, folder=folder)


@pytest.fixture(scope="module")
def front_end():
    torch.manual_seed(0)
    return FRONTENDS.build(**TINY, layers="all").eval()


@pytest.mark.parametrize("layers", ["all", "weighted", 1])
def test_detector_hears_the_same_with_and_without(tmp_path, layers):
    detector = Detector.build({**TINY, "layers": layers}, "rat" if layers == "all" else "mlp").eval()
    if layers == "weighted":
        with torch.no_grad():
            detector.front_end.weighting.copy_(torch.tensor([1.0, -1.0, 0.5]))
    waves = padded(WAVES, LENGTHS)
    plain = detector(waves, LENGTHS)
    detector.cache = FrameCache(tmp_path, detector.front_end)
    first, second = detector(waves, LENGTHS), detector(waves, LENGTHS)
    assert torch.equal(first.logits, second.logits)
    assert (detector.cache.heard, detector.cache.read) == (3, 3)
    torch.testing.assert_close(first.logits, plain.logits, atol=1e-5, rtol=1e-5)


def test_learned_weighting_still_learns(tmp_path):
    detector = Detector.build({**TINY, "layers": "weighted"}, "mlp")
    detector.cache = FrameCache(tmp_path, detector.front_end)
    for _ in range(2):
        detector.zero_grad()
        detector(WAVES, LENGTHS).score.sum().backward()
        assert detector.front_end.weighting.grad.abs().max() > 0
    twin = deepcopy(detector)
    with torch.no_grad():
        twin.front_end.weighting.copy_(torch.tensor([5.0, 0.0, -5.0]))
    assert twin.cache is detector.cache
    assert not torch.allclose(twin(WAVES).score, detector(WAVES).score)


def test_frames_depend_on_no_neighbour_and_no_padding(tmp_path, front_end):
    alone = FrameCache(tmp_path / "alone", front_end)
    together = FrameCache(tmp_path / "together", front_end)
    batch = together.hear(WAVES, LENGTHS)
    for row, (wave, length) in enumerate(zip(WAVES, LENGTHS, strict=True)):
        one = alone.hear(wave[None, :length], length[None])
        frames = int(one.length)
        assert frames == int(batch.length[row])
        assert torch.equal(one.values[0], batch.values[row, ..., :frames])
        assert not batch.values[row, ..., frames:].any()


def test_other_weights_settings_and_precision_are_other_frames(tmp_path, front_end):
    first = FrameCache(tmp_path, front_end)
    first.hear(WAVES, LENGTHS)
    other = deepcopy(front_end)
    with torch.no_grad():
        next(other.encoder.parameters()).add_(0.1)
    for again, heard in (
        (FrameCache(tmp_path, other), 3),
        (FrameCache(tmp_path, front_end, precision="float16"), 3),
        (FrameCache(tmp_path, front_end), 0),
    ):
        again.hear(WAVES, LENGTHS)
        assert again.heard == heard
    with torch.autocast("cpu", torch.bfloat16):
        first.hear(WAVES, LENGTHS)
    assert first.heard == 6


def test_weights_loaded_later_are_never_taken_for_the_old_ones(tmp_path, front_end):
    own = deepcopy(front_end)
    cache = FrameCache(tmp_path, own)
    before = cache.hear(WAVES, LENGTHS).values
    state = {name: value + 0.1 for name, value in own.state_dict().items()}
    own.load_state_dict(state)
    assert not torch.allclose(cache.hear(WAVES, LENGTHS).values, before)


def test_half_precision_rounds_from_the_first_time_on(tmp_path, front_end):
    whole = FrameCache(tmp_path / "whole", front_end)
    half = FrameCache(tmp_path / "half", front_end, precision="float16")
    exact, first, second = (c.hear(WAVES, LENGTHS).values for c in (whole, half, half))
    assert torch.equal(first, second)
    assert torch.equal(first, exact.half().float())
    assert half.size() * 2 == whole.size()


def test_values_beyond_half_precision_are_an_error(tmp_path):
    cache = FrameCache(tmp_path, FRONTENDS.build("wave"), precision="float16")
    with pytest.raises(RunError, match="take float32"):
        cache.hear(torch.full((1, 8000), 1e6), torch.tensor([8000]))
    assert cache.size() == 0


def test_full_cache_keeps_what_it_has_and_hears_the_rest_anew(tmp_path, front_end):
    whole = FrameCache(tmp_path / "whole", front_end)
    expected = whole.hear(WAVES, LENGTHS).values
    small = FrameCache(tmp_path / "small", front_end, gib=0.7 * whole.size() / 2**30)
    for _ in range(2):
        assert torch.equal(small.hear(WAVES, LENGTHS).values, expected)
    assert 0 < small.size() <= small.room < whole.size()
    assert (small.heard, small.read, small.not_kept) == (4, 2, 2)


def test_killed_writer_leaves_nothing_half(tmp_path, front_end):
    """What was listed is whole; a cut line and frames without a line are as if they weren't there."""
    cache = FrameCache(tmp_path, front_end)
    expected = cache.hear(WAVES, LENGTHS).values
    (listed,) = tmp_path.glob("*/*.list")
    listed.write_bytes(listed.read_bytes()[:-20])
    again = FrameCache(tmp_path, front_end)
    assert torch.equal(again.hear(WAVES, LENGTHS).values, expected)
    assert (again.heard, again.read) == (1, 2)


def test_listed_frames_that_are_gone_are_named(tmp_path, front_end):
    FrameCache(tmp_path, front_end).hear(WAVES, LENGTHS)
    (frames,) = tmp_path.glob("*/*.frames")
    frames.write_bytes(frames.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="delete the folder"):
        FrameCache(tmp_path, front_end).hear(WAVES, LENGTHS)


def test_two_writers_share_and_agree(tmp_path, front_end):
    one, other = FrameCache(tmp_path, front_end), FrameCache(tmp_path, front_end)
    one.hear(WAVES[:2], LENGTHS[:2])
    first = other.hear(WAVES, LENGTHS)
    assert (other.heard, other.read) == (1, 2)
    again = one.hear(WAVES, LENGTHS)
    assert (one.heard, one.read) == (2, 3)
    assert torch.equal(first.values, again.values)


@pytest.mark.parametrize(
    ("front_end", "settings", "told"),
    [
        ({**TINY, "tune": "all"}, {}, "weights don't"),
        ({**TINY, "tune": "lora"}, {}, "weights don't"),
        ({**TINY, "compat": "rat"}, {}, "one by one"),
        ({"name": "vectors", "dim": 4}, {}, "one by one"),
        (TINY, {"gib": 0.0}, "expected > 0"),
        (TINY, {"precision": "int8"}, "choose from float32, float16"),
    ],
)
def test_refusals(tmp_path, front_end, settings, told):
    with pytest.raises(SettingsError, match=told):
        FrameCache(tmp_path, FRONTENDS.build(**front_end), **settings)


def test_experiment_refuses_crops_that_never_return(toy_manifest, tmp_path):
    for training in ({"crops": "random"}, {"crops": "windows", "augment": ["gain"]}):
        with pytest.raises(SettingsError, match="crops that come again"):
            experiment(toy_manifest, tmp_path, training=training, cache={"folder": "frames"})
    with pytest.raises(SettingsError, match="folder"):
        experiment(toy_manifest, tmp_path, cache={"fodler": "frames"})


def test_learning_refuses_crops_that_never_return(toy_stream, tmp_path):
    detector = Detector.build(TINY, "mlp", windows=Windows(0.25, 0.25))
    detector.cache = FrameCache(tmp_path, detector.front_end)
    with pytest.raises(SettingsError, match="crops that come again"):
        list(learn(detector, _naive(), toy_stream, training=Training(seconds=0.25)))


def _naive():
    from earwitness.strategies import STRATEGIES

    return STRATEGIES.build("naive")


def test_run_from_extracted_frames_hears_nothing(toy_manifest, tmp_path):
    """Extraction finds every window that the run needs, once; two processes share it."""
    kept = experiment(toy_manifest, tmp_path, cache={"folder": "frames"})
    told = []
    found = extract(kept, workers=2, on_clip=lambda done, total: told.append((done, total)))
    assert found.heard > 100
    assert found.not_kept == 0
    assert told[-1][0] == told[-1][1]
    size = sum(path.stat().st_size for path in tmp_path.glob("frames/*/*.frames"))
    with_cache = run(kept, tmp_path / "with").runs()[0]
    assert sum(path.stat().st_size for path in tmp_path.glob("frames/*/*.frames")) == size
    again = extract(kept)
    assert again.heard == 0
    empty = run(experiment(toy_manifest, tmp_path, cache={"folder": "empty"}), tmp_path / "empty-run")
    assert _digest(empty.runs()[0]) == _digest(with_cache)
    without = run(experiment(toy_manifest, tmp_path), tmp_path / "without").runs()[0]
    for one, other in zip(with_cache.steps(), without.steps(), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-4)
    np.testing.assert_allclose(
        with_cache.scores(1, 0, "test").values, without.scores(1, 0, "test").values, atol=1e-3
    )


def _digest(one) -> str:
    return Detector.load(one.path / "detector").digest


def test_extraction_hears_references_too(toy_manifest, tmp_path):
    kept = experiment(
        toy_manifest,
        tmp_path,
        detector={
            "front_end": {**TINY, "layers": "all"},
            "back_end": {"name": "rat"},
            "windows": {"seconds": 0.25, "hop": 0.125},
        },
        references={"training": "same-speaker", "scoring": "same-speaker"},
        stream={"corpus": "manifest", "root": str(_with_common_speakers(toy_manifest, tmp_path))},
        cache={"folder": "frames"},
    )
    extract(kept)
    size = sum(path.stat().st_size for path in tmp_path.glob("frames/*/*.frames"))
    run(kept, tmp_path / "run")
    assert sum(path.stat().st_size for path in tmp_path.glob("frames/*/*.frames")) == size


def _with_common_speakers(manifest, folder: Path) -> Path:
    lines = (manifest.root / "manifest.tsv").read_text().splitlines()
    told = "\n".join(line.replace("-bonafide-s", "-s").replace("-spoof-s", "-s") for line in lines)
    for path in manifest.root.glob("*.wav"):
        (folder / path.name).symlink_to(path)
    (folder / "manifest.tsv").write_text(told + "\n")
    return folder


def test_run_folder_is_not_mixed(toy_manifest, tmp_path):
    run(experiment(toy_manifest, tmp_path), tmp_path / "run")
    for settings in ({"folder": "frames"}, {"folder": "frames", "precision": "float16"}):
        with pytest.raises(CheckpointError, match="frames_kept_as"):
            run(experiment(toy_manifest, tmp_path, cache=settings), tmp_path / "run")
    run(experiment(toy_manifest, tmp_path, cache={"folder": "frames"}), tmp_path / "kept")
    with pytest.raises(CheckpointError, match="frames_kept_as"):
        run(experiment(toy_manifest, tmp_path), tmp_path / "kept")


def test_extraction_computes_with_one_thread_as_runs_do(toy_manifest, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        extraction, "_outcomes", lambda *job: iter(seen.append(torch.get_num_threads()) or ())
    )
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        extract(experiment(toy_manifest, tmp_path, cache={"folder": "frames"}))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {1}


def test_extract_without_a_cache_is_wrong_usage(toy_manifest, tmp_path):
    with pytest.raises(SettingsError, match=r"no \[cache\]"):
        extract(experiment(toy_manifest, tmp_path))


@pytest.mark.slow
def test_killed_extraction_goes_on(toy_manifest, tmp_path):
    """kill -9 of the command and its workers at an arbitrary moment; the same command goes on."""
    lfcc = {"front_end": "lfcc", "back_end": "mlp", "windows": {"seconds": 0.25, "hop": 0.1}}
    plan = experiment(toy_manifest, tmp_path, cache={"folder": "frames"}, detector=lfcc)
    (tmp_path / "kept.toml").write_text(tomli_w.dumps(plan.settings))
    words = [sys.executable, "-m", "earwitness", "extract", "kept.toml", "--workers", "2"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(words, cwd=tmp_path, env=env, start_new_session=True)
    deadline = time.monotonic() + 120
    while not any(_lines(path) for path in tmp_path.glob("frames/*/*.list")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    known = sum(len(p.read_text().splitlines()) for p in tmp_path.glob("frames/*/*.list"))
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    heard, there = (int(word) for word in done.stdout.replace(",", "").split() if word.isdigit())
    again = experiment(toy_manifest, tmp_path, cache={"folder": "whole"}, detector=lfcc)
    whole = extract(again)
    assert 0 < known < whole.heard
    assert known - 1 <= whole.heard - heard <= known + 1
    assert heard + there == whole.heard + whole.read
    kept, undisturbed = (
        {
            json.loads(line)["clip"]
            for path in tmp_path.glob(f"{name}/*/*.list")
            for line in _lines(path)
        }
        for name in ("frames", "whole")
    )
    assert kept == undisturbed


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.endswith("}")]


def test_things_are_made_ahead_in_order_and_errors_come_in_their_place():
    made = []

    def maker(number):
        def make():
            if number == 3:
                raise ValueError("three")
            made.append(number)
            return number

        return make

    for count in (0, 1, 5):
        made.clear()
        found = ahead([maker(n) for n in range(6)], count)
        assert [next(found) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ValueError, match="three"):
            next(found)
    made.clear()
    waiting = ahead([maker(0), maker(1), maker(2)], 1)
    assert next(waiting) == 0
    waiting.close()
    assert len(made) <= 2


def test_batches_made_ahead_change_nothing(toy_stream):
    found = []
    for count in (0, 3):
        detector = Detector.build("lfcc", "mlp", windows=Windows(0.25, 0.25))
        training = Training(epochs=2, batch_size=8, seconds=0.25, ahead=count)
        records = []
        for _ in learn(detector, _naive(), toy_stream, training=training, on_step=records.append):
            pass
        found.append((detector.digest, [record["loss"] for record in records]))
        assert all(0 <= r["waited"] <= r["seconds"] and r["clips"] == 8 for r in records)
    assert found[0] == found[1]


def test_windows_as_crops_are_those_that_are_scored(toy_manifest):
    from earwitness import audio
    from earwitness.batches import Clips, random_for

    clips = Clips(toy_manifest, seconds=0.2, hop=0.1)
    wave = audio.read(toy_manifest.path(toy_manifest.trials[0])).wave
    expected = {wave[s : s + 3200].tobytes() for s in audio.windows(len(wave), 3200, 1600)}
    drawn = {clips.batch([0], random_for(n)).wave[0].numpy().tobytes() for n in range(60)}
    assert drawn == expected


def test_gradients_of_single_clips_are_those_without_a_cache(tmp_path) -> None:
    from torch.func import functional_call, grad, vmap

    detector = Detector.build({"name": "lfcc"}, {"name": "mlp", "hidden": [4]}, seed=1).eval()
    wave, length = torch.randn(3, 8000), torch.full((3,), 8000)
    weights = {name: p.detach() for name, p in detector.named_parameters()}

    def of_clip(weights, one):
        return functional_call(detector, weights, (one[None], length[:1])).logits[0, 0]

    slopes = []
    for cache in (None, FrameCache(tmp_path, detector.front_end)):
        detector.cache = cache
        slopes.append(vmap(grad(of_clip), in_dims=(None, 0))(weights, wave))
    for name in weights:
        torch.testing.assert_close(slopes[1][name], slopes[0][name])
