r"""How alike the kernels of two finite networks are, from the fluctuation of one neuron.

A hidden layer of n independent neurons has the kernel $K_n = \frac1n\sum_w k_w$ on m samples,
with $k_w = h_w h_w^\top$ and $h_w$ (m,) the centred responses of neuron w. Its mean is the
kernel $K$ of infinite width. With Frobenius norms and products, exactly at every n,

$$ \frac{\mathrm E\lVert K_n - K\rVert^2}{\lVert K\rVert^2} = \frac{c^2}{n}, \qquad
   c^2 = \frac{\mathrm E\lVert k_w\rVert^2}{\lVert K\rVert^2} - 1. $$

Only the part of the fluctuation across $K$ turns the kernel. Its share is

$$ C = c^2 - v, \qquad v = \frac{\mathrm{Var}\,\langle k_w, K\rangle}{\lVert K\rVert^4}, $$

and for independent networks of n and n' neurons, up to relative corrections $q/n$,

$$ \mathrm E\,\mathrm{CKA}(K_n, K_{n'}) = \frac{1}{\sqrt{(1 + C/n)\,(1 + C/n')}}, \qquad
   1 - \mathrm{CKA} = \frac{C}{n + C} \text{ for } n = n'. $$

Half of C belongs to each of the two: against the exact kernel, n' infinite, 1 - CKA is C/(2n).

All of it follows from $K_n = (1 + a) K + b$ with $b \perp K$: the cosine with $K$ is
$(1 + |b|^2 / ((1 + a)^2 |K|^2))^{-1/2}$, independent fluctuations b and b' are orthogonal on
average, and $\mathrm E|b|^2 = C |K|^2 / n$. The next order of 1 - CKA, relative to C/(n + C), is

$$ q = 3 v - \frac{2\,\mathrm E[a_w |b_w|^2]}{C\,|K|^2}
     + \frac{5\,|\mathrm E[a_w b_w]|^2}{C\,|K|^2} - \frac{3 C}{2 D}, $$

with $a_w$ and $b_w$ those of one neuron and D the effective dimension of $b_w$: $|b|^2$ varies by
$2/D$ of its square, and the cosine is a convex function of it.

References: Rahimi and Recht, "Random features for large-scale kernel machines" (NeurIPS 2007),
the rate of $K_n$; Kornblith et al., arXiv:1905.00414, CKA. The constants are derived here.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from learnmech.numerics import ArrayLike

__all__ = ["KernelFluctuation", "finite_width_alignment", "kernel_fluctuation"]

_MOST_PAIRED = 2000  # neurons whose pairs are looked at for the dimension


@dataclass(frozen=True)
class KernelFluctuation:
    """Constants of the fluctuation of a kernel that is a mean over independent neurons."""

    distance: float  # c^2: n times the mean of |K_n - K|^2 / |K|^2
    distance_error: float  # standard error of c^2 from the finite number of neurons
    alignment: float  # C: n times 1 - CKA of two independent networks, for large n
    alignment_error: float  # standard error of C
    next_order: float  # q: the relative correction to C/(n + C) of 1 - CKA is q/n for large n
    dimension: float  # (tr cov)^2 / tr cov^2 of the fluctuation: |K_n - K|^2 varies by 2/dimension


def kernel_fluctuation(
    neurons: Float[np.ndarray, "..."], kernel: Float[np.ndarray, "..."]
) -> KernelFluctuation:
    r"""Constants c^2 and C of the kernel's fluctuation, from the responses of single neurons.

    $c^2 = \mathrm E|h_w|^4 / |K|^2 - 1$ and $C = c^2 - \mathrm{Var}(h_w^\top K h_w) / |K|^4$. No
    matrix of one neuron is ever formed.

    Args:
        neurons: Responses of independent neurons, (N, m), one row per neuron, drawn as the
            network draws them. They are centred over the samples here.
        kernel: Their mean kernel $\mathrm E\,h_w h_w^\top$, (m, m), in the same units, such as the
            `nngp` of `infinite_kernels`. It is centred here.

    Returns:
        The constants and their standard errors.

    Raises:
        ValueError: On fewer than 100 neurons, shapes that do not fit, values that are not
            finite, a kernel that is not symmetric or constant, or one that is not the mean of
            these neurons to within six standard errors, or neurons whose kernels are all the same.

    Reference: the first lines of this module. Cost: O(N m^2).

    >>> signs = np.array([[1.0, -1.0, 1.0, -1.0], [1.0, -1.0, -1.0, 1.0]] * 100)
    >>> result = kernel_fluctuation(signs, (signs.T @ signs) / 200)  # two kernels at a right angle
    >>> round(result.distance, 12), round(result.alignment, 12), round(result.dimension, 1)
    (1.0, 1.0, 1.0)
    """
    h, k = np.asarray(neurons, dtype=np.float64), centred_kernel(kernel, "kernel")
    if h.ndim != 2 or h.shape[1] != len(k):
        raise ValueError(
            f"neurons must be (N, m) and the kernel (m, m), not {h.shape} and {k.shape}."
        )
    if len(h) < 100 or not np.all(np.isfinite(h)):
        raise ValueError("give the finite responses of at least 100 neurons.")
    h = h - h.mean(1, keepdims=True)
    size = np.sum(k**2)
    square = np.sum(h**2, axis=1) ** 2 / size  # |k_w|^2 / |K|^2
    along = np.sum((h @ k) * h, axis=1) / size  # <k_w, K> / |K|^2, one on average
    root = np.sqrt(len(h))
    if abs(along.mean() - 1.0) > 6.0 * along.std() / root + 1e-9:
        raise ValueError(
            f"the kernel is not the mean over these neurons: along it they have {along.mean():.3g} "
            "of its size; check units, weight scales and the factor of the width."
        )
    across = square - along**2  # |b_w|^2 / |K|^2
    a = along - 1.0
    c2, spread = square.mean() - 1.0, a**2
    if not c2 > 1e-12:
        raise ValueError("every neuron has the same kernel, so nothing fluctuates.")
    alignment = c2 - spread.mean()
    some, part = h[:_MOST_PAIRED], a[:_MOST_PAIRED]
    upper = np.triu_indices(len(some), 1)
    along_pairs = np.outer(part, part)[upper]
    pairs = ((some @ some.T) ** 2 / size - part[:, None] - part - 1.0)[upper]
    across_pairs = pairs - along_pairs  # <b_w, b_w'> / |K|^2
    next_order = 3.0 * spread.mean()
    if alignment > 1e-12 * c2:  # otherwise no kernel turns, and there is nothing to correct
        third = 2.0 * np.mean(a * across) - 5.0 * np.mean(along_pairs * across_pairs)
        next_order -= (third + 1.5 * np.mean(across_pairs**2)) / alignment
    return KernelFluctuation(
        distance=float(c2),
        distance_error=float(square.std() / root),
        alignment=float(alignment),
        alignment_error=float((square - spread).std() / root),
        next_order=float(next_order),
        dimension=float(c2**2 / np.mean(pairs**2)),
    )


def finite_width_alignment(
    width: ArrayLike, constant: float, other_width: ArrayLike | None = None
) -> Float[np.ndarray, "..."]:
    r"""Mean CKA of two independent networks, $[(1 + C/n)(1 + C/n')]^{-1/2}$.

    Args:
        width: n, the number of neurons of the first, positive; infinity for the exact kernel.
        constant: C of `kernel_fluctuation`, at least zero.
        other_width: n' of the second; None for the same.

    Returns:
        The mean of the biased CKA, between 0 and 1, with the shape of the widths.

    Raises:
        ValueError: On a width that is not positive or a constant that is negative or not finite.

    Reference: the first lines of this module; the relative error of 1 - CKA is `next_order` / n.

    >>> float(finite_width_alignment(30, 10.0))
    0.75
    >>> round(1 - float(finite_width_alignment(1000, 10.0, np.inf)), 5)  # half of C/n
    0.00496
    """
    first = np.asarray(width, dtype=np.float64)
    second = first if other_width is None else np.asarray(other_width, dtype=np.float64)
    if not (np.all(first > 0.0) and np.all(second > 0.0)):
        raise ValueError("widths must be positive; give np.inf for the exact kernel.")
    if not 0.0 <= constant < np.inf:
        raise ValueError(f"the constant must be finite and at least zero, not {constant}.")
    return np.asarray(1.0 / np.sqrt((1.0 + constant / first) * (1.0 + constant / second)))


def centred_kernel(kernel: Float[np.ndarray, "..."], name: str) -> Float[np.ndarray, "m m"]:
    """Return HKH, (m, m), or refuse what is no symmetric kernel that varies."""
    k = np.asarray(kernel, dtype=np.float64)
    if k.ndim != 2 or k.shape[0] != k.shape[1] or len(k) < 2 or not np.all(np.isfinite(k)):
        raise ValueError(f"{name} must be a finite square matrix, (m, m), of two samples or more.")
    largest = np.abs(k).max()
    if not np.allclose(k, k.T, rtol=0.0, atol=1e-10 * largest):
        raise ValueError(f"{name} must be symmetric.")
    rows = k.mean(0)
    centred = k - rows - rows[:, None] + rows.mean()
    if not np.abs(centred).max() > 1e-14 * largest:
        raise ValueError(f"{name} does not vary over the samples, so it is like nothing.")
    return np.asarray(centred)
