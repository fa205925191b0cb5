"""The loop: learn a stream task by task with a strategy, resumable to the bit.

Everything random at a step is seeded from (seed, task, epoch, step), so a checkpoint holds no random
state and a resumed run cannot differ from an undisturbed one. Where a strategy comes in is meant
to be read off ``_step``.
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earwitness import distributed, sharding
from earwitness.ahead import ahead
from earwitness.augment.presets import build_all
from earwitness.backends._heads import head_kind
from earwitness.backends.base import Output
from earwitness.batches import Batch, Clips, epoch_batches, random_for
from earwitness.detector import Detector
from earwitness.errors import CheckpointError, RunError, SettingsError
from earwitness.losses import Criterion, Loss
from earwitness.metrics.eer import eer
from earwitness.references import Policy
from earwitness.settings import difference
from earwitness.state import load_state, save_state
from earwitness.strategies.base import Learning, Strategy, quiet
from earwitness.strategies.flat import rows_of
from earwitness.streams import Stream, Task
from earwitness.tracking import measure_collapse
from earwitness.training_settings import FREE, Training
from earwitness.trials import CLASSES

__all__ = ["Done", "Training", "learn", "one_thread"]

_ORDER, _PASS, _STEP, _BEGIN = 0, 1, 2, 3  # what a seed is for


@dataclass(frozen=True)
class Done:
    """A task has been learned: its place in the stream and the detector as it is now."""

    task: Task
    position: int
    detector: Detector
    strategy: Strategy


@dataclass
class _Where:
    """What a checkpoint says: the next step to do, or that ``task`` is finished."""

    task: int = 0
    epoch: int = 0
    step: int = 0
    begun: bool = False
    finished: bool = False


def learn(
    detector: Detector,
    strategy: Strategy,
    stream: Stream,
    *,
    training: Training | None = None,
    criterion: Criterion | None = None,
    references: Policy | None = None,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    on_step: Callable[[dict[str, Any]], None] = lambda record: None,
    on_collapse: Callable[[dict[str, Any]], None] = lambda record: None,
) -> Iterator[Done]:
    """Learn the stream's tasks in order; yields after each.

    With ``checkpoint`` (a file), progress is saved there after every task and every
    ``checkpoint_every`` steps. When the file exists learning goes on from it: finished tasks are
    skipped except the last one, which is yielded again because its reader may have been killed too.
    A stream that has grown by new tasks since then continues with those.

    ``references`` are for detectors whose back end wants them, and are left out for others.

    ``on_step`` gets one record a step: task and its position, epoch, step of the task's steps, loss,
    learning_rate, ``action`` every ``log_every`` steps, and how many ``clips`` took how many
    ``seconds``, for how many of which the step ``waited`` for its clips. ``on_collapse`` gets task,
    position, epoch and what `tracking.measure_collapse` found, where ``training.collapse`` asks for it.

    Raises:
        CheckpointError: the checkpoint belongs to another stream, strategy, detector or setting.
        RunError: the loss became infinite or NaN.
    """
    training = training or Training()
    criterion = criterion or training.criterion()
    if isinstance(criterion, Loss):
        criterion.check_head(head_kind(detector.back_end.head))
    loop = _Loop(detector, strategy, stream, training, criterion, seed, on_step)
    loop.path = Path(checkpoint) if checkpoint else None
    loop.on_collapse = on_collapse
    loop.references = (references or Policy()) if detector.wants_reference else Policy()
    if loop.shards:
        loop.references.require_one_for_all("training.shard")
    return loop.run()


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread: then results don't depend on how many cores the machine has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _Loop:
    def __init__(
        self,
        detector: Detector,
        strategy: Strategy,
        stream: Stream,
        training: Training,
        criterion: Criterion,
        seed: int,
        on_step: Callable[[dict[str, Any]], None],
    ):
        _require_logits(strategy, training)
        if distributed.size() > 1 and not strategy.spreads:
            raise SettingsError(
                f"the strategy {type(strategy).__name__} listens to whole batches, and several "
                "processes hear a part each; run it in one process, with --workers side by side."
            )
        self.shards = training.shard and distributed.size() > 1
        if self.shards:
            _require_shardable(detector, strategy)
        strategy.check_optimiser(training.optimiser, training.weight_decay)
        detector.require_seconds(training.seconds, "training.seconds")
        _require_same_classes(detector, stream)
        if detector.cache is not None:
            training.require_crops_that_return()
        self.whole = detector
        self.detector, self.strategy, self.stream = detector, strategy, stream
        self.training, self.criterion, self.seed = training, criterion, seed
        self.on_step = on_step
        self.path: Path | None = None
        self.on_collapse: Callable[[dict[str, Any]], None] = lambda record: None
        self.references = Policy()
        self._now = seed
        partly = detector.known != detector.classes
        self._known_before = detector.known if partly else ()
        self.dev: Clips | None = None
        self.tracked: Clips | None = None
        self.where = _Where()
        self.best: dict[str, Any] = {"eer": None, "late": None, "weights": None}
        self.optimiser: torch.optim.Optimizer

    def run(self) -> Iterator[Done]:
        self.detector.to(self.training.device)
        saved = self._resume()
        if self.where.finished:
            yield self._done()
            self.where = _Where(task=self.where.task + 1)
        while self.where.task < len(self.stream):
            self._learn_task(saved)
            saved = None
            yield self._done()
            self.where = _Where(task=self.where.task + 1)

    def _set_known(self, seen: list[Task]) -> None:
        """With ``heads="seen"``, classes that no task has shown yet cannot be named."""
        if self.training.heads == "all":
            self.detector.know(self.detector.classes)
            return
        labels = {*self._known_before, *(label for task in seen for label in task.train.counts())}
        self.detector.know(c for c in self.detector.classes if c in labels)

    def _done(self) -> Done:
        position = self.where.task
        self._set_known(list(self.stream)[: position + 1])
        self.detector.set_rule(self.strategy.rule())
        return Done(self.stream[position], position, self.detector.eval(), self.strategy)

    def _learn_task(self, saved: dict[str, Any] | None) -> None:
        task = self.stream[self.where.task]
        seen = list(self.stream)[: self.where.task + 1]
        chosen = self.strategy.choose_data(seen)
        self.clips = self._clips(chosen or task.train, "training")
        self._set_known(seen)
        with self._seeded(_BEGIN, 0):
            self.strategy.begin_task(self._learning(0.0), task)
        if self.shards:
            self.detector = sharding.deal_out(self.whole)
            self.whole.cpu()
        self.parameters = [*self.detector.parameters(), *self.strategy.weights()]
        self.optimiser = _optimiser(self.parameters, self.training)
        if saved is not None and self.where.begun:
            self.strategy.load(saved["strategy"], self.detector)
            sharding.load(self.detector, saved["detector"])
            _load_optimiser(self.optimiser, saved["optimiser"])
        else:
            self.best = {"eer": None, "late": None, "weights": None}
            self.where.begun = True
        for epoch in range(self.where.epoch, self.training.epochs if chosen else 0):
            self._learn_epoch(task, epoch)
        self._restore()
        self._bring_together()
        if chosen and self.training.collapse == "tasks":  # of the weights that stay
            self._track(task, self.training.epochs - 1)
        with self._seeded(_PASS, 0):
            self.strategy.end_task(self._learning(1.0), task)
        self.where.finished = True
        self._save()

    def _learn_epoch(self, task: Task, epoch: int) -> None:
        self.detector.train()
        rng = random_for(self.seed, self.where.task, _ORDER, epoch)
        batches = epoch_batches(len(self.clips), self.training.batch_size, rng)
        total = self.training.epochs * len(batches)
        steps = range(self.where.step, len(batches))
        first = epoch * len(batches)
        makers = [partial(self._prepare, batches[step], first + step) for step in steps]
        # Rows of vectors are there at once: handing them over would cost more than it saves.
        prepared = ahead(makers, self.training.ahead if self.clips.kind == "wave" else 0)
        for step in steps:
            done, begun = first + step, time.perf_counter()
            batch = next(prepared).to(self.training.device)
            waited = time.perf_counter() - begun
            with self._seeded(_STEP, done):
                record = self._step(batch, epoch, done / total)
            record |= {"task": task.name, "position": self.where.task, "epoch": epoch}
            record |= {"step": done, "steps": total, "clips": len(batch)}
            record |= {"seconds": time.perf_counter() - begun, "waited": waited}
            if done % self.training.log_every == 0:
                record["action"] = self.strategy.action()
            self.on_step(record)
            self.where.epoch, self.where.step = epoch, step + 1
            last = step + 1 == len(batches)
            if (done + 1) % self.training.checkpoint_every == 0 and not last:
                self._save()
        self._judge(task)
        if self.training.collapse == "epochs":
            self._track(task, epoch)
        self.where.epoch, self.where.step = epoch + 1, 0

    def _track(self, task: Task, epoch: int) -> None:
        told = {"task": task.name, "position": self.where.task, "epoch": epoch}
        if self.tracked is None or self.tracked.manifest is not task.train:
            self.tracked = self._clips(task.train, "scoring")
        self.on_collapse(told | measure_collapse(self.detector, self.tracked))

    def _prepare(self, positions: NDArray[np.intp], step: int) -> Batch:
        batch = self.clips.batch(positions, self._crops(step))
        return batch.pinned() if torch.device(self.training.device).type == "cuda" else batch

    def _crops(self, step: int) -> np.random.Generator | None:
        """Where the step's clips are cropped at random; vectors and images are taken whole."""
        if self.clips.kind != "wave":
            return None
        return random_for(self.seed, self.where.task, _STEP, step)

    def _step(self, batch: Batch, epoch: int, progress: float) -> dict[str, Any]:
        rate = self._set_learning_rate(progress, epoch)
        strategy, learning = self.strategy, self._learning(progress, epoch, rate)
        batch = strategy.extend_batch(learning, batch)
        for parameter in self.parameters:
            parameter.grad = None
        value, output = self._add_gradients(learning, batch)
        strategy.edit_gradients(learning, batch, output)
        if self.training.clip_norm and self.shards:
            sharding.clip_norm(self.parameters, self.training.clip_norm)
        elif self.training.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.training.clip_norm)
        self.optimiser.step()
        strategy.after_step(learning)
        return {"loss": value, "learning_rate": rate}

    def _add_gradients(self, learning: Learning, batch: Batch) -> tuple[float, Output]:
        """Loss and output of a batch; its gradients, part by part, are in the weights then."""
        total, outputs = 0.0, []
        own = distributed.share(len(batch))
        # As many parts in every process: layers that are dealt out are put together by all at once.
        most = len(batch) // distributed.size()
        for rows in own.tensor_split(min(self.training.accumulate, most)):
            part = batch
            if len(rows) < len(batch):
                part = replace(rows_of(batch, rows), whole=batch.label)
            with self._autocast():
                output = self.detector.hear(part)
                loss = self.strategy.objective(learning, part, output)
                penalty = self.strategy.penalty(learning, part, output)
            loss = (loss if penalty is None else loss + penalty) * (len(part) / len(batch))
            total += float(loss.detach())
            loss.backward()
            outputs.append(output)
        sharding.scale(self.parameters)
        kept_whole = [p for p in self.parameters if not sharding.is_dealt_out(p)]
        total = distributed.sum_over_all(kept_whole, total)
        distributed.average_buffers(self.detector)
        if not math.isfinite(total):
            raise RunError(
                f"task {self.stream[self.where.task].name!r}: the loss became {total}; "
                "lower training.learning_rate or the strategy's strength."
            )
        if len(own) == len(batch) and len(outputs) == 1:
            return total, outputs[0]
        return total, _whole(own, outputs)

    def _autocast(self) -> Any:
        on = self.training.precision == "bf16"
        kind = torch.device(self.training.device).type
        return torch.autocast(kind, torch.bfloat16) if on else nullcontext()

    def _learning(self, progress: float, epoch: int = 0, rate: float = 0.0) -> Learning:
        clips = len(self.stream[self.where.task].train)
        return Learning(
            detector=self.detector,
            criterion=self.criterion,
            generator=torch.Generator().manual_seed(self._now),
            progress=progress,
            position=self.where.task,
            data=self._one_pass,
            batches=-(-clips // self.training.batch_size),
            epoch=epoch,
            rate=rate,
        )

    def _one_pass(self) -> Iterator[Batch]:
        """The current task's own clips once, whatever the strategy trains on besides."""
        clips = self.clips
        task = self.stream[self.where.task]
        if clips.manifest is not task.train:
            clips = self._clips(task.train, "training")
        rng = random_for(self.seed, self.where.task, _PASS)
        for batch in clips.batches(self.training.batch_size, rng):
            yield batch.to(self.training.device)

    def _clips(self, manifest: Any, purpose: Literal["training", "scoring"]) -> Clips:
        front_end, t = self.detector.front_end, self.training
        own = {"kind": front_end.eats, **front_end.image}
        own["references"] = self.references.of(manifest, purpose)
        own["augment"] = build_all(t.augment) if purpose == "training" else None
        if t.crops == "windows":
            own["hop"] = min(self.detector.windows.hop, t.seconds)
        return Clips(manifest, seconds=t.seconds, cache_mib=t.cache_mib, **own)

    def _seeded(self, purpose: int, number: int) -> Any:
        """Torch's random state for one step, a function of where the step is; restored after."""
        self._now = int(random_for(self.seed, self.where.task, purpose, number, 7).integers(2**63 - 1))
        return _Seeded(self._now)

    def _set_learning_rate(self, progress: float, epoch: int) -> float:
        t = self.training
        later = self.where.task > 0 and t.later_learning_rate is not None
        later = later and not self.strategy.restarts
        rate = t.later_learning_rate if later else t.learning_rate
        assert rate is not None
        if t.schedule == "cosine":
            rate *= 0.5 * (1 + float(np.cos(np.pi * progress)))
        elif t.schedule == "step":
            rate *= t.step_factor ** (epoch // t.step_epochs)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        return rate

    def _judge(self, task: Task) -> None:
        """Remember the weights of the best epoch on dev, when the settings ask for it."""
        if self.training.restore == "last":
            return
        now = distributed.gather(self._dev_error(task))[0]  # one judgement for all processes
        late = self.training.restore == "best-late"
        judged = self.best["late"] if late else now
        self.best["late"] = now
        if judged is None or (self.best["eer"] is not None and judged >= self.best["eer"]):
            return
        weights = {n: v.detach().clone() for n, v in sharding.whole(self.detector.state_dict()).items()}
        self.best |= {"eer": judged, "weights": weights}

    def _restore(self) -> None:
        if self.best["weights"] is not None:
            sharding.load(self.detector, self.best["weights"])

    def _bring_together(self) -> None:
        """The caller's own detector gets what its dealt out copy has learned."""
        if self.detector is not self.whole:
            self.whole.load_state_dict(sharding.whole(self.detector.state_dict()))
            self.detector = self.whole.to(self.training.device)

    def _dev_error(self, task: Task) -> float:
        """EER on dev, or with more than two classes the share of wrong decisions."""
        if self.dev is None or self.dev.manifest is not task.dev:
            self.dev = self._clips(task.dev, "scoring")
        clips, scores = self.dev, []
        with quiet(self.detector):
            for positions in np.array_split(np.arange(len(clips)), -(-len(clips) // 64)):
                batch = clips.batch(positions).to(self.training.device)
                scores.append(self.detector.hear(batch).logits.cpu().numpy())
        logits = np.concatenate(scores).astype(np.float64)
        if logits.shape[1] > 2:
            return float(np.mean(logits.argmax(1) != clips.labels))
        values = logits[:, 0] - logits[:, 1]
        return eer(values[clips.labels == 0], values[clips.labels == 1])

    def _save(self) -> None:
        if self.path is None:
            return
        optimiser = None if self.where.finished else sharding.whole(self.optimiser.state_dict())
        save_state(
            self.path,
            {
                "identity": self._identity(),
                "tasks": self._fingerprints(),
                "where": vars(self.where),
                "detector": dict(sharding.whole(self.detector.state_dict())),
                "optimiser": optimiser,
                "strategy": self.strategy.state(),
                "best": self.best,
            },
        )

    def _resume(self) -> dict[str, Any] | None:
        if self.path is None or not self.path.exists():
            return None
        saved = load_state(self.path)
        count = saved["where"]["task"] + 1
        before, identity = saved["identity"], self._identity()
        for part in {**identity, **before}:
            if before.get(part) != identity.get(part):
                told = difference(part, before.get(part), identity.get(part))
                raise CheckpointError(
                    f"{self.path}: was made with other settings: {told}; go back to them, or start "
                    "elsewhere."
                )
        if saved["tasks"][:count] != self._fingerprints()[:count]:
            raise CheckpointError(
                f"{self.path}: the tasks learned so far are not this stream's first {count}; "
                "new tasks may only be added at the end."
            )
        self.where = _Where(**saved["where"])
        self.best = saved["best"]
        if self.where.finished:
            self.strategy.load(saved["strategy"], self.detector)
            self.detector.load_state_dict(saved["detector"])
        return saved

    def _identity(self) -> dict[str, Any]:
        """What must be the same for a run to go on; the stream's length may grow."""
        training = {k: v for k, v in vars(self.training).items() if k not in FREE}
        training["shard"] = self.shards  # other groups of the optimiser's numbers
        for later in (
            "loss",
            "augment",
            "precision",
            "accumulate",
            "crops",
            "shard",
        ):  # older runs go on
            if training[later] == getattr(Training, later):
                training.pop(later)
        identity = {
            "detector": self.detector.settings,
            "strategy": getattr(self.strategy, "built_from", type(self.strategy).__name__),
            "training": training,
            "seed": self.seed,
            "criterion": getattr(self.criterion, "__qualname__", type(self.criterion).__name__),
        }
        if self.detector.classes != CLASSES:
            identity["classes"] = self.detector.classes
        if self.references != Policy():
            identity["references"] = vars(self.references)
        if self.detector.cache is not None:
            identity["frames_kept_as"] = self.detector.cache.precision
        return json.loads(json.dumps(identity))  # as it will come back: tuples become lists

    def _fingerprints(self) -> list[str]:
        return [task.train.fingerprint() for task in self.stream]


def _whole(own: Tensor, outputs: list[Output]) -> Output:
    """The outputs of a batch that was heard in parts, by one process or several."""
    parts = (
        torch.cat([getattr(o, n).detach().cpu() for o in outputs]) for n in ("logits", "embedding")
    )
    every = distributed.gather((own, *parts))
    order = torch.cat([rows for rows, _, _ in every]).argsort()
    device = outputs[0].logits.device
    logits, embedding = (torch.cat([one[n] for one in every])[order].to(device) for n in (1, 2))
    return Output(logits, embedding)


def _require_logits(strategy: Strategy, training: Training) -> None:
    if training.restore != "last" and strategy.decides_by_rule:
        raise SettingsError(
            f"training: restore={training.restore!r} judges epochs by the detector's logits, but "
            f"{type(strategy).__name__} decides by a rule that is made after the task; use 'last'."
        )


def _require_shardable(detector: Detector, strategy: Strategy) -> None:
    if not strategy.shards:
        raise SettingsError(
            f"training.shard: the strategy {type(strategy).__name__} looks at whole weights while they "
            "learn; leave shard out (LoRA or the top layers need less memory), or take another."
        )
    if detector.cache is not None:
        raise SettingsError("training.shard: what is dealt out can't be cached; leave [cache] out.")


def _require_same_classes(detector: Detector, stream: Stream) -> None:
    if detector.classes != stream.classes:
        raise SettingsError(
            f"the detector names {', '.join(detector.classes)}; the stream's classes are "
            f"{', '.join(stream.classes)}. Build it with Detector.build(..., classes=stream.classes)."
        )


class _Seeded:
    """A context in which torch's global random state is a given one.

    The generators are seeded themselves: ``torch.manual_seed`` costs as much as a step of a small
    network, and without an accelerator keeps every call for the day one is found.
    """

    def __init__(self, seed: int):
        self.seed = seed

    def __enter__(self) -> None:
        self.before = torch.get_rng_state()
        torch.default_generator.manual_seed(self.seed)
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(self.seed)

    def __exit__(self, *error: Any) -> None:
        torch.set_rng_state(self.before)


def _optimiser(weights: Iterable[Tensor], training: Training) -> torch.optim.Optimizer:
    parameters = sharding.optimiser_groups(p for p in weights if p.requires_grad)
    rate, decay = training.learning_rate, training.weight_decay
    if training.optimiser == "sgd":
        return torch.optim.SGD(parameters, rate, momentum=training.momentum, weight_decay=decay)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[training.optimiser]
    return kind(parameters, rate, weight_decay=decay)


def _load_optimiser(optimiser: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """State dicts come back from JSON with lists where torch has tuples and integer keys kept."""
    groups = [
        {**group, **({"betas": tuple(group["betas"])} if "betas" in group else {})}
        for group in saved["param_groups"]
    ]
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    state = sharding.parts(saved["state"], weights)
    optimiser.load_state_dict({"state": state, "param_groups": groups})
