"""Linear networks, training and instruments, each against a few plain lines."""

import numpy as np
import pytest
import torch
from torch import nn

from learnmech.practice import linear_probes
from learnmech.practice.data import load, orthonormal
from learnmech.practice.losses import half_squared_loss
from learnmech.practice.networks import DeepLinear, aligned_linear, gaussian_linear
from learnmech.practice.representations import effective_rank
from learnmech.practice.training import gradient_descent


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_random_networks_depend_on_their_generator_only() -> None:
    state = torch.random.get_rng_state()
    nets = [gaussian_linear((3, 4, 2), 0.1, generators=[seeded(k) for k in (5, 6)]) for _ in "ab"]
    torch.testing.assert_close(nets[0].weights[1], nets[1].weights[1], rtol=0, atol=0)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_gaussian_start_has_the_standard_deviation_given() -> None:
    net = gaussian_linear((200, 300, 100), 0.02, generators=[seeded(0)])
    for weight in net.weights:
        assert float(weight.detach().std()) == pytest.approx(0.02, rel=0.02)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_aligned_start_is_balanced(depth: int) -> None:
    u, v = (orthonormal(n, 3, generator=seeded(n)) for n in (5, 6))
    a = torch.tensor([0.3, 0.2, 0.1], dtype=torch.float64)
    net = aligned_linear(u, a, v, widths=[7] * (depth - 1), generator=seeded(0))
    torch.testing.assert_close(linear_probes.product(net), u * a @ v.mT)
    for below, above in zip(net.weights[:-1], net.weights[1:], strict=True):
        torch.testing.assert_close(below @ below.mT, above.mT @ above)
    torch.testing.assert_close(linear_probes.strengths(linear_probes.product(net), u, v), a)


def test_networks_refuse() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        DeepLinear([torch.ones(2, 3), torch.ones(2, 3)])
    with pytest.raises(ValueError, match="at least one weight"):
        DeepLinear([])
    with pytest.raises(ValueError, match="positive std"):
        gaussian_linear((2, 2), 0.0, generators=[seeded(0)])
    eye = torch.eye(2)
    with pytest.raises(ValueError, match="every width"):
        aligned_linear(eye, torch.ones(2), eye, widths=[1], generator=seeded(0))
    with pytest.raises(ValueError, match="orthonormal"):
        aligned_linear(2 * eye, torch.ones(2), eye, widths=[2], generator=seeded(0))


def test_descent_is_descent_on_the_moments() -> None:
    """Independent: gradients of the half squared loss by hand, on Sigma instead of samples."""
    data = load(
        "teacher",
        components=4,
        singular_values=(2.0, 1.0),
        samples=30,
        outputs=3,
        generator=seeded(0),
    )
    sigma = data.moments()[0].numpy()
    net = gaussian_linear((4, 5, 3), 0.2, generators=[seeded(1), seeded(2)])
    a, b = (w.detach().numpy().copy() for w in net.weights)
    run = gradient_descent(
        net,
        data.inputs,
        data.targets,
        learning_rate=0.05,
        steps=40,
        weight_decay=0.1,
        probes={"product": linear_probes.product},
        probe_steps=[0, 7, 40],
    )
    for _ in range(40):
        error = sigma - b @ a
        a, b = (
            a + 0.05 * (b.swapaxes(1, 2) @ error - 0.1 * a),
            b + 0.05 * (error @ a.swapaxes(1, 2) - 0.1 * b),
        )
    np.testing.assert_allclose(run.records["product"][-1], b @ a, atol=1e-13)
    assert run.records["product"].shape == (3, 2, 3, 4)
    assert run.records["loss"].shape == (3, 2)
    np.testing.assert_allclose(run.t, [0.0, 0.35, 2.0])
    assert all(p.grad is None for p in net.parameters())


def test_members_of_an_ensemble_do_not_see_each_other() -> None:
    data = load("hierarchy", generator=seeded(0))
    both = gaussian_linear((8, 6, 12), 0.1, generators=[seeded(1), seeded(2)])
    alone = DeepLinear([w[1] for w in both.weights])
    runs = [
        gradient_descent(
            net,
            data.inputs,
            data.targets,
            learning_rate=0.02,
            steps=50,
            momentum=0.5,
            probes={},
            probe_steps=[50],
        )
        for net in (both, alone)
    ]
    np.testing.assert_allclose(
        runs[0].records["loss"][0, 1], runs[1].records["loss"][0], rtol=1e-12
    )


def test_training_and_probes_leave_mode_and_random_state_alone() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.0)).double().eval()
    x = torch.ones(3, 2, dtype=torch.float64)
    state = torch.random.get_rng_state()
    gradient_descent(model, x, x, learning_rate=0.1, steps=2, probes={}, probe_steps=[0])
    assert not model.training
    assert torch.equal(torch.random.get_rng_state(), state)
    net = DeepLinear([torch.eye(2)])
    net.weights[0].grad = torch.ones(2, 2)
    linear_probes.product(net)
    assert torch.equal(net.weights[0].grad, torch.ones(2, 2))


def test_divergence_names_its_step() -> None:
    net, x = DeepLinear([torch.eye(1)]), torch.full((1, 1), 1e3)
    with pytest.raises(FloatingPointError, match=r"at step \d+; lower the learning rate"):
        gradient_descent(net, x, -x, learning_rate=1.0, steps=99, probes={}, probe_steps=[99])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probe_steps": [3, 1]}, "must increase"),
        ({"probe_steps": [9]}, "at most steps"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"probes": {"loss": lambda m: torch.zeros(1)}}, "another name"),
    ],
)
def test_training_refuses(change: dict, message: str) -> None:
    settings = {"learning_rate": 0.1, "steps": 4, "probes": {}, "probe_steps": [0]} | change
    x = torch.ones(1, 1)
    with pytest.raises(ValueError, match=message):
        gradient_descent(DeepLinear([torch.eye(1)]), x, x, **settings)


def test_instruments() -> None:
    """Independent: overlap and rank of matrices whose singular vectors are the axes."""
    m = torch.diag(torch.tensor([3.0, 1.0, 0.0], dtype=torch.float64))
    axes = torch.eye(3, dtype=torch.float64)
    assert float(linear_probes.subspace_overlap(m, axes[:, :2], axes[:, :2])) == pytest.approx(1)
    assert float(linear_probes.subspace_overlap(m, axes[:, 1:2], axes[:, :1])) == pytest.approx(0.5)
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert float(effective_rank(m)) == pytest.approx(np.exp(entropy))
    assert float(half_squared_loss(m, 2 * m)) == pytest.approx(10 / 6)
