"""The parts of a page that a live figure adds to its picture, as HTML.

* :func:`controls_html`: the plot's place, a native slider with its label, the finding as a status
  that screen readers read out, and the frames for the script. It is hidden until the script has
  drawn the plot, which then takes the picture's place.
* :func:`numbers_html`: all frames as tables, folded, which need no script.
"""

from __future__ import annotations

import json
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["controls_html", "numbers_html"]

_MOST_ROWS = 12


def controls_html(live: dict[str, Any]) -> str:
    """Return the slider, the plot's place and the frames, from :data:`~.live.LIVE`."""
    name, first = escape(live["name"]), live["frames"][0]
    choices = list(dict.fromkeys(frame["choice"] for frame in live["frames"]))
    last = sum(frame["choice"] == choices[0] for frame in live["frames"]) - 1
    parts = [
        f'<div class="lm-live" id="{name}-live" hidden>',
        f'<div class="lm-live-plot" role="img" aria-label="{escape(first["finding"])}"></div>',
        '<div class="lm-live-knobs">',
        f'<label for="{name}-knob">{escape(live["knob"])}</label>',
        f'<input type="range" id="{name}-knob" min="0" max="{last}" step="1" value="0" '
        f'autocomplete="off" aria-valuetext="{escape(first["label"])}">',
        f'<span class="lm-live-value" aria-hidden="true">{escape(first["label"])}</span>',
    ]
    if live["choice"]:
        options = "".join(f"<option>{escape(choice)}</option>" for choice in choices)
        parts += [
            f'<label for="{name}-choice">{escape(live["choice"])}</label>',
            f'<select id="{name}-choice" autocomplete="off">{options}</select>',
        ]
    data = json.dumps(live, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    parts += [
        "</div>",
        f'<p class="lm-live-finding" role="status">{escape(first["finding"])}</p>',
        f'<script type="application/json">{data}</script>',
        "</div>",
    ]
    return "".join(parts)


def numbers_html(live: dict[str, Any]) -> str:
    """Return the frames as folded tables: the measured points, and theory at the same places."""
    tables = "".join(_table(live, frame) for frame in live["frames"])
    name = escape(f"The numbers of {live['name']}")
    return (
        '<details class="lm-live-numbers"><summary>Show the numbers</summary>'
        f"<p>At up to {_MOST_ROWS} of the measured positions; theory is read off its line.</p>"
        f'<div class="lm-live-tables" tabindex="0" role="region" aria-label="{name}">'
        f"{tables}</div></details>"
    )


def _table(live: dict[str, Any], frame: dict[str, Any]) -> str:
    logs = (live["x"]["scale"] == "log", live["y"]["scale"] == "log")
    rows = _rows(frame)
    columns = []
    for kind, series in _columns(frame):
        numbers = {key: _numbers(text) for key, text in series.items() if key != "label"}
        cells = _theory(numbers, rows, logs) if kind == "theory" else _measured(numbers, rows)
        columns.append((series["label"], cells))
    heads = "".join(f'<th scope="col">{escape(label)}</th>' for label, _ in columns)
    body = "".join(
        f'<tr><th scope="row">{x:.3g}</th>'
        + "".join(f"<td>{cells[index]}</td>" for _, cells in columns)
        + "</tr>"
        for index, x in enumerate(rows)
    )
    words = ", ".join(word for word in (frame["choice"], frame["label"]) if word)
    return (
        f"<table><caption><span>{escape(words)}. {escape(frame['finding'])}</span></caption>"
        f'<thead><tr><th scope="col">{escape(live["x"]["label"])}</th>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )


def _numbers(text: str) -> NDArray[np.float64]:
    return np.array(text.split(), dtype=np.float64)


def _columns(frame: dict[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """Return the series in pairs, each curve before its points, where there are as many of both."""
    theory, measured = frame["theory"], frame["measured"]
    if len(theory) != len(measured):
        return [*(("theory", curve) for curve in theory), *(("measured", m) for m in measured)]
    several = len({curve["label"] for curve in theory}) < len(theory)
    pairs: list[tuple[str, dict[str, str]]] = []
    for curve, points in zip(theory, measured, strict=True):
        label = f"{curve['label']}, {points['label']}" if several else curve["label"]
        pairs += [("theory", {**curve, "label": label}), ("measured", points)]
    return pairs


def _rows(frame: dict[str, Any]) -> NDArray[np.float64]:
    """Return the positions of the rows: those measured, thinned evenly, and upright lines."""
    measured = np.unique(np.concatenate([_numbers(points["x"]) for points in frame["measured"]]))
    chosen = np.linspace(0, measured.size - 1, min(measured.size, _MOST_ROWS)).round().astype(int)
    curves = [_numbers(curve["x"]) for curve in frame["theory"]]
    upright = [x for x in curves if (np.diff(x) <= 0).any()]
    return np.unique(np.concatenate([measured[chosen], *upright]))


def _theory(
    curve: dict[str, NDArray[np.float64]], rows: NDArray[np.float64], logs: tuple[bool, bool]
) -> list[str]:
    x, y = curve["x"], curve["y"]
    if (np.diff(x) <= 0).any():
        return [_range(y[x == row]) for row in rows]
    bent_x, bent_rows = (np.log(x), np.log(rows)) if logs[0] else (x, rows)
    read = np.interp(bent_rows, bent_x, np.log(y) if logs[1] else y)
    values = np.exp(read) if logs[1] else read
    inside = (rows >= x[0]) & (rows <= x[-1])
    return [f"{value:.3g}" if known else "" for value, known in zip(values, inside, strict=True)]


def _range(values: NDArray[np.float64]) -> str:
    return f"{values.min():.3g} to {values.max():.3g}" if values.size else ""


def _measured(points: dict[str, NDArray[np.float64]], rows: NDArray[np.float64]) -> list[str]:
    cells = []
    for row in rows:
        at = points["x"] == row
        words = ", ".join(f"{value:.3g}" for value in points["y"][at])
        if words and "low" in points:
            words += f" ({points['low'][at].min():.3g} to {points['high'][at].max():.3g})"
        cells.append(words)
    return cells
