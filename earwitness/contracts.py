"""What every component of a shelf must keep; also for components of your own.

Each ``check_*`` takes a component (or a way to build one), tries to break its promise, and raises
``AssertionError`` with what was found. They are run over every component of every shelf in the
tests, and each has a test that shows it catching a component that cheats.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earwitness.backends.base import BackEnd
from earwitness.detector import Detector
from earwitness.frontends.base import Frames, FrontEnd
from earwitness.metrics.curves import sweep
from earwitness.shelf import Shelf
from earwitness.strategies.base import Strategy
from earwitness.streams import Stream
from earwitness.training import Training, learn
from earwitness.trials import Manifest

__all__ = [
    "check_back_end",
    "check_corpus",
    "check_detector",
    "check_front_end",
    "check_metric",
    "check_shelf",
    "check_strategy",
    "check_strength_zero",
]

_NOISE = 2e-4  # float32 through a network: sums in another order


def check_shelf(shelf: Shelf) -> list[str]:
    """The table names every file of the folder and nothing else; gives the component names.

    Private modules (leading underscore) and the shelf's declared helpers are not components.
    """
    import importlib

    folder = Path(importlib.import_module(shelf.package).__file__ or "").parent
    files = {p.stem for p in folder.glob("*.py") if not p.stem.startswith("_")}
    table = {place.split(":")[0] for place in shelf.table.values()}
    helpers = set(shelf.helpers)
    assert files - table - helpers == set(), f"files without a table entry: {files - table - helpers}"
    assert table | helpers <= files, f"table entries without a file: {(table | helpers) - files}"
    for name in shelf.table:
        component = shelf.get(name)
        assert (component.__doc__ or "").strip(), f"{shelf.noun} {name!r} has no docstring"
    return list(shelf.table)


def check_front_end(front_end: FrontEnd) -> None:
    """Frames depend on their own clip alone: not on batch mates, padding or order; any length works."""
    front_end.eval()
    with torch.no_grad():
        if front_end.eats != "wave":
            clips = [torch.randn(front_end.min_samples) for _ in range(3)]
        else:
            n = front_end.min_samples
            clips = [torch.randn(n) * 0.01, torch.randn(5 * n + 7), torch.zeros(3 * n)]
        alone = [_frames(front_end, [clip])[0] for clip in clips]
        for frames in alone:
            assert frames.ndim == 2, f"a clip's frames are {tuple(frames.shape)}, not (feature, frame)"
            assert len(frames) == front_end.features, "features is not the size of a frame"
            assert frames.shape[1] >= 1, "min_samples doesn't give a frame"
            assert torch.isfinite(frames).all(), "frames of noise or silence are not finite"
        for order in ([0, 1, 2], [2, 0, 1]):
            together = _frames(front_end, [clips[i] for i in order])
            for i, frames in zip(order, together, strict=True):
                _assert_close(frames, alone[i], "frames depend on batch mates, padding or order")


def _frames(front_end: FrontEnd, clips: Sequence[Tensor]) -> list[Tensor]:
    wave, length = _pad(clips)
    frames = front_end(wave, length)
    inside = [v[:, :n] for v, n in zip(frames.values, frames.length.tolist(), strict=True)]
    for values, n in zip(frames.values, frames.length.tolist(), strict=True):
        assert not values[:, n:].any(), "frames after a clip's length are not zero"
    return inside


def check_back_end(build: Callable[..., BackEnd], *, features: int = 20) -> None:
    """Logits and embedding of the stated shapes, from a clip's own frames; every weight learns."""
    torch.manual_seed(0)
    back_end = build(features=features)
    step = -(-back_end.min_frames // 40)  # whole networks hear samples, and many of them
    clips = [torch.randn(features, n * step) for n in (40, 64, 96)]
    _check_gradients(back_end, clips)
    back_end.eval()
    with torch.no_grad():
        alone = [_outputs(back_end, [clip]) for clip in clips]
        together = _outputs(back_end, clips[::-1])
        assert together.embedding.shape == (3, back_end.dim), "dim is not the embedding's size"
        assert together.score.shape == (3,), "a score is not one number a clip"
        for i, one in enumerate(alone):
            assert torch.isfinite(one.logits).all(), "logits are not finite"
            _assert_close(together.logits[2 - i], one.logits[0], "a score depends on batch mates")


def _check_gradients(back_end: BackEnd, clips: Sequence[Tensor]) -> None:
    back_end.train()
    output = _outputs(back_end, clips)
    (output.logits * torch.randn_like(output.logits)).sum().backward()
    learning = [(n, p) for n, p in back_end.named_parameters() if p.requires_grad]
    idle = [n for n, p in learning if p.grad is None or not p.grad.any()]
    assert not idle, f"no gradient reaches {idle}"


def _outputs(back_end: BackEnd, clips: Sequence[Tensor]) -> Any:
    """A reference, where one is wanted, is the clip itself without its last frames."""
    if not back_end.wants_reference:
        return back_end(_as_frames(clips))
    return back_end(_as_frames(clips), _as_frames([clip.flip(1)[:, 3:] for clip in clips]))


def _as_frames(clips: Sequence[Tensor]) -> Frames:
    width = max(clip.shape[1] for clip in clips)
    values = torch.stack([torch.nn.functional.pad(c, (0, width - c.shape[1])) for c in clips])
    return Frames(values, torch.tensor([clip.shape[1] for clip in clips]))


def check_detector(detector: Detector, *, seconds: float = 1.0) -> None:
    """A score is its own clip's: batch mates, batch size, padding and order don't change it.

    Where the detector decides by a rule, that is what is checked.
    """
    detector.eval()
    n = round(seconds * 16_000)
    clips = [torch.randn(n), torch.randn(n // 2) * 0.01, torch.randn(n + 4321)]
    if detector.front_end.eats != "wave":
        clips = [torch.randn(detector.front_end.min_samples) for _ in range(3)]
    with torch.no_grad():
        alone = torch.cat([detector.judge(*_pad([clip])).score for clip in clips])
        together = detector.judge(*_pad(clips)).score
        backward = detector.judge(*_pad(clips[::-1])).score.flip(0)
    _assert_close(together, alone, "a score depends on batch mates or padding")
    _assert_close(backward, alone, "a score depends on the order of the batch")


def check_metric(metric: Callable[[NDArray[Any], NDArray[Any]], float]) -> None:
    """Order doesn't matter, nor more scores of the same kind; a sweep gives the same value.

    Nor do monotone maps, unless the metric says that it reads scores as numbers (``order_only``).
    """
    rng = np.random.default_rng(0)
    bonafide, spoof = rng.normal(1, 1, 60).round(1), rng.normal(0, 1, 80).round(1)
    value = metric(bonafide, spoof)
    assert np.isfinite(value), "the value is not finite"
    shuffled = metric(rng.permutation(bonafide), rng.permutation(spoof))
    assert abs(shuffled - value) < 1e-12, f"the order of trials changes it: {value} and {shuffled}"
    doubled = metric(np.tile(bonafide, 2), np.tile(spoof, 2))
    assert abs(doubled - value) < 0.05, f"twice the same trials change it: {value} and {doubled}"
    marked, settings = (metric.func, metric.keywords) if isinstance(metric, partial) else (metric, {})
    if getattr(marked, "order_only", True):
        mapped = metric(np.exp(bonafide), np.exp(spoof))
        assert abs(mapped - value) < 1e-12, f"a monotone map changes it: {value} and {mapped}"
    if getattr(marked, "of_sweep", None):
        swept = float(vars(marked)["of_sweep"](sweep(bonafide, spoof), **settings))
        assert abs(swept - value) < 1e-12, f"of a sweep it is {swept}, of the scores {value}"


def check_corpus(parts: dict[str, Manifest], *, trials: int) -> None:
    """A reader drops nothing: the parts hold as many trials as the corpus has, all files there."""
    found = sum(len(part) for part in parts.values())
    assert found == trials, f"{found} trials read, {trials} in the corpus"
    for part in parts.values():
        part.require_files()


def check_strategy(
    build: Callable[[], Strategy],
    make_detector: Callable[[], Detector],
    stream: Stream,
    folder: Path,
    training: Training,
) -> None:
    """Resume equals uninterrupted to the bit, and looking at the detector leaves no trace.

    A run is cut at three places (the end of the first task, the first step of the second, the last
    step but one) and resumed from its checkpoint.
    """
    whole = _learn(build(), make_detector(), stream, training)
    watched = _learn(build(), make_detector(), stream, training, look=True)
    assert _same(whole, watched), "looking at the detector between tasks changed what was learned"
    steps = _count_steps(build(), make_detector(), stream, training)
    for number, cut in enumerate({steps // 2, steps // 2 + 1, steps - 1}):
        path = folder / f"cut-{number}.safetensors"
        _learn_until(build(), make_detector(), stream, training, path, cut)
        resumed = _learn(build(), make_detector(), stream, training, checkpoint=path)
        assert _same(whole, resumed), f"a run cut after step {cut} ends with other weights"


def check_strength_zero(
    build_zero: Callable[[], Strategy],
    build_naive: Callable[[], Strategy],
    make_detector: Callable[[], Detector],
    stream: Stream,
    training: Training,
) -> None:
    """With its strength at zero a strategy is the naive one, to the bit."""
    zero = _learn(build_zero(), make_detector(), stream, training)
    naive = _learn(build_naive(), make_detector(), stream, training)
    assert _same(zero, naive), "at strength 0 the weights differ from naive's"


class _Cut(Exception):
    pass


def _learn(
    strategy: Strategy,
    detector: Detector,
    stream: Stream,
    training: Training,
    *,
    look: bool = False,
    checkpoint: Path | None = None,
) -> dict[str, Tensor]:
    for done in learn(detector, strategy, stream, training=training, seed=3, checkpoint=checkpoint):
        if look:
            with torch.no_grad():
                done.detector.eval()(torch.randn(2, _width(detector)))
    return {n: v.clone() for n, v in detector.whole_state().items()}


def _width(detector: Detector) -> int:
    return 16_000 if detector.front_end.eats == "wave" else detector.front_end.min_samples


def _count_steps(strategy: Strategy, detector: Detector, stream: Stream, training: Training) -> int:
    records: list[Any] = []
    for _ in learn(detector, strategy, stream, training=training, seed=3, on_step=records.append):
        pass
    return len(records)


def _learn_until(
    strategy: Strategy,
    detector: Detector,
    stream: Stream,
    training: Training,
    path: Path,
    cut: int,
) -> None:
    count = 0

    def stop(_: dict[str, Any]) -> None:
        nonlocal count
        count += 1
        if count == cut:
            raise _Cut

    try:
        for _ in learn(
            detector, strategy, stream, training=training, seed=3, checkpoint=path, on_step=stop
        ):
            pass
    except _Cut:
        return
    raise AssertionError("the run was over before it could be cut")


def _same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def _pad(clips: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    clips = list(clips)
    width = max(len(clip) for clip in clips)
    wave = torch.stack([torch.nn.functional.pad(c, (0, width - len(c))) for c in clips])
    return wave, torch.tensor([len(clip) for clip in clips])


def _assert_close(found: Tensor, expected: Tensor, message: str) -> None:
    scale = max(1.0, float(expected.abs().max()))
    difference = float((found - expected).abs().max()) if found.shape == expected.shape else np.inf
    assert difference <= _NOISE * scale, f"{message}: differs by {difference:.2g}"
