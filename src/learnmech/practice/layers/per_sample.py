r"""Per-sample gradients $\partial f_c(x_n) / \partial\theta$ of any module, layer by layer.

`per_sample_factors` runs a model once on all samples and once backwards per output, and keeps
for each layer the two factors of its gradients. What a layer is, is decided call by call; a
parameter is computed in factors only if all of this holds:

1. every edge of the autograd graph into the parameter belongs to a known call, and all of these
   calls use it in one way (where a layer is called twice, their gradients are added);
2. the first axis inside these calls runs over samples in the order of the inputs: it has their
   number, and the first and the last sample alone give the same rows as in the batch;
3. nothing wrote on the inputs of these calls afterwards.

All other parameters (tied in two ways, in modules of one's own) get exact Jacobians from plain
autograd, one sample and one output at a time. On a processor this costs about what `vmap` does,
and it is right for recurrent layers and attention, which `vmap` refuses or warns about. A model
that couples its samples or draws random numbers has no per-sample gradients and is refused.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

import torch
from torch import Tensor, nn

from learnmech.practice.layers.factors import Factor, Rows, Weight, added
from learnmech.practice.layers.recording import Recorder, Site
from learnmech.practice.layers.running import (
    agree,
    number_of_samples,
    refuse_coupled_samples,
    refuse_difference,
    trained_parameters,
    undisturbed,
)

__all__ = ["Call", "per_sample_factors"]

Call = Callable[..., Any]
"""Called with a network and tensors (n, ...); gives outputs (n, ...)."""


def per_sample_factors(
    model: nn.Module, call: Call, tensors: Sequence[Tensor], *, avoid: Set[str] = frozenset()
) -> list[Factor]:
    """Return the gradients of every output of every sample, each trained parameter in one factor.

    Args:
        model: Any module; its mode, gradients and buffers and the random state are left alone.
        call: Gives the outputs, (n, ...), from a network that stands for the model and `tensors`.
        tensors: What goes in; the first axis of each runs over the same samples.
        avoid: Names of parameters that are to get exact Jacobians.

    Returns:
        The factors; their C is the number of outputs per sample.

    Raises:
        ValueError: On a model that couples samples or is random, outputs that are not finite or
            whose first axis is not that of the inputs, and on no trained parameter or a complex
            one.

    Cost: one forward pass and C backward passes that stop at the layers' outputs; where exact
    Jacobians are needed, n forward and n C backward passes of one sample more.
    """
    trained = trained_parameters(model)
    strange = [name for name, p in trained.items() if p.is_complex()]
    if strange:
        raise ValueError(
            f"per-sample gradients are of real parameters; {', '.join(strange)} is complex. Write "
            "real and imaginary parts as parameters of their own."
        )
    refuse_coupled_samples(model)
    n = number_of_samples(tensors)
    ends = () if n == 1 else (slice(0, 1), slice(n - 1, n))
    with undisturbed(model, tensors[0].device) as network:
        outputs, recorder = _watched(network, call, tensors, trained)
        alone = [_watched(network, call, [t[end] for t in tensors], trained) for end in ends]
    probes = []
    for row, (output, probe) in zip((0, -1), alone, strict=False):
        refuse_difference(outputs[row], output[0])
        probes.append((row, probe.sites))
    avoid = avoid | recorder.unaccounted(outputs)
    factors = _in_factors(outputs, _usable(recorder.sites, probes, n, avoid))
    done = {w.name for factor in factors for w in factor.weights}
    rest = {name: p for name, p in trained.items() if name not in done}
    if rest:
        with undisturbed(model, tensors[0].device) as network:
            factors += _exact(network, call, tensors, rest, outputs.shape[1])
    return factors


def _watched(
    network: Callable[..., Any],
    call: Call,
    tensors: Sequence[Tensor],
    trained: Mapping[str, nn.Parameter],
) -> tuple[Tensor, Recorder]:
    """Run the network and return its outputs, (n, C), and what was recorded on the way."""
    n = len(tensors[0])
    with Recorder(trained) as recorder:
        outputs = call(network, *tensors)
    if not isinstance(outputs, Tensor) or outputs.ndim < 1 or len(outputs) != n:
        shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ValueError(
            f"{n} samples must give one tensor with first axis {n}, not {shape}; return outputs, "
            "or losses, of each sample."
        )
    if not bool(torch.isfinite(outputs).all()):
        raise ValueError("the outputs hold NaN or infinity, so they have no gradients.")
    return outputs.reshape(n, -1), recorder


def _usable(
    sites: Sequence[Site], probes: Sequence[tuple[int, Sequence[Site]]], n: int, avoid: Set[str]
) -> list[list[Site]]:
    """Group the calls by layer and keep the layers for which the three conditions hold."""
    groups: dict[object, list[Site]] = defaultdict(list)
    keys: dict[str, set[object]] = defaultdict(set)
    unusable = set(avoid)
    for k, site in enumerate(sites):
        alone = [(row, probe[k] if len(probe) == len(sites) else None) for row, probe in probes]
        if not _runs_over_samples(site, alone, n):
            unusable |= {weight.name for weight in site.weights}
        groups[site.key].append(site)
        for weight in site.weights:
            keys[weight.name].add(site.key)
    unusable |= {name for name, ways in keys.items() if len(ways) > 1}
    return [
        group for group in groups.values() if unusable.isdisjoint(w.name for w in group[0].weights)
    ]


def _runs_over_samples(site: Site, alone: Sequence[tuple[int, Site | None]], n: int) -> bool:
    """Whether the site's first axis is that of the samples and its source is still unchanged."""
    unchanged = site.source._version == site.version
    return (
        unchanged
        and site.source.shape[:1] == site.shape[:1] == (n,)
        and all(
            probe is not None
            and probe.key == site.key
            and probe.source.shape == (1, *site.source.shape[1:])
            and agree(site.source[row], probe.source[0])
            for row, probe in alone
        )
    )


def _in_factors(outputs: Tensor, groups: Sequence[Sequence[Site]]) -> list[Factor]:
    sites = [site for group in groups for site in group]
    if not sites:
        return []
    n, c = outputs.shape
    lefts = [outputs.new_empty(n, c, *site.shape[1:]) for site in sites]
    for output in range(c):
        towards = torch.zeros_like(outputs)
        towards[:, output] = 1.0
        gradients = torch.autograd.grad(
            outputs,
            [site.edge for site in sites],
            towards,
            retain_graph=output + 1 < c,
            allow_unused=True,
        )
        for k, gradient in enumerate(gradients):
            if c == 1 and gradient is not None:
                lefts[k] = gradient.unsqueeze(1)
            else:
                lefts[k][:, output] = 0.0 if gradient is None else gradient
    built = iter([site.build(site.source, left) for site, left in zip(sites, lefts, strict=True)])
    return [added([next(built) for _ in group]) for group in groups]


def _exact(
    network: Callable[..., Any],
    call: Call,
    tensors: Sequence[Tensor],
    parameters: Mapping[str, nn.Parameter],
    outputs: int,
) -> list[Factor]:
    """Jacobians with respect to some parameters, written out; one sample and output at a time."""
    n = len(tensors[0])
    rows = {name: p.new_zeros(n, outputs, p.numel()) for name, p in parameters.items()}
    for sample in range(n):
        of_sample = call(network, *(t[sample : sample + 1] for t in tensors)).reshape(-1)
        for output in range(outputs) if of_sample.requires_grad else ():
            gradients = torch.autograd.grad(
                of_sample[output],
                list(parameters.values()),
                retain_graph=output + 1 < outputs,
                allow_unused=True,
            )
            for name, gradient in zip(rows, gradients, strict=True):
                if gradient is not None:
                    rows[name][sample, output] = gradient.to_dense().flatten()
    return [
        Rows({name: rows[name]}, (Weight(name, tuple(p.shape)),)) for name, p in parameters.items()
    ]
