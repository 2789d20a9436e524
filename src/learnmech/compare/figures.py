"""Figures that carry their own proof: picture, hash, alt text, caption and every plotted number.

A figure is published as one output with two representations:

* ``image/png``: the picture, with its alt text in the output's metadata;
* ``application/vnd.learnmech.figure+json``: the picture's SHA-256, the tolerances under which a
  regenerated figure counts as the same, and all plotted numbers as text, one string a series.

A live figure has a third, the frames of its slider (:mod:`learnmech.compare.live`).

nbval by itself skips pictures. The plugin in the repository's ``conftest.py`` uses
:func:`figure_problems` instead: the stored picture must match its own hash on every machine, the
regenerated picture must have the same bytes on the same kind of machine, and the plotted numbers,
those in the frames included, must agree within the figure's ``rtol`` and ``atol_share`` everywhere.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import Collection, LineCollection, PathCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from learnmech.compare.agreement import live_problems, series_problem
from learnmech.compare.live import LIVE
from learnmech.compare.measures import ClaimError
from learnmech.numerics.arrays import ArrayLike

__all__ = ["MIME", "PublishedFigure", "figure_problems", "plotted_series", "publish"]

MIME = "application/vnd.learnmech.figure+json"

_DIGITS = 10
_SHORTEST_ALT = 30
_TOO_ALIKE = 0.9


def _numbers(values: ArrayLike, where: str) -> list[float]:
    flat = np.asarray(values, dtype=np.float64).ravel()
    if not np.isfinite(flat).all():
        raise ClaimError(f"{where} holds NaN or infinity; plot finite numbers only")
    return [float(f"{value:.{_DIGITS}g}") for value in flat]


def _collection_series(collection: Collection, where: str) -> Iterator[tuple[str, NDArray[Any]]]:
    if isinstance(collection, PathCollection):
        yield f"{where} positions", np.asarray(collection.get_offsets())
        values = collection.get_array()
        if values is not None:
            yield f"{where} values", np.asarray(values)
    elif isinstance(collection, LineCollection):
        segments = [np.asarray(part) for part in collection.get_segments()]
        if segments:
            yield f"{where} segments", np.concatenate(segments)
    else:
        values = collection.get_array()
        if values is not None:
            yield f"{where} values", np.asarray(values)
        else:
            outlines = [path.vertices for path in collection.get_paths()]
            if outlines:
                yield f"{where} outline", np.concatenate(outlines)


def _axes_series(axes: Axes, name: str) -> Iterator[tuple[str, NDArray[Any]]]:
    yield f"{name} x limits", np.asarray(axes.get_xlim())
    yield f"{name} y limits", np.asarray(axes.get_ylim())
    for index, line in enumerate(axes.get_lines()):
        where = f"{name} line {index}"
        yield f"{where} x", np.asarray(line.get_xdata(), dtype=np.float64)
        yield f"{where} y", np.asarray(line.get_ydata(), dtype=np.float64)
    for index, collection in enumerate(axes.collections):
        yield from _collection_series(collection, f"{name} collection {index}")
    boxes = [p for p in axes.patches if isinstance(p, Rectangle)]
    if boxes:
        corners = [(*p.get_xy(), p.get_width(), p.get_height()) for p in boxes]
        yield f"{name} bars", np.asarray(corners)
    for index, image in enumerate(axes.get_images()):
        yield f"{name} image {index}", np.asarray(image.get_array())


def plotted_series(drawing: Figure) -> dict[str, list[float]]:
    """Collect every plotted number of a figure, by the name of its series.

    Lines, points, error bars, bands, bars, images and the limits of the axes, to ten significant
    digits.

    Raises:
        ClaimError: if a plotted number is not finite, or nothing is plotted.
    """
    series: dict[str, list[float]] = {}
    for index, axes in enumerate(drawing.get_axes()):
        for name, values in _axes_series(axes, f"panel {index}"):
            series[name] = _numbers(values, name)
    if not any(values for name, values in series.items() if "limits" not in name):
        raise ClaimError("the figure is empty; plot the prediction and the measurement first")
    return series


def _words(drawing: Figure) -> list[str]:
    words = []
    for axes in drawing.get_axes():
        legend = axes.get_legend()
        labels = [text.get_text() for text in legend.get_texts()] if legend else []
        notes = [text.get_text() for text in axes.texts]
        words += [axes.get_title(), axes.get_xlabel(), axes.get_ylabel(), *labels, *notes]
        words += [axes.get_xscale(), axes.get_yscale()]
    return words


@dataclass(frozen=True)
class PublishedFigure:
    """A figure as it goes into the notebook and into ``book/_figures``."""

    png: bytes
    payload: dict[str, Any]
    """The JSON representation, as it stands in the notebook."""
    metadata: dict[str, Any]
    """Output metadata: alt text, caption and the name other pages refer to."""
    data_json: str
    """Text of the data file: name, caption, alt text and plotted numbers as JSON arrays."""
    live: dict[str, Any] | None = None
    """The frames of a live figure."""

    @property
    def bundle(self) -> dict[str, Any]:
        """Return the MIME bundle for IPython's ``display(..., raw=True)``."""
        bundle = {
            "image/png": base64.b64encode(self.png).decode("ascii"),
            MIME: self.payload,
            "text/plain": f"Figure: {self.metadata['learnmech']['alt']}",
        }
        return bundle if self.live is None else {**bundle, LIVE: self.live}


def _check_words(name: str, alt: str, caption: str) -> None:
    if not caption.strip():
        raise ClaimError(f"figure '{name}': give a caption, the sentence that stands below it")
    if not alt.strip():
        raise ClaimError(
            f"figure '{name}': give an alt text that states the finding, with numbers computed "
            "from the data, for readers who cannot see the picture"
        )
    if len(alt.strip()) < _SHORTEST_ALT:
        raise ClaimError(
            f"figure '{name}': the alt text is only {len(alt.strip())} characters long; say what "
            "is drawn and what it shows"
        )
    alike = SequenceMatcher(None, alt.strip().lower(), caption.strip().lower()).ratio()
    if alt.strip().lower() in caption.strip().lower() or alike > _TOO_ALIKE:
        raise ClaimError(
            f"figure '{name}': the alt text repeats the caption; the caption names the figure, "
            "the alt text says what a sighted reader sees in it"
        )


def publish(
    drawing: Figure,
    *,
    chapter: str,
    name: str,
    alt: str,
    caption: str,
    rtol: float,
    atol_share: float,
    live: dict[str, Any] | None = None,
) -> PublishedFigure:
    """Turn a drawing into a published figure and close it.

    Args:
        drawing: the Matplotlib figure.
        chapter: slug of the chapter; pages refer to the figure as ``fig-<chapter>-<name>``.
        name: short name, unique in the chapter.
        alt: the finding in words, with numbers; must not repeat the caption.
        caption: the sentence below the figure; MyST markdown.
        rtol: relative tolerance under which a regenerated number counts as the same.
        atol_share: absolute tolerance as a share of the plotted range of its series.
        live: the frames of a live figure.

    Raises:
        ClaimError: for missing words, or plotted numbers that are missing or not finite.
    """
    _check_words(name, alt, caption)
    if not (math.isfinite(rtol) and rtol >= 0 and math.isfinite(atol_share) and atol_share >= 0):
        raise ClaimError(f"figure '{name}': rtol and atol_share must be zero or positive")
    drawing.canvas.draw()
    series = plotted_series(drawing)
    buffer = io.BytesIO()
    drawing.savefig(buffer, format="png", metadata={"Software": None})
    png = buffer.getvalue()
    plt.close(drawing)
    words = _words(drawing)
    payload = {
        "sha256": hashlib.sha256(png).hexdigest(),
        "rtol": rtol,
        "atol_share": atol_share,
        "words": json.dumps(words, ensure_ascii=False),
        "series": {key: " ".join(map(repr, values)) for key, values in series.items()},
    }
    reference = f"fig-{chapter}-{name}"
    metadata = {
        "image/png": {"alt": alt},
        "learnmech": {"name": reference, "alt": alt, "caption": caption},
    }
    head = {"figure": reference, "caption": caption, "alt": alt, "rtol": rtol}
    rows = ",\n  ".join(
        f"{json.dumps(key)}: {json.dumps(values, separators=(',', ':'))}"
        for key, values in series.items()
    )
    words_json = json.dumps(head, indent=1, ensure_ascii=False)[:-2]
    data_json = f'{words_json},\n "series": {{\n  {rows}\n }}\n}}\n'
    return PublishedFigure(png, payload, metadata, data_json, live)


def stored_picture_problem(stored: dict[str, Any]) -> str | None:
    """Say whether a stored output's picture does not match its own hash."""
    picture = base64.b64decode("".join(stored["image/png"]))
    if hashlib.sha256(picture).hexdigest() != stored[MIME]["sha256"]:
        return (
            "image/png: the stored picture does not match its own sha256, so somebody changed it "
            "after it was drawn; run 'learnmech run'"
        )
    return None


def figure_problems(
    stored: dict[str, Any], fresh: dict[str, Any], *, same_machine: bool
) -> list[str]:
    """List how a regenerated figure output differs from the stored one; empty if it does not.

    Args:
        stored: MIME data of the output in the notebook.
        fresh: MIME data of the output just computed.
        same_machine: whether the pictures must agree byte for byte.
    """
    problem = stored_picture_problem(stored)
    problems = [problem] if problem else []
    old, new = stored[MIME], fresh[MIME]
    if old["words"] != new["words"]:
        problems.append(f"words in the figure: {old['words']} became {new['words']}")
    for key in ("rtol", "atol_share"):
        if old[key] != new[key]:
            problems.append(f"{key}: {old[key]} became {new[key]}")
    if old["series"].keys() != new["series"].keys():
        problems.append(f"series: {sorted(old['series'])} became {sorted(new['series'])}")
    else:
        found = (
            series_problem(name, text, new["series"][name], old["rtol"], old["atol_share"])
            for name, text in old["series"].items()
        )
        problems += [f"plotted numbers: {line}" for line in found if line]
    problems += live_problems(
        stored.get(LIVE, {}), fresh.get(LIVE, {}), old["rtol"], old["atol_share"]
    )
    if same_machine and not problems and old["sha256"] != new["sha256"]:
        problems.append("image/png: the regenerated picture has other bytes than the stored one")
    return problems
