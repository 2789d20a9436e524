r"""How far apart two representations are after the best rotation: Procrustes distances.

Features X (n, p) and Y (n, q) are centred, scaled to unit Frobenius norm and, if one has fewer
columns, filled up with zeros. Then

$$ s = \max_{Q^\top Q = I} \langle X, YQ\rangle_F = \lVert X^\top Y\rVert_*, \qquad
   d = \min_{Q^\top Q = I} \lVert X - YQ\rVert_F = \sqrt{2 - 2s}, \qquad
   \theta = \arccos s, $$

with the nuclear norm $\lVert\cdot\rVert_*$, the sum of singular values. Both d (a chord) and
$\theta$ (an angle) are metrics between shapes: they obey the triangle inequality, which one
minus CKA does not. They are computed from the residual $X - YQ$ itself, since $2 - 2s$ would
lose all digits of a d below 1e-8.

References: Williams et al., "Generalized shape metrics on neural representations",
arXiv:2110.14739 (the angle, and proofs that these are metrics); Ding, Denain and Steinhardt,
"Grounding representation similarity through statistical testing", arXiv:2108.01661 (d^2).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from learnmech.practice.representations.centring import centred_features, paired

__all__ = ["procrustes_angle", "procrustes_distance", "procrustes_similarity"]


@torch.no_grad()
def procrustes_distance(x: Float[Tensor, "n p"], y: Float[Tensor, "m q"]) -> Float[Tensor, ""]:
    r"""Distance $d = \sqrt{2 - 2s}$ of two shapes, from 0 to $\sqrt2$: a metric.

    Args:
        x: Features, (n, p), one row per sample, at least 2 rows.
        y: Features of the same samples in the same order, (n, q).

    Returns:
        The distance, a scalar with the dtype and device of the features; invariant to rotations,
        scale and shift of either. Computed in float64.

    Raises:
        ValueError: On different numbers of samples, fewer than two, features that are not
            finite floating-point numbers, or features without variation.

    Reference: Williams et al., arXiv:2110.14739; the square is Ding et al.'s, arXiv:2108.01661.
    Cost: O(n p q + min(p, q)^2 max(p, q)); features beyond n are first reduced to n.

    >>> x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> procrustes_distance(x, x[:, :1])  # s = 1/sqrt(2)
    tensor(0.7654)
    """
    return _chord(x, y).to(torch.promote_types(x.dtype, y.dtype))


@torch.no_grad()
def procrustes_angle(x: Float[Tensor, "n p"], y: Float[Tensor, "m q"]) -> Float[Tensor, ""]:
    r"""Angle $\theta = \arccos s$ of two shapes in radians, from 0 to $\pi/2$: a metric.

    Args:
        x: As `procrustes_distance`.
        y: As `procrustes_distance`.

    Returns:
        The angle, $2 \arcsin(d/2)$, a scalar with the dtype and device of the features.

    Raises:
        ValueError: As `procrustes_distance`.

    Reference: Williams et al., arXiv:2110.14739. Cost: as `procrustes_distance`.

    >>> x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> procrustes_angle(x, x[:, :1])  # a quarter of pi
    tensor(0.7854)
    """
    angle = 2.0 * torch.asin((0.5 * _chord(x, y)).clamp(max=0.5**0.5))
    return angle.to(torch.promote_types(x.dtype, y.dtype))


@torch.no_grad()
def procrustes_similarity(x: Float[Tensor, "n p"], y: Float[Tensor, "m q"]) -> Float[Tensor, ""]:
    r"""Similarity $s = \lVert X^\top Y\rVert_*$ of two shapes, from 0 to 1: the angle's cosine.

    Args:
        x: As `procrustes_distance`.
        y: As `procrustes_distance`.

    Returns:
        The similarity $1 - d^2/2$, a scalar with the dtype and device of the features.

    Raises:
        ValueError: As `procrustes_distance`.

    Reference: Williams et al., arXiv:2110.14739. Cost: as `procrustes_distance`.

    >>> x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> procrustes_similarity(x, x[:, :1])
    tensor(0.7071)
    """
    similarity = 1.0 - 0.5 * _chord(x, y) ** 2
    return similarity.to(torch.promote_types(x.dtype, y.dtype))


def _chord(x: Float[Tensor, "n p"], y: Float[Tensor, "m q"]) -> Float[Tensor, ""]:
    """The distance in float64."""
    paired(x, y, "x", "y", fewest=2)
    narrow, wide = sorted((_shape(x, "x"), _shape(y, "y")), key=lambda side: side.shape[1])
    left, _, right = torch.linalg.svd(wide.mT @ narrow, full_matrices=False)
    # The narrow side, turned into the wide one's space by the best orthonormal frame.
    residual = wide - narrow @ (right.mT @ left.mT)
    distance: Tensor = torch.linalg.matrix_norm(residual)
    return distance


def _shape(features: Float[Tensor, "n p"], name: str) -> Float[Tensor, "n r"]:
    """Centred features of unit norm, with at most n columns."""
    centred = centred_features(features, name)
    if centred.shape[1] > len(centred):
        # X^T = QR, so X = R^T Q^T has the shape of R^T, (n, n).
        centred = torch.linalg.qr(centred.mT, mode="r").R.mT
    norm: Tensor = torch.linalg.matrix_norm(centred)
    return centred / norm
