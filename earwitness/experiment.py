"""An experiment file: TOML in, a run folder out; strategies x seeds, resumable run by run.

::

    name = "speech-domains"
    seeds = [0, 1]

    [stream]                       # where trials come from and how they become tasks
    corpus = "manifest"            # a name from the corpora shelf
    root = "../data/corpus"        # relative to this file
    by = "domain"
    order = ["first", "second"]    # or orders = [[...], [...]], or orders = 3: this and two others
    where = { domain = ["first", "second"] }          # only these trials (default: all), by any column
    later_clips = 100              # training clips of each task after the first (default: all)
    bonafide_share = 0.1           # of the training clips (default: as they come)
    unusable = "refuse"            # or "skip": leave unusable files out, counted and named
    reader = { columns = { attack = "generator" } }   # the reader's own settings

    [detector]
    front_end = { name = "logmel", bands = 64 }
    back_end = { name = "resnet", width = 8 }
    windows = { seconds = 3.0, hop = 1.5 }

    [training]                     # earwitness.training.Training
    epochs = 10

    [strategies.rwm]               # a label; the strategy's name is the label unless given
    alpha = 0.1
    vary = { beta_max = [10.0, 100.0] }               # rwm-beta_max-10.0 and rwm-beta_max-100.0
    training = { learning_rate = 0.01 }               # for this strategy only

    [cache]                        # of a front end that doesn't learn; needs training.crops = "windows"
    folder = "../frames"           # relative to this file
    gib = 50.0

    [evaluation]
    splits = ["dev", "test"]

Names come from the shelves and settings from the constructors' signatures; unknown keys are refused
with the nearest valid one. Nothing is inherited and nothing in the file is executed. On the command
line, ``section.key=value`` replaces a value.
"""

import itertools
import math
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from earwitness.batches import random_for
from earwitness.detector import Detector, Windows
from earwitness.errors import AudioError, SettingsError, nearest
from earwitness.frame_cache import FrameCache
from earwitness.references import Policy
from earwitness.settings import read_settings, refuse_unknown, require_section, vary
from earwitness.shelf import bind_settings
from earwitness.strategies import STRATEGIES
from earwitness.streams import Stream, Task, require_thinning
from earwitness.training import Training
from earwitness.trials import CLASSES, Manifest, join_manifests

__all__ = ["Experiment"]

_SECTIONS = (
    *("name", "note", "selection", "stand_in", "seeds"),
    *("stream", "detector", "training", "strategies", "evaluation", "references", "cache"),
)
_THINNING = ("later_clips", "bonafide_share")
_STREAM = (
    *("corpus", "root", "by", "order", "orders", "dev_split", "test_split", "unusable", "reader"),
    "where",
    *_THINNING,
)
_DETECTOR = ("front_end", "back_end", "windows", "start", "tune")
_EVALUATION = ("splits", "untrained", "landmarks")
_CACHE = ("folder", "precision", "gib")


@dataclass(frozen=True)
class Experiment:
    """A read and checked experiment; ``settings`` is the whole file, resolved.

    ``skipped`` has path and reason of each file that ``stream`` left out, if that was asked for;
    ``left_out`` how many trials there are of each domain that ``order`` does not name.

    >>> experiment = Experiment.from_settings({"name": "toy", "stream": {"root": "toy"}})
    >>> experiment.labels, experiment.seeds
    (['naive'], [0])
    """

    name: str
    settings: dict[str, Any] = field(repr=False)
    folder: Path = Path()
    skipped: list[dict[str, str]] = field(default_factory=list, repr=False, compare=False)
    left_out: dict[str, int] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, path: str | Path, overrides: Iterable[str] = ()) -> "Experiment":
        """Read a TOML file and apply ``section.key=value`` overrides.

        Raises:
            SettingsError: not TOML, an unknown key (with the nearest), or a value that doesn't fit.
        """
        settings = read_settings(path, overrides)
        try:
            return cls.from_settings(settings, folder=Path(path).parent)
        except SettingsError as error:
            raise SettingsError(f"{path}: {error}") from None

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], *, folder: str | Path = ".") -> "Experiment":
        """Check settings given as a mapping."""
        resolved = deepcopy(dict(settings))
        if _is_a_search(resolved):
            raise SettingsError(
                "this file says what to search; `earwitness tune` it, and run the tuned.toml it writes."
            )
        refuse_unknown(resolved, _SECTIONS, "the experiment")
        for section in ("training", "strategies"):
            require_section(resolved.setdefault(section, {}), f"[{section}]")
        for section, known in (
            ("stream", _STREAM),
            ("detector", _DETECTOR),
            ("evaluation", _EVALUATION),
            ("cache", _CACHE),
        ):
            refuse_unknown(resolved.setdefault(section, {}), known, f"[{section}]")
        resolved.setdefault("seeds", [0])
        resolved["strategies"] = vary(resolved["strategies"] or {"naive": {}})
        experiment = cls(str(resolved.get("name", "experiment")), resolved, Path(folder))
        experiment._check()
        return experiment

    def _usable(self, manifest: Manifest) -> Manifest:
        """Decode every file once; what cannot be used is left out and remembered by name."""
        from earwitness import audio

        paths = [manifest.path(trial) for trial in manifest]
        report = audio.DecodingReport()
        read = audio.read_many(paths, on_error="skip", report=report)
        bad = {str(p) for p, result in read if isinstance(result, AudioError)}
        self.skipped[:] = [{"path": f.path, "reason": f.reason} for f in report.failures]
        return manifest.where(lambda trial: str(manifest.path(trial)) not in bad)

    def _check(self) -> None:
        """Build everything that needs no data, so that a typo fails before the first step."""
        seeds = self.settings["seeds"]
        whole = isinstance(seeds, list) and all(isinstance(s, int) and s >= 0 for s in seeds)
        if not seeds or not whole or len(set(seeds)) < len(seeds):
            raise SettingsError(
                f"seeds is {seeds!r}, expected a list of different whole numbers from 0."
            )
        detector = self.detector(seeds[0])
        require_section(self.settings.get("references", {}), "[references]")
        if self.references != Policy() and not detector.wants_reference:
            raise SettingsError("[references]: this back end hears none; take rat or ff_pair.")
        for label in self.labels:
            require_section(self.settings["strategies"][label], f"[strategies.{label}]")
            self.strategy(label)
            detector.require_seconds(self.training(label).seconds, "training.seconds")
            if detector.cache is not None:
                self.training(label).require_crops_that_return()
        self._check_orders()
        stream = self.settings["stream"]
        require_section(stream.get("where", {}), "stream.where")
        for column, wanted in stream.get("where", {}).items():
            listed = [wanted] if isinstance(wanted, str) else wanted
            if not (isinstance(listed, list) and listed and all(isinstance(v, str) for v in listed)):
                raise SettingsError(
                    f"[stream] where: {column} is {wanted!r}, expected a text or a list of texts."
                )
        try:
            require_thinning(**{key: stream[key] for key in _THINNING if key in stream})
        except SettingsError as error:
            raise SettingsError(f"[stream] {error}") from None
        unusable = self.settings["stream"].get("unusable", "refuse")
        if unusable not in ("refuse", "skip"):
            raise SettingsError(f"[stream] unusable is {unusable!r}; choose from refuse, skip.")
        wrong = [s for s in self.splits if s not in ("dev", "test")]
        if wrong:
            raise SettingsError(f"[evaluation] splits has {wrong[0]!r}; choose from dev, test.")

    def _check_orders(self) -> None:
        stream = self.settings["stream"]
        orders = stream.get("orders", 1)
        counted = isinstance(orders, int) and not isinstance(orders, bool) and orders > 0
        if not (counted or _is_lists_of_names(orders)):
            raise SettingsError(
                f"[stream] orders is {orders!r}, expected how many, or a list of lists of task names."
            )
        if counted:
            return
        if "order" in stream or len({tuple(sorted(order)) for order in orders}) > 1:
            raise SettingsError(
                "[stream] orders must all have the same tasks, and take the place of order."
            )
        repeated = [order for position, order in enumerate(orders) if order in orders[:position]]
        if repeated:
            raise SettingsError(f"[stream] orders has {repeated[0]} more than once; expected others.")

    def _first_order(self) -> list[str] | None:
        orders = self.settings["stream"].get("orders")
        return orders[0] if isinstance(orders, list) else self.settings["stream"].get("order")

    @property
    def labels(self) -> list[str]:
        """The strategies' labels in order."""
        return list(self.settings["strategies"])

    @property
    def seeds(self) -> list[int]:
        """The seeds in order."""
        return list(self.settings["seeds"])

    @property
    def splits(self) -> list[str]:
        """The splits that are scored after each task."""
        return list(self.settings["evaluation"].get("splits", ["dev", "test"]))

    def strategy(self, label: str) -> Any:
        """A new strategy."""
        settings = dict(self.settings["strategies"][label])
        settings.pop("training", None)
        if "lessons" in settings:
            settings["lessons"] = str(self.folder / str(settings["lessons"]))
        return STRATEGIES.build(settings.pop("name", label), **settings)

    def training(self, label: str) -> Training:
        """The training settings for a label: the common ones and its own."""
        own = self.settings["strategies"][label].get("training", {})
        merged = {**self.settings["training"], **own}
        return Training(**bind_settings(Training, merged, "training"))

    @property
    def references(self) -> Policy:
        """Where references come from, for detectors that want them."""
        settings = dict(self.settings.get("references", {}))
        for path in ("enrolment", "root"):
            if settings.get(path):
                settings[path] = str(self.folder / settings[path])
        return Policy(**bind_settings(Policy, settings, "references"))

    def windows(self) -> Windows:
        """The window policy for scoring."""
        windows = self.settings["detector"].get("windows", {})
        require_section(windows, "detector.windows")
        return Windows(**bind_settings(Windows, windows, "windows"))

    def detector(self, seed: int, classes: Iterable[str] = CLASSES) -> Detector:
        """A new detector with the weights that ``seed`` gives, or a saved one to go on from.

        ``[detector] start`` names its folder, with ``{seed}`` where each seed has its own; ``tune`` has
        other weights of its front end learn. Where the file has a ``[cache]``, it hears through that.
        """
        parts = self.settings["detector"]
        if "start" in parts:
            return self._started(str(parts["start"]).replace("{seed}", str(seed)), classes)
        built = Detector.build(
            parts.get("front_end", "logmel"),
            parts.get("back_end", "resnet"),
            seed=seed,
            windows=self.windows(),
            classes=classes,
        )
        return self.with_cache(built)

    def with_cache(self, detector: Detector) -> Detector:
        """The same detector, which hears through the experiment's cache of frames if it has one."""
        settings = dict(self.settings["cache"])
        if not settings:
            return detector
        settings["folder"] = self.folder / str(settings.get("folder", "frames"))
        settings["front_end"] = detector.front_end
        detector.cache = FrameCache(**bind_settings(FrameCache, settings, "cache"))
        return detector

    def _started(self, folder: str, classes: Iterable[str]) -> Detector:
        parts = self.settings["detector"]
        others = [name for name in ("front_end", "back_end") if name in parts]
        if others:
            raise SettingsError(f"[detector] start has its own {others[0]}; leave that out.")
        detector = Detector.load(self.folder / folder, tune=parts.get("tune"))
        if "windows" in parts:
            detector.windows = self.windows()
        if detector.classes != tuple(classes):
            raise SettingsError(f"[detector] start: {folder} names {', '.join(detector.classes)}.")
        detector.card = {}
        return self.with_cache(detector)

    def orders(self, stream: Stream) -> list[tuple[str, ...]]:
        """The orders in which the tasks are learned, all different; the first is the stream's own.

        Raises:
            SettingsError: more were asked for than the tasks have.
        """
        given = self.settings["stream"].get("orders", 1)
        if isinstance(given, list):
            return [tuple(order) for order in given]
        own = [task.name for task in stream]
        most = math.factorial(len(own))
        if given > most:
            raise SettingsError(
                f"[stream] orders is {given}, expected at most {most}: {len(own)} task(s) have no more."
            )
        orders = {tuple(own): None}  # a dict, to keep them as they come
        for number in itertools.count(1):
            if len(orders) == given:
                break
            orders.setdefault(tuple(random_for(number).permutation(own).tolist()))
        return list(orders)

    def stream(self, *, learned: int = 0, order: Iterable[str] | None = None) -> Stream:
        """Read the corpus and cut it into tasks; every audio file needed is checked to be there.

        Training recordings of the first ``learned`` tasks aren't needed any more and may be gone.
        ``order``: of the tasks, where it is not the file's first.
        """
        from earwitness import corpora

        stream = self.settings["stream"]
        root = self.folder / stream.get("root", ".")
        parts = corpora.read(stream.get("corpus", "manifest"), root, **stream.get("reader", {}))
        manifest = join_manifests(self.name, parts.values()) if len(parts) > 1 else _only(parts)
        for column, wanted in stream.get("where", {}).items():
            manifest = _of_values(manifest, column, [wanted] if isinstance(wanted, str) else wanted)
        if stream.get("unusable", "refuse") == "skip":
            manifest = self._usable(manifest)
        tasks = Stream.by(
            manifest,
            stream.get("by", "domain"),
            order=order or self._first_order(),
            dev_split=stream.get("dev_split", "dev"),
            test_split=stream.get("test_split", "test"),
        )
        chosen = {task.name for task in tasks}
        column = stream.get("by", "domain")
        counts = {"all": len(manifest)} if column == "all" else manifest.counts(column)
        self.left_out.update({name: n for name, n in counts.items() if name not in chosen})
        thin = {key: stream[key] for key in _THINNING if key in stream}
        tasks = tasks.thinned(**thin) if thin else tasks
        kept = self.references.kept
        tasks = Stream(Task(t.name, kept(t.train), kept(t.dev), kept(t.test)) for t in tasks)
        for position, task in enumerate(tasks):
            needed = (task.dev, task.test) if position < learned else (task.train, task.dev, task.test)
            for part in needed:
                part.require_files()
        return tasks


def _is_a_search(settings: Mapping[str, Any]) -> bool:
    strategies = settings.get("strategies")
    own = strategies.values() if isinstance(strategies, dict) else ()
    return "tuning" in settings or any(isinstance(s, dict) and "search" in s for s in own)


def _is_lists_of_names(orders: Any) -> bool:
    lists = isinstance(orders, list) and orders and all(isinstance(order, list) for order in orders)
    return bool(lists) and all(isinstance(name, str) for order in orders for name in order)


def _of_values(manifest: Manifest, column: str, wanted: list[str]) -> Manifest:
    there = {trial.get(column) for trial in manifest}
    if there == {"-"}:
        known = sorted(
            {"domain", "label", "attack", "speaker", "split"}.union(*(t.tags for t in manifest))
        )
        raise SettingsError(
            f"[stream] where: no trial has a {column!r}{nearest(column, known)} "
            f"Columns are {', '.join(known)}."
        )
    stranger = next((value for value in wanted if value not in there), None)
    if stranger is not None:
        raise SettingsError(
            f"[stream] where: no trial has {column} {stranger!r}{nearest(stranger, sorted(there))} "
            f"Its values are {', '.join(sorted(there)[:20])}."
        )
    return manifest.where(lambda trial: trial.get(column) in wanted)


def _only(parts: Mapping[str, Manifest]) -> Manifest:
    (manifest,) = parts.values()
    return manifest
