"""What to say of a name that does not exist: the ones that may have been meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["candidates"]


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
