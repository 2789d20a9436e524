"""One function for all data sets: the name chooses the maker, settings go to it by keyword."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, overload

import torch

from learnmech.practice.data import bundled, corpus, images, linear, synthetic
from learnmech.practice.data.corpus import Corpus
from learnmech.practice.data.dataset import Dataset
from learnmech.sentences import candidates

__all__ = ["MAKERS", "load"]

MAKERS: Mapping[str, Callable[..., Dataset | Corpus]] = {
    "breast-cancer": bundled.breast_cancer,
    "cifar-10": images.cifar_10,
    "diabetes": bundled.diabetes,
    "digits": bundled.digits,
    "docstrings": corpus.docstrings,
    "fashion-mnist": images.fashion_mnist,
    "gaussian": synthetic.gaussian,
    "hierarchy": linear.hierarchy,
    "hypercube": synthetic.hypercube,
    "mnist": images.mnist,
    "modular-addition": synthetic.modular_addition,
    "teacher": linear.teacher,
    "teacher-student": synthetic.teacher_student,
}

_COMMON = ("generator", "dtype")


@overload
def load(
    name: Literal["docstrings"],
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
    **settings: Any,
) -> Corpus: ...
@overload
def load(
    name: str,
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
    **settings: Any,
) -> Dataset: ...
def load(
    name: str,
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
    **settings: Any,
) -> Dataset | Corpus:
    """Load a data set by its name; shapes are those of inputs (n, d) and targets (n, C).

    Real, bundled with scikit-learn:

    * "digits": (1797, d), (1797, 10). Principal components, whitened or less so, or pixels.
      Settings `components`, `covariance_power`, or `pixels=True`.
    * "breast-cancer": (569, 30), (569, 1). Standardised features, targets +1 and -1.
    * "diabetes": (442, 10), (442, 1). Features and targets standardised.
    * "docstrings": a `Corpus`, the words of the running Python's documentation strings.
      Settings `vocabulary_size`, `folder`.

    Real, downloaded once with the extra `download`, centred and scaled by the training part:

    * "mnist", "fashion-mnist": (n, 784), (n, 10); "cifar-10": (n, 3072), (n, 10). Settings
      `split` ("train" or "test"), `samples`, `components` and `covariance_power` for principal
      components as of digits, `cache`, `base_url`.

    Generated from `generator`, on its device:

    * "gaussian": (n, d), (n, C). A given covariance spectrum, linear targets, label noise.
      Settings `samples`, `components` and `decay`, or `spectrum`; `teacher`, `noise`.
    * "hypercube": (n, d), (n, C). All vectors of +1 and -1, or draws; monomials of given
      degrees. Settings `components`, `degrees`, `samples`. Random only with `samples`.
    * "teacher-student": (n, d), (n, C). Gaussian inputs, a network with random or given
      weights. Settings `samples`, `sizes` or `weights`, `activation`, `noise`.
    * "teacher": (n, d), (n, C). Whitened exactly, a linear map of low rank. Settings
      `components`, `singular_values`, `samples`, `outputs`.
    * "hierarchy": (8, 8), (8, C). Leaves of a binary tree. Settings `singular_values`,
      `outputs`.
    * "modular-addition": (p^2, 2p) or (p^2, 2), (p^2, p). All pairs; not random. Settings
      `modulus`, `one_hot`.

    Each is documented by its maker, a function of the same name in the modules `bundled`,
    `corpus`, `images`, `synthetic` and `linear` of :mod:`learnmech.practice.data`.

    Args:
        name: One of the names above.
        generator: Source of randomness, required by what is random and unused by the rest.
        dtype: Floating type of the result.
        **settings: What the data set of this name can be told, see above.

    Raises:
        ValueError: On an unknown name or setting, or settings that cannot be met.
        DownloadError: Where a downloaded data set cannot be had.

    >>> digits = load("digits", components=5)
    >>> torch.allclose(digits.moments()[1], torch.eye(5, dtype=torch.float64))
    True
    """
    if name not in MAKERS:
        raise ValueError(f"no data set is called {name!r}; {candidates(name, MAKERS)}")
    maker = MAKERS[name]
    accepted = inspect.signature(maker).parameters
    allowed = [key for key in accepted if key not in _COMMON]
    unknown = [key for key in settings if key not in allowed]
    if unknown:
        raise ValueError(
            f"{name!r} takes no setting called {', '.join(unknown)}; it takes "
            f"{', '.join(allowed) or 'none'}."
        )
    common = {"generator": generator, "dtype": dtype}
    return maker(**settings, **{key: common[key] for key in _COMMON if key in accepted})
