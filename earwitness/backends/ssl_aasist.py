"""AASIST on the frames of a self-supervised encoder."""

import torch.nn.functional as F
from torch import Tensor, nn

from earwitness.backends._graph import Graphs
from earwitness.backends._lengths import by_length
from earwitness.backends._residual import Residual, stack
from earwitness.backends.base import BackEnd
from earwitness.errors import SettingsError
from earwitness.frontends.base import Frames

__all__ = ["SSLAASIST"]


class SSLAASIST(BackEnd):
    """The back end of Tak et al. (Odyssey 2022, arXiv 2202.12233), on one layer or a mean of layers.

    A linear layer makes frames narrower; the image of bands and times that they make is pooled 3 x 3
    and passes six residual blocks. Sums over times and over bands, weighed by attention, are the nodes
    of AASIST's graphs. With 1024 features it has the 447,242 weights of the released code, which hears
    the last layer of XLS-R, tuned as a whole, after its norm; the front end ``ssl`` gives the states
    before that norm. Clips need 6 frames: two times, so that even a clip alone can be normalised in
    training.

    Args:
        width: of the narrower frames; a third of it, rounded down, are bands.
        channels: of the residual blocks.
        graph, mixed: size of nodes in the graphs of bands and of times, and in those of both.

    Raises:
        SettingsError: too small a ``width`` for a band.

    >>> sum(p.numel() for p in SSLAASIST(features=1024).parameters())
    447242
    """

    min_frames = 6
    min_features = 2  # of single samples there would be thousands of nodes, and nodes attend in pairs

    def __init__(
        self,
        *,
        features: int,
        classes: int = 2,
        width: int = 128,
        channels: tuple[int, ...] = (32, 32, 64, 64, 64, 64),
        graph: int = 64,
        mixed: int = 32,
    ):
        super().__init__()
        if width < 3:
            raise SettingsError(f"back end 'ssl_aasist': width is {width}, expected at least 3.")
        last = channels[-1]
        self.narrow = nn.Linear(features, width)
        self.norm, self.last_norm = nn.BatchNorm2d(1), nn.BatchNorm2d(last)
        self.encoder = nn.Sequential(*stack(Residual, channels))
        self.attention = nn.Sequential(
            *(nn.Conv2d(last, 2 * last, 1), nn.SELU(), nn.BatchNorm2d(2 * last)),
            nn.Conv2d(2 * last, last, 1),
        )
        self.graphs = Graphs(last, width // 3, graph=graph, mixed=mixed, keep=(0.5, 0.5, 0.5))
        self.dim = self.graphs.dim
        self.head = nn.Linear(self.dim, classes)

    def embed(self, frames: Frames) -> Tensor:
        """Frames (batch, feature, frame) to read-outs (batch, dim)."""
        return by_length(self._read_out, frames.values, frames.length)

    def _read_out(self, values: Tensor) -> Tensor:
        image = F.max_pool2d(self.narrow(values.transpose(1, 2))[:, None], 3)  # of times and bands
        heard = F.selu(self.last_norm(self.encoder(F.selu(self.norm(image)))))
        weight = self.attention(heard)
        bands, times = ((heard * weight.softmax(axis)).sum(axis) for axis in (2, 3))
        return self.graphs(bands.transpose(1, 2), times.transpose(1, 2))
