r"""Kernel gradient descent on the squared loss, solved in the eigenbasis of its kernel.

For outputs $f$ on $n$ training inputs with kernel $K = n\,U \Lambda U^\top$ and the loss
$\mathcal L = \frac{1}{2n}\sum_i |y_i - f_i|^2$, every mode of the error $e = y - f$ decays alone:

$$ \dot f = \tfrac1n K (y - f) \;\Rightarrow\; U^\top e(t) = e^{-\Lambda t}\, U^\top e(0), \qquad
   f_{k+1} = f_k + \tfrac{\eta}{n} K (y - f_k) \;\Rightarrow\;
   U^\top e_k = (1 - \eta\Lambda)^k\, U^\top e_0, $$

and on other inputs, with their kernel $K_*$ to the training inputs,

$$ f_*(t) = f_*(0) + \tfrac1n K_* U\, \varphi(\Lambda, t)\, U^\top e(0), \qquad
   \varphi = \frac{1-e^{-\Lambda t}}{\Lambda} \;\text{ or }\; \frac{1-(1-\eta\Lambda)^k}{\Lambda},
   \qquad \varphi(0, t) = t . $$

$t$ is the number of steps times the learning rate, $t = \eta k$. The kernel is constant: exact for
a linearised network with its NTK, and for a network in the limit of infinite width.

Shapes: K (n, n), K_* (m, n), targets and outputs (n,) or (n, C), times (T,).
References: Jacot, Gabriel and Hongler, "Neural tangent kernel", arXiv:1806.07572, on least-squares
regression; Lee et al., "Wide neural networks of any depth evolve as linear models under gradient
descent", arXiv:1902.06720, on linearised networks (each with its own factors of n and 2).
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import exprel

from learnmech.numerics import ArrayLike

__all__ = ["KernelDynamics", "kernel_gradient_descent", "kernel_gradient_flow"]

Array = Float[np.ndarray, "..."]

_LONGEST = 1e-6 / np.finfo(np.float64).eps  # of rate times time, off the training set


@dataclass(frozen=True)
class KernelDynamics:
    """Outputs along kernel gradient descent; C is there where the targets have it."""

    t: Float[np.ndarray, " T"]  # steps times learning rate
    train_outputs: Float[np.ndarray, "T n *C"]  # f(t) on the training inputs
    test_outputs: Float[np.ndarray, "T m *C"] | None  # f_*(t); None without a cross kernel
    train_loss: Float[np.ndarray, " T"]  # 1/(2n) of the squared errors, summed over outputs
    rates: Float[np.ndarray, " n"]  # eigenvalues of K/n, largest first, in units of 1/t
    modes: Float[np.ndarray, "n n"]  # U: eigenvectors, in columns, in the order of the rates
    mode_errors: Float[np.ndarray, "T n *C"]  # U^T (y - f(t))


def kernel_gradient_flow(
    t: ArrayLike,
    kernel: Float[np.ndarray, "..."],
    targets: Float[np.ndarray, "..."],
    *,
    initial_outputs: Float[np.ndarray, "..."] | None = None,
    cross_kernel: Float[np.ndarray, "..."] | None = None,
    initial_test_outputs: Float[np.ndarray, "..."] | None = None,
) -> KernelDynamics:
    r"""Solve $\dot f = \frac1n K (y - f)$ at given times: learning with infinitely small steps.

    $f(t) = f(0) + U (1 - e^{-\Lambda t}) U^\top (y - f(0))$ with $K/n = U\Lambda U^\top$.

    Args:
        t: Times in units of steps times learning rate, (T,), at least zero; infinity gives the
            limit, in which every mode with a rate above zero is learned (kernel regression
            without a ridge, for f(0) = 0).
        kernel: K on the training inputs, (n, n), symmetric and positive semi-definite.
        targets: y, (n,) or (n, C).
        initial_outputs: f(0) on the training inputs, shaped as `targets`; zero if None.
        cross_kernel: Kernel between test inputs (rows) and training inputs, (m, n); None for the
            training outputs alone.
        initial_test_outputs: f(0) on the test inputs, (m,) or (m, C); zero if None.

    Returns:
        Outputs, loss, rates and the error of every mode at each time. Eigenvalues within
        rounding of zero (n eps times the largest, or as large as the most negative one) count as
        zero: such modes are never learned.

    Raises:
        ValueError: On times that are negative or NaN, values that are not finite, shapes that do
            not fit, a kernel that is not symmetric or not positive semi-definite, or test outputs
            of a singular kernel at finite times so long, above 4e9 over the largest rate, that
            rounding would reach 1e-6 of the kernel.

    Loss convention: half squared loss, averaged over samples and summed over outputs,
    1/(2n) sum |y - f|^2. For sums over samples give t times n; for |y - f|^2, twice t.

    Cost: one eigendecomposition, O(n^3), and O(T n (n + m) C); memory of O(T (n + m) C).

    Reference: Lee et al., arXiv:1902.06720, the closed-form dynamics of linearised networks.

    >>> flow = kernel_gradient_flow([0.0, math.log(2.0)], 2.0 * np.eye(2), np.array([1.0, -2.0]))
    >>> flow.train_outputs.round(12).tolist()  # a rate of 2/n = 1
    [[0.0, 0.0], [0.5, -1.0]]
    """
    times = np.atleast_1d(np.asarray(t, dtype=np.float64))
    if times.ndim != 1 or np.isnan(times).any() or (times < 0.0).any():
        raise ValueError("t must be one row of times, (T,), each at least zero.")
    problem = _Problem.of(kernel, targets, initial_outputs, cross_kernel, initial_test_outputs)
    rates = problem.rates[:, None]
    with np.errstate(all="ignore"):  # a rate of zero, and exponents beyond all doubles
        exponents = np.where(rates > 0.0, -rates * times, 0.0)
        reached = np.where(np.isinf(exponents), 1.0 / rates, times * exprel(exponents))
    return problem.solution(times, np.exp(exponents), -np.expm1(exponents), reached)


def kernel_gradient_descent(
    steps: ArrayLike,
    kernel: Float[np.ndarray, "..."],
    targets: Float[np.ndarray, "..."],
    *,
    learning_rate: float,
    initial_outputs: Float[np.ndarray, "..."] | None = None,
    cross_kernel: Float[np.ndarray, "..."] | None = None,
    initial_test_outputs: Float[np.ndarray, "..."] | None = None,
) -> KernelDynamics:
    r"""Return what k steps $f \leftarrow f + \frac{\eta}{n} K (y - f)$ lead to, for any k at once.

    $U^\top(y - f_k) = (1-\eta\Lambda)^k U^\top (y - f_0)$, with no loop over steps: a number of
    steps such as 10^12 costs and rounds as little as one.

    Args:
        steps: Numbers of steps k, (T,), whole and at least zero.
        kernel: As in `kernel_gradient_flow`, and so are the other inputs.
        targets: y, (n,) or (n, C).
        learning_rate: eta, positive and at most 2 over the largest eigenvalue of K/n.
        initial_outputs: f_0 on the training inputs; zero if None.
        cross_kernel: Kernel between test and training inputs, (m, n).
        initial_test_outputs: f_0 on the test inputs; zero if None.

    Returns:
        As `kernel_gradient_flow`, at t = learning_rate times steps.

    Raises:
        ValueError: On a learning rate with which gradient descent diverges (the message says up
            to which it is stable), steps that are not whole numbers of at least zero, or as
            `kernel_gradient_flow`.

    Loss convention: half squared loss, 1/(2n) sum |y - f|^2.

    Cost: as `kernel_gradient_flow`, whatever the numbers of steps.

    Reference: Lee et al., arXiv:1902.06720, with steps in place of their exponential.

    >>> one = np.eye(1)
    >>> descent = kernel_gradient_descent([0, 1, 2], one, np.ones(1), learning_rate=0.5)
    >>> descent.train_outputs[:, 0].tolist()
    [0.0, 0.5, 0.75]
    """
    counts = np.atleast_1d(np.asarray(steps, dtype=np.float64))
    whole = np.isfinite(counts).all() and (counts >= 0.0).all() and (counts % 1.0 == 0.0).all()
    if counts.ndim != 1 or not whole:
        raise ValueError("steps must be one row of whole numbers, (T,), each at least zero.")
    if not (math.isfinite(learning_rate) and learning_rate > 0.0):
        raise ValueError(f"learning_rate must be a finite positive number, not {learning_rate}.")
    problem = _Problem.of(kernel, targets, initial_outputs, cross_kernel, initial_test_outputs)
    moves = learning_rate * problem.rates[:, None]
    if moves[0] > 2.0:
        raise ValueError(
            f"gradient descent with learning_rate {learning_rate:g} diverges on this kernel; it is "
            f"stable up to {2.0 / problem.rates[0]:.6g}, 2 over the largest eigenvalue of K/n."
        )
    # log |1 - move| without loss for small moves and for moves near two.
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithms = np.log1p(np.where(moves < 1.0, -moves, moves - 2.0))
        exponents = np.where(counts > 0.0, counts * logarithms, 0.0)
        flipped = (moves > 1.0) & (counts % 2.0 == 1.0)
        left = np.where(flipped, -np.exp(exponents), np.exp(exponents))
        learned = np.where(flipped, 1.0 - left, -np.expm1(exponents))
        times = learning_rate * counts
        reached = np.where(moves > 0.0, learned / problem.rates[:, None], times)
    return problem.solution(times, left, learned, reached)


@dataclass(frozen=True)
class _Problem:
    """Checked inputs of either solver, in the eigenbasis; (n, C) and (m, C) throughout."""

    rates: Float[np.ndarray, " n"]
    modes: Float[np.ndarray, "n n"]
    initial: Float[np.ndarray, "n C"]
    errors: Float[np.ndarray, "n C"]  # U^T (y - f_0)
    cross: Float[np.ndarray, "m n"] | None
    initial_test: Float[np.ndarray, "#m C"]
    shape: tuple[int, ...]  # of one sample's targets: () or (C,)

    @classmethod
    def of(
        cls,
        kernel: Array,
        targets: Array,
        initial_outputs: Array | None,
        cross_kernel: Array | None,
        initial_test_outputs: Array | None,
    ) -> "_Problem":
        y = _finite(targets, "targets")
        n = len(y) if y.ndim else 0
        if y.ndim not in (1, 2) or y.size == 0:
            raise ValueError(f"targets must have shape (n,) or (n, C), not {y.shape}.")
        rates, modes = spectrum(kernel, n)
        columns = y.reshape(n, -1)
        start = np.zeros_like(y)
        if initial_outputs is not None:
            start = _finite(initial_outputs, "initial_outputs", y.shape)
        start = start.reshape(columns.shape)
        cross = None
        start_test = np.zeros((1, columns.shape[1]))
        if cross_kernel is not None:
            cross = _finite(cross_kernel, "cross_kernel")
            if cross.ndim != 2 or cross.shape[1] != n:
                raise ValueError(f"cross_kernel must have shape (m, {n}), not {cross.shape}.")
            if initial_test_outputs is not None:
                wanted = (len(cross), *y.shape[1:])
                start_test = _finite(initial_test_outputs, "initial_test_outputs", wanted)
                start_test = start_test.reshape(-1, columns.shape[1])
        elif initial_test_outputs is not None:
            raise ValueError("initial_test_outputs needs cross_kernel; give both or neither.")
        errors = modes.T @ (columns - start)
        return cls(rates / n, modes, start, errors, cross, start_test, y.shape[1:])

    def solution(
        self,
        t: Float[np.ndarray, " T"],
        left: Float[np.ndarray, "n T"],
        learned: Float[np.ndarray, "n T"],
        reached: Float[np.ndarray, "n T"],
    ) -> KernelDynamics:
        """Put outputs together from each mode's remaining and learned shares, and phi."""
        n, count = left.shape
        mode_errors = left[:, :, None] * self.errors[:, None]  # (n, T, C)
        moved = np.tensordot(self.modes, learned[:, :, None] * self.errors[:, None], 1)
        outputs = self.initial + moved.transpose(1, 0, 2)
        test = None
        if self.cross is not None:
            null = self.rates == 0.0
            longest = t[np.isfinite(t)].max(initial=0.0)
            if null.any() and longest * self.rates[0] > _LONGEST:
                raise ValueError(
                    "the kernel is singular and t is so long that rounding shows in the test "
                    "outputs; take kernel_gradient_flow at t = inf for the limit, or shorter times."
                )
            reached = np.where(null[:, None] & np.isinf(t), 0.0, reached)
            moved = reached[:, :, None] * self.errors[:, None] / n
            moved = np.tensordot(self.cross @ self.modes, moved, 1)
            test = self.initial_test + moved.transpose(1, 0, 2)
            test = test.reshape(count, len(self.cross), *self.shape)
        return KernelDynamics(
            t=t,
            train_outputs=outputs.reshape(count, n, *self.shape),
            test_outputs=test,
            train_loss=0.5 / n * np.einsum("ntc,ntc->t", mode_errors, mode_errors),
            rates=self.rates,
            modes=self.modes,
            mode_errors=mode_errors.transpose(1, 0, 2).reshape(count, n, *self.shape),
        )


def spectrum(
    kernel: Float[np.ndarray, "..."], n: int
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n n"]]:
    """Return eigenvalues, largest first, and eigenvectors of a kernel matrix.

    Eigenvalues up to n eps times the largest, or up to minus the most negative one, are rounding
    and returned as zero.

    Raises:
        ValueError: If the kernel is not finite, (n, n), symmetric and positive semi-definite to
            1e-6 of its size.
    """
    array = _finite(kernel, "kernel", (n, n))
    if np.abs(array - array.T).max() > 1e-6 * np.abs(array).max():
        raise ValueError("kernel must be symmetric: it holds k(x_i, x_j) of one set of inputs.")
    values, vectors = np.linalg.eigh(0.5 * (array + array.T))
    lowest, highest = values[0], values[-1]
    if -lowest > 1e-6 * max(highest, 0.0):
        raise ValueError(
            "kernel must be positive semi-definite, but has eigenvalues from "
            f"{lowest:.3g} to {highest:.3g}."
        )
    values[values <= max(n * np.finfo(np.float64).eps * highest, -lowest)] = 0.0
    return values[::-1].copy(), vectors[:, ::-1].copy()


def _finite(value: Array, name: str, shape: tuple[int, ...] | None = None) -> Array:
    array = np.asarray(value, dtype=np.float64)
    if shape is not None and array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, not {array.shape}.")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} holds NaN or infinity; give finite numbers.")
    return array
