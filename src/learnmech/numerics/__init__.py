"""What theory, practice and compare all need and none of them owns."""

from learnmech.numerics.arrays import ArrayLike
from learnmech.numerics.fits import LineFit, fit_line, fit_power_law

__all__ = ["ArrayLike", "LineFit", "fit_line", "fit_power_law"]
