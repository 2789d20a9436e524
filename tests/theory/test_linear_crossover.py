"""The lazy-rich crossover of two-layer linear networks."""

import numpy as np
import pytest

from learnmech.theory import (
    gradient_flow,
    linear_kernel_movement,
    linear_movement_spread,
    linear_movement_wear,
)

SIGMA = np.random.default_rng(0).normal(size=(3, 5))


def _kernel(first, second):
    """The tangent kernel summed over outputs, by inputs of one direction each."""
    return np.trace(second @ second.T) * np.eye(5) + 3 * first.T @ first


@pytest.mark.parametrize("alpha", [0.2, 0.7, 6.0])
def test_gradient_flow_from_a_start_without_overlaps_ends_where_the_formula_says(alpha):
    """The flow is integrated step by step and knows no conserved matrix.

    From orthogonal columns and rows, which have no overlaps, the formula of infinite width is exact
    at width twelve. With the zero product of that start, alpha times the network learns Sigma as
    the network itself learns Sigma / alpha.
    """
    start = 0.4
    frame = np.linalg.qr(np.random.default_rng(1).normal(size=(12, 8)))[0]
    first, second = start**0.5 * frame[:, :5], start**0.5 * frame[:, 5:].T
    flow = gradient_flow([0.0, 60.0], SIGMA / alpha, first, second)
    before, after = (_kernel(flow.first_layer[i], flow.second_layer[i]) for i in (0, -1))
    found = np.linalg.norm(after - before) / np.linalg.norm(before)
    assert found == pytest.approx(linear_kernel_movement(alpha, SIGMA, start=start), rel=1e-5)


def test_the_rich_side_falls_by_the_multiplier_and_the_lazy_side_by_its_square():
    values = linear_kernel_movement([1e-5, 1e-4, 1e4, 1e5], SIGMA, start=1.0)
    assert values[0] / values[1] == pytest.approx(10, rel=1e-3)
    assert values[2] / values[3] == pytest.approx(100, rel=1e-6)


def test_at_finite_width_the_lazy_side_falls_by_the_multiplier_in_the_end():
    values = linear_kernel_movement([1e4, 1e5], SIGMA, start=1.0, width=100)
    assert values[0] / values[1] == pytest.approx(10, rel=1e-6)


def test_the_term_of_finite_width_is_the_mean_square_over_random_overlaps():
    """To first order in 1/alpha, with the random product of the start drawn and not averaged."""
    rng, alpha, width, q = np.random.default_rng(2), 1e6, 50, 0.8
    flow = SIGMA / (2 * q * alpha)
    squares = []
    for _ in range(20_000):
        product = rng.normal(size=(3, 5)) * q / width**0.5
        turn = product.T @ flow
        change = 3 * (turn + turn.T) + 2 * np.trace(turn) * np.eye(5)
        squares.append(np.sum(change**2))
    expected = np.sqrt(np.mean(squares)) / (2 * q * 3 * 5**0.5)
    found = linear_kernel_movement(alpha, SIGMA, start=q, width=width)
    assert found == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("alpha", [0.05, 1.0, 10.0])
def test_finite_steps_wear_off_what_gradient_descent_on_one_mode_loses(alpha):
    """One mode of a network is iterated here, its two vectors written in a plane."""
    s, q, rate = 1.3, 0.4, 0.05 / (2 * alpha**2 * np.hypot(1.3 / alpha, 0.4))
    a, u = q**0.5 * np.array([1.0, 0.0]), q**0.5 * np.array([0.0, 1.0])
    for _ in range(20_000):
        step = rate * alpha * (s - alpha * a @ u)
        a, u = a + step * u, u + step * a
    rise = np.hypot(s / alpha, q) - q
    lost = 1 - (a @ a - q) / rise
    found = linear_movement_wear(alpha, np.array([[s]]), start=q, learning_rate=rate)
    assert found == pytest.approx(lost, rel=0.06)


def test_the_spread_falls_with_the_root_of_the_width_and_is_that_of_drawn_overlaps():
    def spread(alpha, width):
        rng = np.random.default_rng(3)
        return linear_movement_spread(alpha, SIGMA, start=0.8, width=width, rng=rng, draws=4000)

    assert spread(0.1, 1e4) / spread(0.1, 1e6) == pytest.approx(10, rel=0.01)
    # Where nothing else moves the kernel, the spread of a norm does not depend on the width.
    assert spread(1e6, 50) == pytest.approx(spread(1e6, 5000), rel=1e-3)
    squares = []
    rng, flow = np.random.default_rng(4), SIGMA / (2 * 0.8)
    for _ in range(20_000):
        turn = rng.normal(size=(3, 5)).T @ flow
        change = 3 * (turn + turn.T) + 2 * np.trace(turn) * np.eye(5)
        squares.append(np.linalg.norm(change))
    assert spread(1e6, 50) == pytest.approx(np.std(squares) / np.mean(squares), rel=0.05)


def test_settings_that_cannot_be_met_are_refused():
    with pytest.raises(ValueError, match="finite matrix"):
        linear_kernel_movement(1.0, SIGMA[0], start=1.0)
    with pytest.raises(ValueError, match="multiplier and start must be positive"):
        linear_kernel_movement(0.0, SIGMA, start=1.0)
    with pytest.raises(ValueError, match="width must be positive"):
        linear_kernel_movement(1.0, SIGMA, start=1.0, width=0.0)
    with pytest.raises(ValueError, match="learning_rate must be positive"):
        linear_movement_wear(1.0, SIGMA, start=1.0, learning_rate=0.0)
    with pytest.raises(ValueError, match="nothing to learn"):
        linear_movement_wear(1.0, 0 * SIGMA, start=1.0, learning_rate=0.1)
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="draws must be at least two"):
        linear_movement_spread(1.0, SIGMA, start=1.0, width=9, rng=rng, draws=1)
