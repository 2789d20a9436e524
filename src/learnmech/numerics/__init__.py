"""What theory, practice and compare all need and none of them owns."""

from learnmech.numerics.arrays import ArrayLike
from learnmech.numerics.fits import LineFit, fit_line, fit_power_law
from learnmech.numerics.power_law_intervals import (
    PowerLawBootstrap,
    SaturatingBootstrap,
    bootstrap_power_law,
    bootstrap_saturating_power_law,
)
from learnmech.numerics.power_laws import SaturatingPowerLaw, fit_saturating_power_law
from learnmech.numerics.scaling import KINDS, OPTIMIZERS, Exponents, WidthExponents

__all__ = [
    "KINDS",
    "OPTIMIZERS",
    "ArrayLike",
    "Exponents",
    "LineFit",
    "PowerLawBootstrap",
    "SaturatingBootstrap",
    "SaturatingPowerLaw",
    "WidthExponents",
    "bootstrap_power_law",
    "bootstrap_saturating_power_law",
    "fit_line",
    "fit_power_law",
    "fit_saturating_power_law",
]
