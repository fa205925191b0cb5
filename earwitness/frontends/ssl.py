"""Self-supervised speech encoders: wav2vec 2.0, XLS-R, MMS, HuBERT, WavLM, and Whisper's encoder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earwitness.errors import MissingExtra, SettingsError
from earwitness.frontends._transformers import load_encoder
from earwitness.frontends.base import Frames, FrontEnd, time_mask

__all__ = ["SSL"]

_ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")


class SSL(FrontEnd):
    """Hidden states of a pretrained transformer, from its hub name, a folder, or random weights.

    Every clip is normalised by itself where the model was trained so, and padding is masked in
    attention: a state depends on nothing but its clip. States are those before the encoder's last
    layer norm (RAT, arXiv 2606.10908, and its released code take the same).

    Args:
        weights: hub name or local folder. A detector saved with it holds the weights themselves and
            needs neither again.
        config: in place of ``weights``, random ones: ``{"shape": "xls-r-300m"}``, or what
            ``transformers.AutoConfig.for_model`` takes, with ``model_type``.
        layers: ``"all"`` hidden states for a back end that takes layers, a ``"weighted"`` mean of them
            with learned weights (SUPERB, Yang et al. 2021), or one layer's, from 1; -1 is the last.
        keep: only the first layers of the encoder; 0 keeps all. Half of them halve the time.
        tune: which weights learn: ``none``, ``all``, ``top`` (the last ``top`` layers), or ``lora``
            (low-rank adapters of ``rank`` on the attention, Hu et al. 2021).
        top, rank: see ``tune``.
        dropout: of the encoder when it learns; by default the model's own. Frozen weights have none.
        normalise: clips to zero mean and unit variance; by default as the model was trained.
        checkpointing: forget activations and compute them again, which saves memory for a third more
            time.
        compat: ``"rat"`` repeats the released code of RAT: waves are normalised over the whole batch,
            padding included, and nothing is masked, so a score depends on batch mates.

    Raises:
        MissingExtra: transformers (or peft, for LoRA) isn't installed.
        SettingsError: no such weights, configuration or layer.

    >>> front_end = SSL(config={"shape": "tiny"}, layers="all")
    >>> front_end(torch.randn(2, 16000), torch.tensor([16000, 9000])).values.shape
    torch.Size([2, 3, 32, 49])
    """

    def __init__(
        self,
        *,
        weights: str = "",
        config: Mapping[str, Any] | None = None,
        layers: Literal["all", "weighted"] | int = "weighted",
        keep: int = 0,
        tune: Literal["none", "all", "top", "lora"] = "none",
        top: int = 4,
        rank: int = 8,
        dropout: float | None = None,
        normalise: bool | None = None,
        checkpointing: bool = False,
        compat: Literal["", "rat"] = "",
    ):
        super().__init__()
        self.encoder = load_encoder(weights, config, keep=keep, dropout=dropout)
        self.features, self.choice, self.compat = self.encoder.width, layers, compat
        self.min_samples, self.hop = self.encoder.min_samples, self.encoder.hop
        count = self.encoder.layers
        if keep > count:
            raise SettingsError(f"front end 'ssl': keep is {keep}, the encoder has {count} layers.")
        if isinstance(layers, int) and not (1 <= layers <= count or -count <= layers <= -1):
            raise SettingsError(
                f"front end 'ssl': layers is {layers}; expected all, weighted, 1 to {count}, or from "
                "the end -1 and down."
            )
        self.layers = count if layers == "all" else 0
        if layers == "weighted":
            self.weighting = nn.Parameter(torch.zeros(count))
        trained = self.encoder.normalises if normalise is None and weights == "" else normalise
        self.normalise = _as_trained(weights, self.encoder.normalises) if trained is None else trained
        self.tuned = tune
        if checkpointing:
            model = self.encoder.model
            getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()
        self._freeze(tune, top, rank)

    def _freeze(self, tune: str, top: int, rank: int) -> None:
        if tune == "all":
            return
        self.encoder.requires_grad_(False)
        if tune == "top":
            if not 1 <= top <= self.encoder.layers:
                raise SettingsError(
                    f"front end 'ssl': top is {top}, expected 1 to {self.encoder.layers} layers."
                )
            self.encoder.blocks[-top:].requires_grad_(True)
        if tune == "lora":
            _add_adapters(self.encoder.model, rank)

    def resolved(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings that build the same front end without hub or folder, for a detector's card."""
        own = self.encoder.model.config.to_diff_dict()
        config = {name: value for name, value in own.items() if _is_plain(value)}
        config["model_type"] = self.encoder.model.config.model_type
        for left_out in ("architectures", "transformers_version", "torch_dtype", "dtype"):
            config.pop(left_out, None)
        return {
            **settings, "weights": "", "config": config, "keep": 0, "normalise": self.normalise,
        }  # fmt: skip

    def train(self, mode: bool = True) -> "SSL":
        """Frozen weights stay in evaluation mode: no dropout is drawn for what doesn't learn."""
        super().train(mode)
        if self.tuned == "none":
            self.encoder.eval()
        return self

    @property
    def is_frozen(self) -> bool:
        """Whether the encoder's weights stay; those of a ``weighted`` mean may learn."""
        return self.tuned == "none" and self.compat == ""

    def forward(self, wave: Tensor, length: Tensor) -> Frames:
        """Waves (batch, samples) to (batch, layer, feature, frame), or (batch, feature, frame)."""
        return self.finish(self.before(wave, length))

    def before(self, wave: Tensor, length: Tensor) -> Frames:
        """The encoder's states: of one layer (batch, feature, frame), else of all."""
        if self.compat == "rat":
            wave, length = F.layer_norm(wave, wave.shape), torch.full_like(length, wave.shape[1])
        elif self.normalise:
            wave = _unit_variance(wave, length)
        # What is asked of the wave itself (an attribution) goes through frozen weights too.
        wanted = self.tuned != "none" or wave.requires_grad
        with torch.set_grad_enabled(torch.is_grad_enabled() and wanted):
            states, count = self.encoder.states(wave, length)
        values = self._chosen(states)
        inside = time_mask(count, values.shape[-1])
        return Frames(values * inside.view(inside.shape[0], *[1] * (values.ndim - 2), -1), count)

    def finish(self, frames: Frames) -> Frames:
        """Their learned mean, where that was asked for."""
        if self.choice != "weighted":
            return frames
        mean = torch.einsum("l,blft->bft", self.weighting.softmax(0), frames.values)
        return Frames(mean, frames.length)

    def _chosen(self, states: list[Tensor]) -> Tensor:
        if isinstance(self.choice, int):
            place = self.choice - 1 if self.choice > 0 else self.choice
            return states[place].transpose(1, 2)
        return torch.stack(states, 1).transpose(2, 3)


def _unit_variance(wave: Tensor, length: Tensor) -> Tensor:
    """Each clip's own samples to zero mean and unit variance; padding stays zero."""
    inside = time_mask(length, wave.shape[1])
    count = length[:, None].to(wave.dtype)
    mean = (wave * inside).sum(1, keepdim=True) / count
    centred = (wave - mean) * inside
    variance = centred.square().sum(1, keepdim=True) / count
    return centred / (variance + 1e-7).sqrt()


def _as_trained(weights: str, guess: bool) -> bool:
    """What the folder's or hub's own preprocessing says; else by the kind of the model's norm."""
    path = Path(weights) / "preprocessor_config.json"
    if not path.is_file():
        try:
            from transformers.utils import cached_file

            found = cached_file(weights, "preprocessor_config.json")
        except OSError:
            return guess
        if found is None:
            return guess
        path = Path(found)
    return bool(json.loads(path.read_text(encoding="utf-8")).get("do_normalize", guess))


def _add_adapters(model: nn.Module, rank: int) -> None:
    try:
        import peft
    except ImportError:
        raise MissingExtra("tune = 'lora'", "ssl") from None
    if rank < 1:
        raise SettingsError(f"front end 'ssl': rank is {rank}, expected at least 1.")
    config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=list(_ATTENTION))
    peft.inject_adapter_in_model(config, model)


def _is_plain(value: Any) -> bool:
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True
