"""RawNet2: residual blocks and a recurrent network on the wave."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earwitness.backends._lengths import by_length, require_samples
from earwitness.backends._official import Rules, read_tensors, rename, take_over
from earwitness.backends._sinc import SincPool
from earwitness.backends.base import BackEnd
from earwitness.frontends.base import Frames

__all__ = ["RawNet2", "load_official"]


class RawNet2(BackEnd):
    """Tak et al., "End-to-End anti-spoofing with RawNet2" (ICASSP 2021), on the front end ``wave``.

    Fixed band-pass filters, residual blocks that scale their channels, a GRU whose last state is read
    out: the baseline of ASVspoof 2021, whose 17,621,410 weights are those of the defaults. It hears
    64,600 samples, shorter clips repeated: windows of 4.0375 s. Clips need 5398.

    Args:
        taps: length of a filter, odd.
        channels: of the blocks; the first of them is also the number of filters.
        recurrent: size of the GRU's ``layers`` states.
        embedding: size of the layer before the logits, which is linear.

    Raises:
        SettingsError: the frames are not single samples.

    >>> sum(p.numel() for p in RawNet2().parameters())
    17621410
    """

    def __init__(
        self,
        *,
        features: int = 1,
        classes: int = 2,
        taps: int = 1025,
        channels: tuple[int, ...] = (20, 20, 128, 128, 128, 128),
        recurrent: int = 1024,
        layers: int = 3,
        embedding: int = 1024,
    ):
        super().__init__()
        require_samples(features, "rawnet2")
        self.min_frames = taps - 1 + 2 * 3 ** (1 + len(channels))  # two steps for the GRU
        self.filters = SincPool(channels[0], taps)
        self.norm = nn.BatchNorm1d(channels[0])
        pairs = zip((channels[0], *channels), channels, strict=False)
        self.blocks = nn.ModuleList(
            _Block(*pair, first=number == 0) for number, pair in enumerate(pairs)
        )
        self.last_norm = nn.BatchNorm1d(channels[-1])
        self.gru = nn.GRU(channels[-1], recurrent, layers, batch_first=True)
        self.dim = embedding
        self.dense = nn.Linear(recurrent, embedding)
        self.head = nn.Linear(embedding, classes)

    def embed(self, frames: Frames) -> Tensor:
        """Samples (batch, 1, sample) to the layer before the logits (batch, dim)."""
        return by_length(self._read_out, frames.values[:, 0], frames.length)

    def _read_out(self, wave: Tensor) -> Tensor:
        values = F.selu(self.norm(self.filters(wave).transpose(1, 2)))
        for block in self.blocks:
            values = block(values)
        values = F.selu(self.last_norm(values)).transpose(1, 2)
        return self.dense(self.gru(values)[0][:, -1])


class _Block(nn.Module):
    """Two convolutions beside a shortcut, the largest of 3 frames, then a gain a channel.

    A channel becomes s x + s with s between 0 and 1 from the mean of all (section 3 of the paper). As
    in AASIST, which took it over, the released code computes a norm before the first convolution and
    doesn't use it: it counts as weights, is frozen and does nothing.
    """

    def __init__(self, inputs: int, outputs: int, *, first: bool):
        super().__init__()
        if not first:
            self.unused_norm = nn.BatchNorm1d(inputs).requires_grad_(False)
        self.conv1 = nn.Conv1d(inputs, outputs, 3, padding=1)
        self.norm = nn.BatchNorm1d(outputs)
        self.conv2 = nn.Conv1d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else None
        self.gain = nn.Linear(outputs, outputs)

    def forward(self, values: Tensor) -> Tensor:
        inner = self.conv2(F.leaky_relu(self.norm(self.conv1(values)), 0.3))
        direct = values if self.shortcut is None else self.shortcut(values)
        pooled = F.max_pool1d(inner + direct, 3)
        gain = torch.sigmoid(self.gain(pooled.mean(2)))[..., None]
        return pooled * gain + gain


_NAMES: Rules = [
    (r"^first_bn\.", "norm."),
    (r"^block(\d)\.0\.", r"blocks.\1."),
    (r"^fc_attention(\d)\.0\.", r"blocks.\1.gain."),
    (r"\.bn1\.", ".unused_norm."),
    (r"\.bn2\.", ".norm."),
    (r"\.conv_downsample\.", ".shortcut."),
    (r"^bn_before_gru\.", "last_norm."),
    (r"^fc1_gru\.", "dense."),
    (r"^fc2_gru\.", "head."),
]


def load_official(back_end: RawNet2, path: str | Path) -> None:
    """Load a ``.pth`` of the ASVspoof 2021 baseline or of clovaai/aasist's copy of it.

    There the classes are (spoof, bonafide), here (bonafide, spoof). Nothing in the file is executed.

    Raises:
        CheckpointError: no such file, or names and shapes that are not this network's.
    """
    state = rename(read_tensors(path), _NAMES)
    state = {n: v.flip(0) if n.startswith("head.") else v for n, v in state.items()}
    take_over(back_end, state, path, "The released weights want the default settings and two classes.")
