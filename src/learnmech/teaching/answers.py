"""What counts as the same answer: numbers on a grid of significant digits.

The grid of an answer $a$ given to $d$ digits has the spacing of its last digit,

    place = floor(log10 |a|) - d + 1,    grid point n = round(a / 10^place),

and an answer is accepted if it falls on $n - 1$, $n$ or $n + 1$ of the right answer's grid: so
both ways to round the last digit pass, and so does a small error in it. A whole number (a Python
``int``) is exact: its grid has a digit after the point, however large it is.
"""

from __future__ import annotations

import decimal
import math
from decimal import Decimal

__all__ = ["grid_place", "grid_texts", "rounded", "to_number"]

# Wide enough for every float on every grid.
_CONTEXT = decimal.Context(prec=800, rounding=decimal.ROUND_HALF_EVEN)


def to_number(answer: object) -> float:
    """Return an answer as a float: a Python, NumPy or torch scalar, or a numeric string.

    Args:
        answer: what a reader gave.

    Raises:
        ValueError: with the reason, as the end of a sentence, for everything that is not one
            finite real number.
    """
    if answer is ... or answer is None:
        raise ValueError("there is no answer yet; put your number in place of the dots")
    shape = tuple(getattr(answer, "shape", ()))
    if shape or isinstance(answer, list | tuple | dict | set):
        words = f"an array of shape {shape}" if shape else f"a {type(answer).__name__}"
        raise ValueError(f"the answer is {words}; give one number")
    item = getattr(answer, "item", None)
    value = item() if callable(item) else answer
    if isinstance(value, bool):
        raise ValueError(f"the answer is {value}; give a number")
    if isinstance(value, complex):
        if value.imag != 0:
            raise ValueError(f"the answer {value} is complex; give a real number")
        value = value.real
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValueError(f"the answer {value!r} is not a number; give one, such as 0.25") from None
    except OverflowError:
        raise ValueError("the answer is too large to be right") from None
    if not math.isfinite(number):
        raise ValueError(f"the answer is {number}; give a finite number")
    return number


def grid_place(value: float, digits: int, *, exact: bool = False) -> int:
    """Return the power of ten of the last of ``digits`` significant digits.

    >>> grid_place(6.2778, 3), grid_place(12345.0, 3), grid_place(12345, 3, exact=True)
    (-2, 2, -1)
    """
    if value == 0:
        return 0
    place = Decimal(repr(value)).adjusted() - digits + 1
    return min(place, -1) if exact else place


def grid_texts(value: float, place: int) -> tuple[str, str, str]:
    """Return the grid point of a value and its two neighbours, written in one way only.

    >>> grid_texts(6.2778, -2)
    ('6.28', '6.27', '6.29')
    >>> grid_texts(-9.996, -2)
    ('-1E+1', '-10.01', '-9.99')
    """
    unit = Decimal(1).scaleb(place)
    point = Decimal(repr(value)).quantize(unit, context=_CONTEXT)
    low, high = _CONTEXT.subtract(point, unit), _CONTEXT.add(point, unit)
    return _text(point), _text(low), _text(high)


def _text(point: Decimal) -> str:
    return str(_CONTEXT.normalize(point)) if point else "0"


def rounded(value: float, digits: int, *, exact: bool = False) -> str:
    """Return a number to so many significant digits, as one writes it.

    >>> rounded(3329.8, 3), rounded(0.9902, 3), rounded(12, 2, exact=True), rounded(1.234e-9, 2)
    ('3330', '0.990', '12', '1.2e-09')
    """
    if exact and value == int(value):
        return str(int(value))
    if 0 < abs(value) < 1e-4 or abs(value) >= 1e7:
        return f"{value:.{digits - 1}e}"
    place = grid_place(value, digits)
    point = Decimal(repr(value)).quantize(Decimal(1).scaleb(place), context=_CONTEXT)
    return f"{point:f}"
