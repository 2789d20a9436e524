r"""The neural tangent kernel that a network has at its present parameters, at any width.

$$ \Theta_{cd}(x, x') = \sum_\theta \frac{\partial f_c(x)}{\partial\theta}
   \frac{\partial f_d(x')}{\partial\theta}, \qquad
   \Theta(x, x') = \sum_c \Theta_{cc}(x, x'). $$

The sum runs over all parameters that require gradients. `(n1, n2)` kernels are the TRACE over
outputs, a sum and no mean: for C outputs whose kernels are equal, the kernel that each of them
follows is 1/C of it. Under gradient flow on the half squared loss $\tfrac12 \sum_n |y_n-f_n|^2$,
outputs move by $\dot f = \Theta_{\text{full}}\,(y - f)$.

Jacobians are not built where a layer is known: its part is the Gram matrix of its inputs times
the Gram matrix of the gradients at its outputs (see `learnmech.practice.layers`).

Reference: Jacot, Gabriel and Hongler, "Neural tangent kernel", arXiv:1806.07572; layer by layer:
Novak, Sohl-Dickstein and Schoenholz, arXiv:2206.08720 (structured derivatives) and Engel et al.,
arXiv:2205.12372.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from learnmech.practice.layers import Factor, Weight, per_sample_factors, sample_chunks

__all__ = ["empirical_ntk", "empirical_ntk_per_parameter"]


def empirical_ntk(
    model: nn.Module,
    x1: Shaped[Tensor, "n1 ..."],
    x2: Shaped[Tensor, "n2 ..."] | None = None,
    *,
    outputs: str = "trace",
    chunk_size: int | None = None,
) -> Float[Tensor, "n1 n2 *CC"]:
    r"""Return the tangent kernel of a model between two sets of inputs.

    Exact for any module: layers that are known (linear and convolutional ones, embeddings, the
    affine parts of norms, sums and products with a parameter; by `nn` modules or by hand) are
    taken in factors, all other parameters by their per-sample Jacobians. A layer that is called
    twice and tied weights count with the sum of their gradients.

    Args:
        model: Any module from one tensor (n, ...) to outputs (n, ...), in evaluation mode if
            that makes a difference. Parameters without `requires_grad` are left out.
        x1: Inputs, (n1, ...), with the dtype and on the device of the model.
        x2: Inputs, (n2, ...); None for `x1` again, and then the kernel is exactly symmetric.
        outputs: "trace" for the sum over outputs, (n1, n2); "full" for (n1, n2, C, C), where C
            is the number of outputs per sample, flattened.
        chunk_size: Number of samples handled at a time, None for all. Memory grows with
            chunk_size times C times the activations of a sample; gradients at the layers'
            outputs are computed anew for each pair of chunks.

    Returns:
        The kernel, in squared units of outputs per unit of parameters, with the dtype and device
        of the outputs.

    Raises:
        ValueError: On a model that couples samples or is random (batch norm or dropout in
            training mode), outputs that are not finite, no trained parameter, or bad settings.

    Reference: Jacot et al., arXiv:1806.07572 (definition); Novak et al., arXiv:2206.08720.

    Cost: C backward passes per chunk, and O(n1 n2 (C w_out + w_in)) for a layer w_in -> w_out
    with one position. With T positions (sequences, images) T^2 times that, or Jacobians of this
    layer, whichever costs less.

    >>> net = nn.Linear(2, 3)  # Theta(x, x') = 3 (x . x' + 1): weights and biases, 3 outputs
    >>> empirical_ntk(net, torch.eye(2))
    tensor([[6., 3.],
            [3., 6.]])
    """
    (kernel,) = _kernels(model, x1, x2, outputs, chunk_size, together=True).values()
    return kernel


def empirical_ntk_per_parameter(
    model: nn.Module,
    x1: Shaped[Tensor, "n1 ..."],
    x2: Shaped[Tensor, "n2 ..."] | None = None,
    *,
    outputs: str = "trace",
    chunk_size: int | None = None,
) -> dict[str, Float[Tensor, "n1 n2 *CC"]]:
    r"""Return the part of each parameter in the tangent kernel; the parts sum to the whole.

    Args:
        model: As for `empirical_ntk`.
        x1: As for `empirical_ntk`.
        x2: As for `empirical_ntk`.
        outputs: As for `empirical_ntk`.
        chunk_size: As for `empirical_ntk`.

    Returns:
        The kernels by the names of `model.named_parameters()`, in its order; a tied parameter
        appears once, under its first name.

    Raises:
        ValueError: As `empirical_ntk`.

    >>> parts = empirical_ntk_per_parameter(nn.Linear(2, 3), torch.eye(2))
    >>> parts["bias"]  # one per output
    tensor([[3., 3.],
            [3., 3.]])
    """
    parts = _kernels(model, x1, x2, outputs, chunk_size, together=False)
    return {name: parts[name] for name, _ in model.named_parameters() if name in parts}


def _kernels(
    model: nn.Module,
    x1: Tensor,
    x2: Tensor | None,
    outputs: str,
    chunk_size: int | None,
    *,
    together: bool,
) -> dict[str, Tensor]:
    """Fill in chunk by chunk; for one set of inputs only blocks on and above the diagonal."""
    if outputs not in ("trace", "full"):
        raise ValueError(f'outputs must be "trace" or "full", not {outputs!r}.')
    full = outputs == "full"
    columns = x1 if x2 is None else x2
    kernels: dict[str, Tensor] = {}
    for i, rows in enumerate(sample_chunks(len(x1), chunk_size)):
        own = per_sample_factors(model, _forward, [x1[rows]])
        for j, cols in enumerate(sample_chunks(len(columns), chunk_size)):
            if x2 is None and j < i:
                continue
            diagonal = x2 is None and i == j
            parts = _block(model, own, x1[rows], None if diagonal else columns[cols], full)
            if together:
                parts = {"": torch.stack(list(parts.values())).sum(0)}
            for name, block in parts.items():
                if name not in kernels:
                    shape = (len(x1), len(columns), *block.shape[2:])
                    kernels[name] = block.new_empty(shape)
                if diagonal:
                    kernels[name][rows, cols] = 0.5 * (block + _flipped(block))
                else:
                    kernels[name][rows, cols] = block
                    if x2 is None:
                        kernels[name][cols, rows] = _flipped(block)
    return kernels


def _forward(network: Callable[[Tensor], Any], inputs: Tensor) -> Any:
    return network(inputs)


def _flipped(block: Float[Tensor, "n m *CC"]) -> Float[Tensor, "m n *CC"]:
    return block.transpose(0, 1) if block.ndim == 2 else block.permute(1, 0, 3, 2)


def _block(
    model: nn.Module, own: Sequence[Factor], x1: Tensor, x2: Tensor | None, full: bool
) -> dict[str, Tensor]:
    """The kernel between two chunks, by parameters; None for the first chunk again."""
    other = own if x2 is None else per_sample_factors(model, _forward, [x2])
    mine, theirs = _by_kind(own), _by_kind(other)
    if x2 is not None and mine.keys() != theirs.keys():
        # The model took another path for the second chunk: exact Jacobians where they part.
        apart = {w.name for _, weights in mine.keys() ^ theirs.keys() for w in weights}
        mine, theirs = (
            _by_kind(per_sample_factors(model, _forward, [x], avoid=apart)) for x in (x1, x2)
        )
    parts: dict[str, Tensor] = {}
    for key, factor in mine.items():
        parts |= factor.kernels(theirs[key], full)
    return parts


def _by_kind(factors: Sequence[Factor]) -> dict[tuple[type, tuple[Weight, ...]], Factor]:
    return {(type(factor), factor.weights): factor for factor in factors}
