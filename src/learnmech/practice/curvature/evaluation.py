r"""Evaluating the caller's loss and leaving everything else as it was.

A loss is a closure without arguments, or a sequence of (closure, weight) pairs,

$$ L(\theta) = \sum_b w_b\, L_b(\theta), $$

for data in batches of any sizes: with $L_b$ the mean over batch b and $w_b = n_b / n$, L is the
mean over all n samples. While a closure runs, random layers draw from a fork of the global
generators: they see the same numbers at every evaluation, and the caller's state stays where it
was. Running statistics of normalisation layers in training mode are not updated.

Third derivatives need more. PyTorch (2.13) differentiates fused LayerNorm, InstanceNorm and
train-mode BatchNorm wrongly and silently at order three, by three reverse sweeps and by reverse
over forward over reverse alike. With `elementary=True` the normalisations of `torch.nn.functional`
are therefore replaced, during the closure only, by the same formulas in elementary operations; a
fused one that is reached in another way is refused.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

__all__ = ["Closure", "Loss", "as_pairs", "evaluate"]

Closure: TypeAlias = Callable[[], Tensor]
Loss: TypeAlias = Closure | Sequence[tuple[Closure, float]]

_WRONG_AT_ORDER_THREE = frozenset(
    f"{name}Backward0"
    for name in ("NativeLayerNorm", "NativeBatchNorm", "CudnnBatchNorm", "MiopenBatchNorm")
)


def as_pairs(loss: Loss) -> tuple[tuple[Closure, float], ...]:
    """Return a loss as (closure, weight) pairs, or a clear ValueError."""
    pairs = ((loss, 1.0),) if callable(loss) else tuple((c, float(w)) for c, w in loss)
    if not pairs:
        raise ValueError(
            "the loss is an empty sequence; give a closure or (closure, weight) pairs."
        )
    if not all(abs(weight) < float("inf") for _, weight in pairs):
        raise ValueError("the weights of the batches must be finite; use n_b / n.")
    return pairs


def evaluate(
    closure: Closure, device: torch.device, *, elementary: bool = False
) -> Float[Tensor, ""]:
    """Call a closure with gradients on and return its loss, with its graph.

    Args:
        closure: Returns one real number as a tensor.
        device: Where the parameters lie; the generator of that device is forked, too.
        elementary: Whether third derivatives will be taken: replace fused normalisations.

    Raises:
        ValueError: If the closure returns no single real number, or one without a graph.
        FloatingPointError: If the loss is not finite.
        RuntimeError: With `elementary`, if a fused normalisation could not be replaced.
    """
    cuda = [device] if device.type == "cuda" else []
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=cuda))
        stack.enter_context(torch.enable_grad())
        mode = stack.enter_context(_Undisturbed(elementary))
        stack.callback(mode.restore)
        loss = closure()
        if not (isinstance(loss, Tensor) and loss.numel() == 1 and loss.is_floating_point()):
            raise ValueError("the loss closure must return one real number, as a tensor.")
        loss = loss.reshape(())
    if not loss.requires_grad:
        raise ValueError(
            "the loss does not depend on any tensor that requires a gradient; do not detach it "
            "and do not compute it beforehand."
        )
    if not bool(torch.isfinite(loss.detach())):
        raise FloatingPointError(f"the loss is {float(loss.detach())}; it has no Hessian there.")
    if elementary:
        _refuse_fused(loss)
    return loss


class _Undisturbed(TorchFunctionMode):
    """Keeps the buffers of normalisation layers, and replaces fused normalisations if asked."""

    def __init__(self, elementary: bool) -> None:
        super().__init__()
        self._elementary = elementary
        self._counts: list[tuple[Tensor, Tensor]] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.add_ and args[0].dtype == torch.long and args[0].ndim == 0:
            self._counts.append((args[0], args[0].clone()))  # BatchNorm counts its batches
        if func in (functional.batch_norm, functional.instance_norm):
            names = ("input", "running_mean", "running_var")
            kwargs.update(zip(names, args, strict=False))
            args = (kwargs.pop("input"), *args[3:])
            for name in names[1:]:
                if kwargs.get(name) is not None:
                    kwargs[name] = kwargs[name].clone()
        if self._elementary:
            func = _ELEMENTARY.get(func, func)
        return func(*args, **kwargs)

    def restore(self) -> None:
        """Set every count back."""
        for tensor, before in reversed(self._counts):
            tensor.copy_(before)


def _normalised(
    x: Tensor, dims: tuple[int, ...], eps: float, *, centred: bool = True
) -> Float[Tensor, "..."]:
    if centred:
        x = x - x.mean(dims, keepdim=True)
    return x * torch.rsqrt((x * x).mean(dims, keepdim=True) + eps)


def _scaled(x: Tensor, weight: Tensor | None, bias: Tensor | None, shape: Sequence[int]) -> Tensor:
    if weight is not None:
        x = x * weight.reshape(shape)
    return x if bias is None else x + bias.reshape(shape)


def _layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    *,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    dims = tuple(range(-len(normalized_shape), 0))
    return _scaled(_normalised(input, dims, eps), weight, bias, tuple(normalized_shape))


def _rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    *,
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    dims = tuple(range(-len(normalized_shape), 0))
    eps = torch.finfo(input.dtype).eps if eps is None else eps
    x = _normalised(input, dims, eps, centred=False)
    return _scaled(x, weight, None, tuple(normalized_shape))


def _group_norm(
    input: Tensor,
    num_groups: int,
    *,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    groups = input.reshape(input.shape[0], num_groups, -1)
    x = _normalised(groups, (-1,), eps).reshape(input.shape)
    return _scaled(x, weight, bias, _per_channel(input))


def _batch_norm(
    input: Tensor,
    *,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    shape = _per_channel(input)
    if training or running_mean is None or running_var is None:
        x = _normalised(input, (0, *range(2, input.ndim)), eps)
    else:
        x = (input - running_mean.reshape(shape)) * torch.rsqrt(running_var.reshape(shape) + eps)
    return _scaled(x, weight, bias, shape)


def _instance_norm(
    input: Tensor,
    *,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not use_input_stats:
        return _batch_norm(
            input,
            running_mean=running_mean,
            running_var=running_var,
            weight=weight,
            bias=bias,
            eps=eps,
        )
    x = _normalised(input, tuple(range(2, input.ndim)), eps)
    return _scaled(x, weight, bias, _per_channel(input))


def _per_channel(input: Tensor) -> tuple[int, ...]:
    return (1, input.shape[1], *[1] * (input.ndim - 2))


_ELEMENTARY: dict[Any, Callable[..., Tensor]] = {
    functional.layer_norm: _layer_norm,
    functional.rms_norm: _rms_norm,
    functional.group_norm: _group_norm,
    functional.batch_norm: _batch_norm,
    functional.instance_norm: _instance_norm,
}


def _refuse_fused(loss: Tensor) -> None:
    seen: set[Any] = set()
    waiting: list[Any] = [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.name() in _WRONG_AT_ORDER_THREE:
            raise RuntimeError(
                f"PyTorch's third derivative of {node.name()} is wrong, and it was not called "
                "through torch.nn.functional, where it could be replaced; use the torch.nn layer."
            )
        waiting.extend(function for function, _ in node.next_functions)
