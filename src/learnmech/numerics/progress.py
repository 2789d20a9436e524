"""How far a long loop is: a loop says so where somebody asked, and else is what it always was.

A loop over ``tracked(items, words)`` sees the same items in the same order, so that no number can
depend on who watches. Nobody does until `watch` is called; then `tracked` returns the items
themselves, and costs one comparison a loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from operator import length_hint
from typing import Protocol, TypeVar, runtime_checkable

__all__ = ["Watcher", "counted", "tracked", "watch"]

T = TypeVar("T")


@runtime_checkable
class Watcher(Protocol):
    """Who is told of every loop, also of those inside another one."""

    def begin(self, words: str, total: int) -> None:
        """Take note that a loop begins, of so many rounds, or of 0 if nobody knows."""

    def advance(self) -> None:
        """Take note that a round of the innermost loop is over."""

    def end(self) -> None:
        """Take note that the innermost loop is over, or was left."""


_watchers: list[Watcher] = []  # at most one


def watch(watcher: Watcher | None) -> None:
    """Tell a watcher of all loops of this process from now on; None tells nobody."""
    _watchers[:] = [] if watcher is None else [watcher]


def tracked(items: Iterable[T], words: str) -> Iterable[T]:
    """Return the items, and tell who watches how many of them are done.

    >>> list(tracked(range(3), "counting"))
    [0, 1, 2]
    """
    return _told(items, words) if _watchers else items


def _told(items: Iterable[T], words: str) -> Iterator[T]:
    with counted(words, length_hint(items)) as advance:
        for item in items:
            yield item
            advance()


@contextmanager
def counted(words: str, total: int) -> Iterator[Callable[[], None]]:
    """Yield what to call after each round of something that is no loop over items."""
    if not _watchers:
        yield lambda: None
        return
    watcher = _watchers[0]
    watcher.begin(words, total)
    try:
        yield watcher.advance
    finally:
        watcher.end()
