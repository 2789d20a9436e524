r"""The Hessian as an operator on flat vectors, with its graph built once.

$$ H v = \nabla_\theta \big( g(\theta) \cdot v \big), \qquad g = \nabla_\theta L, $$

by two reverse sweeps (Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation
6, 1994). The graph of g is kept and walked backwards once per product, which costs about one and a
half gradients; building it anew for every product would cost nearly twice as much. A loss that is
given in batches is given so because the graph of all the data would not fit: then the graph of one
batch is built, used and dropped at a time. Whoever has the memory sums the batches in one closure.
"""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from learnmech.practice.curvature.evaluation import Closure, Loss, as_pairs, evaluate

__all__ = ["HessianOperator"]


class HessianOperator:
    r"""The Hessian of a loss at the present parameters, or $P^{-1/2} H P^{-1/2}$.

    Vectors are flat: all parameters in their order, n numbers. Parameters that do not enter the
    loss, or enter it linearly, have zero rows and columns.

    Args:
        loss: Closure without arguments that returns the scalar loss of the whole data, or a
            sequence of (closure, weight) pairs, whose weighted sum is the loss.
        parameters: Distinct tensors that require a gradient, of one floating dtype and device.
        preconditioner: Diagonal P as one positive tensor for each parameter, of its shape.
        elementary: Whether third derivatives will be asked for; see `evaluation`.

    Raises:
        ValueError: On parameters, weights, losses or preconditioners that cannot be used.
        FloatingPointError: If the loss is not finite.

    Cost: one gradient to build, about 1.5 gradients for each product (2.5 for batches).

    Reference: Pearlmutter, Neural Computation 6:147-160 (1994).

    >>> w = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> HessianOperator(lambda: w[0] ** 2 * w[1], [w]) @ torch.tensor([1.0, 0.0])
    tensor([4., 2.])
    """

    def __init__(
        self,
        loss: Loss,
        parameters: Iterable[Tensor],
        *,
        preconditioner: Iterable[Tensor] | None = None,
        elementary: bool = False,
    ) -> None:
        self.parameters = checked_parameters(parameters)
        self.products = 0
        first = self.parameters[0]
        self.dtype, self.device = first.dtype, first.device
        self._sizes = [p.numel() for p in self.parameters]
        self.dimension = sum(self._sizes)
        self._versions = [p._version for p in self.parameters]
        self._elementary = elementary
        self._scale = None if preconditioner is None else self._inverse_root(preconditioner)
        self._pairs = as_pairs(loss)
        self._kept = self._gradient(self._pairs[0][0]) if len(self._pairs) == 1 else None

    def __matmul__(self, vector: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Return H v, (n,); one product."""
        if tuple(vector.shape) != (self.dimension,):
            raise ValueError(
                f"a vector of shape {tuple(vector.shape)} does not fit a Hessian of dimension "
                f"{self.dimension}."
            )
        self.products += 1
        if self._scale is None:
            return self._sum(vector, third=False)
        return self._scale * self._sum(self._scale * vector, third=False)

    def form_gradient(self, vector: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        r"""Return the gradient of $v^\top H(\theta)\, v$ at fixed v, (n,); a third derivative."""
        if not self._elementary or self._scale is not None:
            raise ValueError("third derivatives need elementary=True and no preconditioner.")
        return self._sum(vector, third=True)

    def split(self, vectors: Float[Tensor, "*k n"]) -> tuple[Tensor, ...]:
        """Return flat vectors, (..., n), as one tensor (..., *shape) for each parameter."""
        parts = vectors.split(self._sizes, dim=-1)
        return tuple(
            part.reshape((*vectors.shape[:-1], *p.shape))
            for part, p in zip(parts, self.parameters, strict=True)
        )

    def like(self, values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return numbers with the dtype and on the device of the parameters."""
        return values.to(self.device, self.dtype)

    def _sum(self, vector: Tensor, *, third: bool) -> Tensor:
        if [p._version for p in self.parameters] != self._versions:
            raise RuntimeError("the parameters have changed; make a new Hessian operator for them.")
        total = torch.zeros_like(vector)
        for closure, weight in self._pairs:
            gradient = self._gradient(closure) if self._kept is None else self._kept
            total += weight * self._derivative(gradient, vector, third=third)
        return total

    def _gradient(self, closure: Closure) -> tuple[Tensor, ...]:
        loss = evaluate(closure, self.device, elementary=self._elementary)
        return torch.autograd.grad(loss, self.parameters, create_graph=True, materialize_grads=True)

    def _derivative(
        self, gradient: Sequence[Tensor], vector: Tensor, *, third: bool
    ) -> Float[Tensor, " n"]:
        """H v, or the gradient of v^T H v, from the graph of one gradient."""
        pairs = zip(gradient, self.split(vector), strict=True)
        curved = [(g, v) for g, v in pairs if g.requires_grad]
        if not curved:
            return torch.zeros_like(vector)
        outputs, directions = zip(*curved, strict=True)
        keep = self._kept is not None
        parts = torch.autograd.grad(
            outputs,
            self.parameters,
            directions,
            retain_graph=keep or third,
            create_graph=third,
            materialize_grads=True,
        )
        if third:
            form = torch.stack(
                [(h * v).sum() for h, v in zip(parts, self.split(vector), strict=True)]
            ).sum()
            if not form.requires_grad:
                return torch.zeros_like(vector)
            parts = torch.autograd.grad(
                form, self.parameters, retain_graph=keep, materialize_grads=True
            )
        return torch.cat([part.reshape(-1) for part in parts])

    def _inverse_root(self, preconditioner: Iterable[Tensor]) -> Float[Tensor, " n"]:
        given = [p.detach() for p in preconditioner]
        if [p.shape for p in given] != [p.shape for p in self.parameters]:
            raise ValueError("the preconditioner needs one tensor of each parameter's shape.")
        flat = torch.cat([p.to(self.device, self.dtype).reshape(-1) for p in given])
        if not bool(((flat > 0) & torch.isfinite(flat)).all()):
            raise ValueError("the preconditioner must be positive and finite everywhere.")
        return flat.rsqrt()


def checked_parameters(parameters: Iterable[Tensor]) -> tuple[Tensor, ...]:
    """Return the parameters as a tuple, or a clear ValueError."""
    given = tuple(parameters)
    if not given:
        raise ValueError("give at least one parameter; an iterator can be used only once.")
    if not all(p.requires_grad and p.is_floating_point() for p in given):
        raise ValueError("every parameter must be a real tensor that requires a gradient.")
    if len({id(p) for p in given}) < len(given):
        raise ValueError("a parameter is given twice; its Hessian would be counted twice.")
    if len({(p.dtype, p.device) for p in given}) > 1:
        raise ValueError("the parameters must have one dtype and lie on one device.")
    return given
