"""The kernel of the last hidden features: by hand, at great width, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from per_sample_zoo import KNOWN, Apply, build, normal, seeded
from torch import Tensor, nn

from learnmech.practice.tangent_kernel import empirical_nngp


def test_last_features_by_hand() -> None:
    model, x1, x2 = build(KNOWN["mlp"][0]), normal(1, 5, 4), normal(2, 3, 4)
    one, other = (torch.relu(x @ model[0].weight.mT + model[0].bias) for x in (x1, x2))
    torch.testing.assert_close(empirical_nngp(model, x1, x2), (one @ other.mT).detach() / 6)
    kernel = empirical_nngp(model, x1)
    assert torch.equal(kernel, kernel.mT)
    torch.testing.assert_close(kernel, (one @ one.mT).detach() / 6)
    for chunk_size in (1, 2, 7):
        torch.testing.assert_close(empirical_nngp(model, x1, chunk_size=chunk_size), kernel)


def test_features_by_name() -> None:
    model, x = build(KNOWN["image norms"][0]), normal(1, *KNOWN["image norms"][1])
    convolved = model[0](x).flatten(1)
    expected = (convolved @ convolved.mT).detach() / convolved.shape[1]
    torch.testing.assert_close(empirical_nngp(model, x, features="0"), expected)
    named = empirical_nngp(model, x, features="5")  # what goes into the readout
    torch.testing.assert_close(named, empirical_nngp(model, x))
    assert not any(module._forward_hooks for module in model.modules())


def test_readout_by_hand_and_frozen() -> None:
    model = Apply(lambda m, x: (x @ m.a).tanh() @ m.b, a=normal(1, 4, 7), b=normal(2, 7, 2))
    x = normal(3, 5, 4)
    hidden = (x @ model.a).tanh().detach()
    model.requires_grad_(False)
    torch.testing.assert_close(empirical_nngp(model, x), hidden @ hidden.mT / 7)


def test_becomes_the_arc_cosine_kernel_at_great_width() -> None:
    r"""Independent: E[relu(u) relu(v)] in closed form (Cho and Saul, 2009), of order one kernel.

    The deviation must fall as 1/sqrt(width): a wrong normalisation would not fall at all.
    """
    x = torch.nn.functional.normalize(normal(1, 6, 5)) * math.sqrt(5)
    cosine = (x @ x.mT / 5).clamp(-1.0, 1.0)
    angle = cosine.arccos()
    expected = (angle.sin() + (math.pi - angle) * cosine) / (2 * math.pi)

    def deviation(width: int) -> float:
        squares = []
        for seed in range(8):
            model = nn.Sequential(nn.Linear(5, width, bias=False), nn.ReLU(), nn.Linear(width, 1))
            with torch.no_grad():
                weights = torch.randn(width, 5, generator=seeded(seed), dtype=torch.float64)
                model[0].weight = nn.Parameter(weights / math.sqrt(5))
                model[2].double()
            squares.append(float((empirical_nngp(model, x) - expected).square().mean()))
        return math.sqrt(sum(squares) / len(squares))

    narrow, wide = deviation(256), deviation(16384)
    assert wide < 0.01
    assert 5.0 < narrow / wide < 13.0  # 8 for an error of 1/sqrt(width)


@pytest.mark.parametrize("train_mode", [True, False])
@pytest.mark.parametrize("features", [None, "3"])
def test_nothing_is_changed(features: str | None, train_mode: bool) -> None:
    layers = nn.Conv1d(2, 3, 2), nn.InstanceNorm1d(3, track_running_stats=True), nn.Flatten()
    model = nn.Sequential(*layers, nn.Linear(9, 4), nn.Linear(4, 2)).double().train(train_mode)
    x = normal(1, 5, 2, 4)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    kernel = empirical_nngp(model, x, features=features)
    assert kernel.shape == (5, 5)
    assert kernel.dtype == torch.float64
    assert not kernel.requires_grad
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training is train_mode
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])


def failing(m: nn.Module, x: Tensor) -> Tensor:
    m.a(x)
    raise KeyError("inside")


@pytest.mark.parametrize("features", [None, "a"])
def test_an_error_in_the_model_leaves_no_hook(features: str | None) -> None:
    model = Apply(failing, a=nn.Linear(4, 2))
    with pytest.raises(KeyError, match="inside"):
        empirical_nngp(model, torch.ones(3, 4), features=features)
    assert not model.a._forward_hooks
    assert torch.overrides._get_current_function_mode_stack() == []


@pytest.mark.parametrize(
    ("model", "features", "message"),
    [
        (nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2)), None, "couples its samples"),
        (nn.Sequential(nn.Linear(4, 2), nn.Dropout()), None, "is random in training"),
        (nn.Sequential(nn.Linear(4, 2), nn.RReLU()), None, "is random in training"),
        (nn.Sequential(nn.LayerNorm(4)), None, "no weight matrix.*features="),
        (nn.Sequential(nn.Linear(4, 2)), "1", "no module '1'; it has '0'"),
        (Apply(lambda m, x: m.a(m.a(x)), a=nn.Linear(4, 4)), "a", "called 2 times"),
        (Apply(lambda m, x: m.b(x), a=nn.Linear(4, 4), b=nn.ReLU()), "a", "called 0 times"),
        (Apply(lambda m, x: m.a(x.sum(0)), a=nn.Linear(4, 4)), None, "first axis"),
        (Apply(lambda m, x: m.a(x.log()), a=nn.Linear(4, 4)), None, "NaN or infinity"),
        (nn.Sequential(nn.Linear(4, 2), nn.Softmax(0), nn.Linear(2, 1)), None, "couples"),
        (nn.Sequential(nn.RNN(4, 2)), "0", "returns tuple, not one tensor"),
    ],
)
def test_refuses(model: nn.Module, features: str | None, message: str) -> None:
    state = torch.get_rng_state()
    with pytest.raises(ValueError, match=message):
        empirical_nngp(model, normal(1, 5, 4).float(), features=features)
    assert torch.equal(torch.get_rng_state(), state)
