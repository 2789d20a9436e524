"""Kernels of an infinitely wide ReLU network: digits against mpmath, time against plain NumPy.

neural-tangents cannot be installed beside us; its results are stored in ``reference`` with the
script that made them, and compared with ours.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import mpmath
import numpy as np
from harness import HERE, Bench, Facts

from learnmech.theory.infinite_width import InfiniteKernels, infinite_kernels

OPTIONS = {"hidden_layers": 3, "weight_std": math.sqrt(2.0), "bias_std": 0.1}
SEPARATIONS = (0.0, 1e-16, 1e-14, 1e-12, 1e-10, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4)

Pairs = Sequence[tuple[int, int]]
Exact = dict[tuple[int, int], tuple[float, float]]


def inputs(n: int = 2000, d: int = 64) -> tuple[np.ndarray, Pairs]:
    """Random inputs of which 100 lie near others, and pairs: equal, near and separate ones."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d))
    near = []
    for k in range(100):
        direction = rng.normal(size=d)
        x[n - 1 - k] = x[k] + SEPARATIONS[k % 10] * direction / np.linalg.norm(direction)
        near.append((k, n - 1 - k))
    diagonal = [(k, k) for k in range(0, n, n // 50)]
    separate = [(int(i), int(j)) for i, j in rng.integers(100, n - 100, (50, 2))]
    return x, [*diagonal, *near, *separate]


def exact(x: np.ndarray, pairs: Pairs, activation: str) -> Exact:
    """Both kernels of some pairs by the textbook recursion in 50 digits."""
    mpmath.mp.dps = 50
    pi, bias = mpmath.pi, mpmath.mpf(OPTIONS["bias_std"]) ** 2
    weight = mpmath.mpf(OPTIONS["weight_std"]) ** 2
    variances = [weight] * (OPTIONS["hidden_layers"] - 1) + [mpmath.mpf(1)]
    values = {}
    for i, j in pairs:
        u, v = ([mpmath.mpf(float(value)) for value in x[k]] for k in (i, j))
        a, b, c = (weight * mpmath.fdot(p, q) / len(u) + bias for p, q in ((u, u), (v, v), (u, v)))
        ntk = c
        for variance in variances:
            if activation == "relu":
                length = mpmath.sqrt(a * b)
                angle = mpmath.acos(min(c / length, mpmath.mpf(1)))
                own = [a / 2, b / 2]
                moment = mpmath.sin(angle) + (pi - angle) * mpmath.cos(angle)
                moment, slope = length / (2 * pi) * moment, (pi - angle) / (2 * pi)
            else:
                own = [2 / pi * mpmath.asin(2 * p / (1 + 2 * p)) for p in (a, b)]
                square = (1 + 2 * a) * (1 + 2 * b)
                moment = 2 / pi * mpmath.asin(2 * c / mpmath.sqrt(square))
                slope = 4 / pi / mpmath.sqrt(square - 4 * c**2)
            a, b, c = (variance * value + bias for value in (*own, moment))
            ntk = c + variance * slope * ntk
        values[i, j] = float(c), float(ntk)
    return values


def arccosine_formula(x: np.ndarray) -> InfiniteKernels:
    """The textbook formula on whole matrices, as it is commonly written."""
    bias, weight, layers = OPTIONS["bias_std"], OPTIONS["weight_std"], OPTIONS["hidden_layers"]
    nngp = weight**2 * x @ x.T / x.shape[1] + bias**2
    ntk = nngp.copy()
    for std in [weight] * (layers - 1) + [1.0]:
        norms = np.sqrt(nngp.diagonal())
        length = np.outer(norms, norms)
        cosine = np.clip(nngp / length, -1.0, 1.0)
        angle = np.arccos(cosine)
        moment = np.sin(angle) + (np.pi - angle) * cosine
        nngp = std**2 * length / (2.0 * np.pi) * moment + bias**2
        ntk = nngp + std**2 * (np.pi - angle) / (2.0 * np.pi) * ntk
    return InfiniteKernels(nngp, ntk)


def errors(kernels: InfiniteKernels, truth: Exact) -> Facts:
    """Largest relative errors over the pairs."""
    return {
        f"{name}_error": max(abs(float(kernel[at]) / value[k] - 1.0) for at, value in truth.items())
        for k, (name, kernel) in enumerate((("nngp", kernels.nngp), ("ntk", kernels.ntk)))
    }


def against_neural_tangents() -> tuple[float, float]:
    """Largest difference on separate pairs, and on equal, near or parallel ones, relative."""
    stored = json.loads((HERE / "reference" / "neural_tangents.json").read_text("utf-8"))
    together = np.eye(len(stored["inputs"]), dtype=bool)
    for group in ((0, 4, 5), (1, 6), (2, 7)):
        together[np.ix_(group, group)] = True
    separate, near = 0.0, 0.0
    for case in stored["kernels"]:
        theirs = {name: np.array(case.pop(name)) for name in ("nngp", "ntk")}
        kernels = infinite_kernels(np.array(stored["inputs"]), **case)
        for name, other in theirs.items():
            kernel = getattr(kernels, name)
            scale = np.sqrt(np.outer(kernel.diagonal(), kernel.diagonal()))
            difference = np.abs(kernel - other) / np.where(scale > 0.0, scale, 1.0)
            separate = max(separate, float(difference[~together].max()))
            near = max(near, float(difference[together].max()))
    return separate, near


def main() -> None:
    """Run the races and store their table."""
    x, pairs = inputs()
    truth = exact(x, pairs, "relu")
    work = "infinite ReLU NNGP and NTK, depth 3, 2000 inputs, float64"
    with Bench("infinite_width") as bench:
        row = bench.race(
            work,
            ours=lambda: errors(infinite_kernels(x, activation="relu", **OPTIONS), truth),
            peer=lambda: errors(arccosine_formula(x), truth),
            peer_name="the arccosine formula in NumPy",
        )
        for name in ("nngp", "ntk"):
            words = f"{work}: {name.upper()}, relative error against 50 digits"
            bench.bound(words, row["ours"][f"{name}_error"], at_most=1e-11)
        found = errors(infinite_kernels(x, activation="erf", **OPTIONS), exact(x, pairs, "erf"))
        for name, value in found.items():
            words = f"the same for erf: {name.removesuffix('_error').upper()}"
            bench.bound(words, value, at_most=1e-11)
        separate, near = against_neural_tangents()
        words = "difference from neural-tangents 0.6.5, stored results"
        bench.bound(f"{words}: separate inputs", separate, at_most=1e-12)
        bench.bound(f"{words}: equal, near and parallel inputs", near, at_most=1e-7)


if __name__ == "__main__":
    main()
