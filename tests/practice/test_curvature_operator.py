"""Hessian products: exact through every layer and over unequal batches, without side effects."""

import math

import pytest
import torch
from torch import Tensor, nn

from learnmech.practice import curvature
from learnmech.practice.curvature import HessianOperator

NORMS = {
    "layer": lambda: nn.LayerNorm(8),
    "batch": lambda: nn.BatchNorm1d(8),
    "batch without statistics": lambda: nn.BatchNorm1d(8, track_running_stats=False),
    "instance": lambda: nn.Sequential(
        nn.Unflatten(1, (2, 4)), nn.InstanceNorm1d(2, affine=True), nn.Flatten()
    ),
    "group": lambda: nn.GroupNorm(2, 8),
    "rms": lambda: nn.RMSNorm(8),
}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=dtype)


def network(norm: nn.Module, seed: int = 0) -> nn.Module:
    net = nn.Sequential(nn.Linear(4, 8), norm, nn.Tanh(), nn.Linear(8, 2)).double()
    with torch.no_grad():
        for i, p in enumerate(net.parameters()):
            p.copy_(0.5 * gaussian(*p.shape, seed=seed + i))
    return net


def half_squared(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return 0.5 * ((net(x) - y) ** 2).sum(-1).mean()


def regression(norm: nn.Module, n: int = 12) -> tuple[nn.Module, Tensor, Tensor]:
    return network(norm), gaussian(n, 4, seed=20), gaussian(n, 2, seed=21)


def moved(parameters: list[Tensor], step: Tensor) -> None:
    with torch.no_grad():
        sizes = [p.numel() for p in parameters]
        for p, part in zip(parameters, step.split(sizes), strict=True):
            p.add_(part.reshape(p.shape))


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("norm", NORMS)
def test_products_are_differences_of_gradients(norm: str, mode: str) -> None:
    """Independent: first derivatives only, differenced to fourth order along v."""
    net, x, y = regression(NORMS[norm]())
    if mode == "eval":
        net(x)  # running statistics of their own
        net.eval()
    parameters = list(net.parameters())
    operator = HessianOperator(lambda: half_squared(net, x, y), parameters)
    v = gaussian(operator.dimension, seed=30)
    product = operator @ v

    def gradient(t: float) -> Tensor:
        moved(parameters, t * v)
        parts = torch.autograd.grad(half_squared(net, x, y), parameters)
        moved(parameters, -t * v)
        return torch.cat([part.reshape(-1) for part in parts])

    h = 1e-4
    differences = 8 * (gradient(h) - gradient(-h)) - (gradient(2 * h) - gradient(-2 * h))
    torch.testing.assert_close(product, differences / (12 * h), rtol=1e-7, atol=1e-8)


def test_unequal_batches_weigh_as_they_should() -> None:
    """150 and 50 samples. Weighing the two means equally, as peers do, is far from the truth."""
    net = nn.Linear(4, 2).double()
    scale = torch.cat([torch.ones(150), 5 * torch.ones(50)])[:, None]
    x, y = scale * gaussian(200, 4, seed=1), gaussian(200, 2, seed=2)
    parameters = list(net.parameters())

    def batch(part: slice):
        return lambda: half_squared(net, x[part], y[part])

    first, second = batch(slice(150)), batch(slice(150, None))
    whole = HessianOperator(lambda: half_squared(net, x, y), parameters)
    v = gaussian(whole.dimension, seed=3)
    batched = HessianOperator([(first, 0.75), (second, 0.25)], parameters)
    torch.testing.assert_close(batched @ v, whole @ v, rtol=1e-12, atol=1e-13)
    exact = curvature.hessian_eigenvalues(lambda: half_squared(net, x, y), parameters)
    found = curvature.hessian_eigenvalues([(first, 0.75), (second, 0.25)], parameters)
    assert float(found.eigenvalues[0]) == pytest.approx(float(exact.eigenvalues[0]), rel=1e-6)
    equal = curvature.hessian_eigenvalues([(first, 0.5), (second, 0.5)], parameters)
    assert float(equal.eigenvalues[0]) > 1.5 * float(exact.eigenvalues[0])


def test_one_closure_is_called_once_and_batches_once_a_product() -> None:
    w = torch.ones(2, dtype=torch.float64, requires_grad=True)
    calls: list[int] = []

    def loss() -> Tensor:
        calls.append(1)
        return (w**4).sum()

    for given, expected in ((loss, 1), ([(loss, 1.0)], 1), ([(loss, 0.5), (loss, 0.5)], 6)):
        calls.clear()
        operator = HessianOperator(given, [w])
        for _ in range(3):
            product = operator @ torch.ones(2, dtype=torch.float64)
        assert len(calls) == expected
        assert operator.products == 3
        torch.testing.assert_close(product, torch.full((2,), 12.0, dtype=torch.float64))


def test_absent_and_linear_parameters_have_zero_blocks() -> None:
    used, linear, absent = (torch.ones(2, requires_grad=True) for _ in range(3))
    operator = HessianOperator(lambda: (used**2).sum() + linear.sum(), [used, linear, absent])
    product = operator @ torch.ones(6)
    assert product.tolist() == [2.0, 2.0, 0.0, 0.0, 0.0, 0.0]
    nothing = HessianOperator(linear.sum, [linear, absent])
    assert (nothing @ torch.ones(4)).tolist() == [0.0] * 4


def test_preconditioned_products() -> None:
    w = torch.ones(2, dtype=torch.float64, requires_grad=True)
    p = torch.tensor([4.0, 25.0], dtype=torch.float64)
    operator = HessianOperator(lambda: w[0] ** 2 + w[0] * w[1], [w], preconditioner=[p])
    matrix = torch.stack([operator @ e for e in torch.eye(2, dtype=torch.float64)])
    expected = torch.tensor([[2.0 / 4.0, 1.0 / 10.0], [1.0 / 10.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(matrix, expected)


def every_instrument(loss, parameters: list[Tensor]) -> None:
    curvature.hessian_eigenvalues(loss, parameters, k=2)
    curvature.SharpnessTracker(loss, parameters).update()
    curvature.sharpness_gradient(loss, parameters)
    curvature.spectral_density(loss, parameters, generator=seeded(0), starts=2, width=1.0)


@pytest.mark.parametrize("training", [True, False])
def test_instruments_change_nothing(training: bool) -> None:
    """Not even running statistics, the batch count, gradients or the caller's random state."""
    net, x, y = regression(nn.Sequential(nn.BatchNorm1d(8), nn.Dropout(0.3)))
    net.train(training)
    half_squared(net, x, y).backward()
    state = {name: value.clone() for name, value in net.state_dict().items()}
    gradients = [p.grad.clone() for p in net.parameters()]
    parameters = list(net.parameters())
    versions = [p._version for p in parameters]
    random = torch.random.get_rng_state()
    with torch.no_grad():  # as the probes of a training run are called
        every_instrument(lambda: half_squared(net, x, y), parameters)
    assert torch.equal(torch.random.get_rng_state(), random)
    assert net.training is training
    assert versions == [p._version for p in parameters]
    for name, value in net.state_dict().items():
        assert torch.equal(value, state[name]), name
    for p, gradient in zip(parameters, gradients, strict=True):
        assert torch.equal(p.grad, gradient)
        assert p.requires_grad


def test_random_layers_see_the_same_numbers_in_every_product() -> None:
    """With dropout drawn anew for each product of a batched loss, H would not be symmetric."""
    net, x, y = regression(nn.Dropout(0.5), n=40)
    pairs = [
        (lambda: half_squared(net, x[:30], y[:30]), 0.75),
        (lambda: half_squared(net, x[30:], y[30:]), 0.25),
    ]
    operator = HessianOperator(pairs, net.parameters())
    u, v = (gaussian(operator.dimension, seed=s) for s in (5, 6))
    assert float(u @ (operator @ v)) == pytest.approx(float(v @ (operator @ u)), rel=1e-12)


def test_changed_parameters_are_noticed() -> None:
    w = torch.ones(2, requires_grad=True)
    operator = HessianOperator([(lambda: w.pow(4).sum(), 0.5)] * 2, [w])
    with torch.no_grad():
        w += 1.0
    with pytest.raises(RuntimeError, match="have changed"):
        operator @ torch.ones(2)


def leaf(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.ones(*shape, dtype=dtype, requires_grad=True)


W = leaf(2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: HessianOperator(W.sum, []), "at least one parameter"),
        (lambda: HessianOperator(W.sum, [torch.ones(2)]), "requires a gradient"),
        (lambda: HessianOperator(W.sum, [W, W]), "given twice"),
        (lambda: HessianOperator(W.sum, [W, leaf(2, dtype=torch.float64)]), "one dtype"),
        (lambda: HessianOperator([], [W]), "empty sequence"),
        (lambda: HessianOperator([(W.sum, math.nan)], [W]), "must be finite"),
        (lambda: HessianOperator(lambda: W, [W]), "one real number"),
        (lambda: HessianOperator(lambda: 1.0, [W]), "one real number"),
        (lambda: HessianOperator(lambda: W.detach().sum(), [W]), "does not depend"),
        (lambda: HessianOperator(W.sum, [W]) @ torch.ones(3), "does not fit"),
        (lambda: HessianOperator(W.sum, [W], preconditioner=[]), "one tensor of each"),
        (
            lambda: HessianOperator(W.sum, [W], preconditioner=[torch.zeros(2)]),
            "positive and finite",
        ),
        (
            lambda: HessianOperator(W.sum, [W]).form_gradient(torch.ones(2)),
            "elementary=True",
        ),
    ],
)
def test_refuses_in_a_sentence(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_has_no_hessian(value: float) -> None:
    with pytest.raises(FloatingPointError, match="no Hessian"):
        HessianOperator(lambda: value * W.sum(), [W])


def test_a_product_that_is_not_finite_is_refused() -> None:
    zero = torch.zeros(2, requires_grad=True)
    with pytest.raises(FloatingPointError, match="not finite"):
        curvature.hessian_eigenvalues(lambda: zero.abs().pow(1.5).sum(), [zero])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_device_comes_from_the_parameters(dtype: torch.dtype) -> None:
    net, x, y = regression(nn.LayerNorm(8))
    there = [net.to("cuda", dtype), x.to("cuda", dtype), y.to("cuda", dtype)]
    parameters = list(net.parameters())
    found = curvature.hessian_eigenvalues(lambda: half_squared(*there), parameters, k=2)
    for tensor in (found.eigenvalues, found.bounds, *found.eigenvectors):
        assert tensor.device.type == "cuda"
        assert tensor.dtype == dtype
    every_instrument(lambda: half_squared(*there), parameters)
