r"""How alike two representations of the same samples are: centred kernel alignment.

For features X (n, p) and Y (n, q) with centred kernels $K = XX^\top$, $L = YY^\top$,

$$ \mathrm{CKA} = \frac{\mathrm{HSIC}(K, L)}{\sqrt{\mathrm{HSIC}(K, K)\,\mathrm{HSIC}(L, L)}},
   \qquad
   \mathrm{HSIC}(K, L) = \frac{\langle K, L\rangle_F}{(n-1)^2}, \qquad
   \langle K, L\rangle_F = \lVert X^\top Y\rVert_F^2. $$

It is one for features that agree up to a rotation, a scale and a shift, and those leave it
unchanged. The biased estimator above is far from zero for unrelated features when n is not much
larger than p and q. The unbiased HSIC is not; centred kernels have vanishing row sums, and it
becomes, with the diagonals $k_i = |x_i|^2$ and $l_i = |y_i|^2$,

$$ \mathrm{HSIC}_u = \frac{1}{n(n-3)}\Big[\langle K, L\rangle_F - \frac{n}{n-2}\,k^\top l
   + \frac{(\sum_i k_i)(\sum_i l_i)}{(n-1)(n-2)}\Big], $$

so no kernel is ever formed: O(n (pq + p^2 + q^2)), or O(n^2 (p + q)) in sample space where
there are fewer samples than features.

The result has the features' dtype. Means and sums are taken in float64 whatever that is, and for
the unbiased estimator, a small difference of large numbers, the matrix products too; those of
the biased one, in which nothing cancels, have the features' dtype, float32 at least. No constant
is added to a denominator: features without variation are refused.

References: Kornblith et al., "Similarity of neural network representations revisited",
arXiv:1905.00414, the section on CKA; Song et al., "Feature selection via dependence
maximization", JMLR 13 (2012) 1393 (unbiased HSIC); Nguyen, Raghu and Kornblith,
arXiv:2010.15327 (its use in CKA).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from learnmech.practice.representations.centring import centred_features, paired

__all__ = ["kernel_cka", "linear_cka"]

ROUNDING = 1e-12  # share of its own terms below which a self-similarity is rounding


@torch.no_grad()
def linear_cka(
    x: Float[Tensor, "n p"], y: Float[Tensor, "m q"], *, unbiased: bool = False
) -> Float[Tensor, ""]:
    r"""Linear centred kernel alignment of two representations of the same samples.

    Args:
        x: Features, (n, p), one row per sample, at least 2 rows (4 if `unbiased`).
        y: Features of the same samples in the same order, (n, q).
        unbiased: Whether all three HSICs are the unbiased ones. The ratio then lies between -1
            and 1, and its mean over all ways to pair the samples is exactly zero: so is its
            expectation for independent features.

    Returns:
        The alignment, a scalar with the dtype and device of the features; between 0 and 1 for
        the biased estimator.

    Raises:
        ValueError: On different numbers of samples, too few of them, features that are not
            finite floating-point numbers, or features without variation.

    Reference: Kornblith et al., arXiv:1905.00414; Nguyen et al., arXiv:2010.15327. Cost:
    O(n (pq + p^2 + q^2)) or O(n^2 (p + q)), whichever is less.

    >>> x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> linear_cka(x, x[:, :1])  # one of two equal directions: 1/sqrt(2)
    tensor(0.7071)
    """
    dtype = paired(x, y, "x", "y", fewest=4 if unbiased else 2)
    n = len(x)
    inner = torch.float64 if unbiased else torch.promote_types(dtype, torch.float32)
    x, y = centred_features(x, "x").to(inner), centred_features(y, "y").to(inner)
    p, q = x.shape[1], y.shape[1]
    if p * q + p * p + q * q <= n * (p + q):
        xy, xx, yy = (_product(m, m) for m in (x.mT @ y, x.mT @ x, y.mT @ y))
    else:
        kx, ky = x @ x.mT, y @ y.mT
        xy, xx, yy = _product(kx, ky), _product(kx, kx), _product(ky, ky)
    if not unbiased:
        return (xy / (xx * yy).sqrt()).to(dtype)
    return _unbiased(xy, xx, yy, (x**2).sum(1), (y**2).sum(1)).to(dtype)


@torch.no_grad()
def kernel_cka(
    kernel_x: Float[Tensor, "n n"], kernel_y: Float[Tensor, "m m"], *, unbiased: bool = False
) -> Float[Tensor, ""]:
    r"""Centred kernel alignment of two kernels on the same samples.

    The kernels are centred here, $HKH$ with $H = I - 11^\top/n$: give them as they are.

    Args:
        kernel_x: Symmetric kernel, (n, n), n at least 2 (4 if `unbiased`).
        kernel_y: Symmetric kernel of the same samples in the same order, (n, n).
        unbiased: As `linear_cka`.

    Returns:
        The alignment, a scalar with the dtype and device of the kernels.

    Raises:
        ValueError: On different numbers of samples, too few of them, kernels that are not
            finite floating-point numbers or not symmetric, or a kernel that is constant but for
            row and column terms.

    Reference: Kornblith et al., arXiv:1905.00414; Song et al. (2012). Cost: O(n^2).

    >>> k = torch.tensor([[2.0, 1.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
    >>> kernel_cka(k, 5 * k + 1)
    tensor(1.)
    """
    dtype = paired(kernel_x, kernel_y, "kernel_x", "kernel_y", fewest=4 if unbiased else 2)
    kx, ky = _centred_kernel(kernel_x, "kernel_x"), _centred_kernel(kernel_y, "kernel_y")
    xy, xx, yy = _product(kx, ky), _product(kx, kx), _product(ky, ky)
    if not unbiased:
        return (xy / (xx * yy).sqrt()).to(dtype)
    return _unbiased(xy, xx, yy, kx.diagonal(), ky.diagonal()).to(dtype)


def _unbiased(
    xy: Tensor, xx: Tensor, yy: Tensor, dx: Float[Tensor, " n"], dy: Float[Tensor, " n"]
) -> Float[Tensor, ""]:
    """Ratio of unbiased HSICs, from Frobenius products and diagonals of centred kernels."""
    n = len(dx)

    def hsic(product: Tensor, a: Tensor, b: Tensor) -> Tensor:
        corrected = product - n / (n - 2) * (a @ b)
        return corrected + a.sum() * b.sum() / ((n - 1) * (n - 2))

    itself = (hsic(xx, dx, dx), hsic(yy, dy, dy))
    for name, value, scale in zip(("first", "second"), itself, (xx, yy), strict=True):
        if not bool(value > ROUNDING * scale):
            raise ValueError(
                f"the {name} representation is unbiasedly unlike itself: all its samples are "
                "equally far apart, so unbiased CKA is not defined; use more or other samples."
            )
    return hsic(xy, dx, dy) / (itself[0] * itself[1]).sqrt()


def _product(first: Float[Tensor, "a b"], second: Float[Tensor, "a b"]) -> Float[Tensor, ""]:
    return (first * second).sum(dtype=torch.float64)


def _centred_kernel(kernel: Float[Tensor, "n n"], name: str) -> Float[Tensor, "n n"]:
    """HKH in float64, its largest entry scaled to order one."""
    tolerance = 100.0 * torch.finfo(kernel.dtype).eps
    kernel = kernel.to(torch.float64)
    largest = kernel.abs().max()
    if kernel.shape[0] != kernel.shape[1] or bool(
        (kernel - kernel.mT).abs().max() > tolerance * largest
    ):
        raise ValueError(f"{name} must be a symmetric kernel, (n, n).")
    scaled = kernel / torch.where(largest > 0, largest, 1.0)
    rows = scaled.mean(1)
    centred = scaled - rows[:, None] - rows + rows.mean()
    if not bool(centred.abs().max() > 10.0 * torch.finfo(torch.float64).eps):
        raise ValueError(f"{name} does not vary over the samples, so it is like nothing.")
    return centred
