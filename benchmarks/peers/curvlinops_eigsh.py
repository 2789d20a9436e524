"""Leading Hessian eigenvalues of an MLP by curvlinops' operator and SciPy's eigsh."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from curvlinops import HessianLinearOperator
from scipy.sparse.linalg import eigsh
from serving import inputs, serve
from torch import nn

arrays = {name: torch.from_numpy(array) for name, array in inputs().items()}
x, y, exact = (arrays.pop(name) for name in ("x", "y", "exact"))
k, tol = int(arrays.pop("k")), float(arrays.pop("tol"))
model = nn.Sequential(
    nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 10)
).double()
model.load_state_dict(arrays)
# The mean over samples and outputs, where the half squared loss sums over outputs.
factor = y.shape[1] / 2


def work() -> Mapping[str, float]:
    """Set up the operator, without its check that the loss is deterministic, and solve."""
    operator = HessianLinearOperator(
        model, nn.MSELoss(), list(model.parameters()), [(x, y)], check_deterministic=False
    )
    start = np.random.default_rng(0).standard_normal(operator.shape[0])
    values, _ = eigsh(operator.to_scipy(), k, which="LA", tol=tol, v0=start)
    found = factor * np.sort(values)[::-1]
    return {"error": float(np.abs(found - exact[:k].numpy()).max() / float(exact[0]))}


serve(work)
