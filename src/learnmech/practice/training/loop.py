r"""Training runs with probes: full batches and minibatches, any optimizer, one or many networks.

Step $k$ takes the gradient of the loss on all samples, or on minibatch $k$, by autograd, and hands
it to an optimizer of `torch.optim`. Losses are numbers (), or (E,) for an ensemble, whose members
are trained independently: the sum of their losses is differentiated. Time is steps times learning
rate. The default loss is the HALF squared loss, 1/2 mean_i |y_i - f(x_i)|^2.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.func import functional_call

from learnmech.numerics.progress import tracked
from learnmech.practice.losses import half_squared_loss
from learnmech.practice.training.batches import minibatches
from learnmech.practice.training.ensembles import EnsembleOptimizer

__all__ = ["DivergenceError", "Loss", "Probe", "Run", "gradient_descent", "train"]

Probe = Callable[[nn.Module], Tensor | Sequence[Tensor]]
Loss = Callable[[Tensor, Tensor], Tensor]


class DivergenceError(FloatingPointError):
    """A run whose loss is no longer finite; `step` is the number of steps it had taken."""

    def __init__(self, step: int, learning_rate: float | Tensor) -> None:
        remedy = f"lower the learning rate (now {learning_rate})"
        if step == 0:
            remedy = "no step was taken yet, so look for NaN in data and weights, or no data"
        super().__init__(f"training diverged: the loss is not finite at step {step}; {remedy}.")
        self.step, self.learning_rate = step, learning_rate

    def __reduce__(self) -> tuple[Any, ...]:
        """Let the error pass between processes."""
        return DivergenceError, (self.step, self.learning_rate)


@dataclass(frozen=True)
class Run:
    """What probes saw during one run."""

    steps: Int[np.ndarray, " T"]  # number of steps taken before each probe
    t: Float[np.ndarray, "T ..."]  # steps times learning rate; (T, E) where members have their own
    records: Mapping[str, np.ndarray]  # name -> (T, ...), as the probe returned it
    diverged: Mapping[int, int] = field(default_factory=dict)  # frozen member -> step it froze at


@torch.enable_grad()
def train(
    model: nn.Module,
    inputs: Shaped[Tensor, "n ..."],
    targets: Shaped[Tensor, "n ..."],
    *,
    optimizer: torch.optim.Optimizer,
    steps: int,
    probe_steps: Sequence[int] | Int[np.ndarray, " T"],
    probes: Mapping[str, Probe] | None = None,
    loss: Loss = half_squared_loss,
    batch_size: int | None = None,
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
) -> Run:
    """Train a model in place with any optimizer, and record what probes return.

    The "loss" on all samples is recorded without being asked for. A loss that is no longer finite
    stops the run; in an ensemble with an `EnsembleOptimizer` it freezes the member instead, which
    is reported in `Run.diverged`: its weights stay as they were at that step, its loss is not
    finite from there on, and the others never notice. With minibatches the passes over all
    samples only record: buffers and random state are as if they had not been made.

    Args:
        model: Any module; its parameters change, its mode does not. Gradients that it holds are
            dropped, before and after.
        inputs: All inputs, (n, ...), with the dtype and on the device of the model.
        targets: All targets, (n, ...), as the loss takes them.
        optimizer: Holds the model's parameters, in groups if you like:
            `torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)`, `torch.optim.Adam(...)`,
            or an `EnsembleSGD` or `EnsembleAdam` with one learning rate per member.
        steps: Number of steps; all of them are taken, also after the last probe.
        probe_steps: Increasing steps, from 0 (before the first) to `steps`, to record at.
        probes: name -> function of the model, called without gradients.
        loss: Function of outputs and targets; returns (), or (E,) for an ensemble.
        batch_size: Samples per step; None for all. Every epoch is a new random order, cut into
            batches of this size; what is left over is not seen in that epoch.
        generator: Source of randomness of the minibatches, shared by all members of an ensemble;
            or one per member, which then sees the batches that it would see alone (the model
            has to take inputs (E, b, ...)).

    Returns:
        What was recorded, as NumPy arrays with the dtype of the probes. `Run.t` uses the learning
        rates of the optimizer's first group, as they are at the start.

    Raises:
        ValueError: On settings that make no run, or where nothing would be trained.
        DivergenceError: When the loss is no longer finite, in a run that is not an ensemble with
            an `EnsembleOptimizer`; the message, and its `step`, name the step. It is a
            `FloatingPointError`.

    Loss convention: that of `loss`; the half squared loss by default.

    >>> net = nn.Linear(1, 1, bias=False)
    >>> x = torch.ones(1, 1)
    >>> sgd = torch.optim.SGD(net.parameters(), lr=1.0)
    >>> run = train(net, x, x, optimizer=sgd, steps=1, probe_steps=[1])
    >>> float(run.records["loss"][0])  # one step of size one solves it
    0.0
    """
    probes = {} if probes is None else probes
    wanted = _checked_probe_steps(probe_steps, steps, probes)
    if isinstance(optimizer, torch.optim.LBFGS):
        raise ValueError(
            "L-BFGS evaluates the loss as often as it likes; train takes single steps."
        )
    batches = None
    if batch_size is not None:
        if generator is None:
            raise ValueError("minibatches are random; pass generator=, one or one per member.")
        batches = minibatches(inputs.shape[0], batch_size, generator)
        if (
            isinstance(optimizer, EnsembleOptimizer)
            and not isinstance(generator, torch.Generator)
            and len(generator) != optimizer.members
        ):
            raise ValueError(
                f"give one generator for all members, or one for each of the {optimizer.members}, "
                f"not {len(generator)}."
            )
    strangers = _parameters_outside(optimizer, model)
    rate = optimizer.param_groups[0]["lr"]
    numbers = rate.detach().cpu().numpy() if isinstance(rate, Tensor) else rate
    rates = np.array(numbers, dtype=np.float64)  # a copy: the optimizer may change its own
    seen: dict[str, list[np.ndarray]] = {name: [] for name in ("loss", *probes)}
    due = set(wanted)
    diverged: dict[int, int] = {}
    for step in tracked(range(steps + 1), "step"):
        model.zero_grad(set_to_none=True)
        for p in strangers:
            p.grad = None
        losses = None
        if batches is None or step in due or step == steps:
            outputs = model(inputs) if batches is None else _looked_at(model, inputs)
            losses = loss(outputs, targets)
            _watch(losses, step, optimizer, diverged)
        if losses is not None and step in due:
            seen["loss"].append(_as_array(losses))
            with torch.no_grad():
                for name, probe in probes.items():
                    seen[name].append(_as_array(probe(model)))
        if step == steps:
            break
        if batches is not None:
            chosen = next(batches).to(inputs.device)
            losses = loss(model(inputs[chosen]), targets[chosen])
            _watch(losses, step, optimizer, diverged)
        assert losses is not None
        if not losses.requires_grad:
            raise ValueError(
                "the loss depends on no parameter that requires gradients, so there is nothing to "
                "train."
            )
        losses.sum().backward()
        optimizer.step()
    model.zero_grad(set_to_none=True)
    records = {name: np.stack(values) for name, values in seen.items()}
    times = np.multiply.outer(np.array(wanted, dtype=np.float64), rates)
    return Run(np.array(wanted), times, records, diverged)


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

    It is `train` with `torch.optim.SGD`, the half squared loss and full batches. Members of an
    ensemble (leading axes of the outputs) are trained independently: the sum of their losses is
    differentiated. "loss" is recorded without being asked for.

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
    _checked_probe_steps(probe_steps, steps, probes)
    inf = float("inf")
    decent = 0.0 <= momentum < inf and 0.0 <= weight_decay < inf
    if not (0.0 < learning_rate < inf and decent):
        raise ValueError("learning_rate must be positive, momentum and weight_decay not negative.")
    optimizer = torch.optim.SGD(
        model.parameters(), lr=learning_rate, momentum=momentum, weight_decay=weight_decay
    )
    return train(
        model,
        inputs,
        targets,
        optimizer=optimizer,
        steps=steps,
        probe_steps=probe_steps,
        probes=probes,
    )


def _checked_probe_steps(
    probe_steps: Sequence[int] | Int[np.ndarray, " T"], steps: int, probes: Mapping[str, Probe]
) -> list[int]:
    wanted = [int(k) for k in probe_steps]
    if not wanted or sorted(set(wanted)) != wanted or wanted[0] < 0 or wanted[-1] > steps:
        raise ValueError(f"probe_steps must increase from at least 0 to at most steps={steps}.")
    if "loss" in probes:
        raise ValueError('"loss" is always recorded; give the probe another name.')
    return wanted


def _parameters_outside(optimizer: torch.optim.Optimizer, model: nn.Module) -> list[Tensor]:
    """Parameters of the optimizer that are not the model's, such as those of a loss."""
    own = {id(p) for p in model.parameters()}
    held: list[Tensor] = [p for group in optimizer.param_groups for p in group["params"]]
    outside = [p for p in held if id(p) not in own]
    if len(outside) == len(held):
        raise ValueError("the optimizer holds no parameter of this model, so none would move.")
    return outside


@torch.no_grad()
def _looked_at(model: nn.Module, inputs: Tensor) -> Tensor:
    """Outputs of a pass that leaves buffers and the random state as they were."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    devices = [inputs.device] if inputs.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        outputs: Tensor = functional_call(model, buffers, (inputs,)) if buffers else model(inputs)
    return outputs


def _watch(
    losses: Tensor, step: int, optimizer: torch.optim.Optimizer, diverged: dict[int, int]
) -> None:
    """Stop a run whose loss is not finite, or freeze the members that have just diverged."""
    finite = torch.isfinite(losses)
    if bool(finite.all()):
        return
    if losses.ndim != 1 or not isinstance(optimizer, EnsembleOptimizer):
        raise DivergenceError(step, optimizer.param_groups[0]["lr"])
    members = [m for m in torch.nonzero(~finite)[:, 0].tolist() if m not in diverged]
    if members:
        optimizer.freeze(members)
        diverged |= dict.fromkeys(members, step)


def _as_array(value: Tensor | Sequence[Tensor]) -> np.ndarray:
    if not isinstance(value, Iterable):
        raise ValueError(
            f"a probe must return a tensor, or several tensors of one shape, not "
            f"{type(value).__name__}."
        )
    tensor = value if isinstance(value, Tensor) else torch.stack(list(value))
    return np.array(tensor.detach().cpu().numpy(), copy=True)
