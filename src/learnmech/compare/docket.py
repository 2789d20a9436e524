"""A docket: what a chapter's frozen predictions are later held against.

:class:`Docket` judges claims, limits, checks and observations and enters them in the ledger;
:class:`learnmech.compare.chapter.Chapter` adds seeds, figures and the ledger's file.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from learnmech.compare.entries import Entries
from learnmech.compare.judging import judge_claim, judge_limit, require_number
from learnmech.compare.ledger import BREAKS, FAILS, HOLDS, OBSERVED
from learnmech.compare.measures import ClaimError, Measure
from learnmech.numerics.arrays import ArrayLike

__all__ = ["Docket"]

_LEAST_LIMIT_FACTOR = 3.0
_LARGEST_TOLERANCE_FACTOR = 2.0


class Docket(Entries):
    """Predictions and verdicts of one chapter: claims, limits, checks and observations.

    Made with the arguments of `Entries`, from which it inherits seeds, generators and predictions.
    """

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


def _recorded_seeds(seeds: Sequence[int]) -> list[int] | None:
    return [int(seed) for seed in seeds] or None
