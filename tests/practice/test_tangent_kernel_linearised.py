"""The linearised network: a Taylor expansion, exactly linear, that trains as its kernel says."""

from __future__ import annotations

import copy

import pytest
import torch
from per_sample_zoo import EXACT, KNOWN, TOKENS, build, jacobian, normal, seeded
from torch import Tensor, nn

from learnmech.practice.tangent_kernel import Linearised, empirical_ntk

NAMES = [
    "mlp",
    "frozen parts",
    "called twice",
    "convolutions",
    "image norms",
    "sequence norms",
    "by hand",
    "embedding looked up twice",
    "attention",
    "tied linear layers with biases of their own",
]


def case(name: str) -> tuple[nn.Module, Tensor]:
    if name in TOKENS:
        return build(TOKENS[name]), torch.randint(6, (5, 4), generator=seeded(5))
    make, shape, *_ = (KNOWN | EXACT)[name]
    return build(make), normal(1, *shape)


def moved(linear: Linearised, size: float) -> list[Tensor]:
    """Move the parameters at random and return the steps."""
    weights = list(linear.parameters())
    steps = [size * normal(50 + k, *w.shape).to(w.device) for k, w in enumerate(weights)]
    with torch.no_grad():
        for weight, step in zip(weights, steps, strict=True):
            weight.add_(step)
    return steps


@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradients_are_those_of_the_expansion(name: str) -> None:
    """Independent: Jacobians by plain autograd, one sample and output at a time."""
    model, x = case(name)
    linear, before, rows = Linearised(model), model(x).detach(), jacobian(model, x)
    torch.testing.assert_close(linear(x), before)
    steps = dict(zip(linear.names, moved(linear, 0.7), strict=True))
    assert list(steps) == list(rows)
    change = sum(rows[key] @ step.flatten() for key, step in steps.items())
    torch.testing.assert_close(linear(x), before + change.reshape(before.shape))
    towards = normal(9, *before.shape)
    gradients = torch.autograd.grad((linear(x) * towards).sum(), list(linear.parameters()))
    for key, gradient in zip(linear.names, gradients, strict=True):
        expected = torch.einsum("ncp,nc->p", rows[key], towards.reshape(len(x), -1))
        torch.testing.assert_close(gradient.flatten(), expected)


@pytest.mark.parametrize("name", ["mlp", "sequence norms"])
def test_exactly_linear_in_the_parameters(name: str) -> None:
    model, x = case(name)
    linears = [Linearised(model) for _ in range(3)]
    moved(linears[0], 1.0)
    moved(linears[1], -3.0)
    with torch.no_grad():
        for a, b, mixed in zip(*(m.parameters() for m in linears), strict=True):
            mixed.copy_(0.25 * a + 0.75 * b)
    expected = 0.25 * linears[0](x) + 0.75 * linears[1](x)
    torch.testing.assert_close(linears[2](x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "name", ["by hand", "sequence norms", "attention", "embedding looked up twice"]
)
def test_agrees_with_the_network_to_second_order(name: str) -> None:
    """Half the step leaves a quarter of the difference, in a network that is smooth."""
    model, x = case(name)
    gaps = []
    for size in (1e-3, 5e-4):
        linear, trained = Linearised(model), copy.deepcopy(model)
        steps = moved(linear, size)
        with torch.no_grad():
            for p, step in zip(trained.parameters(), steps, strict=True):
                p.add_(step)
            gaps.append(float((trained(x) - linear(x)).norm()))
    assert gaps[0] > 0.0
    assert gaps[0] / gaps[1] == pytest.approx(4.0, rel=0.02)


def test_training_is_kernel_gradient_descent() -> None:
    r"""Independent: f_t = y + (1 - eta Theta / n)^t (f_0 - y), for 1/2 mean_n |y_n - f_n|^2."""
    model, x = case("by hand")
    y = normal(7, 5, 2)
    kernel = empirical_ntk(model, x, outputs="full").permute(0, 2, 1, 3).reshape(10, 10)
    rate = float(1.0 / torch.linalg.eigvalsh(kernel).max() * len(x))
    linear, start = Linearised(model), model(x).detach()
    optimizer = torch.optim.SGD(linear.parameters(), lr=rate)
    for _ in range(40):
        optimizer.zero_grad()
        (0.5 * ((linear(x) - y) ** 2).sum(1).mean()).backward()
        optimizer.step()
    decay = torch.linalg.matrix_power(torch.eye(10, dtype=x.dtype) - rate / len(x) * kernel, 40)
    expected = y + (decay @ (start - y).flatten()).reshape(5, 2)
    torch.testing.assert_close(linear(x).detach(), expected, rtol=1e-10, atol=1e-10)
    assert float((linear(x) - start).detach().abs().max()) > 0.1  # it has moved


def test_kernel_stays_that_of_the_network_wherever_the_parameters_are() -> None:
    model, x = case("mlp")
    linear = Linearised(model)
    moved(linear, 2.0)
    torch.testing.assert_close(empirical_ntk(linear, x), empirical_ntk(model, x))


def test_the_network_and_the_expansion_leave_each_other_alone() -> None:
    model, x = case("image norms")
    linear, start = Linearised(model), model(x).detach()
    assert all(p.grad is None for p in model.parameters())
    linear(x).sum().backward()
    assert all(p.grad is None for p in model.parameters())
    assert all(p.grad is not None for p in linear.parameters())
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            tensor.mul_(2)
    torch.testing.assert_close(linear(x), start)
    assert sum(p.numel() for p in linear.parameters()) == sum(p.numel() for p in model.parameters())


def test_moves_and_is_stored_like_any_module() -> None:
    model, x = case("frozen parts")
    linear = Linearised(model)
    moved(linear, 0.1)
    other = Linearised(build(KNOWN["frozen parts"][0], seed=3))
    other.load_state_dict(linear.state_dict())
    assert torch.equal(other(x), linear(x))
    single = copy.deepcopy(linear).float()
    assert single(x.float()).dtype == torch.float32
    torch.testing.assert_close(single(x.float()).double(), linear(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), "couples its samples"),
        (nn.Sequential(nn.Linear(4, 4), nn.Dropout()), "is random in training"),
        (nn.ReLU(), "no parameter"),
    ],
)
def test_refuses(model: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Linearised(model)


def test_refuses_more_than_one_output() -> None:
    """Two tuples would be strung together by their sum."""
    with pytest.raises(ValueError, match="must return one tensor to be made linear, not tuple"):
        Linearised(nn.RNN(4, 2))(torch.ones(3, 4))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_device_comes_from_the_model() -> None:
    model, x = case("convolutions")
    expected = Linearised(model)(x)
    linear = Linearised(model.cuda())
    moved(linear, 0.0)
    torch.testing.assert_close(linear(x.cuda()).cpu(), expected)
