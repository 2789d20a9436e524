r"""How far training moves the tangent kernel of a wide network, from single neurons.

Neurons of `lazy_neurons` are moved one by one in the error of kernel gradient descent, which for
large width n is that of the network. With $\delta k$ the change of a neuron's kernel and
$\Theta_n = \frac1n\sum_i k_i$, to leading order in 1/n,

$$ \mathrm E\lVert\Delta\Theta_n\rVert^2 = \lVert\mathrm E\,\delta k\rVert^2 +
   \tfrac1n\,(\mathrm E\lVert\delta k\rVert^2 - \lVert\mathrm E\,\delta k\rVert^2) . $$

For a smooth activation $\delta k$ is of order $n^{-1/2}$ and odd in the readout a, so that its
mean is of second order, 1/n. Both terms are then of order $n^{-2}$: the kernel moves by 1/n. For
ReLU a share of order $n^{-1/2}$ of the neurons passes from one side of its kink to the other, and
each changes its k by an amount of order one, which makes the last term of order $n^{-3/2}$ and
the kernel move by $n^{-3/4}$ in the end.

References: Lee et al., arXiv:1902.06720, who bound the movement by $n^{-1/2}$; derived here.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from learnmech.theory.lazy_neurons import (
    Factors,
    LazyNeurons,
    checked_inputs,
    factors,
    forms,
    mean_kernel,
    move_neurons,
    products,
)

__all__ = ["KernelMovement", "kernel_movement"]


@dataclass(frozen=True)
class KernelMovement:
    """Predicted change of the tangent kernel of n neurons; all relative to its norm."""

    size: float  # root mean square of |Delta Theta_n| / |Theta|
    mean: float  # |E delta k| / |Theta|, what all networks share
    spread: float  # sqrt((E|delta k|^2 - |E delta k|^2) / n) / |Theta|, what differs between them
    error: float  # standard error of `size` from the finite number of neurons drawn
    crossed: float  # share of pairs (neuron, input) whose h has changed its sign


def kernel_movement(
    neurons: LazyNeurons,
    x: Float[np.ndarray, "..."],
    errors: Float[np.ndarray, "..."],
    kernel: Float[np.ndarray, "..."],
    *,
    width: float,
    learning_rate: float,
    multiplier: float = 1.0,
) -> KernelMovement:
    r"""Predict how far training moves the tangent kernel of n neurons.

    $\mathrm E\lVert\Delta\Theta_n\rVert^2 = \lVert\mathrm E\,\delta k\rVert^2 + \frac1n
    (\mathrm E\lVert\delta k\rVert^2 - \lVert\mathrm E\,\delta k\rVert^2)$, both terms without
    bias from the finite number of neurons. Each neuron is moved by `move_neurons` with its readout
    a and with -a: to first order the two changes of $a^2$ and of $\phi'(h)^2$ cancel, so that the
    mean, which is of second order, does not drown in noise.

    Args:
        neurons: N independent neurons at their start.
        x: Training inputs, (m, d).
        errors: y - f before each step, (T, m), from kernel gradient descent with $\Theta$.
        kernel: $\Theta$ on these inputs, (m, m), by whose norm everything is divided.
        width: n, the number of neurons of the network.
        learning_rate: $\eta$ of the kernel gradient descent.
        multiplier: $\alpha$ of an output $\alpha (f - f_0)$ that is trained with the rate
            $\eta / \alpha^2$: the function moves as without it, and each neuron $1/\alpha$ times
            as far.

    Returns:
        The movement relative to $\lVert\Theta\rVert$, its two parts, and its standard error.

    Raises:
        ValueError: As `move_neurons`, and on fewer than 100 neurons or a multiplier that is not
            positive.

    Cost: O(N m^2 + T N m d).

    >>> rng = np.random.default_rng(0)
    >>> from learnmech.theory import draw_neurons
    >>> start = draw_neurons(100, 2, activation="erf", rng=rng)
    >>> still = dict(errors=np.zeros((3, 2)), kernel=np.eye(2), width=50, learning_rate=1.0)
    >>> kernel_movement(start, np.eye(2), **still).size
    0.0
    """
    inputs, count = checked_inputs(neurons, x), len(neurons.readout)
    if count < 100:
        raise ValueError(f"give at least 100 neurons, not {count}.")
    if not 0.0 < multiplier < np.inf:
        raise ValueError(f"multiplier must be positive and finite, not {multiplier}.")
    gram = inputs @ inputs.T / inputs.shape[1]
    squares, along, crossed = np.zeros(count), np.zeros(count), 0.0
    changes = []
    for sign in (1.0, -1.0):
        before = LazyNeurons(neurons.weights, sign * neurons.readout, neurons.activation)
        after = move_neurons(
            before, inputs, errors, width=width * multiplier**2, learning_rate=learning_rate
        )
        changes.append((factors(before, inputs), factors(after, inputs)))
        crossed += float(
            np.mean((before.weights @ inputs.T > 0.0) != (after.weights @ inputs.T > 0.0))
        )
    mean = sum(mean_kernel(new, gram) - mean_kernel(old, gram) for old, new in changes) / 2.0
    for old, new in changes:
        squares += products(*old, *old, gram) + products(*new, *new, gram)
        squares -= 2.0 * products(*old, *new, gram)
        along += forms(new, mean, gram) - forms(old, mean, gram)
    squares, along = squares / 2.0, along / 2.0  # |delta k|^2 and <delta k, E delta k> of a pair
    total = float(np.sum(np.asarray(kernel, dtype=np.float64) ** 2))
    # |mean|^2 is too large by the variance of a pair's mean over N.
    own = _pair_squares(changes, gram)
    shared = max(float(np.sum(mean**2) - (own.mean() - np.sum(mean**2)) / (count - 1)), 0.0)
    spread = max(float(squares.mean()) - shared, 0.0) / width
    size = float(np.sqrt((shared + spread) / total))
    noise = float((2.0 * along + squares / width).std() / np.sqrt(count)) / total
    return KernelMovement(
        size=size,
        mean=float(np.sqrt(shared / total)),
        spread=float(np.sqrt(spread / total)),
        error=noise / (2.0 * size) if size > 0.0 else 0.0,
        crossed=crossed / 2.0,
    )


def _pair_squares(
    changes: list[tuple[Factors, Factors]], gram: Float[np.ndarray, "m m"]
) -> Float[np.ndarray, " N"]:
    """Return the squared norm of the mean change of each neuron and its mirror image."""
    signed = [(sign, f) for old, new in changes for sign, f in ((-0.5, old), (0.5, new))]
    total = np.zeros(len(signed[0][1][0]))
    for i, (a, left) in enumerate(signed):
        total += a * a * products(*left, *left, gram)
        for b, right in signed[i + 1 :]:
            total += 2.0 * a * b * products(*left, *right, gram)
    return total
