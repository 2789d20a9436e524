"""Tables: finished cells as one labelled data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from learnmech.practice.sweeps.cells import Arrays
from learnmech.practice.sweeps.grids import Grid, describe

if TYPE_CHECKING:
    import xarray

__all__ = ["table"]


def table(
    grid: Grid, cells: Sequence[Arrays | None], dims: Mapping[str, Sequence[str]]
) -> xarray.Dataset:
    """Return the cells as a data set with one dimension for every name of the grid.

    Args:
        grid: the grid.
        cells: what each cell returned, in order; None where it failed.
        dims: names for the further dimensions of results that are arrays.

    Returns:
        One variable for every name that the function returns. Missing cells are NaN, for which
        whole numbers and truth values become float64.

    Raises:
        ValueError: If cells have different names or shapes, or names of dimensions do not fit.
    """
    import xarray  # noqa: PLC0415 - takes half a second, which workers need not pay

    finished = [(index, arrays) for index, arrays in enumerate(cells) if arrays is not None]
    variables = {}
    if finished:
        _refuse_ragged(grid, finished)
        for name, pattern in finished[0][1].items():
            kinds = {arrays[name].dtype for _, arrays in finished}
            kind = np.result_type(*kinds)
            if len(finished) < len(cells) and kind.kind in "biu":
                kind = np.dtype(np.float64)
            full = np.full((len(cells), *pattern.shape), _missing(kind), dtype=kind)
            for index, arrays in finished:
                full[index] = arrays[name]
            axes = _axes(grid, name, pattern.ndim, dims.get(name))
            variables[name] = (axes, full.reshape((*grid.shape, *pattern.shape)))
    if unknown := sorted(set(dims) - set(variables)) if finished else []:
        raise ValueError(
            f"dims names {unknown[0]!r}, but the function returns {', '.join(variables)}."
        )
    return xarray.Dataset(variables, coords=grid.labels())


def _missing(kind: np.dtype) -> float:
    return np.nan if kind.kind in "fc" else 0


def _refuse_ragged(grid: Grid, finished: Sequence[tuple[int, Arrays]]) -> None:
    parameters = list(grid.cells())

    def returned(arrays: Arrays) -> str:
        return ", ".join(f"{name} of shape {array.shape}" for name, array in arrays.items())

    (first, pattern), *others = finished
    shapes = {name: array.shape for name, array in pattern.items()}
    for index, arrays in others:
        if {name: array.shape for name, array in arrays.items()} != shapes:
            raise ValueError(
                f"the cell {describe(parameters[index])} returned {returned(arrays)}, but the cell "
                f"{describe(parameters[first])} returned {returned(pattern)}; every cell must "
                "return the same names and shapes."
            )


def _axes(grid: Grid, name: str, count: int, named: Sequence[str] | None) -> tuple[str, ...]:
    own = tuple(named) if named is not None else tuple(f"{name}_{axis}" for axis in range(count))
    if len(own) != count:
        raise ValueError(
            f"dims[{name!r}] names {len(own)} dimensions, but that result has {count}."
        )
    if name in grid.names or set(own) & set(grid.names):
        raise ValueError(
            f"the result {name!r} or one of its dimensions has the name of a parameter; give it "
            "another name."
        )
    return (*grid.names, *own)
