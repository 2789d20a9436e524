"""When what a run computes again counts as the same as what is stored.

Numbers travel as text, one string a series, and agree within a tolerance; words agree exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from learnmech.compare.live import DIGITS

__all__ = ["live_problems", "series_problem"]

_NUMBERS = {"value", "limits", "ticks", "x", "y", "low", "high"}


def series_problem(name: str, old: str, new: str, rtol: float, share: float) -> str | None:
    """Say how two series of numbers differ, or nothing.

    Args:
        name: what the series is called in the answer.
        old: the stored numbers.
        new: the numbers just computed.
        rtol: relative tolerance.
        share: absolute tolerance as a share of the range of the stored numbers.
    """
    before = np.array(old.split(), dtype=np.float64)
    after = np.array(new.split(), dtype=np.float64)
    if before.shape != after.shape:
        return f"{name}: {before.size} numbers became {after.size}"
    reach = float(np.ptp(before)) if before.size else 0.0
    allowed = rtol * np.abs(before) + share * reach
    wrong = np.flatnonzero(~(np.abs(after - before) <= allowed))
    if wrong.size:
        worst = int(wrong[0])
        return (
            f"{name}[{worst}]: {before[worst]!r} became {after[worst]!r} "
            f"({wrong.size} of {before.size} numbers differ by more than rtol {rtol:g} "
            f"and {share:g} of the range)"
        )
    return None


def _leaves(part: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text of a payload with its place."""
    if isinstance(part, dict):
        for key, inner in part.items():
            yield from _leaves(inner, f"{place} {key}")
    elif isinstance(part, list):
        for index, inner in enumerate(part):
            yield from _leaves(inner, f"{place} {index}")
    else:
        yield place.strip(), str(part)


def live_problems(
    stored: dict[str, Any], fresh: dict[str, Any], rtol: float, share: float
) -> list[str]:
    """List how the frames of a regenerated live figure differ from the stored ones.

    Numbers may differ by the figure's own tolerance and by one unit in their last digit, since
    two numbers that are nearly equal can be rounded apart.

    Args:
        stored: the frames in the notebook.
        fresh: the frames just computed.
        rtol: relative tolerance of the figure.
        share: absolute tolerance of the figure as a share of each series' range.
    """
    before, after = dict(_leaves(stored)), dict(_leaves(fresh))
    if before.keys() != after.keys():
        return ["live frames: the stored ones and the new ones do not have the same parts"]
    problems = []
    for place, text in before.items():
        if place.rpartition(" ")[2] in _NUMBERS:
            name, rounded = f"live frames, {place}", rtol + 10.0 ** (1 - DIGITS)
            problem = series_problem(name, text, after[place], rounded, share)
            problems += [problem] if problem else []
        elif text != after[place]:
            problems.append(f"live frames, {place}: {text!r} became {after[place]!r}")
    return problems
