"""Leading eigenvalues: true multiplicities, bounds that hold, and the known faults of peers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor, nn

from learnmech.practice import curvature
from learnmech.practice.curvature import hessian_eigenvalues
from learnmech.practice.curvature.krylov import error_bounds, overlook_probability

BULK = np.linspace(-1.0, 3.0, 300)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def quadratic(spectrum, *, seed: int = 0, dtype: torch.dtype = torch.float64):
    """A loss with a given Hessian spectrum in a random basis, its parameters in two tensors."""
    values = torch.as_tensor(np.array(spectrum, dtype=np.float64))
    n, g = len(values), seeded(seed)
    basis, _ = torch.linalg.qr(torch.randn(n, n, generator=g, dtype=torch.float64))
    matrix = (basis * values) @ basis.mT
    matrix = ((matrix + matrix.mT) / 2).to(dtype)
    point = torch.randn(n, generator=g, dtype=torch.float64).to(dtype)
    first, second = (part.clone().requires_grad_() for part in (point[: n // 2], point[n // 2 :]))

    def loss() -> Tensor:
        w = torch.cat([first, second])
        return 0.5 * w @ (matrix @ w)

    return loss, [first, second], matrix


def exact(matrix: Tensor, k: int) -> Tensor:
    return torch.linalg.eigvalsh(matrix.double()).flip(0)[:k]


SPECTRA = {
    "issue, degenerate": ([12.0, 12.0, 8.0], 3),
    "issue, distinct": ([12.0, 8.0, 6.0], 3),
    "degenerate pair above a bulk": ([12.0, 12.0, 8.0, *BULK], 3),
    "triple above a bulk": ([12.0, 12.0, 12.0, 8.0, *BULK], 4),
    "k cuts a triple": ([12.0, 12.0, 12.0, 8.0, *BULK], 2),
    "five copies near a bulk": ([4.0] * 5 + list(BULK), 5),
    "two copies of each": ([12.0, 12.0, 8.0, 8.0, *BULK], 4),
    "nearly degenerate": ([12.0, 12.0 - 1e-7, 12.0 - 1e-4, *BULK], 3),
    "low rank": ([12.0, 12.0, 8.0, *[0.0] * 200], 5),
    "multiple of the identity": ([5.0] * 50, 4),
    "zero": ([0.0] * 6, 3),
    "one parameter below two tensors": ([-3.0, 1.0], 2),
    "negative definite": ([-1.0, -1.0, -2.0, *np.linspace(-50.0, -3.0, 100)], 3),
    "large negative end": ([12.0, 11.0, *np.linspace(-60.0, 3.0, 200)], 2),
    "whole small space": ([3.0, 3.0, 2.0, 2.0, -1.0], 5),
    "dense": (list(np.linspace(0.0, 1.0, 150)), 4),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_true_multiplicities_and_bounds_that_hold(name: str) -> None:
    """Independent: LAPACK's dense eigenvalues of the matrix that the loss was made of."""
    spectrum, k = SPECTRA[name]
    loss, parameters, matrix = quadratic(spectrum)
    found = hessian_eigenvalues(loss, parameters, k, tol=1e-7)
    error = (found.eigenvalues - exact(matrix, k)).abs()
    rounding = 1e-14 * float(matrix.abs().max()) * len(spectrum)
    assert bool((error <= found.bounds + rounding).all())
    assert bool((found.bounds <= 1.01e-7 * np.abs(spectrum).max() + 1e-300).all())


@pytest.mark.parametrize("k", [1, 2, 4])
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    top=st.lists(st.sampled_from([4.0, 4.001, 5.0, 5.0001, 8.0]), min_size=0, max_size=6),
    edge=st.floats(0.1, 4.0),
    seed=st.integers(0, 10**6),
)
def test_bounds_hold_on_clustered_spectra(k: int, top: list, edge: float, seed: int) -> None:
    loss, parameters, matrix = quadratic([*top, *np.linspace(-edge, edge, 80)], seed=seed)
    found = hessian_eigenvalues(loss, parameters, k, tol=1e-3)
    error = (found.eigenvalues - exact(matrix, k)).abs()
    assert bool((error <= found.bounds).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_eigenvectors_belong_to_the_eigenvalues(dtype: torch.dtype) -> None:
    loss, parameters, matrix = quadratic([12.0, 12.0, 8.0, *BULK], dtype=dtype)
    found = hessian_eigenvalues(loss, parameters, 3, tol=1e-4)
    assert [v.shape for v in found.eigenvectors] == [(3, *p.shape) for p in parameters]
    assert found.eigenvalues.dtype == found.bounds.dtype == found.eigenvectors[0].dtype == dtype
    vectors = torch.cat([v.reshape(3, -1) for v in found.eigenvectors], 1)
    finest = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(vectors @ vectors.mT, torch.eye(3, dtype=dtype), atol=finest, rtol=0)
    residual = vectors @ matrix - found.eigenvalues[:, None] * vectors
    assert float(residual.norm()) < 0.3  # the square root of the tolerance, times the range


def test_single_precision_reports_what_it_resolves() -> None:
    """The oracle is the float64 spectrum of the same float32 matrix."""
    loss, parameters, matrix = quadratic([12.0, 12.0, 8.0, *BULK], dtype=torch.float32)
    found = hessian_eigenvalues(loss, parameters, 3, tol=1e-5)
    error = (found.eigenvalues.double() - exact(matrix, 3)).abs()
    assert bool((error <= found.bounds).all())
    assert bool((found.bounds < 3e-4).all())
    with pytest.raises(ValueError, match="float32 resolves"):
        hessian_eigenvalues(loss, parameters, tol=1e-7)


def test_no_ghosts_after_many_products() -> None:
    """Peers that reorthogonalise up to a limit only report 12 five times here, as converged."""
    spectrum = [12.0, 8.0, 6.0, 4.0, 3.0, *np.linspace(0.0, 2.9, 400)]
    loss, parameters, matrix = quadratic(spectrum)
    found = hessian_eigenvalues(loss, parameters, 5, tol=1e-12)
    assert found.products > 60
    torch.testing.assert_close(found.eigenvalues, exact(matrix, 5), rtol=0, atol=1e-10)


def test_largest_algebraic_and_not_largest_in_modulus() -> None:
    """Power iteration and eigsh's default return -5 here."""
    loss, parameters, _ = quadratic(np.linspace(-5.0, 3.0, 200))
    found = hessian_eigenvalues(loss, parameters, tol=1e-8)
    assert float(found.eigenvalues[0]) == pytest.approx(3.0, abs=1e-6)


def test_restarts_keep_what_was_found() -> None:
    """A dense spectrum up to the top: more products than the 256 vectors that are held."""
    loss, parameters, matrix = quadratic(np.linspace(0.0, 1.0, 1500))
    found = hessian_eigenvalues(loss, parameters, 2, tol=1e-9)
    assert found.products > 256
    torch.testing.assert_close(found.eigenvalues, exact(matrix, 2), rtol=0, atol=1e-9)


def test_without_a_generator_the_result_is_fixed() -> None:
    loss, parameters, _ = quadratic([12.0, 8.0, *BULK])
    once, again = (hessian_eigenvalues(loss, parameters, 2) for _ in range(2))
    other = hessian_eigenvalues(loss, parameters, 2, generator=seeded(9))
    assert torch.equal(once.eigenvalues, again.eigenvalues)
    assert torch.equal(once.eigenvectors[0], again.eigenvectors[0])
    assert not torch.equal(once.eigenvectors[0], other.eigenvectors[0])
    assert bool(((once.eigenvalues - other.eigenvalues).abs() <= once.bounds + other.bounds).all())


def test_linear_regression_in_closed_form() -> None:
    """Independent of autograd: the Hessian of half the mean squared error is X^T X / n, C times."""
    x = torch.randn(50, 4, generator=seeded(1), dtype=torch.float64)
    net = nn.Linear(4, 3, bias=False).double()
    found = hessian_eigenvalues(lambda: 0.5 * (net(x) ** 2).sum(-1).mean(), net.parameters(), 6)
    values = torch.linalg.eigvalsh(x.mT @ x / 50).flip(0)
    expected = values.repeat_interleave(3)[:6]
    assert bool(((found.eigenvalues - expected).abs() <= found.bounds).all())


def test_preconditioned_sharpness() -> None:
    """Independent: the generalised problem H x = lambda P x, which has the same eigenvalues."""
    loss, parameters, matrix = quadratic([12.0, 8.0, *BULK])
    p = torch.rand(len(matrix), generator=seeded(2), dtype=torch.float64) + 0.1
    half = len(parameters[0])
    found = hessian_eigenvalues(loss, parameters, 2, tol=1e-8, preconditioner=[p[:half], p[half:]])
    expected = torch.linalg.eigvals(matrix / p[:, None]).real.sort(descending=True).values[:2]
    torch.testing.assert_close(found.eigenvalues, expected, rtol=1e-8, atol=0)
    u = torch.cat([v[0] for v in found.eigenvectors]) / p.sqrt()
    torch.testing.assert_close(matrix @ u, found.eigenvalues[0] * p * u, rtol=0, atol=2e-3)


@given(
    values=st.lists(st.floats(-5.0, 5.0), min_size=3, max_size=9),
    cap=st.floats(-5.0, 5.0),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_error_bounds_are_bounds(values: list, cap: float, seed: int) -> None:
    """Independent: matrices [[Theta, R^T], [R, C]] with C at most the cap, solved densely."""
    g = seeded(seed)
    theta = torch.tensor(sorted(values[:2], reverse=True), dtype=torch.float64)
    rest = torch.tensor(values[2:], dtype=torch.float64).clamp(max=cap)
    coupling = torch.randn(len(rest), 2, generator=g, dtype=torch.float64)
    top = torch.cat([torch.diag(theta), coupling.mT], 1)
    matrix = torch.cat([top, torch.cat([coupling, torch.diag(rest)], 1)])
    error = torch.linalg.eigvalsh(matrix).flip(0)[:2] - theta
    bounds = error_bounds(theta, float(torch.linalg.matrix_norm(coupling, 2)), cap)
    assert bool((error >= -1e-12).all())
    assert bool((error <= bounds + 1e-12).all())


def test_overlook_probability_is_one() -> None:
    """Two facts: sum_j p_j(mu)^2 (w.x)^2 is at most one, and |w.x| is seldom small.

    Independent: the first on an explicit Lanczos run, in which x is known; the second from the
    exact law of (w.x)^2, a Beta(1/2, (d - 1)/2).
    """
    d, mu = 40, 7.0
    values = torch.cat([torch.tensor([mu]), torch.linspace(-1.0, 1.0, d - 1)]).double()
    w = torch.randn(d, generator=seeded(0), dtype=torch.float64)
    w[0] = 1e-3  # nearly orthogonal to x, the first basis vector
    w /= w.norm()
    before, now, alphas, betas = torch.zeros(d).double(), w, [], []
    for _ in range(8):
        image = values * now
        alphas.append(float(now @ image))
        image = image - alphas[-1] * now - (betas[-1] * before if betas else 0.0)
        betas.append(float(image.norm()))
        before, now = now, image / betas[-1]
        bound = overlook_probability(alphas, betas, mu, d)
        assert bound == 1.0 or abs(float(w[0])) <= bound / math.sqrt(2 * d / math.pi)
    assert bound < 0.01
    for share in (1e-4, 1e-3, 1e-2):
        probability = stats.beta(0.5, (d - 1) / 2).cdf(share**2)
        assert probability <= share * math.sqrt(2 * d / math.pi)
        assert probability >= 0.9 * share * math.sqrt(2 * d / math.pi)


W = torch.ones(3, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 0}, "k must lie between 1 and the 3"),
        ({"k": 4}, "k must lie between 1 and the 3"),
        ({"tol": 0.0}, "tol must lie"),
        ({"tol": math.nan}, "tol must lie"),
        ({"tol": 1.0}, "tol must lie"),
        ({"tol": 1e-16}, "float64 resolves"),
    ],
)
def test_refuses_in_a_sentence(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hessian_eigenvalues(lambda: W.pow(2).sum(), [W], **settings)


def test_refuses_what_has_not_converged() -> None:
    loss, parameters, _ = quadratic([12.0, 8.0, *BULK])
    for k in (1, 2):
        with pytest.raises(curvature.ConvergenceError, match="did not reach tol=1e-10 in 9"):
            hessian_eigenvalues(loss, parameters, k, tol=1e-10, max_products=9)
