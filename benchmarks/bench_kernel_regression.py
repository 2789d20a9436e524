"""A learning curve of kernel regression by the eigenframework, against a bisection per size.

The peer is what reference code of the eigenframework does: ``scipy.optimize.bisect`` on kappa, one
size at a time, to its default tolerance (2e-12 absolute), then the same formulas.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from harness import Bench, Facts
from scipy.optimize import bisect

from learnmech.theory.kernel_regression import eigenframework

MODES = np.arange(1.0, 20_001.0)
SIZES = np.round(np.geomspace(10.0, 10_000.0, 58))
NOISE = 0.1


def residual(eigenvalues: np.ndarray, sizes: np.ndarray, kappas: np.ndarray) -> float:
    """The worst |sum of learnabilities - n| / n, summed without rounding."""
    sums = (math.fsum(eigenvalues / (eigenvalues + kappa)) for kappa in kappas)
    return max(abs(total / float(n) - 1.0) for total, n in zip(sums, sizes, strict=True))


def by_bisection(eigenvalues: np.ndarray, power: np.ndarray, n: float) -> tuple[float, float]:
    """Kappa and test error for one size."""

    def excess(kappa: float) -> float:
        return float((eigenvalues / (eigenvalues + kappa)).sum() - n)

    kappa = bisect(excess, 0.0, eigenvalues.sum() / n)
    learned = eigenvalues / (eigenvalues + kappa)
    overfitting = n / (n - (learned**2).sum())
    return kappa, overfitting * (((1.0 - learned) ** 2 * power).sum() + NOISE)


def curve(eigenvalues: np.ndarray, v: np.ndarray) -> Facts:
    """Our whole curve, with the residual of each kappa."""
    found = eigenframework(eigenvalues, v, SIZES, noise=NOISE)
    return {"own_residual": float(found.residual.max())}


def curve_by_bisection(eigenvalues: np.ndarray, v: np.ndarray) -> Facts:
    """The peer's, size by size."""
    for n in SIZES:
        by_bisection(eigenvalues, v * v, n)
    return {}


def main() -> None:
    """Run the races and store their table."""
    with Bench("kernel_regression") as bench:
        for exponent in (1.5, 3.0):
            eigenvalues, v = MODES**-exponent, 1.0 / MODES
            work = f"kernel-regression curve, 58 sizes x 20 000 modes, eigenvalues j^-{exponent:g}"
            bench.race(
                work,
                ours=partial(curve, eigenvalues, v),
                peer=partial(curve_by_bisection, eigenvalues, v),
                peer_name="scipy.optimize.bisect on kappa per size, its default tolerance",
                at_least=2.0,
                pairs=15,
            )
            kappas = eigenframework(eigenvalues, v, SIZES).kappa
            words = f"{work}: residual of kappa over n"
            bench.bound(words, residual(eigenvalues, SIZES, kappas), at_most=1e-12)
            kappas = np.array([by_bisection(eigenvalues, v * v, n)[0] for n in SIZES])
            bench.rows[-2]["peer_facts"] = {"residual": residual(eigenvalues, SIZES, kappas)}
        steep = MODES**-3.0
        kappas = eigenframework(steep, steep, np.array([5_000.0])).kappa
        worst = residual(steep, np.array([5_000.0]), kappas)
        bench.bound("residual of kappa over n, eigenvalues j^-3, n = 5000", worst, at_most=1e-12)


if __name__ == "__main__":
    main()
