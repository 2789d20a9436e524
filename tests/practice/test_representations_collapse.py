"""Neural collapse on exact simplices, on features with known NC1, and against whole matrices."""

import math

import jaxtyping
import numpy as np
import pytest
import torch
from torch import Tensor

from learnmech.practice.representations import NeuralCollapse, neural_collapse, simplex_deviation
from learnmech.practice.representations.ranks import effective_rank

C = 5


def draw(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def orthogonal(seed: int, d: int) -> Tensor:
    return torch.linalg.qr(draw(seed, d, d)).Q


def simplex(c: int = C) -> Tensor:
    return torch.eye(c, dtype=torch.float64) - 1.0 / c


def noisy(sizes: list[int], d: int = 12, spread: float = 0.3) -> tuple[Tensor, Tensor]:
    labels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    means = draw(0, len(sizes), d)
    features = means[labels] + spread * draw(1, len(labels), d) @ torch.diag(draw(2, d))
    return features + 4.0, labels


def whole_matrices(h: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """NC1 and both covariances by the definitions, with eigh for the pseudo-inverse."""
    classes = np.unique(labels)
    means = np.stack([h[labels == k].mean(0) for k in classes])
    between = np.cov(means.T, bias=True)
    within = np.mean([np.cov(h[labels == k].T, bias=True) for k in classes], axis=0)
    values, vectors = np.linalg.eigh(between)
    top = slice(-(len(classes) - 1), None)
    inverse = vectors[:, top] / values[top] @ vectors[:, top].T
    return np.trace(within @ inverse) / len(classes), between, within


@pytest.mark.parametrize("c", [2, 3, 10])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_complete_collapse_is_zero_everywhere(c: int, dtype: torch.dtype) -> None:
    """A rotated, scaled and shifted simplex, classes of unequal sizes, and its own classifier."""
    frame = orthogonal(0, c + 3)[:c]
    labels = torch.repeat_interleave(torch.arange(c), torch.arange(1, c + 1))
    means = 7.0 * simplex(c) @ frame
    features = (means + 0.5)[labels].to(dtype)
    classifier = (0.2 * means).to(dtype)
    # score_c = w_c.(h - mu): the bias takes the common shift away.
    bias = -(classifier.double() @ torch.full((c + 3,), 0.5, dtype=torch.float64)).to(dtype)
    measured = neural_collapse(features, labels, classifier, bias)
    zero = 100.0 * torch.finfo(dtype).eps
    assert measured.nc1 < zero**2
    assert measured.nc3 < zero
    assert measured.nc4 == 0.0
    for deviation in (measured.nc2, measured.classifier):
        assert max(deviation.norms, deviation.angles, deviation.largest_angle) < zero
        assert deviation.cosines < zero
    assert measured.between_rank == pytest.approx(c - 1, rel=100 * zero)


@pytest.mark.parametrize(("amplitude", "deviation"), [(1.0, 0.5), (3.0, 1e-6), (1e-8, 1e-3)])
def test_a_known_nc1(amplitude: float, deviation: float) -> None:
    """Means a(e_c - 1/C) and 2C samples at +- s e_j: NC1 = s^2 (C-1) / (C a^2), by hand."""
    steps = deviation * torch.cat([torch.eye(C), -torch.eye(C)]).double()
    features = torch.cat([amplitude * mean + steps for mean in simplex()])
    labels = torch.repeat_interleave(torch.arange(C), 2 * C)
    measured = neural_collapse(features, labels)
    expected = deviation**2 * (C - 1) / (C * amplitude**2)
    assert measured.nc1 == pytest.approx(expected, rel=1e-6)
    assert measured.within_rank == pytest.approx(C, rel=1e-8)
    assert measured.between_rank == pytest.approx(C - 1, rel=1e-8)
    assert measured.nc3 is measured.nc4 is measured.classifier is None


@pytest.mark.parametrize("sizes", [[20] * C, [3, 40, 8, 5, 17]])
@pytest.mark.parametrize("d", [4, 12, 300])
def test_against_whole_matrices(sizes: list[int], d: int) -> None:
    """Independent: NumPy's covariances, class by class, and an explicit pseudo-inverse."""
    features, labels = noisy(sizes, d)
    measured = neural_collapse(features, labels)
    nc1, between, within = whole_matrices(features.numpy(), labels.numpy())
    assert measured.nc1 == pytest.approx(nc1, rel=1e-9)
    for rank, covariance in ((measured.between_rank, between), (measured.within_rank, within)):
        assert rank == pytest.approx(float(effective_rank(torch.tensor(covariance))), rel=1e-6)


def test_equal_sizes_are_the_reference_definition() -> None:
    """Global mean and total within-class covariance over samples, which then are the same."""
    features, labels = noisy([20] * C)
    means = torch.stack([features[labels == k].mean(0) for k in range(C)])
    deviations = features - means[labels]
    within = deviations.T @ deviations / len(features)
    centred = means - features.mean(0)
    inverse = torch.linalg.pinv(centred.T @ centred / C, rtol=1e-8, hermitian=True)
    expected = float(torch.trace(within @ inverse)) / C
    assert neural_collapse(features, labels).nc1 == pytest.approx(expected, rel=1e-10)


def test_a_class_counts_alike_whatever_its_size() -> None:
    """Repeating all samples of one class changes nothing, and neither does their order."""
    features, labels = noisy([6, 9, 4, 7, 5])
    once = neural_collapse(features, labels, draw(3, C, 12))
    more = torch.cat([torch.arange(len(labels)), torch.nonzero(labels == 2)[:, 0].repeat(9)])
    many = neural_collapse(features[more.flip(0)], labels[more.flip(0)], draw(3, C, 12))
    assert many.nc1 == pytest.approx(once.nc1, rel=1e-10)
    assert many.nc2.angles == pytest.approx(once.nc2.angles, rel=1e-10)
    assert many.nc3 == pytest.approx(once.nc3, rel=1e-10)
    assert many.within_rank == pytest.approx(once.within_rank, rel=1e-10)


def test_invariances() -> None:
    features, labels = noisy([6, 9, 4, 7, 5])
    w, b, turn = draw(3, C, 12), draw(4, C), orthogonal(5, 12)
    shift = draw(6, 12)
    plain = neural_collapse(features, labels, w, b)
    moved = neural_collapse(
        100.0 * (features @ turn + shift), labels, w @ turn, 100.0 * (b - w @ turn @ shift)
    )
    for name in ("nc1", "nc3", "nc4", "between_rank", "within_rank"):
        assert getattr(moved, name) == pytest.approx(getattr(plain, name), rel=1e-9)
    assert moved.nc2.norms == pytest.approx(plain.nc2.norms, rel=1e-9)


@pytest.mark.parametrize("scale", [1e200, 1e-200])
def test_squares_out_of_range_change_nothing(scale: float) -> None:
    features, labels = noisy([6, 9, 4, 7, 5])
    w = draw(3, C, 12)
    plain = neural_collapse(features, labels, w)
    for scaled in (
        neural_collapse(scale * features, labels, w),
        neural_collapse(features, labels, scale * w),
    ):
        for name in ("nc1", "nc3", "nc4", "between_rank", "within_rank"):
            assert getattr(scaled, name) == pytest.approx(getattr(plain, name), rel=1e-9)
        for name in ("nc2", "classifier"):
            assert getattr(scaled, name).norms == pytest.approx(getattr(plain, name).norms)
    lengths = torch.tensor([1e-300, 1.0, 2.0], dtype=torch.float64)
    assert simplex_deviation(simplex(3) * lengths[:, None]).angles == pytest.approx(0.0, abs=1e-15)
    assert simplex_deviation(1e300 * simplex(3)).norms == pytest.approx(0.0, abs=1e-15)


def test_effective_ranks_by_hand() -> None:
    """Shares 3/4 and 1/4, and singular values whose sum a double does not hold."""
    matrix = torch.diag(torch.tensor([3.0, 1.0, 0.0], dtype=torch.float64))
    expected = 4.0 / 3.0**0.75
    for scale in (1.0, 5e307, 1e-320):
        rank = effective_rank(torch.stack([scale * matrix, scale * matrix.flip(0)]))
        np.testing.assert_allclose(rank.numpy(), expected, rtol=1e-3 if scale < 1e-300 else 1e-14)
    for wrong in (0.0 * matrix, matrix / 0.0, torch.full((2, 2), torch.inf)):
        with pytest.raises(ValueError, match="finite matrices that are not zero"):
            effective_rank(wrong)


def test_self_duality_by_hand() -> None:
    features, labels = simplex(), torch.arange(C)
    assert neural_collapse(features, labels, 3.0 * simplex()).nc3 == pytest.approx(0.0, abs=1e-14)
    assert neural_collapse(features, labels, -simplex()).nc3 == pytest.approx(2.0, rel=1e-14)
    unrelated = neural_collapse(features, labels, torch.ones(C, C, dtype=torch.float64))
    assert unrelated.nc3 == pytest.approx(math.sqrt(2.0), rel=1e-14)  # orthogonal to all means


def test_nearest_mean_by_hand() -> None:
    """Class means 10 and 13.5 on a line, halfway 11.75; the classifier's boundary is at 11.5."""
    first, second = [9.0, 11.0, 10.0, 11.7, 8.3], [13.0, 15.0, 14.0, 12.0]
    features = torch.tensor([*first, *second])[:, None]
    labels = torch.tensor([0] * 5 + [1] * 4)
    classifier, bias = torch.tensor([[-1.0], [1.0]]), torch.tensor([11.5, -11.5])
    measured = neural_collapse(features, labels, classifier, bias)
    assert measured.nc4 == pytest.approx(1.0 / 9.0, rel=1e-15)  # 11.7 alone lies between the two
    assert neural_collapse(features, labels, classifier, bias + torch.tensor([0.5, 0.0])).nc4 == 0.0


def test_simplex_deviation_by_hand() -> None:
    right = simplex_deviation(torch.tensor([[3.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
    # Lengths 3, 1, 1; cosines 0, 0, -1 against -1/2.
    assert right.norms == pytest.approx(math.sqrt(8.0 / 9.0) / (5.0 / 3.0), rel=1e-14)
    assert right.angles == pytest.approx(0.5, rel=1e-14)
    assert right.largest_angle == pytest.approx(0.5, rel=1e-14)
    assert right.cosines == pytest.approx(math.sqrt(2.0) / 3.0, rel=1e-14)


def test_the_mean_cosine_would_see_nothing() -> None:
    """Means of equal length around zero, not a simplex: their mean cosine is -1/(C-1) still."""
    square = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    deviation = simplex_deviation(square)
    unit = square @ square.T
    off = unit[~torch.eye(4, dtype=torch.bool)]
    assert float(off.mean()) == pytest.approx(-1.0 / 3.0)
    assert deviation.largest_angle == pytest.approx(2.0 / 3.0)


def test_rounding_is_never_inverted() -> None:
    """A peer takes pinv in float32 at its default cut and inverts what is rounding."""
    features, labels = noisy([30] * C, d=40, spread=0.01)
    exact = neural_collapse(features, labels).nc1
    single = neural_collapse(features.float(), labels).nc1
    assert single == pytest.approx(exact, rel=1e-4)
    means = torch.stack([features.float()[labels == k].mean(0) for k in range(C)])
    centred, deviations = means - means.mean(0), features.float() - means[labels]
    naive = torch.linalg.pinv(centred.T @ centred / C, rtol=torch.finfo(torch.float32).eps)
    within = deviations.T @ deviations / len(features)
    assert abs(float(torch.trace(within @ naive)) / C / exact - 1.0) > 0.1


def test_instruments_read_only() -> None:
    features, labels = noisy([6, 9, 4, 7, 5])
    w = draw(3, C, 12).requires_grad_()
    features.requires_grad_()
    copies = [z.detach().clone() for z in (features, labels, w)]
    state = torch.random.get_rng_state()
    measured = neural_collapse(features, labels.to(torch.int32), w)
    assert isinstance(measured, NeuralCollapse)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip((features, labels, w), copies, strict=True))
    assert features.grad is w.grad is None


def test_fewer_directions_on_request() -> None:
    """Three means on a line span one direction: refused unless the rank says so."""
    features = torch.tensor([[-1.0, 0.1], [0.0, -0.1], [1.0, 0.1], [-1.0, -0.1], [0.0, 0.1]])
    features = torch.cat([features, torch.tensor([[1.0, -0.1]])]).double()
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    with pytest.raises(ValueError, match="span 1 directions, and 2 were"):
        neural_collapse(features, labels)
    with pytest.raises(ValueError, match="a vector of zeros"):
        neural_collapse(features, labels, rank=1)  # the middle mean has no direction
    features = features + torch.tensor([0.5, 0.0]) * (labels == 1)[:, None]
    measured = neural_collapse(features, labels, rank=1)
    assert measured.nc1 == pytest.approx(0.0, abs=1e-25)  # nothing varies along the line


X, Y = torch.eye(4), torch.arange(4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X, Y[:3]), "but have the shapes"),
        ((X * torch.nan, Y), "NaN"),
        ((X, Y * 0), "C = 1 >= 2"),
        ((X, Y - 1), "from 0 to C - 1"),
        ((X, Y, torch.eye(4)[:3]), "from 0 to C - 1"),
        ((X, torch.tensor([0, 1, 3, 3])), r"no sample belongs to the classes \[2\]"),
        ((X, Y, torch.ones(5, 4)), r"no sample belongs to the classes \[4\]"),
        ((X, Y, torch.ones(4, 3)), "classifier must be"),
        ((X, Y, X, torch.ones(3)), "bias must be"),
        ((X, Y, None, torch.ones(4)), "bias must be"),
        ((torch.ones(4, 4), Y), "span 0 directions"),
        ((X, Y, torch.zeros(4, 4)), "vector of zeros"),
        ((X, Y, X * torch.nan), "classifier must be .* without NaN"),
        ((X, Y, X, torch.full((4,), torch.nan)), "bias must be .* without NaN"),
        ((X, Y.double()), "whole numbers, as of torch.int64"),
        ((X.long(), Y), "features must be floating-point"),
        ((X[:, :0], Y), "but have the shapes"),
    ],
)
def test_refuses(arguments: tuple, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for users
    with pytest.raises(ValueError, match=message):
        neural_collapse(*arguments)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_device_comes_from_the_inputs() -> None:
    features, labels = noisy([6, 9, 4, 7, 5])
    w, b = draw(3, C, 12), draw(4, C)
    cpu = neural_collapse(features, labels, w, b)
    gpu = neural_collapse(*(z.cuda() for z in (features, labels, w, b)))
    assert gpu.nc1 == pytest.approx(cpu.nc1, rel=1e-10)
    assert gpu.nc4 == cpu.nc4
