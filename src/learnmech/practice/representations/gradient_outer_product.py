r"""The average gradient outer product (AGOP): which input directions a network's outputs use.

For a network f from (d,) to (C,) with Jacobian $J_i = \partial f/\partial x$ at sample i, (C, d),

$$ G = \frac1n \sum_{i=1}^n J_i^\top J_i, \qquad \mathrm{tr}\,G = \frac1n\sum_i |J_i|_F^2. $$

For a linear network $f(x) = Wx$ it is $W^\top W$. With a layer's name, x stands for the inputs
of that layer, and the Jacobian goes through that layer alone: a path that leaves the same vector
around it, such as a skip connection, does not count.

It is exact: one reverse pass per output over a whole chunk of samples, since samples do not feel
each other and the gradient of a sum of outputs then holds every sample's own. That is checked
between the two halves of the first chunk, which finds what acts through the whole batch.

Reference: Radhakrishnan, Beaglehole, Pandit and Belkin, "Mechanism of feature learning in deep
fully connected networks and kernel machines that recursively learn features", arXiv:2212.13881
(Science 383, 2024).
"""

from functools import reduce
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call

from learnmech.practice.layers import refuse_coupled_samples

__all__ = ["average_gradient_outer_product"]

Inputs = Float[Tensor, "n ..."] | Int[Tensor, "n ..."]


def average_gradient_outer_product(
    model: nn.Module,
    inputs: Inputs,
    *,
    layer: str | None = None,
    chunk_size: int | None = None,
) -> Float[Tensor, "d d"]:
    r"""AGOP of a module by its inputs, or by the inputs of one of its layers.

    Args:
        model: Any module that maps (n, ...) to (n, ...) sample by sample, in the mode in which
            it is to be read. It is left as it was: mode, parameters, `.grad` and buffers.
        inputs: Samples, (n, ...); axes after the first are flattened to d, and those of the
            outputs to C.
        layer: Name of a module inside `model`, as `named_modules` gives it, that is called once
            with one tensor (n, ...); its inputs then take the place of `inputs`, which need not
            be floating-point numbers.
        chunk_size: Number of samples handled at once; None takes all. The result depends on it
            by rounding only.

    Returns:
        G, (d, d), symmetric and positive semi-definite, with the dtype and device of the
        vectors it differentiates by, in units of squared outputs per squared input.

    Raises:
        ValueError: If samples feel each other, as through batch normalisation that uses the
            statistics of the batch; if dropout is active; if the outputs do not depend on the
            inputs differentiably, or their gradient is not finite; or on inputs, outputs, a layer
            or a chunk size that do not fit.

    Reference: Radhakrishnan et al., arXiv:2212.13881. Cost: C + 1 backward passes over all
    samples, and O(n C d^2).

    >>> linear = nn.Linear(2, 1, bias=False)
    >>> _ = linear.weight.data.copy_(torch.tensor([[1.0, 2.0]]))
    >>> average_gradient_outer_product(linear, torch.zeros(5, 2))  # W^T W
    tensor([[1., 2.],
            [2., 4.]])
    """
    n = len(inputs)
    size = n if chunk_size is None else chunk_size
    if n == 0 or size < min(n, 2):
        raise ValueError("give at least one sample, and a chunk size of at least two.")
    if inputs.is_floating_point() and not bool(torch.isfinite(inputs).all()):
        raise ValueError("inputs hold NaN or infinity; give finite ones.")
    refuse_coupled_samples(model)
    sums = (_sum_over(model, inputs[i : i + size], layer, check=i == 0) for i in range(0, n, size))
    return reduce(torch.add, sums) / n


def _sum_over(
    model: nn.Module, inputs: Inputs, layer: str | None, *, check: bool
) -> Float[Tensor, "d d"]:
    """Sum over some samples of J^T J."""
    b = len(inputs)
    with torch.enable_grad():
        at, outputs = _differentiable(model, inputs, layer)
        if not isinstance(outputs, Tensor) or outputs.ndim == 0:
            raise ValueError("the model must return one tensor, with a row for each sample.")
        if len(outputs) != b:
            raise ValueError(f"the model returns {len(outputs)} rows for {b} samples.")
        half = outputs[: b // 2].sum()
        each = outputs.reshape(b, -1).sum(0).unbind()  # C sums over samples
    if not outputs.requires_grad:
        raise ValueError("the outputs do not depend on the inputs in a differentiable way.")

    def gradient(scalar: Tensor) -> Float[Tensor, "b d"]:
        (by,) = torch.autograd.grad(scalar, at, retain_graph=True, materialize_grads=True)
        return by.reshape(b, -1)

    # NaN is not a trace of other samples; it is refused below.
    if check and bool((gradient(half)[b // 2 :].nan_to_num(nan=0.0) != 0).any()):
        raise ValueError(
            "the outputs of some samples depend on other samples, so no sample has a gradient of "
            "its own; is a normalisation using the statistics of the batch?"
        )
    d = at.numel() // b
    total = torch.zeros(d, d, dtype=at.dtype, device=at.device)
    for scalar in each:
        rows = gradient(scalar)
        total.addmm_(rows.mT, rows)
    if not bool(torch.isfinite(total).all()):
        raise ValueError("a gradient of the outputs by the inputs is NaN, infinite or too large.")
    return total


def _differentiable(model: nn.Module, inputs: Inputs, layer: str | None) -> tuple[Tensor, Tensor]:
    """Run the model; return the leaf to differentiate by, and the outputs."""
    # The parameters without their graph, and copies of what a forward pass may write to.
    state = {name: p.detach() for name, p in model.named_parameters()}
    state |= {name: buffer.clone() for name, buffer in model.named_buffers()}
    if layer is None:
        if not inputs.is_floating_point():
            raise ValueError("inputs must be floating-point numbers to be differentiated by.")
        leaf = inputs.detach().requires_grad_()
        return leaf, functional_call(model, state, (leaf.clone(),))
    inside = dict(model.named_modules())
    if not layer or layer not in inside:
        raise ValueError(f"the model has no layer {layer!r}; its layers are {[*inside][1:]}.")
    leaves: list[Tensor] = []

    def take(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Tensor, ...]:
        if len(arguments) != 1 or not isinstance(arguments[0], Tensor):
            raise ValueError(f"the layer {layer!r} takes something other than one tensor.")
        leaves.append(arguments[0].detach().requires_grad_())
        return (leaves[-1].clone(),)

    hook = inside[layer].register_forward_pre_hook(take)
    try:
        # A copy, for layers before this one that work in place.
        outputs = functional_call(model, state, (inputs.clone(),))
    finally:
        hook.remove()
    if len(leaves) != 1 or len(leaves[0]) != len(inputs):
        raise ValueError(
            f"the layer {layer!r} must be called once, with one row for each sample; it was called "
            f"{len(leaves)} times."
        )
    return leaves[0], outputs
