"""Per-sample gradient norms beside one plain gradient, BackPACK, and ``vmap(grad)``.

The reference is plain autograd in float64, one sample at a time.
"""

from __future__ import annotations

import copy

import torch
from harness import Bench, Facts, PeerProcess
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from learnmech.practice.gradient_noise import measure_gradient_noise, squared_gradient_norms

SAMPLES = 2000


def network() -> nn.Sequential:
    """The MLP 64-128-128-10 with tanh, 26 122 parameters."""
    torch.manual_seed(0)
    layers = nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 10)
    return nn.Sequential(*layers)


def half_squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """One loss per sample: half the squared distance."""
    return 0.5 * ((outputs - targets) ** 2).sum(-1)


def in_double(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Squared norms by plain autograd in float64, a sample at a time."""
    double = copy.deepcopy(model).double()
    norms = []
    for sample, target in zip(x.double(), y.double(), strict=True):
        loss = half_squared(double(sample[None]), target[None]).sum()
        gradients = torch.autograd.grad(loss, list(double.parameters()))
        norms.append(sum(g.square().sum() for g in gradients))
    return torch.stack(norms)


def by_vmap(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Squared norms of gradients that are written out: the recipe of PyTorch's tutorials."""
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def loss(values: dict[str, Tensor], sample: Tensor, target: Tensor) -> Tensor:
        return half_squared(functional_call(model, values, (sample[None],)), target[None]).sum()

    gradients = vmap(grad(loss), (None, 0, 0))(parameters, x, y)
    return torch.stack([g.flatten(1).square().sum(1) for g in gradients.values()]).sum(0)


def main() -> None:
    """Race against one gradient of the mean loss, and against two peers."""
    model = network()
    source = torch.Generator().manual_seed(1)
    x, y = (torch.randn(SAMPLES, d, generator=source) for d in (64, 10))
    reference = in_double(model, x, y)
    parameters = list(model.parameters())
    title = f"per-sample gradient norms, MLP 64-128-128-10, {SAMPLES} samples, float32"

    def error(norms: Tensor) -> Facts:
        return {"error": float((norms.double() / reference - 1.0).abs().max())}

    def ours() -> Facts:
        return error(squared_gradient_norms(model, x, y, half_squared))

    def one_gradient() -> Facts:
        torch.autograd.grad(half_squared(model(x), y).mean(), parameters)
        return {}

    def all_of_it() -> Facts:
        return error(measure_gradient_noise(model, x, y, half_squared).squared_norms)

    arrays = {name: p.detach().numpy() for name, p in model.state_dict().items()}
    handed = {**arrays, "x": x.numpy(), "y": y.numpy(), "reference": reference.numpy()}
    with Bench("gradient_noise") as bench, PeerProcess("backpack_norms", handed) as backpack:
        row = bench.race(
            title,
            ours=ours,
            peer=one_gradient,
            peer_name="one plain gradient",
            at_least=1 / 1.5,
            pairs=25,
            warm_up=5,
        )
        bench.bound(
            "per-sample gradient norms: largest relative error against float64",
            row["ours"]["error"],
            at_most=1e-5,
        )
        bench.race(title, ours=ours, peer=backpack.run, peer_name="BackPACK, BatchL2Grad", pairs=15)
        bench.race(
            title,
            ours=ours,
            peer=lambda: error(by_vmap(model, x, y)),
            peer_name="vmap(grad)",
            pairs=3,
        )
        bench.race(
            "norms, inner products and noise scale per layer, same network and samples",
            ours=all_of_it,
            peer=one_gradient,
            peer_name="one plain gradient",
            pairs=15,
            warm_up=5,
        )


if __name__ == "__main__":
    main()
