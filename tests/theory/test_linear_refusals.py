"""What the theory of linear networks refuses, and what it does at the edges of its input."""

import subprocess
import sys

import numpy as np
import pytest

from learnmech import theory
from learnmech.theory.linear_coupled import check_layers

ONE = np.eye(1)
NAN = np.full((1, 1), np.nan)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.coupled_solution([[1.0]], ONE, ONE, ONE), "one row"),
        (lambda: theory.coupled_solution([1.0], np.ones(3), ONE, ONE), "correlation must be a"),
        (lambda: theory.coupled_solution([1.0], ONE, np.ones((0, 1)), ONE), "first_layer must"),
        (lambda: theory.coupled_solution([1.0], ONE, ONE, np.ones((1, 2))), "do not fit"),
        (lambda: theory.coupled_solution([1e308], 1e3 * ONE, ONE, ONE), "largest double"),
        (lambda: theory.initial_strengths(np.ones((2, 1)), ONE, ONE), "do not fit"),
        (lambda: theory.initial_strengths(ONE, NAN, ONE), "first_layer holds NaN"),
        (lambda: theory.singular_modes(np.ones(2)), "must be a matrix"),
        (lambda: theory.singular_modes(NAN), "correlation holds NaN"),
        (lambda: check_layers(ONE, ONE, np.ones((1, 1, 1))), "second_layer must be"),
        (lambda: theory.gradient_flow([], ONE, ONE, ONE), "at least one"),
        (lambda: theory.gradient_flow([0.0, np.nan], ONE, ONE, ONE), "finite times"),
        (lambda: theory.gradient_flow([0.0, np.inf], ONE, ONE, ONE), "finite times"),
        (lambda: theory.gradient_flow([-1.0, 1.0], ONE, ONE, ONE), "first time at least zero"),
        (lambda: theory.gradient_flow([1.0], ONE, ONE, np.ones((1, 2))), "do not fit"),
        (
            lambda: theory.gradient_flow([1.0], ONE, ONE, ONE, input_covariance=np.eye(2)),
            "of shape",
        ),
        (
            lambda: theory.gradient_flow(
                [1.0],
                np.eye(2),
                np.eye(2),
                np.eye(2),
                input_covariance=np.array([[1.0, 1.0], [0.0, 1.0]]),
            ),
            "symmetric",
        ),
        (lambda: theory.gradient_flow([1.0], ONE, ONE, ONE, weight_decay=np.inf), "weight_decay"),
        (lambda: theory.gradient_flow([1.0], ONE, ONE, ONE, tolerance=0.0), "tolerance"),
        (lambda: theory.imbalance(np.ones(2), ONE), "give matrices"),
        (lambda: theory.imbalance(np.ones((2, 1)), np.ones((1, 3))), "hidden widths"),
        (lambda: theory.imbalance(np.ones((4, 2, 1)), np.ones((5, 1, 2))), "leading axes"),
        (lambda: theory.decayed_imbalance([np.nan], ONE, 0.1), "finite times"),
        (lambda: theory.decayed_imbalance([1.0], ONE, -0.1), "weight decay"),
        (lambda: theory.decayed_imbalance([1.0], ONE, np.nan), "weight decay"),
        (lambda: theory.final_product(np.ones((1, 2)), ONE), "do not fit"),
        (lambda: theory.final_product(ONE, NAN), "holds NaN"),
        (lambda: theory.descent_strength(3, 1.0, np.nan, 0.1), "positive and finite"),
        (lambda: theory.descent_strength(3, 1.0, 0.1, np.inf), "positive and finite"),
        (lambda: theory.descent_strength(-1, 1.0, 0.1, 0.1), "steps at least zero"),
        (lambda: theory.descent_strength(3, np.ones(2), np.ones(3), 0.1), "do not broadcast"),
        (lambda: theory.growth_rate(0.0, 0.1), "positive and finite"),
        (lambda: theory.growth_rate(np.inf, 0.1), "positive and finite"),
        (lambda: theory.growth_rate(1.0, np.inf), "positive and finite"),
        (lambda: theory.descent_half_time(1.0, 0.1, 0.0), "learning_rate must be positive"),
        (lambda: theory.descent_half_time(1.0, 0.1, np.nan), "learning_rate must be positive"),
        (lambda: theory.descent_half_time(1.0, 0.1, 1e-9), "raise the learning rate"),
        (lambda: theory.descent_half_time(1.0, -0.1, 0.1), "initial_strength must be"),
        (lambda: theory.descent_half_time(np.ones(2), np.ones(3), 0.1), "do not broadcast"),
        (lambda: theory.half_time(np.ones(2), np.ones(3)), "do not broadcast"),
        (lambda: theory.half_time(1.0, 0.0), "initial_strength must be"),
        (lambda: theory.loss_curve(ONE, ONE, 1.0), "product must be"),
        (lambda: theory.loss_curve(np.ones((1, 2, 1)), ONE, 1.0), "product must be"),
        (lambda: theory.loss_curve(ONE[None], ONE, -1.0), "target_power"),
        (lambda: theory.loss_curve(ONE[None], ONE, np.nan), "target_power"),
        (lambda: theory.loss_curve(ONE[None], ONE, 1.0, np.eye(2)), "input_covariance"),
        (lambda: theory.loss_curve(ONE[None], ONE, 1.0, NAN), "input_covariance"),
        (lambda: theory.strengths(ONE, ONE), "product must be"),
        (lambda: theory.strengths(NAN[None], ONE), "holds NaN"),
        (lambda: theory.subspace_overlap(ONE[None], ONE, 0), "not set"),
        (lambda: theory.subspace_overlap(ONE[None], ONE, 2), "not set"),
        (lambda: theory.subspace_overlap(ONE, ONE, 1), "product must be"),
        (lambda: theory.effective_rank(ONE), "product must be"),
        (lambda: theory.effective_rank(NAN[None]), "needs finite"),
        (lambda: theory.crossing_times([0.0, 1.0], ONE, np.ones(1)), "curves"),
        (lambda: theory.crossing_times([0.0, 1.0], np.zeros((2, 2)), np.ones(1)), "curves"),
        (
            lambda: theory.crossing_times([0.0, 1.0], np.array([[0.0, np.nan]]), np.ones(1)),
            "hold NaN",
        ),
        (
            lambda: theory.crossing_times([1.0, 0.0], np.array([[0.0, 2.0]]), np.ones(1)),
            "increasing",
        ),
        (
            lambda: theory.crossing_times([0.0, 1.0], np.array([[1.0, 2.0]]), np.ones(1)),
            "start below",
        ),
    ],
)
def test_refuses_in_a_sentence(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_edges_of_the_input() -> None:
    half = 0.5 * ONE
    np.testing.assert_array_equal(theory.gradient_flow([0.0], ONE, half, half).product, [[[0.25]]])
    assert theory.coupled_solution([], ONE, half, half).product.shape == (0, 1, 1)
    still = theory.coupled_solution([1e-310], 1e-10 * ONE, half, half).product
    np.testing.assert_allclose(still, [[[0.25]]], rtol=1e-14)
    # Without a target da/dt = -2 a^2, so that 1/a grows by 2t.
    forgotten = theory.coupled_solution([1.0], 0.0 * ONE, half, half).product
    np.testing.assert_allclose(forgotten, [[[1.0 / 6.0]]], rtol=1e-14)
    assert theory.singular_modes(np.zeros((2, 3)))[1].size == 0
    late = theory.coupled_solution([500.0], ONE, 1e-200 * ONE, 1e-200 * ONE).product
    np.testing.assert_allclose(late, [[[1.0]]], rtol=1e-14)


def test_separated_start_is_the_late_limit_of_the_growing_form() -> None:
    """Independent: the strength that a slow mode seems to have started from, read off late."""
    rng = np.random.default_rng(0)
    s = np.array([6.0, 2.0, 0.5])
    w1, w2 = 1e-6 * rng.normal(size=(5, 3)), 1e-6 * rng.normal(size=(3, 5))
    separated = theory.initial_strengths(np.diag(s), w1, w2, separated=True)
    for k in range(3):
        t = float(theory.half_time(s[k], separated[k]))
        a = theory.coupled_solution([t], np.diag(s), w1, w2, growing_only=True).product[0, k, k]
        assert a == pytest.approx(s[k] / 2, rel=1e-3)
    plain = theory.initial_strengths(np.diag(s), w1, w2)
    assert plain[0] == pytest.approx(separated[0])
    assert np.all(plain[1:] > separated[1:])


def test_decay_and_drift_of_one_step_are_exact() -> None:
    """Independent: one step of gradient descent with weight decay, on the matrices."""
    rng = np.random.default_rng(1)
    sigma, w1, w2 = rng.normal(size=(3, 4)), rng.normal(size=(5, 4)), rng.normal(size=(3, 5))
    root = rng.normal(size=(4, 4))
    eta, decay = 0.05, 0.3
    error = sigma - w2 @ w1 @ (root @ root.T)
    g1, g2 = -w2.T @ error, -error @ w1.T
    after = theory.imbalance(w1 - eta * (g1 + decay * w1), w2 - eta * (g2 + decay * w2))
    bracket = g1 @ g1.T - g2.T @ g2
    expected = (1.0 - eta * decay) ** 2 * theory.imbalance(w1, w2) + eta**2 * bracket
    np.testing.assert_allclose(after, expected, atol=1e-11)


def test_half_time_at_large_depth_and_small_start() -> None:
    for depth in (3, 4, 7):
        leading = 1e-12 ** (2.0 / depth - 1.0) / ((depth - 2) * 1.7)
        assert float(theory.half_time(1.7, 1e-12, depth)) == pytest.approx(leading, rel=1e-2)


def test_theory_needs_no_torch() -> None:
    names = ", ".join(theory.__all__)
    code = f"import sys; sys.modules['torch'] = None; from learnmech.theory import {names}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_all_is_what_the_modules_offer() -> None:
    assert sorted(theory.__all__) == sorted(set(theory.__all__))
    for name in theory.__all__:
        assert getattr(theory, name).__doc__
