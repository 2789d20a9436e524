r"""Data sets by name: real digits and synthetic hierarchies, ready for linear networks.

"Whitened" means X^T X / n = I over the n samples given, exactly and not in expectation. Inputs
and targets of the digits are centred, so that no bias is needed. All samples are training data.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from sklearn.datasets import load_digits
from torch import Tensor

__all__ = ["Dataset", "load", "orthonormal"]


@dataclass(frozen=True)
class Dataset:
    """Inputs and targets of a regression problem, one row per sample."""

    name: str
    inputs: Float[Tensor, "n d"]
    targets: Float[Tensor, "n C"]

    def moments(
        self,
    ) -> tuple[Float[Tensor, "C d"], Float[Tensor, "d d"], float]:
        """Sigma_yx = Y^T X / n, Sigma_xx = X^T X / n and E|y|^2, all that a linear net sees.

        >>> Dataset("line", torch.ones(4, 1), 2 * torch.ones(4, 1)).moments()
        (tensor([[2.]]), tensor([[1.]]), 4.0)
        """
        n = self.inputs.shape[0]
        correlation = self.targets.mT @ self.inputs / n
        covariance = self.inputs.mT @ self.inputs / n
        return correlation, covariance, float((self.targets**2).sum() / n)


def load(
    name: str,
    *,
    components: int = 30,
    covariance_power: float = 0.0,
    singular_values: Sequence[float] = (3.0, 1.8, 1.0, 0.6, 0.35),
    samples: int = 200,
    outputs: int = 12,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> Dataset:
    """Load a data set by its name.

    * "digits": scikit-learn's 1797 bundled images of digits, projected on their leading
      principal components, with one-hot targets (C = 10), centred. Uses `components` and
      `covariance_power`.
    * "hierarchy": 8 items, leaves of a binary tree, one sample each; mode k is the k-th split
      of the tree, top split first, its singular value the k-th of `singular_values` (at most
      7). Uses `singular_values`, `outputs`, `generator`.
    * "teacher": Gaussian inputs (d = `components`), whitened exactly, and the targets of a
      random linear map with the given singular values. Uses `components`, `singular_values`,
      `samples`, `outputs`, `generator`.

    Args:
        name: One of the names above.
        components: Number of input dimensions d.
        covariance_power: c from 0 to 1; the inputs of "digits" get covariance C^c, divided by
            its mean eigenvalue, with C that of the raw principal components. 0 is whitened.
        singular_values: Singular values of E y x^T of the synthetic sets.
        samples: Number of samples n of "teacher".
        outputs: Number of target dimensions C of the synthetic sets.
        generator: Source of randomness, required by the synthetic sets.
        dtype: Floating type of the result.

    Raises:
        ValueError: On an unknown name or settings that cannot be met.

    >>> digits = load("digits", components=5)
    >>> torch.allclose(digits.moments()[1], torch.eye(5, dtype=torch.float64))
    True
    """
    makers: dict[str, Callable[[], Dataset]] = {
        "digits": lambda: _digits(components, covariance_power, dtype),
        "hierarchy": lambda: _hierarchy(singular_values, outputs, _given(generator, name), dtype),
        "teacher": lambda: _teacher(
            components=components,
            values=singular_values,
            samples=samples,
            outputs=outputs,
            generator=_given(generator, name),
            dtype=dtype,
        ),
    }
    if name not in makers:
        raise ValueError(f"no data set is called {name!r}; choose from {', '.join(makers)}.")
    if any(not 0.0 < s < float("inf") for s in singular_values):
        raise ValueError("singular_values must be positive and finite.")
    return makers[name]()


def orthonormal(
    rows: int, columns: int, *, generator: torch.Generator, dtype: torch.dtype = torch.float64
) -> Float[Tensor, "{rows} {columns}"]:
    """Return a random matrix with orthonormal columns, uniform over all of them (Haar).

    Q of the QR decomposition of a Gaussian matrix, each column with the sign that makes the
    diagonal of R positive (Mezzadri, arXiv:math-ph/0609050).

    Args:
        rows: Number of dimensions.
        columns: Number of columns, from one to `rows`.
        generator: Source of randomness; the result lies on its device.
        dtype: Floating type of the result.

    Raises:
        ValueError: On more columns than rows, or none.

    >>> q = orthonormal(5, 2, generator=torch.Generator().manual_seed(0))
    >>> torch.allclose(q.mT @ q, torch.eye(2, dtype=torch.float64))
    True
    """
    if not 1 <= columns <= rows:
        raise ValueError(f"{columns} orthonormal columns do not fit into {rows} dimensions.")
    gaussian = torch.randn(rows, columns, generator=generator, dtype=dtype, device=generator.device)
    q, r = torch.linalg.qr(gaussian)
    uniform: Tensor = q * torch.sign(torch.diagonal(r))
    return uniform


def _given(generator: torch.Generator | None, name: str) -> torch.Generator:
    if generator is None:
        raise ValueError(f"{name!r} is random; pass generator=torch.Generator().manual_seed(...).")
    return generator


def _digits(components: int, covariance_power: float, dtype: torch.dtype) -> Dataset:
    if not 0.0 <= covariance_power <= 1.0:
        raise ValueError(f"covariance_power must lie in [0, 1], not {covariance_power}.")
    pixels, labels = load_digits(return_X_y=True)
    x = torch.as_tensor(pixels, dtype=torch.float64)
    n = x.shape[0]
    left, scale, right = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    rank = int((scale > 1e-10 * scale[0]).sum())
    if not 1 <= components <= rank:
        raise ValueError(f"digits have {rank} principal components; components={components}.")
    # The sign of a singular vector is the linear-algebra library's choice; fix it.
    largest = torch.take_along_dim(right, right.abs().argmax(1, keepdim=True), 1)[:, 0]
    left = left[:, :components] * torch.sign(largest[:components])
    spectrum = (scale[:components] ** 2 / n) ** covariance_power
    inputs = n**0.5 * left * (spectrum / spectrum.mean()).sqrt()
    one_hot = torch.nn.functional.one_hot(torch.as_tensor(labels)).to(torch.float64)
    return Dataset("digits", inputs.to(dtype), (one_hot - one_hot.mean(0)).to(dtype))


def _hierarchy(
    values: Sequence[float], outputs: int, generator: torch.Generator, dtype: torch.dtype
) -> Dataset:
    items = 8
    if not 1 <= len(values) <= min(items - 1, outputs):
        raise ValueError(f"a tree of {items} items has 1 to 7 modes, at most one per output.")
    splits = torch.zeros(items, items - 1, dtype=dtype)
    column = 0
    for size in (8, 4, 2):
        for first in range(0, items, size):
            splits[first : first + size // 2, column] = size**-0.5
            splits[first + size // 2 : first + size, column] = -(size**-0.5)
            column += 1
    v = splits[:, : len(values)]
    u = orthonormal(outputs, len(values), generator=generator, dtype=dtype)
    inputs = items**0.5 * torch.eye(items, dtype=dtype)
    return Dataset("hierarchy", inputs, inputs @ v * torch.tensor(values, dtype=dtype) @ u.mT)


def _teacher(
    *,
    components: int,
    values: Sequence[float],
    samples: int,
    outputs: int,
    generator: torch.Generator,
    dtype: torch.dtype,
) -> Dataset:
    if not 1 <= len(values) <= min(components, outputs) or samples <= components:
        raise ValueError(
            "a teacher needs at most min(components, outputs) singular values, and more samples "
            "than components."
        )
    gaussian = torch.randn(samples, components, generator=generator, dtype=dtype)
    q, _ = torch.linalg.qr(gaussian - gaussian.mean(0))
    inputs = samples**0.5 * q
    u = orthonormal(outputs, len(values), generator=generator, dtype=dtype)
    v = orthonormal(components, len(values), generator=generator, dtype=dtype)
    return Dataset("teacher", inputs, inputs @ v * torch.tensor(values, dtype=dtype) @ u.mT)
