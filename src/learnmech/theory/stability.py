r"""The largest curvature at which full-batch training is stable, optimiser by optimiser.

Along an eigenvector of the Hessian with eigenvalue $\lambda$, every optimiser here is a linear
recurrence over two steps with the characteristic polynomial $z^2 - T z + D$. Its roots lie
inside the unit circle if and only if $|D| < 1$ and $|T| < 1 + D$ (the Jury conditions). The
one that fails first as $\lambda$ grows is $-T < 1 + D$: a root leaves through $z = -1$, and
the iterate flips its sign at every step. With learning rate $\eta$ and momentum $\beta$:

$$ \begin{array}{llll}
   & T & D & \text{threshold} \\
   \text{gradient descent} & 1-\eta\lambda & 0 & 2/\eta \\
   \text{heavy ball} & 1+\beta-\eta\lambda & \beta & (2+2\beta)/\eta \\
   \text{Nesterov} & (1+\beta)(1-\eta\lambda) & \beta(1-\eta\lambda)
     & (2+2\beta)/((1+2\beta)\,\eta) \\
   \text{Adam, frozen} & 1+\beta-(1-\beta)\eta\lambda & \beta & (2+2\beta)/((1-\beta)\,\eta)
   \end{array} $$

Conventions are those of `torch.optim`. Heavy ball is `SGD(momentum=beta)`: $v' = \beta v + g$,
$x' = x - \eta v'$. Nesterov is `SGD(momentum=beta, nesterov=True)`: the same $v'$, and
$x' = x - \eta(g + \beta v')$, with $g$ taken at $x$, the parameters that the module holds.
Dampening is zero in both. Adam has $\beta = \beta_1$ and averages where they sum,
$m' = \beta m + (1-\beta) g$. Its preconditioner
$P = \mathrm{diag}(\sqrt{\hat v} + \epsilon)$, with $\hat v = v/(1-\beta_2^t)$, is held fixed,
and $\lambda$ is an eigenvalue of the preconditioned Hessian $P^{-1/2} H P^{-1/2}$.

Curvatures are Hessian eigenvalues of the loss that is differentiated, whatever its convention;
weight decay inside that loss shifts them all. The conditions are for full batches. Minibatch
noise can make a smaller curvature unstable.

References: Cohen et al., "Gradient descent on neural networks typically occurs at the edge of
stability", arXiv:2103.00065 (gradient descent, heavy ball and Nesterov on quadratics); Cohen et
al., "Adaptive gradient methods at the edge of stability", arXiv:2207.14484 (Adam: 38/eta at
beta_1 = 0.9). The polynomials above were derived for the conventions of `torch.optim`.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float

from learnmech.numerics import ArrayLike

__all__ = [
    "Optimizer",
    "effective_learning_rate",
    "largest_stable_learning_rate",
    "stability_threshold",
]

Array = Float[np.ndarray, "..."]

Optimizer = Literal["gradient descent", "heavy ball", "nesterov", "adam"]


def stability_threshold(
    learning_rate: ArrayLike,
    *,
    optimizer: Optimizer = "gradient descent",
    momentum: ArrayLike = 0.0,
    step: int | None = None,
) -> Array:
    r"""Largest curvature at which an optimiser is stable, with $\eta$ its learning rate.

    A mode of a quadratic with curvature $\lambda$ converges for
    $0 < \lambda < \text{threshold}$ and diverges, flipping its sign, above; at negative
    $\lambda$ it diverges without flipping. $2/\eta$, $(2+2\beta)/\eta$,
    $(2+2\beta)/((1+2\beta)\eta)$ and $(2+2\beta)/((1-\beta)\eta)$ for gradient descent, heavy
    ball, Nesterov and Adam.

    Args:
        learning_rate: Eta, positive, as `torch.optim` takes it; broadcasts with `momentum`.
        optimizer: "gradient descent", "heavy ball", "nesterov" or "adam", in the conventions of
            this module's docstring.
        momentum: Beta, at least 0 and below 1; Adam's beta_1. Zero for gradient descent.
        step: Adam only. Number of steps taken, at least 1, counting the one about to be judged:
            Adam divides its average by $1-\beta_1^t$, which multiplies the threshold by
            $1-\beta_1^t$. That factor varies with time, so this is the threshold of the
            recurrence frozen at step t. None stands for late times, when the factor is one; it
            is also right at any step for a preconditioner that contains the factor,
            $(1-\beta_1^t) P$.

    Returns:
        The thresholds, in the units of curvature (of preconditioned curvature for Adam).

    Raises:
        ValueError: On an unknown optimiser, a learning rate that is not positive, a momentum
            outside [0, 1), momentum with gradient descent, or a step that is not allowed.

    Reference: Cohen et al., arXiv:2103.00065 and arXiv:2207.14484.

    >>> float(stability_threshold(0.1))
    20.0
    >>> round(float(stability_threshold(0.5, optimizer="adam", momentum=0.9)), 9)  # 38 / eta
    76.0
    """
    eta = _positive(learning_rate, "learning_rate")
    return np.asarray(_product(optimizer, momentum, step) / eta)


def largest_stable_learning_rate(
    curvature: ArrayLike,
    *,
    optimizer: Optimizer = "gradient descent",
    momentum: ArrayLike = 0.0,
    step: int | None = None,
) -> Array:
    r"""Largest learning rate at which an optimiser is stable: `stability_threshold` inverted.

    Every threshold is a number over $\eta$, so this is the same number over $\lambda$.

    Args:
        curvature: Lambda, positive: the largest Hessian eigenvalue, or the largest eigenvalue
            of the preconditioned Hessian for Adam; broadcasts with `momentum`.
        optimizer: As `stability_threshold`.
        momentum: As `stability_threshold`.
        step: As `stability_threshold`.

    Returns:
        The learning rates, in units of one over curvature.

    Raises:
        ValueError: On a curvature that is not positive, and as `stability_threshold`.

    Reference: Cohen et al., arXiv:2103.00065 and arXiv:2207.14484.

    >>> float(largest_stable_learning_rate(20.0, optimizer="heavy ball", momentum=0.5))
    0.15
    """
    lam = _positive(curvature, "curvature")
    return np.asarray(_product(optimizer, momentum, step) / lam)


def effective_learning_rate(learning_rate: ArrayLike, momentum: ArrayLike) -> Array:
    r"""Learning rate $\eta/(1-\beta)$ of the plain descent that momentum follows when slow.

    With a gradient that hardly changes, the velocities of heavy ball and of Nesterov settle at
    $g/(1-\beta)$, so t steps move as far as t steps of gradient descent at $\eta/(1-\beta)$.
    Adam's average has no such factor: its effective learning rate is $\eta$.

    Args:
        learning_rate: Eta, positive; broadcasts with `momentum`.
        momentum: Beta, at least 0 and below 1, of `torch.optim.SGD` with zero dampening.

    Returns:
        The effective learning rates, in units of `learning_rate`.

    Raises:
        ValueError: On a learning rate that is not positive, or a momentum outside [0, 1).

    Reference: Qian, "On the momentum term in gradient descent learning algorithms", Neural
    Networks 12 (1999), 145-151.

    >>> float(effective_learning_rate(0.25, 0.5))
    0.5
    """
    return np.asarray(_positive(learning_rate, "learning_rate") / (1.0 - _momentum(momentum)))


def _product(optimizer: str, momentum: ArrayLike, step: int | None) -> Array:
    """Threshold times learning rate, which depends on the momentum and on Adam's step alone."""
    beta = _momentum(momentum)
    whole = step is None or isinstance(step, int | np.integer)
    if step is not None and (optimizer != "adam" or not whole or step < 1):
        raise ValueError(
            "step is Adam's, a whole number of at least 1; leave it out for other optimisers."
        )
    if optimizer == "gradient descent" and np.any(beta != 0.0):
        raise ValueError('with momentum, optimizer is "heavy ball", "nesterov" or "adam".')
    shape: dict[str, Array] = {
        "gradient descent": np.ones_like(beta),
        "heavy ball": np.ones_like(beta),
        "nesterov": 1.0 / (1.0 + 2.0 * beta),
        "adam": (1.0 if step is None else 1.0 - beta**step) / (1.0 - beta),
    }
    if optimizer not in shape:
        names = ", ".join(f'"{name}"' for name in shape)
        raise ValueError(f"optimizer must be one of {names}, not {optimizer!r}.")
    return np.asarray((2.0 + 2.0 * beta) * shape[optimizer])


def _positive(value: ArrayLike, name: str) -> Array:
    array = np.asarray(value, dtype=np.float64)
    if not np.all(np.isfinite(array) & (array > 0.0)):
        raise ValueError(f"{name} must be positive and finite.")
    return array


def _momentum(value: ArrayLike) -> Array:
    array = np.asarray(value, dtype=np.float64)
    if not np.all((array >= 0.0) & (array < 1.0)):
        raise ValueError("momentum must be at least 0 and below 1.")
    return array
