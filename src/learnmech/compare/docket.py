"""A docket: predictions frozen before training, and what they are later held against.

:class:`Docket` keeps the frozen predictions of one chapter and judges claims, limits, checks and
observations; :class:`learnmech.compare.chapter.Chapter` adds seeds, figures and the ledger file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learnmech.compare.bibliography import require_sources
from learnmech.compare.judging import (
    Array,
    judge_claim,
    judge_limit,
    require_number,
    require_words,
)
from learnmech.compare.ledger import BREAKS, FAILS, HOLDS, OBSERVED, Ledger
from learnmech.compare.measures import ClaimError, Measure
from learnmech.numerics.arrays import ArrayLike

__all__ = ["FED", "SLUG", "ClaimFailed", "Docket"]

FED = {
    "setting": "the setting alone",
    "initial state": "the setting and the run's own initial weights, data or kernel",
    "counterfactual run": "another run, such as a gradient-flow run for gradient descent",
    "same run": "something measured in the run it is held against",
}
"""What a prediction may have been given, best grade first."""

SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

_LEAST_LIMIT_FACTOR = 3.0
_LARGEST_TOLERANCE_FACTOR = 2.0


class ClaimFailed(AssertionError):
    """A verdict is ``fails``: theory and practice are further apart than the tolerance."""


class Docket:
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

    def claim(
        self,
        identifier: str,
        statement: str,
        *,
        prediction: str,
        measured: ArrayLike,
        measure: Measure,
        tolerance: float,
        error: float,
        because: str,
        sources: Sequence[str],
        seeds: Sequence[int] = (),
        statistic: str = "worst",
        technical_name: str = "",
        fitted_parameters: int = 0,
        figure: str | None = None,
    ) -> None:
        """Hold a frozen prediction against a measurement and print the verdict.

        Args:
            identifier: short name, lower case with hyphens.
            statement: a plain sentence that a newcomer understands.
            prediction: name of a frozen prediction.
            measured: the same number or curve from a real run. With several seeds its first axis
                is the seeds; a prediction fed by initial states has that axis too.
            measure: how the two are compared, from :mod:`learnmech.compare.measures`.
            tolerance: largest discrepancy at which the claim holds; at most twice ``error``.
            error: the computed or cited error that sets the tolerance, in units of the measure:
                Monte-Carlo error, a finite-size correction, a discretisation error.
            because: what that error is and how it was computed, in words.
            sources: keys of the bibliography.
            seeds: the seeds the measurement depends on; empty for something deterministic.
            statistic: what is claimed over seeds: ``worst`` (every seed), ``mean`` or ``median``.
            technical_name: the field's own name for the phenomenon.
            fitted_parameters: how many numbers of the prediction were fitted to the measurement.
            figure: name of the figure whose data file shows the curves, if these are curves.

        Raises:
            ClaimError: if the claim cannot be judged (missing words, NaN, shapes, sources).
            ClaimFailed: if the discrepancy exceeds the tolerance.
        """
        where = self._open_entry("claim", identifier, statement, because, sources)
        require_number(where, "tolerance", tolerance)
        require_number(where, "error", error)
        if tolerance > _LARGEST_TOLERANCE_FACTOR * error * (1 + 1e-9):
            raise ClaimError(
                f"{where}: the tolerance {tolerance:.3g} is more than twice the error "
                f"{error:.3g} that sets it; a tolerance follows from its reason"
            )
        predicted, fed = self._prediction(where, prediction)
        judged = judge_claim(
            where, predicted, measured, measure, seeds=tuple(seeds), statistic=statistic
        )
        if figure is None and (judged.theory is None or judged.measured is None):
            raise ClaimError(
                f"{where}: this is a claim about a curve; name the figure that shows it with "
                "figure='...'"
            )
        verdict = HOLDS if judged.discrepancy <= tolerance else FAILS
        self._record(
            identifier,
            statement,
            technical_name,
            sources,
            kind="claim",
            theory=judged.theory if judged.theory is not None else self._data_file(figure),
            measured=judged.measured if judged.measured is not None else self._data_file(figure),
            standard_error=judged.standard_error,
            discrepancy=judged.discrepancy,
            measure=f"{measure.name}{judged.over_seeds}",
            tolerance=float(tolerance),
            error=float(error),
            because=because,
            fitted_parameters=int(fitted_parameters),
            fed=fed,
            seeds=_recorded_seeds(seeds),
            verdict=verdict,
        )
        self._announce(
            verdict,
            identifier,
            f"discrepancy {judged.discrepancy:.2g}, tolerance {tolerance:.2g} "
            f"({measure.name}{judged.over_seeds})",
        )

    def limit(
        self,
        identifier: str,
        statement: str,
        *,
        limits: str,
        prediction: str,
        measured: ArrayLike,
        measure: Measure,
        knob: tuple[str, ArrayLike],
        bound: float,
        because: str,
        sources: Sequence[str],
        seeds: Sequence[int] = (),
        statistic: str = "mean",
        technical_name: str = "",
        failure: str | None = None,
        failure_tolerance: ArrayLike | None = None,
    ) -> None:
        """Show where a theory stops: its discrepancy grows along a knob and exceeds a bound.

        Args:
            identifier: short name, lower case with hyphens.
            statement: a plain sentence that a newcomer understands.
            limits: identifier of the claim whose regime is left.
            prediction: name of the frozen prediction that should fail; its first axis may be the
                knob, otherwise it is the same at every setting of the knob.
            measured: measurements, first axis the knob, second the seeds if there are several.
            measure: how the two are compared at each setting of the knob.
            knob: its name and its values, at least three, spanning a factor of ten or from zero.
            bound: least discrepancy at the far end; at least three times the claim's tolerance.
            because: why this bound.
            sources: keys of the bibliography.
            seeds: the seeds the measurement depends on.
            statistic: how the discrepancies of the seeds become one: ``mean``, ``median`` or
                ``worst``.
            technical_name: the field's own name.
            failure: name of a frozen prediction of the discrepancy at each setting of the knob,
                shape ``(knob,)``, or of the exponent with which it grows, shape ``()``.
            failure_tolerance: largest relative error of the predicted discrepancies, one for all
                settings or one for each, or largest difference of the exponent.

        Raises:
            ClaimError: if the limit cannot be judged.
            ClaimFailed: if the theory does not fail as predicted.
        """
        where = self._open_entry("limit", identifier, statement, because, sources)
        require_number(where, "bound", bound)
        predicted, fed = self._prediction(where, prediction)
        predicted_failure = self._prediction(where, failure)[0] if failure is not None else None
        tolerance = self._limited_tolerance(where, limits, bound)
        judged = judge_limit(
            where,
            predicted,
            measured,
            measure,
            knob=knob,
            bound=bound,
            seeds=tuple(seeds),
            statistic=statistic,
            predicted_failure=predicted_failure,
            failure_tolerance=failure_tolerance,
        )
        verdict = BREAKS if not judged.objections else FAILS
        self._record(
            identifier,
            statement,
            technical_name,
            sources,
            kind="limit",
            limits=limits,
            knob={"name": knob[0], "values": judged.knob.tolist()},
            theory=judged.failure.theory if judged.failure else None,
            measured=judged.failure.measured if judged.failure else None,
            discrepancies=judged.discrepancies.tolist(),
            discrepancy=float(judged.discrepancies[-1]),
            measure=f"{measure.name}{judged.over_seeds}",
            tolerance=float(bound),
            because=because,
            failure_discrepancy=judged.failure.discrepancy if judged.failure else None,
            failure_tolerance=judged.failure.tolerance if judged.failure else None,
            fitted_parameters=0,
            fed=fed,
            seeds=_recorded_seeds(seeds),
            verdict=verdict,
        )
        grows = " to ".join(f"{d:.2g}" for d in judged.discrepancies[[0, -1]])
        self._announce(
            verdict,
            identifier,
            f"discrepancy {grows} along {knob[0]}, bound {bound:.2g} = "
            f"{bound / tolerance:.3g} x tolerance of {limits}"
            + (f"; {judged.failure.words}" if judged.failure else ""),
            "; ".join(judged.objections),
        )

    def _limited_tolerance(self, where: str, limits: str, bound: float) -> float:
        claims = {e["id"]: e["tolerance"] for e in self._entries if e["kind"] == "claim"}
        if limits not in claims:
            raise ClaimError(
                f"{where}: it limits '{limits}', which is no claim of this chapter so far "
                f"(claims: {', '.join(claims) or 'none'})"
            )
        tolerance = float(claims[limits])
        if bound < _LEAST_LIMIT_FACTOR * tolerance:
            raise ClaimError(
                f"{where}: the bound {bound:g} is less than three times the tolerance "
                f"{tolerance:g} of '{limits}'; turn the knob further"
            )
        return tolerance

    def check(
        self,
        identifier: str,
        statement: str,
        *,
        residual: ArrayLike,
        tolerance: float,
        because: str,
        sources: Sequence[str] = (),
        technical_name: str = "",
    ) -> None:
        """Check an identity that must hold to rounding; it tests the machinery, not the theory.

        Args:
            identifier: short name, lower case with hyphens.
            statement: a plain sentence.
            residual: what should be zero; the largest absolute entry counts.
            tolerance: largest residual.
            because: where the rounding comes from.
            sources: keys of the bibliography.
            technical_name: the field's own name.

        Raises:
            ClaimError: if the check cannot be judged.
            ClaimFailed: if the residual exceeds the tolerance.
        """
        where = self._open_entry("check", identifier, statement, because, sources, cited=False)
        require_number(where, "tolerance", tolerance)
        values = np.asarray(residual, dtype=np.float64)
        if values.size == 0 or not np.isfinite(values).all():
            raise ClaimError(f"{where}: the residual is empty or holds NaN or infinity")
        size = float(np.max(np.abs(values)))
        verdict = HOLDS if size <= tolerance else FAILS
        self._record(
            identifier,
            statement,
            technical_name,
            sources,
            kind="check",
            tolerance=float(tolerance),
            because=because,
            verdict=verdict,
        )
        self._announce(
            verdict, identifier, f"identity to within {tolerance:g}", f"it is {size:.2g}"
        )

    def observe(
        self,
        identifier: str,
        statement: str,
        *,
        value: float,
        interval: tuple[float, float],
        because: str,
        sources: Sequence[str] = (),
        seeds: Sequence[int] = (),
        technical_name: str = "",
    ) -> None:
        """Record a measured fact for which there is no theory value.

        Args:
            identifier: short name, lower case with hyphens.
            statement: a plain sentence.
            value: the measured number.
            interval: what the number's uncertainty leaves open, low and high.
            because: what the interval is (for instance the range over seeds).
            sources: keys of the bibliography.
            seeds: the seeds the measurement depends on.
            technical_name: the field's own name.

        Raises:
            ClaimError: if a number is not finite or the interval does not hold the value.
        """
        where = self._open_entry(
            "observation", identifier, statement, because, sources, cited=False
        )
        low, high = (float(edge) for edge in interval)
        if not (np.isfinite([value, low, high]).all() and low <= value <= high):
            raise ClaimError(f"{where}: need low <= value <= high, got {low}, {value}, {high}")
        self._record(
            identifier,
            statement,
            technical_name,
            sources,
            kind="observation",
            measured=float(value),
            interval=[low, high],
            because=because,
            seeds=_recorded_seeds(seeds),
            verdict=OBSERVED,
        )
        self._announce(OBSERVED, identifier, f"{value:.3g} in [{low:.3g}, {high:.3g}]")

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
            raise ClaimError(f"{where}: name at least one source from book/references.bib")
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


def _recorded_seeds(seeds: Sequence[int]) -> list[int] | None:
    return [int(seed) for seed in seeds] or None
