"""The tracker against dense eigenvalues at every step: on moving matrices and in training."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from learnmech.practice import curvature
from learnmech.practice.curvature import SharpnessTracker

BULK = torch.linspace(-0.5, 1.0, 77, dtype=torch.float64)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Moving:
    """A quadratic loss whose Hessian's spectrum and eigenvectors move from step to step."""

    def __init__(self, course, *, turn: float, dtype: torch.dtype = torch.float64) -> None:
        self.course, self.dtype = course, dtype
        n = 80
        g = seeded(0)
        self.basis, _ = torch.linalg.qr(torch.randn(n, n, generator=g, dtype=torch.float64))
        skew = torch.randn(n, n, generator=g, dtype=torch.float64)
        self.rotation = torch.linalg.matrix_exp(turn * (skew - skew.mT) / n**0.5)
        self.w = torch.ones(n, dtype=dtype, requires_grad=True)
        self.at(0)

    def at(self, t: int) -> None:
        values = torch.cat([torch.as_tensor(self.course(t), dtype=torch.float64), BULK])
        turned = torch.linalg.matrix_power(self.rotation, t) @ self.basis
        self.matrix = ((turned * values) @ turned.mT).to(self.dtype)

    def loss(self) -> Tensor:
        return 0.5 * self.w @ (self.matrix @ self.w)

    def exact(self, k: int) -> Tensor:
        return torch.linalg.eigvalsh(self.matrix.double()).flip(0)[:k]


COURSES = {
    "still": lambda t: [4.0, 3.0, 2.0],
    "rising": lambda t: [4.0 * 1.01**t, 3.0, 2.0],
    "crossing of first and second": lambda t: [4.0, 3.0 + 0.05 * t, 2.0],
    "crossing and back": lambda t: [4.0, 3.9 + 0.3 * np.sin(0.2 * t), 2.0],
    "swinging with period two": lambda t: [4.0 + 0.2 * (-1) ** t, 3.0, 2.0],
    "degenerate": lambda t: [4.0, 4.0, 4.0],
}


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("name", COURSES)
def test_every_reading_is_within_its_bound(name: str, k: int) -> None:
    """Independent: LAPACK at every step, while every eigenvector turns by about 0.01 a step."""
    moving = Moving(COURSES[name], turn=0.005)
    tracker = SharpnessTracker(moving.loss, [moving.w], k)
    for t in range(60):
        moving.at(t)
        reading = tracker.update()
        error = (reading.eigenvalues - moving.exact(k)).abs()
        assert bool((error <= reading.bounds).all()), t
        assert float(reading.bounds.max()) <= 1.001e-3 * float(moving.exact(1))
        assert reading.step == t
        assert reading.checked or t % 40


def test_a_newcomer_is_found_at_the_next_check() -> None:
    """A third eigenvalue jumps from the bulk to the top, orthogonal to all that is held."""
    moving = Moving(lambda t: [4.0, 3.0, 0.0 if t < 8 else 6.0], turn=0.0)
    tracker = SharpnessTracker(moving.loss, [moving.w], check_every=10)
    seen = []
    for t in range(12):
        moving.at(t)
        seen.append(float(tracker.update().eigenvalues[0]))
    assert seen[:8] == pytest.approx([4.0] * 8, rel=1e-3)
    assert seen[10:] == pytest.approx([6.0] * 2, rel=1e-3)


def test_a_smooth_course_costs_one_product_a_step() -> None:
    """A single product confirms what is predicted; two guards join it every fifth time."""
    moving = Moving(COURSES["rising"], turn=0.002)
    tracker = SharpnessTracker(moving.loss, [moving.w], check_every=10**6)
    products = []
    for t in range(80):
        moving.at(t)
        products.append(tracker.update().products)
    assert np.median(products) == 1
    assert np.mean(products[1:]) < 1.5


def test_single_precision() -> None:
    moving = Moving(COURSES["crossing of first and second"], turn=0.005, dtype=torch.float32)
    tracker = SharpnessTracker(moving.loss, [moving.w])
    for t in range(40):
        moving.at(t)
        reading = tracker.update()
        assert reading.eigenvalues.dtype == torch.float32
        error = (reading.eigenvalues.double() - moving.exact(1)).abs()
        assert bool((error <= reading.bounds).all())


def test_small_and_flat_problems() -> None:
    """One parameter, as many eigenvalues as parameters, and no curvature at all."""
    w = torch.ones(2, dtype=torch.float64, requires_grad=True)
    full = SharpnessTracker(lambda: (w**4).sum() / 12, [w], 2)
    flat = SharpnessTracker(w.sum, [w])
    lone = SharpnessTracker(lambda: (w[:1] ** 4).sum() / 12, [w])
    for value in (1.0, 2.0, 3.0):
        with torch.no_grad():
            w[0] = value
        expected = sorted([value**2, 1.0], reverse=True)
        assert full.update().eigenvalues.tolist() == pytest.approx(expected)
        assert flat.update().eigenvalues.tolist() == [0.0]
        assert lone.update().eigenvalues.tolist() == pytest.approx([value**2])


def dense_hessian(loss, parameters: list[Tensor]) -> Tensor:
    gradient = torch.cat(
        [g.reshape(-1) for g in torch.autograd.grad(loss(), parameters, create_graph=True)]
    )
    rows = [torch.autograd.grad(g, parameters, retain_graph=True) for g in gradient]
    return torch.stack([torch.cat([part.reshape(-1) for part in row]) for row in rows])


@pytest.mark.parametrize("learning_rate", [0.3, 0.6, 1.2])
def test_training_stable_at_the_edge_and_diverging(learning_rate: float) -> None:
    """Independent: the dense Hessian of a small network at every step.

    At the third rate the loss blows up and everything turns at every step.
    """
    g = seeded(3)
    x, y = (torch.randn(40, d, generator=g, dtype=torch.float64) for d in (5, 3))
    net = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    parameters = list(net.parameters())
    with torch.no_grad():
        for p in parameters:
            p.copy_(0.6 * torch.randn(p.shape, generator=g, dtype=torch.float64))

    def loss() -> Tensor:
        return 0.5 * ((net(x) - y) ** 2).sum(-1).mean()

    tracker = SharpnessTracker(loss, parameters)
    optimizer = torch.optim.SGD(parameters, lr=learning_rate)
    products = []
    for _ in range(60 if learning_rate < 1.0 else 15):
        reading = tracker.update()
        expected = float(torch.linalg.eigvalsh(dense_hessian(loss, parameters))[-1])
        assert abs(float(reading.eigenvalues[0]) - expected) <= float(reading.bounds[0])
        products.append(reading.products)
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert learning_rate > 1.0 or np.mean(products[1:]) < 3.0


def test_preconditioner_of_each_step() -> None:
    moving = Moving(COURSES["still"], turn=0.005)
    tracker = SharpnessTracker(moving.loss, [moving.w])
    for t in range(6):
        moving.at(t)
        p = torch.linspace(0.5, 1.0 + 0.1 * t, 80, dtype=torch.float64)
        expected = torch.linalg.eigvalsh(moving.matrix / (p[:, None] * p).sqrt())[-1]
        reading = tracker.update(preconditioner=[p])
        assert abs(float(reading.eigenvalues[0] - expected)) <= float(reading.bounds[0])


def test_without_a_generator_readings_are_fixed() -> None:
    readings = []
    for _ in range(2):
        moving = Moving(COURSES["still"], turn=0.01)
        tracker = SharpnessTracker(moving.loss, [moving.w], generator=None)
        for t in range(5):
            moving.at(t)
            reading = tracker.update()
        readings.append(float(reading.eigenvalues[0]))
    assert readings[0] == readings[1]


def test_refuses_in_a_sentence() -> None:
    w = torch.ones(2, requires_grad=True)
    with pytest.raises(ValueError, match="check_every"):
        SharpnessTracker(w.sum, [w], check_every=0)
    with pytest.raises(ValueError, match="k must lie between 1 and the 2"):
        SharpnessTracker(w.sum, [w], 3).update()
    with pytest.raises(FloatingPointError, match="no Hessian"):
        SharpnessTracker(lambda: w.sum() / 0.0, [w]).update()


def test_reading_is_exported() -> None:
    w = torch.ones(2, requires_grad=True)
    assert isinstance(SharpnessTracker(w.sum, [w]).update(), curvature.SharpnessReading)
