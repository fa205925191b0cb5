"""Attention between the nodes of small complete graphs, pooling of nodes, and AASIST's use of both.

Jung et al., "AASIST: Audio Anti-Spoofing using Integrated Spectro-Temporal Graph Attention Networks"
(2022), sections 2 and 3. Nodes are (batch, node, size).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["GraphAttention", "GraphPool", "Graphs", "MixedAttention", "drop"]

_ALONE, _TOGETHER = 2.0, 100.0  # temperatures of attention within a kind of nodes and over both


def drop(module: nn.Module, values: Tensor, rate: float) -> Tensor:
    """Dropout while ``module`` is in training."""
    return F.dropout(values, rate, module.training)


class GraphAttention(nn.Module):
    """Each node takes in all nodes, weighed by how their products with it look.

    The weight of node j for i is the softmax over j of w · tanh(A (x_i x_j)) / ``temperature``; a
    node becomes SELU(norm(B Σ_j weight_ij x_j + C x_i)).

    >>> GraphAttention(6, 4, temperature=2.0)(torch.randn(2, 5, 6)).shape
    torch.Size([2, 5, 4])
    """

    def __init__(self, inputs: int, outputs: int, *, temperature: float):
        super().__init__()
        self.temperature = temperature
        self.pair = nn.Linear(inputs, outputs)
        self.weight = _column(outputs)
        self.update = _Update(inputs, outputs)
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, nodes: Tensor) -> Tensor:
        """Nodes of size ``inputs`` to as many of size ``outputs``."""
        nodes = drop(self, nodes, 0.2)
        alike = torch.tanh(self.pair(nodes[:, :, None] * nodes[:, None]))
        weights = ((alike @ self.weight)[..., 0] / self.temperature).softmax(-1)
        return _activate(self.norm, self.update(weights @ nodes, nodes))


class MixedAttention(nn.Module):
    """Attention over two kinds of nodes at once, with a master node that hears all and tells none.

    Every kind is first brought into one space by a map of its own; the vector w of ``GraphAttention``
    is one within the first kind, one within the second and one between them (section 3.3).
    """

    def __init__(self, inputs: int, outputs: int, *, temperature: float):
        super().__init__()
        self.temperature = temperature
        self.enter1, self.enter2 = nn.Linear(inputs, inputs), nn.Linear(inputs, inputs)
        self.pair, self.master_pair = nn.Linear(inputs, outputs), nn.Linear(inputs, outputs)
        self.weight11, self.weight22 = _column(outputs), _column(outputs)
        self.weight12, self.master_weight = _column(outputs), _column(outputs)
        self.update, self.master_update = _Update(inputs, outputs), _Update(inputs, outputs)
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, one: Tensor, two: Tensor, master: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Nodes of both kinds and the ``master`` (1 or batch, 1, size) to the same with new sizes."""
        nodes = drop(self, torch.cat([self.enter1(one), self.enter2(two)], 1), 0.2)
        heard = torch.tanh(self.master_pair(nodes * master)) @ self.master_weight / self.temperature
        master = self.master_update(heard.softmax(1).transpose(1, 2) @ nodes, master)
        weights = self._weights(nodes, one.shape[1])
        nodes = _activate(self.norm, self.update(weights @ nodes, nodes))
        return nodes[:, : one.shape[1]], nodes[:, one.shape[1] :], master

    def _weights(self, nodes: Tensor, first: int) -> Tensor:
        """Attention (batch, node, node) when the ``first`` nodes are of the first kind."""
        alike = torch.tanh(self.pair(nodes[:, :, None] * nodes[:, None]))
        by_kind = alike @ torch.cat([self.weight11, self.weight12, self.weight22], 1)
        second = (torch.arange(nodes.shape[1], device=nodes.device) >= first).long()
        kind = (second[:, None] + second)[None, ..., None].expand(nodes.shape[0], -1, -1, 1)
        return (by_kind.gather(-1, kind)[..., 0] / self.temperature).softmax(-1)


class GraphPool(nn.Module):
    """The best share of the nodes, best first, each times its score between 0 and 1.

    >>> GraphPool(6, keep=0.5)(torch.randn(2, 5, 6)).shape
    torch.Size([2, 2, 6])
    """

    def __init__(self, size: int, *, keep: float):
        super().__init__()
        self.keep = keep
        self.judge = nn.Linear(size, 1)

    def forward(self, nodes: Tensor) -> Tensor:
        """Nodes to ``keep`` of them, rounded down, at least one."""
        scores = torch.sigmoid(self.judge(drop(self, nodes, 0.3)))
        best = scores.topk(max(int(nodes.shape[1] * self.keep), 1), dim=1).indices
        return (nodes * scores).gather(1, best.expand(-1, -1, nodes.shape[2]))


class Graphs(nn.Module):
    """Nodes of bands and nodes of times to one vector of size ``dim``: AASIST from its encoder on.

    Each kind has a graph; two branches attend over both at once, and of what they give each value's
    larger counts; maxima and means of the nodes and the master node are read out.

    Args:
        inputs: size of a node.
        bands: how many of them are bands; to each its place is added, which is learned.
        graph, mixed: size of a node after the graph of its kind, and after those of both.
        keep: the share of bands, of times and of the nodes in a branch that pooling leaves.

    >>> graphs = Graphs(6, 5, graph=6, mixed=4, keep=(0.5, 0.5, 0.5))
    >>> graphs(torch.randn(2, 5, 6), torch.randn(2, 9, 6)).shape
    torch.Size([2, 20])
    """

    def __init__(
        self, inputs: int, bands: int, *, graph: int, mixed: int, keep: tuple[float, float, float]
    ):
        super().__init__()
        self.position = nn.Parameter(torch.randn(1, bands, inputs))
        self.band_graph = GraphAttention(inputs, graph, temperature=_ALONE)
        self.time_graph = GraphAttention(inputs, graph, temperature=_ALONE)
        self.band_pool = GraphPool(graph, keep=keep[0])
        self.time_pool = GraphPool(graph, keep=keep[1])
        self.branches = nn.ModuleList(_Branch(graph, mixed, keep[2]) for _ in range(2))
        self.dim = 5 * mixed

    def forward(self, bands: Tensor, times: Tensor) -> Tensor:
        """Nodes of both kinds to (batch, dim)."""
        bands = self.band_pool(self.band_graph(bands + self.position))
        times = self.time_pool(self.time_graph(times))
        pairs = zip(*(branch(times, bands) for branch in self.branches), strict=True)
        times, bands, master = (torch.maximum(one, other) for one, other in pairs)
        parts = [times.abs().amax(1), times.mean(1), bands.abs().amax(1), bands.mean(1), master[:, 0]]
        return drop(self, torch.cat(parts, 1), 0.5)


class _Branch(nn.Module):
    """Two attentions over times and bands with pooling between them, the second added to the first."""

    def __init__(self, inputs: int, size: int, keep: float):
        super().__init__()
        self.master = nn.Parameter(torch.randn(1, 1, inputs))
        self.first = MixedAttention(inputs, size, temperature=_TOGETHER)
        self.band_pool, self.time_pool = GraphPool(size, keep=keep), GraphPool(size, keep=keep)
        self.second = MixedAttention(size, size, temperature=_TOGETHER)

    def forward(self, times: Tensor, bands: Tensor) -> tuple[Tensor, ...]:
        times, bands, master = self.first(times, bands, self.master)
        nodes = (self.time_pool(times), self.band_pool(bands), master)
        return tuple(
            drop(self, one + more, 0.2) for one, more in zip(nodes, self.second(*nodes), strict=True)
        )


class _Update(nn.Module):
    """B y + C x: what attention brought, and the node itself."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.attended = nn.Linear(inputs, outputs)
        self.direct = nn.Linear(inputs, outputs)

    def forward(self, attended: Tensor, nodes: Tensor) -> Tensor:
        return self.attended(attended) + self.direct(nodes)


def _activate(norm: nn.Module, nodes: Tensor) -> Tensor:
    """Normalise over batch and nodes."""
    return F.selu(norm(nodes.flatten(0, 1)).unflatten(0, nodes.shape[:2]))


def _column(size: int) -> nn.Parameter:
    return nn.Parameter(nn.init.xavier_normal_(torch.empty(size, 1)))
