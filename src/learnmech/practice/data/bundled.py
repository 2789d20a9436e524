r"""Real data that scikit-learn brings along: digits, breast-cancer, diabetes. Offline.

* "digits": n = 1797, d up to 61 components or 64 pixels, C = 10, centred one-hot targets.
* "breast-cancer": n = 569, d = 30, C = 1, targets 1 (benign) and -1 (malignant).
* "diabetes": n = 442, d = 10, C = 1, standardised targets.

Inputs are (n, d), targets (n, C). Statistics run over all n samples; part them afterwards with
`split`.
"""

import torch
from jaxtyping import Float
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from torch import Tensor

from learnmech.practice.data.components import principal_components
from learnmech.practice.data.dataset import Dataset

__all__ = ["breast_cancer", "diabetes", "digits"]


def digits(
    *,
    components: int | None = None,
    covariance_power: float | None = None,
    pixels: bool = False,
    dtype: torch.dtype = torch.float64,
) -> Dataset:
    r"""Make "digits": 1797 images of 8 x 8 pixels in 10 classes, in one of two forms.

    Principal components (the default), with C the covariance of the raw components kept:

    $$ X^\top X / n = C^c / \mathrm{mean}(\mathrm{diag}\, C^c), $$

    diagonal, so that c = 0 is whitened exactly. Pixels (`pixels=True`): all 64, each centred,
    all divided by one number, so that the mean square over samples and pixels is one; three
    pixels are always zero. Targets are one-hot minus the class frequencies, so that no bias is
    needed.

    Args:
        components: Number of leading principal components d, 30 if not given.
        covariance_power: c from 0 to 1, 0 if not given.
        pixels: The pixels themselves, d = 64; takes none of the two settings above.
        dtype: Floating type of the result.

    Raises:
        ValueError: On settings that cannot be met.

    >>> data = digits(components=5)
    >>> torch.allclose(data.moments()[1], torch.eye(5, dtype=torch.float64))
    True
    >>> round(float((digits(pixels=True).inputs ** 2).mean()), 12)
    1.0
    """
    images, labels = load_digits(return_X_y=True)
    x = torch.as_tensor(images, dtype=torch.float64)
    if pixels:
        if components is not None or covariance_power is not None:
            raise ValueError("pixels=True takes neither components nor covariance_power.")
        centred = x - x.mean(0)
        inputs = centred / (centred**2).mean().sqrt()
    else:
        inputs = principal_components(
            x, 30 if components is None else components, covariance_power or 0.0, "digits"
        )
    classes = torch.as_tensor(labels, dtype=torch.int64)
    one_hot = torch.nn.functional.one_hot(classes).to(torch.float64)
    targets = one_hot - one_hot.mean(0)
    return Dataset("digits", inputs.to(dtype), targets.to(dtype), classes)


def breast_cancer(*, dtype: torch.dtype = torch.float64) -> Dataset:
    """Make "breast-cancer": 30 features of 569 tumours, each standardised.

    Features have mean 0 and variance 1. Targets are +1 for the 357 benign tumours and -1 for
    the 212 malignant ones, not centred; labels are 1 and 0.

    Args:
        dtype: Floating type of the result.

    >>> data = breast_cancer()
    >>> tuple(data.inputs.shape), float(data.targets.sum())
    ((569, 30), 145.0)
    """
    features, labels = load_breast_cancer(return_X_y=True)
    classes = torch.as_tensor(labels, dtype=torch.int64)
    signs = (2 * classes - 1)[:, None].to(dtype)
    return Dataset("breast-cancer", _standardised(features).to(dtype), signs, classes)


def diabetes(*, dtype: torch.dtype = torch.float64) -> Dataset:
    """Make "diabetes": 10 features of 442 patients and the progression of their disease.

    Features and targets have mean 0 and variance 1 each.

    Args:
        dtype: Floating type of the result.

    >>> data = diabetes()
    >>> tuple(data.inputs.shape), round(data.moments()[2], 12)
    ((442, 10), 1.0)
    """
    features, progression = load_diabetes(return_X_y=True, scaled=False)
    targets = _standardised(progression[:, None])
    return Dataset("diabetes", _standardised(features).to(dtype), targets.to(dtype))


def _standardised(raw: object) -> Float[Tensor, "n d"]:
    x = torch.as_tensor(raw, dtype=torch.float64)
    return (x - x.mean(0)) / x.std(0, correction=0)
