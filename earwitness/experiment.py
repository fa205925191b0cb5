"""An experiment file: TOML in, a run folder out; strategies x seeds, resumable run by run.

::

    name = "speech-domains"
    seeds = [0, 1]

    [stream]                       # where trials come from and how they become tasks
    corpus = "manifest"            # a name from the corpora shelf
    root = "../data/corpus"        # relative to this file
    by = "domain"
    order = ["first", "second"]    # or orders = [[...], [...]], or orders = 3: this and two others
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

    [evaluation]
    splits = ["dev", "test"]

Names come from the shelves and settings from the constructors' signatures; unknown keys are refused
with the nearest valid one. Nothing is inherited and nothing in the file is executed. On the command
line, ``section.key=value`` replaces a value.
"""

import itertools
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from earwitness.batches import random_for
from earwitness.detector import Detector, Windows
from earwitness.errors import AudioError, SettingsError, nearest
from earwitness.shelf import bind_settings
from earwitness.strategies import STRATEGIES
from earwitness.streams import Stream, require_thinning
from earwitness.training import Training
from earwitness.trials import CLASSES, Manifest, join_manifests

__all__ = ["Experiment", "read_settings", "vary"]

_SECTIONS = (
    *("name", "note", "selection", "stand_in", "seeds"),
    *("stream", "detector", "training", "strategies", "evaluation"),
)
_THINNING = ("later_clips", "bonafide_share")
_STREAM = (
    *("corpus", "root", "by", "order", "orders", "dev_split", "test_split", "unusable", "reader"),
    *_THINNING,
)
_DETECTOR = ("front_end", "back_end", "windows")
_EVALUATION = ("splits", "untrained")
_LONGEST = 80  # characters of a label that is made from varied values


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
        _refuse_unknown(resolved, _SECTIONS, "the experiment")
        for section in ("training", "strategies"):
            _require_section(resolved.setdefault(section, {}), f"[{section}]")
        for section, known in (
            ("stream", _STREAM),
            ("detector", _DETECTOR),
            ("evaluation", _EVALUATION),
        ):
            _refuse_unknown(resolved.setdefault(section, {}), known, f"[{section}]")
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
        detector = self.detector(0)
        for label in self.labels:
            _require_section(self.settings["strategies"][label], f"[strategies.{label}]")
            self.strategy(label)
            detector.require_seconds(self.training(label).seconds, "training.seconds")
        seeds = self.settings["seeds"]
        whole = isinstance(seeds, list) and all(isinstance(s, int) and s >= 0 for s in seeds)
        if not seeds or not whole or len(set(seeds)) < len(seeds):
            raise SettingsError(
                f"seeds is {seeds!r}, expected a list of different whole numbers from 0."
            )
        self._check_orders()
        stream = self.settings["stream"]
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
        return STRATEGIES.build(settings.pop("name", label), **settings)

    def training(self, label: str) -> Training:
        """The training settings for a label: the common ones and its own."""
        own = self.settings["strategies"][label].get("training", {})
        merged = {**self.settings["training"], **own}
        return Training(**bind_settings(Training, merged, "training"))

    def windows(self) -> Windows:
        """The window policy for scoring."""
        windows = self.settings["detector"].get("windows", {})
        _require_section(windows, "detector.windows")
        return Windows(**bind_settings(Windows, windows, "windows"))

    def detector(self, seed: int, classes: Iterable[str] = CLASSES) -> Detector:
        """A new detector with the weights that ``seed`` gives."""
        parts = self.settings["detector"]
        return Detector.build(
            parts.get("front_end", "logmel"),
            parts.get("back_end", "resnet"),
            seed=seed,
            windows=self.windows(),
            classes=classes,
        )

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
        counts = manifest.counts(stream.get("by", "domain"))
        self.left_out.update({name: n for name, n in counts.items() if name not in chosen})
        thin = {key: stream[key] for key in _THINNING if key in stream}
        tasks = tasks.thinned(**thin) if thin else tasks
        for position, task in enumerate(tasks):
            needed = (task.dev, task.test) if position < learned else (task.train, task.dev, task.test)
            for part in needed:
                part.require_files()
        return tasks


def read_settings(path: str | Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """The settings of a TOML file with overrides applied, not yet checked; named after the file.

    Raises:
        SettingsError: no such file, not TOML, or not an override.
    """
    path = Path(path)
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such experiment file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
        raise SettingsError(f"{path}: not a TOML file ({error}).") from None
    for override in overrides:
        _override(settings, override)
    settings.setdefault("name", path.stem)
    return settings


def _is_a_search(settings: Mapping[str, Any]) -> bool:
    strategies = settings.get("strategies")
    own = strategies.values() if isinstance(strategies, dict) else ()
    return "tuning" in settings or any(isinstance(s, dict) and "search" in s for s in own)


def vary(strategies: dict[str, Any]) -> dict[str, Any]:
    """A strategy with ``vary`` becomes one for each combination of the values listed there.

    The new label has label, settings and values; where that is no name for a folder, too long or not
    one of its own, a number takes the place of the values.

    >>> list(vary({"replay": {"vary": {"budget": [4, 8]}}}))
    ['replay-budget-4', 'replay-budget-8']
    >>> list(vary({"replay": {"vary": {"share": [[1, 2], "1/2"]}}}))
    ['replay-share-1', 'replay-share-2']

    Raises:
        SettingsError: not lists of different values; a label that is no name for a folder, or that
            two strategies would have.
    """
    varied: dict[str, Any] = {}
    for label, settings in strategies.items():
        where = f"[strategies.{label}]"
        _require_label(label)
        _require_section(settings, where)
        lists = _lists_of_values(settings.get("vary", {}), where)
        own = {key: value for key, value in settings.items() if key != "vary"}
        chosen = [
            dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values())
        ]
        made = [{"name": label, **own, **one} for one in chosen] if lists else [own]
        for name, one in zip(_varied_labels(label, chosen), made, strict=True):
            if name in varied or (lists and name in strategies):
                raise SettingsError(f"{where}: two strategies would be labelled {name!r}; rename one.")
            varied[name] = one
    return varied


def _lists_of_values(lists: Any, where: str) -> dict[str, list[Any]]:
    listed = isinstance(lists, dict) and all(isinstance(v, list) and v for v in lists.values())
    if not listed:
        raise SettingsError(f"{where} vary is {lists!r}, expected lists of values.")
    for key, values in lists.items():
        repeated = [value for position, value in enumerate(values) if value in values[:position]]
        if repeated:
            raise SettingsError(f"{where} vary has {repeated[0]!r} more than once in {key}.")
    return lists


def _varied_labels(label: str, chosen: list[dict[str, Any]]) -> list[str]:
    """A label for each choice of values: with the values if that makes good names, else numbered."""
    names = ["-".join([label, *(f"{k}-{_plain(v)}" for k, v in one.items())]) for one in chosen]
    if chosen == [{}] or (len(set(names)) == len(names) and max(map(len, names)) <= _LONGEST):
        return names
    return ["-".join([label, *one, str(number)]) for number, one in enumerate(chosen, 1)]


def _plain(value: Any) -> str:
    """A value in the characters of a label: what stands between others becomes one ``-``."""
    other = "[^A-Za-z0-9._+-]+"
    return re.sub(other, "-", re.sub(f"^{other}|{other}$", "", str(value)))


def _require_label(label: str) -> None:
    """A label is a folder's name and part of a path."""
    if label in (".", "..") or not re.fullmatch("[A-Za-z0-9._+-]+", label):
        raise SettingsError(
            f"[strategies] has the label {label!r}; labels become folders, so expected are letters "
            "(a to z, A to Z), digits, '.', '_', '-' and '+'."
        )


def _is_lists_of_names(orders: Any) -> bool:
    lists = isinstance(orders, list) and orders and all(isinstance(order, list) for order in orders)
    return bool(lists) and all(isinstance(name, str) for order in orders for name in order)


def _only(parts: Mapping[str, Manifest]) -> Manifest:
    (manifest,) = parts.values()
    return manifest


def _override(settings: dict[str, Any], text: str) -> None:
    """Set ``a.b.c=value``; the value is TOML, or a plain word."""
    where, sign, value = text.partition("=")
    if not sign or not where.strip():
        raise SettingsError(f"{text!r} is not an override; expected section.key=value.")
    *tables, key = where.strip().split(".")
    for table in tables:
        settings = settings.setdefault(table, {})
        if not isinstance(settings, dict):
            raise SettingsError(f"{text!r}: {table!r} is a value, not a section.")
    try:
        settings[key] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        settings[key] = value.strip()


def _require_section(table: Any, where: str) -> None:
    if not isinstance(table, dict):
        raise SettingsError(f"{where} is {table!r}, expected a section.")


def _refuse_unknown(table: Any, known: tuple[str, ...], where: str) -> None:
    _require_section(table, where)
    for key in table:
        if key not in known:
            raise SettingsError(
                f"{where} has no key {key!r}{nearest(key, known)} It takes: {', '.join(known)}."
            )
