"""Grids: every combination of named values, in order, the last name running fastest.

Values are handed to the function as plain Python numbers where they are NumPy scalars or one-
dimensional NumPy arrays, so that `numpy.logspace(-3, 0, 4)` and a list of floats are the same
grid, and a learning rate never widens a float32 array.
"""

from __future__ import annotations

import inspect
import itertools
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from learnmech.practice.sweeps.fingerprints import fingerprint

__all__ = ["Grid", "describe", "expand"]


@dataclass(frozen=True)
class Grid:
    """Names and values of a grid."""

    names: tuple[str, ...]  # one a dimension, in order
    values: tuple[tuple[Any, ...], ...]  # of each dimension, in order
    fingerprints: tuple[tuple[bytes, ...], ...]  # of those values

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values of each dimension."""
        return tuple(len(values) for values in self.values)

    def cells(self) -> Iterator[dict[str, Any]]:
        """Yield the parameters of every cell."""
        for chosen in itertools.product(*self.values):
            yield dict(zip(self.names, chosen, strict=True))

    def marks(self) -> Iterator[dict[str, bytes]]:
        """Yield the fingerprints of the parameters of every cell."""
        for chosen in itertools.product(*self.fingerprints):
            yield dict(zip(self.names, chosen, strict=True))

    def labels(self) -> dict[str, np.ndarray]:
        """Return the coordinates: the values where they are numbers or strings, else their names.

        Truth values, numbers and strings label themselves, each kind for itself. Any other
        dimension gets text: the name of a function or class, otherwise what `repr` says, with
        the position added where two texts are equal.
        """
        return {name: _labels(values) for name, values in zip(self.names, self.values, strict=True)}


def expand(function: Callable[..., Any], grid: Mapping[str, Any], fixed: Mapping[str, Any]) -> Grid:
    """Return the grid, checked against the function's arguments.

    Raises:
        ValueError: On values that are no sequence, are empty or repeated, and on names that the
            function does not take.
    """
    lists = {name: _listed(name, values) for name, values in grid.items()}
    marked = []
    for name, values in lists.items():
        marks = [fingerprint(value, f"grid[{name!r}]") for value in values]
        marked.append(tuple(marks))
        for index, mark in enumerate(marks):
            if mark in marks[:index] or _is_equal_number(values[index], values[:index]):
                raise ValueError(
                    f"grid[{name!r}] holds the value {values[index]!r} twice; every cell is "
                    "computed once, so leave one of them out."
                )
    if both := sorted(set(lists) & set(fixed)):
        raise ValueError(f"{both[0]!r} is in grid and in fixed; leave it in one of them.")
    first = {name: values[0] for name, values in lists.items()}
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions written in C do not say what they take
        pass
    else:
        try:
            signature.bind(**fixed, **first)
        except TypeError as error:
            raise ValueError(
                f"the function cannot be called with the names {sorted({**fixed, **first})}: "
                f"{error}."
            ) from None
    return Grid(tuple(lists), tuple(tuple(values) for values in lists.values()), tuple(marked))


def describe(parameters: Mapping[str, Any]) -> str:
    """Return parameters on one short line: `width=64, seed=0`.

    >>> describe({"width": 64, "rate": 0.1})
    'width=64, rate=0.1'
    """
    return ", ".join(f"{name}={_text(value)}" for name, value in parameters.items())


def _listed(name: str, values: object) -> list[Any]:
    if not name.isidentifier():
        raise ValueError(f"{name!r} cannot be the name of an argument.")
    if isinstance(values, np.ndarray | Tensor):
        if values.ndim != 1:
            raise ValueError(
                f"grid[{name!r}] must have one dimension, not {values.ndim}; to sweep over whole "
                "arrays, give a list of them."
            )
        values = values.tolist()
    if isinstance(values, str | bytes | Mapping | Set) or not isinstance(values, Iterable):
        raise ValueError(
            f"grid[{name!r}] must be a sequence of values in a fixed order, not "
            f"{type(values).__name__}; a single value belongs into fixed."
        )
    listed = [value.item() if isinstance(value, np.generic) else value for value in values]
    if not listed:
        raise ValueError(f"grid[{name!r}] is empty; give at least one value.")
    return listed


def _is_equal_number(value: Any, others: list[Any]) -> bool:
    kinds = bool | int | float | complex
    return isinstance(value, kinds) and any(
        isinstance(other, kinds) and other == value for other in others
    )


def _labels(values: tuple[Any, ...]) -> np.ndarray:
    for kinds in ((bool,), (int, float, complex), (str,)):
        if all(type(value) in kinds for value in values):
            labels = np.array(values)
            if labels.dtype != object:  # an integer beyond 64 bits
                return labels
    texts = [_text(value) for value in values]
    return np.array(
        [f"{text} ({i})" if texts.count(text) > 1 else text for i, text in enumerate(texts)]
    )


def _text(value: Any) -> str:
    name = getattr(value, "__name__", None)
    if isinstance(name, str):
        return name
    if isinstance(value, np.ndarray | Tensor):
        return f"array{tuple(value.shape)}"
    return reprlib.repr(value) if not isinstance(value, float | int) else repr(value)
