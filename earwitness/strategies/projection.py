"""The arithmetic of OWM, RAWM and RWM, free of any model.

Conventions (rows are inputs): a layer has weight W (outputs, d), gradient G (outputs, d) and inputs
whose batch mean is r (d,). The projector P (d, d) starts as the identity and shrinks along what was
seen; Q = I - P is its complement. Papers write weights the other way round and multiply from the
left; as P is symmetric, ``G P`` here is their ``P ΔW``.

Sources: Zeng, Chen, Cui, Yu, "Continual learning of context-dependent processing in neural
networks" (2019) for P; "Regularized adaptive weight modification" (ICML 2023) and "Radian weight
modification" (AAAI 2024) for the directions. Departures from the released code: the denominator of
the recursion is the scalar ``alpha + r P r`` (theirs divides by an outer product), P is never
normalised in place, and Q is I - P (theirs, I - P (P'P)^-1 P', is zero up to rounding).
"""

import math

import torch
from torch import Tensor

from earwitness.errors import RunError, SettingsError

__all__ = [
    "Projector",
    "in_class_cosine_distance",
    "rawm_beta",
    "rwm_beta",
]

_TINY = 1e-12  # a direction of smaller norm is taken as absent
_MEASURE_EVERY = 64  # steps
_NUMBERS = ("trace_q", "square_p", "square_q", "updates")


class Projector:
    """P of one layer, its updates, and the directions made from it.

    Besides the one (dim, dim) matrix it keeps three numbers, tr Q, ||P||_F^2 and ||Q||_F^2, up to
    date in O(dim) a step. They are measured afresh from the matrix every 64 steps and after every
    block, because a P that has shrunk to nearly nothing would be lost in their rounding.

    Args:
        dim: inputs of the layer.
        alpha: regularisation; along a direction seen with energy s the eigenvalue of P becomes
            1 / (1 + s / alpha).
        dtype: float64, or float32 with ``rebuild`` now and then.

    >>> projector = Projector(3)
    >>> projector.update(torch.tensor([1.0, 0.0, 0.0]))
    >>> projector.matrix().diagonal().numpy().round(6).tolist()
    [0.5, 1.0, 1.0]
    """

    def __init__(
        self,
        dim: int,
        alpha: float = 1.0,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ):
        if dim < 1 or not alpha > 0:
            raise SettingsError(f"a projector needs dim >= 1 and alpha > 0, not {dim} and {alpha}.")
        self.dim = dim
        self.alpha = alpha
        self.p = torch.eye(dim, dtype=dtype, device=device)
        self.trace_q = 0.0
        self.square_p = float(dim)  # ||P||_F^2
        self.square_q = 0.0  # ||Q||_F^2
        self.updates = 0
        self._spectral: tuple[int, float, float] | None = None  # norms of P and Q after n updates

    def matrix(self) -> Tensor:
        """A copy of P, (dim, dim), symmetric, eigenvalues in (0, 1]."""
        return self.p.clone()

    @property
    def norm_p(self) -> float:
        """||P||_F."""
        return math.sqrt(max(self.square_p, 0.0))

    @property
    def norm_q(self) -> float:
        """||I - P||_F."""
        return math.sqrt(max(self.square_q, 0.0))

    @property
    def rank_energy(self) -> float:
        """tr Q / d: the share of the input space that is protected, 0 to 1."""
        return self.trace_q / self.dim

    def update(self, r: Tensor, alpha: float | None = None) -> None:
        """One recursion step with a mean input r (dim,): P <- P - k k' / (alpha + r k), k = P r."""
        r = r.to(self.p)
        self._downdate(self.p @ r, r, alpha)

    def step(self, r: Tensor, gradient: Tensor, alpha: float | None = None) -> Tensor:
        """``update(r)`` and then G P with the new P, reading P once for both.

        Returns (outputs, dim). G P_new = G P_old - (G k) k' / den.
        """
        stacked = torch.cat([r[None], gradient]).to(self.p) @ self.p
        k, product = stacked[0], stacked[1:]
        r = r.to(self.p)
        den = self._downdate(k, r, alpha)
        return product.addr_(gradient.to(k) @ k, k, alpha=-1 / den)

    def _downdate(self, k: Tensor, r: Tensor, alpha: float | None) -> float:
        # r P r is positive; float32 may round a vanishing one to below zero.
        den = (self.alpha if alpha is None else alpha) + max(float(r @ k), 0.0)
        scaled = k / math.sqrt(den)  # scaled first, so that rounding keeps P symmetric
        energy, kept = float(scaled @ scaled), float(scaled @ (self.p @ scaled))
        # ||P - s s'||^2 = ||P||^2 - 2 s'Ps + (s's)^2; the same for Q, with s'Qs = s's - s'Ps.
        self.square_p += energy**2 - 2 * kept
        self.square_q += energy**2 + 2 * max(energy - kept, 0.0)
        self.trace_q += energy
        self.p.addr_(scaled, scaled, alpha=-1)
        self.updates += 1
        if self.updates % _MEASURE_EVERY == 0:
            self._measure()
        return den

    def update_block(self, R: Tensor, alpha: float | None = None) -> None:
        """The steps of all rows of R (n, dim) at once (Woodbury); equal to n calls of ``update``.

        P <- P - P R' (alpha I + R P R')^-1 R P. More rows than dimensions are first reduced to
        their triangular factor, which has the same R'R.
        """
        alpha = self.alpha if alpha is None else alpha
        rows = R.to(self.p)
        self.updates += len(rows)
        if len(rows) > self.dim:
            rows = torch.linalg.qr(rows, mode="r").R
        k = self.p @ rows.T
        system = (rows @ k).double()
        system = (system + system.T) / 2
        system.diagonal().add_(alpha)
        factor = _cholesky(system).to(k)
        half = torch.linalg.solve_triangular(factor, k.T, upper=False)
        self.p.addmm_(half.T, half, alpha=-1)
        self.p = (self.p + self.p.T) / 2
        self._measure()

    def rebuild(self) -> None:
        """Mend rounding: make P symmetric, its eigenvalues within [0, 1], and measure it afresh."""
        symmetric = (self.p.double() + self.p.double().T) / 2
        values, vectors = torch.linalg.eigh(symmetric)
        self.p = ((vectors * values.clamp(0, 1)) @ vectors.T).to(self.p)
        self._measure()

    def _measure(self) -> None:
        self.trace_q = self.square_p = self.square_q = 0.0
        for first in range(0, self.dim, 256):  # a few rows at a time: no second matrix
            rows = self.p[first : first + 256].to(torch.float64, copy=True)
            self.square_p += float(rows.square().sum())
            rows.diagonal(first).sub_(1)
            self.trace_q -= float(rows.diagonal(first).sum())
            self.square_q += float(rows.square().sum())

    def modify(self, G: Tensor, beta: float | None = None, *, norm: str = "frobenius") -> Tensor:
        """The gradient in the method's direction, (outputs, dim).

        ``beta=None`` is OWM: G P. With a number it is RAWM's and RWM's G R,
        R = P/||P|| + beta Q/||Q||, where a vanishing term is left out. ``norm``: ``frobenius`` as
        published, ``spectral``, or ``none`` (R = P + beta Q).
        """
        return self.direct(G, G.to(self.p) @ self.p, beta, norm)

    def direct(self, G: Tensor, GP: Tensor, beta: float | None, norm: str) -> Tensor:
        """``modify``, given the product G P; Q is never formed, as G Q = G - G P."""
        if beta is None:
            return GP.to(G)
        size_p, size_q = self.norms(norm)
        modified = torch.zeros_like(GP)
        if size_p >= _TINY:
            modified += GP / size_p
        if size_q >= _TINY and beta:
            modified += (G.to(GP) - GP) * (beta / size_q)
        return modified.to(G)

    def norms(self, norm: str) -> tuple[float, float]:
        """Sizes of P and Q under a norm; ``none`` gives 1 and, where there is a Q, 1."""
        if norm == "frobenius":
            return self.norm_p, self.norm_q
        if norm == "none":
            return 1.0, 1.0
        if norm != "spectral":
            raise SettingsError(f"norm is {norm!r}; choose from frobenius, spectral, none.")
        if self._spectral is None or self._spectral[0] != self.updates:
            values = torch.linalg.eigvalsh(self.p)
            self._spectral = (self.updates, float(values.abs().max()), float((1 - values).abs().max()))
        return self._spectral[1:]

    def state(self) -> dict[str, object]:
        """P and its numbers."""
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        return {"p": self.p, **numbers}

    def load(self, state: dict[str, object]) -> None:
        """Take up a saved state."""
        # A copy, as steps change P in place.
        self.p = state["p"].to(self.p, copy=True)  # type: ignore[attr-defined]
        for name in _NUMBERS:
            setattr(self, name, state[name])


def _cholesky(system: Tensor) -> Tensor:
    try:
        return torch.linalg.cholesky(system)
    except torch.linalg.LinAlgError:
        largest = float(system.diagonal().max())
        raise RunError(
            f"P can't learn these inputs: their energy, up to {largest:.2g}, drowns alpha in rounding. "
            "Are the layer's inputs normalised? A larger alpha helps."
        ) from None


def rawm_beta(is_compact: Tensor, smoothing: float = 1.0) -> float:
    """RAWM's ratio (N_compact + s) / (N_spread + s) over the batch.

    Args:
        is_compact: (batch,) boolean: the sample's class keeps its distribution across tasks.
        smoothing: s; with 0 (the released CLEAR code) a batch of one kind has no ratio.

    >>> rawm_beta(torch.tensor([True, True, False]))
    1.5

    Raises:
        SettingsError: smoothing is 0 and the batch has no sample of the spread-out classes.
    """
    compact = int(is_compact.sum())
    spread = is_compact.numel() - compact
    if spread + smoothing == 0:
        raise SettingsError(
            f"beta_smoothing=0 needs a sample of the spread-out classes in every batch; this one "
            f"has {compact} compact and none spread out. Use beta_smoothing=1."
        )
    return (compact + smoothing) / (spread + smoothing)


def rwm_beta(own_logits: Tensor, is_compact: Tensor, beta_max: float = 100.0) -> float:
    """RWM's tan(theta): theta = pi/4 + 1/2 sum_i sign_i arcsin(softmax over the batch)_i.

    Args:
        own_logits: (batch,) each sample's logit at its own label.
        is_compact: (batch,) boolean; compact classes count +, spread-out ones -.
        beta_max: bound near the pole at pi/2, which one confident compact sample can reach.

    >>> round(rwm_beta(torch.zeros(8), torch.arange(8) < 4), 6)
    1.0
    """
    sine = own_logits.detach().double().softmax(0).clamp(max=1.0)
    signs = is_compact.double() * 2 - 1
    theta = math.pi / 4 + 0.5 * float(signs @ sine.arcsin())
    theta = min(max(theta, 0.0), math.pi / 2)
    tangent = math.tan(theta)
    # Just below pi/2 the tangent is huge; at it, rounding may give the wrong sign.
    return min(tangent, beta_max) if 0 <= tangent else beta_max


def in_class_cosine_distance(features: Tensor, labels: Tensor) -> Tensor:
    """Mean of 1 - cos over all pairs within each class.

    Args:
        features: (samples, dim). labels: (samples,) from 0.

    Returns (num_classes,), num_classes = largest label + 1; NaN for classes of fewer than two.

    >>> in_class_cosine_distance(torch.eye(2).double(), torch.tensor([0, 0]))
    tensor([1.], dtype=torch.float64)
    """
    classes = int(labels.max()) + 1
    unit = torch.nn.functional.normalize(features.double(), dim=1)
    total = torch.zeros(classes, features.shape[1], dtype=torch.float64, device=features.device)
    total.index_add_(0, labels, unit)
    squares = torch.zeros(classes, dtype=torch.float64, device=features.device)
    squares.index_add_(0, labels, unit.square().sum(1))
    return pair_distance(total, squares, labels.bincount(minlength=classes).double())


def pair_distance(total: Tensor, squares: Tensor, count: Tensor) -> Tensor:
    """1 - mean cosine over pairs, from sums of unit vectors (classes, dim) and of their squares.

    Sum over ordered pairs of u_i.u_j = |sum u|^2 - sum |u|^2.
    """
    pairs = count * (count - 1)
    mean_cosine = (total.square().sum(1) - squares) / pairs
    return torch.where(pairs > 0, 1 - mean_cosine, torch.nan)
