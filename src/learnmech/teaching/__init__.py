"""Exercises that check themselves, and the book's editions for students and instructors.

:func:`check` is what a reader meets; it needs this package and nothing else, no network and no
checkout. The other modules here make what it reads (:mod:`learnmech.teaching.sealing`) and the
editions (:mod:`learnmech.teaching.editions`) from the chapters' texts, in a checkout.
"""

from learnmech.teaching.checking import CannotCheck, WrongAnswer, check

__all__ = ["CannotCheck", "WrongAnswer", "check"]
