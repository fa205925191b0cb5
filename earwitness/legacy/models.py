"""Their models and how they are trained, as a detector and the settings of the loop."""

from typing import Any

import torch
from torch import nn

from earwitness.corpora.vectors import load_vectors
from earwitness.detector import Detector
from earwitness.errors import SettingsError, nearest
from earwitness.legacy.config import Config
from earwitness.streams import Stream
from earwitness.training import Training

__all__ = ["BLOCKS", "detector_for", "require_width", "training_for"]

BLOCKS = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
}
_SIDE = 64  # pixels; theirs crops 224 for weights that are not here


def detector_for(config: Config, classes: tuple[str, ...]) -> Detector:
    """A new detector of their shape; its weights are a function of the file's seed.

    CLEAR features: one linear layer. EVDA features: ``layer_num`` hidden layers of ``hidden_dim``,
    weights Kaiming-normal by fan-out and biases 0, as there. Images: a residual network with the
    blocks of ``image_train_model_arch``, from random weights.

    Raises:
        SettingsError: images, and an architecture that isn't one of ``BLOCKS``.
    """
    if config.features is None:
        front_end, back_end = _for_images(config.image_train_model_arch)
    else:
        front_end = {"name": "vectors", "dim": config.pretrain_feature_shape}
        back_end = {"name": "linear", "pooling": "mean"}
        if config.dialect == "evda":
            widths = (config.hidden_dim,) * config.layer_num
            back_end = {"name": "mlp", "pooling": "mean", "hidden": widths}
    detector = Detector.build(front_end, back_end, seed=config.random, classes=classes)
    if back_end["name"] == "mlp":
        _draw_weights(detector, config.random)
    return detector


def training_for(config: Config, *, joint: bool, device: str) -> Training:
    """Theirs: no clipping, every clip the same weight, the learning rate falling in steps.

    JointTraining makes ``nepoch * timestamp // 3`` passes over all data.
    """
    epochs = max(1, config.nepoch * config.timestamp // 3) if joint else config.nepoch
    return Training(
        epochs=epochs,
        batch_size=config.batch_size,
        optimiser="adam" if config.dialect == "evda" else "sgd",
        learning_rate=config.start_lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        schedule="step",
        step_epochs=config.step_schedular_decay,
        step_factor=config.schedular_step,
        clip_norm=0.0,
        balance="none",
        device=device,
    )


def require_width(config: Config, tasks: Stream) -> None:
    """Raise when the features are not as wide as the file says."""
    if config.features is None:
        return
    whole = tasks[0].train
    first = whole.trials[0]
    width = load_vectors(whole.where(lambda trial: trial.id == first.id)).shape[1]
    if width != config.pretrain_feature_shape:
        raise SettingsError(
            f"pretrain_feature_shape is {config.pretrain_feature_shape}, but {first.path} holds "
            f"vectors of {width} numbers."
        )


def _for_images(architecture: str) -> tuple[dict[str, Any], dict[str, Any]]:
    if architecture not in BLOCKS:
        raise SettingsError(
            f"image_train_model_arch is {architecture!r}{nearest(architecture, BLOCKS)} "
            f"Choose from: {', '.join(BLOCKS)}."
        )
    # Without running statistics, which a later task would overwrite.
    blocks = BLOCKS[architecture]
    back_end = {"name": "resnet", "blocks": blocks, "norm": "clip", "pooling": "mean"}
    return {"name": "pixels", "size": _SIDE, "channels": 3}, back_end


def _draw_weights(detector: Detector, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for layer in detector.modules():
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(
                layer.weight, mode="fan_out", nonlinearity="relu", generator=generator
            )
            nn.init.zeros_(layer.bias)
