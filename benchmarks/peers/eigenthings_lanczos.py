"""Leading Hessian eigenvalues of an MLP by hessian-eigenthings' Lanczos, as it comes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from hessian_eigenthings import HessianOperator, lanczos, supervised_loss
from serving import inputs, serve
from torch import nn

torch.manual_seed(0)
arrays = {name: torch.from_numpy(array) for name, array in inputs().items()}
x, y, exact = (arrays.pop(name) for name in ("x", "y", "exact"))
k = int(arrays.pop("k"))
model = nn.Sequential(
    nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 10)
).double()
model.load_state_dict(arrays)
# The mean over samples and outputs, where the half squared loss sums over outputs.
factor = y.shape[1] / 2


def work() -> Mapping[str, float | int]:
    """Set up the operator and solve with default settings, but for the algebraic end."""
    operator = HessianOperator(model, [(x, y)], supervised_loss(nn.MSELoss()))
    result = lanczos(operator, k=k, which="LA")
    found = factor * np.sort(result.eigenvalues.numpy())[::-1]
    error = float(np.abs(found - exact[:k].numpy()).max() / float(exact[0]))
    return {"error": error, "products": int(result.iterations)}


serve(work)
