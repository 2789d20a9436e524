"""CKA, neighbours and Procrustes: independent formulas, invariances, peers' bugs, refusals."""

import itertools
import math

import jaxtyping
import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from learnmech.practice import representations
from learnmech.practice.representations import (
    kernel_cka,
    linear_cka,
    mutual_neighbours,
    neighbours,
    procrustes_angle,
    procrustes_distance,
    procrustes_similarity,
)


def draw(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def orthogonal(seed: int, d: int) -> Tensor:
    return torch.linalg.qr(draw(seed, d, d)).Q


def correlated(n: int, p: int, q: int) -> tuple[Tensor, Tensor]:
    x = draw(0, n, p) * torch.linspace(0.1, 3.0, p) + 0.3
    y = torch.tanh(x[:, : min(p, q)]) @ draw(1, min(p, q), q) + 0.5 * draw(2, n, q) - 1.0
    return x, y


def textbook_cka(k: Tensor, other: Tensor, unbiased: bool) -> float:
    """The (n, n) formulas of the papers, on whole kernels."""
    n = len(k)
    ones = torch.ones(n, dtype=k.dtype)
    if unbiased:  # Song et al., equation for the unbiased estimator: diagonals set to zero

        def hsic(a: Tensor, b: Tensor) -> Tensor:
            a, b = a - torch.diag(a.diagonal()), b - torch.diag(b.diagonal())
            middle = (ones @ a @ ones) * (ones @ b @ ones) / ((n - 1) * (n - 2))
            return torch.trace(a @ b) + middle - 2.0 / (n - 2) * (ones @ a @ b @ ones)

    else:
        h = torch.eye(n, dtype=k.dtype) - 1.0 / n

        def hsic(a: Tensor, b: Tensor) -> Tensor:
            return torch.trace(a @ h @ b @ h)

    return float(hsic(k, other) / (hsic(k, k) * hsic(other, other)).sqrt())


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize(("n", "p", "q"), [(50, 3, 7), (20, 30, 5), (12, 100, 80), (4, 2, 1)])
def test_cka_is_the_textbook_formula(n: int, p: int, q: int, unbiased: bool) -> None:
    """Independent: whole kernels and centring matrices; features and samples both may be fewer."""
    x, y = correlated(n, p, q)
    expected = textbook_cka(x @ x.T, y @ y.T, unbiased)
    assert float(linear_cka(x, y, unbiased=unbiased)) == pytest.approx(expected, rel=1e-11)
    on_kernels = kernel_cka(x @ x.T, y @ y.T, unbiased=unbiased)
    assert float(on_kernels) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("unbiased", [False, True])
def test_kernels_that_are_no_products_of_features(unbiased: bool) -> None:
    x, y = correlated(30, 4, 4)
    k, other = torch.exp(-torch.cdist(x, x)), torch.exp(-(torch.cdist(y, y) ** 2))
    expected = textbook_cka(k, other, unbiased)
    assert float(kernel_cka(k, other, unbiased=unbiased)) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("compare", [linear_cka, procrustes_distance])
def test_exact_invariances(compare, unbiased: bool) -> None:
    if compare is not linear_cka and unbiased:
        return
    options = {"unbiased": True} if unbiased else {}
    x, y = correlated(40, 5, 6)
    value = float(compare(x, y, **options))
    assert float(compare(y, x, **options)) == pytest.approx(value, rel=1e-12)
    for scale in (2.0**-30, 2.0**400, 2.0**-500):  # powers of two are exact, so is the result
        assert float(compare(scale * x, y, **options)) == value
    for changed in (1e-3 * x, -7.0 * x, x @ orthogonal(3, 5), x + 100.0 * draw(4, 5), 1e-170 * x):
        assert float(compare(changed, y, **options)) == pytest.approx(value, rel=1e-10)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    assert float(compare(x[order], y[order], **options)) == pytest.approx(value, rel=1e-12)
    itself = float(compare(x, 3.0 * x @ orthogonal(5, 5) + 1.0, **options))
    assert itself == pytest.approx(1.0 if compare is linear_cka else 0.0, abs=1e-13)


def test_no_constant_in_the_denominator() -> None:
    """A widely copied implementation adds 1e-6 and loses the invariance to scale."""
    x, y = correlated(40, 5, 6)
    small = float(linear_cka((1e-3 * x).float(), y.float()))
    assert small == pytest.approx(float(linear_cka(x.float(), y.float())), rel=1e-6)


@pytest.mark.parametrize("p", [20, 300])
def test_unbiased_cka_of_independent_features_is_zero_on_average(p: int) -> None:
    """Monte Carlo with its own standard error; a peer clips at zero and cannot pass this."""
    values = torch.tensor(
        [
            [
                float(linear_cka(x, y, unbiased=u))
                for u in (True, False)
                for x, y in [(draw(2 * s, 60, p), draw(2 * s + 1, 60, p))]
            ]
            for s in range(150)
        ]
    )
    mean, error = values.mean(0), values.std(0) / math.sqrt(150)
    assert abs(mean[0]) < 3.0 * error[0]
    assert (values[:, 0] < 0.0).any()
    # The biased one: for Gaussian features close to p/(n + p), far from zero.
    assert float(mean[1]) == pytest.approx(p / (60 + p), rel=0.1)


def test_unbiased_cka_is_zero_over_all_pairings() -> None:
    """Exactly zero on average over all 120 orders of five samples."""
    x, y = correlated(5, 3, 2)
    total = sum(
        float(linear_cka(x, y[list(order)], unbiased=True))
        for order in itertools.permutations(range(5))
    )
    assert abs(total) < 1e-10


@pytest.mark.parametrize("unbiased", [False, True])
def test_single_precision_is_accumulated_in_double(unbiased: bool) -> None:
    """Features with a large mean, where float32 sums would lose the unbiased estimator."""
    x, y = (z.float() for z in (draw(0, 500, 40) + 30.0, draw(1, 500, 40) - 30.0))
    exact = float(linear_cka(x.double(), y.double(), unbiased=unbiased))
    result = linear_cka(x, y, unbiased=unbiased)
    assert result.dtype == torch.float32
    assert float(result) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_instruments_read_only(dtype: torch.dtype) -> None:
    x, y = (draw(s, 12, 3, dtype=dtype).requires_grad_() for s in (0, 1))
    copies = [z.detach().clone() for z in (x, y)]
    state = torch.random.get_rng_state()
    results = [
        linear_cka(x, y),
        linear_cka(x, y, unbiased=True),
        kernel_cka(x @ x.T, y @ y.T),
        procrustes_distance(x, y),
        procrustes_angle(x, y),
        procrustes_similarity(x, y),
    ]
    for result in results:
        assert result.dtype == dtype
        assert result.shape == ()
        assert not result.requires_grad
    mutual_neighbours(x, y, 3)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(z, copy) for z, copy in zip((x, y), copies, strict=True))
    assert x.grad is None
    assert x.requires_grad
    mixed = linear_cka(x.float(), y.double())
    assert mixed.dtype == torch.float64


def by_hand(values: np.ndarray, k: int, metric: str) -> list[set[int]]:
    """Sort (distance, index) pairs, one sample at a time."""
    n = len(values)
    if metric == "cosine":
        values = values / np.linalg.norm(values, axis=1, keepdims=True)
    found = []
    for i in range(n):
        distances = ((values - values[i]) ** 2).sum(1)
        if metric == "cosine":
            distances = -(values @ values[i])
        found.append({j for _, j in sorted((distances[j], j) for j in range(n) if j != i)[:k]})
    return found


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 5, 39])
@pytest.mark.parametrize("block", [2**24, 40 * 7])
def test_neighbours_by_hand(metric, k: int, block: int, monkeypatch) -> None:
    """Independent: sorted lists of pairs, in NumPy; rows are handled in blocks of any size."""
    monkeypatch.setattr(neighbours, "BLOCK", block)
    x, y = correlated(40, 5, 6)
    pairs = zip(by_hand(x.numpy(), k, metric), by_hand(y.numpy(), k, metric), strict=True)
    shares = [len(a & b) / k for a, b in pairs]
    result = mutual_neighbours(x, y, k, metric=metric)
    np.testing.assert_allclose(result.per_sample.numpy(), shares, rtol=1e-15)
    assert result.overlap == pytest.approx(np.mean(shares), rel=1e-14)
    assert result.chance == k / 39
    if k == 39:
        assert result.overlap == 1.0


def test_ties_go_to_the_lower_index() -> None:
    """Integers on a grid: distances are exact, most are tied, and many samples coincide."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 3, (60, 2), generator=generator).double() + 1000.0
    y = torch.randint(0, 2, (60, 3), generator=generator).double()
    for k in (1, 4, 10):
        pairs = zip(
            by_hand(x.numpy(), k, "euclidean"), by_hand(y.numpy(), k, "euclidean"), strict=True
        )
        shares = [len(a & b) / k for a, b in pairs]
        result = mutual_neighbours(x, y, k, metric="euclidean")
        assert result.per_sample.tolist() == shares
    assert mutual_neighbours(x, x, 7, metric="euclidean").overlap == 1.0


def test_a_sample_is_not_its_own_neighbour() -> None:
    """Coinciding samples: sample 0's neighbours are 1 and 2, and never itself."""
    same, other = torch.ones(3, 2), torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.1, 1.0]])
    assert mutual_neighbours(same, other, 1).per_sample.tolist() == [0.0, 0.0, 0.0]
    assert mutual_neighbours(same, other, 2).overlap == 1.0


def test_the_chance_level() -> None:
    values = [mutual_neighbours(draw(2 * s, 50, 6), draw(2 * s + 1, 50, 6), 5) for s in range(200)]
    overlaps = np.array([v.overlap for v in values])
    error = overlaps.std() / math.sqrt(200)
    assert abs(overlaps.mean() - values[0].chance) < 3.0 * error


def test_neighbours_ignore_what_they_should() -> None:
    x, y = correlated(40, 5, 6)
    rows = draw(7, 40, 1).abs() + 0.1
    for metric, changed in (
        ("cosine", rows * x @ orthogonal(1, 5)),
        ("euclidean", 0.1 * x @ orthogonal(1, 5) + draw(2, 5)),
    ):
        same = mutual_neighbours(x, changed, 6, metric=metric)
        assert same.overlap == 1.0
        pair = [mutual_neighbours(z, y, 6, metric=metric).overlap for z in (x, changed)]
        assert pair[0] == pair[1]


@pytest.mark.parametrize("scale", [1e200, 1e-200])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_neighbours_of_features_whose_squares_are_out_of_range(metric, scale: float) -> None:
    x, y = correlated(40, 5, 6)
    plain, scaled = (mutual_neighbours(z, y, 6, metric=metric) for z in (x, scale * x))
    assert torch.equal(scaled.per_sample, plain.per_sample)


def shape(x: Tensor, width: int) -> np.ndarray:
    values = x.numpy() - x.numpy().mean(0)
    padded = np.zeros((len(x), width))
    padded[:, : x.shape[1]] = values / np.linalg.norm(values)
    return padded


@pytest.mark.parametrize(("n", "p", "q"), [(30, 5, 5), (30, 3, 8), (10, 40, 25), (10, 40, 3)])
def test_procrustes_by_scipy(n: int, p: int, q: int) -> None:
    """Independent: scipy's rotation for zero-padded shapes, and the distance it leaves."""
    x, y = correlated(n, p, q)
    a, b = shape(x, max(p, q)), shape(y, max(p, q))
    rotation, nuclear = scipy.linalg.orthogonal_procrustes(a, b)
    distance = np.linalg.norm(a @ rotation - b)
    assert float(procrustes_distance(x, y)) == pytest.approx(distance, rel=1e-10)
    assert float(procrustes_similarity(x, y)) == pytest.approx(nuclear, rel=1e-10)
    assert float(procrustes_angle(x, y)) == pytest.approx(math.acos(nuclear), rel=1e-10)


def test_no_rotation_does_better() -> None:
    """Random rotations, and small turns away from scipy's best one."""
    x, y = correlated(20, 3, 3)
    a, b = shape(x, 3), shape(y, 3)
    best = float(procrustes_distance(x, y))
    at, _ = scipy.linalg.orthogonal_procrustes(a, b)
    for seed in range(100):
        turn = draw(seed, 3, 3).numpy()
        near = at @ scipy.linalg.expm(1e-3 * (turn - turn.T))
        assert best < np.linalg.norm(a @ near - b) < best + 1e-3
        assert best < np.linalg.norm(a @ orthogonal(seed, 3).numpy() - b)


@pytest.mark.parametrize("distance", [procrustes_distance, procrustes_angle])
def test_triangle_inequality(distance) -> None:
    """Shapes of different widths, some of them nearly on one line of shapes."""
    base, towards = draw(0, 8, 4), draw(1, 8, 4)
    line = [base + share * towards for share in (0.0, 0.1, 0.3, 1.0)]
    family = line + [draw(s, 8, p) for s, p in ((2, 1), (3, 3), (4, 20), (5, 5))]
    d = {pair: float(distance(*pair)) for pair in itertools.permutations(family, 2)}
    for a, b, c in itertools.permutations(family, 3):
        assert d[a, c] <= d[a, b] + d[b, c] + 1e-14


def test_small_distances_keep_their_digits() -> None:
    """2 - 2s would be rounding below 1e-8; exact for a perturbation orthogonal to rotations."""
    x = torch.diag(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    x = torch.cat([x, -x])  # centred
    for size in (1e-3, 1e-6, 1e-10, 1e-13):
        y = x.clone()
        y[0, 0] += size
        y[3, 0] -= size
        # To first order: the change, without its part along x; it is symmetric, no rotation.
        along = size * 1.0 / 14.0
        expected = math.sqrt(size**2 - 14.0 * along**2) / math.sqrt(14.0)
        assert float(procrustes_distance(x, y)) == pytest.approx(
            expected, rel=2 * size + 2e-15 / size
        )
        assert float(procrustes_angle(x, y)) == pytest.approx(expected, rel=2 * size + 2e-15 / size)


def test_orthogonal_shapes_are_a_right_angle_apart() -> None:
    x = torch.tensor([[1.0], [-1.0], [0.0], [0.0]], dtype=torch.float64)
    y = torch.tensor([[0.0], [0.0], [1.0], [-1.0]], dtype=torch.float64)
    assert float(procrustes_angle(x, y)) == pytest.approx(math.pi / 2, rel=1e-7)
    assert float(procrustes_distance(x, y)) == pytest.approx(math.sqrt(2.0), rel=1e-14)
    assert float(linear_cka(x, y)) == 0.0


PAIR = torch.eye(5, dtype=torch.float64)[:, :3]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: linear_cka(PAIR, PAIR[:4]), "same samples"),
        (lambda: linear_cka(PAIR[:1], PAIR[:1]), "2 samples or more"),
        (lambda: linear_cka(PAIR[:3], PAIR[:3], unbiased=True), "4 samples or more"),
        (lambda: linear_cka(PAIR, PAIR * torch.nan), "y holds NaN"),
        (lambda: linear_cka(torch.full((5, 2), 0.1), PAIR), "x does not vary"),
        (lambda: linear_cka(PAIR, torch.full((5, 2), 1e30)), "y does not vary"),
        (lambda: linear_cka(torch.eye(5), PAIR, unbiased=True), "equally far apart"),
        (lambda: kernel_cka(torch.ones(5, 5), torch.eye(5)), "kernel_x does not vary"),
        (lambda: kernel_cka(torch.eye(5), draw(0, 5, 5)), "symmetric kernel"),
        (lambda: kernel_cka(torch.eye(4), torch.eye(5)), "same samples"),
        (lambda: procrustes_distance(PAIR, PAIR[:4]), "same samples"),
        (lambda: procrustes_distance(torch.ones(5, 2), PAIR), "does not vary"),
        (lambda: mutual_neighbours(PAIR, PAIR, 2), "row of zeros"),
        (lambda: mutual_neighbours(PAIR, PAIR, 5), "between 1 and n - 1 = 4"),
        (lambda: mutual_neighbours(PAIR, PAIR, 0), "between 1 and"),
        (lambda: mutual_neighbours(PAIR, PAIR[:4], 2), "same samples"),
    ],
)
def test_refuses(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "compare",
    [linear_cka, procrustes_distance, procrustes_angle, procrustes_similarity, kernel_cka],
)
def test_refuses_what_is_no_matrix_of_real_numbers(compare, monkeypatch) -> None:
    """As for users, whose arguments no type checker sees: integers gave an integer, mostly 0."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    x = torch.tensor([[2, 1, 0], [1, 2, 0], [0, 0, 3]])
    for wrong in (x, x > 0, x + 1j):
        with pytest.raises(ValueError, match=r"must hold floating-point numbers.*\.double"):
            compare(x.double(), wrong)
    with pytest.raises(ValueError, match="one column or more"):
        compare(torch.ones(3, 0), x.double())


def test_names_are_exported() -> None:
    for name in representations.__all__:
        assert getattr(representations, name).__name__ == name


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_device_comes_from_the_inputs() -> None:
    x, y = correlated(40, 5, 6)
    for compare in (linear_cka, procrustes_distance, procrustes_angle, procrustes_similarity):
        result = compare(x.cuda(), y.cuda())
        assert result.device.type == "cuda"
        assert float(result) == pytest.approx(float(compare(x, y)), rel=1e-10)
    pair = [mutual_neighbours(*z, 5) for z in ((x, y), (x.cuda(), y.cuda()))]
    assert torch.equal(pair[0].per_sample, pair[1].per_sample.cpu())
    assert kernel_cka((x @ x.T).cuda(), (y @ y.T).cuda()).device.type == "cuda"
