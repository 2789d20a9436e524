"""The picture of a live figure: all frames at once, for paper and for pages without scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from learnmech.compare.live import Curve, Frame, LiveFigure
from learnmech.compare.measures import ClaimError
from learnmech.compare.style import COLOURS, figure, log_axis, measured_points, theory_line

__all__ = ["draw"]

_DASHES = ("-", "--", ":", "-.")
_ROW = 2.3
_TOGETHER = 4.4


def draw(live: LiveFigure, *, apart: bool) -> Figure:
    """Draw all frames: theory in black, measurements coloured and each with its own marker.

    Args:
        live: the frames.
        apart: a panel for every frame, with a marker for every series; without it the frames
            share a panel, with a marker for every frame; a second knob has a panel for each choice.

    Raises:
        ClaimError: if more frames share a panel than there are markers.
    """
    groups = list(live.by_choice().values())
    panels = [[frame] for row in zip(*groups, strict=True) for frame in row] if apart else groups
    if not apart and len(groups[0]) > len(COLOURS):
        raise ClaimError(
            f"live figure '{live.name}': {len(groups[0])} frames in one panel cannot be told "
            f"apart; give {len(COLOURS)} or fewer, or a panel for every frame with apart=True"
        )
    if apart:
        columns = max(2, len(groups))
        rows = -(-len(panels) // columns)
        height = _ROW * rows + 0.6
    else:
        rows, columns = len(panels), 1
        height = _TOGETHER if rows == 1 else 0.8 * _TOGETHER * rows
    drawing: Figure
    drawing, grid = figure(rows, columns, height=height, sharex=True, sharey=True, squeeze=False)
    places = list(grid.ravel())
    for axes, frames in zip(places, panels, strict=False):
        _panel(axes, live, frames, apart=apart)
    for spare in places[len(panels) :]:
        spare.remove()
    _edges(live, grid, len(panels))
    handles = dict(pair for axes in drawing.axes for pair in _legend(axes))
    drawing.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=3, fontsize=10
    )
    return drawing


def _panel(axes: Axes, live: LiveFigure, frames: Sequence[Frame], *, apart: bool) -> None:
    for number, frame in enumerate(frames):
        styles = dashes(frame.theory)
        for curve, style in zip(frame.theory, styles, strict=True):
            drawn = curve.arrays()
            theory_line(axes, drawn["x"], drawn["y"], curve.label, linestyle=_DASHES[style])
        for index, points in enumerate(frame.measured):
            measured_points(
                axes,
                points.x,
                points.y,
                points.label if apart else frame.label,
                series=index if apart else number,
                markersize=3.5 if apart else 5,
            )
    for which, axis in (("x", live.x), ("y", live.y)):
        if axis.scale == "log":
            log_axis(axes, which, live.ticks(which))
        axes.set(**{f"{which}lim": live.limits(which)})
    words = [frames[0].choice, frames[0].label if apart else ""]
    axes.set_title(", ".join(word for word in words if word), fontsize=11)


def _edges(live: LiveFigure, grid: NDArray[np.object_], panels: int) -> None:
    """Name the axes once, on the outer panels."""
    columns = grid.shape[1]
    for index in range(panels):
        row, column = divmod(index, columns)
        if column == 0:
            grid[row, column].set_ylabel(live.y.label)
        if index + columns >= panels:
            grid[row, column].set_xlabel(live.x.label)
            grid[row, column].xaxis.set_tick_params(labelbottom=True)


def _legend(axes: Axes) -> list[tuple[str, Any]]:
    handles, labels = axes.get_legend_handles_labels()
    return list(zip(labels, handles, strict=True))


def dashes(theory: Sequence[Curve]) -> list[int]:
    """Return the number of each curve's dash pattern: equal labels have equal patterns."""
    labels = list(dict.fromkeys(curve.label for curve in theory))
    return [labels.index(curve.label) % len(_DASHES) for curve in theory]
