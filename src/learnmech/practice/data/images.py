r"""Downloaded images in ten classes: mnist, fashion-mnist, cifar-10.

* "mnist" and "fashion-mnist": 60 000 images for training and 10 000 for testing, inputs (n, 784);
  one image is `inputs[i].view(28, 28)`.
* "cifar-10": 50 000 and 10 000, inputs (n, 3072); one image is `inputs[i].view(3, 32, 32)`.

With p a pixel (0 to 255), $\bar p_j$ its mean over the whole training part and s one number,

$$ x_j = (p_j - \bar p_j) / s, \qquad s^2 = \mathrm{mean}_{i, j} (p_{ij} - \bar p_j)^2, $$

so that the inputs of the training part are centred and their mean square is one; the test part
and subsets are scaled by the same numbers. Targets are one-hot minus the class frequencies of
the training part, (n, 10); labels are integers. With `components` the inputs are principal
components of the images taken, see :mod:`learnmech.practice.data.components`.

References: LeCun et al., Proc. IEEE 86 (1998) 2278 (MNIST); Xiao, Rasul and Vollgraf,
arXiv:1708.07747 (Fashion-MNIST); Krizhevsky, "Learning multiple layers of features from tiny
images" (2009) (CIFAR-10).
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64, UInt8

from learnmech.practice.data.components import principal_components
from learnmech.practice.data.dataset import Dataset, choose
from learnmech.practice.data.download import fetch
from learnmech.practice.data.formats import read_cifar, read_idx

__all__ = ["cifar_10", "fashion_mnist", "mnist"]

_CLASSES = 10
_CHUNK = 5000  # images squared at a time, to bound memory


def mnist(
    *,
    split: str = "train",
    samples: int | None = None,
    components: int | None = None,
    covariance_power: float = 0.0,
    cache: str | Path | None = None,
    base_url: str | None = None,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> Dataset:
    """Make "mnist": handwritten digits, 28 x 28 pixels, scaled as the module says.

    Args:
        split: "train" or "test".
        samples: Number of images, drawn without replacement; None takes all.
        components: Number of leading principal components d; None gives the pixels.
        covariance_power: c from 0 (whitened) to 1, used with `components`.
        cache: Cache folder; see :mod:`learnmech.practice.data.download`.
        base_url: Mirror; see there.
        generator: Source of randomness, required with `samples`.
        dtype: Floating type of the result. All training images take 0.4 GB in float64.

    Raises:
        DownloadError: Where the files cannot be had.
        ValueError: On another split, or samples that cannot be drawn.
    """
    parts = _read_mnist("mnist", split, cache, base_url)
    data = _scaled("mnist", parts, split, samples=samples, generator=generator, dtype=dtype)
    return _reduced(data, components, covariance_power)


def fashion_mnist(
    *,
    split: str = "train",
    samples: int | None = None,
    components: int | None = None,
    covariance_power: float = 0.0,
    cache: str | Path | None = None,
    base_url: str | None = None,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> Dataset:
    """Make "fashion-mnist": articles of clothing, 28 x 28 pixels, scaled as the module says.

    Args:
        split: "train" or "test".
        samples: Number of images, drawn without replacement; None takes all.
        components: Number of leading principal components d; None gives the pixels.
        covariance_power: c from 0 (whitened) to 1, used with `components`.
        cache: Cache folder; see :mod:`learnmech.practice.data.download`.
        base_url: Mirror; see there.
        generator: Source of randomness, required with `samples`.
        dtype: Floating type of the result. All training images take 0.4 GB in float64.

    Raises:
        DownloadError: Where the files cannot be had.
        ValueError: On another split, or samples that cannot be drawn.
    """
    parts = _read_mnist("fashion-mnist", split, cache, base_url)
    data = _scaled("fashion-mnist", parts, split, samples=samples, generator=generator, dtype=dtype)
    return _reduced(data, components, covariance_power)


def cifar_10(
    *,
    split: str = "train",
    samples: int | None = None,
    components: int | None = None,
    covariance_power: float = 0.0,
    cache: str | Path | None = None,
    base_url: str | None = None,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> Dataset:
    """Make "cifar-10": colour photographs, 3 x 32 x 32, scaled as the module says.

    Args:
        split: "train" or "test".
        samples: Number of images, drawn without replacement; None takes all.
        components: Number of leading principal components d; None gives the pixels.
        covariance_power: c from 0 (whitened) to 1, used with `components`.
        cache: Cache folder; see :mod:`learnmech.practice.data.download`.
        base_url: Mirror; see there.
        generator: Source of randomness, required with `samples`.
        dtype: Floating type of the result. All training images take 1.2 GB in float64.

    Raises:
        DownloadError: Where the file, of 170 MB, cannot be had.
        ValueError: On another split, or samples that cannot be drawn.
    """
    _check_split(split)
    parts = read_cifar(fetch("cifar-10", "cifar-10-binary.tar.gz", cache=cache, base_url=base_url))
    data = _scaled("cifar-10", parts, split, samples=samples, generator=generator, dtype=dtype)
    return _reduced(data, components, covariance_power)


Part = tuple[UInt8[np.ndarray, "n d"], UInt8[np.ndarray, " n"]]  # pixels and labels


def _read_mnist(
    name: str, split: str, cache: str | Path | None, base_url: str | None
) -> Mapping[str, Part]:
    _check_split(split)
    parts = {}
    for part, prefix in {"train": "train", split: "train" if split == "train" else "t10k"}.items():
        files = [f"{prefix}-images-idx3-ubyte.gz", f"{prefix}-labels-idx1-ubyte.gz"]
        paths = [fetch(name, file, cache=cache, base_url=base_url) for file in files]
        images, labels = read_idx(paths[0], dimensions=3), read_idx(paths[1], dimensions=1)
        if len(images) != len(labels) or len(labels) < 1 or labels.max() >= _CLASSES:
            raise ValueError(f"images and labels of {name!r}, {part}, do not belong together.")
        parts[part] = (images.reshape(len(images), -1), labels)
    return parts


def _scaled(
    name: str,
    parts: Mapping[str, Part],
    split: str,
    *,
    samples: int | None,
    generator: torch.Generator | None,
    dtype: torch.dtype,
) -> Dataset:
    pixels, labels = parts[split]
    rows = choose(len(pixels), samples, generator, f"{name} ({split})")
    mean, scale = _mean_and_scale(parts["train"][0])
    frequencies = np.bincount(parts["train"][1], minlength=_CLASSES) / len(parts["train"][1])
    inputs = torch.tensor(pixels[rows.numpy()], dtype=dtype)
    inputs.sub_(torch.tensor(mean, dtype=dtype)).div_(scale)
    classes = torch.tensor(labels[rows.numpy()], dtype=torch.int64)
    targets = torch.nn.functional.one_hot(classes, _CLASSES) - torch.tensor(frequencies)
    return Dataset(name, inputs, targets.to(dtype), classes)


def _reduced(data: Dataset, components: int | None, covariance_power: float) -> Dataset:
    if components is None:
        return data
    inputs = principal_components(data.inputs, components, covariance_power, data.name)
    return replace(data, inputs=inputs)


def _mean_and_scale(pixels: UInt8[np.ndarray, "n d"]) -> tuple[Float64[np.ndarray, " d"], float]:
    mean = pixels.mean(0, dtype=np.float64)
    n = len(pixels)
    total = sum(float(np.square(pixels[i : i + _CHUNK] - mean).sum()) for i in range(0, n, _CHUNK))
    if total == 0.0:
        raise ValueError("all training images are equal; there is nothing to scale by.")
    return mean, (total / pixels.size) ** 0.5


def _check_split(split: str) -> None:
    if split not in ("train", "test"):
        raise ValueError(f'split must be "train" or "test", not {split!r}.')
