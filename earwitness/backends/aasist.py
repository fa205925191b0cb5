"""AASIST: graph attention over what a residual network hears in the wave."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from earwitness.backends._graph import Graphs
from earwitness.backends._lengths import by_length, require_samples
from earwitness.backends._official import Rules, read_tensors, rename, take_over
from earwitness.backends._residual import Encoder
from earwitness.backends._sinc import SincPool
from earwitness.backends.base import BackEnd
from earwitness.frontends.base import Frames

__all__ = ["AASIST", "load_official", "official_state"]

_FILTERS, _TAPS = 70, 129
_BANDS = _FILTERS // 3


@dataclass(frozen=True)
class _Size:
    channels: tuple[int, ...]
    graph: int
    mixed: int
    keep: tuple[float, float, float]  # bands, times, nodes of the mixed graphs


_SIZES = {
    "full": _Size((32, 32, 64, 64, 64, 64), 64, 32, (0.5, 0.7, 0.5)),
    "light": _Size((32, 32, 24, 24, 24, 24), 24, 32, (0.4, 0.5, 0.7)),
    "tiny": _Size((4, 4, 6, 6, 6, 6), 6, 5, (0.4, 0.5, 0.7)),
}


class AASIST(BackEnd):
    """Jung et al., "AASIST" (ICASSP 2022), on the frames of the front end ``wave``.

    Band-pass filters; six residual blocks; a graph of bands and a graph of times; two branches that
    attend over both graphs at once, of which each value's larger counts. Published detectors hear
    64,600 samples, shorter clips repeated: windows of 4.0375 s. The least is 4502, which give a graph
    two times, so that even a clip alone can be normalised in training.

    Args:
        size: ``full`` is AASIST (297,866 weights) and ``light`` is AASIST-L (85,306), to which released
            weights can be loaded with ``load_official``; ``tiny`` is for trying things out.

    Raises:
        SettingsError: the frames are not single samples.

    >>> for size in ("full", "light"):
    ...     sum(p.numel() for p in AASIST(size=size).parameters())
    297866
    85306
    """

    def __init__(
        self,
        *,
        features: int = 1,
        classes: int = 2,
        size: Literal["full", "light", "tiny"] = "full",
    ):
        super().__init__()
        require_samples(features, "aasist")
        chosen = _SIZES[size]
        self.min_frames = _TAPS - 1 + 2 * 3 ** (1 + len(chosen.channels))  # two nodes of time
        self.filters = SincPool(_FILTERS, _TAPS, across=3)
        self.norm = nn.BatchNorm2d(1)
        self.encoder = Encoder(chosen.channels)
        self.graphs = Graphs(
            *(chosen.channels[-1], _BANDS), graph=chosen.graph, mixed=chosen.mixed, keep=chosen.keep
        )
        self.dim = self.graphs.dim
        self.head = nn.Linear(self.dim, classes)

    def embed(self, frames: Frames) -> Tensor:
        """Samples (batch, 1, sample) to read-outs (batch, dim)."""
        return by_length(self._read_out, frames.values[:, 0], frames.length)

    def _read_out(self, wave: Tensor) -> Tensor:
        image = self.norm(self.filters(wave)[:, None])
        heard = self.encoder(F.selu(image)[:, 0]).abs()
        return self.graphs(heard.amax(2).transpose(1, 2), heard.amax(3).transpose(1, 2))


_NAMES: Rules = [
    (r"^pos_S$", "position"),
    (r"^first_bn\.", "norm."),
    (r"^out_layer\.", "head."),
    (r"^encoder\.(\d)\.0\.", r"encoder.blocks.\1."),
    (r"^(encoder\..*)\.bn1\.", r"\1.unused_norm."),
    (r"^(encoder\..*)\.bn2\.", r"\1.norm."),
    (r"\.conv_downsample\.", ".shortcut."),
    (r"^master1$", "branches.0.master"),
    (r"^master2$", "branches.1.master"),
    (r"^GAT_layer_S\.", "band_graph."),
    (r"^GAT_layer_T\.", "time_graph."),
    (r"^pool_S\.", "band_pool."),
    (r"^pool_T\.", "time_pool."),
    (r"^HtrgGAT_layer_ST(\d)1\.", r"ST\1.first."),
    (r"^HtrgGAT_layer_ST(\d)2\.", r"ST\1.second."),
    (r"^pool_hS(\d)\.", r"ST\1.band_pool."),
    (r"^pool_hT(\d)\.", r"ST\1.time_pool."),
    (r"^ST(\d)\.", lambda match: f"branches.{int(match[1]) - 1}."),
    (r"_pool\.proj\.", "_pool.judge."),
    (r"\.proj_type", ".enter"),
    (r"\.att_projM\.", ".master_pair."),
    (r"\.att_proj\.", ".pair."),
    (r"\.att_weightM$", ".master_weight"),
    (r"\.att_weight", ".weight"),
    (r"\.proj_with_attM\.", ".master_update.attended."),
    (r"\.proj_without_attM\.", ".master_update.direct."),
    (r"\.proj_with_att\.", ".update.attended."),
    (r"\.proj_without_att\.", ".update.direct."),
    (r"(_graph|first|second)\.bn\.", r"\1.norm."),
    (r"^(position|branches|band_|time_)", r"graphs.\1"),
]


def official_state(path: str | Path) -> dict[str, Tensor]:
    """The weights of a ``.pth`` of clovaai/aasist, under the names of ``AASIST``.

    There time is the last axis of an image, here it is the first; there the classes are (spoof,
    bonafide), here (bonafide, spoof). Nothing in the file is executed.

    Raises:
        CheckpointError: no such file, or more in it than names and tensors.
    """
    return _from_official(read_tensors(path))


def _from_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: _reorder(name, value) for name, value in rename(state, _NAMES).items()}


def _reorder(name: str, value: Tensor) -> Tensor:
    if name.startswith("encoder.") and value.ndim == 4:
        return value.transpose(2, 3)
    return value.flip(0) if name.startswith("head.") else value


def load_official(back_end: AASIST, path: str | Path) -> None:
    """Load released weights, ``AASIST.pth`` or ``AASIST-L.pth``, into a network of that size.

    ::

        detector = Detector.build("wave", "aasist", windows=Windows(4.0375, 4.0375))
        load_official(detector.back_end, "AASIST.pth")
        detector.save("aasist-2019la")

    Raises:
        CheckpointError: no such file, or names and shapes that are not this network's.
    """
    advice = 'AASIST.pth wants the size "full", AASIST-L.pth "light", and both two classes.'
    take_over(back_end, official_state(path), path, advice)
