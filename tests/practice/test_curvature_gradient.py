"""The gradient of the sharpness, through every normalisation layer; and Adam's preconditioner."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from learnmech.practice import curvature
from learnmech.practice.curvature import sharpness_gradient

NORMS = {
    "none": nn.Identity,
    "layer": lambda: nn.LayerNorm(8),
    "layer without weights": lambda: nn.LayerNorm(8, elementwise_affine=False),
    "batch": lambda: nn.BatchNorm1d(8),
    "batch without statistics": lambda: nn.BatchNorm1d(8, affine=False, track_running_stats=False),
    "instance": lambda: nn.Sequential(
        nn.Unflatten(1, (2, 4)), nn.InstanceNorm1d(2, affine=True), nn.Flatten()
    ),
    "group": lambda: nn.GroupNorm(2, 8),
    "rms": lambda: nn.RMSNorm(8),
}


def gaussian(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(norm: nn.Module) -> nn.Module:
    net = nn.Sequential(nn.Linear(3, 8), norm, nn.Tanh(), nn.Linear(8, 2)).double()
    with torch.no_grad():
        for i, p in enumerate(net.parameters()):
            p.copy_(0.7 * gaussian(*p.shape, seed=i))
    return net


def half_squared(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return 0.5 * ((net(x) - y) ** 2).sum(-1).mean()


def moved(parameters: list[Tensor], step: Tensor) -> None:
    with torch.no_grad():
        sizes = [p.numel() for p in parameters]
        for p, part in zip(parameters, step.split(sizes), strict=True):
            p.add_(part.reshape(p.shape))


def flat(parts: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([part.reshape(-1) for part in parts])


def dense_sharpness(loss, parameters: list[Tensor]) -> float:
    """The largest eigenvalue of the dense Hessian: second derivatives and LAPACK only."""
    gradient = flat(torch.autograd.grad(loss(), parameters, create_graph=True))
    rows = [
        flat(torch.autograd.grad(g, parameters, retain_graph=True, materialize_grads=True))
        for g in gradient
    ]
    return float(torch.linalg.eigvalsh(torch.stack(rows))[-1])


def difference(loss, parameters: list[Tensor], direction: Tensor, h: float) -> float:
    """Derivative of the dense sharpness along a direction, to fourth order in h."""

    def at(t: float) -> float:
        moved(parameters, t * direction)
        value = dense_sharpness(loss, parameters)
        moved(parameters, -t * direction)
        return value

    return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("norm", NORMS)
def test_gradient_is_the_difference_of_sharpnesses(norm: str, mode: str) -> None:
    """Independent: the sharpness itself at moved parameters, without any third derivative."""
    net = network(NORMS[norm]())
    x, y = gaussian(9, 3, seed=20), gaussian(9, 2, seed=21)
    if mode == "eval":
        net(x)
        net.eval()
    parameters = list(net.parameters())

    def loss() -> Tensor:
        return half_squared(net, x, y)

    found = sharpness_gradient(loss, parameters, tol=1e-9)
    assert float(found.sharpness) == pytest.approx(dense_sharpness(loss, parameters), rel=1e-12)
    assert found.angle <= 1e-9
    gradient = flat(found.gradient)
    for direction in (gradient / gradient.norm(), gaussian(len(gradient), seed=30)):
        expected = difference(loss, parameters, direction, 1e-4)
        assert float(gradient @ direction) == pytest.approx(expected, rel=1e-6)


def fused_form_gradient(loss, parameters: list[Tensor], u: tuple[Tensor, ...]) -> Tensor:
    """What three plain reverse sweeps through the fused layers give."""
    gradient = torch.autograd.grad(loss(), parameters, create_graph=True)
    product = torch.autograd.grad(gradient, parameters, u, create_graph=True)
    form = sum((h * v).sum() for h, v in zip(product, u, strict=True))
    return flat(torch.autograd.grad(form, parameters, materialize_grads=True))


@pytest.mark.parametrize(("norm", "right"), [("layer", False), ("batch", False), ("rms", True)])
def test_fused_layers_are_wrong_at_third_order(norm: str, right: bool) -> None:
    """Why the layers are replaced. If a newer PyTorch fails this, the replacement may go."""
    net = network(NORMS[norm]())
    x, y = gaussian(9, 3, seed=20), gaussian(9, 2, seed=21)
    parameters = list(net.parameters())

    def loss() -> Tensor:
        return half_squared(net, x, y)

    found = sharpness_gradient(loss, parameters)
    fused = fused_form_gradient(loss, parameters, found.eigenvector)
    error = float((fused - flat(found.gradient)).norm() / flat(found.gradient).norm())
    assert (error < 1e-9) is right
    assert right or error > 1e-3


def test_replaced_layers_compute_the_same() -> None:
    """Also in two dimensions, with statistics, several normalised axes and no batch statistics."""
    image = gaussian(3, 4, 5, 6, seed=1)
    layers = [
        nn.LayerNorm((5, 6)),
        nn.GroupNorm(2, 4),
        nn.RMSNorm((5, 6)),
        nn.RMSNorm(6, eps=1e-3),
        nn.BatchNorm2d(4),
        nn.BatchNorm2d(4).eval(),
        nn.BatchNorm2d(4, track_running_stats=False).eval(),
        nn.InstanceNorm2d(4, affine=True),
        nn.InstanceNorm2d(4, affine=True, track_running_stats=True).eval(),
    ]
    for layer in layers:
        layer.double()
        for i, (name, value) in enumerate(layer.state_dict().items()):
            if value.is_floating_point():
                value.copy_(gaussian(*value.shape, seed=i).exp() if "var" in name else value)
        offset = torch.zeros((), dtype=torch.float64, requires_grad=True)
        seen = []

        def loss(layer=layer, offset=offset, seen=seen) -> Tensor:
            seen.append(layer(image + offset))
            return (seen[-1] ** 2).sum()

        curvature.HessianOperator(loss, [offset], elementary=True)
        torch.testing.assert_close(seen[0], layer(image + offset), rtol=1e-10, atol=1e-12)


def test_cross_entropy_and_batches() -> None:
    net = network(nn.LayerNorm(8))
    x = gaussian(12, 3, seed=20)
    labels = torch.arange(12) % 2
    parameters = list(net.parameters())

    def part(rows: slice):
        return lambda: functional.cross_entropy(net(x[rows]), labels[rows])

    whole = sharpness_gradient(part(slice(None)), parameters, tol=1e-9)
    pairs = [(part(slice(9)), 0.75), (part(slice(9, None)), 0.25)]
    batched = sharpness_gradient(pairs, parameters, tol=1e-9)
    torch.testing.assert_close(flat(batched.gradient), flat(whole.gradient), rtol=0, atol=1e-8)
    gradient = flat(whole.gradient)
    expected = difference(part(slice(None)), parameters, gradient / gradient.norm(), 1e-3)
    assert float(gradient.norm()) == pytest.approx(expected, rel=1e-6)


def test_quadratic_and_absent_parameters_have_no_gradient() -> None:
    w, absent = (torch.ones(2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    found = sharpness_gradient(lambda: w[0] ** 2 + 3 * w[1] ** 2, [w, absent])
    assert float(found.sharpness) == pytest.approx(6.0)
    assert found.gap == pytest.approx(4.0)
    assert all(bool((part == 0).all()) for part in found.gradient)
    lone = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    single = sharpness_gradient(lambda: lone**3, [lone])
    assert float(single.gradient[0]) == pytest.approx(6.0)
    assert single.gap == float("inf")


def test_a_repeated_eigenvalue_has_no_gradient() -> None:
    w = torch.ones(5, dtype=torch.float64, requires_grad=True)
    with pytest.raises(curvature.ConvergenceError, match="no gradient"):
        sharpness_gradient(lambda: w.pow(4).sum(), [w])


def test_a_fused_layer_that_cannot_be_replaced_is_refused() -> None:
    w = torch.ones(4, dtype=torch.float64, requires_grad=True)
    x = gaussian(3, 4, seed=0)
    with pytest.raises(RuntimeError, match=r"use the torch\.nn layer"):
        sharpness_gradient(lambda: torch.layer_norm(x * w, (4,)).pow(4).sum(), [w])


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_adam_steps_by_its_preconditioner(kind, amsgrad: bool) -> None:
    """Independent: one more step of the optimiser moves by -eta m / P, m as it is stored."""
    net = network(nn.Identity())
    parameters = list(net.parameters())
    groups = [{"params": parameters[:2], "betas": (0.5, 0.9)}, {"params": parameters[2:]}]
    optimizer = kind(groups, lr=0.01, eps=1e-3, weight_decay=0.0, amsgrad=amsgrad)
    x, y = gaussian(9, 3, seed=20), gaussian(9, 2, seed=21)
    for _ in range(3):
        before = [p.detach().clone() for p in parameters]
        optimizer.zero_grad()
        half_squared(net, x, y).backward()
        optimizer.step()
    found = curvature.adam_preconditioner(optimizer, reversed(parameters))
    for p, start, diagonal in zip(parameters, before, reversed(found), strict=True):
        step = -0.01 * optimizer.state[p]["exp_avg"] / diagonal
        torch.testing.assert_close(p.detach() - start, step, rtol=1e-9, atol=1e-15)


def test_adam_preconditioner_needs_a_step() -> None:
    w, other = (torch.ones(1, requires_grad=True) for _ in range(2))
    optimizer = torch.optim.Adam([w])
    for parameter in (w, other):
        with pytest.raises(ValueError, match="stepped once"):
            curvature.adam_preconditioner(optimizer, [parameter])


def test_preconditioned_sharpness_decides_on_stability() -> None:
    """Adam with a frozen preconditioner on a quadratic: stable below (2 + 2 b)/((1 - b) eta).

    Independent: the iteration theta - eta m / P itself, run on either side of the threshold.
    """
    spectrum = torch.tensor([5.0, 1.0, 0.2], dtype=torch.float64)
    w = torch.ones(3, dtype=torch.float64, requires_grad=True)
    p = torch.tensor([2.0, 0.1, 1.0], dtype=torch.float64)
    found = curvature.hessian_eigenvalues(
        lambda: 0.5 * spectrum @ w**2, [w], preconditioner=[p], tol=1e-9
    )
    assert float(found.eigenvalues[0]) == pytest.approx(10.0)
    beta = 0.9
    threshold = (2 + 2 * beta) / ((1 - beta) * 10.0)
    for factor, stable in ((0.99, True), (1.01, False)):
        theta, m = torch.ones(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
        for _ in range(2000):
            m = beta * m + (1 - beta) * spectrum * theta
            theta = theta - factor * threshold * m / p
        assert (float(theta.abs().max()) < 1.0) is stable
