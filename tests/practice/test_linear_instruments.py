"""Instruments read and change nothing; dtype and device come from what they read."""

import importlib

import pytest
import torch
from torch import Tensor, nn

from learnmech import practice
from learnmech.practice import linear_probes, losses, training
from learnmech.practice.representations import effective_rank

DTYPES = [torch.float32, torch.float64]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ensemble(dtype: torch.dtype) -> practice.DeepLinear:
    return practice.gaussian_linear((4, 6, 3), 0.3, generators=[seeded(0), seeded(1)], dtype=dtype)


def readings(net: practice.DeepLinear, u: Tensor, v: Tensor) -> list[Tensor]:
    products = linear_probes.product(net)
    return [
        products,
        linear_probes.strengths(products, u, v),
        linear_probes.subspace_overlap(products, u, v),
        effective_rank(products),
    ]


@pytest.mark.parametrize("train_mode", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_instruments_change_nothing(dtype: torch.dtype, train_mode: bool) -> None:
    net = ensemble(dtype).train(train_mode)
    u, v = (practice.orthonormal(n, 2, generator=seeded(n), dtype=dtype) for n in (3, 4))
    losses.half_squared_loss(
        net(torch.eye(4, dtype=dtype)), torch.ones(4, 3, dtype=dtype)
    ).sum().backward()
    weights = [w.detach().clone() for w in net.parameters()]
    gradients = [w.grad.clone() for w in net.parameters() if w.grad is not None]
    state = torch.random.get_rng_state()
    for reading in readings(net, u, v):
        assert reading.dtype == dtype
        assert reading.shape[0] == 2
        assert not reading.requires_grad
        reading.zero_()  # what they return is not the model's own memory
    assert net.training is train_mode
    assert torch.equal(torch.random.get_rng_state(), state)
    assert len(gradients) == len(weights) == 2
    for weight, value, gradient in zip(net.parameters(), weights, gradients, strict=True):
        assert torch.equal(weight, value)
        assert torch.equal(weight.grad, gradient)
        assert weight.requires_grad


def test_product_of_one_layer_is_a_copy() -> None:
    net = practice.DeepLinear([torch.eye(2)])
    linear_probes.product(net).zero_()
    assert torch.equal(net.weights[0], torch.eye(2))


def test_single_and_double_precision_agree() -> None:
    double = ensemble(torch.float64)
    single = practice.DeepLinear([w.float() for w in double.weights])
    u, v = (practice.orthonormal(n, 2, generator=seeded(n)) for n in (3, 4))
    pairs = zip(readings(single, u.float(), v.float()), readings(double, u, v), strict=True)
    for low, high in pairs:
        torch.testing.assert_close(low.double(), high, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", DTYPES)
def test_device_comes_from_the_inputs(dtype: torch.dtype) -> None:
    g = torch.Generator("cuda").manual_seed(0)
    u, v = (practice.orthonormal(n, 2, generator=g, dtype=dtype) for n in (3, 4))
    a = torch.ones(2, dtype=dtype, device="cuda")
    net = practice.aligned_linear(u, a, v, widths=[5], generator=g)
    for reading in readings(net, u, v):
        assert reading.device.type == "cuda"
    x = torch.eye(4, dtype=dtype, device="cuda")
    run = training.gradient_descent(
        net,
        x,
        x @ v @ u.mT,
        learning_rate=0.1,
        steps=2,
        probes={"product": linear_probes.product},
        probe_steps=[0, 2],
    )
    assert run.records["product"].shape == (2, 3, 4)
    drawn = practice.gaussian_linear((4, 3), 0.1, generators=[g], dtype=dtype)
    assert drawn.weights[0].device.type == "cuda"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["digits", "hierarchy", "teacher"])
def test_training_keeps_the_dtype(name: str, dtype: torch.dtype) -> None:
    settings = {} if name == "hierarchy" else {"components": 10}
    data = practice.load(name, generator=seeded(0), dtype=dtype, **settings)
    d, c = data.inputs.shape[1], data.targets.shape[1]
    net = practice.gaussian_linear((d, 6, c), 0.1, generators=[seeded(1)], dtype=dtype)
    run = training.gradient_descent(
        net,
        data.inputs,
        data.targets,
        learning_rate=0.01,
        steps=3,
        probes={"product": linear_probes.product},
        probe_steps=[0, 3],
    )
    expected = torch.empty(0, dtype=dtype).numpy().dtype
    assert run.records["loss"].dtype == run.records["product"].dtype == expected
    assert run.t.dtype == "float64"
    assert run.records["loss"][1, 0] < run.records["loss"][0, 0]


def test_every_step_is_taken_also_after_the_last_probe() -> None:
    """Independent: w <- w + 0.1 (1 - w), three times, from zero."""
    net, x = nn.Linear(1, 1, bias=False), torch.ones(1, 1)
    nn.init.zeros_(net.weight)
    training.gradient_descent(net, x, x, learning_rate=0.1, steps=3, probes={}, probe_steps=[0, 1])
    assert float(net.weight.detach()) == pytest.approx(1.0 - 0.9**3, rel=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: practice.orthonormal(2, 3, generator=seeded(0)), "do not fit"),
        (lambda: practice.orthonormal(2, 0, generator=seeded(0)), "do not fit"),
        (lambda: practice.DeepLinear([torch.ones(3)]), "must be a matrix"),
        (lambda: practice.gaussian_linear((3,), 0.1, generators=[seeded(0)]), "two sizes"),
        (lambda: practice.gaussian_linear((3, 2), 0.1, generators=[]), "one generator"),
        (
            lambda: practice.aligned_linear(
                torch.eye(2), torch.zeros(2), torch.eye(2), widths=[2], generator=seeded(0)
            ),
            "positive",
        ),
        (
            lambda: practice.aligned_linear(
                torch.eye(2),
                torch.full((2,), torch.inf),
                torch.eye(2),
                widths=[2],
                generator=seeded(0),
            ),
            "finite",
        ),
        (
            lambda: linear_probes.subspace_overlap(
                torch.ones(3, 1), torch.eye(3), torch.ones(1, 3)
            ),
            "leading directions",
        ),
        (lambda: effective_rank(torch.zeros(2, 2)), "not zero"),
    ],
)
def test_refuses_in_a_sentence(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "change",
    [
        {"momentum": -0.1},
        {"momentum": float("nan")},
        {"weight_decay": -0.1},
        {"learning_rate": float("nan")},
        {"learning_rate": float("inf")},
    ],
)
def test_training_refuses_bad_numbers(change: dict) -> None:
    settings = {"learning_rate": 0.1, "steps": 1, "probes": {}, "probe_steps": [0]} | change
    x = torch.ones(1, 1)
    with pytest.raises(ValueError, match="learning_rate must be positive"):
        training.gradient_descent(practice.DeepLinear([torch.eye(1)]), x, x, **settings)


@pytest.mark.parametrize("module", ["data", "linear_probes", "networks"])
def test_all_lists_what_there_is(module: str) -> None:
    offered = importlib.import_module(f"learnmech.practice.{module}")
    for name in offered.__all__:
        assert getattr(practice, name) is getattr(offered, name)
