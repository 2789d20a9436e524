r"""Inputs whose law is known: Gaussians, the hypercube, teacher networks, modular addition.

Inputs are (n, d) and targets (n, C). Nothing is centred or whitened after the draw: statements
about moments hold in expectation, and exactly only for the whole hypercube and for all pairs of
modular addition.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from learnmech.practice.data.dataset import Dataset, required

__all__ = ["gaussian", "hypercube", "modular_addition", "teacher_student"]

_LARGEST_CUBE = 20


def gaussian(
    *,
    samples: int = 200,
    components: int | None = None,
    decay: float | None = None,
    spectrum: Sequence[float] | None = None,
    teacher: Float[Tensor, "C d"] | None = None,
    noise: float = 0.0,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> Dataset:
    r"""Make "gaussian": inputs with a given covariance spectrum, linear targets, label noise.

    $$ x_j \sim N(0, \lambda_j), \qquad y = W x + \sigma \xi, \quad \xi \sim N(0, I_C), $$

    with independent coordinates; $\lambda_j = j^{-a}$ for j from 1 to d, or as given.

    Args:
        samples: Number of samples n.
        components: Number of input dimensions d, 30 if neither it nor `spectrum` is given.
        decay: The exponent a, 0 (isotropic) if not given.
        spectrum: The eigenvalues themselves, (d,), not negative; excludes the two above.
        teacher: W, (C, d). Without one there is a single target of pure noise (W = 0).
        noise: sigma, the standard deviation of the label noise.
        generator: Source of randomness, required; the result lies on its device. Inputs are
            drawn first, then noise, if there is any.
        dtype: Floating type of the result.

    Raises:
        ValueError: On settings that cannot be met.

    >>> w, g = torch.tensor([[1.0, -1.0]]), torch.Generator().manual_seed(0)
    >>> data = gaussian(spectrum=(4.0, 0.0), teacher=w, generator=g)
    >>> torch.equal(data.targets, data.inputs[:, :1])  # the second input is always zero
    True
    """
    generator = required(generator, "gaussian")
    if spectrum is None:
        d = 30 if components is None else components
        values = torch.arange(1, d + 1, dtype=torch.float64) ** -(decay or 0.0)
    elif components is None and decay is None:
        values = torch.as_tensor(spectrum, dtype=torch.float64)
    else:
        raise ValueError("give either spectrum, or components and decay.")
    usable = bool(((values >= 0) & values.isfinite()).all())
    if samples < 1 or values.ndim != 1 or len(values) < 1 or not usable:
        raise ValueError(
            "a Gaussian needs samples and components of at least one, and a spectrum that is "
            "finite and not negative."
        )
    values = values.to(dtype=dtype, device=generator.device)
    d = len(values)
    w = values.new_zeros(1, d) if teacher is None else _as_weights("teacher", teacher, values)
    if w.shape[1] != d:
        raise ValueError(f"a teacher of shape {tuple(w.shape)} does not fit {d} components.")
    inputs = _normal(samples, d, values, generator) * values.sqrt()
    return Dataset("gaussian", inputs, _noisy(inputs @ w.mT, noise, generator))


def hypercube(
    *,
    components: int = 10,
    degrees: Sequence[int] = (1,),
    samples: int | None = None,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> Dataset:
    r"""Make "hypercube": inputs of +1 and -1, and monomials of given degrees as targets.

    Target k is $\chi(x) = x_1 x_2 \cdots x_{m_k}$, a parity of the first $m_k$ coordinates;
    monomials of different degrees are orthonormal over the whole cube. Sums of targets make
    staircases.

    Args:
        components: Number of input dimensions d.
        degrees: m, (C,), each from 0 (the constant 1) to d.
        samples: Number of independent draws n; None gives all 2^d vectors once (d up to 20), in
            binary order from all +1, the last coordinate changing fastest.
        generator: Source of randomness, required with `samples`; where there is one, the result
            lies on its device.
        dtype: Floating type of the result.

    Raises:
        ValueError: On settings that cannot be met.

    >>> data = hypercube(components=2, degrees=(1, 2))
    >>> torch.cat([data.inputs, data.targets], 1).to(int).tolist()
    [[1, 1, 1, 1], [1, -1, 1, -1], [-1, 1, -1, -1], [-1, -1, -1, 1]]
    """
    if components < 1 or len(degrees) < 1 or any(not 0 <= m <= components for m in degrees):
        raise ValueError(
            f"degrees must be some numbers from 0 to components={components}, which must be "
            "at least one."
        )
    if samples is None:
        if components > _LARGEST_CUBE:
            raise ValueError(f"2^{components} vectors are too many; choose samples.")
        device = None if generator is None else generator.device
        vertices = torch.arange(2**components, device=device)[:, None]
        bits = (vertices >> torch.arange(components - 1, -1, -1, device=device)) & 1
    else:
        if samples < 1:
            raise ValueError(f"samples must be at least one, not {samples}.")
        generator = required(generator, "hypercube")
        bits = torch.randint(2, (samples, components), generator=generator, device=generator.device)
    inputs = (1 - 2 * bits).to(dtype)
    targets = torch.stack([inputs[:, :m].prod(1) for m in degrees], 1)
    return Dataset("hypercube", inputs, targets)


def teacher_student(
    *,
    samples: int = 200,
    sizes: Sequence[int] | None = None,
    weights: Sequence[Float[Tensor, "..."]] | None = None,
    activation: Callable[[Tensor], Tensor] = torch.relu,
    noise: float = 0.0,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> Dataset:
    r"""Make "teacher-student": standard Gaussian inputs and the outputs of a teacher network.

    $$ y = W_L\, \phi(W_{L-1} \cdots \phi(W_1 x)) + \sigma \xi, \qquad x \sim N(0, I_d), $$

    without biases; $\phi$ acts after every layer but the last. For more data of the same teacher,
    draw more samples and part them, or pass its weights again.

    Args:
        samples: Number of samples n.
        sizes: d, hidden widths, C of a random teacher with weights from N(0, 1/fan-in); (10, 3,
            1) if neither it nor `weights` is given.
        weights: The teacher itself, first layer first, each (out, in); excludes `sizes`.
        activation: $\phi$, elementwise.
        noise: sigma, the standard deviation of the label noise.
        generator: Source of randomness, required; the result lies on its device. A random
            teacher is drawn first, then inputs, then noise, if there is any.
        dtype: Floating type of the result.

    Raises:
        ValueError: On settings that cannot be met.

    >>> relu_of_minus_x = [torch.tensor([[-1.0]]), torch.tensor([[1.0]])]
    >>> g = torch.Generator().manual_seed(0)
    >>> data = teacher_student(samples=5, weights=relu_of_minus_x, generator=g)
    >>> torch.equal(data.targets, (-data.inputs).clamp(min=0))
    True
    """
    generator = required(generator, "teacher-student")
    if sizes is not None and weights is not None:
        raise ValueError("give either sizes or weights of the teacher.")
    if samples < 1:
        raise ValueError(f"samples must be at least one, not {samples}.")
    like = torch.empty(0, dtype=dtype, device=generator.device)
    if weights is None:
        shape = (10, 3, 1) if sizes is None else tuple(sizes)
        if len(shape) <= 1 or min(shape) < 1:
            raise ValueError("sizes must be at least two numbers of at least one: d, ..., C.")
        layers = [_normal(b, a, like, generator) * a**-0.5 for a, b in pairwise(shape)]
    else:
        layers = [_as_weights("weights", w, like) for w in weights]
        if not layers or any(a.shape[0] != b.shape[1] for a, b in pairwise(layers)):
            raise ValueError("weights must be matrices (out, in) that fit on each other.")
    inputs = _normal(samples, layers[0].shape[1], like, generator)
    hidden = inputs
    for w in layers[:-1]:
        hidden = activation(hidden @ w.mT)
    return Dataset("teacher-student", inputs, _noisy(hidden @ layers[-1].mT, noise, generator))


def modular_addition(
    *, modulus: int = 59, one_hot: bool = True, dtype: torch.dtype = torch.float64
) -> Dataset:
    """Make "modular-addition": all p^2 pairs (a, b), and a + b modulo p.

    Rows go through (0, 0), (0, 1), ..., (p - 1, p - 1). Targets are one-hot, (p^2, p), not
    centred; labels are the sums. Part them with `split`.

    Args:
        modulus: p, at least 2.
        one_hot: Inputs are the one-hot vectors of a and b side by side, (p^2, 2p); otherwise
            the integers themselves, (p^2, 2), as tokens for an embedding.
        dtype: Floating type of targets and one-hot inputs.

    Raises:
        ValueError: On a modulus below 2.

    >>> data = modular_addition(modulus=3, one_hot=False)
    >>> data.inputs[-1], data.labels[-1]
    (tensor([2, 2]), tensor(1))
    """
    if modulus <= 1:
        raise ValueError(f"modulus must be at least 2, not {modulus}.")
    pairs = torch.cartesian_prod(torch.arange(modulus), torch.arange(modulus))
    sums = pairs.sum(1) % modulus
    eye = torch.eye(modulus, dtype=dtype)
    inputs = eye[pairs].flatten(1) if one_hot else pairs
    return Dataset("modular-addition", inputs, eye[sums], sums)


def _normal(rows: int, columns: int, like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(rows, columns, generator=generator, dtype=like.dtype, device=like.device)


def _noisy(
    clean: Float[Tensor, "n C"], noise: float, generator: torch.Generator
) -> Float[Tensor, "n C"]:
    if not 0.0 <= noise < float("inf"):
        raise ValueError(f"noise must be finite and not negative, not {noise}.")
    if noise == 0.0:
        return clean
    n, outputs = clean.shape
    return clean + noise * _normal(n, outputs, clean, generator)


def _as_weights(name: str, matrix: Tensor, like: Tensor) -> Float[Tensor, "out into"]:
    if matrix.ndim != 2 or not bool(matrix.isfinite().all()):
        raise ValueError(f"{name} must be given as matrices (out, in) of finite numbers.")
    return matrix.detach().to(dtype=like.dtype, device=like.device)
