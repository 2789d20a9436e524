"""A sweep of 64 cells on one process, on processes, on Dask and on Ray: the same numbers.

Every cell trains a small network and decomposes a matrix. Dask is a scheduler and two workers, as
real processes on loopback; Ray is a cluster of two cores on this machine. Times are wall times of
a whole call, the second on each kind of worker, when their libraries are loaded.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from harness import Bench, Facts

from learnmech.practice.sweeps import SweepResult, sweep

GRID = {"rate": np.logspace(-3.0, -1.0, 8), "seed": range(8)}
WORKERS = 2


def train(rate: float, seed: int) -> dict[str, torch.Tensor | np.ndarray]:
    """Train a network of width 64 for 100 steps on 1/2 mean |y - f|^2; decompose a matrix."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(200, 20, generator=generator)
    targets = inputs[:, :1] ** 2
    first = (torch.randn(20, 64, generator=generator) / 20**0.5).requires_grad_()
    second = (torch.randn(64, 1, generator=generator) / 8.0).requires_grad_()
    optimizer = torch.optim.SGD([first, second], lr=rate)
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = 0.5 * ((torch.tanh(inputs @ first) @ second - targets) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    matrix = np.random.default_rng(seed).normal(size=(150, 150))
    return {"loss": torch.stack(losses), "singular": np.linalg.svd(rate * matrix)[1]}


@contextmanager
def dask_on_loopback() -> Iterator[str]:
    """Run a scheduler and two workers, and yield the address."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scheduler.json"
        options = ["--scheduler-file", str(file), "--host", "127.0.0.1", "--no-dashboard"]
        worker = ["--nthreads", "1", "--no-nanny", "--local-directory", folder]
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{kind}", *options, *more],
                stderr=subprocess.DEVNULL,
            )
            for kind, more in [("scheduler", ["--port", "0"]), *[("worker", worker)] * WORKERS]
        ]
        try:
            while not file.exists() or not file.read_text("utf-8").endswith("}"):
                time.sleep(0.05)
            yield json.loads(file.read_text("utf-8"))["address"]
        finally:
            for process in reversed(processes):
                process.kill()
                process.wait()


@contextmanager
def ray_on_this_machine() -> Iterator[str]:
    """Run a cluster of two cores, which sends nothing anywhere."""
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0")
    import ray  # noqa: PLC0415 - reads its environment when it is loaded

    with tempfile.TemporaryDirectory(prefix="ray") as folder:
        ray.init(
            address="local",
            num_cpus=WORKERS,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            _temp_dir=folder,
        )
        try:
            yield "ray"
        finally:
            ray.shutdown()


def second_of_two(workers: object) -> tuple[float, SweepResult]:
    """Return the wall seconds of a second sweep, and its result."""
    for _ in range(2):
        start = time.perf_counter()
        result = sweep(train, GRID, workers=workers, cache=False, dims={"loss": ["step"]})
    return time.perf_counter() - start, result


def plain_loop() -> Facts:
    """Compute all cells as one would without a sweep."""
    for rate in GRID["rate"]:
        for seed in GRID["seed"]:
            train(float(rate), seed)
    return {}


def largest_difference(one: SweepResult, other: SweepResult) -> float:
    """Return the largest difference between two sweeps; infinity if names or kinds differ."""
    pairs = [(one.data[name], other.data.get(name)) for name in one.data]
    if any(b is None or (a.dtype, a.dims) != (b.dtype, b.dims) for a, b in pairs):
        return float("inf")
    return max(float(abs(a.astype("f8") - b.astype("f8")).max()) for a, b in pairs)


def main() -> None:
    """Compare every kind of worker with one process, and that with a plain loop."""
    with Bench("sweeps") as bench:
        alone, reference = second_of_two(1)
        wall = {"wall_s_one_process": alone}

        def compare(name: str, short: str, workers: object) -> None:
            wall[f"wall_s_{short}"], result = second_of_two(workers)
            bench.bound(
                f"sweep of 64 cells, largest difference between one process and {name}",
                largest_difference(reference, result),
                at_most=0.0,
            )

        compare("two processes (loky)", "loky", WORKERS)
        with dask_on_loopback() as address:
            compare("Dask (scheduler and two workers on loopback)", "dask", address)
        with ray_on_this_machine() as address:
            compare("Ray (two cores)", "ray", address)
        with tempfile.TemporaryDirectory() as cache:
            sweep(train, GRID, cache=cache)
            start = time.perf_counter()
            again = sweep(train, GRID, cache=cache)
            wall["wall_s_from_the_cache"] = time.perf_counter() - start
            bench.bound(
                "sweep of 64 cells, cells that a second call computes", again.computed, at_most=0.0
            )

        def on_one_process() -> Facts:
            sweep(train, GRID, cache=False)
            return wall

        bench.race(
            "sweep of 64 cells on one process",
            ours=on_one_process,
            peer=plain_loop,
            peer_name="a plain loop",
            pairs=3,
        )


if __name__ == "__main__":
    main()
