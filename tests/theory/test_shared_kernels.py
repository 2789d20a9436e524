"""Fluctuating kernels, strangers, and what a trained linear network remembers of its start.

Oracles: random layers drawn here, all permutations of a few samples, and the gradient flow of
`linear_flow`, which knows nothing of modes, boosts or conserved blocks.
"""

from itertools import permutations

import numpy as np
import pytest

from learnmech.theory import (
    finite_width_alignment,
    gradient_flow,
    infinite_kernels,
    kernel_fluctuation,
    participation_ratio,
    trained_kernel,
    unrelated_alignment,
)


def centred(kernel):
    rows = kernel.mean(0)
    return kernel - rows - rows[:, None] + rows.mean()


def cosine(a, b):
    return np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b))


@pytest.fixture(name="layer")
def _layer():
    rng = np.random.default_rng(5)
    x = rng.standard_normal((25, 6))
    kernel = infinite_kernels(
        x, activation="relu", hidden_layers=1, weight_std=2**0.5, bias_std=0.0
    ).nngp

    def draw(count):
        weights = rng.standard_normal((count, 6)) * (2 / 6) ** 0.5
        return np.maximum(weights @ x.T, 0.0)

    return kernel, draw


def test_a_white_linear_layer_has_the_constants_of_a_wishart_matrix():
    d = 5
    x = np.linalg.qr(np.random.default_rng(0).standard_normal((40, d + 1)))[0]
    x = np.linalg.qr(x - x.mean(0))[0][:, :d]
    neurons = np.random.default_rng(1).standard_normal((60000, d)) @ x.T
    result = kernel_fluctuation(neurons, x @ x.T)
    assert abs(result.distance - (d + 1)) < 5 * result.distance_error
    assert abs(result.alignment - (d + 1 - 2 / d)) < 5 * result.alignment_error
    assert result.dimension == pytest.approx(d * (d + 1) / 2, rel=0.1)
    assert result.next_order == pytest.approx(-5 / d, abs=0.1)


def test_the_next_order_is_what_wishart_matrices_show():
    # Independent kernels: the mean cosine of two is the squared length of the mean direction.
    d, n = 3, 60
    weights = np.random.default_rng(4).standard_normal((100_000, n, d))
    kernels = weights.transpose(0, 2, 1) @ weights
    kernels /= np.linalg.norm(kernels, axis=(1, 2), keepdims=True)
    found = 1 - np.sum(kernels.mean(0) ** 2)
    leading = 1 - finite_width_alignment(n, d + 1 - 2 / d)
    assert found / leading - 1 == pytest.approx(-5 / d / n, abs=0.007)


def test_random_layers_are_as_far_apart_as_single_neurons_say(layer):
    kernel, draw = layer
    constants = kernel_fluctuation(draw(20000), kernel)
    mean, size = centred(kernel), np.sum(centred(kernel) ** 2)
    for width in (8, 200):
        found = [centred(h.T @ h / width) for h in (draw(width) for _ in range(60))]
        distance = np.mean([np.sum((k - mean) ** 2) for k in found]) / size
        assert distance == pytest.approx(constants.distance / width, rel=0.15)
        pairs = [cosine(found[a], found[b]) for a in range(60) for b in range(a)]
        predicted = 1 - finite_width_alignment(width, constants.alignment)
        assert 1 - np.mean(pairs) == pytest.approx(predicted, rel=0.1)
        exact = [cosine(k, mean) for k in found]
        predicted = 1 - finite_width_alignment(width, constants.alignment, np.inf)
        assert 1 - np.mean(exact) == pytest.approx(predicted, rel=0.15)


def test_neither_scale_nor_shift_of_the_neurons_changes_the_constants(layer):
    kernel, draw = layer
    h = draw(300)
    first = kernel_fluctuation(h, kernel)
    moved = kernel_fluctuation(3.0 * h + np.arange(300.0)[:, None], 9.0 * kernel + 2.0)
    assert moved.alignment == pytest.approx(first.alignment)
    assert moved.dimension == pytest.approx(first.dimension)


def test_two_widths_multiply():
    both = finite_width_alignment([10.0, 20.0], 7.0, 40.0)
    alone = [finite_width_alignment([10.0, 20.0], 7.0, np.inf), finite_width_alignment(40.0, 7.0)]
    np.testing.assert_allclose(both, alone[0] * np.sqrt(alone[1]))


def test_strangers_are_as_alike_as_all_pairings_on_average():
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((6, 3)), rng.standard_normal((6, 9)) ** 2
    first, second = centred(x @ x.T), centred(y @ y.T)
    pairings = [list(p) for p in permutations(range(6))]
    mean = np.mean([cosine(first, second[np.ix_(p, p)]) for p in pairings])
    assert unrelated_alignment(x @ x.T, y @ y.T) == pytest.approx(mean, rel=1e-12)


def test_participation_ratio_counts_equal_eigenvalues():
    frame = np.linalg.qr(np.eye(7) - 1 / 7)[0][:, :3]
    assert participation_ratio(frame @ frame.T) == pytest.approx(3.0)


def trained(sigma, w1, w2):
    """Return W_1^T W_1 at the end of gradient flow."""
    flow = gradient_flow([40.0], sigma, w1, w2, tolerance=1e-9)
    np.testing.assert_allclose(flow.product[-1], sigma, atol=1e-6)
    return flow.first_layer[-1].T @ flow.first_layer[-1]


def start(rng, h, q1, q2):
    """Return weights whose Gram matrices are those of h units, on as few as carry them."""
    stack = rng.standard_normal((5, h)) / h**0.5
    stack[:3] *= q1**0.5
    stack[3:] *= q2**0.5
    lower = np.linalg.qr(stack.T, mode="r").T
    return lower[:3].T, lower[3:]


@pytest.mark.parametrize(("q1", "q2"), [(0.01, 0.01), (1.0, 1.0), (2.0, 0.5)])
def test_gradient_flow_ends_in_the_predicted_kernel_with_the_predicted_scatter(q1, q2):
    rng, sigma, h = np.random.default_rng(7), np.diag([2.0, 1.0]) @ np.eye(2, 3), 2000
    ends = np.stack([trained(sigma, *start(rng, h, q1, q2)) for _ in range(60)])
    end = trained_kernel(sigma, h, q1, q2)
    np.testing.assert_allclose(ends.mean(0), end.mean, atol=0.01 * q1 + 1e-6)
    basis = np.linalg.svd(sigma)[2].T
    found = np.var(basis.T @ ends @ basis, axis=0)
    np.testing.assert_allclose(found, end.variance, rtol=0.7, atol=1e-9)
    scatter = np.mean(np.sum((ends - end.mean) ** 2, axis=(1, 2))) / np.sum(end.mean**2)
    assert scatter == pytest.approx(end.scatter, rel=0.3)
    pairs = [1 - cosine(ends[a], ends[b]) for a in range(60) for b in range(a)]
    assert np.mean(pairs) == pytest.approx(end.misalignment, rel=0.3)


def test_without_a_balanced_pair_the_mean_kernel_solves_the_conserved_equations():
    end = trained_kernel(np.array([[3.0]]), 10, 4.0, 1.0)
    a, s = end.mean[0, 0], 3.0
    b = a - (4.0 - 1.0)  # a - b is conserved, and so is a b - s^2
    assert a * b - s**2 == pytest.approx(4.0 * 1.0)


def test_finite_steps_wear_the_memory_down_as_a_scalar_iteration_does():
    s, q, eta = 1.0, 1e-3, 0.02
    # The mean Gram matrix of one mode, [[a, m], [m, b]], under descent on the half squared loss.
    gram, e_squared = np.diag([q, q]), 0.0
    for _ in range(3000):
        e = s - gram[1, 0]
        step = np.eye(2) + eta * e * np.array([[0.0, 1.0], [1.0, 0.0]])
        gram = step @ gram @ step.T
        e_squared += eta**2 * e**2
    plain, worn = (trained_kernel(np.eye(1), 10, q, learning_rate=r) for r in (0.0, eta))
    ratio = worn.variance[0, 0] / plain.variance[0, 0]
    assert ratio == pytest.approx(np.exp(-2 * e_squared), rel=0.02)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kernel_fluctuation(np.ones((5, 3)), np.eye(3)), "at least 100"),
        (lambda: kernel_fluctuation(np.ones((200, 3)), np.eye(4)), "must be"),
        (lambda: kernel_fluctuation(np.eye(3)[[0] * 200], 5 * np.eye(3)), "not the mean"),
        (lambda: kernel_fluctuation(np.ones((200, 3)), np.ones((3, 3))), "does not vary"),
        (lambda: kernel_fluctuation(np.ones((200, 2)), np.triu(np.ones((2, 2)))), "symmetric"),
        (lambda: kernel_fluctuation(np.ones((200, 3)), np.ones((3, 2))), "square"),
        (lambda: kernel_fluctuation(np.eye(3)[[0] * 200], np.diag([1.0, 0, 0])), "same kernel"),
        (lambda: finite_width_alignment(0, 1.0), "positive"),
        (lambda: finite_width_alignment(3, -1.0), "at least zero"),
        (lambda: unrelated_alignment(np.eye(3), np.eye(4)), "same number"),
        (lambda: trained_kernel(np.eye(2), 1, 1.0), "cannot learn"),
        (lambda: trained_kernel(np.eye(2), 5, 0.0), "positive"),
        (lambda: trained_kernel(np.eye(2), 5, 1.0, learning_rate=-1.0), "learning rate"),
    ],
)
def test_what_cannot_be_answered_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
