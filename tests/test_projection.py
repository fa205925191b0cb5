"""The OWM family's arithmetic against a derivation of its own, in numpy and float64."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.errors import SettingsError
from earwitness.strategies.projection import (
    Projector,
    in_class_cosine_distance,
    rawm_beta,
    rwm_beta,
)
from earwitness.strategies.released import ReleasedProjector
from earwitness.strategies.teacher import distillation

D = 7


def closed_form(rows: np.ndarray, alpha: float) -> np.ndarray:
    """P = I - A' (A A' + alpha I)^-1 A, the definition, with the rows of A as inputs."""
    gram = rows @ rows.T + alpha * np.eye(len(rows))
    return np.eye(rows.shape[1]) - rows.T @ np.linalg.solve(gram, rows)


def rows(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.4, 1, (n, D))


@pytest.mark.parametrize("alpha", [1.0, 0.1, 1e-3])
@pytest.mark.parametrize("n", [1, 5, 40])
def test_updates_equal_the_definition(n, alpha):
    one_by_one, block = Projector(D, alpha), Projector(D, alpha)
    for row in rows(n):
        one_by_one.update(torch.from_numpy(row))
    block.update_block(torch.from_numpy(rows(n)))
    expected = closed_form(rows(n), alpha)
    np.testing.assert_allclose(one_by_one.matrix(), expected, atol=1e-10)
    np.testing.assert_allclose(block.matrix(), expected, atol=1e-10)


def test_alpha_of_each_step_counts():
    projector = Projector(D)
    alphas = [1.0, 0.3, 0.01]
    for row, alpha in zip(rows(3), alphas, strict=True):
        projector.update(torch.from_numpy(row), alpha)
    information = np.eye(D) + sum(np.outer(r, r) / a for r, a in zip(rows(3), alphas, strict=True))
    np.testing.assert_allclose(projector.matrix(), np.linalg.inv(information), atol=1e-10)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 25), st.floats(1e-3, 10))
def test_p_is_symmetric_with_eigenvalues_between_0_and_1(seed, n, alpha):
    projector = Projector(D, alpha)
    for row in rows(n, seed):
        projector.update(torch.from_numpy(row))
    p = projector.matrix()
    assert torch.equal(p, p.T)
    values = torch.linalg.eigvalsh(p)
    assert values.min() > 0
    assert values.max() <= 1 + 1e-12


@pytest.mark.parametrize("how", ["update", "block"])
def test_running_trace_and_norms_are_those_of_the_matrices(how):
    projector = Projector(D, 0.05)
    if how == "update":
        for row in rows(9):
            projector.update(torch.from_numpy(row))
    else:
        projector.update_block(torch.from_numpy(rows(9)))
    p = projector.matrix()
    q = torch.eye(D, dtype=torch.float64) - p
    assert math.isclose(projector.norm_p, float(p.norm()), rel_tol=1e-10)
    assert math.isclose(projector.norm_q, float(q.norm()), rel_tol=1e-10)
    assert math.isclose(projector.rank_energy, float(q.trace()) / D, rel_tol=1e-10)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 0.02)])
@pytest.mark.parametrize("how", ["update", "block"])
def test_the_norm_of_a_p_that_has_nearly_vanished(dtype, tolerance, how):
    """d - 2 tr Q + ||Q||^2 would lose it to rounding: the numbers are measured from the matrix."""
    rng = np.random.default_rng(0)
    projector = Projector(9, 1e-3 if dtype == torch.float64 else 0.1, dtype)
    for _ in range(40):
        inputs = torch.from_numpy(rng.normal(0, 10, (64, 9)))
        if how == "block":
            projector.update_block(inputs)
        else:
            for row in inputs:
                projector.update(row)
    true = float(projector.matrix().double().norm())
    assert true < 1e-3
    assert math.isclose(projector.norm_p, true, rel_tol=tolerance)


def test_modify_without_beta_is_g_p_and_with_beta_the_two_directions():
    projector = Projector(D, 0.1)
    projector.update_block(torch.from_numpy(rows(3)))
    p = closed_form(rows(3), 0.1)
    q = np.eye(D) - p
    g = np.random.default_rng(3).normal(size=(4, D))
    np.testing.assert_allclose(projector.modify(torch.from_numpy(g)), g @ p, atol=1e-10)
    expected = g @ (p / np.linalg.norm(p) + 0.7 * q / np.linalg.norm(q))
    np.testing.assert_allclose(projector.modify(torch.from_numpy(g), 0.7), expected, atol=1e-10)
    spectral = g @ (p / np.linalg.norm(p, 2) + 0.7 * q / np.linalg.norm(q, 2))
    found = projector.modify(torch.from_numpy(g), 0.7, norm="spectral")
    np.testing.assert_allclose(found, spectral, atol=1e-10)
    plain = projector.modify(torch.from_numpy(g), 0.7, norm="none")
    np.testing.assert_allclose(plain, g @ (p + 0.7 * q), atol=1e-10)


def test_a_vanishing_complement_is_left_out():
    g = torch.randn(2, D, dtype=torch.float64)
    fresh = Projector(D)
    torch.testing.assert_close(fresh.modify(g, 5.0), g / math.sqrt(D))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_fused_step_is_an_update_and_a_product(dtype):
    fused, plain = Projector(D, 0.2, dtype), Projector(D, 0.2, dtype)
    g = torch.randn(3, D)
    for row in rows(6):
        r = torch.from_numpy(row)
        product = fused.step(r, g)
        plain.update(r)
        expected = g.to(dtype) @ plain.matrix()
        tolerance = 1e-12 if dtype == torch.float64 else 1e-5
        torch.testing.assert_close(product, expected, atol=tolerance, rtol=0)
        torch.testing.assert_close(fused.matrix(), plain.matrix(), atol=tolerance, rtol=0)


def test_rebuild_mends_float32():
    projector = Projector(D, 1e-3, torch.float32)
    rng = np.random.default_rng(1)
    kept = rng.normal(0.4, 1, (2000, D))
    for row in kept:
        projector.update(torch.from_numpy(row))
    projector.p[0, 1] += 0.01  # damage that must show and must go
    projector.rebuild()
    p = projector.matrix()
    assert torch.equal(p, p.T) or float((p - p.T).abs().max()) < 1e-8
    assert torch.linalg.eigvalsh(p.double()).min() > -1e-7
    assert math.isclose(projector.norm_p, float(p.double().norm()), rel_tol=1e-6)


def test_state_survives():
    one, other = Projector(D, 0.3), Projector(D, 0.3)
    one.update_block(torch.from_numpy(rows(4)))
    other.load(one.state())
    g = torch.randn(2, D, dtype=torch.float64)
    assert torch.equal(one.modify(g, 2.0), other.modify(g, 2.0))


@pytest.mark.parametrize(("dim", "alpha"), [(0, 1.0), (3, 0.0), (3, -1.0)])
def test_impossible_projectors_are_refused(dim, alpha):
    with pytest.raises(SettingsError, match="alpha > 0"):
        Projector(dim, alpha)


def test_small_alpha_is_the_orthogonal_projector():
    projector = Projector(D, 1e-9)
    projector.update_block(torch.from_numpy(rows(3)))
    basis = np.linalg.qr(rows(3).T)[0]
    np.testing.assert_allclose(projector.matrix(), np.eye(D) - basis @ basis.T, atol=1e-7)


def test_rawm_beta_by_hand():
    compact = torch.tensor([True, True, True, False])
    assert rawm_beta(compact) == 2.0
    assert rawm_beta(compact, smoothing=0.0) == 3.0
    assert rawm_beta(torch.tensor([True, True])) == 3.0  # a one-class batch is fine
    with pytest.raises(SettingsError, match="beta_smoothing=1"):
        rawm_beta(torch.tensor([True, True]), smoothing=0.0)


def angle_by_hand(logits: np.ndarray, signs: np.ndarray) -> float:
    shifted = np.exp(logits - logits.max())
    theta = np.arcsin(shifted / shifted.sum())
    return float(np.pi / 4 + 0.5 * (signs * theta).sum())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-20, 20), st.booleans()), min_size=2, max_size=30))
def test_rwm_beta_by_hand(samples):
    logits = np.array([z for z, _ in samples])
    compact = np.array([c for _, c in samples])
    theta = angle_by_hand(logits, np.where(compact, 1.0, -1.0))
    found = rwm_beta(torch.from_numpy(logits), torch.from_numpy(compact))
    assert 0 <= found <= 100
    assert math.isclose(found, min(max(math.tan(theta), 0.0), 100.0), rel_tol=1e-6, abs_tol=1e-10)


def test_rwm_beta_at_its_edges():
    assert rwm_beta(torch.tensor([3.0]), torch.tensor([True])) == 100.0  # the pole
    assert rwm_beta(torch.tensor([3.0]), torch.tensor([True]), beta_max=7.0) == 7.0
    assert abs(rwm_beta(torch.tensor([3.0]), torch.tensor([False]))) < 1e-12
    assert rwm_beta(torch.tensor([2000.0, -2000.0]), torch.tensor([True, False])) == 100.0
    assert rwm_beta(torch.randn(64), torch.zeros(64, dtype=torch.bool)) <= 0.2945
    assert rwm_beta(torch.randn(64), torch.ones(64, dtype=torch.bool)) >= 3.408


def test_regulariser_by_hand_and_its_minimum():
    new, old = np.random.default_rng(0).normal(size=(2, 5, 3))

    def softmax(z: np.ndarray) -> np.ndarray:
        e = np.exp(z)
        return e / e.sum(1, keepdims=True)

    expected = -(softmax(old / 2) * np.log(softmax(new / 2))).sum(1).mean()
    tensors = torch.from_numpy(new).requires_grad_(), torch.from_numpy(old).requires_grad_()
    found = distillation(*tensors, temperature=2.0)
    assert math.isclose(found.item(), expected, rel_tol=1e-12)
    found.backward()
    assert tensors[1].grad is None, "no gradient may flow into the teacher"
    same = distillation(torch.from_numpy(old), torch.from_numpy(old), 2.0)
    assert same.item() <= found.item()


def test_in_class_cosine_distance_by_pairs():
    rng = np.random.default_rng(2)
    features, labels = rng.normal(size=(12, 4)), np.array([0, 1, 2] * 4)
    labels[0] = 4  # class 3 is absent, class 4 has one sample
    found = in_class_cosine_distance(torch.from_numpy(features), torch.from_numpy(labels))
    assert found.shape == (5,)
    for c in range(5):
        f = features[labels == c]
        pairs = [
            1 - f[i] @ f[j] / np.linalg.norm(f[i]) / np.linalg.norm(f[j])
            for i in range(len(f))
            for j in range(i)
        ]
        if pairs:
            assert math.isclose(float(found[c]), float(np.mean(pairs)), rel_tol=1e-12)
        else:
            assert math.isnan(float(found[c]))


# The released arithmetic, written out once more as its own statements are described.


def test_released_denominator_divides_by_an_outer_product():
    released = ReleasedProjector(D, denominator="official")
    p = np.eye(D)
    for r in rows(3):
        k = p @ r
        p = p - np.outer(k, k) / (1.0 + np.outer(k, r))
        released.update(torch.from_numpy(r))
    np.testing.assert_allclose(released.matrix(), p, atol=1e-10)


def test_released_normalisation_and_noise_complement():
    released = ReleasedProjector(D, normalise_state=True, complement="official_solve")
    released.update(torch.from_numpy(rows(1)[0]))
    assert math.isclose(float(released.matrix().norm()), 1.0)
    assert float(released.q().norm()) < 1e-9, "Q = I - P (P'P)^-1 P' is rounding noise"


def test_pinv_complement_agrees_with_i_minus_p_for_small_alpha():
    small = {"alpha": 1e-9}
    exact = ReleasedProjector(D, **small)
    pinv = ReleasedProjector(D, **small, complement="pinv")
    for projector in (exact, pinv):
        projector.update_block(torch.from_numpy(rows(3)))
    torch.testing.assert_close(exact.q(), pinv.q(), atol=1e-6, rtol=0)


def test_with_every_option_repaired_the_released_projector_is_the_projector():
    g = torch.randn(3, D, dtype=torch.float64)
    repaired, projector = ReleasedProjector(D, 0.2), Projector(D, 0.2)
    for one in (repaired, projector):
        one.update_block(torch.from_numpy(rows(5)))
    for beta in (None, 0.5):
        torch.testing.assert_close(
            repaired.modify(g, beta), projector.modify(g, beta), atol=1e-10, rtol=0
        )


def test_a_singular_official_solve_says_what_it_is():
    from earwitness.errors import RunError
    from earwitness.strategies.released import ReleasedProjector

    released = ReleasedProjector(
        3, 1.0, torch.float64, "cpu", denominator="official", normalise_state=True,
        complement="official_solve", rcond=1e-3,
    )  # fmt: skip
    released.p = torch.zeros(3, 3, dtype=torch.float64)
    with pytest.raises(RunError, match="P'P has become singular"):
        released.q()
