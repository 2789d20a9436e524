"""The empirical tangent kernel beside the recipe of PyTorch's tutorial.

The recipe ("Neural tangent kernels" in PyTorch's tutorials, Jacobian contraction) writes out the
Jacobian of every sample by ``vmap(jacrev)`` and contracts it parameter by parameter. It is given
one set of inputs, so that it, too, computes Jacobians once. The reference is the same contraction
in float64, of Jacobians by plain autograd.
"""

from __future__ import annotations

import copy

import torch
from harness import Bench, Facts
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from learnmech.practice.tangent_kernel import empirical_ntk

SAMPLES = 200
CONTRACTION = {"trace": "ncp,mcp->nm", "full": "ncp,mdp->nmcd"}


def network() -> nn.Sequential:
    """The MLP 64-256-256-10 with ReLU and PyTorch's own initialisation."""
    torch.manual_seed(0)
    layers = nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
    return nn.Sequential(*layers)


def by_recipe(model: nn.Module, x: Tensor, outputs: str) -> Tensor:
    """The tutorial's Jacobian contraction."""
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def single(values: dict[str, Tensor], sample: Tensor) -> Tensor:
        result: Tensor = functional_call(model, values, (sample.unsqueeze(0),)).squeeze(0)
        return result

    jacobians = vmap(jacrev(single), (None, 0))(parameters, x)
    flat = [j.flatten(2) for j in jacobians.values()]
    return torch.stack([torch.einsum(CONTRACTION[outputs], j, j) for j in flat]).sum(0)


def in_double(model: nn.Module, x: Tensor, outputs: str) -> Tensor:
    """Independent of both: plain autograd in float64, a sample and an output at a time."""
    double = copy.deepcopy(model).double()
    rows = []
    for sample in x.double():
        values = double(sample[None])[0]
        for value in values:
            gradients = torch.autograd.grad(value, list(double.parameters()), retain_graph=True)
            rows.append(torch.cat([g.flatten() for g in gradients]))
    jacobian = torch.stack(rows).reshape(len(x), -1, len(rows[0]))
    return torch.einsum(CONTRACTION[outputs], jacobian, jacobian)


def error(kernel: Tensor, reference: Tensor) -> float:
    """Largest deviation, as a share of the largest entry."""
    return float((kernel.double() - reference).abs().max() / reference.abs().max())


def main() -> None:
    """Race on the trace and on the full kernel."""
    model = network()
    x = torch.randn(SAMPLES, 64, generator=torch.Generator().manual_seed(1))
    with Bench("tangent_kernel") as bench:
        for outputs, samples, target in (("trace", SAMPLES, 50.0), ("full", 100, None)):
            batch = x[:samples]
            reference = in_double(model, batch, outputs)

            def ours(
                batch: Tensor = batch, outputs: str = outputs, to: Tensor = reference
            ) -> Facts:
                return {"error": error(empirical_ntk(model, batch, outputs=outputs), to)}

            def recipe(
                batch: Tensor = batch, outputs: str = outputs, to: Tensor = reference
            ) -> Facts:
                return {"error": error(by_recipe(model, batch, outputs), to)}

            row = bench.race(
                f"empirical NTK, {outputs}, MLP 64-256-256-10, {samples} inputs, float32",
                ours=ours,
                peer=recipe,
                peer_name="vmap(jacrev) and einsum",
                at_least=target,
                pairs=3,
            )
            bench.bound(
                f"empirical NTK, {outputs}: error against float64, share of the largest entry",
                row["ours"]["error"],
                at_most=1e-6,
            )
        kernel, other = empirical_ntk(model, x), by_recipe(model, x, "trace")
        bench.bound(
            "empirical NTK, trace: largest relative difference to the recipe, entry by entry",
            float(((kernel - other) / other).abs().max()),
            at_most=1e-6,
        )


if __name__ == "__main__":
    main()
