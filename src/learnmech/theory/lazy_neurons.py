r"""What one neuron of a wide network does, and what follows for the kernel of all of them.

A network with one hidden layer in NTK parametrisation, without biases and with one output,

$$ f(x) = \frac{1}{\sqrt n} \sum_{i=1}^n a_i\,\phi(h_i(x)), \qquad
   h_i(x) = \tfrac{1}{\sqrt d}\, w_i^\top x, \qquad a_i, w_{ij} \sim N(0, 1), $$

has as its tangent kernel (NTK) a mean over neurons, $\Theta_n = \frac1n\sum_i k_i$, with

$$ k_i(x, x') = \phi(h_i)\phi(h_i') + a_i^2\,\phi'(h_i)\phi'(h_i')\,\frac{x^\top x'}{d} . $$

**At the start** the neurons are independent, so with $\Theta = \mathrm E\,k$ and Frobenius norms

$$ \mathrm E \frac{\lVert\Theta_n - \Theta\rVert^2}{\lVert\Theta\rVert^2} = \frac{c^2}{n}, \qquad
   c^2 = \frac{\mathrm E\lVert k\rVert^2}{\lVert\Theta\rVert^2} - 1 . $$

**In training** by gradient descent on the half squared loss, neuron i feels the others only through
the error $r = y - f$ of the whole network,

$$ a_i \leftarrow a_i + \frac{\eta}{m\sqrt n}\sum_j r_j\,\phi(h_i(x_j)), \qquad
   w_i \leftarrow w_i + \frac{\eta}{m\sqrt{nd}}\,a_i \sum_j r_j\,\phi'(h_i(x_j))\,x_j . $$

For large n that error is the one of kernel gradient descent with $\Theta$, known before training,
so that neurons can be moved one by one; `kernel_movement` makes the movement of the kernel of it.

Shapes: inputs (m, d), errors (T, m), N neurons drawn to take the means over.
References: Jacot et al., arXiv:1806.07572, and Lee et al., arXiv:1902.06720, the limit and a
bound on how far the kernel moves; the means over single neurons are derived here.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import erf

__all__ = [
    "LazyNeurons",
    "draw_neurons",
    "kernel_distance_constant",
    "move_neurons",
    "neuron_kernel",
]

Array = Float[np.ndarray, "..."]
Factors = tuple[Float[np.ndarray, "N m"], Float[np.ndarray, "N m"]]  # phi(h) and a phi'(h)


def _erf_slope(h: Array) -> Array:
    return np.asarray(2.0 / np.sqrt(np.pi) * np.exp(-(h**2)))


_ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "relu": (lambda h: np.maximum(h, 0.0), lambda h: (h > 0.0).astype(np.float64)),
    "erf": (erf, _erf_slope),
    "linear": (np.array, np.ones_like),
}


@dataclass(frozen=True)
class LazyNeurons:
    """Neurons of one hidden layer in NTK parametrisation."""

    weights: Float[np.ndarray, "N d"]  # w, standard normal at the start
    readout: Float[np.ndarray, " N"]  # a, standard normal at the start
    activation: str  # "relu", "erf" or "linear"


def draw_neurons(
    count: int, inputs: int, *, activation: str, rng: np.random.Generator
) -> LazyNeurons:
    """Draw independent neurons as the network draws them at its start.

    Args:
        count: Number N of neurons, at least one.
        inputs: Input size d, at least one.
        activation: "relu", "erf" or "linear".
        rng: Source of randomness.

    Raises:
        ValueError: On an unknown activation or a size below one.

    >>> draw_neurons(5, 3, activation="erf", rng=np.random.default_rng(0)).weights.shape
    (5, 3)
    """
    if activation not in _ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(_ACTIVATIONS)}, not {activation}.")
    if count < 1 or inputs < 1:
        raise ValueError(f"neurons and inputs must be one or more, not {count} and {inputs}.")
    draws = rng.standard_normal((count, inputs + 1))
    return LazyNeurons(draws[:, 1:].copy(), draws[:, 0].copy(), activation)


def neuron_kernel(
    neurons: LazyNeurons,
    x1: Float[np.ndarray, "..."],
    x2: Float[np.ndarray, "..."] | None = None,
) -> Float[np.ndarray, "m1 m2"]:
    r"""Mean of the neurons' kernels $k(x, x')$: the NTK of a network that consists of them.

    Args:
        neurons: N neurons.
        x1: Inputs, (m1, d).
        x2: Other inputs, (m2, d); `x1` if None.

    Raises:
        ValueError: On inputs that are not finite or do not fit the neurons.

    Cost: O(N m d + N m1 m2).

    >>> ones = LazyNeurons(np.ones((4, 1)), np.ones(4), "linear")
    >>> neuron_kernel(ones, np.array([[1.0], [2.0]])).tolist()  # x x' + x x'
    [[2.0, 4.0], [4.0, 8.0]]
    """
    first = checked_inputs(neurons, x1)
    second = first if x2 is None else checked_inputs(neurons, x2)
    left = factors(neurons, first)
    right = left if x2 is None else factors(neurons, second)
    gram = first @ second.T / first.shape[1]
    total = left[0].T @ right[0] + (left[1].T @ right[1]) * gram
    return np.asarray(total / len(neurons.readout))


def kernel_distance_constant(
    neurons: LazyNeurons, x: Float[np.ndarray, "..."], kernel: Float[np.ndarray, "..."]
) -> tuple[float, float]:
    r"""Return $c^2 = \mathrm E\lVert k\rVert^2/\lVert\Theta\rVert^2 - 1$ and its standard error.

    The kernel of n neurons is at a relative distance of root mean square $c/\sqrt n$ from
    $\Theta$, exactly for every n.

    Args:
        neurons: N independent neurons at their start.
        x: Inputs, (m, d).
        kernel: $\Theta = \mathrm E\,k$ on these inputs, (m, m), such as the `ntk` of
            `infinite_kernels`.

    Raises:
        ValueError: On inputs as `neuron_kernel`, or a kernel that is not the mean of these neurons
            to within six standard errors.

    Cost: O(N m^2).

    >>> rng = np.random.default_rng(0)
    >>> one = draw_neurons(200_000, 1, activation="linear", rng=rng)
    >>> c2, error = kernel_distance_constant(one, np.ones((1, 1)), np.full((1, 1), 2.0))
    >>> abs(c2 - 1.0) < 5 * error  # k = w^2 + a^2: mean 2, mean square 8, 8/4 - 1
    True
    """
    inputs, target = checked_inputs(neurons, x), np.asarray(kernel, dtype=np.float64)
    gram = inputs @ inputs.T / inputs.shape[1]
    if target.shape != gram.shape:
        raise ValueError(f"the kernel must be {gram.shape} like the inputs, not {target.shape}.")
    p, s = factors(neurons, inputs)
    size = float(np.sum(target**2))
    along = forms((p, s), target, gram) / size
    root = np.sqrt(len(along))
    if abs(along.mean() - 1.0) > 6.0 * along.std() / root + 1e-9:
        raise ValueError(
            f"the kernel is not the mean over these neurons: along it they have {along.mean():.3g} "
            "of its size; check the activation and the scales."
        )
    squares = products(p, s, p, s, gram) / size
    return float(squares.mean() - 1.0), float(squares.std() / root)


def move_neurons(
    neurons: LazyNeurons,
    x: Float[np.ndarray, "..."],
    errors: Float[np.ndarray, "..."],
    *,
    width: float,
    learning_rate: float,
) -> LazyNeurons:
    r"""Train each neuron alone, in the given errors of the whole network, with full batches.

    $a \leftarrow a + \epsilon\sum_j r_j\phi(h_j)$ and
    $w \leftarrow w + \epsilon d^{-1/2} a \sum_j r_j\phi'(h_j) x_j$, both from the values before the
    step, with $\epsilon = \eta/(m\sqrt n)$.

    Args:
        neurons: N neurons before training.
        x: Training inputs, (m, d).
        errors: $y - f$ before each step, (T, m), such as `targets - train_outputs` of
            `kernel_gradient_descent`.
        width: n of the network that the neurons belong to, positive. With an output multiplied by
            $\alpha$, errors and rate those of $\alpha = 1$, it is $\alpha^2$ times the width.
        learning_rate: $\eta$, positive.

    Returns:
        The neurons after T steps.

    Raises:
        ValueError: On inputs as `neuron_kernel`, errors of another shape or not finite, a width
            or a learning rate that is not positive.

    Loss convention: half squared loss, $\frac{1}{2m}\sum_j (y_j - f_j)^2$. Cost: O(T N m d).

    >>> start = LazyNeurons(np.ones((1, 1)), np.ones(1), "linear")
    >>> end = move_neurons(start, np.ones((1, 1)), np.ones((1, 1)), width=4.0, learning_rate=0.5)
    >>> end.readout.tolist(), end.weights.tolist()
    ([1.25], [[1.25]])
    """
    inputs, r = checked_inputs(neurons, x), np.asarray(errors, dtype=np.float64)
    if r.ndim != 2 or r.shape[1] != len(inputs) or not np.all(np.isfinite(r)):
        raise ValueError(f"errors must be finite, (T, {len(inputs)}), not {r.shape}.")
    if not (0.0 < width < np.inf and 0.0 < learning_rate < np.inf):
        raise ValueError("width and learning_rate must be positive and finite.")
    value, slope = _ACTIVATIONS[neurons.activation]
    m, d = inputs.shape
    scaled, rate = inputs / np.sqrt(d), learning_rate / (m * np.sqrt(width))
    w, a = neurons.weights.copy(), neurons.readout.copy()
    for error in r:
        h = w @ scaled.T
        push = rate * ((slope(h) * error) @ scaled)
        w, a = w + a[:, None] * push, a + rate * (value(h) @ error)
    return LazyNeurons(w, a, neurons.activation)


def mean_kernel(factors: Factors, gram: Float[np.ndarray, "m m"]) -> Float[np.ndarray, "m m"]:
    p, s = factors
    return np.asarray((p.T @ p + (s.T @ s) * gram) / len(p))


def forms(
    factors: Factors, matrix: Float[np.ndarray, "m m"], gram: Float[np.ndarray, "m m"]
) -> Float[np.ndarray, " N"]:
    """Return <k, M> for each neuron."""
    p, s = factors
    return np.asarray(
        np.einsum("ni,ni->n", p @ matrix, p) + np.einsum("ni,ni->n", s @ (matrix * gram), s)
    )


def factors(neurons: LazyNeurons, inputs: Float[np.ndarray, "m d"]) -> Factors:
    """Return phi(h) and a phi'(h): k = p p^T + s s^T times the Gram matrix of the inputs."""
    value, slope = _ACTIVATIONS[neurons.activation]
    h = neurons.weights @ inputs.T / np.sqrt(inputs.shape[1])
    return value(h), neurons.readout[:, None] * slope(h)


def products(
    p: Array, s: Array, q: Array, t: Array, gram: Float[np.ndarray, "m m"]
) -> Float[np.ndarray, " N"]:
    """Return <p p^T + s s^T G, q q^T + t t^T G> for each neuron, G entry by entry."""
    total = np.einsum("ni,ni->n", p, q) ** 2
    for left in (p * t, s * q):
        total += np.einsum("ni,ni->n", left @ gram, left)
    both = s * t
    return np.asarray(total + np.einsum("ni,ni->n", both @ gram**2, both))


def checked_inputs(neurons: LazyNeurons, x: Array) -> Float[np.ndarray, "m d"]:
    inputs = np.asarray(x, dtype=np.float64)
    d = neurons.weights.shape[1]
    if inputs.ndim != 2 or inputs.shape[1] != d or len(inputs) < 1:
        raise ValueError(f"inputs must be (m, {d}), not {inputs.shape}.")
    if not np.all(np.isfinite(inputs)):
        raise ValueError("inputs hold NaN or infinity; give finite numbers.")
    return inputs
