r"""The first-order Taylor expansion of a network in its parameters, as a module to train.

$$ f_{\text{lin}}(x; w) = f(x; w_0) + \frac{\partial f(x; w_0)}{\partial w}\,(w - w_0) $$

Its tangent kernel is that of the network at $w_0$, whatever w is, so that gradient descent on it
is kernel gradient descent. Computed by one Jacobian-vector product in forward mode.

Reference: Lee et al., "Wide neural networks of any depth evolve as linear models under gradient
descent", arXiv:1902.06720, the section on linearized networks.
"""

import copy
import warnings

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call, jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from learnmech.practice.layers import refuse_coupled_samples, trained_parameters

__all__ = ["Linearised"]


class Linearised(nn.Module):
    r"""A network made linear in its parameters around their present values.

    Parameters are copies of those of the model that require gradients, in the order of
    `model.parameters()` and named by `names`; they start at $w_0$. Everything else (frozen
    parameters, buffers, the mode) stays as it is now, whatever happens to the model later.

    Args:
        model: Any module whose operations have forward-mode derivatives, in evaluation mode if
            that makes a difference. It is left alone.

    Raises:
        ValueError: On a model that couples samples or is random (batch norm or dropout in
            training mode), or without trained parameters; when called, on a model that returns
            anything but one tensor.

    Reference: Lee et al., arXiv:1902.06720, on linearized networks.

    Cost: forward about two passes of the model, backward about one more; memory for twice the
    parameters.

    >>> net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))  # w2 w1 x
    >>> for weight in net.parameters():
    ...     _ = nn.init.ones_(weight)
    >>> linear = Linearised(net)
    >>> with torch.no_grad():
    ...     for weight in linear.parameters():
    ...         _ = weight.add_(0.5)
    >>> linear(torch.ones(1, 1)).item()  # 1 + 0.5 + 0.5, and no 0.25
    2.0
    """

    names: tuple[str, ...]
    """Names of the parameters in the model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        refuse_coupled_samples(model)
        _load_forward_mode()
        trained = trained_parameters(model)
        # A copy out of sight of this module's parameters: each call hands all values to it.
        copied = copy.deepcopy(model).requires_grad_(False)
        self._copied = (copied,)
        self.names = tuple(trained)
        self.weights = nn.ParameterList(nn.Parameter(p.detach().clone()) for p in trained.values())
        values = {**dict(copied.named_parameters()), **dict(copied.named_buffers())}
        self._fixed = tuple(name for name in values if name not in trained)
        for kind, names in (("start", self.names), ("fixed", self._fixed)):
            for k, name in enumerate(names):
                self.register_buffer(f"{kind}_{k}", values[name].detach())

    def forward(self, inputs: Shaped[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
        """Outputs f_lin(x; w), of the shape of the model's own, (n, ...)."""
        fixed = {name: self.get_buffer(f"fixed_{k}") for k, name in enumerate(self._fixed)}
        start = {name: self.get_buffer(f"start_{k}") for k, name in enumerate(self.names)}
        moved = {
            name: weight - start[name]
            for name, weight in zip(self.names, self.weights, strict=True)
        }

        def outputs(parameters: dict[str, Tensor]) -> Tensor:
            result = functional_call(self._copied[0], fixed | parameters, (inputs,))
            if not isinstance(result, Tensor):
                raise ValueError(
                    f"the model must return one tensor to be made linear, not "
                    f"{type(result).__name__}."
                )
            return result

        with sdpa_kernel(SDPBackend.MATH):  # fused attention has no forward-mode derivatives
            values = jvp(outputs, (start,), (moved,))
        linear: Tensor = values[0] + values[1]
        return linear


def _load_forward_mode() -> None:
    """Use forward mode once: on that PyTorch 2.13 warns of its own use of `torch.jit.script`."""
    with warnings.catch_warnings(), forward_ad.dual_level():
        warnings.simplefilter("ignore", DeprecationWarning)
        forward_ad.make_dual(torch.zeros(1), torch.zeros(1))
