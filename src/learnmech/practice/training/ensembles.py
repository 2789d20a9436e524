r"""Optimizers for ensembles: one learning rate per member, in one batched step.

They follow the rules of `torch.optim.SGD` and `torch.optim.Adam` with a learning rate
$\eta_e$ for member $e$, the first axis of every parameter:

$$ \text{SGD:} \quad g \leftarrow g + \lambda w, \quad v \leftarrow \mu v + g, \quad
   w \leftarrow w - \eta_e\, v \quad (\text{Nesterov: } w \leftarrow w - \eta_e (g + \mu v)), $$

$$ \text{Adam:} \quad g \leftarrow g + \lambda w, \quad
   m \leftarrow \beta_1 m + (1-\beta_1) g, \quad s \leftarrow \beta_2 s + (1-\beta_2) g^2, \quad
   w \leftarrow w - \frac{\eta_e}{1-\beta_1^t}\,
   \frac{m}{\sqrt{s/(1-\beta_2^t)} + \epsilon}. $$

So each member is trained as it would be alone, up to rounding. `torch.optim` itself takes one
learning rate per group only. Members can be frozen: they stay exactly where they are.

References: Sutskever et al., "On the importance of initialization and momentum in deep learning"
(2013), for both momenta; Kingma and Ba, arXiv:1412.6980, algorithm 1.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, overload

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["EnsembleAdam", "EnsembleOptimizer", "EnsembleSGD"]


class EnsembleOptimizer(torch.optim.Optimizer):
    """An optimizer of parameters (E, ...), with learning rates (E,); see its subclasses."""

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        defaults: Mapping[str, Any],
    ) -> None:
        self._frozen: Tensor | None = None
        super().__init__(params, dict(defaults))
        sizes = set()
        for group in self.param_groups:
            rates = torch.as_tensor(group["lr"])
            if not bool((rates > 0).all()) or not bool(torch.isfinite(rates).all()):
                raise ValueError("learning rates must be positive and finite.")
            sizes |= {p.shape[0] if p.ndim else 0 for p in group["params"]}
            sizes |= set(rates.shape)
        if len(sizes) != 1:
            raise ValueError(
                "every parameter needs the members as its first axis, and learning rates must be "
                f"one number or one per member; first axes and rates have the sizes {sizes}."
            )
        self.members = sizes.pop()

    def __getstate__(self) -> dict[str, Any]:
        """Say what is copied; `torch.optim.Optimizer` would leave the members out."""
        return super().__getstate__() | {"_frozen": self._frozen, "members": self.members}

    def freeze(self, members: Iterable[int]) -> None:
        """Leave these members where they are from now on, whatever their gradients.

        Args:
            members: Their numbers; members that are frozen already stay so.
        """
        before = [] if self._frozen is None else self._frozen.tolist()
        numbers = sorted({*before, *(int(m) for m in members)})
        if numbers and not 0 <= numbers[0] <= numbers[-1] < self.members:
            raise ValueError(f"members are numbered from 0 to {self.members - 1}.")
        device = self.param_groups[0]["params"][0].device
        self._frozen = torch.tensor(numbers, dtype=torch.long, device=device)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step with the gradients that the parameters hold.

        Raises:
            ValueError: On a closure, which these optimizers do not take.
        """
        if closure is not None:
            raise ValueError("ensemble optimizers take no closure; compute gradients first.")
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                gradient = p.grad
                if group["weight_decay"] != 0.0:
                    gradient = gradient.add(p, alpha=group["weight_decay"])
                step, scale = self._direction(p, gradient, group)
                if self._frozen is not None:
                    step = step.index_fill(0, self._frozen, 0.0)
                rates = torch.as_tensor(group["lr"], dtype=p.dtype, device=p.device)
                rates = rates.reshape(-1, *(1,) * (p.ndim - 1))
                p.addcmul_(step, rates, value=-scale)
        return None

    def _direction(
        self, p: Tensor, gradient: Float[Tensor, "E ..."], group: Mapping[str, Any]
    ) -> tuple[Float[Tensor, "E ..."], float]:
        """Return what is subtracted, per unit of learning rate, as a tensor and a factor."""
        raise NotImplementedError


class EnsembleSGD(EnsembleOptimizer):
    """`torch.optim.SGD` with one learning rate per member.

    Args:
        params: Parameters (E, ...), or groups of them with their own "lr".
        lr: Learning rates, (E,), or one number for all.
        momentum: mu, at least zero and below one.
        nesterov: Whether the momentum is Nesterov's; needs a positive momentum.
        weight_decay: lambda; adds lambda/2 times the squared norm to each member's loss.

    Raises:
        ValueError: On numbers out of range, or parameters whose first axes differ.

    >>> w = torch.nn.Parameter(torch.zeros(2, 1))
    >>> w.grad = torch.ones(2, 1)
    >>> EnsembleSGD([w], lr=torch.tensor([0.5, 2.0])).step()
    >>> w.detach().flatten()
    tensor([-0.5000, -2.0000])
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float | Float[Tensor, " E"] = 1e-3,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        if not (0.0 <= momentum < 1.0 and 0.0 <= weight_decay < float("inf")):
            raise ValueError("momentum must lie in [0, 1), and weight_decay not be negative.")
        if nesterov and momentum == 0.0:
            raise ValueError("Nesterov's momentum needs a positive momentum.")
        settings = {"momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
        super().__init__(params, {"lr": lr, **settings})

    def _direction(
        self, p: Tensor, gradient: Float[Tensor, "E ..."], group: Mapping[str, Any]
    ) -> tuple[Float[Tensor, "E ..."], float]:
        mu = group["momentum"]
        if mu == 0.0:
            return gradient, 1.0
        state = self.state[p]
        if "velocity" not in state:
            state["velocity"] = gradient.clone()
        else:
            state["velocity"].mul_(mu).add_(gradient)
        velocity: Tensor = state["velocity"]
        return (gradient.add(velocity, alpha=mu) if group["nesterov"] else velocity), 1.0


class EnsembleAdam(EnsembleOptimizer):
    """`torch.optim.Adam` with one learning rate per member.

    Args:
        params: Parameters (E, ...), or groups of them with their own "lr" and "eps".
        lr: Learning rates, (E,), or one number for all.
        betas: beta_1 and beta_2, at least zero and below one.
        eps: epsilon, in units of gradients.
        weight_decay: lambda; adds lambda/2 times the squared norm to each member's loss, as
            `torch.optim.Adam` does, and not `torch.optim.AdamW`.

    Raises:
        ValueError: On numbers out of range, or parameters whose first axes differ.

    >>> w = torch.nn.Parameter(torch.zeros(2, 1))
    >>> w.grad = torch.full((2, 1), -7.0)
    >>> EnsembleAdam([w], lr=torch.tensor([0.5, 2.0])).step()
    >>> w.detach().flatten()  # the first step has the size of the learning rate
    tensor([0.5000, 2.0000])
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float | Float[Tensor, " E"] = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        decent = 0.0 <= eps < float("inf") and 0.0 <= weight_decay < float("inf")
        if not decent or not all(0.0 <= beta < 1.0 for beta in betas):
            raise ValueError("betas must lie in [0, 1), eps and weight_decay not be negative.")
        settings = {"betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {"lr": lr, **settings})

    def _direction(
        self, p: Tensor, gradient: Float[Tensor, "E ..."], group: Mapping[str, Any]
    ) -> tuple[Float[Tensor, "E ..."], float]:
        beta1, beta2 = group["betas"]
        state = self.state[p]
        if "steps" not in state:
            state |= {"steps": 0, "mean": torch.zeros_like(p), "square": torch.zeros_like(p)}
        state["steps"] += 1
        state["mean"].lerp_(gradient, 1.0 - beta1)
        state["square"].mul_(beta2).addcmul_(gradient, gradient, value=1.0 - beta2)
        correction = (1.0 - beta2 ** state["steps"]) ** 0.5
        root = state["square"].sqrt().div_(correction).add_(group["eps"])
        return state["mean"] / root, 1.0 / (1.0 - beta1 ** state["steps"])
