"""What functions of the package accept where they say "a number or an array of numbers".

NumPy's own ``ArrayLike`` also admits text and complex numbers, and run-time checkers read its
``complex`` as not admitting a plain float; this alias admits real numbers only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["ArrayLike"]

ArrayLike: TypeAlias = NDArray[Any] | np.number[Any] | float | int | Sequence[Any]
"""A real number, or an array or nested list of real numbers."""
