"""Their method strings -> a strategy of earwitness with the settings that their script gives it.

Names are looked for in the order of their ``if`` chain, some of them anywhere in the string, and
parameters are words parted by ``_``: ``Replay_2000``, ``BiasReservoir_Fixed_reset_0.2``. A name that
they don't know is passed over in silence there and an error here.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from earwitness.errors import SettingsError, nearest
from earwitness.legacy.config import Config
from earwitness.legacy.data import class_names
from earwitness.strategies import STRATEGIES
from earwitness.strategies.grouping import PRESETS

__all__ = ["NAMES", "Method", "choose"]

_FAMILY = "repaired: in their code it never acts; see docs/concepts/owm-family.md"
_MEMORY_ONLY = "as many steps as the others; theirs makes nepoch passes over the memory"
_NEVER_RAN = "in their code it is commented out or stops at once"


@dataclass(frozen=True)
class Method:
    """A method string, the strategy it means and its settings; ``notes`` say what differs there.

    ``joint``: all data at once, as one task.
    """

    name: str
    strategy: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    joint: bool = False

    def build(self) -> Any:
        """A new strategy."""
        if self.strategy != "lwf_rising":  # theirs alone, so on no shelf
            return STRATEGIES.build(self.strategy, **self.settings)
        from earwitness.legacy.lwf import RisingLwF

        strategy = RisingLwF(**self.settings)
        strategy.built_from = {"name": self.strategy, **self.settings}
        return strategy


@dataclass(frozen=True)
class _Asked:
    """What a recipe may look at: the name, the words around it, and the file's settings."""

    name: str
    words: tuple[str, ...]
    config: Config

    @property
    def kept(self) -> int:
        """Clips in memory: a share of one task's, at most ``max_memory_size``.

        A number as last word is the size instead; in EVDA's code it multiplies the size, but as a
        text, and the product that was meant is taken.
        """
        last = self.words[-1] if self.words else ""
        own = self.of_one_task
        if not last.isdecimal():
            return own
        return own * int(last) if self.config.dialect == "evda" else int(last)

    @property
    def of_one_task(self) -> int:
        """The same without a number."""
        c = self.config
        share = c.buffer_ratio if c.dialect == "evda" else 1 - c.test_split
        return min(c.max_memory_size, int(c.num_classes * c.num_instance_each_class * share))

    @property
    def resets(self) -> bool:
        """Whether the word ``reset`` is there."""
        return "reset" in self.words

    @property
    def alpha(self) -> float:
        """The number at the end, which a biased reservoir needs."""
        try:
            return float(self.words[-1])
        except (IndexError, ValueError):
            raise SettingsError(
                f"method: {self.name!r} lacks its alpha; expected for instance "
                "BiasReservoir_Dynamic_1.0 or BiasReservoir_Fixed_reset_0.2."
            ) from None

    def compact(self, method: str) -> str:
        """Which classes are compact: the table in their code for the method, where it fits."""
        classes = sorted(class_names(self.config))
        fitting = [name for name, (of, _) in PRESETS.items() if sorted(of) == classes]
        own = [name for name in fitting if name.endswith(method)]
        return [*own, *fitting, "auto"][0]

    @property
    def projected(self) -> dict[str, Any]:
        """Adam and weight decay leave a projected gradient's direction; then steps are projected."""
        plain = self.config.dialect == "clear" and self.config.weight_decay == 0
        return {} if plain else {"project": "update"}


_Recipe = Callable[[_Asked], Method]


def _elma(asked: _Asked) -> Method:
    rank = {"rank": asked.config.lora_rank} if asked.config.dialect == "evda" else {}
    note = "the base is what the first task trained; theirs is random weights"
    return Method(asked.name, "elma", rank, (note,))


def _replay(asked: _Asked) -> Method:
    note = "half of a batch is current; theirs gives every task so far an equal part"
    return Method(asked.name, "replay", {"budget": asked.kept, "balance": "task"}, (note,))


def _joint(asked: _Asked) -> Method:
    return Method(asked.name, "naive", joint=True)


def _gdumb(strategy: str) -> _Recipe:
    """Balanced over tasks too, as their class-balanced reservoirs come to be."""

    def recipe(asked: _Asked) -> Method:
        settings = {"budget": asked.kept, "balance": "class-task"}
        return Method(asked.name, strategy, settings, (_MEMORY_ONLY,))

    return recipe


def _biased(asked: _Asked) -> Method:
    notes = [_MEMORY_ONLY, "a kept clip makes room by lot; theirs is always the last one"]
    if asked.words[-1:] and asked.words[-1].isdecimal():
        notes.append(f"{asked.words[-1]} is alpha; their code takes it for the memory's size too")
    bias = "dynamic" if "Dynamic" in asked.words else "fixed"
    settings = {"budget": asked.of_one_task, "bias": bias, "alpha": asked.alpha}
    return Method(asked.name, "reservoir", {**settings, "restart": asked.resets}, tuple(notes))


def _reservoir(asked: _Asked) -> Method:
    return Method(asked.name, "reservoir", {"budget": asked.kept}, (_MEMORY_ONLY,))


def _cumulative(asked: _Asked) -> Method:
    if asked.resets:
        return Method(asked.name, "joint", {}, ("reset does nothing in their code; here it does",))
    return Method(asked.name, "cumulative")


def _lwf(asked: _Asked) -> Method:
    return Method(asked.name, "lwf_rising", {"tasks": asked.config.timestamp})


def _projecting(asked: _Asked) -> Method:
    method = asked.name.lower()
    compact = {} if method == "owm" else {"compact": asked.compact(method)}
    return Method(asked.name, method, {**compact, **asked.projected}, (_FAMILY,))


def _gem(asked: _Asked) -> Method:
    return Method(asked.name, "gem", {"per_task": asked.of_one_task, "margin": 0.5})


def _agem_fixed(asked: _Asked) -> Method:
    per_task = max(1, asked.kept // asked.config.timestamp)
    note = f"{per_task} clips of each task; theirs is one reservoir of {asked.kept}"
    return Method(asked.name, "agem", {"per_task": per_task, "sample": asked.kept}, (note,))


def _agem(asked: _Asked) -> Method:
    return Method(asked.name, "agem", {"per_task": asked.kept, "sample": asked.kept})


def _ewc(asked: _Asked) -> Method:
    """Theirs: 0.4 without the factor 1/2, squares of batch gradients, earlier ones times 0.1."""
    settings = {"strength": 0.8, "form": "explicit", "fisher": "batch", "gamma": 0.1}
    return Method(asked.name, "ewc_online", settings)


def _si(asked: _Asked) -> Method:
    note = (
        "strength 0.1, as published; theirs is 1e-4 times an importance of 1e-3 at most, which holds "
        "nothing"
    )
    return Method(asked.name, "si", {"strength": 0.1}, (note,))


def _cope(asked: _Asked) -> Method:
    return Method(asked.name, "cope", {"budget": asked.kept})


def _icarl(asked: _Asked) -> Method:
    return Method(asked.name, "icarl", {"budget": asked.kept}, (_NEVER_RAN,))


def _ar1(asked: _Asked) -> Method:
    parts = ({"name": "cwr_star", "body": "learns"}, {"name": "si"})
    return Method(asked.name, "chain", {"parts": parts}, (_NEVER_RAN,))


def _slda(asked: _Asked) -> Method:
    return Method(asked.name, "slda", {}, (_NEVER_RAN,))


# In the order of their chain; a name with * may have other words around it.
_RECIPES: dict[str, _Recipe] = {
    "CWRStar": lambda asked: Method(asked.name, "cwr_star"),
    "ELMA": _elma,
    "*Replay*": _replay,
    "JointTraining": _joint,
    "*GDumbFinetune*": _gdumb("gdumb_finetune"),
    "*GDumb*": _gdumb("gdumb"),
    "*BiasReservoir*": _biased,
    "*Reservoir*": _reservoir,
    "*Cumulative*": _cumulative,
    "LwF": _lwf,
    "OWM": _projecting,
    "RAWM": _projecting,
    "RWM": _projecting,
    "GEM": _gem,
    "*AGEMFixed*": _agem_fixed,
    "*AGEM*": _agem,
    "EWC": _ewc,
    "Naive": lambda asked: Method(asked.name, "naive"),
    "ICaRL": _icarl,
    "SynapticIntelligence": _si,
    "*CoPE*": _cope,
    "AR1": _ar1,
    "StreamingLDA": _slda,
}
NAMES = tuple(name.strip("*") for name in _RECIPES)


def choose(name: str, config: Config) -> Method:
    """What a method string means with the settings of its file.

    Raises:
        SettingsError: a name that their code doesn't know, or a parameter is missing.
    """
    if not re.fullmatch(r"[\w.+-]+", name):
        raise SettingsError(f"method: {name!r} can't be part of a file's name.")
    for form, recipe in _RECIPES.items():
        bare = form.strip("*")
        if name == bare or (form != bare and bare in name):
            words = tuple(word for word in name.replace(bare, "", 1).split("_") if word)
            return recipe(_Asked(name, words, config))
    raise SettingsError(
        f"method: no method is called {name!r}{nearest(name, NAMES)} Known: {', '.join(NAMES)}."
    )
