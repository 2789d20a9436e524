"""Representations: CKA in feature space beside (n, n) formulas, and exact gradient products.

The reference values are the (n, n) formulas of the papers on whole kernels in float64, which
share no line with ours.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from harness import Bench, PeerProcess
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from learnmech.practice.representations import average_gradient_outer_product, linear_cka

N, WIDTH = 2000, 256


def features() -> tuple[Tensor, Tensor]:
    """Two float32 representations that share a part, as layers of two networks do."""
    g = torch.Generator().manual_seed(0)
    shared = torch.randn(N, WIDTH, generator=g) * torch.arange(1, WIDTH + 1) ** -0.5
    mixed = shared @ torch.randn(WIDTH, WIDTH, generator=g) / WIDTH**0.5
    return torch.relu(shared), torch.relu(mixed + 0.1 * torch.randn(N, WIDTH, generator=g))


def whole_kernels(x: Tensor, y: Tensor) -> Tensor:
    """Biased CKA as papers write it: tr(KHLH), two centred (n, n) kernels and their products."""
    n = len(x)
    h = torch.eye(n, dtype=x.dtype) - 1.0 / n
    k, other = h @ (x @ x.mT) @ h, h @ (y @ y.mT) @ h
    return (k * other).sum() / (k.norm() * other.norm())


def whole_kernels_unbiased(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased CKA by the formula of Song et al. on whole kernels with empty diagonals."""
    n = len(x)
    k, other = (z @ z.mT for z in (x, y))
    k, other = (z - torch.diag(z.diagonal()) for z in (k, other))

    def hsic(a: Tensor, b: Tensor) -> Tensor:
        sums = a.sum() * b.sum() / ((n - 1) * (n - 2))
        return (a * b).sum() + sums - 2.0 / (n - 2) * (a.sum(0) @ b.sum(0))

    return hsic(k, other) / (hsic(k, k) * hsic(other, other)).sqrt()


def network() -> tuple[nn.Module, Tensor]:
    """A perceptron 64-256-256-10 and 2000 inputs."""
    g = torch.Generator().manual_seed(1)
    sizes = (64, 256, 256, 10)
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(sizes):
        linear = nn.Linear(wide, narrow)
        linear.weight.data = torch.randn(narrow, wide, generator=g) / wide**0.5
        linear.bias.data.zero_()
        layers += [linear, nn.GELU()]
    return nn.Sequential(*layers[:-1]), torch.randn(N, 64, generator=g)


def products_of_jacobians(model: nn.Module, inputs: Tensor) -> Tensor:
    """The AGOP by vmap(jacrev), in chunks that fit into memory."""
    state = {name: p.detach() for name, p in model.named_parameters()}
    jacobian = vmap(jacrev(lambda x: functional_call(model, state, (x[None],))[0]))
    total = torch.zeros(inputs.shape[1], inputs.shape[1])
    for chunk in inputs.split(250):
        flat = jacobian(chunk).flatten(0, 1)
        total += flat.mT @ flat
    return total / len(inputs)


def main() -> None:
    """Measure and store."""
    x, y = features()
    biased = float(whole_kernels(x.double(), y.double()))
    unbiased = float(whole_kernels_unbiased(x.double(), y.double()))
    work = f"n = {N}, d = {WIDTH}, float32"
    model, inputs = network()
    exact = products_of_jacobians(model.double(), inputs.double().float().double())
    model = model.float()

    def relative(result: Tensor) -> dict[str, float]:
        return {"error": float((result.double() - exact).norm() / exact.norm())}

    arrays = {"x": x.numpy(), "y": y.numpy(), "unbiased": torch.tensor(unbiased).double().numpy()}
    with Bench("representations") as bench, PeerProcess("cka_unbiased", arrays) as pytorch_cka:
        row = bench.race(
            f"linear CKA, {work}",
            ours=lambda: {"error": abs(float(linear_cka(x, y)) - biased)},
            peer=lambda: {"error": abs(float(whole_kernels(x, y)) - biased)},
            peer_name="(n, n) formula with centring matrices",
            at_least=20.0,
        )
        bench.bound("linear CKA: error of a float32 result", row["ours"]["error"], at_most=1e-6)
        row = bench.race(
            f"unbiased linear CKA, {work}",
            ours=lambda: {"error": abs(float(linear_cka(x, y, unbiased=True)) - unbiased)},
            peer=pytorch_cka.run,
            peer_name="pytorch-cka 1.1.3",
        )
        bench.bound("unbiased CKA: error of a float32 result", row["ours"]["error"], at_most=1e-6)
        bench.race(
            f"average gradient outer product, MLP 64-256-256-10, {N} inputs, float32",
            ours=lambda: relative(average_gradient_outer_product(model, inputs)),
            peer=lambda: relative(products_of_jacobians(model, inputs)),
            peer_name="vmap(jacrev) and a product",
        )


if __name__ == "__main__":
    main()
