r"""The coordinate check: how far a few steps move each layer, as a power of the width.

For every width $n$ and seed a network is made, each layer's outputs on the same inputs are recorded
before and after a few steps, and

$$ \Delta_l(n) = \sqrt{\mathrm{mean}\,(h_l^{\text{after}} - h_l^{\text{before}})^2}, \qquad
   \text{slope} = \frac{d \ln \Delta_l}{d \ln n}, $$

the mean over samples and coordinates. Slopes are fitted over all widths and seeds, and taken
locally between neighbouring widths, as the mean over seeds with its standard error. Theory speaks
of the wide end: a fitted slope also sees the bend at small widths.

Reference: Yang et al., "Tensor Programs V", arXiv:2203.03466, the appendix on implementing and
checking a parametrisation, where the check is a picture; here it is a slope with its error.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from learnmech.numerics import fit_power_law
from learnmech.practice.losses import half_squared_loss
from learnmech.practice.training.loop import Loss, train

__all__ = ["CoordinateCheck", "coordinate_check"]

Maker = Callable[[int, torch.Generator], tuple[nn.Module, torch.optim.Optimizer]]


@dataclass(frozen=True)
class CoordinateCheck:
    """How far a few steps moved each layer, by width and seed, and the slopes of it."""

    layers: tuple[str, ...]  # names of the layers, l of them, in the order of the network
    widths: Int[np.ndarray, " W"]  # widths, increasing
    changes: Float[np.ndarray, "l S W"]  # root mean square change of the outputs of each layer
    slope: Float[np.ndarray, " l"]  # log-log slope over all widths and seeds
    slope_error: Float[np.ndarray, " l"]  # its standard error, from the fit's residuals
    local_slope: Float[np.ndarray, "l W-1"]  # between neighbouring widths, mean over seeds
    local_slope_error: Float[np.ndarray, "l W-1"]  # its standard error, from the spread over seeds


def coordinate_check(
    make: Maker,
    widths: Sequence[int],
    inputs: Shaped[Tensor, "n ..."],
    targets: Shaped[Tensor, "n ..."],
    *,
    generators: Sequence[torch.Generator],
    steps: int = 1,
    loss: Loss = half_squared_loss,
    layers: Sequence[str] | None = None,
) -> CoordinateCheck:
    """Train networks of several widths for a few steps and measure how far each layer moved.

    Args:
        make: Function of a width and a generator that returns a new network and an optimizer of
            its parameters.
        widths: Two widths or more, increasing.
        inputs: All inputs, (n, ...); every step uses all of them.
        targets: All targets, (n, ...).
        generators: One source of randomness per seed, at least two; each makes one network of
            every width, smallest first.
        steps: Number of steps; one, with a small learning rate, for the slopes of theory.
        loss: Function of outputs and targets.
        layers: Names of modules, as in `named_modules`, whose outputs are recorded; by default
            every module that has parameters of its own and no children.

    Returns:
        Changes, fitted slopes and local slopes, each with its standard error.

    Raises:
        ValueError: On fewer than two widths or seeds, no steps, layers that do not exist or are
            not called once with one tensor as output, or a layer that did not move.
        FloatingPointError: When a loss is no longer finite.

    Loss convention: that of `loss`; the half squared loss by default.

    >>> def make(width, generator):
    ...     net = nn.Sequential(nn.Linear(1, width, bias=False))
    ...     nn.init.zeros_(net[0].weight)
    ...     return net, torch.optim.SGD(net.parameters(), lr=0.1)
    >>> def root_of_sum(outputs, targets):  # its gradient shrinks with the root of the width
    ...     return (outputs.sum(-1) / outputs.shape[-1] ** 0.5 - targets).mean()
    >>> seeds = [torch.Generator(), torch.Generator()]
    >>> x = torch.ones(1, 1)
    >>> check = coordinate_check(
    ...     make, [4, 16, 64], x, x[0], generators=seeds, loss=root_of_sum
    ... )
    >>> check.layers, check.slope.round(6).tolist()
    (('0',), [-0.5])
    """
    sizes = [int(width) for width in widths]
    if len(sizes) < 2 or sorted(set(sizes)) != sizes or len(generators) < 2 or steps < 1:
        raise ValueError(
            "a coordinate check needs at least two increasing widths, two generators and one step."
        )
    names: tuple[str, ...] = ()
    changes = []
    for generator in generators:
        row = []
        for width in sizes:
            model, optimizer = make(width, generator)
            names = tuple(_layers(model) if layers is None else layers)
            before = _outputs(model, inputs, names)
            train(
                model,
                inputs,
                targets,
                optimizer=optimizer,
                steps=steps,
                probe_steps=[steps],
                loss=loss,
            )
            after = _outputs(model, inputs, names)
            moved = zip(after, before, strict=True)
            row.append([float((b - a).double().square().mean().sqrt()) for b, a in moved])
        changes.append(row)
    measured = np.array(changes).transpose(2, 0, 1)
    still = [name for name, of_layer in zip(names, measured, strict=True) if not of_layer.all()]
    if still:
        raise ValueError(f"these layers did not move and have no slope: {', '.join(still)}.")
    positions = np.log(np.array(sizes, dtype=np.float64))
    local = np.diff(np.log(measured), axis=2) / np.diff(positions)
    fits = [
        fit_power_law(np.tile(np.array(sizes, dtype=np.float64), len(generators)), of_layer.ravel())
        for of_layer in measured
    ]
    return CoordinateCheck(
        layers=names,
        widths=np.array(sizes),
        changes=measured,
        slope=np.array([fit.slope for fit in fits]),
        slope_error=np.array([fit.slope_standard_error for fit in fits]),
        local_slope=local.mean(1),
        local_slope_error=local.std(1, ddof=1) / len(generators) ** 0.5,
    )


def _layers(model: nn.Module) -> list[str]:
    """Names of all modules that have parameters of their own and no children."""
    return [
        name
        for name, module in model.named_modules()
        if next(module.parameters(recurse=False), None) is not None
        and next(module.children(), None) is None
    ]


def _outputs(model: nn.Module, inputs: Tensor, names: Sequence[str]) -> list[Tensor]:
    """Outputs of the named modules in one forward pass without gradient."""
    modules = dict(model.named_modules())
    missing = [name for name in names if name not in modules]
    if missing or not names:
        raise ValueError(f"no layer is called {missing or 'anything'}; there are {list(modules)}.")
    seen: dict[str, list[Tensor]] = {name: [] for name in names}

    def keep(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            if not isinstance(output, Tensor):
                raise ValueError(f"layer {name!r} returns no single tensor; name other layers.")
            seen[name].append(output.detach().clone())

        return hook

    handles = [modules[name].register_forward_hook(keep(name)) for name in names]
    try:
        with torch.no_grad():
            model(inputs)
    finally:
        for handle in handles:
            handle.remove()
    unclear = [name for name, outputs in seen.items() if len(outputs) != 1]
    if unclear:
        raise ValueError(
            f"these layers are not called exactly once in a forward pass: {', '.join(unclear)}; "
            "name others in layers=."
        )
    return list(itertools.chain.from_iterable(seen.values()))
