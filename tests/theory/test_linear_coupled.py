"""The coupled matrix solution, the integrated flow, gradient descent and observables."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from learnmech.theory import linear_observables as observables
from learnmech.theory.linear_coupled import (
    check_layers,
    coupled_solution,
    initial_strengths,
    singular_modes,
)
from learnmech.theory.linear_discrete import descent_half_time, descent_strength, growth_rate
from learnmech.theory.linear_flow import decayed_imbalance, final_product, gradient_flow, imbalance
from learnmech.theory.linear_networks import half_time, mode_strength


def balanced(d_in, d_out, h, scale, rng):
    """Weights with W_1 W_1^T = W_2^T W_2 whose product is not aligned with anything."""
    k = min(d_in, d_out, h)
    core = scale * rng.normal(size=(k, h))
    left, _ = np.linalg.qr(rng.normal(size=(d_out, k)))
    right, _ = np.linalg.qr(rng.normal(size=(d_in, k)))
    return (right @ core).T, left @ core


def brute_force(t, sigma, w1, w2):
    """Gradient flow of the weights themselves, as autograd would see it, to 1e-12."""

    def velocity(_, y):
        a, b = y[: w1.size].reshape(w1.shape), y[w1.size :].reshape(w2.shape)
        error = sigma - b @ a
        return np.concatenate([(b.T @ error).ravel(), (error @ a.T).ravel()])

    start = np.concatenate([w1.ravel(), w2.ravel()])
    y = solve_ivp(velocity, (0, t[-1]), start, "DOP853", t, rtol=1e-12, atol=1e-14).y.T
    return y[:, : w1.size].reshape(-1, *w1.shape), y[:, w1.size :].reshape(-1, *w2.shape)


@pytest.mark.parametrize(
    ("d_in", "d_out", "h", "scale", "rank"),
    [
        (6, 4, 8, 0.01, 4),
        (6, 4, 2, 0.01, 4),
        (5, 5, 3, 0.5, 3),
        (3, 7, 4, 1e-3, 3),
        (4, 4, 1, 2, 4),
    ],
)
def test_balanced_start_is_exact(d_in, d_out, h, scale, rank) -> None:
    """Independent: it integrates the weights, never the Gram matrix or its exponentials."""
    rng = np.random.default_rng(0)
    sigma = rng.normal(size=(d_out, rank)) @ rng.normal(size=(rank, d_in)) / np.sqrt(rank)
    w1, w2 = balanced(d_in, d_out, h, scale, rng)
    t = np.linspace(0.0, 12.0, 13)
    a, b = brute_force(t, sigma, w1, w2)
    solution = coupled_solution(t, sigma, w1, w2)
    np.testing.assert_allclose(solution.product, b @ a, atol=2e-9)
    np.testing.assert_allclose(solution.input_gram, a.swapaxes(1, 2) @ a, atol=2e-9)
    np.testing.assert_allclose(solution.output_gram, b @ b.swapaxes(1, 2), atol=2e-9)
    np.testing.assert_allclose(solution.product[0], w2 @ w1, atol=1e-15 * max(1, scale**2 * 10))


def test_imbalance_enters_at_first_order() -> None:
    """The error of a Gaussian start falls as its variance, the order of its imbalance."""
    rng = np.random.default_rng(1)
    sigma = np.diag([3.0, 1.8, 1.0, 0.6]) @ np.eye(4, 6)
    g1, g2 = rng.normal(size=(10, 6)), rng.normal(size=(4, 10))
    t = np.linspace(0.0, 25.0, 51)
    errors = []
    for std in (0.01, 0.03):
        flow = gradient_flow(t, sigma, std * g1, std * g2, tolerance=1e-11)
        errors.append(np.abs(coupled_solution(t, sigma, std * g1, std * g2).product - flow.product))
    slope = np.log(errors[1].max() / errors[0].max()) / np.log(9.0)
    assert 0.85 < slope < 1.15


@pytest.mark.parametrize("h", [1, 2, 3, 7])
def test_large_times_end_at_the_best_product_of_that_rank(h) -> None:
    rng = np.random.default_rng(h)
    sigma = rng.normal(size=(4, 5))
    u, s, vt = np.linalg.svd(sigma, full_matrices=False)
    best = (u[:, :h] * s[:h]) @ vt[:h]
    w1, w2 = balanced(5, 4, h, 0.1, rng)
    ends = coupled_solution([1e3, 1e6, 1e12], sigma, w1, w2).product
    np.testing.assert_allclose(ends, np.broadcast_to(best, ends.shape), atol=1e-12)


def test_semigroup_of_the_gram_matrix() -> None:
    """Restarting from any root of the Gram matrix at t1 continues the same curve."""
    rng = np.random.default_rng(3)
    sigma = rng.normal(size=(3, 4))
    w1, w2 = balanced(4, 3, 5, 0.05, rng)
    direct = coupled_solution([3.0], sigma, w1, w2)
    half = coupled_solution([1.2], sigma, w1, w2)
    cross = half.product[0]
    gram = np.block([[half.input_gram[0], cross.T], [cross, half.output_gram[0]]])
    values, vectors = np.linalg.eigh(gram)
    root = vectors * np.sqrt(np.clip(values, 0.0, None))
    rest = coupled_solution([1.8], sigma, root[:4].T, root[4:])
    np.testing.assert_allclose(rest.product, direct.product, atol=1e-7)  # root of a null space


def test_aligned_start_is_the_sigmoid_and_growing_form_agrees() -> None:
    s, a0, t = np.array([3.0, 1.0]), np.array([1e-4, 2e-3]), np.linspace(0.0, 8.0, 17)
    w = np.diag(np.sqrt(a0))
    expected = mode_strength(t, s, a0)
    for growing_only in (False, True):
        solution = coupled_solution(t, np.diag(s), w, w, growing_only=growing_only)
        got = observables.strengths(solution.product, np.diag(s))
        np.testing.assert_allclose(got, expected, rtol=1e-11)


def test_growing_form_is_the_formula_of_the_docstring() -> None:
    """Independent: the displayed inverse, evaluated directly where it is well conditioned."""
    rng = np.random.default_rng(4)
    s, t = np.array([2.0, 1.5, 0.7]), 0.9
    w1, w2 = 0.3 * rng.normal(size=(6, 3)), 0.3 * rng.normal(size=(3, 6))
    p = (w1.T + w2) / np.sqrt(2.0)
    decay = np.diag(np.exp(-s * t))
    inverse = decay @ np.linalg.inv(p @ p.T) @ decay + np.diag(-np.expm1(-2 * s * t) / (2 * s))
    got = coupled_solution([t], np.diag(s), w1, w2, growing_only=True).product[0]
    np.testing.assert_allclose(2 * got, np.linalg.inv(inverse), rtol=1e-11)


def test_rotating_the_hidden_layer_or_the_data_changes_nothing() -> None:
    rng = np.random.default_rng(5)
    sigma, w1, w2 = rng.normal(size=(3, 4)), rng.normal(size=(5, 4)), rng.normal(size=(3, 5))
    o, p, q = (np.linalg.qr(rng.normal(size=(n, n)))[0] for n in (5, 4, 3))
    t = [0.3, 2.0]
    plain = coupled_solution(t, sigma, w1, w2).product
    np.testing.assert_allclose(
        coupled_solution(t, sigma, o @ w1, w2 @ o.T).product, plain, atol=1e-12
    )
    turned = coupled_solution(t, q @ sigma @ p.T, w1 @ p.T, q @ w2).product
    np.testing.assert_allclose(turned, q @ plain @ p.T, atol=1e-12)


def test_initial_strengths() -> None:
    s, a = np.array([2.0, 1.0]), np.array([0.3, 0.1])
    w = np.diag(np.sqrt(a))
    for separated in (False, True):
        np.testing.assert_allclose(
            initial_strengths(np.diag(s), w, w, separated=separated), a, rtol=1e-14
        )
    with pytest.raises(ValueError, match="cannot separate"):
        initial_strengths(np.diag(s), np.ones((1, 2)), np.ones((2, 1)), separated=True)


def test_flow_conserves_and_decays_the_imbalance() -> None:
    rng = np.random.default_rng(6)
    sigma, w1, w2 = rng.normal(size=(3, 4)), rng.normal(size=(5, 4)), rng.normal(size=(3, 5))
    root = rng.normal(size=(4, 4))
    covariance, t = root @ root.T, np.linspace(0.0, 2.0, 5)
    for decay in (0.0, 0.3):
        flow = gradient_flow(
            t, sigma, w1, w2, input_covariance=covariance, weight_decay=decay, tolerance=1e-11
        )
        expected = decayed_imbalance(t, imbalance(w1, w2), decay)
        got = imbalance(flow.first_layer, flow.second_layer)
        np.testing.assert_allclose(got, expected, atol=1e-8)


def test_descent_drift_is_exact_in_steps_and_first_order_along_the_flow() -> None:
    """Independent: explicit gradient descent on the matrices, summed step by step."""
    rng = np.random.default_rng(7)
    sigma = rng.normal(size=(3, 4))
    w1, w2 = 0.3 * rng.normal(size=(5, 4)), 0.3 * rng.normal(size=(3, 5))
    flow = gradient_flow([0.0, 3.0], sigma, w1, w2)
    misses = []
    for eta in (0.01, 0.0025):
        a, b, total = w1.copy(), w2.copy(), np.zeros((5, 5))
        for _ in range(round(3.0 / eta)):
            error = sigma - b @ a
            g1, g2 = -b.T @ error, -error @ a.T
            total += eta**2 * (g1 @ g1.T - g2.T @ g2)
            a, b = a - eta * g1, b - eta * g2
        drift = imbalance(a, b) - imbalance(w1, w2)
        np.testing.assert_allclose(drift, total, atol=1e-13)
        predicted = eta * flow.drift_integral[-1]
        misses.append(np.linalg.norm(predicted - drift) / np.linalg.norm(drift))
    assert misses[0] < 0.05
    assert 3.0 < misses[0] / misses[1] < 5.0


def test_correlated_inputs_end_at_least_squares() -> None:
    rng = np.random.default_rng(8)
    sigma, root = rng.normal(size=(2, 3)), rng.normal(size=(3, 3)) + 2 * np.eye(3)
    covariance = root @ root.T
    w1, w2 = 0.3 * rng.normal(size=(6, 3)), 0.3 * rng.normal(size=(2, 6))
    end = gradient_flow([0.0, 200.0], sigma, w1, w2, input_covariance=covariance).product[-1]
    np.testing.assert_allclose(end, final_product(sigma, covariance), atol=1e-6)
    np.testing.assert_allclose(final_product(sigma, np.eye(3)), sigma)
    with pytest.raises(ValueError, match="no inverse"):
        final_product(sigma, np.ones((3, 3)))


def test_descent_approaches_the_flow_at_first_order_and_grows_as_said() -> None:
    s, a0 = 1.3, 1e-6
    for depth in (2, 3, 4):
        start = a0 if depth == 2 else 1e-2
        gaps = []
        for eta in (0.02, 0.01):
            path = descent_strength(round(40 / eta), s, start, eta, depth)
            exact = mode_strength(eta * np.arange(path.size), s, start, depth)
            gaps.append(np.max(np.abs(path - exact)))
        assert 1.8 < gaps[0] / gaps[1] < 2.2
    early = descent_strength(10, s, 1e-12, 0.3)
    np.testing.assert_allclose(early[-1] / early[0], np.exp(2 * growth_rate(s, 0.3) * 3.0))
    late = descent_half_time(s, 1e-200, 0.3) / half_time(s, 1e-200)
    assert float(late) == pytest.approx(0.3 * s / np.log1p(0.3 * s), rel=1e-3)
    with pytest.raises(ValueError, match="diverges"):
        descent_strength(200, 1.0, 0.1, 5.0)
    with pytest.raises(ValueError, match="positive"):
        descent_strength(3, 1.0, 0.0, 0.1)
    with pytest.raises(ValueError, match="depth"):
        descent_strength(3, 1.0, 0.1, 0.1, 0)


def test_observables() -> None:
    rng = np.random.default_rng(9)
    x = np.linalg.qr(rng.normal(size=(40, 4)))[0] * np.sqrt(40)
    y, m = rng.normal(size=(40, 3)), rng.normal(size=(1, 3, 4))
    sigma, power = y.T @ x / 40, np.sum(y**2) / 40
    direct = 0.5 * np.mean(np.sum((y - x @ m[0].T) ** 2, axis=1))
    assert observables.loss_curve(m, sigma, power)[0] == pytest.approx(direct, rel=1e-13)
    covariance = x.T @ x / 40
    assert observables.loss_curve(m, sigma, power, covariance)[0] == pytest.approx(direct)
    u, s, v = singular_modes(sigma)
    np.testing.assert_allclose(observables.strengths(sigma[None], sigma)[:, 0], s, rtol=1e-13)
    assert observables.subspace_overlap(sigma[None], sigma, 2)[0] == pytest.approx(1.0)
    orthogonal = u[:, 2:] @ v[:, 2:].T
    assert observables.subspace_overlap(orthogonal[None], sigma, 1)[0] == pytest.approx(0.0)
    assert observables.effective_rank(orthogonal[None])[0] == pytest.approx(1.0)
    with pytest.raises(ValueError, match="not set"):
        observables.subspace_overlap(np.eye(2)[None], np.eye(2), 1)
    with pytest.raises(ValueError, match="not zero"):
        observables.effective_rank(np.zeros((1, 2, 2)))
    with pytest.raises(ValueError, match="extend the times"):
        observables.crossing_times([0.0, 1.0], np.array([[0.0, 0.1]]), np.array([0.5]))
    with pytest.raises(ValueError, match="NaN"):
        observables.loss_curve(np.full((1, 3, 4), np.nan), sigma, power)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"t": [-1.0]}, "at least zero"),
        ({"t": [np.nan]}, "finite times"),
        ({"correlation": np.full((3, 4), np.nan)}, "correlation holds NaN"),
        ({"second_layer": np.full((3, 5), np.inf)}, "second_layer holds NaN"),
    ],
)
def test_coupled_solution_refuses(change, message) -> None:
    arguments = {"t": [1.0], "correlation": np.ones((3, 4))}
    arguments |= {"first_layer": np.ones((5, 4)), "second_layer": np.ones((3, 5))}
    with pytest.raises(ValueError, match=message):
        coupled_solution(**(arguments | change))


def test_gradient_flow_refuses() -> None:
    one = np.eye(1)
    with pytest.raises(ValueError, match="increasing"):
        gradient_flow([1.0, 0.5], one, one, one)
    with pytest.raises(ValueError, match="input_covariance"):
        gradient_flow([1.0], one, one, one, input_covariance=np.nan * one)
    with pytest.raises(ValueError, match="weight_decay"):
        gradient_flow([1.0], one, one, one, weight_decay=-1.0)
    for w1, w2 in ((np.ones((5, 3)), np.ones((3, 5))), (np.ones((5, 4)), np.ones((3, 6)))):
        with pytest.raises(ValueError, match="do not fit"):
            check_layers(np.ones((3, 4)), w1, w2)
