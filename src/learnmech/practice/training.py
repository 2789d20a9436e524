r"""Full-batch gradient descent on the HALF squared loss, 1/2 mean_i |y_i - f(x_i)|^2.

The mean runs over samples and the sum over outputs. Gradients come from autograd on all
samples, and steps from `torch.optim.SGD`; time is steps times learning rate.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

__all__ = ["Probe", "Run", "gradient_descent", "half_squared_loss"]

Probe = Callable[[nn.Module], Tensor | Sequence[Tensor]]


@dataclass(frozen=True)
class Run:
    """What probes saw during one run."""

    steps: Int[np.ndarray, " T"]  # number of steps taken before each probe
    t: Float[np.ndarray, " T"]  # steps times learning rate
    records: Mapping[str, np.ndarray]  # name -> (T, ...), as the probe returned it


def half_squared_loss(
    outputs: Float[Tensor, "*E n C"], targets: Float[Tensor, "n C"]
) -> Float[Tensor, "*E"]:
    """Return 1/2 mean_i |y_i - f(x_i)|^2, one number per member of an ensemble.

    Args:
        outputs: f(x_i), (n, C), or (E, n, C) for an ensemble.
        targets: y_i, (n, C).

    Returns:
        The loss, () or (E,), with the dtype and device of the arguments.

    >>> half_squared_loss(torch.zeros(2, 3), torch.ones(2, 3))
    tensor(1.5000)
    """
    return 0.5 * ((outputs - targets) ** 2).sum(-1).mean(-1)


def gradient_descent(
    model: nn.Module,
    inputs: Float[Tensor, "n d"],
    targets: Float[Tensor, "n C"],
    *,
    learning_rate: float,
    steps: int,
    probes: Mapping[str, Probe],
    probe_steps: Sequence[int] | Int[np.ndarray, " T"],
    momentum: float = 0.0,
    weight_decay: float = 0.0,
) -> Run:
    """Train a model in place, on all samples at every step, and record what probes return.

    Members of an ensemble (leading axes of the outputs) are trained independently: the sum of
    their losses is differentiated. "loss" is recorded without being asked for.

    Args:
        model: Any module; its parameters change, its mode does not. Gradients that it holds
            are dropped, before and after.
        inputs: All inputs, (n, d), with the dtype and on the device of the model.
        targets: All targets, (n, C), likewise.
        learning_rate: eta, positive.
        steps: Number of steps; all of them are taken, also after the last probe.
        probes: name -> function of the model, called without gradients.
        probe_steps: Increasing steps, from 0 (before the first) to `steps`, to record at.
        momentum: Heavy-ball coefficient of `torch.optim.SGD`.
        weight_decay: Adds weight_decay/2 times the squared norm of all parameters to the loss.

    Returns:
        What was recorded, as NumPy arrays with the dtype of the probes.

    Raises:
        ValueError: On settings that make no run.
        FloatingPointError: When the loss is no longer finite; the message names the step.

    >>> net = nn.Linear(1, 1, bias=False)
    >>> x = torch.ones(1, 1)
    >>> run = gradient_descent(net, x, x, learning_rate=1.0, steps=1, probes={}, probe_steps=[1])
    >>> float(run.records["loss"][0])  # one step of size one solves it
    0.0
    """
    wanted = [int(k) for k in probe_steps]
    if not wanted or sorted(set(wanted)) != wanted or wanted[0] < 0 or wanted[-1] > steps:
        raise ValueError(f"probe_steps must increase from at least 0 to at most steps={steps}.")
    inf = float("inf")
    decent = 0.0 <= momentum < inf and 0.0 <= weight_decay < inf
    if not (0.0 < learning_rate < inf and decent):
        raise ValueError("learning_rate must be positive, momentum and weight_decay not negative.")
    if "loss" in probes:
        raise ValueError('"loss" is always recorded; give the probe another name.')
    optimizer = torch.optim.SGD(
        model.parameters(), lr=learning_rate, momentum=momentum, weight_decay=weight_decay
    )
    seen: dict[str, list[np.ndarray]] = {name: [] for name in ("loss", *probes)}
    due = set(wanted)
    for step in range(steps + 1):
        optimizer.zero_grad(set_to_none=True)
        losses = half_squared_loss(model(inputs), targets)
        if not bool(torch.isfinite(losses).all()):
            raise FloatingPointError(
                f"training diverged: the loss is not finite at step {step}; lower the learning "
                f"rate (now {learning_rate})."
            )
        if step in due:
            seen["loss"].append(_as_array(losses))
            with torch.no_grad():
                for name, probe in probes.items():
                    seen[name].append(_as_array(probe(model)))
        if step == steps:
            break
        losses.sum().backward()
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    records = {name: np.stack(values) for name, values in seen.items()}
    return Run(np.array(wanted), np.array(wanted) * learning_rate, records)


def _as_array(value: Tensor | Sequence[Tensor]) -> np.ndarray:
    tensor = value if isinstance(value, Tensor) else torch.stack(list(value))
    return np.array(tensor.detach().cpu().numpy(), copy=True)
