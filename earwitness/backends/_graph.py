"""Attention between the nodes of small complete graphs, and pooling of nodes.

Jung et al., "AASIST: Audio Anti-Spoofing using Integrated Spectro-Temporal Graph Attention Networks"
(2022), sections 2 and 3. Nodes are (batch, node, size).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["GraphAttention", "GraphPool", "MixedAttention", "drop"]


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
        kind = (second[:, None] + second)[None, ..., None].expand(len(nodes), -1, -1, 1)
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
