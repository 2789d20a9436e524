"""What a chapter holds in memory: frozen predictions, and the entries of its ledger."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnmech.compare.bibliography import require_sources
from learnmech.compare.judging import Array, require_words
from learnmech.compare.ledger import FAILS, Ledger
from learnmech.compare.measures import ClaimError
from learnmech.numerics.arrays import ArrayLike
from learnmech.sentences import OneSentence

__all__ = ["FED", "SLUG", "ClaimFailed", "Entries"]

FED = {
    "setting": "the setting alone",
    "initial state": "the setting and the run's own initial weights, data or kernel",
    "counterfactual run": "another run, such as a gradient-flow run for gradient descent",
    "same run": "something measured in the run it is held against",
}
"""What a prediction may have been given, best grade first."""

SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class ClaimFailed(OneSentence, AssertionError):
    """A verdict is ``fails``: theory and practice are further apart than the tolerance."""


class Entries:
    """Predictions, verdicts and the ledger of one chapter, in memory.

    Args:
        slug: the chapter's name.
        pillar: the chapter's pillar.
        title: the chapter's title.
        root: the checkout whose bibliography counts, or None for the one in the package.
        keep_going: record a failing verdict and go on, instead of raising.
    """

    def __init__(
        self, slug: str, *, pillar: str, title: str, root: Path | None, keep_going: bool
    ) -> None:
        self.slug = slug
        self.pillar = pillar
        self.title = title
        self.root = root
        self._keep_going = keep_going
        self._closed = False
        self._predictions: dict[str, tuple[Array, str]] = {}
        self._entries: list[dict[str, Any]] = []

    @property
    def predictions(self) -> Mapping[str, NDArray[np.float64]]:
        """Return the frozen predictions by name."""
        return MappingProxyType({name: value for name, (value, _) in self._predictions.items()})

    def ledger(self) -> Ledger:
        """Return the chapter's ledger as it stands."""
        return Ledger(self.slug, self.pillar, self.title, tuple(self._entries))

    def predict(self, name: str, value: ArrayLike, *, fed: str) -> NDArray[np.float64]:
        """Freeze a prediction before anything is trained.

        Args:
            name: what claims will call it.
            value: a number or an array of any shape.
            fed: what it was given: ``setting``, ``initial state``, ``counterfactual run`` or
                ``same run``.

        Returns:
            The frozen value, read-only.

        Raises:
            ClaimError: for a name used before, an unknown ``fed``, or a value that is empty or
                not finite.
        """
        if name in self._predictions:
            raise ClaimError(
                f"the prediction '{name}' is already frozen; give the new one another name"
            )
        if fed not in FED:
            raise ClaimError(
                f"prediction '{name}': fed must be one of {', '.join(map(repr, FED))}, got {fed!r}"
            )
        frozen = np.array(value, dtype=np.float64)
        if frozen.size == 0 or not np.isfinite(frozen).all():
            raise ClaimError(
                f"prediction '{name}' is empty or holds NaN or infinity; a prediction is finite"
            )
        frozen.setflags(write=False)
        self._predictions[name] = (frozen, fed)
        return frozen

    def _prediction(self, where: str, name: str) -> tuple[Array, str]:
        if name not in self._predictions:
            known = ", ".join(map(repr, self._predictions)) or "none yet"
            raise ClaimError(
                f"{where}: no prediction called '{name}' was frozen (frozen: {known}); call "
                "chapter.predict before training"
            )
        return self._predictions[name]

    def _open_entry(
        self,
        kind: str,
        identifier: str,
        statement: str,
        because: str,
        sources: Sequence[str],
        *,
        cited: bool = True,
    ) -> str:
        where = f"{kind} '{identifier}'"
        if self._closed:
            raise ClaimError(f"{where}: the chapter is closed; move the call above chapter.close()")
        if not SLUG.fullmatch(identifier):
            raise ClaimError(f"{where}: an identifier is lower case with hyphens")
        if any(entry["id"] == identifier for entry in self._entries):
            raise ClaimError(f"{where}: the identifier is used already; choose another")
        require_words(where, statement=statement, because=because)
        if cited and not sources:
            raise ClaimError(f"{where}: name at least one source from references.bib")
        require_sources(tuple(sources), self.root, where)
        return where

    def _data_file(self, name: str | None) -> str | None:
        return f"book/_figures/{self.slug}/{name}.json" if name is not None else None

    def _record(
        self,
        identifier: str,
        statement: str,
        technical_name: str,
        sources: Sequence[str],
        **fields: Any,
    ) -> None:
        head = {
            "id": identifier,
            "statement": statement,
            "technical_name": technical_name,
            "sources": list(sources),
        }
        kept = {key: item for key, item in fields.items() if item is not None}
        self._entries.append({**head, **kept})

    def _announce(self, verdict: str, identifier: str, words: str, objection: str = "") -> None:
        print(f"{verdict}: {identifier}: {words}")
        if verdict == FAILS and not self._keep_going:
            raise ClaimFailed(
                f"{identifier} fails: {objection or words}. Find the reason and mend theory or "
                "experiment, or make it a limit; do not widen the tolerance."
            )
