"""Models that per-sample gradients must be right on, and gradients taken the slow way."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def jacobian(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Independent: plain autograd on one sample and one output at a time, whole parameters."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    rows: dict[str, list[Tensor]] = {name: [] for name in trained}
    for i in range(len(x)):
        outputs = model(x[i : i + 1]).reshape(-1)
        for c in range(len(outputs)):
            gradients = torch.autograd.grad(
                outputs[c], list(trained.values()), retain_graph=True, allow_unused=True
            )
            for (name, p), g in zip(trained.items(), gradients, strict=True):
                rows[name].append(torch.zeros_like(p) if g is None else g)
    return {
        name: torch.stack(g).reshape(len(x), -1, trained[name].numel()) for name, g in rows.items()
    }


class Apply(nn.Module):
    """A model by hand: parameters by name and a function of them and the input."""

    def __init__(self, forward: Callable[..., Tensor], **parameters: Tensor | nn.Module) -> None:
        super().__init__()
        self.function = forward
        for name, value in parameters.items():
            part = value if isinstance(value, nn.Module) else nn.Parameter(value)
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


class Flow(nn.Sequential):
    """A sequence of modules and plain functions."""

    def __init__(self, *steps: nn.Module | Callable[[Tensor], Tensor]) -> None:
        super().__init__(*(s if isinstance(s, nn.Module) else Apply(_ignoring(s)) for s in steps))


def _ignoring(step: Callable[[Tensor], Tensor]) -> Callable[[nn.Module, Tensor], Tensor]:
    return lambda _, x: step(x)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def warm_batch_norm(channels: int) -> nn.Module:
    layer = nn.BatchNorm2d(channels)
    layer.running_mean += 0.3 * torch.arange(channels)
    layer.running_var *= 2.0
    return layer.eval()


def tied_modules() -> nn.Module:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    return nn.Sequential(first, nn.Tanh(), second)


def tied_table() -> nn.Module:
    table, head = nn.Embedding(6, 3), nn.Linear(3, 6, bias=False)
    head.weight = table.weight
    return Flow(table, lambda x: x.mean(1).tanh(), head)


def partly_frozen() -> nn.Module:
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
    net[0].weight.requires_grad_(False)
    net[2].bias.requires_grad_(False)
    return net


def recurrent(m: nn.Module, x: Tensor) -> Tensor:
    hidden = torch.zeros(len(x), 5, dtype=x.dtype)
    for t in range(x.shape[1]):
        hidden = torch.tanh(m.inward(x[:, t]) + m.own(hidden))
    return m.out(hidden)


def positions_first(m: nn.Module, x: Tensor) -> Tensor:
    return m.out(torch.tanh(m.inner(x.transpose(0, 1)))).mean(0)


def half_twice(m: nn.Module, x: Tensor) -> Tensor:
    half = m.w * 0.5
    return F.linear(F.linear(x, half).tanh(), half) + m.w.sum()


VECTORS, SEQUENCES, IMAGES = (5, 4), (5, 3, 4), (5, 2, 6, 5)

KNOWN: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (lambda: Flow(nn.Linear(4, 6), nn.ReLU(inplace=True), nn.Linear(6, 3)), VECTORS),
    "no bias": (lambda: Flow(nn.Linear(4, 6, bias=False), nn.GELU(), nn.Linear(6, 1)), VECTORS),
    "one number per sample": (lambda: Flow(nn.Linear(4, 1), lambda x: x[:, 0].sin()), VECTORS),
    "outputs of two axes": (lambda: Flow(nn.Linear(4, 6), lambda x: x.view(-1, 2, 3)), VECTORS),
    "frozen parts": (partly_frozen, VECTORS),
    "residual": (
        lambda: Apply(
            lambda m, x: m.out(x + m.b(m.norm(x + m.a(x).relu()))),
            a=nn.Linear(4, 4),
            b=nn.Linear(4, 4),
            norm=nn.LayerNorm(4),
            out=nn.Linear(4, 2),
        ),
        VECTORS,
    ),
    "called twice": (
        lambda: Apply(
            lambda m, x: m.out(m.a(m.a(x).tanh())), a=nn.Linear(4, 4), out=nn.Linear(4, 2)
        ),
        VECTORS,
    ),
    "recurrent by hand": (
        lambda: Apply(recurrent, inward=nn.Linear(4, 5), own=nn.Linear(5, 5), out=nn.Linear(5, 2)),
        SEQUENCES,
    ),
    "a weight in two bias-free layers": (
        lambda: Apply(lambda m, x: F.linear(F.linear(x, m.w).tanh(), m.w), w=normal(1, 4, 4)),
        VECTORS,
    ),
    "narrow over positions": (
        lambda: Flow(nn.Linear(4, 2), nn.Tanh(), nn.Linear(2, 3), lambda x: x.mean(1)),
        (5, 40, 4),
    ),
    "wide over positions": (
        lambda: Flow(nn.Linear(4, 60), nn.Tanh(), nn.Linear(60, 3), lambda x: x.mean(1)),
        (5, 2, 4),
    ),
    "two axes of positions": (
        lambda: Flow(nn.Linear(5, 3), nn.Tanh(), lambda x: x.sum((1, 2))),
        IMAGES,
    ),
    "convolutions": (
        lambda: Flow(
            nn.Conv2d(2, 4, 3, stride=2, padding=(1, 2), dilation=(1, 2)),
            nn.ReLU(),
            nn.Conv2d(4, 6, 3, groups=2, padding="same"),
            nn.Tanh(),
            nn.Conv2d(6, 6, (1, 2), groups=6, bias=False),
            nn.Flatten(),
            nn.Linear(36, 3),
        ),
        IMAGES,
    ),
    "one-dimensional convolutions": (
        lambda: Flow(
            nn.Conv1d(3, 4, 3, padding="same", dilation=2),
            nn.Tanh(),
            nn.Conv1d(4, 2, 3, padding=2, padding_mode="circular"),
            lambda x: x.mean(2),
        ),
        (5, 3, 9),
    ),
    "three-dimensional convolution": (
        lambda: Flow(nn.Conv3d(2, 3, 2, padding="valid"), nn.Tanh(), lambda x: x.mean((2, 3, 4))),
        (5, 2, 3, 4, 3),
    ),
    "image norms": (
        lambda: Flow(
            nn.Conv2d(2, 4, 3),
            warm_batch_norm(4),
            nn.ReLU(),
            nn.GroupNorm(2, 4),
            nn.LayerNorm([4, 4, 3]),
            nn.Flatten(),
            nn.Linear(48, 2),
        ),
        IMAGES,
    ),
    "sequence norms": (
        lambda: Flow(
            nn.LayerNorm(4), nn.Linear(4, 5), nn.RMSNorm(5), nn.Tanh(), lambda x: x.mean(1)
        ),
        SEQUENCES,
    ),
    "by hand": (
        lambda: Apply(
            lambda m, x: 2.0 * (m.g * torch.tanh(x @ m.a / 3.0 + m.b) @ m.c.mT + m.s),
            a=normal(1, 4, 6),
            b=normal(2, 6),
            c=normal(3, 2, 6),
            g=normal(4, 1, 6),
            s=normal(5),
        ),
        VECTORS,
    ),
    "half a weight in two layers": (
        lambda: Apply(
            lambda m, x: F.linear(F.linear(x, half := m.w * 0.5).tanh(), half), w=normal(1, 4, 4)
        ),
        VECTORS,
    ),
    "scaled weights": (
        lambda: Apply(
            lambda m, x: F.linear(F.linear(x, m.w / math.sqrt(4), 0.1 * m.b).relu(), m.v.T * 0.3),
            w=normal(1, 6, 4),
            b=normal(2, 6),
            v=normal(3, 6, 2),
        ),
        VECTORS,
    ),
    "positional table": (
        lambda: Apply(
            lambda m, x: m.out(torch.tanh(x + m.where)).mean(1),
            where=normal(1, 3, 4),
            out=nn.Linear(4, 2),
        ),
        SEQUENCES,
    ),
}
"""Every parameter is known to the layerwise computation."""

TOKENS: dict[str, Callable[[], nn.Module]] = {
    "embedding": lambda: Flow(nn.Embedding(6, 4, padding_idx=2), nn.Linear(4, 3), nn.Flatten()),
    "embedding looked up twice": lambda: Apply(
        lambda m, x: (m.table(x) * m.table(x.flip(1)).sin()).sum(1), table=nn.Embedding(6, 3)
    ),
}

EXACT: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], set[str]]] = {
    "tied linear layers with biases of their own": (
        tied_modules,
        VECTORS,
        {"0.weight", "0.bias", "2.bias"},
    ),
    "autoencoder with one weight": (
        lambda: Apply(lambda m, x: F.linear(m.a(x).tanh(), m.a.weight.t()), a=nn.Linear(4, 3)),
        VECTORS,
        {"a.weight", "a.bias"},
    ),
    "weight used outside of its layer": (
        lambda: Apply(
            lambda m, x: m.a(x) * m.a.weight.square().sum(), a=nn.Linear(4, 3), b=nn.Linear(4, 3)
        ),
        VECTORS,
        {"a.weight", "a.bias", "b.weight", "b.bias"},
    ),
    "weight used twice, once out of reach": (
        lambda: Apply(
            lambda m, x: m.b(x) + m.a(x).detach() * m.a.weight.sum(),
            a=nn.Linear(4, 3),
            b=nn.Linear(4, 3),
        ),
        VECTORS,
        {"a.weight", "a.bias"},
    ),
    "half a weight used twice, and the weight once": (
        lambda: Apply(half_twice, w=normal(1, 4, 4)),
        VECTORS,
        {"w"},
    ),
    "scaled weight written on": (
        lambda: Apply(lambda m, x: F.linear(x, (m.w * 0.5).mul_(3.0)), w=normal(1, 2, 4)),
        VECTORS,
        {"w"},
    ),
    "parametrised weight": (
        lambda: Flow(parametrizations.weight_norm(nn.Linear(4, 3)), nn.Tanh(), nn.Linear(3, 2)),
        VECTORS,
        {"0.parametrizations.weight.original0", "0.parametrizations.weight.original1"},
    ),
    "attention": (
        lambda: Apply(
            lambda m, x: m.out(m.mix(x, x, x, need_weights=False)[0].mean(1)),
            mix=nn.MultiheadAttention(4, 2, batch_first=True),
            out=nn.Linear(4, 2),
        ),
        SEQUENCES,
        {"mix.in_proj_weight", "mix.in_proj_bias", "mix.out_proj.weight", "mix.out_proj.bias"},
    ),
    "recurrent module": (
        lambda: Apply(
            lambda m, x: m.out(m.mix(x)[0][:, -1]),
            mix=nn.GRU(4, 3, batch_first=True),
            out=nn.Linear(3, 2),
        ),
        SEQUENCES,
        {"mix.weight_ih_l0", "mix.weight_hh_l0", "mix.bias_ih_l0", "mix.bias_hh_l0"},
    ),
    "positions on the first axis": (
        lambda: Apply(positions_first, inner=nn.Linear(4, 3), out=nn.Linear(3, 2)),
        SEQUENCES,
        {"inner.weight", "inner.bias", "out.weight", "out.bias"},
    ),
    "as many positions as samples, on the first axis": (
        lambda: Apply(positions_first, inner=nn.Linear(4, 3), out=nn.Linear(3, 2)),
        (5, 5, 4),
        {"inner.weight", "inner.bias", "out.weight", "out.bias"},
    ),
    "samples and positions on one axis": (
        lambda: Apply(
            lambda m, x: m.out(m.inner(x.reshape(-1, 4)).tanh().reshape(len(x), -1)),
            inner=nn.Linear(4, 3),
            out=nn.Linear(9, 2),
        ),
        SEQUENCES,
        {"inner.weight", "inner.bias"},
    ),
    "samples in another order inside": (
        lambda: Apply(
            lambda m, x: m.out(m.inner(x.roll(1, 0)).tanh().roll(-1, 0)),
            inner=nn.Linear(4, 3),
            out=nn.Linear(3, 2),
        ),
        VECTORS,
        {"inner.weight", "inner.bias"},
    ),
    "linear maps to one number": (
        lambda: Apply(
            lambda m, x: torch.stack([F.linear(x, m.w), F.linear(x, m.w).sin()], -1).sum(1),
            w=normal(1, 4),
        ),
        SEQUENCES,
        {"w"},
    ),
    "linear map to one number over positions": (
        lambda: Apply(lambda m, x: F.linear(x, m.w).sin().sum(1), w=normal(1, 4)),
        SEQUENCES,
        {"w"},
    ),
    "one bias for all outputs": (
        lambda: Apply(
            lambda m, x: F.linear(x, m.w, m.b).tanh() * F.linear(x, m.v, m.c),
            w=normal(1, 3, 4),
            b=normal(2, 1),
            v=normal(3, 3, 4),
            c=normal(4),
        ),
        VECTORS,
        {"w", "b", "v", "c"},
    ),
    "transposed convolution": (
        lambda: Flow(nn.ConvTranspose2d(2, 3, 2), nn.Flatten(), nn.Linear(126, 2)),
        IMAGES,
        {"0.weight", "0.bias"},
    ),
    "scale by a tensor": (
        lambda: Apply(
            lambda m, x: F.linear(x, m.w * torch.tensor(0.3, dtype=x.dtype)), w=normal(1, 2, 4)
        ),
        VECTORS,
        {"w"},
    ),
}
"""Some parameters need exact Jacobians: their names."""


def build(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A model in float64 with random parameters, whatever the global random state is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make().double()
    for k, p in enumerate(model.parameters()):
        with torch.no_grad():
            p.add_(0.3 * normal(100 + k, *p.shape))
    return model
