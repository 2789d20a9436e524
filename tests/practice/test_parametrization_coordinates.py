"""The coordinate check: its slopes against theory's, and on networks whose slopes are known."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from learnmech.practice.networks import mlp
from learnmech.practice.parametrization import parameter_groups, reinitialise, width_roles
from learnmech.practice.training import CoordinateCheck, coordinate_check
from learnmech.theory.parametrizations import coordinate_slopes, width_exponents

DOUBLE = torch.float64
WIDE_END = (1024, 2048)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(width: int) -> nn.Sequential:
    return mlp((16, width, width, 3), activation="tanh", generator=seeded(0))


def check(name: str, optimizer: str, seeds: int = 6) -> CoordinateCheck:
    table = width_exponents(name, optimizer)

    def make(width: int, generator: torch.Generator) -> tuple[nn.Module, torch.optim.Optimizer]:
        net = build(width)
        roles = width_roles(net, build(8))
        reinitialise(net, roles, table, base_width=64, generator=generator)
        rate = 1e-3 if optimizer == "sgd" else 1e-6
        settings = {"base_width": 64, "learning_rate": rate, "eps": 1e-12}
        groups = parameter_groups(net, roles, table, **settings)
        return net, (torch.optim.SGD if optimizer == "sgd" else torch.optim.Adam)(groups)

    x, y = (torch.randn(24, k, generator=seeded(k), dtype=DOUBLE) for k in (16, 3))
    return coordinate_check(make, WIDE_END, x, y, generators=[seeded(s) for s in range(seeds)])


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", ["standard", "mup"])
def test_local_slopes_at_the_wide_end_are_the_predicted_ones(name: str, optimizer: str) -> None:
    """Within three standard errors over seeds, and no other allowance.

    At these widths the terms that the calculus leaves out, smaller by the root of the width, are
    below the standard errors; over 64 to 256 they are not. The errors must be small enough to
    tell the two parametrisations apart, whose slopes are at least 1/2 apart for each layer that
    differs.
    """
    measured = check(name, optimizer)
    assert measured.layers == ("layer1", "layer2", "readout")
    slope, error = measured.local_slope[:, -1], measured.local_slope_error[:, -1]
    predicted = coordinate_slopes(width_exponents(name, optimizer))
    assert np.all(error < 0.17)
    np.testing.assert_array_less(np.abs(slope - predicted), 3 * error)


class Doubled(nn.Module):
    """A layer whose one parameter moves all outputs by known amounts."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(1, width, bias=False, dtype=DOUBLE)
        self.again = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.again(self.again(self.first(x)))


def pushed(power: float):
    """Networks whose every output moves by exactly width^power."""

    def make(width: int, _: torch.Generator) -> tuple[nn.Module, torch.optim.Optimizer]:
        net = nn.Sequential(nn.Linear(1, width, bias=False, dtype=DOUBLE))
        return net, torch.optim.SGD(net.parameters(), lr=float(width) ** (power + 1.0))

    return make


def settings(**change) -> dict:
    x = torch.ones(2, 1, dtype=DOUBLE)
    return {
        "widths": [2, 8, 32],
        "inputs": x,
        "targets": x,
        "generators": [seeded(0), seeded(1)],
        "loss": lambda outputs, targets: (outputs - targets).mean(),
    } | change


@pytest.mark.parametrize("power", [-0.5, 0.0, 1.25])
def test_known_slopes(power: float) -> None:
    measured = coordinate_check(pushed(power), **settings(steps=3))
    np.testing.assert_allclose(measured.slope, [power], atol=1e-12)
    np.testing.assert_allclose(measured.local_slope, [[power, power]], atol=1e-12)
    np.testing.assert_allclose(measured.slope_error, 0.0, atol=1e-12)
    expected = 3 * np.array([2.0, 8.0, 32.0]) ** power
    np.testing.assert_allclose(measured.changes, np.tile(expected, (1, 2, 1)), rtol=1e-12)


def test_standard_errors_are_those_over_seeds() -> None:
    """Independent: slopes of each seed by hand."""

    def make(width: int, generator: torch.Generator) -> tuple[nn.Module, torch.optim.Optimizer]:
        net, _ = pushed(0.0)(width, generator)
        jitter = float(torch.rand(1, generator=generator) + 0.5)
        return net, torch.optim.SGD(net.parameters(), lr=width * jitter)

    measured = coordinate_check(make, **settings(generators=[seeded(s) for s in range(5)]))
    slopes = np.diff(np.log(measured.changes[0]), axis=1) / np.log(4.0)
    np.testing.assert_allclose(measured.local_slope[0], slopes.mean(0))
    np.testing.assert_allclose(
        measured.local_slope_error[0], np.sqrt(slopes.var(0, ddof=1) / 5), rtol=1e-12
    )
    assert measured.slope_error[0] > 0.0


def test_layers_can_be_named_and_hooks_are_gone() -> None:
    nets = []

    def make(width: int, generator: torch.Generator) -> tuple[nn.Module, torch.optim.Optimizer]:
        net = mlp((1, width, 1), generator=generator)
        nets.append(net)
        return net, torch.optim.SGD(net.parameters(), lr=0.01)

    names = ["activation1", ""]
    measured = coordinate_check(make, **settings(layers=names))
    assert measured.layers == ("activation1", "")
    assert not any(m._forward_hooks for net in nets for m in net.modules())
    state = torch.random.get_rng_state()
    coordinate_check(make, **settings())
    assert torch.equal(torch.random.get_rng_state(), state)


def doubled(width: int, _: torch.Generator) -> tuple[nn.Module, torch.optim.Optimizer]:
    net = Doubled(width)
    return net, torch.optim.SGD(net.parameters(), lr=0.1)


def idle(width: int, _: torch.Generator) -> tuple[nn.Module, torch.optim.Optimizer]:
    net = nn.Linear(1, width, dtype=DOUBLE)
    return net, torch.optim.SGD(net.parameters(), lr=0.0)


@pytest.mark.parametrize(
    ("make", "change", "message"),
    [
        (pushed(0.0), {"widths": [4]}, "at least two increasing widths"),
        (pushed(0.0), {"widths": [8, 4]}, "increasing"),
        (pushed(0.0), {"generators": [seeded(0)]}, "two generators"),
        (pushed(0.0), {"steps": 0}, "one step"),
        (pushed(0.0), {"layers": ["1"]}, r"no layer is called \['1'\]"),
        (doubled, {"layers": ["again"]}, "not called exactly once"),
        (idle, {}, "did not move"),
    ],
)
def test_refuses(make, change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        coordinate_check(make, **settings(**change))


def test_a_layer_without_one_tensor_is_refused() -> None:
    def make(width: int, _: torch.Generator) -> tuple[nn.Module, torch.optim.Optimizer]:
        net = nn.GRU(1, width, dtype=DOUBLE)
        return net, torch.optim.SGD(net.parameters(), lr=0.1)

    with pytest.raises(ValueError, match="returns no single tensor"):
        coordinate_check(make, **settings(loss=lambda outputs, _: outputs[0].mean()))


def test_divergence_is_passed_on() -> None:
    def make(width: int, generator: torch.Generator) -> tuple[nn.Module, torch.optim.Optimizer]:
        net = mlp((1, width, 1), activation="linear", generator=generator)
        return net, torch.optim.SGD(net.parameters(), lr=1e200)

    with pytest.raises(FloatingPointError, match="diverged"):
        coordinate_check(
            make, **settings(steps=3, loss=lambda outputs, y: ((outputs - y) ** 2).mean())
        )
