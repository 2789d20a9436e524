"""Single neurons of wide networks: their kernels, their movement, and the layers' parts."""

import numpy as np
import pytest
import torch

from learnmech.practice import empirical_ntk, empirical_ntk_per_parameter, mlp
from learnmech.theory import (
    LazyNeurons,
    draw_neurons,
    infinite_kernels,
    kernel_distance_constant,
    kernel_gradient_descent,
    kernel_movement,
    move_neurons,
    neuron_kernel,
    tangent_kernel_parts,
    weight_movement,
)

RNG = np.random.default_rng(3)
X = RNG.normal(size=(6, 4))
Y = RNG.normal(size=6)
BOTH = pytest.mark.parametrize("activation", ["erf", "relu"])


def _network(neurons):
    """The network that consists of these neurons, for autograd."""
    width, inputs = neurons.weights.shape
    net = mlp(
        (inputs, width, 1), activation=neurons.activation, bias=False, ntk_multipliers=True,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    with torch.no_grad():
        net.layer1.weight.copy_(torch.as_tensor(neurons.weights))
        net.readout.weight.copy_(torch.as_tensor(neurons.readout[None]))
    return net


def _kernel_of(net):
    return empirical_ntk(net, torch.as_tensor(X)).detach().numpy()


def _limit(activation):
    return infinite_kernels(
        X, activation=activation, hidden_layers=1, weight_std=1.0, bias_std=0.0
    ).ntk


@BOTH
def test_the_mean_over_neurons_is_the_kernel_that_autograd_finds(activation):
    """Autograd knows nothing of neurons: it differentiates the whole network."""
    neurons = draw_neurons(7, 4, activation=activation, rng=np.random.default_rng(0))
    np.testing.assert_allclose(neuron_kernel(neurons, X), _kernel_of(_network(neurons)), rtol=1e-12)


@BOTH
def test_many_neurons_have_the_kernel_of_infinite_width(activation):
    neurons = draw_neurons(100_000, 4, activation=activation, rng=np.random.default_rng(0))
    distance = np.linalg.norm(neuron_kernel(neurons, X) - _limit(activation))
    assert distance < 0.015 * np.linalg.norm(_limit(activation))


@BOTH
def test_neurons_moved_alone_in_the_networks_own_error_are_the_network_that_was_trained(activation):
    """With the true errors the neurons are not approximate: gradient descent couples them so."""
    neurons = draw_neurons(9, 4, activation=activation, rng=np.random.default_rng(1))
    net, rate, errors = _network(neurons), 0.3, []
    x, y = torch.as_tensor(X), torch.as_tensor(Y)[:, None]
    optimiser = torch.optim.SGD(net.parameters(), lr=rate)
    for _ in range(5):
        optimiser.zero_grad()
        left = y - net(x)
        errors.append(left.detach().numpy()[:, 0])
        (0.5 * (left**2).mean()).backward()
        optimiser.step()
    moved = move_neurons(neurons, X, np.array(errors), width=9, learning_rate=rate)
    np.testing.assert_allclose(moved.weights, net.layer1.weight.detach().numpy(), atol=1e-13)
    np.testing.assert_allclose(moved.readout, net.readout.weight.detach().numpy()[0], atol=1e-13)


@BOTH
def test_the_distance_constant_is_that_of_kernels_written_out(activation):
    neurons = draw_neurons(400, 4, activation=activation, rng=np.random.default_rng(2))
    each = [
        neuron_kernel(LazyNeurons(w[None], a[None], activation), X)
        for w, a in zip(neurons.weights, neurons.readout, strict=True)
    ]
    limit = _limit(activation)
    expected = np.mean([np.sum(k**2) for k in each]) / np.sum(limit**2) - 1.0
    found, error = kernel_distance_constant(neurons, X, limit)
    assert found == pytest.approx(expected, rel=1e-12)
    assert 0 < error < found


@BOTH
def test_drawn_networks_are_as_far_from_the_limit_as_the_constant_says(activation):
    rng, limit, width = np.random.default_rng(4), _limit(activation), 50
    many = draw_neurons(20_000, 4, activation=activation, rng=rng)
    constant, error = kernel_distance_constant(many, X, limit)
    few = [draw_neurons(width, 4, activation=activation, rng=rng) for _ in range(400)]
    squares = [np.sum((neuron_kernel(neurons, X) - limit) ** 2) for neurons in few]
    found = width * np.mean(squares) / np.sum(limit**2)
    noise = width * np.std(squares) / np.sum(limit**2) / 20
    assert abs(found - constant) < 4 * np.hypot(noise, error)


def _errors(activation, steps=15):
    kernel = _limit(activation)
    rate = 6 / np.linalg.eigvalsh(kernel)[-1]
    path = kernel_gradient_descent(np.arange(steps), kernel, Y, learning_rate=rate)
    return Y - path.train_outputs, rate


@BOTH
def test_the_movement_is_that_of_kernels_written_out(activation):
    neurons = draw_neurons(150, 4, activation=activation, rng=np.random.default_rng(5))
    errors, rate = _errors(activation)
    limit, width = _limit(activation), 40
    found = kernel_movement(neurons, X, errors, limit, width=width, learning_rate=rate)
    changes = []
    for w, a in zip(neurons.weights, neurons.readout, strict=True):
        for sign in (1.0, -1.0):
            one = LazyNeurons(w[None], np.array([sign * a]), activation)
            moved = move_neurons(one, X, errors, width=width, learning_rate=rate)
            changes.append(neuron_kernel(moved, X) - neuron_kernel(one, X))
    pairs = np.array(changes).reshape(150, 2, 6, 6)
    mean = pairs.mean((0, 1))
    own = np.mean(np.sum(pairs.mean(1) ** 2, axis=(1, 2)))
    shared = np.sum(mean**2) - (own - np.sum(mean**2)) / 149
    spread = (np.mean(np.sum(pairs**2, axis=(2, 3))) - shared) / width
    total = np.sum(limit**2)
    assert found.mean == pytest.approx(np.sqrt(shared / total), rel=1e-9)
    assert found.spread == pytest.approx(np.sqrt(spread / total), rel=1e-9)
    assert found.size == pytest.approx(np.hypot(found.mean, found.spread), rel=1e-12)


def _sizes(activation, widths, **options):
    neurons = draw_neurons(40_000, 4, activation=activation, rng=np.random.default_rng(6))
    errors, rate = _errors(activation)
    return [
        kernel_movement(
            neurons, X, errors, _limit(activation), width=n, learning_rate=rate, **options
        )
        for n in widths
    ]


def test_a_smooth_kernel_moves_by_one_over_the_width():
    near, far = _sizes("erf", [1e4, 1e6])
    assert near.size / far.size == pytest.approx(100, rel=0.02)


def test_gates_flip_by_the_root_of_the_width_and_slow_the_fall_of_relu():
    """Where so few gates flip that what moves besides them is small, but enough to be counted."""
    near, far = _sizes("relu", [1e3, 1e5])
    assert near.crossed / far.crossed == pytest.approx(10, rel=0.1)
    assert np.log(near.spread / far.spread) / np.log(1e2) == pytest.approx(0.75, abs=0.08)


def test_a_multiplier_moves_neurons_as_if_there_were_more_of_them():
    (multiplied,) = _sizes("erf", [100], multiplier=3.0)
    (wider,) = _sizes("erf", [900])
    assert multiplied.mean == pytest.approx(wider.mean, rel=1e-12)
    assert multiplied.spread == pytest.approx(3 * wider.spread, rel=1e-9)


@pytest.mark.parametrize("activation", ["erf", "relu", "linear"])
@pytest.mark.parametrize("layers", [0, 1, 3])
def test_the_parts_of_the_layers_sum_to_the_tangent_kernel(activation, layers):
    common = {"activation": activation, "hidden_layers": layers, "weight_std": 1.3}
    parts = tangent_kernel_parts(X, readout_weight_std=0.7, **common)
    whole = infinite_kernels(X, bias_std=0.0, readout_weight_std=0.7, **common).ntk
    assert parts.shape == (layers + 1, 6, 6)
    np.testing.assert_allclose(parts.sum(0), whole, atol=1e-7 * np.abs(whole).max())


@BOTH
def test_a_wide_network_has_these_parts(activation):
    """Autograd splits the kernel by parameters; the mean over networks comes close to the limit."""
    found = np.zeros((3, 6, 6))
    for seed in range(10):
        net = mlp(
            (4, 800, 800, 1), activation=activation, bias=False, ntk_multipliers=True,
            generator=torch.Generator().manual_seed(seed),
        )  # fmt: skip
        own = empirical_ntk_per_parameter(net, torch.as_tensor(X))
        found += np.stack([part.numpy() for part in own.values()]) / 10
    parts = tangent_kernel_parts(X, activation=activation, hidden_layers=2, weight_std=1.0)
    for part, mean in zip(parts, found, strict=True):
        assert np.linalg.norm(mean - part) < 0.04 * np.linalg.norm(part)


def test_weights_of_a_linear_model_move_exactly_so():
    """For features the formula is exact, and gradient descent is written out here."""
    features = [RNG.normal(size=(6, 3)), RNG.normal(size=(6, 5))]
    parts = np.array([f @ f.T for f in features])
    rate, weights = 0.2, [np.zeros(3), np.zeros(5)]
    for _ in range(7):
        left = Y - sum(f @ w for f, w in zip(features, weights, strict=True))
        weights = [w + rate / 6 * f.T @ left for f, w in zip(features, weights, strict=True)]
    found = weight_movement(parts, Y, steps=7, learning_rate=rate)
    np.testing.assert_allclose(found, [np.linalg.norm(w) for w in weights], rtol=1e-10)


def test_settings_that_cannot_be_met_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="activation must be one of"):
        draw_neurons(5, 3, activation="tanh", rng=rng)
    with pytest.raises(ValueError, match="one or more"):
        draw_neurons(0, 3, activation="erf", rng=rng)
    neurons = draw_neurons(150, 4, activation="erf", rng=rng)
    with pytest.raises(ValueError, match=r"inputs must be \(m, 4\)"):
        neuron_kernel(neurons, X[:, :3])
    with pytest.raises(ValueError, match="NaN or infinity"):
        neuron_kernel(neurons, X * np.nan)
    with pytest.raises(ValueError, match="not the mean over these neurons"):
        kernel_distance_constant(neurons, X, 3.0 * _limit("erf"))
    with pytest.raises(ValueError, match="errors must be finite"):
        move_neurons(neurons, X, np.ones((2, 5)), width=10, learning_rate=1.0)
    with pytest.raises(ValueError, match="must be positive"):
        move_neurons(neurons, X, np.ones((2, 6)), width=0, learning_rate=1.0)
    with pytest.raises(ValueError, match="multiplier must be positive"):
        kernel_movement(
            neurons, X, np.ones((1, 6)), _limit("erf"), width=9, learning_rate=1.0, multiplier=0.0
        )
    with pytest.raises(ValueError, match=r"parts must be \(L\+1, m, m\)"):
        weight_movement(np.ones((2, 3, 3)), Y, steps=1, learning_rate=0.1)
