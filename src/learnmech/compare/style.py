"""One drawing convention for the whole book.

Theory is a black line; measurements are coloured points with the spread over seeds; a panel below
shows the residual or the ratio. Colours are Okabe and Ito's, which people with any common colour
vision deficiency can tell apart, and every series also has its own marker, so that no plot relies
on colour alone. Figures are one column wide with text that stays legible at phone width, on a
white card that reads the same in the light and the dark theme.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from learnmech.numerics.arrays import ArrayLike

__all__ = [
    "COLOURS",
    "MARKERS",
    "figure",
    "figure_with_residual",
    "log_axis",
    "measured_points",
    "reference_line",
    "theory_line",
    "use_book_style",
]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7F7F7F", "#8C510A")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_WIDTH = 6.0


def use_book_style() -> None:
    """Set Matplotlib's defaults for this process to the book's style."""
    mpl.rcdefaults()
    mpl.rcParams.update(
        {
            "figure.figsize": (_WIDTH, 3.9),
            "figure.dpi": 144,
            "savefig.dpi": 144,
            "figure.constrained_layout.use": True,
            "figure.facecolor": "white",
            "font.size": 12,
            "axes.titlesize": 12,
            "axes.labelsize": 12,
            "legend.fontsize": 10.5,
            "legend.frameon": False,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": cycler(color=COLOURS),
            "axes.grid": True,
            "grid.color": "#E4E4E4",
            "grid.linewidth": 0.8,
            "axes.axisbelow": True,
            "lines.linewidth": 1.8,
            "lines.markersize": 5.0,
            "svg.hashsalt": "learnmech",
            "path.simplify": False,
        }
    )


def figure(rows: int = 1, columns: int = 1, *, height: float = 3.9, **kwargs: Any) -> Any:
    """Make a figure one column wide.

    Returns:
        ``(figure, axes)`` as :func:`matplotlib.pyplot.subplots` does.
    """
    return plt.subplots(rows, columns, figsize=(_WIDTH, height), **kwargs)


def figure_with_residual(
    *, height: float = 5.0, share: float = 0.3
) -> tuple[Figure, tuple[Axes, Axes]]:
    """Make a figure with a main panel and a residual or ratio panel below on the same x axis.

    Args:
        height: height of the whole figure in inches.
        share: height of the lower panel relative to the upper one.
    """
    drawing, (upper, lower) = figure(
        2, 1, height=height, sharex=True, gridspec_kw={"height_ratios": [1.0, share]}
    )
    return drawing, (upper, lower)


def theory_line(axes: Axes, x: ArrayLike, y: ArrayLike, label: str | None = None, **kw: Any) -> Any:
    """Draw a prediction: a black line above the measurements.

    Args:
        axes: where to draw.
        x: positions, shape ``(T,)``.
        y: prediction, shape ``(T,)``.
        label: words for the legend.
        **kw: passed to :meth:`matplotlib.axes.Axes.plot` (a dashed line for a second theory).
    """
    options = {"color": "black", "linewidth": 1.5, "zorder": 4, **kw}
    return axes.plot(np.asarray(x), np.asarray(y), label=label, **options)


def measured_points(
    axes: Axes, x: ArrayLike, y: ArrayLike, label: str | None = None, *, series: int = 0, **kw: Any
) -> Any:
    """Draw a measurement: coloured points, with a band or bars from the least to the largest seed.

    Args:
        axes: where to draw.
        x: positions, shape ``(T,)``.
        y: one run, shape ``(T,)``, or one run per seed, shape ``(S, T)``: then the points are the
            mean over seeds and the bars reach from the smallest to the largest.
        label: words for the legend.
        series: number of the series; it chooses colour and marker together.
        **kw: passed to :meth:`matplotlib.axes.Axes.errorbar`.
    """
    values = np.asarray(y, dtype=np.float64)
    runs = values if values.ndim == 2 else values[None]
    centre = runs.mean(axis=0)
    bars = np.stack([centre - runs.min(axis=0), runs.max(axis=0) - centre])
    options = {
        "color": COLOURS[series % len(COLOURS)],
        "marker": MARKERS[series % len(MARKERS)],
        "linestyle": "none",
        "elinewidth": 1.4,
        "zorder": 3,
        **kw,
    }
    spread = np.clip(bars, 0.0, None) if len(runs) > 1 else None
    return axes.errorbar(np.asarray(x), centre, yerr=spread, label=label, **options)


def reference_line(axes: Axes, values: Sequence[float] = (0.0,), **kw: Any) -> None:
    """Draw thin horizontal lines: zero residual, ratio one, or the edges of a tolerance."""
    for value in values:
        options = {"color": "black", "linewidth": 1.0, "zorder": 1, **kw}
        axes.axhline(value, **options)


def log_axis(axes: Axes, which: str, ticks: Sequence[float]) -> None:
    """Make an axis logarithmic, with plain numbers at the given ticks and none between.

    Args:
        axes: the panel.
        which: ``x`` or ``y``.
        ticks: positions of the ticks.
    """
    axis = {"x": axes.xaxis, "y": axes.yaxis}[which]
    axes.set(**{f"{which}scale": "log"})
    axis.set_ticks(list(ticks), [f"{tick:g}" for tick in ticks])
    axis.set_minor_formatter(NullFormatter())
