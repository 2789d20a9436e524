"""Training against the plain loop it stands for, bit for bit, and what stops it."""

import copy
import itertools
import pickle
from collections.abc import Iterator

import jaxtyping
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from learnmech.practice.losses import cross_entropy, half_squared_loss
from learnmech.practice.networks import DeepLinear, EnsembleMLP, mlp
from learnmech.practice.training import DivergenceError, gradient_descent, train
from learnmech.practice.training.batches import minibatches

DOUBLE = torch.float64
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "heavy ball": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01),
}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def problem(n: int = 12) -> tuple[nn.Module, Tensor, Tensor]:
    x, y = (torch.randn(n, k, generator=seeded(k), dtype=DOUBLE) for k in (3, 2))
    return mlp((3, 5, 2), activation="tanh", generator=seeded(0)), x, y


def weights(net: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_full_batches_are_the_plain_loop(name: str) -> None:
    net, x, y = problem()
    plain = copy.deepcopy(net)
    run = train(
        net,
        x,
        y,
        optimizer=OPTIMIZERS[name](net.parameters()),
        steps=20,
        probe_steps=[0, 7, 20],
        probes={"weights": weights},
    )
    optimizer = OPTIMIZERS[name](plain.parameters())
    losses, seen = [], []
    for _ in range(21):
        optimizer.zero_grad()
        loss = 0.5 * ((plain(x) - y) ** 2).sum(-1).mean(-1)
        losses.append(loss.item())
        seen.append(weights(plain).numpy())
        loss.backward()
        optimizer.step()
    np.testing.assert_array_equal(run.records["loss"], np.array(losses)[[0, 7, 20]])
    np.testing.assert_array_equal(run.records["weights"], np.array(seen)[[0, 7, 20]])
    lr = optimizer.param_groups[0]["lr"]
    np.testing.assert_array_equal(run.t, np.array([0, 7, 20]) * lr)
    assert run.diverged == {}
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_minibatches_are_the_plain_loop(name: str) -> None:
    """Ten samples in batches of three: three batches an epoch, one sample left out of each."""
    net, x, y = problem(10)
    plain = copy.deepcopy(net)
    run = train(
        net,
        x,
        y,
        optimizer=OPTIMIZERS[name](net.parameters()),
        steps=8,
        probe_steps=[0, 5, 8],
        batch_size=3,
        generator=seeded(4),
    )
    optimizer, g = OPTIMIZERS[name](plain.parameters()), seeded(4)
    batches = [torch.randperm(10, generator=g)[:9].split(3) for _ in range(3)]
    losses = [half_squared_loss(plain(x), y).item()]
    for batch in list(itertools.chain(*batches))[:8]:
        optimizer.zero_grad()
        half_squared_loss(plain(x[batch]), y[batch]).backward()
        optimizer.step()
        losses.append(half_squared_loss(plain(x), y).item())
    np.testing.assert_array_equal(weights(net).numpy(), weights(plain).numpy())
    np.testing.assert_array_equal(run.records["loss"], np.array(losses)[[0, 5, 8]])


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.9}, {"weight_decay": 0.1}])
def test_gradient_descent_is_the_plain_loop_bit_for_bit(settings: dict[str, float]) -> None:
    start, (_, x, y) = (
        DeepLinear([torch.randn(2, 4, 3, generator=seeded(0)) for _ in "a"]),
        problem(),
    )
    x, y = x.float(), y.new_zeros(12, 4).float() + 1.0
    net = copy.deepcopy(start)
    run = gradient_descent(
        net, x, y, learning_rate=0.03, steps=9, probes={}, probe_steps=range(10), **settings
    )
    optimizer = torch.optim.SGD(start.parameters(), lr=0.03, **settings)
    for step in range(10):
        optimizer.zero_grad(set_to_none=True)
        losses = 0.5 * ((start(x) - y) ** 2).sum(-1).mean(-1)
        np.testing.assert_array_equal(run.records["loss"][step], losses.detach().numpy())
        if step < 9:
            losses.sum().backward()
            optimizer.step()
    assert torch.equal(net.weights[0], start.weights[0])
    np.testing.assert_array_equal(run.t, np.arange(10) * 0.03)


def test_parameter_groups_and_frozen_parameters() -> None:
    """Groups keep their learning rates; what no group holds stays; its gradients are dropped."""
    net, x, y = problem()
    groups = [{"params": [net.layer1.weight], "lr": 0.1}, {"params": [net.readout.weight]}]
    start = copy.deepcopy(net)
    half_squared_loss(net(x), y).backward()
    gradient = {name: p.grad.clone() for name, p in net.named_parameters()}
    sgd = torch.optim.SGD(groups, lr=0.2)
    train(net, x, y, optimizer=sgd, steps=1, probe_steps=[1])
    torch.testing.assert_close(
        net.layer1.weight, start.layer1.weight - 0.1 * gradient["layer1.weight"]
    )
    torch.testing.assert_close(
        net.readout.weight, start.readout.weight - 0.2 * gradient["readout.weight"]
    )
    assert torch.equal(net.layer1.bias, start.layer1.bias)
    assert all(p.grad is None for p in net.parameters())


def test_cross_entropy_is_that_of_torch_and_has_members() -> None:
    outputs = 5 * torch.randn(3, 7, 4, generator=seeded(0), dtype=DOUBLE)
    labels = torch.randint(4, (3, 7), generator=seeded(1))
    own = cross_entropy(outputs, labels)
    shared = cross_entropy(outputs, labels[0])
    for e in range(3):
        torch.testing.assert_close(own[e], F.cross_entropy(outputs[e], labels[e]))
        torch.testing.assert_close(shared[e], F.cross_entropy(outputs[e], labels[0]))
    huge = cross_entropy(torch.tensor([[1e4, -1e4]], dtype=DOUBLE), torch.tensor([1]))
    assert float(huge) == 2e4
    torch.autograd.gradgradcheck(
        lambda z: cross_entropy(z, labels[0]), outputs[0].clone().requires_grad_()
    )


def test_losses_of_members_with_their_own_targets() -> None:
    outputs, targets = (torch.randn(3, 5, 2, generator=seeded(s), dtype=DOUBLE) for s in (0, 1))
    own = half_squared_loss(outputs, targets)
    for e in range(3):
        torch.testing.assert_close(own[e], half_squared_loss(outputs[e], targets[e]))


def test_training_with_another_loss() -> None:
    net, x, _ = problem(30)
    labels = (x[:, 0] > 0).long()
    adam = torch.optim.Adam(net.parameters(), lr=0.05)
    run = train(net, x, labels, optimizer=adam, steps=60, probe_steps=[0, 60], loss=cross_entropy)
    assert run.records["loss"][1] < 0.1 * run.records["loss"][0]


@pytest.mark.parametrize("batch_size", [None, 4])
def test_divergence_stops_the_run_at_its_step(batch_size: int | None) -> None:
    """The step is the first whose loss is not finite, as a plain loop finds it."""
    _, x, y = problem(4)
    net, x, y = DeepLinear([torch.ones(5, 3), torch.ones(2, 5)]), x.float(), y.float()
    plain = copy.deepcopy(net)
    with pytest.raises(DivergenceError, match=r"at step \d+; lower the learning rate") as caught:
        train(
            net,
            x,
            y,
            optimizer=torch.optim.SGD(net.parameters(), lr=1.0),
            steps=50,
            probe_steps=[50],
            batch_size=batch_size,
            generator=seeded(0),
        )
    optimizer = torch.optim.SGD(plain.parameters(), lr=1.0)
    losses = [half_squared_loss(plain(x), y)]
    while torch.isfinite(losses[-1]):
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
        losses.append(half_squared_loss(plain(x), y))
    assert 0 < caught.value.step == len(losses) - 1 < 50
    assert isinstance(caught.value, FloatingPointError)


def test_divergence_in_the_very_last_step_is_seen() -> None:
    net, x = DeepLinear([torch.ones(1, 1)]), torch.ones(2, 1)
    sgd = torch.optim.SGD(net.parameters(), lr=1e30)
    with pytest.raises(DivergenceError) as caught:
        train(
            net,
            x,
            -x,
            optimizer=sgd,
            steps=1,
            probe_steps=[0],
            batch_size=1,
            generator=seeded(0),
        )
    assert caught.value.step == 1


def test_training_leaves_mode_and_random_state_alone() -> None:
    _, x, y = problem()
    net = nn.Sequential(mlp((3, 5, 2), generator=seeded(0)), nn.Dropout(0.0)).eval()
    state = torch.random.get_rng_state()
    train(
        net,
        x,
        y,
        optimizer=torch.optim.SGD(net.parameters(), lr=0.1),
        steps=3,
        probe_steps=[0],
        batch_size=4,
        generator=seeded(0),
        probes={"mode": lambda m: torch.tensor(m.training)},
    )
    assert not net.training
    assert torch.equal(torch.random.get_rng_state(), state)


def test_probes_see_no_gradients_and_the_training_goes_on() -> None:
    net, x, y = problem()
    reference = copy.deepcopy(net)
    runs = [
        train(
            model,
            x,
            y,
            optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
            steps=4,
            probe_steps=steps,
            probes={"grad": lambda m: torch.tensor(torch.is_grad_enabled())},
        )
        for model, steps in ((net, [0, 1, 2, 3, 4]), (reference, [4]))
    ]
    assert not runs[0].records["grad"].any()
    assert runs[0].records["loss"][-1] == runs[1].records["loss"][-1]


@pytest.mark.parametrize("layer", [lambda: nn.BatchNorm1d(5), lambda: nn.Dropout(0.5)])
def test_what_is_recorded_between_minibatches_changes_no_run(layer) -> None:
    """Running averages and the random numbers of dropout are those of the minibatches alone."""
    _, x, y = problem()
    ends, states = [], []
    for probe_steps in ([6], range(7)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = nn.Sequential(nn.Linear(3, 5), layer(), nn.Linear(5, 2)).double()
            sgd = torch.optim.SGD(net.parameters(), lr=0.1)
            settings = {"batch_size": 4, "generator": seeded(0), "probe_steps": probe_steps}
            train(net, x, y, optimizer=sgd, steps=6, **settings)
            ends.append(net.state_dict())
            states.append(torch.random.get_rng_state())
    assert torch.equal(*states)
    for one, other in zip(*(end.values() for end in ends), strict=True):
        assert torch.equal(one, other)
    if "1.num_batches_tracked" in ends[0]:
        assert int(ends[0]["1.num_batches_tracked"]) == 6


def test_parameters_of_a_loss_are_trained_too() -> None:
    """Independent: the plain loop; gradients of what the model does not hold must not pile up."""
    net, x, y = problem()
    scale = nn.Parameter(torch.ones((), dtype=DOUBLE))
    plain, own = copy.deepcopy(net), nn.Parameter(torch.ones((), dtype=DOUBLE))
    sgd = torch.optim.SGD([*net.parameters(), scale], lr=0.1)
    settings = {"steps": 5, "probe_steps": [5]}
    train(net, x, y, optimizer=sgd, loss=lambda f, t: half_squared_loss(scale * f, t), **settings)
    optimizer = torch.optim.SGD([*plain.parameters(), own], lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        half_squared_loss(own * plain(x), y).backward()
        optimizer.step()
    assert torch.equal(scale, own)
    assert torch.equal(weights(net), weights(plain))


@pytest.mark.parametrize("batch_size", [None, 4])
def test_training_where_the_caller_has_turned_gradients_off(batch_size: int | None) -> None:
    runs = []
    for enabled in (True, False):
        net, x, y = problem()
        sgd = torch.optim.SGD(net.parameters(), lr=0.1)
        settings = {"batch_size": batch_size, "generator": seeded(0)}
        with torch.set_grad_enabled(enabled):
            run = train(net, x, y, optimizer=sgd, steps=4, probe_steps=[4], **settings)
            assert torch.is_grad_enabled() is enabled
        runs.append(run.records["loss"])
    np.testing.assert_array_equal(*runs)


def test_times_use_the_rates_at_the_start() -> None:
    """Also where the optimizer writes on its own tensor of rates."""
    net, x, y = problem()
    sgd = torch.optim.SGD(net.parameters(), lr=torch.tensor(0.25, dtype=DOUBLE))
    sgd.register_step_post_hook(lambda o, *_: o.param_groups[0]["lr"].mul_(0.5))
    run = train(net, x, y, optimizer=sgd, steps=4, probe_steps=[0, 4])
    np.testing.assert_array_equal(run.t, [0.0, 1.0])


def test_a_divergence_passes_between_processes() -> None:
    error = pickle.loads(pickle.dumps(DivergenceError(7, 0.5)))
    assert error.step == 7
    assert str(error) == str(DivergenceError(7, 0.5))


@pytest.mark.parametrize("bad", [lambda x: x * torch.nan, lambda x: x[:0]])
def test_a_loss_that_is_not_finite_before_any_step_is_no_matter_of_the_rate(bad) -> None:
    net, x, y = problem()
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(DivergenceError, match=r"at step 0; no step was taken yet, so look for"):
        train(net, bad(x), bad(y), optimizer=sgd, steps=1, probe_steps=[1])


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Turn the run-time type checker of the tests off, as users have it."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("outputs", "targets"), [((5, 1), (5,)), ((5, 2), (2,)), ((5, 2), (1, 2)), ((5,), (5,))]
)
def test_squared_loss_broadcasts_no_targets(
    outputs: tuple[int, ...], targets: tuple[int, ...]
) -> None:
    """(n, 1) minus (n,) would be a matrix, and its mean another loss."""
    with pytest.raises(ValueError, match="targets of the same shape"):
        half_squared_loss(torch.ones(outputs), torch.ones(targets))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("labels", [torch.ones(5, 1).long(), torch.ones(1).long()])
def test_cross_entropy_wants_one_label_for_each_sample(labels: Tensor) -> None:
    with pytest.raises(ValueError, match=r"labels classes \(n,\)"):
        cross_entropy(torch.ones(5, 3), labels)


def test_every_epoch_sees_every_sample_once() -> None:
    batches = minibatches(6, 2, seeded(0))
    epochs = [sorted(torch.cat([next(batches) for _ in range(3)]).tolist()) for _ in range(5)]
    assert epochs == [list(range(6))] * 5
    own = minibatches(6, 2, [seeded(3), seeded(4)])
    alone = [minibatches(6, 2, seeded(s)) for s in (3, 4)]
    for _ in range(7):
        assert torch.equal(next(own), torch.stack([next(b) for b in alone]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probe_steps": []}, "must increase"),
        ({"probe_steps": [1, 1]}, "must increase"),
        ({"probe_steps": [5]}, "at most steps=4"),
        ({"probes": {"loss": weights}}, "another name"),
        ({"batch_size": 3}, "minibatches are random; pass generator="),
        ({"batch_size": 13, "generator": seeded(0)}, "between 1 and the 12 samples, not 13"),
        ({"batch_size": 2, "generator": []}, "there must be a generator"),
    ],
)
def test_refuses(change: dict, message: str) -> None:
    net, x, y = problem()
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    settings = {"optimizer": sgd, "steps": 4, "probe_steps": [0]} | change
    with pytest.raises(ValueError, match=message):
        train(net, x, y, **settings)


@pytest.mark.usefixtures("unchecked")
def test_refuses_a_probe_that_returns_a_number() -> None:
    net, x, y = problem()
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    probes = {"bad": lambda _: 1.0}
    with pytest.raises(ValueError, match=r"must return a tensor.*not float"):
        train(net, x, y, optimizer=sgd, steps=1, probe_steps=[1], probes=probes)


def test_refuses_where_nothing_would_be_trained() -> None:
    net, x, y = problem()
    other = torch.optim.SGD(copy.deepcopy(net).parameters(), lr=0.1)
    with pytest.raises(ValueError, match="holds no parameter of this model"):
        train(net, x, y, optimizer=other, steps=1, probe_steps=[1])
    sgd = torch.optim.SGD(net.requires_grad_(False).parameters(), lr=0.1)
    with pytest.raises(ValueError, match="depends on no parameter that requires gradients"):
        train(net, x, y, optimizer=sgd, steps=1, probe_steps=[1])


def test_refuses_an_optimizer_that_needs_a_closure() -> None:
    net, x, y = problem()
    lbfgs = torch.optim.LBFGS(net.parameters())
    with pytest.raises(ValueError, match="L-BFGS"):
        train(net, x, y, optimizer=lbfgs, steps=1, probe_steps=[1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_training_on_a_gpu() -> None:
    g = torch.Generator("cuda").manual_seed(0)
    x, y = (torch.ones(8, k, dtype=DOUBLE, device="cuda") for k in (3, 2))
    for net in (mlp((3, 4, 2), generator=g), EnsembleMLP([mlp((3, 4, 2), generator=g)] * 2)):
        run = train(
            net,
            x,
            y,
            optimizer=torch.optim.Adam(net.parameters(), lr=0.01),
            steps=3,
            probe_steps=[0, 3],
            batch_size=4,
            generator=seeded(0),
        )
        assert np.isfinite(run.records["loss"]).all()
