r"""The kernel of a network's last hidden features, which becomes the NNGP kernel at great width.

$$ K(x, x') = \frac{1}{w} \sum_{i=1}^{w} \phi_i(x)\, \phi_i(x') $$

with the w features $\phi$ that enter the readout. At initialisation and in the limit of great
width this is $E[\phi(u)\phi(u')]$, the covariance of outputs under a readout without bias whose
weights have the variance $1/w$. For a readout of weight variance $\sigma_w^2/w$ and bias variance
$\sigma_b^2$ the NNGP kernel is $\sigma_w^2 K + \sigma_b^2$.

Reference: Neal, *Bayesian learning for neural networks*, chapter 2; Lee et al., "Deep neural
networks as Gaussian processes", arXiv:1711.00165.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from learnmech.practice.layers import (
    refuse_coupled_samples,
    refuse_difference,
    sample_chunks,
    undisturbed,
)

__all__ = ["empirical_nngp"]


def empirical_nngp(
    model: nn.Module,
    x1: Shaped[Tensor, "n1 ..."],
    x2: Shaped[Tensor, "n2 ..."] | None = None,
    *,
    features: str | None = None,
    chunk_size: int | None = None,
) -> Float[Tensor, "n1 n2"]:
    r"""Return $\phi(x)\cdot\phi(x')/w$, the mean over features and not their sum.

    Args:
        model: Any module from one tensor (n, ...), in evaluation mode if that makes a difference.
        x1: Inputs, (n1, ...), with the dtype and on the device of the model.
        x2: Inputs, (n2, ...); None for `x1` again, and then the kernel is exactly symmetric.
        features: Name of the module, as in `model.named_modules()`, whose output is $\phi$; axes
            after the first are flattened and w counts all of them. None for what goes into the
            last multiplication by a weight matrix (a linear layer) in the forward pass, a fixed
            factor in front of it included: with `mlp(..., ntk_multipliers=True)` name the last
            activation instead.
        chunk_size: Number of samples in one forward pass, None for all.

    Returns:
        The kernel, (n1, n2), in squared units of the features, with their dtype and device.

    Raises:
        ValueError: On a model that couples samples or is random (batch norm or dropout in
            training mode), an unknown module, a module that is not called once or returns no
            single tensor, or features that are not finite or do not have the samples on their
            first axis.

    Reference: Lee et al., arXiv:1711.00165, section on deep networks.

    Cost: one forward pass and O(n1 n2 w).

    >>> net = nn.Sequential(nn.Identity(), nn.Linear(2, 1))
    >>> empirical_nngp(net, torch.eye(2))  # x . x' / 2
    tensor([[0.5000, 0.0000],
            [0.0000, 0.5000]])
    """
    refuse_coupled_samples(model)
    mine = _features(model, x1, features, chunk_size)
    theirs = mine if x2 is None else _features(model, x2, features, chunk_size)
    kernel = mine @ theirs.mT / mine.shape[1]
    return 0.5 * (kernel + kernel.mT) if x2 is None else kernel


def _features(
    model: nn.Module, inputs: Tensor, name: str | None, chunk_size: int | None
) -> Float[Tensor, "n w"]:
    chunks = []
    for chunk in sample_chunks(len(inputs), chunk_size):
        batch = inputs[chunk]
        with undisturbed(model, inputs.device) as network, torch.no_grad():
            seen = _read(model, network, batch, name)
            ends = [(row, _read(model, network, batch[row][None], name)) for row in (0, -1)]
        for row, alone in ends:
            refuse_difference(seen[row], alone[0])
        chunks.append(seen)
    return torch.cat(chunks)


def _read(
    model: nn.Module, network: Callable[[Tensor], Any], batch: Tensor, name: str | None
) -> Float[Tensor, "n w"]:
    seen = _into_readout(network, batch) if name is None else _output(model, network, batch, name)
    if seen.shape[:1] != batch.shape[:1]:
        raise ValueError(
            f"the features of {len(batch)} samples have the shape {tuple(seen.shape)}, without "
            "samples on the first axis; name another module."
        )
    if not bool(torch.isfinite(seen).all()):
        raise ValueError("the features hold NaN or infinity, so they have no kernel.")
    return seen.reshape(len(batch), -1)


def _output(model: nn.Module, network: Callable[[Tensor], Any], batch: Tensor, name: str) -> Tensor:
    modules = dict(model.named_modules())
    if name not in modules:
        known = ", ".join(repr(other) for other in modules if other)
        raise ValueError(f"the model has no module {name!r}; it has {known}.")
    seen: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: object) -> None:
        if not isinstance(output, Tensor):
            raise ValueError(
                f"module {name!r} returns {type(output).__name__}, not one tensor; name another "
                "module."
            )
        seen.append(output.clone())

    handle = modules[name].register_forward_hook(keep)
    try:
        network(batch)
    finally:
        handle.remove()
    if len(seen) != 1:
        raise ValueError(
            f"module {name!r} is called {len(seen)} times in a forward pass, not once."
        )
    return seen[0]


def _into_readout(network: Callable[[Tensor], Any], batch: Tensor) -> Tensor:
    with _LastMatrix() as watching:
        network(batch)
    factor: Tensor | None = watching.factor
    if factor is None:
        raise ValueError(
            "the model multiplies by no weight matrix, so its last features are unknown; give "
            "the name of the module whose output they are, features=..."
        )
    return factor


class _LastMatrix(TorchFunctionMode):
    """Remembers what was multiplied by a matrix last."""

    factor: Tensor | None = None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        if func in _PRODUCTS:
            inputs, matrix = (*args, *options.values())[:2]
            if matrix.ndim == 2:
                self.factor = inputs.clone()
        return func(*args, **options)


_PRODUCTS = frozenset({F.linear, torch.matmul, torch.Tensor.matmul, torch.mm})
