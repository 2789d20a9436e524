r"""The eigenframework: what kernel ridge regression learns from n samples, on average.

For a kernel with eigenvalues $\lambda_i$ (of multiplicity $m_i$) under the distribution of inputs,
a target $\sum_i v_i \phi_i$ in its eigenfunctions, label noise of variance $\sigma^2$ and the
predictor $k(x, X)(K + \delta I)^{-1} y$, the effective ridge $\kappa$ solves

$$ \sum_i m_i \frac{\lambda_i}{\lambda_i+\kappa} + \frac{\delta}{\kappa} = n , $$

and with the learnabilities $L_i = \lambda_i/(\lambda_i+\kappa)$

$$ \mathcal E_0 = \frac{n}{n - \sum_i m_i L_i^2}, \qquad
   \mathcal E_\text{test} = \mathcal E_0 \Big( \sum_i (1-L_i)^2 v_i^2 + \sigma^2 \Big), \qquad
   \mathcal E_\text{train} = \Big(\frac{\delta}{n\kappa}\Big)^2 \mathcal E_\text{test} . $$

Errors are mean squares $E|y - f(x)|^2$ without a half, summed over outputs, on noisy labels: a
perfect predictor has the test error $\sigma^2$. The ridge $\delta$ stands beside the Gram matrix
$K$ itself, not $K/n$.

Shapes: eigenvalues (modes,), coefficients (modes,) or (modes, C), n and ridge any that broadcast.
References: Simon, Dickens, Karkada and DeWeese, "The eigenlearning framework", arXiv:2110.03922,
the eigenlearning equations; equivalent: Bordelon, Canatar and Pehlevan, arXiv:2002.02561; Canatar
et al., arXiv:2006.13198; Jacot et al., arXiv:2006.09796.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from learnmech.numerics import ArrayLike
from learnmech.theory.kernel_dynamics import spectrum
from learnmech.theory.kernel_ridge import CHUNK, broadcast_settings, check_spectrum, solve

__all__ = [
    "CrossValidation",
    "KernelRegressionCurve",
    "eigenframework",
    "generalised_cross_validation",
    "held_out_error",
]


@dataclass(frozen=True)
class KernelRegressionCurve:
    """What the eigenframework predicts; `B` is the common shape of n, ridge and noise."""

    kappa: Float[np.ndarray, "*B"]  # effective ridge, in units of the eigenvalues
    learnabilities: Float[np.ndarray, "*B modes"]  # L_i = E v_hat_i / v_i, between 0 and 1
    overfitting: Float[np.ndarray, "*B"]  # E_0, at least 1: test error on labels of unit noise
    test_error: Float[np.ndarray, "*B"]  # E|y - f|^2 on new noisy labels, summed over outputs
    train_error: Float[np.ndarray, "*B"]  # the same on the training labels
    residual: Float[np.ndarray, "*B"]  # of the equation for kappa, relative to n


def eigenframework(
    eigenvalues: ArrayLike,
    coefficients: ArrayLike,
    n: ArrayLike,
    *,
    ridge: ArrayLike = 0.0,
    noise: ArrayLike = 0.0,
    multiplicities: ArrayLike | None = None,
) -> KernelRegressionCurve:
    r"""Predict kernel ridge regression: learnabilities, test and train error, on average over data.

    $\mathcal E_\text{test} = \mathcal E_0 (\sum_i (1-L_i)^2 v_i^2 + \sigma^2)$ with
    $L_i = \lambda_i/(\lambda_i+\kappa)$ and $\mathcal E_0 = n/(n-\sum_i m_i L_i^2)$. Learnability
    is conserved: $\sum_i m_i L_i = n - \delta/\kappa$, so exactly n without a ridge. The
    prediction becomes exact for many samples and modes; on a finite population of N inputs it
    needs n well below N, see `held_out_error`.

    Without a ridge and with more samples than the M modes of positive eigenvalue, $\kappa = 0$,
    every mode is learned and $\mathcal E_0 = n/(n-M)$ (least squares); where n equals M,
    $\mathcal E_0$ is infinite, and so is the test error unless there is neither noise nor target
    outside the modes.

    Args:
        eigenvalues: lambda_i, (modes,), at least zero. Eigenvalues of the kernel operator, or of
            K/N on a population of N inputs; a target's part in modes with lambda = 0 is never
            learned.
        coefficients: v_i, (modes,), or (modes, C) for C outputs; for a group of equal
            eigenvalues, the norm of the target's part in that group.
        n: Numbers of training samples, at least zero (n = 0: the limit).
        ridge: delta in (K + delta I)^-1, at least zero; broadcasts with n.
        noise: Variance sigma^2 of the label noise, summed over outputs; broadcasts with n.
        multiplicities: m_i, (modes,), positive; all one if None.

    Returns:
        Effective ridge, learnabilities, errors and the residual of the equation for kappa, in
        the common shape B of n, ridge and noise; learnabilities B + (modes,). Mode i has the
        part E_0 (1 - L_i)^2 v_i^2 of the test error.

    Raises:
        ValueError: On values that are not finite or negative where they may not be, or shapes
            that do not fit.
        RuntimeError: If the residual of kappa stays above 1e-12 n.

    Loss convention: squared error E|y - f|^2 without a half, summed over outputs, noise included.

    Cost: about four passes over (sizes, modes), and the memory of the learnabilities.

    Reference: Simon et al., arXiv:2110.03922, the eigenlearning equations.

    >>> curve = eigenframework(np.ones(10), np.zeros(10), [5.0, 20.0], noise=1.0)
    >>> curve.test_error.round(12).tolist()  # pure noise, flat: M/(M - n) and n/(n - M)
    [2.0, 2.0]
    """
    lambdas, m = check_spectrum(eigenvalues, multiplicities)
    v = np.asarray(coefficients, dtype=np.float64)
    if v.ndim not in (1, 2) or len(v) != len(lambdas):
        raise ValueError(
            f"coefficients must have shape ({len(lambdas)},) or ({len(lambdas)}, C), one row per "
            f"eigenvalue, not {v.shape}."
        )
    if not np.all(np.isfinite(v)):
        raise ValueError("coefficients holds NaN or infinity; give finite numbers.")
    power = (v.reshape(len(v), -1) ** 2).sum(axis=1)
    size, delta, variance = broadcast_settings(n=n, ridge=ridge, noise=noise)
    shape = size.shape
    size, delta, variance = size.ravel(), delta.ravel(), variance.ravel()
    kappa, spread, residual = solve(lambdas, m, size, delta)

    learned, unlearned = np.empty((kappa.size, lambdas.size)), np.empty_like(kappa)
    no_ridge, no_samples = kappa == 0.0, np.isinf(kappa)
    with np.errstate(divide="ignore", invalid="ignore"):  # there, limits replace the formulas
        step = max(1, CHUNK // lambdas.size)
        for start in range(0, kappa.size, step):
            rows = slice(start, start + step)
            left = lambdas + kappa[rows, None]
            np.divide(lambdas, left, out=learned[rows])
            np.divide(kappa[rows, None], left, out=left)  # 1 - L
            left *= left
            unlearned[rows] = left @ power
        learned[no_ridge], unlearned[no_ridge] = lambdas > 0.0, power[lambdas == 0.0].sum()
        unlearned[no_samples] = power.sum()
        # share = delta / (n kappa): what remains of the targets on the training set.
        share, trace = delta / (size * kappa), m @ lambdas
        share[no_ridge] = (spread / size)[no_ridge]
        share[no_samples] = np.where(delta + trace > 0.0, delta / (delta + trace), 1.0)[no_samples]
        overfitting = np.where(no_samples, 1.0, np.maximum(size / spread, 1.0))
        missed = unlearned + variance
        test = np.where(missed > 0.0, overfitting * missed, 0.0)
        train = np.where(share > 0.0, share**2 * test, 0.0)
    return KernelRegressionCurve(
        kappa=kappa.reshape(shape),
        learnabilities=learned.reshape(*shape, lambdas.size),
        overfitting=overfitting.reshape(shape),
        test_error=test.reshape(shape),
        train_error=train.reshape(shape),
        residual=residual.reshape(shape),
    )


def held_out_error(
    test_error: ArrayLike, train_error: ArrayLike, n: ArrayLike, population: ArrayLike
) -> Float[np.ndarray, "..."]:
    r"""Error on the other inputs of a finite population, from those on all and on n of them.

    $\frac{N \mathcal E - n \mathcal E_\text{train}}{N - n}$: on a population of N inputs with fixed
    labels, of which n are trained on, the mean over all N is a mixture of the two. The
    eigenframework with eigenvalues of K/N predicts the mean over all N.

    Args:
        test_error: Mean error over the whole population, (...,).
        train_error: Mean error over the n training inputs.
        n: Numbers of training inputs, from zero to below N.
        population: N.

    Returns:
        Mean error over the N - n others, in the common shape.

    Raises:
        ValueError: Where n is not below N, or on values that are negative or not finite.

    Reference: an identity of means.

    >>> float(held_out_error(0.5, 0.0, 50, 100))
    1.0
    """
    test, train, size, whole = broadcast_settings(
        test_error=test_error, train_error=train_error, n=n, population=population
    )
    if np.any(size >= whole):
        raise ValueError("n must be below the population, or nothing is held out.")
    return np.asarray((whole * test - size * train) / (whole - size))


@dataclass(frozen=True)
class CrossValidation:
    """Errors of kernel ridge regression from its training data; `R` is the shape of the ridge."""

    ridge: Float[np.ndarray, "*R"]  # delta, in units of the kernel
    test_error: Float[np.ndarray, "*R"]  # estimate of E|y - f|^2 on new data, over outputs summed
    train_error: Float[np.ndarray, "*R"]  # mean of |y_i - f(x_i)|^2
    degrees_of_freedom: Float[np.ndarray, "*R"]  # tr K (K + delta I)^-1, between 0 and n


def generalised_cross_validation(
    kernel: Float[np.ndarray, "..."], targets: Float[np.ndarray, "..."], ridge: ArrayLike
) -> CrossValidation:
    r"""Estimate the test error of kernel ridge regression from its training data alone.

    $$ \text{GCV} = \frac{\frac1n |y - f|^2}{(1 - \frac1n \operatorname{tr} S)^2}
       = \frac{\frac1n\, y^\top (K+\delta I)^{-2} y}{(\frac1n \operatorname{tr}
       (K+\delta I)^{-1})^2} = \text{KARE}, \qquad S = K (K + \delta I)^{-1} : $$

    $y - f = \delta (K+\delta I)^{-1} y$ and $1 - \frac1n \operatorname{tr} S = \frac{\delta}{n}
    \operatorname{tr}(K+\delta I)^{-1}$, and $\delta^2$ cancels: generalised cross-validation and
    the kernel alignment risk estimator are one number (KARE is written for K/n with ridge
    delta/n). In the eigenframework it is $\mathcal E_\text{train} (n\kappa/\delta)^2$. It needs
    independent samples, and is least reliable without a ridge or with duplicated inputs.

    Args:
        kernel: K on the training inputs, (n, n), symmetric and positive semi-definite.
        targets: y, (n,) or (n, C).
        ridge: delta, at least zero, of any shape; zero gives the limit.

    Returns:
        The estimate, the training error and the degrees of freedom at each ridge.

    Raises:
        ValueError: On a kernel that is not symmetric and positive semi-definite, a negative
            ridge, values that are not finite, or shapes that do not fit.

    Loss convention: squared error without a half, mean over samples, summed over outputs; noise
    in the labels counts.

    Cost: one eigendecomposition, O(n^3), for all ridges, and O(n (C + ridges)).

    Reference: Golub, Heath and Wahba, "Generalized cross-validation as a method for choosing a
    good ridge parameter", Technometrics 21 (1979); Jacot et al., arXiv:2006.09796 (KARE).

    >>> estimate = generalised_cross_validation(np.eye(4), np.ones(4), 3.0)
    >>> float(estimate.train_error), float(estimate.test_error.round(12))  # (3/4)^2 and 1
    (0.5625, 1.0)
    """
    y = np.asarray(targets, dtype=np.float64)
    if y.ndim not in (1, 2) or y.size == 0 or not np.all(np.isfinite(y)):
        raise ValueError(f"targets must be finite, of shape (n,) or (n, C), not {y.shape}.")
    n = len(y)
    (delta,) = broadcast_settings(ridge=ridge)
    eigenvalues, modes = spectrum(kernel, n)
    power = ((modes.T @ y.reshape(n, -1)) ** 2).sum(axis=1)
    shifted = eigenvalues + delta[..., None]
    with np.errstate(invalid="ignore"):  # both zero: a mode that is never fitted
        # delta / (lambda + delta) over its largest value, so that no ridge is too small for it.
        weights = np.where(shifted > 0.0, shifted[..., -1:] / shifted, 1.0)
        largest = np.where(shifted[..., -1] > 0.0, delta / shifted[..., -1], 1.0)
        fitted = np.where(shifted > 0.0, eigenvalues / shifted, 0.0)
    squares = weights**2 @ power
    return CrossValidation(
        ridge=delta,
        test_error=np.asarray(n * squares / weights.sum(axis=-1) ** 2),
        train_error=np.asarray(largest**2 * squares / n),
        degrees_of_freedom=np.asarray(fitted.sum(axis=-1)),
    )
