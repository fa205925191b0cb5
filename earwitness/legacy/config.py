"""Their YAML files: groups of keys, flattened into one namespace, every key used or named as ignored.

The files are YAML 1.1 as PyYAML reads it, so a seed written ``0530`` is the octal number 344; their
code trained with 344 and so do we.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from earwitness.errors import MissingExtra, SettingsError, nearest
from earwitness.files import read_text

__all__ = ["Config", "read"]

_COMMON: dict[str, type] = {
    "data_folder_path": str,
    "data_train_path": str,
    "data_test_path": str,
    "feature_path": str,
    "class_list": str,
    "method": str,
    "split": str,
    "restart": int,
    "timestamp": int,
    "num_classes": int,
    "num_instance_each_class": int,
    "num_instance_each_class_test": int,
    "load_prev": bool,
    "eval": bool,
    "image_train_model_arch": str,
    "image_train_pretrain": bool,
    "image_train_attribute": str,
    "pretrain_feature": str,
    "pretrain_feature_shape": int,
    "nepoch": int,
    "batch_size": int,
    "step_schedular_decay": int,
    "schedular_step": float,
    "start_lr": float,
    "weight_decay": float,
    "momentum": float,
    "test_split": float,
    "max_memory_size": int,
}
_CLEAR: dict[str, type] = {"random_seed": int}
_EVDA: dict[str, type] = {
    "seed": int,
    "buffer_ratio": float,
    "layer_num": int,
    "lora_rank": int,
    "hidden_dim": int,
}
_POSITIVE = (
    *("timestamp", "num_classes", "num_instance_each_class", "nepoch", "batch_size"),
    *("step_schedular_decay", "schedular_step", "start_lr", "max_memory_size"),
    *("layer_num", "lora_rank", "hidden_dim"),
)


@dataclass(frozen=True)
class Config:
    """One of their files, read and checked.

    ``values`` has every key; ``ignored`` says of keys that change nothing here, why; ``notes`` what
    was read otherwise than it looks. Keys are attributes: ``config.nepoch``.
    """

    dialect: Literal["clear", "evda"]
    values: Mapping[str, Any] = field(repr=False)
    ignored: Mapping[str, str] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = field(default=(), repr=False)

    def __getattr__(self, key: str) -> Any:
        try:
            return self.__dict__["values"][key]
        except KeyError:
            raise AttributeError(key) from None

    @property
    def methods(self) -> list[str]:
        """The method strings, in order."""
        return list(self.values["method"].split())

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes as the file spells them; their place is the index in file lists."""
        return tuple(self.values["class_list"].split())

    @property
    def random(self) -> int:
        """The seed: ``random_seed`` or ``seed``."""
        return int(self.values["seed" if self.dialect == "evda" else "random_seed"])

    @property
    def features(self) -> str | None:
        """The name of the pre-extracted features, or None for images."""
        return None if self.pretrain_feature in ("", "None") else str(self.pretrain_feature)

    @property
    def has_test_root(self) -> bool:
        """Whether train and test lie in folders of their own."""
        return "" not in (self.data_train_path, self.data_test_path)

    def roots(self) -> tuple[Path, Path | None]:
        """The folder of the data, or those of train and test, as their code puts the names together."""
        if self.features is None:
            pair = (self.data_train_path, self.data_test_path)
            return (Path(pair[0]), Path(pair[1])) if self.has_test_root else (self._folder(), None)
        folder = Path(self.feature_path)
        if self.has_test_root:
            return folder / f"train_{self.features}", folder / f"test_{self.features}"
        return folder / self.features, None

    def _folder(self) -> Path:
        if not self.data_folder_path:
            raise SettingsError(
                "data_folder_path is empty and there are no features; expected a folder."
            )
        return Path(self.data_folder_path)


def read(path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Read a YAML file of theirs; ``key=value`` overrides replace values, for instance paths.

    Raises:
        MissingExtra: PyYAML is not installed.
        SettingsError: not such a file, an unknown key (with the nearest), a missing one, a bad value.
    """
    path = Path(path)
    try:
        found, notes = _flatten(read_text(path), path)
        for override in overrides:
            key, value = _override(override)
            found[key] = value
        return _check(found, notes)
    except SettingsError as error:
        where = "" if str(error).startswith(str(path)) else f"{path}: "
        raise SettingsError(f"{where}{error}") from None


def _flatten(text: str, path: Path) -> tuple[dict[str, Any], list[str]]:
    """All keys of all groups, the later winning; and notes on what is not as it looks."""
    yaml = _yaml()
    try:
        tree, groups = yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: not YAML ({error}).") from None
    if not isinstance(groups, dict) or not all(isinstance(g, dict) for g in groups.values()):
        raise SettingsError(f"{path}: expected groups of keys, as base: and training: are.")
    notes = list(_oddities(tree))
    return {str(key): value for group in groups.values() for key, value in group.items()}, notes


def _oddities(tree: Any) -> Iterator[str]:
    seen: dict[str, Any] = {}
    for _, group in tree.value:
        for key, node in group.value:
            if key.value in seen:
                yield (
                    f"{key.value}: stands there more than once; {node.value!r} counts, the later one."
                )
            seen[key.value] = node
    for name, node in seen.items():
        octal = node.value.startswith("0") and node.value.isdecimal() and len(node.value) > 1
        if octal and node.tag.endswith(":int"):
            yield (
                f"{name}: {node.value} is octal in YAML 1.1, so it is {int(node.value, 8)}, "
                "for their code too."
            )


def _override(text: str) -> tuple[str, Any]:
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise SettingsError(f"{text!r} is not an override; expected key=value.")
    return key.strip(), _yaml().safe_load(value) if value.strip() else ""


def _yaml() -> Any:
    try:
        return import_module("yaml")
    except ModuleNotFoundError:
        raise MissingExtra("reading YAML", "legacy") from None


def _check(found: dict[str, Any], notes: list[str]) -> Config:
    dialect: Literal["clear", "evda"] = "evda" if set(_EVDA) & set(found) else "clear"
    known = {**_COMMON, **(_EVDA if dialect == "evda" else _CLEAR)}
    for key in found:
        if key not in known:
            raise SettingsError(
                f"unknown key {key!r}{nearest(key, known)} The {dialect} files have: "
                f"{', '.join(known)}."
            )
    if dialect == "evda":
        found = {"data_folder_path": "", **found}  # their file leaves it out
    missing = [key for key in known if key not in found]
    if missing:
        raise SettingsError(f"missing key(s): {', '.join(missing)}; their scripts need them too.")
    values = {key: _fit(key, found[key], kind) for key, kind in known.items()}
    _require_sense(values)
    config = Config(dialect, values)
    return Config(dialect, values, dict(_ignored(config)), (*notes, *_notes(config)))


def _fit(key: str, value: Any, kind: type) -> Any:
    """A value of its key's type; YAML 1.1 reads ``1e-5`` as text and their code mends that too."""
    if kind is str:
        return "" if value is None else str(value)
    try:
        if kind is bool and not isinstance(value, bool):
            raise ValueError
        number = kind(value)
        if kind is int and float(value) != number:
            raise ValueError
        return number
    except (TypeError, ValueError):
        words = {int: "a whole number", float: "a number", bool: "True or False"}
        raise SettingsError(f"{key} is {value!r}, expected {words[kind]}.") from None


def _require_sense(values: Mapping[str, Any]) -> None:
    for key in _POSITIVE:
        if key in values and not values[key] > 0:
            raise SettingsError(f"{key} is {values[key]}, expected > 0.")
    classes = values["class_list"].split()
    if len(classes) != values["num_classes"]:
        raise SettingsError(
            f"num_classes is {values['num_classes']}, but class_list names {len(classes)} classes."
        )
    if not 0 < values["test_split"] < 1:
        raise SettingsError(f"test_split is {values['test_split']}, expected a share of 0 to 1.")
    if not values["method"].split():
        raise SettingsError("method is empty; expected one or more names, parted by blanks.")
    if not values["split"]:
        raise SettingsError("split is empty; expected the name of the run.")


def _notes(config: Config) -> Iterator[str]:
    if config.pretrain_feature == "":
        yield (
            "pretrain_feature: is empty, which sends their code to extract features without a name; "
            "read as 'None', the images themselves."
        )
    if config.features is None:
        yield (
            "image_train_model_arch: a residual network with as many blocks, but narrower and from "
            "random weights, on images of 64 x 64 pixels; better extract features first."
        )


def _ignored(config: Config) -> Iterator[tuple[str, str]]:
    images = ("image_train_model_arch", "image_train_pretrain", "image_train_attribute")
    if config.features is not None:
        yield from ((key, "the features are already extracted; it is for images") for key in images)
        yield "data_folder_path", "the features are in feature_path"
    else:
        yield from ((key, "no pre-trained weights come with earwitness") for key in images[1:])
        yield "feature_path", "images are read themselves"
        yield "pretrain_feature_shape", "images are read themselves"
        if config.has_test_root:
            yield "data_folder_path", "train and test have folders of their own"
    roots = ("data_train_path", "data_test_path")
    if config.has_test_root and config.features is not None:
        why = "says only that train and test lie apart: in feature_path, as train_ and test_<features>"
        yield from ((key, why) for key in roots)
    elif not config.has_test_root:
        yield from ((key, "the other of the two is empty") for key in roots if config.values[key])
        yield "num_instance_each_class_test", "the test set is test_split of the one folder"
    if config.has_test_root and config.dialect == "evda":
        yield "test_split", "train and test have folders of their own"
    if config.dialect == "evda":
        yield "momentum", "the optimiser is Adam, which takes none"
    yield "load_prev", "a run always goes on from its own checkpoint; .pth files are not loaded"
