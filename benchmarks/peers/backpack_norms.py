"""Squared per-sample gradient norms of an MLP by BackPACK's BatchL2Grad."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import torch
from backpack import backpack, extend
from backpack.extensions import BatchL2Grad
from serving import inputs, serve
from torch import nn

# PyTorch says that the hooks of the first layer see its outputs; that is what they are there for.
warnings.filterwarnings("ignore", "Full backward hook is firing")
arrays = {name: torch.from_numpy(array) for name, array in inputs().items()}
x, y = arrays.pop("x"), arrays.pop("y")
reference = arrays.pop("reference")
model = nn.Sequential(
    nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 10)
)
model.load_state_dict(arrays)
model = extend(model)


def work() -> Mapping[str, float]:
    """One forward and backward pass."""
    model.zero_grad()
    with backpack(BatchL2Grad()):
        (0.5 * ((model(x) - y) ** 2).sum()).backward()
    norms = torch.stack([p.batch_l2 for p in model.parameters()]).sum(0)
    return {"error": float((norms.double() / reference - 1.0).abs().max())}


serve(work)
