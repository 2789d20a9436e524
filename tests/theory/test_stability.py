"""Thresholds against eigenvalues of the iteration's matrix and against torch.optim itself."""

import math

import jaxtyping
import numpy as np
import pytest
import torch

from learnmech.theory.stability import (
    effective_learning_rate,
    largest_stable_learning_rate,
    stability_threshold,
)

CASES = [
    ("gradient descent", 0.0),
    *(
        (name, beta)
        for name in ("heavy ball", "nesterov", "adam")
        for beta in (0.0, 0.3, 0.9, 0.99)
    ),
]
ETA = 0.07


def iteration_matrix(optimizer: str, lam: float, beta: float) -> np.ndarray:
    """Rows of (x', v') in terms of (x, v), written down from the update rules as they stand."""
    if optimizer == "adam":
        average = np.array([(1.0 - beta) * lam, beta])
        return np.stack([np.array([1.0, 0.0]) - ETA * average, average])
    velocity = np.array([lam, beta])
    plain = 1.0 if optimizer == "nesterov" else 0.0
    move = plain * np.array([lam, 0.0]) + (beta if plain else 1.0) * velocity
    return np.stack([np.array([1.0, 0.0]) - ETA * move, velocity])


def spectral_radius(optimizer: str, lam: float, beta: float) -> float:
    return float(np.max(np.abs(np.linalg.eigvals(iteration_matrix(optimizer, lam, beta)))))


@pytest.mark.parametrize(("optimizer", "beta"), CASES)
def test_the_spectral_radius_crosses_one_at_the_threshold(optimizer: str, beta: float) -> None:
    """Independent: numerical eigenvalues of the update's matrix know no stability conditions."""
    threshold = float(stability_threshold(ETA, optimizer=optimizer, momentum=beta))
    for share in np.linspace(0.001, 1.0 - 1e-6, 200):
        assert spectral_radius(optimizer, share * threshold, beta) < 1.0
    assert spectral_radius(optimizer, threshold, beta) == pytest.approx(1.0, abs=1e-12)
    for share in (1.0 + 1e-6, 1.1, 10.0):
        assert spectral_radius(optimizer, share * threshold, beta) > 1.0
    roots = np.linalg.eigvals(iteration_matrix(optimizer, 1.001 * threshold, beta))
    outside = roots[np.argmax(np.abs(roots))]
    assert abs(outside.imag) < 1e-9
    assert outside.real < -1.0  # it flips its sign
    assert spectral_radius(optimizer, -0.01, beta) > 1.0


@pytest.mark.parametrize(("optimizer", "beta"), CASES[:9])
@pytest.mark.parametrize("share", [0.97, 1.03])
def test_torch_optim_converges_below_and_diverges_above(optimizer, beta, share) -> None:
    """Independent: torch's own update rules on x^2 lambda / 2, in float64."""
    lam = share * float(stability_threshold(ETA, optimizer=optimizer, momentum=beta))
    x = torch.ones(1, dtype=torch.float64, requires_grad=True)
    sgd = torch.optim.SGD([x], lr=ETA, momentum=beta, nesterov=optimizer == "nesterov" and beta > 0)
    for _ in range(6000):
        sgd.zero_grad()
        (0.5 * lam * x**2).sum().backward()
        sgd.step()
        if not 1e-12 < abs(x.item()) < 1e12:
            break
    assert abs(x.item()) < 1e-9 if share < 1.0 else abs(x.item()) > 1e9


def grows(curvature_share: float, beta: float, preconditioner: float) -> bool:
    """Adam of torch whose second moment is held at a constant, late in training."""
    threshold = float(stability_threshold(ETA, optimizer="adam", momentum=beta))
    lam = curvature_share * threshold * preconditioner
    x = torch.full((1,), 1e-9, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([x], lr=ETA, betas=(beta, 0.999), eps=0.25 * preconditioner)
    late = 10**6  # both bias corrections are one
    adam.state[x] = {
        "step": torch.tensor(float(late)),
        "exp_avg": torch.zeros(1, dtype=torch.float64),
        "exp_avg_sq": torch.zeros(1, dtype=torch.float64),
    }
    for _ in range(2000):
        adam.state[x]["exp_avg_sq"].fill_((0.75 * preconditioner) ** 2 / 0.999)
        x.grad = lam * x.detach()
        adam.step()
        if abs(x.item()) > 1e-4:  # growth by 1e5, and the gradient is still small beside sqrt(v)
            return True
    return False


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9])
def test_torch_adam_with_its_preconditioner_held(beta: float) -> None:
    """Independent: torch's Adam; sqrt(v_hat) + eps is 3/4 + 1/4 of the preconditioner."""
    assert not grows(0.95, beta, 3.0)
    assert grows(1.05, beta, 3.0)


def test_bias_correction_at_a_finite_step() -> None:
    """At step one Adam's average is the gradient itself, so the whole first step is plain."""
    beta = 0.9
    first = float(stability_threshold(ETA, optimizer="adam", momentum=beta, step=1))
    assert first == pytest.approx((2.0 + 2.0 * beta) / ETA, rel=1e-14)
    late = float(stability_threshold(ETA, optimizer="adam", momentum=beta, step=10_000))
    assert late == float(stability_threshold(ETA, optimizer="adam", momentum=beta))
    # Independent: the frozen recurrence with the averaged gradient divided by 1 - beta^t.
    t = 7
    lam = float(stability_threshold(ETA, optimizer="adam", momentum=beta, step=t))
    matrix = iteration_matrix("adam", lam, beta)
    matrix[0] = np.array([1.0, 0.0]) - ETA * matrix[1] / (1.0 - beta**t)
    assert np.max(np.abs(np.linalg.eigvals(matrix))) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(("optimizer", "beta"), CASES)
def test_the_two_functions_are_inverse(optimizer: str, beta: float) -> None:
    eta = np.array([1e-4, 0.3, 7.0])
    lam = stability_threshold(eta, optimizer=optimizer, momentum=beta)
    back = largest_stable_learning_rate(lam, optimizer=optimizer, momentum=beta)
    np.testing.assert_allclose(back, eta, rtol=1e-15)


def test_without_momentum_all_are_gradient_descent() -> None:
    for optimizer in ("heavy ball", "nesterov", "adam"):
        assert float(stability_threshold(0.3, optimizer=optimizer)) == 2.0 / 0.3


def test_a_slow_mode_moves_at_the_effective_learning_rate() -> None:
    """Independent: the slow eigenvalue of the iteration is 1 - eta_eff lambda to first order."""
    lam = 1e-5
    for optimizer in ("heavy ball", "nesterov"):
        for beta in (0.0, 0.5, 0.9):
            slow = np.max(np.linalg.eigvals(iteration_matrix(optimizer, lam, beta)).real)
            expected = float(effective_learning_rate(ETA, beta)) * lam
            assert -math.log(slow) == pytest.approx(expected, rel=1e-4)


def test_arguments_broadcast() -> None:
    grid = stability_threshold(np.ones((2, 1)), optimizer="heavy ball", momentum=[0.0, 0.5, 0.9])
    np.testing.assert_allclose(grid, [[2.0, 3.0, 3.8]] * 2, rtol=1e-15)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"learning_rate": math.nan}, "learning_rate must be positive"),
        ({"momentum": 1.0, "optimizer": "heavy ball"}, "momentum must be"),
        ({"momentum": math.nan, "optimizer": "heavy ball"}, "momentum must be"),
        ({"momentum": 0.9}, "with momentum"),
        ({"step": 3}, "step is Adam's"),
        ({"step": 0, "optimizer": "adam"}, "step is Adam's"),
    ],
)
def test_refuses(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stability_threshold(**({"learning_rate": 0.1} | change))


@pytest.mark.parametrize("step", [math.nan, 1.5, np.array([1, 2])])
def test_refuses_steps_that_are_not_whole(step, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for users, whose arguments no type checker sees; NaN would have come back as NaN."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match="step is Adam's, a whole number"):
        stability_threshold(0.1, optimizer="adam", momentum=0.9, step=step)


def test_refuses_curvature_that_is_not_positive_and_unknown_optimisers() -> None:
    with pytest.raises(ValueError, match="curvature must be positive"):
        largest_stable_learning_rate(-1.0)
    from learnmech.theory import stability

    with pytest.raises(ValueError, match="not 'lion'"):
        stability._product("lion", 0.0, None)
