r"""Neural collapse: how close last-layer features and classifier are to one simplex.

For features h of samples in C classes, with class means $\mu_c$,

$$ \mu = \frac1C\sum_c \mu_c, \quad
   \Sigma_B = \frac1C\sum_c (\mu_c - \mu)(\mu_c - \mu)^\top, \quad
   \Sigma_W = \frac1C\sum_c \operatorname*{mean}_{i \in c}\, (h_i - \mu_c)(h_i - \mu_c)^\top, $$

collapse is measured by four numbers that vanish when it is complete:

* NC1, within-class variation: $\mathrm{tr}(\Sigma_W \Sigma_B^+)/C$;
* NC2, the centred means form a simplex: spread of their norms, and distance of their cosines
  from $-1/(C-1)$;
* NC3, self-duality: $\lVert W/\lVert W\rVert_F - M/\lVert M\rVert_F\rVert_F$, with the
  classifier's rows W (C, d) and the rows $\mu_c - \mu$ of M (C, d);
* NC4: share of samples on which $\arg\max_c w_c^\top h + b_c$ is not the class with the nearest
  mean.

Classes count alike, whatever their sizes; with equal sizes this is the definition of the
reference. The mean cosine alone says nothing, as centred means of equal length have
$-1/(C-1)$ in any arrangement: look at the deviations of single pairs. $\Sigma_B$ has rank
C - 1 at most, so its pseudo-inverse takes exactly so many directions and never inverts
rounding errors. All is computed in float64.

Reference: Papyan, Han and Donoho, "Prevalence of neural collapse during the terminal phase of
deep learning training", PNAS 117 (2020) 24652, arXiv:2008.08186.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from learnmech.practice.representations.centring import power_of_two
from learnmech.practice.representations.ranks import effective_rank

__all__ = ["NeuralCollapse", "SimplexDeviation", "neural_collapse", "simplex_deviation"]


@dataclass(frozen=True)
class SimplexDeviation:
    """How far C vectors are from the corners of a regular simplex around zero."""

    norms: float  # standard deviation of the lengths over their mean
    angles: float  # mean over pairs of the modulus of cosine + 1/(C-1)
    largest_angle: float  # its largest value over pairs
    cosines: float  # standard deviation of the cosines over pairs


@dataclass(frozen=True)
class NeuralCollapse:
    """The four measures of neural collapse, each zero when it is complete, and two ranks."""

    nc1: float  # tr(Sigma_W Sigma_B^+) / C
    nc2: SimplexDeviation  # of the centred class means
    nc3: float | None  # distance of normalised classifier and means, 0 to 2; None without one
    nc4: float | None  # share of samples where classifier and nearest mean differ; None likewise
    classifier: SimplexDeviation | None  # of the classifier's rows, which are not centred
    between_rank: float  # effective rank of Sigma_B, 1 to C - 1
    within_rank: float  # effective rank of Sigma_W; zero where nothing varies within classes


@torch.no_grad()
def simplex_deviation(vectors: Float[Tensor, "C d"]) -> SimplexDeviation:
    r"""Deviation of C vectors from equal lengths and from cosines of $-1/(C-1)$.

    Args:
        vectors: One per row, (C, d), C at least 2; taken as they are, not centred.

    Returns:
        The deviations, all zero for the corners of a regular simplex around zero.

    Raises:
        ValueError: On fewer than two vectors, values that are not finite, or a vector of zeros.

    Reference: Papyan et al., arXiv:2008.08186: equinorm, equiangularity, and maximal-angle
    equiangularity.

    >>> simplex_deviation(torch.tensor([[2.0], [-2.0]])).angles
    0.0
    >>> simplex_deviation(torch.eye(3)).angles  # cosines of 0 instead of -1/2
    0.5
    """
    two = vectors.ndim == 2 and len(vectors) >= 2 and vectors.shape[1] >= 1
    if not two or not bool(torch.isfinite(vectors).all()):
        raise ValueError("a simplex needs two or more finite vectors, one per row.")
    vectors = vectors.to(torch.float64)
    largest = vectors.abs().amax(1)
    if not bool((largest > 0).all()):
        raise ValueError("a vector of zeros has no direction, so there are no angles to measure.")
    directions = vectors / largest[:, None]  # whose squares neither under- nor overflow
    norms = torch.linalg.vector_norm(directions, dim=1)
    unit = directions / norms[:, None]
    norms = norms * (largest / largest.max())
    c = len(vectors)
    first, second = torch.triu_indices(c, c, 1, device=vectors.device)
    cosines = (unit[first] * unit[second]).sum(1)
    off = (cosines + 1.0 / (c - 1)).abs()
    return SimplexDeviation(
        norms=float(norms.std(correction=0) / norms.mean()),
        angles=float(off.mean()),
        largest_angle=float(off.max()),
        cosines=float(cosines.std(correction=0)),
    )


@torch.no_grad()
def neural_collapse(
    features: Float[Tensor, "n d"],
    labels: Int[Tensor, " m"],
    classifier: Float[Tensor, "C e"] | None = None,
    bias: Float[Tensor, " c"] | None = None,
    *,
    rank: int | None = None,
) -> NeuralCollapse:
    r"""Measure NC1 to NC4 of last-layer features, and effective ranks of their covariances.

    Args:
        features: Inputs of the last layer, (n, d), one row per sample.
        labels: Classes from 0 to C - 1, (n,). Each class needs a sample, and C at least 2; C is
            the number of rows of `classifier`, or the largest label plus one.
        classifier: Weight of the last layer, (C, d), as `nn.Linear` holds it. Without it there
            is no NC3 and no NC4.
        bias: Bias of the last layer, (C,); zero if left out.
        rank: Number of directions in which $\Sigma_B$ is inverted. None takes the largest that
            it can have, min(C - 1, d), and refuses if the class means span fewer.

    Returns:
        The measures, all of them plain numbers.

    Raises:
        ValueError: On shapes that do not fit, labels that are not whole numbers from 0 to C - 1,
            a class without samples, numbers that are not finite, class means that span fewer
            directions than `rank`, up to the rounding of the features' dtype, or a centred class
            mean or a row of the classifier that is zero, for which NC2 is not defined.

    Reference: Papyan et al., arXiv:2008.08186; effective rank: `effective_rank`. Cost:
    O(n d C + n d min(n, d)).

    >>> corners = torch.eye(3)  # a simplex, once centred; one sample in each class
    >>> measured = neural_collapse(corners, torch.arange(3), corners - 1 / 3)
    >>> measured.nc1, round(measured.nc3, 6), measured.nc4, round(measured.between_rank, 6)
    (0.0, 0.0, 0.0, 2.0)
    """
    c = _number_of_classes(features, labels, classifier, bias)
    d = features.shape[1]
    precision = torch.finfo(features.dtype).eps
    h = _moderate(features)
    member = one_hot(labels.long(), c).to(h.dtype)  # (n, C)
    counts = member.sum(0)
    if not bool((counts > 0).all()):
        missing = [k for k, count in enumerate(counts.tolist()) if count == 0]
        raise ValueError(
            f"no sample belongs to the classes {missing}; give some, or leave them out."
        )
    means = member.mT @ h / counts[:, None]
    centre = means.mean(0)
    centred = means - centre
    # Sigma_W = within^T within
    within = (h - member @ means) / (c * (member @ counts)).sqrt()[:, None]

    wanted = min(c - 1, d) if rank is None else rank
    _, strengths, directions = torch.linalg.svd(centred / c**0.5, full_matrices=False)
    rounding = 4.0 * precision * float(torch.linalg.vector_norm(h, dim=1).max())
    spanned = int((strengths > rounding).sum())
    if not 1 <= wanted <= min(spanned, c - 1):
        raise ValueError(
            f"the class means span {spanned} directions, and {wanted} were to be inverted; NC1 is "
            "not defined there. Give a rank from 1 to that number, or other features."
        )
    along = within @ directions[:wanted].mT  # (n, rank)
    nc1 = float(((along**2).sum(0) / strengths[:wanted] ** 2).sum()) / c

    nc3, nc4, rows = None, None, None
    if classifier is not None:
        w = _moderate(classifier)
        rows = simplex_deviation(w)
        duality = w / torch.linalg.matrix_norm(w) - centred / torch.linalg.matrix_norm(centred)
        nc3 = float(torch.linalg.matrix_norm(duality))
        scores = features.to(torch.float64) @ classifier.to(torch.float64).mT
        scores += 0.0 if bias is None else bias.to(torch.float64)
        nearness = (h - centre) @ centred.mT - 0.5 * (centred**2).sum(1)
        nc4 = float((scores.argmax(1) != nearness.argmax(1)).to(torch.float64).mean())
    return NeuralCollapse(
        nc1=nc1,
        nc2=simplex_deviation(centred),
        nc3=nc3,
        nc4=nc4,
        classifier=rows,
        between_rank=_covariance_rank(centred),
        within_rank=_covariance_rank(within),
    )


def _moderate(values: Float[Tensor, "a b"]) -> Float[Tensor, "a b"]:
    """Values in float64 over a power of two, which is no part of any measure."""
    values = values.to(torch.float64)
    return values / power_of_two(values.abs().max())


def _number_of_classes(
    features: Tensor, labels: Tensor, classifier: Tensor | None, bias: Tensor | None
) -> int:
    """C, once all shapes are known to fit, or a clear ValueError."""
    if features.ndim != 2 or labels.shape != features.shape[:1] or not features.numel():
        raise ValueError(
            f"features must be (n, d) and labels (n,), but have the shapes {tuple(features.shape)} "
            f"and {tuple(labels.shape)}."
        )
    given = {"features": features, "classifier": classifier, "bias": bias}
    for name, values in given.items():
        if values is not None and not (
            values.is_floating_point() and bool(torch.isfinite(values).all())
        ):
            raise ValueError(f"{name} must be floating-point numbers without NaN or infinity.")
    if labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"labels must be whole numbers, as of torch.int64, not {labels.dtype}.")
    c = int(labels.max()) + 1 if classifier is None else len(classifier)
    if c < 2 or int(labels.min()) < 0 or int(labels.max()) >= c:
        raise ValueError(f"labels must be whole numbers from 0 to C - 1, of C = {c} >= 2 classes.")
    if classifier is not None and classifier.shape != (c, features.shape[1]):
        raise ValueError(
            f"classifier must be (C, d) = ({c}, {features.shape[1]}), not "
            f"{tuple(classifier.shape)}."
        )
    if bias is not None and (classifier is None or bias.shape != (c,)):
        raise ValueError(f"bias must be (C,) = ({c},), and comes with a classifier.")
    return c


def _covariance_rank(factor: Float[Tensor, "a d"]) -> float:
    """Effective rank of factor^T factor, through the smaller of its two Gram matrices."""
    gram = factor.mT @ factor if factor.shape[1] <= len(factor) else factor @ factor.mT
    return float(effective_rank(gram)) if bool((gram != 0).any()) else 0.0
