"""Leading Hessian eigenvalues of an MLP by PyHessian's power iteration."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import torch
from pyhessian import hessian
from serving import inputs, serve
from torch import nn

# It keeps the graph in .grad, which PyTorch advises against.
warnings.filterwarnings("ignore", "Using backward\\(\\) with create_graph=True")
torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
arrays = {name: torch.from_numpy(array) for name, array in inputs().items()}
x, y, exact = (arrays.pop(name) for name in ("x", "y", "exact"))
k = int(arrays.pop("k"))
model = nn.Sequential(
    nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 10)
)
model.load_state_dict(arrays)
# The mean over samples and outputs, where the half squared loss sums over outputs.
factor = y.shape[1] / 2


def work() -> Mapping[str, float]:
    """Set up and iterate, to a tolerance of 1e-6 in place of the default 1e-3."""
    model.zero_grad(set_to_none=True)
    values, _ = hessian(model, nn.MSELoss(), data=(x, y), cuda=False).eigenvalues(
        maxIter=1000, tol=1e-6, top_n=k
    )
    found = factor * np.sort(values)[::-1]
    return {"error": float(np.abs(found - exact[:k].numpy()).max() / float(exact[0]))}


serve(work)
