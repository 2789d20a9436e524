r"""What every comparison of representations begins with: checks, and centred features."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["centred_features", "paired", "power_of_two"]


def paired(
    first: Float[Tensor, "n p"], second: Float[Tensor, "m q"], *names: str, fewest: int
) -> torch.dtype:
    """Check that two matrices describe the same samples; return the dtype of a result."""
    if first.ndim != 2 or second.ndim != 2 or len(first) != len(second):
        raise ValueError(
            f"{names[0]} and {names[1]} must be matrices with one row for each of the same "
            f"samples, but have the shapes {tuple(first.shape)} and {tuple(second.shape)}; "
            "flatten other axes first."
        )
    if len(first) < fewest:
        raise ValueError(f"this needs {fewest} samples or more, not {len(first)}.")
    for name, values in zip(names, (first, second), strict=True):
        if not values.is_floating_point() or not values.shape[1]:
            raise ValueError(
                f"{name} must hold floating-point numbers, in one column or more, but is "
                f"{values.dtype} of shape {tuple(values.shape)}; convert integers, as by .double()."
            )
        # A sum is ten times as fast as looking at all numbers, and settles nearly all cases.
        total = values.sum(dtype=torch.float64)
        if not bool(torch.isfinite(total)) and not bool(torch.isfinite(values).all()):
            raise ValueError(f"{name} holds NaN or infinity.")
    return torch.promote_types(first.dtype, second.dtype)


def centred_features(features: Float[Tensor, "n p"], name: str) -> Float[Tensor, "n p"]:
    """Features in float64, centred over the samples and scaled to order one.

    The first sample is taken off before the mean, which is exact for features that are all
    alike: they become zeros, and are refused. Scaling keeps squares from under- and overflow.
    """
    values = features.to(torch.float64) - features[0].to(torch.float64)
    largest = values.abs().max()
    if not bool(largest > 0):
        raise ValueError(f"{name} does not vary over the samples, so it is like nothing.")
    values /= largest
    values -= values.mean(0)
    return values


def power_of_two(largest: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Return scales that keep squares from under- and overflow, and every digit as it is."""
    power: Tensor = 2.0 ** torch.where(largest > 0, largest, 1.0).log2().floor()
    return power
