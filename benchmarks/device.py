"""The same three instruments on another device: ``device.py cuda`` prints how much faster it is.

Ensembles, the empirical tangent kernel and Hessian products run unchanged on any tensors' device;
this measures wall time there against one CPU thread, in float32, and says how far the results are
apart. Whoever has a GPU can run it and add the line it prints to ``README.md``.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import harness
import torch
from torch import Tensor

from learnmech.practice import EnsembleMLP, HessianOperator, empirical_ntk, half_squared_loss, mlp
from learnmech.practice.training import EnsembleSGD, train

_TURNS = 3


def seeded(seed: int) -> torch.Generator:
    """Return a generator with a seed, on the CPU, so that all devices start alike."""
    return torch.Generator().manual_seed(seed)


def ensemble(device: str) -> Tensor:
    """Train 32 networks of width 128 for 20 full-batch steps; return their losses."""
    x = torch.randn(500, 64, generator=seeded(0)).to(device)
    y = torch.randn(500, 10, generator=seeded(1)).to(device)
    nets = [
        mlp((64, 128, 128, 10), generator=seeded(s), dtype=torch.float32).to(device)
        for s in range(32)
    ]
    model = EnsembleMLP(nets)
    rates = torch.full((32,), 0.1, device=device)
    optimizer = EnsembleSGD(model.parameters(), rates)
    run = train(model, x, y, optimizer=optimizer, steps=20, probe_steps=[20])
    return torch.as_tensor(run.records["loss"])


def tangent_kernel(device: str) -> Tensor:
    """Return the tangent kernel of a network of width 512 between 200 inputs."""
    net = mlp((64, 512, 512, 10), generator=seeded(0), dtype=torch.float32).to(device)
    x = torch.randn(200, 64, generator=seeded(1)).to(device)
    return empirical_ntk(net, x)


def hessian_products(device: str) -> Tensor:
    """Return what 10 Hessian products in a row make of a vector, normalised each time."""
    net = mlp((64, 512, 512, 10), activation="tanh", generator=seeded(0), dtype=torch.float32)
    net = net.to(device)
    x = torch.randn(2000, 64, generator=seeded(1)).to(device)
    y = torch.randn(2000, 10, generator=seeded(2)).to(device)
    operator = HessianOperator(lambda: half_squared_loss(net(x), y), net.parameters())
    vector = torch.randn(operator.dimension, generator=seeded(3)).to(device)
    for _ in range(10):
        vector = operator @ vector
        vector = vector / torch.linalg.vector_norm(vector)
    return vector


def seconds(work: Callable[[str], Tensor], device: str) -> tuple[float, Tensor]:
    """Return the median wall time over some turns after a first one, and the result."""
    times = []
    for _ in range(_TURNS + 1):
        start = time.perf_counter()
        result = work(device).cpu()  # which waits for the device
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:]), result


def main(arguments: list[str]) -> int:
    """Measure all three on the device named on the command line."""
    if len(arguments) != 1:
        print("device.py: say which device, for example: device.py cuda", file=sys.stderr)
        return 2
    (device,) = arguments
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError):
        print(f"device.py: PyTorch finds no device {device!r} here", file=sys.stderr)
        return 2
    on_cuda = torch.device(device).type == "cuda"
    name = torch.cuda.get_device_name(device) if on_cuda else device
    print(f"{name}, torch {torch.__version__}, against one thread of {harness.processor()}")
    for work in (ensemble, tangent_kernel, hessian_products):
        here, expected = seconds(work, "cpu")
        there, result = seconds(work, device)
        apart = float((result - expected).norm() / expected.norm())
        print(f"{work.__name__}: {here / there:.1f} times faster, relative difference {apart:.1e}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
