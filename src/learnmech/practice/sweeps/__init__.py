"""Sweeps: one function on every cell of a grid, on any machine, computed once.

* :mod:`~learnmech.practice.sweeps.driver`: `sweep` itself, and what it returns;
* :mod:`~learnmech.practice.sweeps.grids`: the grid and its labels;
* :mod:`~learnmech.practice.sweeps.cells`: what happens inside one cell, wherever it is computed;
* :mod:`~learnmech.practice.sweeps.backends`: how cells are handed out, over joblib;
* :mod:`~learnmech.practice.sweeps.pools`: processes, Dask and Ray behind one call;
* :mod:`~learnmech.practice.sweeps.shipping`: functions and arguments as bytes for workers;
* :mod:`~learnmech.practice.sweeps.fingerprints`: what a cached result depends on;
* :mod:`~learnmech.practice.sweeps.origins`: which code is the user's own;
* :mod:`~learnmech.practice.sweeps.cache`: one file a cell, checked and never half-written;
* :mod:`~learnmech.practice.sweeps.tables`: finished cells as one labelled data set.
"""

from learnmech.practice.sweeps.driver import Failure, SweepFailed, SweepResult, sweep

__all__ = ["Failure", "SweepFailed", "SweepResult", "sweep"]
