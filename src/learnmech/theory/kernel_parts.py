r"""Each layer's part of the infinite-width tangent kernel, and how far its weights move.

For the network of `infinite_kernels` without biases, with L hidden layers, the tangent kernel is a
sum of one part for each weight matrix, the readout being the last,

$$ \Theta = \sum_{l=1}^{L+1} \Theta_l, \qquad
   \Theta_l = K^l \odot \prod_{j=l}^{L} \sigma_{j+1}^2\, \dot F(K^j), $$

where $K^1 = \sigma_w^2 x^\top x'/d$, $K^{l+1} = \sigma_{l+1}^2 F(K^l)$ and $\dot F(K)$ averages
$\phi'\phi'$ over a Gaussian pair with covariance K. (The product is entry by entry, and empty
for l = L+1.)

Kernel gradient descent on m samples changes the function by $\Theta q$, with
$q = \frac{\eta}{m}\sum_k (y - f_k)$ the sum over its steps. Every weight moves along its own
gradient, so that in the limit of infinite width

$$ \lVert W_l(T) - W_l(0) \rVert_F^2 = q^\top \Theta_l\, q , $$

which does not depend on the width, while $\lVert W_l(0)\rVert_F$ is the root of the number of
entries. So weights between hidden layers move by 1/n of their size, and those of the first and
last layer by $n^{-1/2}$.

References: Jacot et al., arXiv:1806.07572, the recursion; Lee et al., arXiv:1902.06720, linearised
training.
"""

import math

import numpy as np
from jaxtyping import Float

from learnmech.theory.infinite_width import infinite_kernels
from learnmech.theory.kernel_dynamics import kernel_gradient_descent

__all__ = ["tangent_kernel_parts", "weight_movement"]

Array = Float[np.ndarray, "..."]


def tangent_kernel_parts(
    x: Float[np.ndarray, "..."],
    *,
    activation: str,
    hidden_layers: int,
    weight_std: float,
    readout_weight_std: float = 1.0,
) -> Float[np.ndarray, "L m m"]:
    r"""Parts of the infinite-width NTK that come from each weight matrix, first layer to readout.

    Args:
        x: Inputs, (m, d).
        activation: "relu", "erf" or "linear".
        hidden_layers: Number L of hidden layers, at least zero.
        weight_std: Standard deviation of the weights but the readout's, times the root of fan-in.
        readout_weight_std: The same of the readout's weights.

    Returns:
        $\Theta_l$, (L+1, m, m), in the order of the layers. They sum to the `ntk` of
        `infinite_kernels` without biases, to 1e-12 of its size for erf and linear networks and to
        1e-7 for ReLU.

    Raises:
        ValueError: As `infinite_kernels`.

    Reference: Jacot et al., arXiv:1806.07572, the recursion of the tangent kernel.

    >>> parts = tangent_kernel_parts(
    ...     np.eye(2) * 2**0.5, activation="linear", hidden_layers=2, weight_std=1.0
    ... )
    >>> parts.sum(0).tolist()  # three equal parts of x . x' / d
    [[3.0, 0.0], [0.0, 3.0]]
    """
    parts: list[Array] = []
    slope = np.ones(())
    for layer in range(hidden_layers, -1, -1):
        # K^{l+1} of this network is the NNGP of the first l hidden layers with its own last std.
        last = readout_weight_std if layer == hidden_layers else weight_std
        kernel = infinite_kernels(
            x,
            activation=activation,
            hidden_layers=layer,
            weight_std=weight_std,
            bias_std=0.0,
            readout_weight_std=last,
        ).nngp
        if layer < hidden_layers:
            above = readout_weight_std if layer + 1 == hidden_layers else weight_std
            slope = slope * above**2 * _mean_slopes(kernel, activation)
        parts.append(kernel * slope)
    return np.stack(parts[::-1])


def weight_movement(
    parts: Float[np.ndarray, "..."],
    targets: Float[np.ndarray, "..."],
    *,
    steps: int,
    learning_rate: float,
) -> Float[np.ndarray, " L"]:
    r"""Return $\lVert W_l(T) - W_l(0)\rVert_F = \sqrt{q^\top\Theta_l\,q}$ for each weight matrix.

    $q = \frac{\eta}{m}\sum_{k<T}(y - f_k)$ is summed along kernel gradient descent from f = 0 with
    the sum of the parts.

    Args:
        parts: $\Theta_l$, (L+1, m, m), as `tangent_kernel_parts` returns them, or those of a finite
            network at its start.
        targets: y, (m,), of the one output.
        steps: Number of steps T, at least zero.
        learning_rate: $\eta$, positive and at most 2 over the largest eigenvalue of $\Theta/m$.

    Returns:
        The Frobenius norms, (L+1,), first layer to readout.

    Raises:
        ValueError: On parts that are not (L+1, m, m), or as `kernel_gradient_descent`.

    Loss convention: half squared loss, $\frac{1}{2m}\sum_j (y_j - f_j)^2$.

    Cost: one eigendecomposition, O(m^3), whatever the number of steps.

    >>> parts = np.array([[[0.25]], [[0.75]]])  # a kernel of one, of which the readout has 3/4
    >>> weight_movement(parts, np.ones(1), steps=1, learning_rate=1.0).round(12).tolist()
    [0.5, 0.866025403784]
    """
    each = np.asarray(parts, dtype=np.float64)
    y = np.asarray(targets, dtype=np.float64)
    if each.ndim != 3 or each.shape[1:] != (len(y) if y.ndim == 1 else -1,) * 2:
        raise ValueError(
            f"parts must be (L+1, m, m) and targets (m,), not {each.shape} and {y.shape}."
        )
    # With the identity as the kernel to "test inputs", their outputs are q itself.
    impulse = kernel_gradient_descent(
        [steps], each.sum(0), y, learning_rate=learning_rate, cross_kernel=np.eye(len(y))
    ).test_outputs
    assert impulse is not None
    q = impulse[0]
    return np.asarray(np.sqrt(np.maximum(np.einsum("i,lij,j->l", q, each, q), 0.0)))


def _mean_slopes(kernel: Float[np.ndarray, "m m"], activation: str) -> Float[np.ndarray, "m m"]:
    """Return the average of phi'(u) phi'(v) for pairs of covariance K; see `infinite_width`."""
    if activation == "linear":
        return np.ones_like(kernel)
    variances = np.diag(kernel)
    product = variances[:, None] * variances
    gap = np.maximum(product - kernel**2, 0.0)
    if activation == "erf":
        total = variances[:, None] + variances
        return np.asarray(4.0 / (math.pi * np.sqrt(1.0 + 2.0 * total + 4.0 * gap)))
    return np.asarray(0.5 - np.arctan2(np.sqrt(gap), kernel) / (2.0 * math.pi))
