"""Where a formula and an instrument mean the same thing, they agree, though no wing sees the other.

Each test holds a function of theory against an instrument of practice that was written without it,
so that a convention that differed between the two (a bias, a factor of one half, a mean for a sum)
would show here and not first in a chapter.
"""

import numpy as np
import pytest
import torch

from learnmech.practice import (
    effective_rank,
    empirical_nngp,
    empirical_ntk,
    half_squared_loss,
    mlp,
    parameter_groups,
    reinitialise,
    width_roles,
)
from learnmech.practice.curvature import hessian_eigenvalues
from learnmech.practice.training import gradient_descent
from learnmech.theory import effective_rank as predicted_rank
from learnmech.theory import (
    infinite_kernels,
    kernel_gradient_descent,
    stability_threshold,
    width_exponents,
)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("activation", "weight_std"), [("relu", 2**0.5), ("erf", 1.3)])
def test_wide_networks_have_infinite_ones_kernels(activation: str, weight_std: float) -> None:
    """Means over networks, against the closed form, within four of their standard errors."""
    x = torch.randn(5, 3, generator=seeded(0), dtype=torch.float64)
    stds = {"weight_std": weight_std, "bias_std": 0.4, "readout_weight_std": 0.8}
    nets = [
        mlp(
            (3, 400, 400, 1),
            activation=activation,
            ntk_multipliers=True,
            generator=seeded(s),
            **stds,
        )
        for s in range(30)
    ]
    exact = infinite_kernels(x.numpy(), activation=activation, hidden_layers=2, **stds)
    drawn = np.stack([empirical_ntk(net, x).numpy() for net in nets])
    error = drawn.std(0, ddof=1) / np.sqrt(len(nets))
    # 1/width: the size of the bias of a mean over networks of this width.
    assert np.all(np.abs(drawn.mean(0) - exact.ntk) < 4 * error + 4 / 400 * np.abs(exact.ntk))
    features = np.stack([empirical_nngp(net, x, features="activation2").numpy() for net in nets])
    predicted = (exact.nngp - stds["bias_std"] ** 2) / stds["readout_weight_std"] ** 2
    error = features.std(0, ddof=1) / np.sqrt(len(nets))
    assert np.all(np.abs(features.mean(0) - predicted) < 4 * error + 4 / 400 * np.abs(predicted))


def test_descent_on_a_linear_model_is_kernel_descent() -> None:
    """Same loss, same time: a model that is linear in its parameters has a kernel that rests."""
    generator = seeded(1)
    x = torch.randn(12, 4, generator=generator, dtype=torch.float64)
    y = torch.randn(12, 2, generator=generator, dtype=torch.float64)
    net = torch.nn.Linear(4, 2, bias=False, dtype=torch.float64)
    kernel = empirical_ntk(net, x, outputs="full")[..., 0, 0].numpy()  # the same for both outputs
    start = net(x).detach().numpy()
    predicted = kernel_gradient_descent(
        [0, 1, 7, 50], kernel, y.numpy(), learning_rate=0.1, initial_outputs=start
    )
    run = gradient_descent(
        net,
        x,
        y,
        learning_rate=0.1,
        steps=50,
        probes={"outputs": lambda model: model(x)},
        probe_steps=[0, 1, 7, 50],
    )
    np.testing.assert_allclose(predicted.train_outputs, run.records["outputs"], atol=1e-12)
    np.testing.assert_allclose(predicted.train_loss, run.records["loss"], rtol=1e-12)


def test_descent_is_stable_just_below_the_threshold_and_not_just_above_it() -> None:
    """The sharpness of a quadratic, measured, against the largest stable one, predicted."""
    x = torch.randn(20, 3, generator=seeded(2), dtype=torch.float64)
    y = torch.ones(20, 1, dtype=torch.float64)

    def run(learning_rate: float, momentum: float) -> float:
        net = torch.nn.Linear(3, 1, bias=False, dtype=torch.float64)
        torch.nn.init.zeros_(net.weight)
        done = gradient_descent(
            net,
            x,
            y,
            learning_rate=learning_rate,
            momentum=momentum,
            steps=200,
            probes={},
            probe_steps=[200],
        )
        return float(done.records["loss"][0])

    net = torch.nn.Linear(3, 1, bias=False, dtype=torch.float64)
    top = hessian_eigenvalues(lambda: half_squared_loss(net(x), y), net.parameters(), tol=1e-12)
    for name, momentum in (("gradient descent", 0.0), ("heavy ball", 0.8)):
        one = float(stability_threshold(1.0, optimizer=name, momentum=momentum))
        edge = one / float(top.eigenvalues[0])
        assert run(0.98 * edge, momentum) < 0.5  # the loss at the start
        assert run(1.02 * edge, momentum) > 1e3


def test_the_table_of_theory_is_what_practice_applies() -> None:
    """Standard deviations and rates at twice the base width, read off the table by hand."""

    def net(width: int) -> torch.nn.Sequential:
        return mlp((3, width, width, 2), bias=False, generator=seeded(0))

    wide = net(512)
    roles = width_roles(wide, net(256))
    table = width_exponents("mup", "adam")
    reinitialise(wide, roles, table, base_width=128, generator=seeded(1))
    groups = parameter_groups(wide, roles, table, base_width=128, learning_rate=1.0)
    assert sorted(group["lr"] for group in groups) == [0.25, 0.25, 1.0]
    readout = float(wide.readout.weight.detach().std())
    assert readout == pytest.approx(1 / np.sqrt(128) / 4, rel=5 / np.sqrt(2 * 1024))


def test_both_effective_ranks_are_one_definition() -> None:
    matrices = torch.randn(3, 4, 5, generator=seeded(3), dtype=torch.float64)
    np.testing.assert_allclose(predicted_rank(matrices.numpy()), effective_rank(matrices).numpy())
