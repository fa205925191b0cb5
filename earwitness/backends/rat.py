"""RAT: a genuine recording of the same speaker helps the network learn, and may then be taken away."""

from collections.abc import Mapping
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from earwitness.backends._classifier import narrowing
from earwitness.backends.base import PairBackEnd
from earwitness.errors import CheckpointError, SettingsError
from earwitness.frontends.base import Frames, time_mask

__all__ = ["RAT", "from_released"]

_PARTS = ("query", "key", "value")


class RAT(PairBackEnd):
    """Reference-augmented training (Stanek et al., Interspeech 2026, arXiv 2606.10908).

    For each layer l with frames X of the recording and R of the reference, and n() a layer norm that
    both share: ``Y = LN(X + MHA(n(X), n(R), n(R)) + W2 ReLU(W1 n(X)))``; the embedding is the mean of Y
    over layers and frames, then a narrowing classifier.

    Without a reference (none given, or its length is 0) keys and values are zeros, so attention gives
    one constant, ``W_o b_v + b_o``: neither attention nor the front end for the reference is computed,
    and the value is the same. Weights learned with references are those used without. The attention
    matrix is never held in memory.

    Args:
        heads: of the attention, a divisor of the front end's features.
        inner: width of the MLP; 4 times the features unless given.
        variant: ``rat``, or the paper's ablations: ``selfattn`` (the recording attends to itself),
            ``zeroref`` (never a reference), ``baseline`` (mean and classifier alone).

    Raises:
        SettingsError: the heads don't divide the features.

    >>> head = RAT(features=1024, layers=24)
    >>> sum(p.numel() for p in head.parameters())
    13254402
    >>> sum(p.numel() for p in RAT(features=1024, layers=24, variant="baseline").parameters())
    658178
    """

    wants_layers = True

    def __init__(
        self,
        *,
        features: int,
        classes: int = 2,
        layers: int = 0,
        heads: int = 4,
        inner: int = 0,
        variant: Literal["rat", "selfattn", "zeroref", "baseline"] = "rat",
    ):
        super().__init__()
        del layers  # all share one block
        if features % heads:
            raise SettingsError(f"back end 'rat': {heads} heads don't divide {features} features.")
        self.variant, self.heads = variant, heads
        if variant != "baseline":
            self.query, self.key, self.value, self.out = (
                nn.Linear(features, features) for _ in range(4)
            )
            _as_multihead(self.query, self.key, self.value, self.out)
            self.before = nn.LayerNorm(features)
            wide = inner or 4 * features
            self.mlp = nn.Sequential(nn.Linear(features, wide), nn.ReLU(), nn.Linear(wide, features))
            self.after = nn.LayerNorm(features)
        self.classifier = narrowing(features)
        self.dim = features // 4
        self.head = nn.Linear(self.dim, classes)

    def embed_pair(self, frames: Frames, reference: Frames | None) -> Tensor:
        """(batch, layer, feature, frame), or without layers, to (batch, features / 4)."""
        values = _layered(frames.values)
        if self.variant != "baseline":
            values = self._compared(values, frames.length, reference)
        inside = time_mask(frames.length, values.shape[2])[:, None, :, None]
        mean = (values * inside).sum((1, 2)) / (frames.length[:, None] * values.shape[1])
        return self.classifier(mean)

    def _compared(self, values: Tensor, length: Tensor, reference: Frames | None) -> Tensor:
        """The block: (batch, layer, frame, feature) to the same."""
        normed = self.before(values)
        attended = self._attended(normed, length, reference)
        return self.after(values + attended + self.mlp(normed))

    def _attended(self, normed: Tensor, length: Tensor, reference: Frames | None) -> Tensor:
        """What the reference says to each frame; a constant (1, 1, 1, feature) where there is none."""
        if self.variant == "selfattn":
            return self._attention(normed, normed, length)
        constant = self.without_reference()
        if self.variant == "zeroref" or reference is None or not bool(reference.length.any()):
            return constant
        there = reference.length > 0
        if bool(there.all()):
            return self._attention(normed, self.before(_layered(reference.values)), reference.length)
        # Clips without a reference keep the constant; the others are computed by themselves.
        attended = self._attention(
            normed[there], self.before(_layered(reference.values[there])), reference.length[there]
        )
        whole = constant.expand(*normed.shape).to(attended.dtype).clone()
        whole[there] = attended
        return whole

    def branches(self, frames: Frames, reference: Frames | None) -> tuple[Tensor, Tensor]:
        """What attention and the MLP add to each frame, (batch, layer, frame, feature) both.

        Raises:
            SettingsError: the variant has no block.
        """
        if self.variant == "baseline":
            raise SettingsError("back end 'rat': the baseline has neither attention nor an MLP.")
        values = _layered(frames.values)
        normed = self.before(values)
        attended = self._attended(normed, frames.length, reference)
        return attended.expand_as(values), self.mlp(normed)

    def without_reference(self) -> Tensor:
        """What attention gives when all keys and values are zero: (1, 1, 1, feature)."""
        return F.linear(self.value.bias, self.out.weight, self.out.bias).view(1, 1, 1, -1)

    def _attention(self, queries: Tensor, keys: Tensor, length: Tensor) -> Tensor:
        """Multi-head attention within each layer; all layers share its weights."""
        batch, layers = queries.shape[:2]
        q, k, v = (
            self._split(self.query(queries)),
            self._split(self.key(keys)),
            self._split(self.value(keys)),
        )
        inside = None
        if bool((length < keys.shape[2]).any()):
            inside = time_mask(length, keys.shape[2]).repeat_interleave(layers, 0)[:, None, None]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=inside)
        return self.out(mixed.transpose(1, 2).flatten(2).unflatten(0, (batch, layers)))

    def _split(self, rows: Tensor) -> Tensor:
        """(batch, layer, frame, feature) to (batch * layer, head, frame, feature / heads)."""
        return rows.flatten(0, 1).unflatten(2, (self.heads, -1)).transpose(1, 2)


def from_released(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the head as the released code names them, for this one.

    Names outside the head (``extractor...``) are left out. Class 0 is bonafide there too.

    Raises:
        CheckpointError: a weight of the head is missing.
    """
    renamed = {
        "attn.out_proj": "out", "preattn_ln": "before", "attn_mlp": "mlp", "final_ln": "after",
        "classifier.6": "head",
    }  # fmt: skip
    found: dict[str, Tensor] = {}
    for theirs, value in state.items():
        name = next(
            (
                ours + theirs.removeprefix(old)
                for old, ours in renamed.items()
                if theirs.startswith(f"{old}.")
            ),
            theirs,
        )
        if name.startswith("attn.in_proj_"):
            kind = name.removeprefix("attn.in_proj_")
            found |= {
                f"{part}.{kind}": piece for part, piece in zip(_PARTS, value.chunk(3), strict=True)
            }
        elif not name.startswith(("extractor", "feature_processor")):
            found[name] = value
    if "before.weight" not in found:
        raise CheckpointError("the released weights lack preattn_ln.weight; expected a whole RAT head.")
    missing = sorted(set(RAT(features=found["before.weight"].numel()).state_dict()) - set(found))
    if missing:
        raise CheckpointError(
            f"the released weights lack {', '.join(missing)}; expected a whole RAT head."
        )
    return found


def _layered(values: Tensor) -> Tensor:
    """(batch, layer, frame, feature)."""
    return (values if values.ndim == 4 else values[:, None]).transpose(2, 3)


def _as_multihead(query: nn.Linear, key: nn.Linear, value: nn.Linear, out: nn.Linear) -> None:
    """Begin as torch's MultiheadAttention does: Xavier over the three together, biases zero."""
    width = query.in_features
    bound = (6 / (4 * width)) ** 0.5
    for one in (query, key, value):
        nn.init.uniform_(one.weight, -bound, bound)
    for one in (query, key, value, out):
        nn.init.zeros_(one.bias)
