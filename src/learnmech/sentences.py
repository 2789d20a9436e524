"""What is said to a person in one sentence: names that were meant, findings without a traceback."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterable

__all__ = ["OneSentence", "candidates"]

_COLUMNS = 88


class OneSentence:
    """Mixed into an exception, it makes Jupyter show the sentence and no traceback.

    The sentence comes in short lines, since nbgrader's feedback cuts long ones off.
    """

    def _render_traceback_(self) -> list[str]:
        return textwrap.wrap(str(self), _COLUMNS)


def candidates(name: str, known: Iterable[str]) -> str:
    """Return the known names nearest to one that is not known, or all of them, as half a sentence.

    Args:
        name: what was asked for.
        known: the names there are.

    Examples:
        >>> candidates("lazy", ["lazy-and-rich", "edge-of-stability"])
        'the nearest is: lazy-and-rich'
        >>> candidates("42", ["lazy-and-rich", "edge-of-stability"])
        'there are: lazy-and-rich, edge-of-stability'
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    if not near:
        return f"there are: {', '.join(known)}"
    return f"the nearest {'is' if len(near) == 1 else 'are'}: {', '.join(near)}"
