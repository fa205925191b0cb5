"""Speech encoders of the transformers library: from waves to the hidden states of every layer.

Two families: those that hear waves through convolutions (wav2vec 2.0, XLS-R, MMS, HuBERT, WavLM), and
Whisper's encoder, which hears a log mel spectrogram. Both take real masks, so that a clip's states
are its own, and give states before the encoder's last layer norm.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earwitness.errors import MissingExtra, SettingsError, nearest
from earwitness.frontends.base import time_mask

__all__ = ["SHAPES", "Encoder", "WaveEncoder", "WhisperEncoder", "load_encoder"]

_DROPOUTS = (
    *("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout"),
    *("final_dropout", "dropout", "layerdrop", "encoder_layerdrop"),
)
_CONVOLUTIONS = {"conv_dim": [512] * 7, "conv_kernel": [10, 3, 3, 3, 3, 2, 2], "conv_bias": True}
_PRE_NORM = {
    **_CONVOLUTIONS,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
}


def _xlsr(width: int, layers: int, inner: int, **more: Any) -> dict[str, Any]:
    sizes = {"hidden_size": width, "num_hidden_layers": layers, "intermediate_size": inner}
    return {"model_type": "wav2vec2", **_PRE_NORM, **sizes, "num_attention_heads": 16, **more}


SHAPES: dict[str, dict[str, Any]] = {
    "tiny": _xlsr(
        32, 3, 64, num_attention_heads=2, conv_dim=[16] * 7, num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
    ),
    "wav2vec2-base": {"model_type": "wav2vec2"},
    "hubert-base": {"model_type": "hubert"},
    "wavlm-base": {"model_type": "wavlm"},
    "whisper-tiny": {"model_type": "whisper", "encoder_layers": 4, "d_model": 384},
    "whisper-base": {
        "model_type": "whisper", "encoder_layers": 6, "d_model": 512, "encoder_attention_heads": 8,
        "encoder_ffn_dim": 2048,
    },
    "xls-r-300m": _xlsr(1024, 24, 4096),
    "xls-r-1b": _xlsr(1280, 48, 5120),
    "xls-r-2b": _xlsr(1920, 48, 7680),
}  # fmt: skip


class Encoder(nn.Module, ABC):
    """Base of both families.

    Attributes:
        model: what transformers built. ``width``: of a state. ``layers``: how many transformer layers.
        min_samples, hop: as of a front end. ``normalises``: whether the model was trained on clips of
            zero mean and unit variance.
    """

    model: Any
    width: int
    layers: int
    min_samples: int
    hop: int
    normalises: bool

    @abstractmethod
    def states(self, wave: Tensor, length: Tensor) -> tuple[list[Tensor], Tensor]:
        """Each layer's output (batch, frame, width), and how many frames each clip has."""

    @property
    @abstractmethod
    def blocks(self) -> nn.ModuleList:
        """The transformer layers."""


class WaveEncoder(Encoder):
    """wav2vec 2.0, XLS-R, MMS, HuBERT or WavLM."""

    def __init__(self, model: Any, keep: int):
        super().__init__()
        self.model, config = model, model.config
        model.encoder.layers = model.encoder.layers[: keep or None]
        if getattr(config, "do_stable_layer_norm", False):
            model.encoder.layer_norm = (
                nn.Identity()
            )  # the norm after the last layer; nobody asks for it
        if hasattr(model, "masked_spec_embed"):  # of pretraining: a weight that nothing would hear
            del model.masked_spec_embed
        config.num_hidden_layers = len(model.encoder.layers)
        self.width, self.layers = config.hidden_size, config.num_hidden_layers
        self.kernels, self.strides = tuple(config.conv_kernel), tuple(config.conv_stride)
        self.min_samples, self.hop = _receptive(self.kernels, self.strides)
        self.normalises = config.feat_extract_norm == "layer"

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer layers."""
        return self.model.encoder.layers

    def states(self, wave: Tensor, length: Tensor) -> tuple[list[Tensor], Tensor]:
        """Each layer's output (batch, frame, width), and how many frames each clip has."""
        count = self._frames(length)
        alike = bool((length == wave.shape[1]).all())
        projected = self.model.feature_projection(self._convolved(wave, length, count, alike))
        hidden = projected[0] if isinstance(projected, tuple) else projected
        # Whether a mask is given must not depend on batch mates' numbers, only on there being any.
        mask = None if alike else time_mask(count, hidden.shape[1])
        with _taps(self.blocks) as kept:
            self.model.encoder(hidden, attention_mask=mask)
        return kept, count

    def _convolved(self, wave: Tensor, length: Tensor, count: Tensor, alike: bool) -> Tensor:
        """Features (batch, frame, channel). A group norm sees a whole clip, so clips go one by one."""
        if alike or self.model.config.feat_extract_norm == "layer":
            return self.model.feature_extractor(wave).transpose(1, 2)
        each = [
            self.model.feature_extractor(one[None, :n])[0].T
            for one, n in zip(wave, length.tolist(), strict=True)
        ]
        most = int(count.max())
        return torch.stack([F.pad(one, (0, 0, 0, most - len(one))) for one in each])

    def _frames(self, length: Tensor) -> Tensor:
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            length = torch.div(length - kernel, stride, rounding_mode="floor") + 1
        return length


class WhisperEncoder(Encoder):
    """Whisper's encoder on as many frames as a clip has, not on thirty seconds of mostly silence."""

    normalises = False
    min_samples, hop = 480, 320
    mel: Tensor
    window: Tensor

    def __init__(self, model: Any, keep: int):
        super().__init__()
        self.model, config = model, model.config
        model.layers = model.layers[: keep or None]
        model.layer_norm = nn.Identity()
        model.requires_grad_(True)
        config.encoder_layers = len(model.layers)
        self.width, self.layers = config.d_model, config.encoder_layers
        self.most = config.max_source_positions
        from transformers.audio_utils import mel_filter_bank

        mel = mel_filter_bank(
            201, config.num_mel_bins, 0.0, 8000.0, 16_000, norm="slaney", mel_scale="slaney"
        )
        self.register_buffer("mel", torch.tensor(mel, dtype=torch.float32), persistent=False)
        self.register_buffer("window", torch.hann_window(400), persistent=False)

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer layers."""
        return self.model.layers

    def states(self, wave: Tensor, length: Tensor) -> tuple[list[Tensor], Tensor]:
        """Each layer's output (batch, frame, width), and how many frames each clip has.

        Raises:
            SettingsError: a clip is longer than the encoder has positions for (30 s).
        """
        mels = torch.div(length, 160, rounding_mode="floor")
        count = torch.div(mels + 1, 2, rounding_mode="floor")
        if int(count.max()) > self.most:
            raise SettingsError(
                f"Whisper's encoder hears at most {self.most * 320 / 16_000:g} s at a time, found "
                f"{int(length.max()) / 16_000:g} s; set windows.seconds and training.seconds lower."
            )
        spectra = [self._log_mel(one[:n]) for one, n in zip(wave, length.tolist(), strict=True)]
        most = int(mels.max())
        padded = torch.stack([F.pad(one, (0, most - one.shape[1])) for one in spectra])
        first = F.gelu(self.model.conv1(padded)) * time_mask(mels, most)[:, None]
        hidden = F.gelu(self.model.conv2(first)).transpose(1, 2)
        hidden = hidden + self.model.embed_positions.weight[: hidden.shape[1]]
        hidden = F.dropout(hidden, p=self.model.dropout, training=self.model.training)
        inside = time_mask(count, hidden.shape[1])
        hidden = hidden * inside[..., None]
        alike = bool(inside.all())
        mask = None if alike else _additive(inside, hidden.dtype)
        kept = []
        for block in self.blocks:
            hidden = _first(block(hidden, mask))
            kept.append(hidden)
        return kept, count

    def _log_mel(self, wave: Tensor) -> Tensor:
        """(mel, frame), relative to the clip's loudest cell as Whisper was trained."""
        spectrum = torch.stft(wave, 400, 160, window=self.window, return_complex=True)[:, :-1]
        mel = (self.mel.T @ spectrum.abs().square()).clamp_min(1e-10).log10()
        return (torch.maximum(mel, mel.max() - 8) + 4) / 4


def load_encoder(
    weights: str, config: Mapping[str, Any] | None, *, keep: int, dropout: float | None
) -> Encoder:
    """An encoder with the weights of a hub name or a folder, or random ones of a configuration.

    Raises:
        MissingExtra: transformers isn't installed.
        SettingsError: neither or both are given, no such model, or one that isn't a speech encoder.
    """
    try:
        import transformers
    except ImportError:
        raise MissingExtra("the front end 'ssl'", "ssl") from None
    if bool(weights) == bool(config):
        raise SettingsError(
            "front end 'ssl' needs weights (a hub name or a folder) or config (a shape with random "
            f"weights: {', '.join(SHAPES)}, or transformers' own settings), one of them."
        )
    settings = {} if dropout is None else dict.fromkeys(_DROPOUTS, dropout)
    settings |= {"layerdrop": 0.0, "encoder_layerdrop": 0.0, "apply_spec_augment": False}
    if weights:
        model = _pretrained(transformers, weights, settings)
    else:
        model = _random(transformers, config or {}, settings)
    kind = model.config.model_type
    if kind == "whisper":
        return WhisperEncoder(getattr(model, "encoder", model), keep)
    if not hasattr(model, "feature_extractor"):
        raise SettingsError(f"front end 'ssl': {kind!r} is no speech encoder that hears waves.")
    return WaveEncoder(model, keep)


def _pretrained(transformers: Any, weights: str, settings: dict[str, Any]) -> Any:
    try:
        config = transformers.AutoConfig.from_pretrained(weights)
        known = {name: value for name, value in settings.items() if hasattr(config, name)}
        config.update(known)
        # safetensors alone: other checkpoints are pickles, and this may be anybody's.
        return transformers.AutoModel.from_pretrained(weights, config=config, use_safetensors=True)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"front end 'ssl': no weights {weights!r}: neither a folder with config and safetensors, "
            f"nor a name that the hub gives from here ({str(error).splitlines()[0]}). Download it "
            "where there is a network, and name the folder."
        ) from None


def _random(transformers: Any, config: Mapping[str, Any], settings: dict[str, Any]) -> Any:
    rest = dict(config)
    if "shape" in rest:
        shape = rest.pop("shape")
        if shape not in SHAPES:
            raise SettingsError(
                f"front end 'ssl': no shape {shape!r}{nearest(shape, SHAPES)} "
                f"Known: {', '.join(SHAPES)}."
            )
        rest = {**SHAPES[shape], **rest}
    kind = rest.pop("model_type", None)
    try:
        made = transformers.AutoConfig.for_model(kind, **rest)
    except (ValueError, TypeError) as error:
        raise SettingsError(f"front end 'ssl': config is none of transformers' ({error}).") from None
    made.update({name: value for name, value in settings.items() if hasattr(made, name)})
    if kind == "whisper":
        from transformers.models.whisper.modeling_whisper import WhisperEncoder as Whisper

        return Whisper(made)
    return transformers.AutoModel.from_config(made)


def _receptive(kernels: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, int]:
    """Samples that one frame hears, and samples from one frame to the next."""
    samples, hop = 1, 1
    for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
        samples = (samples - 1) * stride + kernel
        hop *= stride
    return samples, hop


@contextmanager
def _taps(blocks: nn.ModuleList) -> Iterator[list[Tensor]]:
    """Collect what each layer gives while the encoder runs, whatever the library calls it."""
    kept: list[Tensor] = []
    hooks = [
        block.register_forward_hook(lambda _, __, output: kept.append(_first(output)))
        for block in blocks
    ]
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()


def _first(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


def _additive(inside: Tensor, dtype: torch.dtype) -> Tensor:
    """(batch, 1, frame, frame): zero where a frame may be looked at, the lowest number elsewhere."""
    lowest = torch.finfo(dtype).min
    wide = torch.zeros(inside.shape, dtype=dtype, device=inside.device).masked_fill(~inside, lowest)
    return wide[:, None, None, :].expand(-1, 1, inside.shape[1], -1)
