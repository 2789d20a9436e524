r"""Adam's diagonal preconditioner, read from the optimiser's state.

Adam's step is gradient descent with a moving average m of the gradient and a preconditioner,

$$ \theta_{t+1} = \theta_t - \eta P_t^{-1} m_t, \qquad
   P_t = (1 - \beta_1^t)\, \Big( \mathrm{diag} \sqrt{v_t / (1 - \beta_2^t)} + \epsilon \Big), $$

with m as it is stored, not bias-corrected: its correction is the factor $1 - \beta_1^t$ of P. While
P changes slowly, the step is stable as long as the preconditioned sharpness, the largest eigenvalue
of $P^{-1/2} H P^{-1/2}$, is below the threshold of averaged heavy ball with step $\eta$ (Cohen et
al., "Adaptive gradient methods at the edge of stability", arXiv:2207.14484).
"""

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["adam_preconditioner"]


def adam_preconditioner(
    optimizer: torch.optim.Adam, parameters: Iterable[Tensor]
) -> tuple[Tensor, ...]:
    r"""Return the diagonal of P at the optimiser's last step, one tensor for each parameter.

    $P = (1 - \beta_1^t)(\sqrt{\hat v} + \epsilon)$ with $\hat v = v / (1 - \beta_2^t)$, both after
    the last step t: the denominator of that step, times the correction of the first moment. With
    `amsgrad`, v is the largest one so far. AdamW has the same preconditioner. A weight decay of
    `torch.optim.Adam` itself (not decoupled) is part of the loss it descends: add it to yours.

    Args:
        optimizer: `torch.optim.Adam` or `torch.optim.AdamW`, after at least one step.
        parameters: Those of the Hessian, in the same order; all must belong to the optimiser.

    Returns:
        Positive tensors with the shape, dtype and device of the parameters; copies.

    Raises:
        ValueError: If a parameter is not the optimiser's or has not been stepped yet.

    Reference: Kingma and Ba, arXiv:1412.6980, algorithm 1; Cohen et al., arXiv:2207.14484.

    >>> w = torch.ones(1, requires_grad=True)
    >>> optimizer = torch.optim.Adam([w], betas=(0.5, 0.9), eps=0.0)
    >>> (3 * w).sum().backward()
    >>> optimizer.step()
    >>> adam_preconditioner(optimizer, [w])[0]  # (1 - 0.5) times |gradient|
    tensor([1.5000])
    """
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    found = []
    for parameter in parameters:
        group, state = groups.get(id(parameter)), optimizer.state.get(parameter)
        if group is None or not state:
            raise ValueError(
                "every parameter must belong to the optimiser and have been stepped once, or Adam "
                "has no preconditioner for it."
            )
        beta1, beta2 = (float(beta) for beta in group["betas"])
        t = float(state["step"])
        second = state["max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq"]
        root = (second / (1.0 - beta2**t)).sqrt()
        found.append((1.0 - beta1**t) * (root + group["eps"]))
    return tuple(found)
