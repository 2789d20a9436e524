r"""How the gradients of parameters follow from what a known operation worked on.

A rule looks at one call, such as `F.linear(x, W, b)`, and says which trained parameters it used
(a `Use`), what it worked on (the source, $a$), and how the gradient $g$ at its output and $a$
make a factor of per-sample gradients. Parameters are also known where the call got them
transposed or multiplied by a number, as in `x @ W` or `F.linear(x, W / fan_in**0.5)`: see
`DERIVATIONS`. Where a rule does not apply it returns None, and exact Jacobians do the work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from learnmech.practice.layers.factors import Factor, Lookup, Outer, Rows, Weight

__all__ = ["DERIVATIONS", "RULES", "Rule", "Use"]

Find = Callable[[Any], Weight | None]
"""Gives the parameter that a tensor is, or is made of; None for any other tensor."""
Arguments = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Use:
    """One use of parameters by a known operation."""

    weights: tuple[Weight | None, ...]  # by their roles; None where absent or not trained
    source: Tensor  # what the operation worked on, (n, ...)
    build: Callable[[Tensor, Tensor], Factor]  # (source, gradients (n, C, ...) at the output)


@dataclass(frozen=True, eq=False)
class Rule:
    """A rule with the names of the operation's arguments in their order."""

    names: tuple[str, ...]
    use: Callable[[Find, Tensor, Arguments], Use | None]  # finder, output, arguments

    def __call__(
        self, find: Find, output: Tensor, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Use | None:
        """Apply the rule to a call; None where it does not hold, or the call is of another form."""
        arguments = dict(zip(self.names, args, strict=False)) | dict(kwargs)
        if len(args) > len(self.names) or not arguments.keys() <= set(self.names):
            return None
        return self.use(find, output, arguments)


def _linear(find: Find, output: Tensor, call: Arguments) -> Use | None:
    matrix, bias = find(call["weight"]), find(call.get("bias"))
    outputs = call["weight"].shape[:-1]
    if len(outputs) != 1 or (bias is not None and call["bias"].numel() != outputs[0]):
        return None  # one output without an axis, or one bias for all outputs
    return _product(call["input"], matrix, bias)


def _matmul(find: Find, output: Tensor, call: Arguments) -> Use | None:
    matrix = find(call["other"])
    if matrix is None or call["other"].ndim != 2 or find(call["input"]) is not None:
        return None
    return _product(call["input"], replace(matrix, transposed=not matrix.transposed), None)


def _product(source: Tensor, matrix: Weight | None, bias: Weight | None) -> Use | None:
    """Use of a matrix (o, i) and a bias on a source (n, ..., i)."""
    if source.ndim < 2:
        return None

    def build(a: Tensor, g: Tensor) -> Factor:
        right = a.reshape(len(a), 1, -1, a.shape[-1])
        left = g.reshape(len(g), g.shape[1], 1, -1, g.shape[-1])
        return Outer(left, right, matrix, bias)

    return Use((matrix, bias), source, build)


def _convolution(find: Find, output: Tensor, call: Arguments) -> Use | None:
    kernel, bias, groups = find(call["weight"]), find(call.get("bias")), call.get("groups", 1)
    sizes, source = call["weight"].shape[2:], call["input"]
    if source.ndim != 2 + len(sizes):
        return None
    axes, padding = len(sizes), call.get("padding", 0)
    strides = _per_axis(call.get("stride", 1), axes)
    dilations = _per_axis(call.get("dilation", 1), axes)
    spans = [d * (size - 1) for d, size in zip(dilations, sizes, strict=True)]
    if padding == "same":
        pads = [(span // 2, span - span // 2) for span in spans]
    else:
        pads = [(p, p) for p in _per_axis(0 if padding == "valid" else padding, axes)]

    def build(a: Tensor, g: Tensor) -> Factor:
        patches = F.pad(a, [p for pair in reversed(pads) for p in pair])
        for axis, (span, stride, d) in enumerate(zip(spans, strides, dilations, strict=True)):
            patches = patches.unfold(2 + axis, span + 1, stride)[..., ::d]
        windows = patches.flatten(2 + axes).flatten(2, 1 + axes)  # (n, channels, t, window)
        right = windows.unflatten(1, (groups, -1)).movedim(2, 3).flatten(3)
        left = g.flatten(3).unflatten(2, (groups, -1)).mT
        return Outer(left, right, kernel, bias)

    return Use((kernel, bias), source, build)


def _layer_norm(find: Find, output: Tensor, call: Arguments) -> Use | None:
    shape = [int(size) for size in call["normalized_shape"]]
    kept = range(call["input"].ndim - len(shape), call["input"].ndim)
    eps = call.get("eps", 1e-5)
    return _affine(find, call, kept, lambda a: F.layer_norm(a, shape, eps=eps))


def _rms_norm(find: Find, output: Tensor, call: Arguments) -> Use | None:
    shape = [int(size) for size in call["normalized_shape"]]
    kept = range(call["input"].ndim - len(shape), call["input"].ndim)
    return _affine(find, call, kept, lambda a: F.rms_norm(a, shape, eps=call.get("eps")))


def _group_norm(find: Find, output: Tensor, call: Arguments) -> Use | None:
    groups, eps = call["num_groups"], call.get("eps", 1e-5)
    return _affine(find, call, range(1, 2), lambda a: F.group_norm(a, groups, eps=eps))


def _batch_norm(find: Find, output: Tensor, call: Arguments) -> Use | None:
    if call.get("training", False):
        return None
    mean, var, eps = call["running_mean"], call["running_var"], call.get("eps", 1e-5)
    return _affine(find, call, range(1, 2), lambda a: F.batch_norm(a, mean, var, eps=eps))


def _affine(
    find: Find, call: Arguments, kept: range, normalised: Callable[[Tensor], Tensor]
) -> Use | None:
    """Use of a weight and a bias after a normalisation; they run over the axes `kept`."""
    scale, shift = find(call.get("weight")), find(call.get("bias"))
    if kept.start < 1:
        return None

    def build(a: Tensor, g: Tensor) -> Factor:
        own = [1 + axis for axis in kept]
        rows = {}
        if scale is not None:
            rows[scale.name] = scale.scale * _summed_to(g * normalised(a)[:, None], own)
        if shift is not None:
            rows[shift.name] = shift.scale * _summed_to(g, own)
        return Rows(rows, tuple(w for w in (scale, shift) if w is not None))

    return Use((scale, shift), call["input"], build)


def _embedding(find: Find, output: Tensor, call: Arguments) -> Use | None:
    table, unused = find(call["weight"]), call.get("padding_idx")
    if table is None or table.transposed or call.get("scale_grad_by_freq", False):
        return None
    skipped = None if unused is None else unused % call["weight"].shape[0]

    def build(index: Tensor, g: Tensor) -> Factor:
        index = index.reshape(len(index), -1)
        left = g.reshape(len(g), g.shape[1], 1, -1, g.shape[-1])
        if skipped is not None:
            left = left * (index != skipped)[:, None, None, :, None]
        return Lookup(left, index, table)

    return Use((table,), call["input"], build)


def _sum(find: Find, output: Tensor, call: Arguments) -> Use | None:
    return _elementwise(find, output, call, lambda a, g: g)


def _multiple(find: Find, output: Tensor, call: Arguments) -> Use | None:
    return _elementwise(find, output, call, lambda a, g: g * a[:, None])


def _elementwise(
    find: Find, output: Tensor, call: Arguments, gradients: Callable[[Tensor, Tensor], Tensor]
) -> Use | None:
    """Use of a parameter p in x + p or x * p, broadcast over samples."""
    x, p = call["input"], call["other"]
    if find(x) is not None:
        x, p = p, x
    weight = find(p)
    if weight is None or weight.transposed or not isinstance(x, Tensor) or find(x) is not None:
        return None
    shape = (1,) * (x.ndim - p.ndim) + tuple(p.shape)
    if x.shape != output.shape or not shape or shape[0] != 1:
        return None

    def build(a: Tensor, g: Tensor) -> Factor:
        own = [1 + axis for axis in range(1, a.ndim) if shape[axis] == a.shape[axis]]
        return Rows({weight.name: weight.scale * _summed_to(gradients(a, g), own)}, (weight,))

    return Use((weight,), x, build)


def _summed_to(values: Tensor, own: Sequence[int]) -> Tensor:
    """Sum (n, C, ...) over all axes after the first two but `own`; (n, C, p)."""
    others = [axis for axis in range(2, values.ndim) if axis not in own]
    summed = values.sum(others) if others else values
    return summed.reshape(*values.shape[:2], -1)


def _per_axis(value: int | Sequence[int], axes: int) -> list[int]:
    values = [value] if isinstance(value, int) else [int(v) for v in value]
    return values * axes if len(values) == 1 else values


def _transpose(find: Find, tensor: Tensor) -> Weight | None:
    weight = find(tensor)
    if weight is None or tensor.ndim != 2:
        return None
    return replace(weight, transposed=not weight.transposed)


def _times(find: Find, one: Any, other: Any) -> Weight | None:
    tensor, number = (other, one) if isinstance(one, int | float) else (one, other)
    weight = find(tensor)
    if weight is None or not isinstance(number, int | float):
        return None
    return replace(weight, scale=weight.scale * number)


def _over(find: Find, tensor: Any, number: Any) -> Weight | None:
    return _times(find, tensor, 1.0 / number) if isinstance(number, int | float) else None


DERIVATIONS: Mapping[Any, Callable[..., Weight | None]] = {
    **dict.fromkeys([getattr(torch.Tensor, turn).__get__ for turn in ("T", "mT")], _transpose),
    **dict.fromkeys([torch.t, torch.Tensor.t], _transpose),
    **dict.fromkeys([torch.mul, torch.Tensor.mul], _times),
    **dict.fromkeys([torch.div, torch.Tensor.div], _over),
}
"""Operations that make a tensor of a parameter that rules still know it by."""

_NORM = ("weight", "bias", "eps")
_CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_BATCH_NORM = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum")
_EMBEDDING = ("input", "weight", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq")

RULES: Mapping[Any, Rule] = {
    F.linear: Rule(("input", "weight", "bias"), _linear),
    **dict.fromkeys(
        [torch.matmul, torch.Tensor.matmul, torch.mm], Rule(("input", "other"), _matmul)
    ),
    **dict.fromkeys([F.conv1d, F.conv2d, F.conv3d], Rule(_CONVOLUTION, _convolution)),
    F.layer_norm: Rule(("input", "normalized_shape", *_NORM), _layer_norm),
    F.rms_norm: Rule(("input", "normalized_shape", "weight", "eps"), _rms_norm),
    F.group_norm: Rule(("input", "num_groups", *_NORM), _group_norm),
    F.batch_norm: Rule((*_BATCH_NORM, "eps"), _batch_norm),
    F.embedding: Rule((*_EMBEDDING, "sparse"), _embedding),
    **dict.fromkeys([torch.add, torch.Tensor.add], Rule(("input", "other"), _sum)),
    **dict.fromkeys([torch.mul, torch.Tensor.mul], Rule(("input", "other"), _multiple)),
}
"""The known operations."""
