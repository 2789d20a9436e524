r"""What the hidden layer of a trained linear network remembers of its random start.

A network $f(x) = W_2 W_1 x$ with h hidden units and entries of variance $\sigma_1^2$, $\sigma_2^2$
is trained to the end by gradient flow on whitened inputs. Write $\Sigma = U S V^\top$ for what it
learns, $A = W_1^\top W_1$ for its hidden kernel, $q_i = h \sigma_i^2$ for the size of the start,
and, for every direction of the inputs ($s_i = 0$ beyond the rank),

$$ \sinh 2 y_i = \frac{2 s_i}{q_1 + q_2}. $$

For large h the trained kernel is the same for every start,

$$ \bar A = V\,\mathrm{diag}(a)\,V^\top, \qquad
   a_i = \sqrt{s_i^2 + \tfrac14(q_1 + q_2)^2} + \tfrac12(q_1 - q_2), $$

and to first order in $h^{-1/2}$ it keeps of the start's fluctuations $\alpha = W_1^\top W_1 - q_1$
and $\beta = W_2 W_2^\top - q_2$, in the basis of the modes,

$$ \delta A_{ij} = \frac{\alpha_{ij} + \beta_{ij}}{2\cosh(y_i + y_j)}
                 + \frac{\alpha_{ij} - \beta_{ij}}{2\cosh(y_i - y_j)}. $$

Fluctuations of $W_2 W_1$ itself are forgotten. Gradient descent with steps of size $\eta$ wears
the memory down: step by step the conserved part of modes i and j loses the share
$\eta^2 (e_i^2 + e_j^2)/2$, with $e$ what is still to be learned, which adds up to

$$ \delta A_{ij} \to e^{-(u_i + u_j)/2}\,\delta A_{ij}, \qquad
   u_i = \eta\!\int\! e_i^2\,dt = \frac{\eta}{2}\Big[s_i \operatorname{arsinh}\frac{s_i}{q}
   - \sqrt{s_i^2 + q^2} + q\Big], \qquad q = \tfrac12 (q_1 + q_2). $$

Without a task (s = 0) all of $\alpha$ stays; from a small start the first term vanishes, the second
stays of order q, and the kernel is $V S V^\top$.

Derivation: with $Q = [W_1^\top; W_2]$ and $J = \mathrm{diag}(I, -I)$, flow multiplies Q from the
left by matrices T with $T^\top J T = J$. To first order T is a product of boosts by $y_i$ and
a small element of the same group, which cannot change the two diagonal blocks of
$T^{-1} QQ^\top T^{-\top}$: they are $q_1 + \alpha$ and $q_2 + \beta$ forever. The conserved
blocks and the end $W_2 W_1 = \Sigma$ fix $QQ^\top$.

Loss: half squared; without the learning rate, any multiple. References: derived here, from the
conservation law in Du, Hu and Lee, arXiv:1806.00900. At q = 0 it is the balanced end of Saxe et
al., arXiv:1312.6120.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from learnmech.theory.linear_coupled import singular_modes

__all__ = ["TrainedKernel", "trained_kernel"]


@dataclass(frozen=True)
class TrainedKernel:
    """Hidden kernel of linear networks after training, and its scatter over random starts."""

    mean: Float[np.ndarray, "d d"]  # A for large width, in units of outputs per input
    variance: Float[np.ndarray, "d d"]  # of the entries of A in the basis of the modes
    scatter: float  # mean of |A - mean|^2 / |mean|^2
    misalignment: float  # x / (1 + x), the mean of 1 - CKA of two independently started networks
    dimension: float  # (tr cov)^2 / tr cov^2 of the scatter: |A - mean|^2 varies by 2/dimension


def trained_kernel(
    correlation: Float[np.ndarray, "..."],
    width: int,
    first_scale: float,
    second_scale: float | None = None,
    *,
    learning_rate: float = 0.0,
) -> TrainedKernel:
    r"""Trained hidden kernel $W_1^\top W_1$ and its scatter, from the scale of the start alone.

    $a_i = \sqrt{s_i^2 + (q_1 + q_2)^2/4} + (q_1 - q_2)/2$, and the variance of $\delta A_{ij}$
    follows from those of $\alpha_{ij}$ and $\beta_{ij}$, $(1 + \delta_{ij})\,q^2 / h$. With x
    the scatter across the mean kernel, 1 - CKA is $x/(1 + x)$ on average (each network gives half
    of x to first order, as in `kernel_fluctuations`).

    Args:
        correlation: What is learned: $\Sigma = E\,yx^\top$ on whitened inputs, (C, d).
        width: Number h of hidden units, at least the rank of Sigma.
        first_scale: $q_1 = h\sigma_1^2$, positive, in units of Sigma.
        second_scale: $q_2 = h\sigma_2^2$, positive; `first_scale` if None.
        learning_rate: eta of gradient descent, at least zero; zero for gradient flow.

    Returns:
        The mean kernel, the variances in the basis of the modes (right singular vectors of
        Sigma, then a basis of the rest), and what follows for two networks.

    Raises:
        ValueError: On scales that are not positive and finite, a width below the rank, or a
            learning rate that is negative or not finite.

    Loss convention: half squared loss for the learning rate, any multiple for the flow.

    Reference: the first lines of this module; relative errors are of order (d + C) / h.

    >>> lazy, rich = (trained_kernel(np.eye(2), 100, q) for q in (1e6, 1e-6))
    >>> round(lazy.scatter, 4), bool(rich.scatter < 1e-12)
    (0.03, True)
    >>> rich.mean.round(3)
    array([[1., 0.],
           [0., 1.]])
    """
    q1 = float(first_scale)
    q2 = q1 if second_scale is None else float(second_scale)
    if not (0.0 < q1 < np.inf and 0.0 < q2 < np.inf):
        raise ValueError("the scales of the start must be positive and finite.")
    if not 0.0 <= learning_rate < np.inf:
        raise ValueError("the learning rate must be finite and at least zero.")
    sigma = np.asarray(correlation, dtype=np.float64)
    _, values, right = singular_modes(sigma)
    rank, d = len(values), sigma.shape[1]
    if width < rank:
        raise ValueError(f"{width} hidden units cannot learn {rank} modes.")
    s = np.zeros(d)
    s[:rank] = values
    # A basis of all input directions, the modes first.
    basis = np.hstack([right, np.linalg.svd(right)[0][:, rank:]])
    half = 0.5 * (q1 + q2)
    y = 0.5 * np.arcsinh(s / half)
    a = np.hypot(s, half) + 0.5 * (q1 - q2)
    plus, minus = 1.0 / np.cosh(y[:, None] + y), 1.0 / np.cosh(y[:, None] - y)
    variance = (q1**2 * (plus + minus) ** 2 + q2**2 * (plus - minus) ** 2) / (4.0 * width)
    worn = 0.5 * learning_rate * (2.0 * y * s - np.hypot(s, half) + half)
    variance = variance * (1.0 + np.eye(d)) * np.exp(-worn[:, None] - worn)
    size = np.sum(a**2)
    scatter = variance.sum() / size
    across = scatter - np.sum(a**2 * variance.diagonal()) / size**2
    # An entry off the diagonal counts twice in |A|^2: its share of the covariance is doubled.
    weights = np.triu(variance) * (2.0 - np.eye(d))
    return TrainedKernel(
        mean=(basis * a) @ basis.T,
        variance=variance,
        scatter=float(scatter),
        misalignment=float(across / (1.0 + across)),
        dimension=float(weights.sum() ** 2 / np.sum(weights**2)),
    )
