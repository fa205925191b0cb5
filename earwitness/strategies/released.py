"""The projector with the released code's arithmetic, for showing what each repair changes.

Same interface as ``projection.Projector``; slow, dense, and wrong in the ways the names say. See
the options of ``projected.ProjectedStrategy``.
"""

import torch
from torch import Tensor

from earwitness.errors import RunError

__all__ = ["ReleasedProjector"]


class ReleasedProjector:
    """P and Q by the released statements, each switchable back to the repaired one.

    Args:
        denominator: ``official`` divides k k' entry by entry by ``alpha + k r'``; ``scalar`` by
            ``alpha + r k``.
        normalise_state: overwrite P by P/||P||_F after each step.
        complement: Q from ``identity_minus_p``, from ``pinv`` (I - P P^+, eigenvalues below
            ``rcond`` dropped), or ``official_solve`` (I - P (P'P)^-1 P', which is rounding noise).

    >>> released = ReleasedProjector(2, denominator="official")
    >>> released.update(torch.tensor([1.0, 1.0]))
    >>> released.matrix().tolist()
    [[0.5, -0.5], [-0.5, 0.5]]
    """

    def __init__(
        self,
        dim: int,
        alpha: float = 1.0,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
        *,
        denominator: str = "scalar",
        normalise_state: bool = False,
        complement: str = "identity_minus_p",
        rcond: float = 1e-3,
    ):
        self.dim, self.alpha, self.rcond = dim, alpha, rcond
        self.denominator, self.normalise_state = denominator, normalise_state
        self.complement = complement
        self.p = torch.eye(dim, dtype=dtype, device=device)
        self.updates = 0

    def matrix(self) -> Tensor:
        """A copy of P (dim, dim); not symmetric with the official denominator."""
        return self.p.clone()

    def q(self) -> Tensor:
        """The complement Q (dim, dim)."""
        identity = torch.eye(self.dim, dtype=self.p.dtype, device=self.p.device)
        if self.complement == "identity_minus_p":
            return identity - self.p
        if self.complement == "pinv":
            return identity - self.p @ torch.linalg.pinv(self.p, rtol=self.rcond)
        try:
            return identity - self.p @ torch.linalg.solve(self.p.T @ self.p, self.p.T)
        except torch.linalg.LinAlgError:
            raise RunError(
                "complement='official_solve': P'P has become singular, as it does in the released code "
                "once P has a dominant direction; use complement='identity_minus_p'."
            ) from None

    @property
    def rank_energy(self) -> float:
        """tr(I - P) / d."""
        return float(1 - self.p.trace() / self.dim)

    def update(self, r: Tensor, alpha: float | None = None) -> None:
        """One released step with a mean input r (dim,)."""
        alpha = self.alpha if alpha is None else alpha
        r = r.to(self.p)
        k = self.p @ r
        under = alpha + torch.outer(k, r) if self.denominator == "official" else alpha + r @ k
        self.p = self.p - torch.outer(k, k) / under
        if self.normalise_state:
            self.p = self.p / self.p.norm()
        self.updates += 1

    def update_block(self, R: Tensor, alpha: float | None = None) -> None:
        """The steps of all rows, one after the other: these don't commute."""
        for row in R:
            self.update(row, alpha)

    def step(self, r: Tensor, gradient: Tensor, alpha: float | None = None) -> Tensor:
        """``update`` and the product G P'."""
        self.update(r, alpha)
        return gradient.to(self.p) @ self.p.T

    def modify(self, G: Tensor, beta: float | None = None, *, norm: str = "frobenius") -> Tensor:
        """G P' (``beta=None``) or G R' with R = P/||P|| + beta Q/||Q||."""
        return self.direct(G, G.to(self.p) @ self.p.T, beta, norm)

    def direct(self, G: Tensor, GP: Tensor, beta: float | None, norm: str) -> Tensor:
        """``modify``, given G P'."""
        if beta is None:
            return GP.to(G)
        q = self.q()
        order = {"frobenius": "fro", "spectral": 2, "none": None}[norm]
        size_p = torch.linalg.matrix_norm(self.p, order) if order else torch.tensor(1.0)
        size_q = torch.linalg.matrix_norm(q, order) if order else torch.tensor(1.0)
        # The released code divides by the norm of rounding noise; only an exact zero is spared.
        noise = (G.to(q) @ q.T) * (beta / size_q) if size_q > 0 else 0.0
        return (GP / size_p + noise).to(G)

    def rebuild(self) -> None:
        """Nothing: the released code never mends P."""

    def state(self) -> dict[str, object]:
        """P and the count of updates."""
        return {"p": self.p, "updates": self.updates}

    def load(self, state: dict[str, object]) -> None:
        """Take up a saved state."""
        self.p = state["p"].to(self.p)  # type: ignore[attr-defined]
        self.updates = int(state["updates"])  # type: ignore[call-overload]
