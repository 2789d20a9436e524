"""The judgement itself: arrays in, discrepancy and objections out; no ledger, no printing.

With several seeds, the first axis of a claim's measurement is the seeds (for a limit: the first
axis is the knob, the second the seeds). A prediction either has the same axes, when it was fed by
each run's own initial state, or lacks them and is shared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learnmech.compare.measures import ClaimError, Measure
from learnmech.numerics import fit_power_law
from learnmech.numerics.arrays import ArrayLike

__all__ = [
    "Array",
    "JudgedClaim",
    "JudgedLimit",
    "judge_claim",
    "judge_limit",
    "require_number",
    "require_words",
]

Array = NDArray[np.float64]

_FEWEST_SETTINGS = 3
_REDUCE: dict[str, Callable[..., Array]] = {"worst": np.max, "mean": np.mean, "median": np.median}


@dataclass(frozen=True)
class JudgedClaim:
    """A discrepancy and the numbers behind it."""

    discrepancy: float
    theory: float | None
    """The predicted number, None for a curve."""
    measured: float | None
    """The measured number, None for a curve."""
    standard_error: float | None
    """Of the measured number: over seeds for a mean, of the fit for a slope."""
    over_seeds: str
    """Words such as ``, worst of 3 seeds``; empty for a single run."""


@dataclass(frozen=True)
class JudgedFailure:
    """How the failure itself compares with its prediction."""

    theory: float | list[float]
    """Predicted exponent, or predicted discrepancies along the knob."""
    measured: float | list[float]
    discrepancy: float
    """Difference of the exponents, or relative error at the setting nearest to its tolerance."""
    tolerance: float
    """What was allowed there."""
    words: str
    objection: str
    """Empty when the failure is the predicted one."""


@dataclass(frozen=True)
class JudgedLimit:
    """Discrepancies along a knob and what speaks against the limit."""

    knob: Array
    """(K,) settings of the knob."""
    discrepancies: Array
    """(K,) discrepancy at each setting."""
    objections: tuple[str, ...]
    """Empty when the theory breaks as predicted."""
    over_seeds: str
    failure: JudgedFailure | None
    """None when only the growth and the bound were predicted."""


def require_words(where: str, **words: str) -> None:
    """Raise :class:`ClaimError` for a missing sentence."""
    for name, text in words.items():
        if not text.strip():
            raise ClaimError(f"{where}: '{name}' is empty; say it in a sentence")


def require_number(where: str, name: str, value: float) -> None:
    """Raise :class:`ClaimError` unless the number is positive and finite."""
    if not (np.isfinite(value) and value > 0):
        raise ClaimError(f"{where}: the {name} must be a positive finite number, got {value}")


def _measurement(where: str, measured: ArrayLike) -> Array:
    values = np.asarray(measured, dtype=np.float64)
    if values.size == 0:
        raise ClaimError(f"{where}: the measurement is empty")
    if not np.isfinite(values).all():
        raise ClaimError(
            f"{where}: the measurement holds NaN or infinity; find out where the run broke"
        )
    return values


def _over_seeds(statistic: str, count: int) -> str:
    return f", {statistic} of {count} seeds" if count > 1 else ""


def _known_statistic(where: str, statistic: str) -> None:
    if statistic not in _REDUCE:
        raise ClaimError(f"{where}: statistic must be worst, mean or median, got {statistic!r}")


def _per_seed(where: str, predicted: Array, values: Array, measure: Measure, count: int) -> Array:
    """Return predictions with a leading seeds axis, shape ``(S, ...)``."""
    if values.ndim == 0 or len(values) != count:
        raise ClaimError(
            f"{where}: {count} seeds are named, so the measurement's first axis must have length "
            f"{count}; its shape is {values.shape}"
        )
    rest = () if measure.reduces_measurement else values.shape[1:]
    if predicted.shape == (count, *rest):
        return predicted
    if predicted.shape == rest:
        return np.broadcast_to(predicted, (count, *rest))
    raise ClaimError(
        f"{where}: the prediction has shape {predicted.shape}, the measurement has shape "
        f"{values.shape} for {count} seeds; give both on the same grid"
    )


def judge_claim(
    where: str,
    predicted: Array,
    measured: ArrayLike,
    measure: Measure,
    *,
    seeds: tuple[int, ...],
    statistic: str,
) -> JudgedClaim:
    """Hold a prediction against a measurement.

    Args:
        where: the claim's name, for error messages.
        predicted: frozen prediction.
        measured: measurement; with several seeds its first axis is the seeds.
        measure: how two arrays become one discrepancy.
        seeds: the seeds of the measurement.
        statistic: ``worst`` takes the largest discrepancy of any seed; ``mean`` and ``median``
            compare the mean or median measurement with the mean or median prediction.

    Raises:
        ClaimError: for numbers or shapes that cannot be judged.
    """
    _known_statistic(where, statistic)
    values = _measurement(where, measured)
    count = len(seeds)
    standard_error: float | None = None
    if count > 1:
        predictions = _per_seed(where, predicted, values, measure, count)
        if statistic == "worst":
            each = [measure(p, m) for p, m in zip(predictions, values, strict=True)]
            chosen = int(np.argmax(each))
            p, m, discrepancy = predictions[chosen], values[chosen], each[chosen]
        else:
            reduce = _REDUCE[statistic]
            p, m = reduce(predictions, axis=0), reduce(values, axis=0)
            discrepancy = measure(p, m)
            if statistic == "mean" and values.ndim == 1:
                standard_error = float(values.std(ddof=1) / np.sqrt(count))
        p, m = np.asarray(p), np.asarray(m)
    else:
        p, m = predicted, values
        discrepancy = measure(p, m)
    if measure.reduces_measurement is not None:
        number, standard_error = measure.reduces_measurement(m)
        m = np.asarray(number)
    return JudgedClaim(
        discrepancy=discrepancy,
        theory=float(p) if p.ndim == 0 else None,
        measured=float(m) if m.ndim == 0 else None,
        standard_error=standard_error,
        over_seeds=_over_seeds(statistic, count),
    )


def _knob_values(where: str, knob: tuple[str, ArrayLike], settings: int) -> Array:
    values = np.asarray(knob[1], dtype=np.float64)
    if values.ndim != 1 or len(values) < _FEWEST_SETTINGS:
        raise ClaimError(
            f"{where}: the knob '{knob[0]}' needs {_FEWEST_SETTINGS} settings or more in one list"
        )
    if len(values) != settings:
        raise ClaimError(
            f"{where}: the knob has {len(values)} settings, but the measurement's first axis has "
            f"length {settings}"
        )
    steps = np.diff(values)
    if not ((steps > 0).all() or (steps < 0).all()):
        raise ClaimError(
            f"{where}: order the settings of '{knob[0]}' from inside the regime to outside it"
        )
    return values


def _knob_predictions(
    where: str, predicted: Array, values: Array, measure: Measure, count: int
) -> list[Array]:
    """Return the prediction for each setting of the knob, each fit for one setting's seeds."""
    settings = len(values)
    seeds_axis = (count,) if count > 1 else ()
    rest = () if measure.reduces_measurement else values.shape[1 + len(seeds_axis) :]
    if predicted.shape == (settings, *seeds_axis, *rest):
        return [np.asarray(each) for each in predicted]
    if settings == count and predicted.shape == (settings, *rest):
        raise ClaimError(
            f"{where}: a prediction of shape {predicted.shape} could run over the {settings} "
            f"settings of the knob or over the {count} seeds; give it both axes"
        )
    if predicted.shape == (settings, *rest):
        return [np.asarray(each) for each in predicted]
    if predicted.shape in ((*seeds_axis, *rest), rest):
        return [predicted] * settings
    raise ClaimError(
        f"{where}: the prediction has shape {predicted.shape}, the measurement has shape "
        f"{values.shape} (settings of the knob, then {count} seeds); give both on the same grid"
    )


def _judge_failure(
    where: str,
    predicted: Array,
    knob: Array,
    discrepancies: Array,
    failure_tolerance: ArrayLike | None,
) -> JudgedFailure:
    if failure_tolerance is None:
        raise ClaimError(f"{where}: a predicted failure needs its failure_tolerance")
    allowed = np.asarray(failure_tolerance, dtype=np.float64)
    if allowed.shape not in ((), predicted.shape):
        raise ClaimError(
            f"{where}: give one failure_tolerance, or one for each of the {len(knob)} settings"
        )
    for number in allowed.ravel():
        require_number(where, "failure_tolerance", float(number))
    if predicted.ndim == 0:
        tolerance = float(allowed)
        try:
            slope = fit_power_law(knob, discrepancies).slope
        except ValueError as error:
            raise ClaimError(f"{where}: {error}") from None
        distance = abs(slope - float(predicted))
        words = f"exponent {slope:.2f}, predicted {float(predicted):.2f} +- {tolerance:.2g}"
        objection = "" if distance <= tolerance else f"it grows with {words}"
        return JudgedFailure(float(predicted), slope, distance, tolerance, words, objection)
    if predicted.shape != discrepancies.shape or not (predicted > 0).all():
        raise ClaimError(
            f"{where}: a predicted failure is one exponent, or one positive discrepancy for each "
            f"of the {len(discrepancies)} settings; got shape {predicted.shape}"
        )
    errors = np.abs(discrepancies - predicted) / predicted
    worst = int(np.argmax(errors / allowed))
    distance = float(errors[worst])
    tolerance = float(np.broadcast_to(allowed, errors.shape)[worst])
    words = f"as predicted to within {distance:.2g}, tolerance {tolerance:.2g}"
    objection = "" if distance <= tolerance else f"the failure is not the predicted one: {words}"
    return JudgedFailure(
        predicted.tolist(), discrepancies.tolist(), distance, tolerance, words, objection
    )


def judge_limit(
    where: str,
    predicted: Array,
    measured: ArrayLike,
    measure: Measure,
    *,
    knob: tuple[str, ArrayLike],
    bound: float,
    seeds: tuple[int, ...],
    statistic: str,
    predicted_failure: Array | None,
    failure_tolerance: ArrayLike | None,
) -> JudgedLimit:
    """Judge whether a theory fails outside its regime, more and more, and as predicted.

    Args:
        where: the limit's name, for error messages.
        predicted: the prediction that should fail.
        measured: measurement, first axis the knob, second the seeds if there are several.
        measure: how two arrays become one discrepancy.
        knob: name and settings of the knob.
        bound: what the discrepancy must exceed at the last setting.
        seeds: the seeds of the measurement.
        statistic: how the seeds' discrepancies become one.
        predicted_failure: an exponent, shape ``()``, or discrepancies, shape ``(K,)``.
        failure_tolerance: largest difference of the exponent, or largest relative error, one for
            all settings or one for each.

    Raises:
        ClaimError: for numbers or shapes that cannot be judged.
    """
    _known_statistic(where, statistic)
    values = _measurement(where, measured)
    if values.ndim == 0:
        raise ClaimError(f"{where}: the measurement's first axis must be the knob")
    settings = _knob_values(where, knob, len(values))
    count = len(seeds)
    predictions = _knob_predictions(where, predicted, values, measure, count)
    discrepancies = np.empty(len(values))
    for index, (p, m) in enumerate(zip(predictions, values, strict=True)):
        if count > 1:
            pairs = zip(_per_seed(where, p, m, measure, count), m, strict=True)
            each = [measure(ps, ms) for ps, ms in pairs]
            discrepancies[index] = _REDUCE[statistic](each)
        else:
            discrepancies[index] = measure(p, m)
    objections = []
    if not discrepancies[-1] > bound:
        objections.append(
            f"at {knob[0]} = {settings[-1]:g} the discrepancy {discrepancies[-1]:.3g} does not "
            f"exceed the bound {bound:g}"
        )
    if not (np.diff(discrepancies) > 0).all():
        steps = ", ".join(f"{d:.3g}" for d in discrepancies)
        objections.append(f"the discrepancy does not grow along {knob[0]}: {steps}")
    failure = None
    if predicted_failure is not None:
        failure = _judge_failure(
            where, predicted_failure, settings, discrepancies, failure_tolerance
        )
        objections += [failure.objection] if failure.objection else []
    return JudgedLimit(
        knob=settings,
        discrepancies=discrepancies,
        objections=tuple(objections),
        over_seeds=_over_seeds(statistic, count),
        failure=failure,
    )
