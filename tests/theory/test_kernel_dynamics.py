"""Kernel gradient descent against plain loops, matrix functions and gradient descent on weights."""

import math

import mpmath
import numpy as np
import pytest
from scipy.linalg import expm

from learnmech.theory.kernel_dynamics import kernel_gradient_descent, kernel_gradient_flow


def problem(n=12, m=5, features=30, outputs=None, seed=0):
    """Random features and targets: kernel, cross kernel, targets, starts on both sets."""
    rng = np.random.default_rng(seed)
    phi = rng.normal(size=(n + m, features)) * np.linspace(1.0, 0.05, features)
    shape = () if outputs is None else (outputs,)
    start = rng.normal(size=(n + m, *shape))
    return {
        "kernel": phi[:n] @ phi[:n].T,
        "targets": rng.normal(size=(n, *shape)),
        "cross_kernel": phi[n:] @ phi[:n].T,
        "initial_outputs": start[:n],
        "initial_test_outputs": start[n:],
    }, phi


@pytest.mark.parametrize("outputs", [None, 1, 3])
@pytest.mark.parametrize("features", [30, 7])
def test_steps_are_gradient_descent_on_the_weights_of_a_linear_model(features, outputs) -> None:
    """Independent: f = phi w, trained by w <- w - eta grad, knows neither kernels nor modes.

    With 7 features for 12 samples the kernel is singular, and some targets cannot be fitted.
    """
    case, phi = problem(features=features, outputs=outputs)
    n, y = 12, case["targets"]
    rates = np.linalg.eigvalsh(case["kernel"] / n)
    eta = 1.7 / rates[-1]  # above 1 / rate: the first modes change sign at every step
    weights = np.zeros((features, *y.shape[1:]))
    counts = [0, 1, 2, 5, 60]
    run = kernel_gradient_descent(counts, **case, learning_rate=eta)
    done = 0
    for k, count in enumerate(counts):
        for _ in range(count - done):
            error = case["initial_outputs"] + phi[:n] @ weights - y
            weights = weights - eta / n * phi[:n].T @ error
        done = count
        f = case["initial_outputs"] + phi[:n] @ weights
        f_test = case["initial_test_outputs"] + phi[n:] @ weights
        np.testing.assert_allclose(run.train_outputs[k], f, rtol=0, atol=1e-12)
        np.testing.assert_allclose(run.test_outputs[k], f_test, rtol=0, atol=1e-12)
        assert run.train_loss[k] == pytest.approx(((y - f) ** 2).sum() / (2 * n), rel=1e-11)
        modes = np.tensordot(run.modes.T, y - f, 1)
        np.testing.assert_allclose(run.mode_errors[k], modes, rtol=0, atol=1e-12)
    np.testing.assert_allclose(run.t, eta * np.array(counts))
    np.testing.assert_allclose(run.rates, np.maximum(rates[::-1], 0.0), atol=1e-14)


@pytest.mark.parametrize("features", [30, 7])
def test_flow_is_the_matrix_exponential(features) -> None:
    """Independent: scaling and squaring of one block matrix that moves both sets of outputs."""
    case, _ = problem(features=features, outputs=2)
    n, m = 12, 5
    generator = np.zeros((n + m, n + m))
    generator[:n, :n], generator[n:, :n] = -case["kernel"] / n, -case["cross_kernel"] / n
    error = case["initial_outputs"] - case["targets"]
    times = np.array([0.0, 0.1, 1.0, 10.0])
    flow = kernel_gradient_flow(times, **case)
    for k, t in enumerate(times):
        moved = expm(generator * t) @ np.vstack([error, case["initial_test_outputs"]])
        f = case["targets"] + moved[:n]
        np.testing.assert_allclose(flow.train_outputs[k], f, rtol=0, atol=1e-12)
        np.testing.assert_allclose(flow.test_outputs[k], moved[n:], rtol=0, atol=1e-12)


@pytest.mark.parametrize("features", [30, 7])
def test_the_limit_is_ridgeless_regression(features) -> None:
    """At infinity f = K_* K^+ y, whether the kernel is singular or not, and it stays there."""
    case, phi = problem(features=features)
    del case["initial_outputs"], case["initial_test_outputs"]
    weights = np.linalg.lstsq(phi[:12], case["targets"], rcond=None)[0]
    limit = kernel_gradient_flow(math.inf, **case)
    np.testing.assert_allclose(limit.test_outputs[0], phi[12:] @ weights, rtol=0, atol=1e-11)
    np.testing.assert_allclose(limit.train_outputs[0], phi[:12] @ weights, rtol=0, atol=1e-12)
    late = kernel_gradient_flow(1e7, **case)
    np.testing.assert_allclose(late.test_outputs, limit.test_outputs, rtol=0, atol=1e-6)
    del case["cross_kernel"]
    unlearned = kernel_gradient_flow([1e300, math.inf], **case)
    np.testing.assert_array_equal(*unlearned.train_outputs)
    assert unlearned.test_outputs is None


def test_a_time_beyond_all_rates_is_the_limit() -> None:
    """A rate times a time may be more than a double holds."""
    kernel, cross = np.diag([100.0, 2.0]), np.array([[1.0, 3.0]])
    late, limit = (
        kernel_gradient_flow(t, kernel, TWO, cross_kernel=cross) for t in (1e308, np.inf)
    )
    np.testing.assert_array_equal(late.train_outputs, limit.train_outputs)
    np.testing.assert_allclose(late.test_outputs, [[1.51]], rtol=1e-14)
    np.testing.assert_allclose(limit.test_outputs, [[1.51]], rtol=1e-14)


def test_no_times_and_no_test_inputs_give_empty_tables() -> None:
    case, _ = problem(outputs=3)
    assert kernel_gradient_flow([], **case).test_outputs.shape == (0, 5, 3)
    case |= {"cross_kernel": np.zeros((0, 12)), "initial_test_outputs": np.zeros((0, 3))}
    assert kernel_gradient_descent([4], **case, learning_rate=0.1).test_outputs.shape == (1, 0, 3)


def test_very_many_steps_are_as_exact_as_one() -> None:
    """Independent: 50-digit powers. A loop would lose eta lambda beside 1 to rounding."""
    kernel, eta = np.diag([2.0, 1e-9, 1e-13]), 0.3
    counts = [0, 1, 10**6, 10**12, 10**15]
    run = kernel_gradient_descent(counts, kernel, np.ones(3), learning_rate=eta)
    for k, count in enumerate(counts):
        for i, value in enumerate((2.0, 1e-9, 1e-13)):
            with mpmath.workdps(50):
                left = (1 - mpmath.mpf(eta) * mpmath.mpf(value) / 3) ** count
                learned = 1 - left
            assert abs(run.mode_errors[k, i]) == pytest.approx(float(left), rel=1e-12)
            assert run.train_outputs[k, i] == pytest.approx(float(learned), rel=1e-12, abs=1e-300)


def test_going_on_is_the_same_as_going_all_the_way() -> None:
    case, _ = problem(outputs=2)
    half = kernel_gradient_flow(0.7, **case)
    onwards = case | {
        "initial_outputs": half.train_outputs[0],
        "initial_test_outputs": half.test_outputs[0],
    }
    whole, rest = kernel_gradient_flow(2.0, **case), kernel_gradient_flow(1.3, **onwards)
    np.testing.assert_allclose(rest.train_outputs, whole.train_outputs, rtol=0, atol=1e-13)
    np.testing.assert_allclose(rest.test_outputs, whole.test_outputs, rtol=0, atol=1e-13)


def test_small_steps_approach_the_flow_in_proportion() -> None:
    case, _ = problem()
    flow = kernel_gradient_flow(2.0, **case)
    gaps = []
    for count in (1000, 10000):
        run = kernel_gradient_descent(count, **case, learning_rate=2.0 / count)
        gaps.append(np.abs(run.test_outputs - flow.test_outputs).max())
    assert gaps[0] / gaps[1] == pytest.approx(10.0, rel=0.02)


def test_edges_of_the_learning_rate() -> None:
    """Rate one learns a mode in one step; at exactly two over the rate it turns for ever."""
    kernel, y = np.diag([4.0, 2.0]), np.array([1.0, 1.0])  # rates 2 and 1
    run = kernel_gradient_descent([0, 1, 2, 7], kernel, y, learning_rate=1.0)
    np.testing.assert_allclose(run.train_outputs[:, 0], [0.0, 2.0, 0.0, 2.0])
    np.testing.assert_array_equal(run.train_outputs[:, 1], [0.0, 1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match=r"diverges on this kernel; it is stable up to 1, 2 over"):
        kernel_gradient_descent(3, kernel, y, learning_rate=1.001)
    still = kernel_gradient_descent(3, np.zeros((2, 2)), y, learning_rate=1e9)
    assert not still.train_outputs.any()


def test_duplicated_inputs_stay_together() -> None:
    """Two equal inputs with different labels: their mean is learned, their difference never."""
    x = np.random.default_rng(1).normal(size=(6, 3))
    x[5] = x[4]
    kernel = np.exp(-((x[:, None] - x[None]) ** 2).sum(-1))
    y = np.array([0.3, -1.0, 2.0, 0.7, 1.0, -1.0])
    flow = kernel_gradient_flow([1e3, 1e6, math.inf], kernel, y, cross_kernel=kernel[:2])
    np.testing.assert_allclose(flow.train_outputs[:, 4], flow.train_outputs[:, 5], atol=1e-9)
    np.testing.assert_allclose(flow.train_outputs[1:, 4], 0.0, atol=1e-9)
    np.testing.assert_allclose(flow.train_loss[1:], 2.0 / 12.0, rtol=1e-12)
    np.testing.assert_allclose(flow.test_outputs, flow.train_outputs[:, :2], atol=1e-8)
    with pytest.raises(ValueError, match="singular and t is so long"):
        kernel_gradient_flow(1e12, kernel, y, cross_kernel=kernel[:2])


def test_inputs_are_left_alone() -> None:
    case, _ = problem()
    before = {name: value.copy() for name, value in case.items()}
    kernel_gradient_flow([0.0, 1.0], **case)
    kernel_gradient_descent([0, 3], **case, learning_rate=0.1)
    for name, value in before.items():
        np.testing.assert_array_equal(case[name], value)


EYE, TWO = np.eye(2), np.ones(2)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((-1.0, EYE, TWO), {}, "each at least zero"),
        ((math.nan, EYE, TWO), {}, "each at least zero"),
        ((1.0, np.eye(3), TWO), {}, r"kernel must have shape \(2, 2\)"),
        ((1.0, np.array([[1.0, 0.5], [0.0, 1.0]]), TWO), {}, "kernel must be symmetric"),
        ((1.0, np.diag([1.0, -0.1]), TWO), {}, "positive semi-definite, but has eigenvalues from"),
        ((1.0, -EYE, TWO), {}, "positive semi-definite"),
        ((1.0, np.nan * EYE, TWO), {}, "kernel holds NaN"),
        ((1.0, EYE, np.ones((2, 1, 1))), {}, "targets must have shape"),
        ((1.0, EYE, np.array([1.0, np.inf])), {}, "targets holds NaN or infinity"),
        ((1.0, EYE, TWO), {"initial_outputs": np.ones(3)}, "initial_outputs must have shape"),
        (
            (1.0, EYE, TWO),
            {"cross_kernel": np.ones((3, 3))},
            r"cross_kernel must have shape \(m, 2",
        ),
        ((1.0, EYE, TWO), {"initial_test_outputs": TWO}, "needs cross_kernel"),
        (
            (1.0, EYE, TWO),
            {"cross_kernel": np.ones((3, 2)), "initial_test_outputs": TWO},
            r"initial_test_outputs must have shape \(3,\)",
        ),
    ],
)
def test_flow_refuses(arguments, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        kernel_gradient_flow(*arguments, **options)


@pytest.mark.parametrize(
    ("steps", "learning_rate", "message"),
    [
        (1.5, 0.1, "whole numbers"),
        (-1, 0.1, "whole numbers"),
        (math.inf, 0.1, "whole numbers"),
        (1, 0.0, "learning_rate must be a finite positive"),
        (1, math.nan, "learning_rate must be a finite positive"),
        (1, 4.5, "stable up to 4, 2 over"),
    ],
)
def test_descent_refuses(steps, learning_rate, message) -> None:
    with pytest.raises(ValueError, match=message):
        kernel_gradient_descent(steps, EYE, TWO, learning_rate=learning_rate)
