"""Per-sample gradients of losses against plain autograd, and what the instruments leave alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from per_sample_zoo import EXACT, KNOWN, TOKENS, Apply, build, normal, seeded
from torch import Tensor, nn

from learnmech.practice.gradient_noise import (
    NoiseScale,
    hessian_noise_scale,
    measure_gradient_noise,
    squared_gradient_norms,
)
from learnmech.practice.layers import products


def half_squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return 0.5 * ((outputs - targets) ** 2).flatten(1).sum(1)


def case(name: str) -> tuple[nn.Module, Tensor, Tensor]:
    if name in TOKENS:
        model, x = build(TOKENS[name]), torch.randint(6, (5, 4), generator=seeded(5))
    else:
        make, shape, *_ = (KNOWN | EXACT)[name]
        model, x = build(make), normal(1, *shape)
    return model, x, normal(2, *model(x).shape)


def losses_of(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    if name in ("one number per sample", "linear map to one number over positions"):
        return lambda f, y: half_squared(f[:, None], y[:, None])
    return half_squared


def one_by_one(
    model: nn.Module, x: Tensor, y: Tensor, losses: Callable[[Tensor, Tensor], Tensor]
) -> dict[str, Tensor]:
    """Independent: plain autograd on one sample at a time, whole parameters, (n, p) by name."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    rows: dict[str, list[Tensor]] = {name: [] for name in trained}
    for i in range(len(x)):
        loss = losses(model(x[i : i + 1]), y[i : i + 1]).sum()
        gradients = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
        for (name, p), g in zip(trained.items(), gradients, strict=True):
            rows[name].append(torch.zeros_like(p).flatten() if g is None else g.flatten())
    return {name: torch.stack(g) for name, g in rows.items()}


@pytest.mark.parametrize("name", [*KNOWN, *TOKENS, *EXACT])
def test_norms_and_inner_products(name: str) -> None:
    (model, x, y), losses = case(name), losses_of(name)
    gradients = one_by_one(model, x, y, losses)
    rows = torch.cat(list(gradients.values()), 1)
    close = {"rtol": 1e-10, "atol": 1e-12 * float(rows.square().sum())}
    torch.testing.assert_close(
        squared_gradient_norms(model, x, y, losses), rows.square().sum(1), **close
    )
    noise = measure_gradient_noise(model, x, y, losses)
    mean = rows.mean(0)
    torch.testing.assert_close(noise.squared_norms, rows.square().sum(1), **close)
    torch.testing.assert_close(noise.inner_products, rows @ mean, **close)
    assert noise.squared_norm_of_mean == pytest.approx(float(mean @ mean), rel=1e-10)
    layers = {key.rpartition(".")[0] for key in gradients}
    assert set(noise.per_layer) == layers
    for layer in layers:
        own = torch.cat([g for key, g in gradients.items() if key.rpartition(".")[0] == layer], 1)
        spread = float(own.var(0).sum())
        assert noise.per_layer[layer].noise == pytest.approx(spread, rel=1e-9, abs=1e-12)
    parts = noise.per_layer.values()
    assert sum(part.noise for part in parts) == pytest.approx(noise.total.noise)
    assert sum(part.signal for part in parts) == pytest.approx(noise.total.signal)


@pytest.mark.parametrize("name", ["mlp", "convolutions", "embedding", "attention"])
def test_chunks_change_nothing(name: str) -> None:
    model, x, y = case(name)
    whole = measure_gradient_noise(model, x, y, half_squared)
    for chunk_size in (1, 2, 4, 9):
        norms = squared_gradient_norms(model, x, y, half_squared, chunk_size=chunk_size)
        torch.testing.assert_close(norms, whole.squared_norms)
        noise = measure_gradient_noise(model, x, y, half_squared, chunk_size=chunk_size)
        torch.testing.assert_close(noise.inner_products, whole.inner_products)
        for field in ("noise", "noise_standard_error", "signal", "signal_standard_error"):
            assert getattr(noise.total, field) == pytest.approx(getattr(whole.total, field))


@pytest.mark.parametrize("name", ["narrow over positions", "wide over positions", "embedding"])
def test_small_blocks_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, y = case(name)
    whole = squared_gradient_norms(model, x, y, half_squared)
    monkeypatch.setattr(products, "_BLOCK", 1)
    torch.testing.assert_close(squared_gradient_norms(model, x, y, half_squared), whole)


def test_classification() -> None:
    """Cross-entropy with integer targets; the mean of the gradients is that of the mean loss."""
    model = build(lambda: nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)))
    x = normal(1, 9, 4)
    y = torch.randint(3, (9,), generator=seeded(2))
    mean = torch.autograd.grad(F.cross_entropy(model(x), y), list(model.parameters()))
    noise = measure_gradient_noise(
        model, x, y, lambda f, t: F.cross_entropy(f, t, reduction="none")
    )
    square = sum(float(g.square().sum()) for g in mean)
    assert noise.squared_norm_of_mean == pytest.approx(square)
    assert float(noise.inner_products.mean()) == pytest.approx(square)  # as it must be


def test_equal_samples_have_no_noise() -> None:
    model = build(lambda: nn.Linear(3, 2))
    x, y = normal(1, 1, 3).expand(7, 3), normal(2, 1, 2).expand(7, 2)
    total = measure_gradient_noise(model, x, y, half_squared).total
    assert total.noise == pytest.approx(0.0, abs=1e-12)
    assert total.noise_scale == pytest.approx(0.0, abs=1e-12)


def quadratic(d: int) -> tuple[nn.Module, Tensor]:
    """A loss whose gradient on sample x is x, wherever the weights are; and a Hessian to give."""
    hessian = torch.diag(torch.linspace(1.0, 4.0, d, dtype=torch.float64))
    return build(lambda: nn.Linear(d, 1, bias=False)), hessian


def first_output(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs[:, 0]


def test_hessian_weighted_noise_is_that_of_the_sample_covariance() -> None:
    """Independent: the trace of H times the covariance matrix, with one sample per batch."""
    model, hessian = quadratic(3)
    x = normal(1, 12, 3) + 1.0
    scale = hessian_noise_scale(
        model, x, x, first_output, lambda v: [v[0] @ hessian], batches=12, generator=seeded(0)
    )
    covariance, mean = torch.cov(x.mT), x.mean(0)
    noise = float((hessian @ covariance).trace())
    assert scale.noise == pytest.approx(noise)
    assert scale.signal == pytest.approx(float(mean @ hessian @ mean) - noise / 12)
    same = measure_gradient_noise(model, x, x, first_output).total
    plain = hessian_noise_scale(
        model, x, x, first_output, lambda v: v, batches=12, generator=seeded(0)
    )
    for field in NoiseScale.__dataclass_fields__:  # H = 1 gives the simple noise scale
        assert getattr(plain, field) == pytest.approx(getattr(same, field)), field


def test_batches_are_dealt_from_all_samples() -> None:
    """Independent: NumPy's covariance of the batches' means, dealt by the same generator."""
    model, hessian = quadratic(3)
    x = normal(1, 41, 3) + 1.0  # one sample is left out of five batches of eight
    scale = hessian_noise_scale(
        model, x, x, first_output, lambda v: [v[0] @ hessian], batches=5, generator=seeded(7)
    )
    dealt = torch.randperm(41, generator=seeded(7))[:40].reshape(5, 8)
    means = x.numpy()[dealt.numpy()].mean(1)
    noise = float(np.trace(hessian.numpy() @ np.cov(means.T)))
    mean = means.mean(0)
    assert scale.noise == pytest.approx(8 * noise)
    assert scale.signal == pytest.approx(float(mean @ hessian.numpy() @ mean) - noise / 5)
    assert scale.count == 5


def test_hessian_products_of_a_network() -> None:
    """Independent: dense Hessian and covariance of a small network, one sample per batch."""
    model = build(lambda: nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)))
    x, y = normal(1, 9, 2), normal(2, 9, 1)
    parameters = list(model.parameters())

    def product(v: list[Tensor]) -> tuple[Tensor, ...]:
        gradient = torch.autograd.grad(
            half_squared(model(x), y).mean(), parameters, create_graph=True
        )
        pushed = sum((g * u).sum() for g, u in zip(gradient, v, strict=True))
        return torch.autograd.grad(pushed, parameters)

    rows = torch.cat(list(one_by_one(model, x, y, half_squared).values()), 1)
    sizes = [p.numel() for p in parameters]
    columns = []
    for unit in torch.eye(sum(sizes), dtype=x.dtype):
        parts = zip(unit.split(sizes), parameters, strict=True)
        columns.append(torch.cat([h.flatten() for h in product([u.view_as(p) for u, p in parts])]))
    dense = torch.stack(columns)
    scale = hessian_noise_scale(model, x, y, half_squared, product, batches=9, generator=seeded(3))
    assert scale.noise == pytest.approx(float((dense @ torch.cov(rows.mT)).trace()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["mlp", "image norms", "attention"])
def test_nothing_is_changed(name: str, dtype: torch.dtype) -> None:
    model, x, y = case(name)
    model, x, y = model.to(dtype), x.to(dtype), y.to(dtype)
    half_squared(model(x), y).mean().backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    modes, state = [m.training for m in model.modules()], torch.get_rng_state()
    norms = squared_gradient_norms(model, x, y, half_squared)
    noise = measure_gradient_noise(model, x, y, half_squared, chunk_size=2)
    hessian_noise_scale(model, x, y, half_squared, lambda v: v, batches=4, generator=seeded(0))
    assert norms.dtype == noise.squared_norms.dtype == noise.inner_products.dtype == dtype
    assert not norms.requires_grad
    assert not noise.inner_products.requires_grad
    assert torch.equal(torch.get_rng_state(), state)
    assert [m.training for m in model.modules()] == modes
    for p, gradient in zip(model.parameters(), gradients, strict=True):
        assert torch.equal(p.grad, gradient)
        assert p.requires_grad
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])


def linear() -> nn.Module:
    return nn.Linear(4, 2).double()


@pytest.mark.parametrize(
    ("model", "losses", "message"),
    [
        (linear(), lambda f, y: half_squared(f, y).mean(), r"one number per sample.*reduction"),
        (linear(), lambda f, y: (f - y) ** 2, r"one number per sample"),
        (linear(), lambda f, y: half_squared(f, y).log().log(), "NaN or infinity"),
        (linear(), lambda f, y: half_squared(f - f.mean(0), y), "couples its samples"),
        (linear(), lambda f, y: half_squared(f + torch.rand_like(f), y), "draws random numbers"),
        (nn.Sequential(linear(), nn.BatchNorm1d(2).double()), half_squared, "couples its samples"),
        (nn.Sequential(linear(), nn.Dropout()), half_squared, "is random in training"),
        (linear().requires_grad_(False), half_squared, "no parameter"),
    ],
)
def test_refuses_models_and_losses(
    model: nn.Module, losses: Callable[[Tensor, Tensor], Tensor], message: str
) -> None:
    x, y, state = normal(1, 5, 4), normal(2, 5, 2), torch.get_rng_state()
    calls = (
        lambda: squared_gradient_norms(model, x, y, losses),
        lambda: measure_gradient_noise(model, x, y, losses),
        lambda: hessian_noise_scale(
            model, x[:4], y[:4], losses, lambda v: v, batches=2 + 1, generator=seeded(0)
        ),
    )
    for call in calls[:2] if "sample" in message or "random numbers" in message else calls:
        with pytest.raises(ValueError, match=message):
            call()
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: squared_gradient_norms(linear(), x, x[:3, :2], half_squared), "common first"),
        (
            lambda x: squared_gradient_norms(linear(), x, x[:, :2], half_squared, chunk_size=-1),
            "chunk_size",
        ),
        (lambda x: squared_gradient_norms(linear(), x[:0], x[:0, :2], half_squared), "one sample"),
        (
            lambda x: measure_gradient_noise(linear(), x[:2], x[:2, :2], half_squared),
            "3 samples or more",
        ),
        (
            lambda x: hessian_noise_scale(
                linear(), x, x[:, :2], half_squared, lambda v: v, batches=2, generator=seeded(0)
            ),
            "between 3 and the number of samples 5, not 2",
        ),
        (
            lambda x: hessian_noise_scale(
                linear(), x, x[:, :2], half_squared, lambda v: v, batches=6, generator=seeded(0)
            ),
            "not 6",
        ),
        (
            lambda x: hessian_noise_scale(
                linear(), x, x[:, :2], half_squared, lambda v: v[:1], batches=3, generator=seeded(0)
            ),
            "one tensor for each",
        ),
        (
            lambda x: hessian_noise_scale(
                linear(),
                x,
                x[:, :2],
                half_squared,
                lambda v: [u * torch.nan for u in v],
                batches=3,
                generator=seeded(0),
            ),
            "NaN or infinity",
        ),
    ],
)
def test_refuses_settings(call: Callable[[Tensor], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(normal(1, 5, 4))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["convolutions", "embedding", "attention"])
def test_device_comes_from_the_inputs(name: str) -> None:
    model, x, y = case(name)
    expected = measure_gradient_noise(model, x, y, half_squared)
    noise = measure_gradient_noise(model.cuda(), x.cuda(), y.cuda(), half_squared)
    assert noise.squared_norms.device.type == "cuda"
    torch.testing.assert_close(noise.squared_norms.cpu(), expected.squared_norms)
    assert noise.total.noise == pytest.approx(expected.total.noise)
    hessian_noise_scale(
        model, x.cuda(), y.cuda(), half_squared, lambda v: v, batches=4, generator=seeded(0)
    )


def test_a_parameter_without_effect() -> None:
    """A parameter without effect has no noise and no signal, and says so."""
    model = build(lambda: Apply(lambda m, x: m.a(x), a=nn.Linear(4, 2), b=nn.Linear(3, 3)))
    noise = measure_gradient_noise(model, normal(1, 5, 4), normal(2, 5, 2), half_squared)
    assert noise.per_layer["b"].noise == noise.per_layer["b"].signal == 0.0
    with pytest.raises(ValueError, match="do not resolve their mean"):
        _ = noise.per_layer["b"].noise_scale
