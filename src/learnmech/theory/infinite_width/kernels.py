r"""Infinite-width kernels of fully connected networks in NTK parametrisation.

The network has $L$ hidden layers, $f(x) = h^{L+1}(x)$, and

$$ h^1 = \frac{\sigma_w}{\sqrt d} W^1 x + \sigma_b b^1, \qquad
   h^{l+1} = \frac{\sigma_{l+1}}{\sqrt{n_l}} W^{l+1} \phi(h^l) + \sigma_b b^{l+1}, $$

with every entry of $W^l$ and $b^l$ a standard Gaussian and trained, the biases and the readout
with its own bias included. All $\sigma_l$ are `weight_std` but that of the readout, $l = L+1$,
which is `readout_weight_std`; every layer, the readout too, has `bias_std`. As the widths
$n_1, \dots, n_L$ grow, outputs become Gaussian with covariance $K^{L+1}$ (NNGP), and gradient
flow on $f$ is kernel gradient descent with $\Theta^{L+1}$ (NTK):

$$ K^1 = \Theta^1 = \frac{\sigma_w^2}{d} x^\top x' + \sigma_b^2, \qquad
   K^{l+1} = \sigma_{l+1}^2 F(K^l) + \sigma_b^2, \qquad
   \Theta^{l+1} = K^{l+1} + \sigma_{l+1}^2 \dot F(K^l)\, \Theta^l, $$

where $F$ and $\dot F$ average $\phi\phi$ and $\phi'\phi'$ over a Gaussian pair with covariance
$K^l$ (closed forms in `layers`). Shapes: inputs (n1, d) and (n2, d), kernels (n1, n2).

References: Lee et al., "Deep neural networks as Gaussian processes", arXiv:1711.00165 (NNGP);
Jacot, Gabriel and Hongler, "Neural tangent kernel", arXiv:1806.07572 (NTK).
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from learnmech.theory.infinite_width.angles import Inputs, angles, prepare
from learnmech.theory.infinite_width.layers import TILE_KERNELS, VARIANCES

__all__ = ["InfiniteKernels", "infinite_kernels"]

_TILE = 128  # rows and columns worked on at once, so that everything stays in the cache


@dataclass(frozen=True)
class InfiniteKernels:
    """Both kernels of one infinitely wide network, for each of its outputs alike."""

    nngp: Float[np.ndarray, "n1 n2"]  # covariance of the outputs at initialisation
    ntk: Float[np.ndarray, "n1 n2"]  # inner products of the gradients of an output


def infinite_kernels(
    x1: Float[np.ndarray, "..."],
    x2: Float[np.ndarray, "..."] | None = None,
    *,
    activation: str,
    hidden_layers: int,
    weight_std: float,
    bias_std: float,
    readout_weight_std: float = 1.0,
) -> InfiniteKernels:
    r"""NNGP and NTK of a fully connected network of infinite width.

    $f = h^{L+1}$ with $h^{l+1} = \sigma_{l+1} n_l^{-1/2} W^{l+1}\phi(h^l) + \sigma_b b^{l+1}$ and
    $h^1 = \sigma_w d^{-1/2} W^1 x + \sigma_b b^1$; unit Gaussian parameters, all of them trained.
    The inputs are divided by $\sqrt d$, and the readout has a bias like every other layer.

    Relative errors are below 1e-12, for equal, nearly equal and opposite inputs and through many
    chaotic layers too; only where a kernel passes through zero between positive and negative
    values is the error relative to $\sqrt{K(x,x) K(x',x')}$ instead. (With the arccosine of a
    correlation, as commonly written, the NTK is wrong by 1e-8 on the diagonal.)

    Args:
        x1: Inputs, (n1, d).
        x2: Other inputs, (n2, d); `x1` itself if None, and then the result is exactly symmetric
            and costs half.
        activation: "relu", "erf" or "linear" (no nonlinearity: an exact check).
        hidden_layers: Number L of hidden layers, at least zero; with zero f is linear in x, and
            its only layer is the readout.
        weight_std: Standard deviation of the weights but the readout's, positive.
        bias_std: Standard deviation of all biases, at least zero.
        readout_weight_std: Standard deviation of the readout's weights, positive.

    Returns:
        Both kernels, (n1, n2), float64. They are those of one output; different outputs of one
        network are independent under the NNGP and have no NTK between them.

    Raises:
        ValueError: On inputs that are not matrices with the same number of columns, are empty,
            not finite or so large that a kernel overflows; an unknown activation; a number of
            layers or a standard deviation out of its range.

    Cost: O(L n1 n2) elementary functions and O(n1 n2 d) for the products; the memory of the two
    results.

    Reference: Lee et al., arXiv:1711.00165, the recursion of the NNGP; Jacot et al.,
    arXiv:1806.07572, the limiting kernel at initialisation ($\beta$ there is $\sigma_b$ here).

    >>> x = np.array([[1.0, 1.0], [1.0, -1.0]])  # a right angle, both of variance one
    >>> he = dict(activation="relu", weight_std=1.0, bias_std=0.0, readout_weight_std=2**0.5)
    >>> kernels = infinite_kernels(x, hidden_layers=1, **he)
    >>> (kernels.nngp * [[1, np.pi], [np.pi, 1]]).round(12).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    >>> kernels.ntk.diagonal().round(12).tolist()
    [2.0, 2.0]
    """
    first, second = _inputs(x1, "x1"), None if x2 is None else _inputs(x2, "x2")
    _check(activation, hidden_layers, weight_std, bias_std, readout_weight_std)
    columns = first if second is None else second
    if columns.shape[1] != first.shape[1]:
        raise ValueError(
            f"x1 has {first.shape[1]} columns and x2 has {columns.shape[1]}; give both the same "
            "features."
        )
    # Python's own floats: NumPy's single precision would go through to the kernels.
    stds = [float(weight_std)] * hidden_layers + [float(readout_weight_std)]
    with np.errstate(over="ignore", invalid="ignore"):
        kernels = _by_tiles(first, second, activation, stds, float(bias_std))
        finite = np.isfinite(kernels.nngp.sum()) and np.isfinite(kernels.ntk.sum())
    if not finite:
        raise ValueError(
            "the kernel overflows double precision; give inputs and standard deviations of a "
            "moderate size."
        )
    return kernels


def _by_tiles(
    first: Float[np.ndarray, "n1 d"],
    second: Float[np.ndarray, "n2 d"] | None,
    activation: str,
    stds: list[float],
    bias_std: float,
) -> InfiniteKernels:
    """Both kernels, a tile of pairs at a time; for one set of inputs, the upper half mirrored."""
    n1, d = first.shape
    n2 = n1 if second is None else len(second)
    bias = bias_std * math.sqrt(d) / stds[0]  # what stands beside the coordinates of an input
    largest = None
    if bias:
        largest = float(max(np.abs(x).max() for x in (first, second) if x is not None))
    left = prepare(first, largest)
    right = left if second is None else prepare(second, largest)
    bias /= float(left.scale[0])
    variances = [_variances(x, activation, stds, bias_std) for x in (left, right)]
    nngp, ntk = np.empty((n1, n2)), np.empty((n1, n2))
    for top in range(0, n1, _TILE):
        rows = slice(top, top + _TILE)
        for start in range(top if second is None else 0, n2, _TILE):
            columns = slice(start, start + _TILE)
            pairs = [(a[rows, None], b[None, columns]) for a, b in zip(*variances, strict=True)]
            cosine, sine = angles(left.part(rows), right.part(columns), bias)
            tiles = TILE_KERNELS[activation](cosine, sine, pairs, stds[1:], bias_std * bias_std)
            for kernel, tile in zip((nngp, ntk), tiles, strict=True):
                kernel[rows, columns] = tile
                if second is None and start == top:
                    kernel[rows, columns] = np.triu(tile) + np.triu(tile, 1).T
                elif second is None:
                    kernel[columns, rows] = tile.T
    return InfiniteKernels(nngp, ntk)


def _variances(
    inputs: Inputs, activation: str, stds: list[float], bias_std: float
) -> list[Float[np.ndarray, " n"]]:
    """K^l(x, x) of every input, for each layer of preactivations but the output."""
    root_mean_squares = inputs.scale * np.sqrt(inputs.squares / inputs.scaled.shape[1])
    variances = [(stds[0] * root_mean_squares) ** 2 + bias_std * bias_std]
    for std in stds[1:-1]:
        variances.append(std * std * VARIANCES[activation](variances[-1]) + bias_std * bias_std)
    return variances


def _inputs(x: Float[np.ndarray, "..."], name: str) -> Float[np.ndarray, "n d"]:
    array = np.asarray(x, dtype=np.float64)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{name} must be a matrix of inputs, (n, d), not of shape {array.shape}.")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} holds NaN or infinity; give finite inputs.")
    return array


def _check(
    activation: str,
    hidden_layers: int,
    weight_std: float,
    bias_std: float,
    readout_weight_std: float,
) -> None:
    if activation not in TILE_KERNELS:
        raise ValueError(f"activation must be one of {sorted(TILE_KERNELS)}, not {activation!r}.")
    if not isinstance(hidden_layers, int | np.integer) or hidden_layers < 0:
        raise ValueError(
            f"hidden_layers must be a whole number of at least zero, not {hidden_layers}."
        )
    for name, std in (("weight_std", weight_std), ("readout_weight_std", readout_weight_std)):
        if not (math.isfinite(std) and std > 0.0):
            raise ValueError(f"{name} must be a finite positive number, not {std}.")
    if not (math.isfinite(bias_std) and bias_std >= 0.0):
        raise ValueError(f"bias_std must be a finite number of at least zero, not {bias_std}.")
