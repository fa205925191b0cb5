"""How a task is trained: the section ``[training]`` of an experiment, checked before the first step."""

from dataclasses import dataclass
from typing import Any, Literal

from earwitness.augment.presets import build_all
from earwitness.errors import SettingsError
from earwitness.losses import CRITERIA, LOSSES, Criterion

__all__ = ["FREE", "Training"]

# Settings that change no weight: a run goes on under others.
FREE = ("checkpoint_every", "log_every", "cache_mib", "ahead", "collapse")


@dataclass(frozen=True, kw_only=True)
class Training:
    """How each task is trained.

    Args:
        epochs: passes over a task's clips. ``batch_size``: clips, before any are replayed.
        seconds: length of a training clip; longer recordings are cropped.
        crops: at ``random`` places, or to one of the ``windows``, every hop of the detector's own, that
            scoring would hear: these come again, as a cache of frames needs.
        optimiser: made anew for each task. ``learning_rate``: of the first task.
        later_learning_rate: of later tasks, unless the strategy starts again at each; by default the
            same.
        schedule: ``constant``, ``cosine`` down to zero within each task, or ``step``: times
            ``step_factor`` every ``step_epochs``.
        clip_norm: bound on the gradient's norm, after the strategy edited it; 0 is none.
        restore: keep the ``last`` epoch's weights, or those ``best`` on dev; ``best-late`` judges
            an epoch by the one before it, as the released code did (D18).
        checkpoint_every: steps between checkpoints inside a task.
        log_every: steps between records of a strategy's proof of action.
        cache_mib: decoded audio kept in memory; what doesn't fit is read again when needed.
        ahead: batches of audio that a thread prepares while others are learned; 0 prepares none.
        device: ``cpu``, ``cuda``, ...
        balance: ``classes`` gives the classes of a batch equal weight, ``none`` its clips.
        loss: a name of the shelf `losses`, or a table with settings, in place of cross-entropy; its own
            ``weights`` then stand in place of ``balance``.
        precision: ``float32``, or ``bf16``: network and loss under autocast, the weights as they are.
        accumulate: a batch goes through the network in so many parts, whose gradients are summed: less
            memory for the same batch. Batch norms then see the parts.
        augment: what changes training clips: names of the shelf or of presets, or tables with settings
            (`earwitness.augment`), one after another. Dev and test stay as they are.
        shard: under ``torchrun``, deal a self-supervised front end's weights out over the processes
            (FSDP) while they learn. Numbers then differ in rounding from those of whole weights.
        collapse: measure neural collapse on the task's training clips after its last epoch (``tasks``)
            or after all (``epochs``): one more pass each.
        heads: ``all`` classes can be named from the start, or only those ``seen`` in a task so far.
    """

    epochs: int = 10
    batch_size: int = 32
    seconds: float = 3.0
    crops: Literal["random", "windows"] = "random"
    optimiser: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rate: float = 0.05
    later_learning_rate: float | None = None
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine", "step"] = "cosine"
    step_epochs: int = 30
    step_factor: float = 0.1
    clip_norm: float = 5.0
    restore: Literal["last", "best", "best-late"] = "last"
    checkpoint_every: int = 50
    log_every: int = 10
    cache_mib: int = 2048
    ahead: int = 2
    device: str = "cpu"
    balance: Literal["classes", "none"] = "classes"
    loss: Any = ""
    heads: Literal["all", "seen"] = "all"
    precision: Literal["float32", "bf16"] = "float32"
    accumulate: int = 1
    shard: bool = False
    augment: tuple[Any, ...] = ()
    collapse: Literal["off", "tasks", "epochs"] = "off"

    def __post_init__(self) -> None:
        positive = (
            *("epochs", "batch_size", "seconds", "learning_rate", "checkpoint_every", "log_every"),
            *("step_epochs", "step_factor", "accumulate"),
        )
        for name in positive:
            if not getattr(self, name) > 0:
                raise SettingsError(f"training: {name} is {getattr(self, name)}, expected > 0.")
        build_all(self.augment)  # a typo is an error before the first step
        self.criterion()
        for name in ("momentum", "weight_decay", "clip_norm", "cache_mib", "ahead"):
            if not getattr(self, name) >= 0:
                raise SettingsError(f"training: {name} is {getattr(self, name)}, expected >= 0.")

    def require_crops_that_return(self) -> None:
        """Raise where a cache of frames would fill with crops that nobody hears again."""
        if self.crops != "windows" or self.augment:
            raise SettingsError(
                "frames are kept ([cache]) of crops that come again: set training.crops to 'windows' "
                "and leave training.augment out, or leave [cache] out."
            )

    def criterion(self) -> Criterion:
        """The loss that the settings ask for.

        Raises:
            SettingsError: no such loss or setting.
        """
        if not self.loss:
            return CRITERIA[self.balance]
        table = {"name": self.loss} if isinstance(self.loss, str) else dict(self.loss)
        if "name" not in table:
            raise SettingsError(f"training: loss is {table}, expected a table with a name.")
        return LOSSES.build(**table)
