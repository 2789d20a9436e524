"""Live figures: a few finished runs along one knob, for a slider that shows one of them at a time.

A frame is one value of the knob: theory's curves, the measured points, and the finding in one
sentence. A chapter gives all frames to :meth:`~learnmech.compare.chapter.Chapter.live_figure`,
which draws them as one picture and publishes it like every other figure, so that every plotted
number is checked. Beside the picture the output then holds :data:`LIVE`, the frames as text of five
significant digits. A page with scripts shows a slider over them; everywhere else the picture and a
table of numbers stand for it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnmech.compare.measures import ClaimError
from learnmech.numerics.arrays import ArrayLike

__all__ = ["DIGITS", "LIVE", "Axis", "Curve", "Frame", "LiveFigure", "Points"]

LIVE = "application/vnd.learnmech.live+json"
DIGITS = 5
"""Significant digits of the numbers in it."""

_MOST_POINTS = 60
_MOST_VALUES = 12
_MOST_BYTES = 60_000
_MARGIN = 0.04
_SHORT_AXIS = 50.0  # over a longer one, numbers at twos and fives would touch


@dataclass(frozen=True)
class Curve:
    """A prediction: a line."""

    x: ArrayLike
    """Positions, shape ``(T,)``."""
    y: ArrayLike
    """Prediction, shape ``(T,)``."""
    label: str = "theory"
    """Words for the legend; curves that share them are drawn alike and named once."""

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """Return what is drawn, by name."""
        return {"x": np.asarray(self.x, np.float64), "y": np.asarray(self.y, np.float64)}


@dataclass(frozen=True)
class Points:
    """A measurement: points, with bars from the smallest to the largest of several runs."""

    x: ArrayLike
    """Positions, shape ``(T,)``."""
    y: ArrayLike
    """One run, shape ``(T,)``, or one run per seed, shape ``(S, T)``: then points are means."""
    label: str = "training"
    """Words for the legend."""

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """Return what is drawn, by name; ``low`` and ``high`` only where there are several runs."""
        x, y = np.asarray(self.x, np.float64), np.asarray(self.y, np.float64)
        if y.ndim != 2:
            return {"x": x, "y": y}
        drawn = {"x": x, "y": y.mean(axis=0)}
        return drawn if len(y) == 1 else {**drawn, "low": y.min(axis=0), "high": y.max(axis=0)}


@dataclass(frozen=True)
class Frame:
    """What the figure shows for one value of the knob."""

    value: float
    """The knob's value; frames stand in increasing order."""
    label: str
    """The value in words, such as ``σ = 0.1``; a screen reader says it when the slider moves."""
    finding: str
    """One sentence, with a number from the data, that says what this frame shows."""
    theory: Sequence[Curve]
    measured: Sequence[Points]
    choice: str = ""
    """Value of the second knob, if the figure has one. Every choice has the same values."""

    def series(self) -> list[Curve | Points]:
        """Return the curves and then the points."""
        return [*self.theory, *self.measured]


@dataclass(frozen=True)
class Axis:
    """One axis, the same for all frames, so that the eye sees what changes."""

    label: str
    scale: str = "linear"
    """``linear`` or ``log``."""
    limits: tuple[float, float] | None = None
    """Ends of the axis; without them all that is plotted fits."""
    ticks: Sequence[float] = ()
    """Places of the numbers on a logarithmic axis; without them powers of ten, and twos and fives
    where there is room."""


@dataclass(frozen=True)
class LiveFigure:
    """All frames of a live figure and the axes they share.

    Raises:
        ClaimError: for fewer than two values of the knob, a value that is given twice or out of
            order, missing words, formulas in words, or numbers that do not fit together.
    """

    name: str
    """The name other pages refer to, ``fig-<chapter>-<name>``."""
    knob: str
    """What the slider changes, in words."""
    frames: Sequence[Frame]
    x: Axis
    y: Axis
    choice: str = ""
    """What the second knob changes, in words; empty if there is none."""

    def __post_init__(self) -> None:
        for problem in (*self._word_problems(), *self._frame_problems(), *self._number_problems()):
            raise ClaimError(f"live figure '{self.name}': {problem}")

    def by_choice(self) -> dict[str, list[Frame]]:
        """Return the frames by the value of the second knob, in the order given."""
        found: dict[str, list[Frame]] = {}
        for frame in self.frames:
            found.setdefault(frame.choice, []).append(frame)
        return found

    def _word_problems(self) -> Iterator[str]:
        words = {"the knob": self.knob, "the x axis": self.x.label, "the y axis": self.y.label}
        for frame in self.frames:
            where = f"the frame at {frame.value:g}"
            words |= {f"{where} (label)": frame.label, f"{where} (finding)": frame.finding}
            for series in frame.series():
                words[f"{where} (series '{series.label}')"] = series.label
        if self.choice:
            words["the second knob"] = self.choice
        for where, text in words.items():
            if not text.strip():
                yield f"{where} has no words; a reader who cannot see the plot needs them"
            elif "$" in text:
                yield f"{where} holds a formula, '{text}'; write letters such as σ instead"
        for axis in (self.x, self.y):
            if axis.scale not in ("linear", "log"):
                yield f"a scale is linear or log, not '{axis.scale}'"

    def _frame_problems(self) -> Iterator[str]:
        groups = self.by_choice()
        for choice, frames in groups.items():
            values = [frame.value for frame in frames]
            where = f" for '{choice}'" if choice else ""
            if not 2 <= len(values) <= _MOST_VALUES:
                yield f"give 2 to {_MOST_VALUES} values of the knob{where}, got {len(values)}"
            if not np.isfinite(values).all():
                yield f"a value of the knob{where} is not finite"
            if any(b <= a for a, b in pairwise(values)):
                yield f"the values of the knob must increase{where}, got {values}"
        if bool(self.choice) != all(groups) or (self.choice and len(groups) < 2):
            yield "a second knob has a name, and two or more choices that every frame names"
        if len({tuple(frame.value for frame in frames) for frames in groups.values()}) > 1:
            yield "every choice must have the same values of the knob"
        for frame in self.frames:
            if not frame.theory or not frame.measured:
                yield f"the frame at {frame.value:g} must show theory and measurement together"
            labels = [curve.label for curve in frame.theory]
            if len(set(labels)) < len(labels) != len(frame.measured):
                yield (
                    f"the frame at {frame.value:g} has curves of one label; give each its own, "
                    "or as many points as curves"
                )

    def _number_problems(self) -> Iterator[str]:
        for frame, series in self.series():
            where = f"'{series.label}' in the frame at {frame.value:g}"
            drawn = series.arrays()
            shapes = {values.shape for values in drawn.values()}
            if len(shapes) > 1 or drawn["x"].ndim != 1 or drawn["x"].size == 0:
                yield f"{where}: x and y have shapes {np.shape(series.x)} and {np.shape(series.y)}"
                continue
            if drawn["x"].size > _MOST_POINTS:
                yield f"{where} has {drawn['x'].size} points; thin it to {_MOST_POINTS} or fewer"
            for key, values in drawn.items():
                axis = self.x if key == "x" else self.y
                if not np.isfinite(values).all():
                    yield f"{where}: {key} holds NaN or infinity; plot finite numbers only"
                elif axis.scale == "log" and (values <= 0).any():
                    yield f"{where}: {key} is not positive, and its axis is logarithmic"

    def series(self) -> Iterator[tuple[Frame, Curve | Points]]:
        """Yield every curve and every set of points with its frame."""
        for frame in self.frames:
            for series in frame.series():
                yield frame, series

    def limits(self, which: str) -> tuple[float, float]:
        """Return the ends of the ``x`` or ``y`` axis: those given, or all frames and a margin."""
        axis = self.x if which == "x" else self.y
        if axis.limits is not None:
            return axis.limits
        keys = ("x",) if which == "x" else ("y", "low", "high")
        drawn = [series.arrays() for _, series in self.series()]
        values = np.concatenate([found[key] for found in drawn for key in keys if key in found])
        ends = np.array([values.min(), values.max()])
        if axis.scale == "log":
            ends = np.log10(ends)
        margin = _MARGIN * (np.ptp(ends) or 1.0)
        low, high = ends[0] - margin, ends[1] + margin
        return (10.0**low, 10.0**high) if axis.scale == "log" else (float(low), float(high))

    def ticks(self, which: str) -> list[float]:
        """Return where a logarithmic axis has numbers; nothing for a linear one."""
        axis = self.x if which == "x" else self.y
        if axis.scale != "log":
            return []
        low, high = self.limits(which)
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        steps = (1, 2, 5) if high / low < _SHORT_AXIS else (1,)
        places = axis.ticks or [a * 10.0**b for b in range(first, last + 1) for a in steps]
        return [float(f"{tick:g}") for tick in places if low <= tick <= high]

    def payload(self) -> dict[str, Any]:
        """Return the frames as they stand in the notebook: words, and numbers as text.

        Raises:
            ClaimError: if they are too many for a page.
        """
        axes = {
            which: {
                "label": axis.label,
                "scale": axis.scale,
                "limits": _text(self.limits(which)),
                "ticks": _text(self.ticks(which)),
            }
            for which, axis in (("x", self.x), ("y", self.y))
        }
        frames = [
            {
                "value": _text([frame.value]),
                "choice": frame.choice,
                "label": frame.label,
                "finding": frame.finding,
                "theory": [_series_payload(curve) for curve in frame.theory],
                "measured": [_series_payload(points) for points in frame.measured],
            }
            for frame in self.frames
        ]
        size = len(json.dumps(frames))
        if size > _MOST_BYTES:
            raise ClaimError(
                f"live figure '{self.name}': its frames are {size} bytes of text, and a page "
                f"carries {_MOST_BYTES}; give fewer frames, or fewer points in each"
            )
        words = {"name": self.name, "knob": self.knob, "choice": self.choice}
        return {**words, **axes, "frames": frames}


def _text(values: ArrayLike) -> str:
    return " ".join(f"{value:.{DIGITS}g}" for value in np.asarray(values, np.float64).ravel())


def _series_payload(series: Curve | Points) -> dict[str, str]:
    return {"label": series.label, **{key: _text(v) for key, v in series.arrays().items()}}
