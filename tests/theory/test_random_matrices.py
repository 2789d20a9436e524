"""Laws of random matrices against quadrature, exact moments, limits, and sampled matrices."""

import itertools
import math

import jaxtyping
import numpy as np
import pytest
from scipy.integrate import quad

from learnmech.theory.random_matrices import (
    MarchenkoPastur,
    Semicircle,
    SingularValueLaw,
    covariance_spike,
    low_rank_spike,
    symmetric_spike,
)

RATIOS = [1e-8, 1e-3, 0.0024, 0.0026, 0.2, 0.999999, 1.0, 1.000001, 3.0, 100.0]


def integral(law, function, low: float, high: float) -> float:
    """Integral of function times density, in an angle that removes both square roots."""
    a, b = law.edges

    def angle(x: float) -> float:
        return 2.0 * math.asin(min(1.0, math.sqrt((x - a) / (b - a))))

    def integrand(t: float) -> float:
        x = a + (b - a) * math.sin(0.5 * t) ** 2
        return function(x) * float(law.density(x)) * 0.5 * (b - a) * math.sin(t)

    kink = math.sqrt(abs(a / b))  # where x begins to exceed a tiny lower edge
    cuts = {kink * 8.0**k for k in range(10)}
    ends = sorted({angle(low), angle(high)} | {t for t in cuts if angle(low) < t < angle(high)})
    pieces = itertools.pairwise(ends)
    return sum(quad(integrand, *piece, epsabs=1e-13, epsrel=1e-12)[0] for piece in pieces)


def laws() -> list:
    found = [
        kind(c, v) for kind in (MarchenkoPastur, SingularValueLaw) for c in RATIOS for v in (1, 7.0)
    ]
    return [*found, Semicircle(), Semicircle(0.3)]


@pytest.mark.parametrize("law", laws(), ids=str)
def test_the_distribution_function_integrates_the_density(law) -> None:
    """Independent: adaptive quadrature of the density; the closed form is never integrated."""
    a, b = law.edges
    atom = getattr(law, "atom", 0.0)
    assert float(law.cdf(b)) == pytest.approx(1.0, abs=1e-14)
    assert float(law.cdf(np.nextafter(a, -np.inf))) == pytest.approx(atom * (a > 0.0), abs=1e-14)
    assert integral(law, lambda _: 1.0, a, b) == pytest.approx(1.0 - atom, abs=1e-11)
    for share in (1e-4, 0.01, 0.3, 0.5, 0.8, 0.999):
        x = a + share * (b - a)
        mass = integral(law, lambda _: 1.0, a, x)
        assert float(law.cdf(x)) == pytest.approx(atom + mass, abs=1e-11)


@pytest.mark.parametrize("law", laws(), ids=str)
def test_outside_the_edges_there_is_nothing(law) -> None:
    a, b = law.edges
    x = np.array([-np.inf, -3.0 * b, b + 1e-9 * b, 10.0 * b, np.inf])
    np.testing.assert_array_equal(law.density(x), 0.0)
    np.testing.assert_array_equal(law.cdf(x), [0.0, 0.0, 1.0, 1.0, 1.0])
    grid = law.cdf(np.linspace(a - 0.1 * b, 1.1 * b, 2001))
    assert np.all(np.diff(grid) >= -1e-15)


@pytest.mark.parametrize("ratio", [0.002, 0.0025, 0.003, 0.3, 1.0, 4.0])
def test_closed_forms_against_forty_digits(ratio: float) -> None:
    """Independent: mpmath integrates the textbook density; 1e-14 is the documented error."""
    import mpmath

    with mpmath.workdps(40):
        gamma = mpmath.mpf(ratio)
        a, b = (1 - mpmath.sqrt(gamma)) ** 2, (1 + mpmath.sqrt(gamma)) ** 2

        def density(t):  # in the angle of x = (a + b)/2 - (b - a)/2 cos t
            x = a + (b - a) * mpmath.sin(t / 2) ** 2
            return ((b - a) / 2 * mpmath.sin(t)) ** 2 / (2 * mpmath.pi * gamma * x)

        atom = max(0, 1 - 1 / gamma)
        for t in (0.001, 0.3, 1.5, 3.0):
            x = (a + b) / 2 - (b - a) / 2 * mpmath.cos(t)
            exact = atom + mpmath.quad(density, [0, t / 2, t])
            # Rounding x to a double moves F by density times spacing.
            slack = float(density(t) / ((b - a) / 2 * mpmath.sin(t))) * np.spacing(float(x))
            assert float(MarchenkoPastur(ratio).cdf(float(x))) == pytest.approx(
                float(exact), abs=1e-14 + slack
            )


@pytest.mark.parametrize("ratio", [1e-8, 0.2, 1.0, 3.0])
@pytest.mark.parametrize("order", [1, 2, 3, 6])
def test_moments_are_narayana_sums_and_integrals(ratio: float, order: int) -> None:
    law = MarchenkoPastur(ratio, 1.7)
    exact = law.moment(order)
    assert integral(law, lambda x: x**order, *law.edges) == pytest.approx(exact, rel=1e-10)
    squares = SingularValueLaw(ratio, 1.7)
    share = min(1.0, 1.0 / ratio)
    even = integral(squares, lambda s: s ** (2 * order), *squares.edges)
    assert share * even == pytest.approx(exact, rel=1e-10)


def test_moments_are_the_textbook_numbers() -> None:
    """At ratio one they are Catalan numbers, as are the semicircle's even moments."""
    catalan = [1, 1, 2, 5, 14, 42, 132]
    assert [MarchenkoPastur(1.0).moment(k) for k in range(7)] == catalan
    assert [Semicircle().moment(2 * k) for k in range(7)] == catalan
    assert [Semicircle(2.0).moment(k) for k in range(5)] == [1.0, 0.0, 2.0, 0.0, 8.0]
    g = 0.37
    assert MarchenkoPastur(g).moment(3) == pytest.approx(1 + 3 * g + g**2, rel=1e-15)
    assert MarchenkoPastur(g).moment(4) == pytest.approx(1 + 6 * g + 6 * g**2 + g**3, rel=1e-15)
    for k in range(7):
        low, high = Semicircle(0.5).edges
        value = integral(Semicircle(0.5), lambda x, k=k: x**k, low, high)
        assert value == pytest.approx(Semicircle(0.5).moment(k), abs=1e-12)


@pytest.mark.parametrize("ratio", [1e-33, 1e-300])
def test_edges_that_are_one_double_hold_all_the_mass(ratio: float) -> None:
    for law in (MarchenkoPastur(ratio, 4.0), SingularValueLaw(ratio, 4.0)):
        assert law.edges[0] == law.edges[1]
        at = law.edges[0] * np.array([0.9, 1.0, 1.1])
        np.testing.assert_allclose(law.cdf(at), [0.0, 1.0, 1.0], rtol=1e-14)


def test_parameters_in_single_precision_lose_no_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for users
    ratio, variance = np.float32(0.3), np.float32(0.7)
    for kind in (MarchenkoPastur, SingularValueLaw):
        single, double = kind(ratio, variance), kind(float(ratio), float(variance))
        assert single == double
        assert single.edges == double.edges
        x = np.linspace(*double.edges, 7)
        np.testing.assert_array_equal(single.cdf(x), double.cdf(x))
        np.testing.assert_array_equal(single.density(x), double.density(x))


def test_few_columns_become_a_semicircle() -> None:
    """The limit of a small aspect ratio: (x - 1)/sqrt(gamma) follows the semicircle."""
    y = np.linspace(-1.9, 1.9, 39)
    for ratio in (1e-4, 1e-8, 1e-12):
        gap = MarchenkoPastur(ratio).cdf(1.0 + math.sqrt(ratio) * y) - Semicircle().cdf(y)
        # To first order the two differ by sqrt(gamma) times a bounded function; x itself is
        # rounded at 1e-16 beside sqrt(gamma).
        assert np.max(np.abs(gap)) < 0.7 * math.sqrt(ratio) + 2e-16 / math.sqrt(ratio)


def test_a_matrix_and_its_transpose_share_singular_values() -> None:
    s = np.linspace(0.0, 3.0, 50)
    for ratio in (0.1, 0.5, 3.0):
        wide, tall = SingularValueLaw(ratio), SingularValueLaw(1.0 / ratio, ratio)
        np.testing.assert_allclose(wide.cdf(s), tall.cdf(s), atol=1e-14)
        np.testing.assert_allclose(wide.density(s), tall.density(s), atol=1e-12)


def test_the_square_case_is_the_quarter_circle() -> None:
    s = np.linspace(0.0, 2.0, 20)
    np.testing.assert_allclose(
        SingularValueLaw(1.0).density(s), np.sqrt(4.0 - s**2) / math.pi, atol=1e-15
    )


def gaussian(seed: int, rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, columns)) / math.sqrt(rows)


@pytest.mark.parametrize(("rows", "columns"), [(800, 300), (400, 400), (300, 900)])
def test_sampled_singular_values(rows: int, columns: int) -> None:
    """Bulk: an error of order 1/N; edge: (n^-1/2 + p^-1/2)^(4/3)-like Tracy-Widom widths."""
    law = SingularValueLaw(columns / rows)
    s = np.sort(np.linalg.svd(gaussian(0, rows, columns), compute_uv=False))
    empirical = (np.arange(len(s)) + 0.5) / len(s)
    assert np.max(np.abs(empirical - law.cdf(s))) < 4.0 / len(s)
    # Johnstone (2001): the largest eigenvalue is off by this width times a Tracy-Widom variable
    # of mean -1.2 and standard deviation 1.27; five of those.
    root_n, root_p = math.sqrt(rows), math.sqrt(columns)
    width = (root_n + root_p) * (1.0 / root_n + 1.0 / root_p) ** (1.0 / 3.0) / rows
    assert abs(s[-1] ** 2 - law.edges[1] ** 2 + 1.2 * width) < 5.0 * 1.27 * width
    eigenvalues = np.concatenate([np.zeros(max(0, columns - rows)), s**2])
    mp = MarchenkoPastur(columns / rows)
    for order in (1, 2, 3):
        # Traces of Gaussian matrices fluctuate by O(1) in total, so O(1/p) in the mean.
        assert np.mean(eigenvalues**order) == pytest.approx(mp.moment(order), rel=20.0 / columns)


def test_sampled_semicircle() -> None:
    raw = np.random.default_rng(1).standard_normal((500, 500))
    values = np.linalg.eigvalsh((raw + raw.T) / math.sqrt(2.0 * 500))
    empirical = (np.arange(500) + 0.5) / 500
    assert np.max(np.abs(empirical - Semicircle().cdf(values))) < 4.0 / 500
    assert abs(values[-1] - 2.0) < 5.0 * 500 ** (-2.0 / 3.0)


@pytest.mark.parametrize(("rows", "columns"), [(1200, 400), (500, 500), (400, 1000)])
def test_sampled_covariance_spikes(rows: int, columns: int) -> None:
    """Independent: eigenvectors of sampled covariances; errors of order N^-1/2 as Paul (2007)."""
    gamma = columns / rows
    strong = 1.0 + 2.5 * math.sqrt(gamma)
    weak = 1.0 + 0.4 * math.sqrt(gamma)
    found = []
    for seed in range(8):
        x = gaussian(seed, rows, columns)
        x[:, 0] *= math.sqrt(strong)
        x[:, 1] *= math.sqrt(weak)
        _, s, vt = np.linalg.svd(x, full_matrices=False)
        found.append((s[0] ** 2, vt[0, 0] ** 2, s[1] ** 2, np.max(vt[1:4, 1] ** 2)))
    eigenvalue, overlap, second, weak_overlap = np.mean(found, axis=0)
    seen = covariance_spike([strong, weak], aspect_ratio=gamma)
    assert seen.outlier.tolist() == [True, False]
    # Paul (2007), theorem 3: variance 2 ell^2 (1 - gamma/(ell-1)^2) / n of one eigenvalue.
    spread = strong * math.sqrt(2.0 * (1.0 - gamma / (strong - 1.0) ** 2) / rows)
    assert abs(eigenvalue - seen.eigenvalue[0]) < 4.0 * spread / math.sqrt(8) + 5.0 / rows
    assert abs(overlap - seen.overlap[0]) < 4.0 / math.sqrt(8 * rows)
    # Four Tracy-Widom deviations, pulled up by a spike that is not far from its threshold.
    assert abs(second - seen.eigenvalue[1]) < 4.0 * seen.eigenvalue[1] * columns ** (-2.0 / 3.0)
    assert seen.overlap[1] == 0.0
    assert weak_overlap < 0.15


def test_a_small_spike_leaves_the_bulk_downwards() -> None:
    rows, columns, small = 2000, 500, 0.2  # threshold 1 - sqrt(1/4)
    seen = covariance_spike([small, 0.7], aspect_ratio=columns / rows)
    assert seen.outlier.tolist() == [True, False]
    assert seen.eigenvalue[1] == 0.25
    x = gaussian(3, rows, columns)
    x[:, 0] *= math.sqrt(small)
    _, s, vt = np.linalg.svd(x, full_matrices=False)
    assert s[-1] ** 2 == pytest.approx(
        float(seen.eigenvalue[0]), abs=4.0 * small * (2 / rows) ** 0.5
    )
    assert vt[-1, 0] ** 2 == pytest.approx(float(seen.overlap[0]), abs=4.0 / math.sqrt(rows))
    assert float(covariance_spike(0.01, aspect_ratio=2.0).eigenvalue) == pytest.approx(
        (math.sqrt(2.0) - 1.0) ** 2, rel=1e-14
    )


@pytest.mark.parametrize(("rows", "columns"), [(600, 600), (1000, 300), (300, 1000)])
def test_sampled_low_rank_spikes(rows: int, columns: int) -> None:
    """Independent: the SVD of planted rank-two matrices in noise, variance 0.49."""
    gamma, sigma = columns / rows, 0.7
    strengths = sigma * gamma**0.25 * np.array([3.0, 1.8, 0.5])
    found = []
    for seed in range(6):
        x = sigma * gaussian(10 + seed, rows, columns)
        for k in range(3):
            x[k, k] += strengths[k]
        u, s, vt = np.linalg.svd(x, full_matrices=False)
        found.append([s[:3], np.diag(u)[:3] ** 2, np.diag(vt)[:3] ** 2])
    value, left, right = np.mean(found, axis=0)
    seen = low_rank_spike(strengths, aspect_ratio=gamma, variance=sigma**2)
    assert seen.outlier.tolist() == [True, True, False]
    error = 4.0 / math.sqrt(6 * min(rows, columns))
    np.testing.assert_allclose(value[:2], seen.singular_value[:2], rtol=error)
    np.testing.assert_allclose(left[:2], seen.left_overlap[:2], atol=error)
    np.testing.assert_allclose(right[:2], seen.right_overlap[:2], atol=error)
    assert seen.singular_value[2] == pytest.approx(SingularValueLaw(gamma, sigma**2).edges[1])
    assert value[2] == pytest.approx(float(seen.singular_value[2]), rel=4 * columns ** (-2 / 3))
    assert seen.left_overlap[2] == seen.right_overlap[2] == 0.0


def test_sampled_symmetric_spikes() -> None:
    found = []
    for seed in range(6):
        raw = np.random.default_rng(20 + seed).standard_normal((500, 500))
        x = 0.5 * (raw + raw.T) / math.sqrt(2.0 * 500)
        x[0, 0] += 1.2
        x[1, 1] -= 0.8
        values, vectors = np.linalg.eigh(x)
        found.append((values[-1], values[0], vectors[0, -1] ** 2, vectors[1, 0] ** 2))
    seen = symmetric_spike([1.2, -0.8], variance=0.25)
    mean = np.mean(found, axis=0)
    np.testing.assert_allclose(mean[:2], seen.eigenvalue, atol=4.0 * 0.5 / math.sqrt(6 * 250))
    np.testing.assert_allclose(mean[2:], seen.overlap, atol=4.0 / math.sqrt(6 * 500))
    none = symmetric_spike([0.4, -0.5], variance=0.25)
    np.testing.assert_array_equal(none.eigenvalue, [1.0, -1.0])
    np.testing.assert_array_equal(none.overlap, 0.0)


def test_a_covariance_spike_is_a_random_rectangular_one() -> None:
    """ell = 1 + theta^2: samples with one strong direction are noise plus a rank-one matrix."""
    theta = np.linspace(0.2, 5.0, 40)
    for gamma in (0.1, 1.0, 4.0):
        rectangular = low_rank_spike(theta, aspect_ratio=gamma)
        covariance = covariance_spike(1.0 + theta**2, aspect_ratio=gamma)
        np.testing.assert_allclose(rectangular.singular_value**2, covariance.eigenvalue, rtol=1e-13)
        np.testing.assert_allclose(rectangular.right_overlap, covariance.overlap, atol=1e-13)
        transposed = low_rank_spike(
            theta / math.sqrt(gamma), aspect_ratio=1.0 / gamma
        )  # the transpose, with its noise scaled to one over its own rows
        np.testing.assert_allclose(
            transposed.singular_value * math.sqrt(gamma), rectangular.singular_value, rtol=1e-13
        )
        np.testing.assert_allclose(transposed.left_overlap, rectangular.right_overlap, atol=1e-13)


def test_spikes_begin_at_the_edge_and_are_continuous() -> None:
    for gamma in (0.25, 1.0, 4.0):
        for sign in (1e-9, -1e-9):
            at = covariance_spike(
                2.0 * (1.0 + math.sqrt(gamma)) + sign, aspect_ratio=gamma, variance=2.0
            )
            assert float(at.eigenvalue) == pytest.approx(
                MarchenkoPastur(gamma, 2.0).edges[1], rel=1e-12
            )
            assert float(at.overlap) < 1e-8
            at = low_rank_spike(gamma**0.25 + sign, aspect_ratio=gamma)
            assert float(at.singular_value) == pytest.approx(1.0 + math.sqrt(gamma), rel=1e-12)
    strong = low_rank_spike(1e9, aspect_ratio=0.3)
    assert float(strong.singular_value) == pytest.approx(1e9, rel=1e-15)
    assert float(strong.left_overlap) == pytest.approx(1.0, rel=1e-15)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: MarchenkoPastur(0.0), "aspect_ratio must be positive"),
        (lambda: MarchenkoPastur(math.nan), "aspect_ratio must be positive"),
        (lambda: SingularValueLaw(1.0, -1.0), "variance must be positive"),
        (lambda: Semicircle(math.inf), "variance must be positive"),
        (lambda: MarchenkoPastur(1.0).cdf(math.nan), "NaN"),
        (lambda: MarchenkoPastur(1.0).moment(-1), "order of at least 0"),
        (lambda: Semicircle().moment(-2), "order of at least 0"),
        (lambda: Semicircle().moment(2.5), "whole order"),
        (lambda: MarchenkoPastur(1.0).moment(2.0), "whole order"),
        (lambda: covariance_spike(-1.0, aspect_ratio=1.0), "population_eigenvalue must be"),
        (lambda: low_rank_spike(0.0, aspect_ratio=1.0), "strength must be"),
        (lambda: symmetric_spike(0.0), "strength must be"),
        (lambda: low_rank_spike([1.0, 2.0], aspect_ratio=[1.0, 2.0, 3.0]), "do not broadcast"),
    ],
)
def test_refuses(call, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for users
    with pytest.raises(ValueError, match=message):
        call()


def test_the_density_of_a_square_matrix_diverges_at_zero() -> None:
    law = MarchenkoPastur(1.0)
    assert float(law.density(0.0)) == math.inf
    assert float(law.density(1e-12)) == pytest.approx(1e6 / math.pi, rel=1e-6)
