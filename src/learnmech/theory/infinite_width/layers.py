r"""Kernels from layer to layer at infinite width, for one tile of pairs of inputs.

With $a, b$ the variances of the two preactivations and $c = \sqrt{ab}\cos\theta$ their
covariance, the next layer needs $F = E\,\phi(u)\phi(v)$ and $\dot F = E\,\phi'(u)\phi'(v)$:

- relu: $F = \frac{\sqrt{ab}}{2\pi}(\sin\theta + (\pi-\theta)\cos\theta)$,
  $\dot F = \frac{\pi-\theta}{2\pi}$ (Cho and Saul, "Kernel methods for deep learning", NIPS 2009,
  the arc-cosine kernels of degree one and zero, halved);
- erf: $F = \frac{2}{\pi}\arctan\frac{2c}{\sqrt D}$, $\dot F = \frac{4}{\pi\sqrt D}$ with
  $D = (1+2a)(1+2b)-4c^2$ (Williams, "Computing with infinite networks", NIPS 1996, where the
  first is written as an arcsine);
- linear: $F = c$, $\dot F = 1$.

For nearly equal inputs $c$ alone has lost the digits that the next angle or determinant needs.
So what is carried beside it is $1-\cos\theta$ (relu) or the squared distance $a+b-2c$ (erf), by
formulas without a difference of nearly equal numbers.

Shapes: tiles (rows, columns); variances (rows, 1) and (1, columns), one pair for each layer of
preactivations, the first to the last hidden one.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

__all__ = ["TILE_KERNELS", "VARIANCES"]

Array = Float[np.ndarray, "..."]
Tile = Float[np.ndarray, "rows columns"]
Pair = tuple[Float[np.ndarray, "rows 1"], Float[np.ndarray, "1 columns"]]

_SMALL_GAP_TO_HALF_TURN = 0.1


def _relu(
    cosine: Tile, sine: Tile, variances: Sequence[Pair], stds: Sequence[float], shift: float
) -> tuple[Tile, Tile]:
    gap = _one_minus_cosine(cosine, sine)
    theta = np.arctan2(sine, cosine)
    norms = [(np.sqrt(a), np.sqrt(b)) for a, b in variances]
    p, q = norms[0]
    nngp = ntk = p * q * cosine
    for layer, std in enumerate(stds):
        # F = pq/2 (cos + bend) and 1 - 2F/pq = gap - bend.
        bend = (sine - theta * cosine) / math.pi
        shape, slope = cosine + bend, 0.5 - theta / (2.0 * math.pi)
        if layer == 0:  # later angles are at most a quarter turn
            _near_half_turn(shape, slope, cosine, sine)
        half = p * q * (0.5 * std * std)
        nngp = half * shape + shift
        ntk = nngp + ntk * slope * (std * std)
        if layer + 1 == len(stds):
            break
        gap = gap - bend
        if shift:
            # p'q' - shift - half, from (p'q')^2 - (shift + half)^2 = shift std^2/2 (p - q)^2.
            apart = (p - q) ** 2 * (0.5 * std * std * shift)
            p, q = norms[layer + 1]
            lengths = p * q
            gap = (half * gap + apart / (lengths + half + shift)) / lengths
        else:
            p, q = norms[layer + 1]
        gap = np.maximum(gap, 0.0)
        cosine, sine = 1.0 - gap, np.sqrt(gap * (2.0 - gap))
        theta = 2.0 * np.arcsin(np.sqrt(0.5 * gap))
    return nngp, ntk


def _near_half_turn(shape: Tile, slope: Tile, cosine: Tile, sine: Tile) -> None:
    """Overwrite both where d = pi - theta is small: sin d - d cos d by its series."""
    near = cosine < -math.cos(_SMALL_GAP_TO_HALF_TURN)
    if near.any():
        d = np.arctan2(sine[near], -cosine[near])
        terms = [2.0 * k / math.factorial(2 * k + 1) * (-1) ** (k + 1) for k in range(1, 6)]
        shape[near] = d**3 * np.polynomial.polynomial.polyval(d * d, terms) / math.pi
        slope[near] = d / (2.0 * math.pi)


def _erf(
    cosine: Tile, sine: Tile, variances: Sequence[Pair], stds: Sequence[float], shift: float
) -> tuple[Tile, Tile]:
    sign = 1.0
    if shift == 0.0:  # then both kernels are odd, and opposite inputs are nearly equal ones
        sign, cosine = np.sign(cosine), np.abs(cosine)
    p, q = (np.sqrt(x) for x in variances[0])
    lengths = p * q
    nngp = ntk = lengths * cosine
    distance = (p - q) ** 2 + 2.0 * lengths * _one_minus_cosine(cosine, sine)
    excess = (2.0 * lengths * sine) ** 2  # 4 (ab - c^2)
    for layer, std in enumerate(stds):
        a, b = variances[layer]
        if layer:
            excess = np.maximum(distance * (2.0 * (a + b) - distance) - (a - b) ** 2, 0.0)
        root = np.sqrt(1.0 + 2.0 * (a + b) + excess)
        gain, covariance = std * std * (2.0 / math.pi), nngp
        nngp = gain * np.arctan2(2.0 * covariance, root) + shift
        ntk = nngp + ntk * (2.0 * gain / root)
        if layer + 1 == len(stds):
            break
        # a' + b' - 2c' is gain times two differences, arctan(2a / own) - arctan(2c / root) and
        # the same with b, each formed from the difference of its tangents.
        turned = np.zeros_like(root)
        for this, other in ((a, b), (b, a)):
            own = np.sqrt(1.0 + 4.0 * this)
            rise = (distance + (this - other)) * root
            rise += 2.0 * covariance * (excess - 2.0 * (this - other)) / (root + own)
            turned += np.arctan2(rise, own * root + 4.0 * this * covariance)
        distance = np.maximum(gain * turned, 0.0)
    return sign * nngp, sign * ntk


def _linear(
    cosine: Tile, sine: Tile, variances: Sequence[Pair], stds: Sequence[float], shift: float
) -> tuple[Tile, Tile]:
    a, b = variances[0]
    nngp = ntk = np.sqrt(a) * np.sqrt(b) * cosine
    for std in stds:
        nngp = std * std * nngp + shift
        ntk = nngp + std * std * ntk
    return nngp, ntk


def _one_minus_cosine(cosine: Tile, sine: Tile) -> Tile:
    return np.where(cosine > 0.0, sine * sine / (1.0 + np.abs(cosine)), 1.0 - cosine)


def _relu_variance(a: Array) -> Array:
    return 0.5 * a


def _erf_variance(a: Array) -> Array:
    return np.asarray((2.0 / math.pi) * np.arctan2(2.0 * a, np.sqrt(1.0 + 4.0 * a)))


def _linear_variance(a: Array) -> Array:
    return a


TILE_KERNELS: dict[str, Callable[..., tuple[Tile, Tile]]] = {
    "relu": _relu,
    "erf": _erf,
    "linear": _linear,
}
"""Both kernels of a tile, from the angles of its inputs, by the name of the activation."""

VARIANCES: dict[str, Callable[[Array], Array]] = {
    "relu": _relu_variance,
    "erf": _erf_variance,
    "linear": _linear_variance,
}
"""E phi(u)^2 for Gaussian u of variance a, by the name of the activation."""
