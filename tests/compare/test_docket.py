"""Claims, limits, checks and observations: verdicts, and everything that must be refused."""

import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell

from learnmech.compare import (
    ClaimError,
    ClaimFailed,
    Docket,
    largest_deviation,
    relative_error,
    slope_difference,
)

WORDS = {"because": "the error of the Euler step is 1 %", "sources": ["saxe2014exact"]}
GRID = np.linspace(0, 1, 5)


@pytest.fixture
def docket():
    made = Docket("toy", pillar="own", title="Toy", root=None, keep_going=False)
    made.predict("two", 2.0, fed="setting")
    made.predict("line", GRID, fed="setting")
    return made


def claim(docket, name="it-is-two", **changes):
    words = {"prediction": "two", "measured": 2.02, "measure": relative_error(), "tolerance": 0.02}
    words = {**words, **WORDS, **changes}
    words = {"error": words["tolerance"] / 2 or 1.0, **words}
    docket.claim(name, "It is two.", **words)
    return entry(docket)["discrepancy"]


def entry(docket):
    return docket.ledger().claims[-1]


class TestClaims:
    def test_a_claim_within_its_tolerance_holds(self, docket, capsys):
        assert claim(docket) == pytest.approx(0.01)
        assert entry(docket)["verdict"] == "holds"
        assert capsys.readouterr().out == (
            "holds: it-is-two: discrepancy 0.01, tolerance 0.02 (largest relative error)\n"
        )

    def test_a_claim_out_of_tolerance_raises_and_says_not_to_widen_it(self, docket):
        with pytest.raises(ClaimFailed, match="do not widen the tolerance"):
            claim(docket, measured=2.1)
        assert entry(docket)["verdict"] == "fails"

    def test_jupyter_shows_a_failing_claim_as_its_sentence_alone(self, docket):
        shell = InteractiveShell()
        with pytest.raises(ClaimFailed) as caught:
            claim(docket, measured=2.1)
        shown = []
        shell._showtraceback = lambda kind, error, lines: shown.extend(lines)
        shell.showtraceback((caught.type, caught.value, caught.tb))
        assert " ".join(shown) == str(caught.value)

    def test_check_mode_records_the_failure_and_goes_on(self):
        docket = Docket("toy", pillar="own", title="Toy", root=None, keep_going=True)
        docket.predict("two", 2.0, fed="setting")
        claim(docket, measured=2.1)
        claim(docket, "still-two")
        assert [e["verdict"] for e in docket.ledger().claims] == ["fails", "holds"]

    def test_worst_takes_the_worst_seed_and_mean_the_mean(self, docket):
        runs = [1.9, 2.1, 2.0]
        seeds = [0, 1, 2]
        worst = claim(docket, "worst", measured=runs, seeds=seeds, tolerance=0.1)
        mean = claim(docket, "mean", measured=runs, seeds=seeds, statistic="mean")
        assert (worst, mean) == (pytest.approx(0.05), pytest.approx(0.0, abs=1e-12))
        assert entry(docket)["standard_error"] == pytest.approx(np.std(runs, ddof=1) / np.sqrt(3))

    def test_a_prediction_from_initial_states_has_one_value_a_seed(self, docket):
        docket.predict("each", [1.0, 2.0], fed="initial state")
        error = claim(docket, prediction="each", measured=[1.01, 2.02], seeds=[0, 1])
        assert error == pytest.approx(0.01)
        assert entry(docket)["fed"] == "initial state"

    def test_a_slope_has_a_standard_error(self, docket):
        x = np.array([1.0, 2.0, 4.0, 8.0])
        docket.predict("exponent", -1.0, fed="setting")
        measured = x**-1.0 * [1.01, 0.99, 1.01, 0.99]
        claim(docket, prediction="exponent", measured=measured, measure=slope_difference(x))
        assert entry(docket)["measured"] == pytest.approx(-1.0, abs=0.02)
        assert entry(docket)["standard_error"] > 0

    def test_a_curve_names_its_data_file(self, docket):
        claim(
            docket,
            prediction="line",
            measured=GRID + 0.01,
            measure=largest_deviation(1.0),
            figure="line",
        )
        assert entry(docket)["theory"] == "book/_figures/toy/line.json"

    def test_the_frozen_prediction_cannot_be_changed(self, docket):
        values = np.array([1.0, 2.0])
        frozen = docket.predict("copy", values, fed="setting")
        values[0] = 5.0
        assert docket.predictions["copy"][0] == 1.0
        with pytest.raises(ValueError, match="read-only"):
            frozen[0] = 5.0

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"prediction": "three"}, "no prediction called 'three'"),
            ({"tolerance": np.nan}, "tolerance must be a positive"),
            ({"tolerance": 0.0}, "tolerance must be a positive"),
            ({"measured": np.nan}, "NaN or infinity"),
            ({"measured": []}, "empty"),
            ({"measured": [2.0, 2.0], "seeds": [0, 1, 2]}, "must have length 3"),
            ({"prediction": "line", "measured": GRID[:3], "figure": "f"}, "same grid"),
            ({"error": 0.005}, "more than twice the error"),
            ({"error": np.nan}, "error must be a positive"),
            ({"because": " "}, "'because' is empty"),
            ({"sources": []}, "at least one source"),
            ({"sources": ["saxe2014exakt"]}, "did you mean saxe2014exact"),
            ({"statistic": "best"}, "worst, mean or median"),
            ({"name": "Not A Slug"}, "lower case"),
        ],
    )
    def test_what_cannot_be_judged_is_refused(self, docket, changes, words):
        with pytest.raises(ClaimError, match=words):
            claim(docket, **changes)
        assert not docket.ledger().claims

    def test_a_curve_without_a_figure_is_refused(self, docket):
        with pytest.raises(ClaimError, match="name the figure"):
            claim(docket, prediction="line", measured=GRID, measure=largest_deviation(1.0))

    def test_a_tolerance_has_no_default(self, docket):
        with pytest.raises(TypeError, match="tolerance"):
            docket.claim(
                "x", "X.", prediction="two", measured=2.0, measure=relative_error(), **WORDS
            )

    def test_identifiers_are_unique(self, docket):
        claim(docket)
        with pytest.raises(ClaimError, match="used already"):
            claim(docket)

    @pytest.mark.parametrize(
        ("name", "value", "fed", "words"),
        [
            ("two", 1.0, "setting", "already frozen"),
            ("new", np.nan, "setting", "NaN"),
            ("new", [], "setting", "empty"),
            ("new", 1.0, "guess", "fed must be one of"),
        ],
    )
    def test_bad_predictions_are_refused(self, docket, name, value, fed, words):
        with pytest.raises(ClaimError, match=words):
            docket.predict(name, value, fed=fed)


class TestLimits:
    KNOB = ("scale", [1.0, 10.0, 100.0])

    def limit(self, docket, **changes):
        claim(docket)
        words = {
            "limits": "it-is-two",
            "prediction": "two",
            "measured": [2.02, 2.2, 4.0],
            "measure": relative_error(),
            "knob": self.KNOB,
            "bound": 0.5,
        }
        docket.limit("not-two", "It stops being two.", **{**words, **WORDS, **changes})
        return entry(docket)["discrepancies"]

    def test_a_failure_that_grows_past_its_bound_is_met(self, docket):
        np.testing.assert_allclose(self.limit(docket), [0.01, 0.1, 1.0])
        assert entry(docket)["verdict"] == "breaks as predicted"

    def test_a_predicted_exponent_is_judged(self, docket):
        docket.predict("exponent", 1.0, fed="setting")
        self.limit(docket, failure="exponent", failure_tolerance=0.05)
        assert entry(docket)["measured"] == pytest.approx(1.0)

    def test_predicted_discrepancies_are_judged(self, docket):
        docket.predict("how-much", [0.01, 0.1, 0.9], fed="setting")
        self.limit(docket, failure="how-much", failure_tolerance=0.12)
        assert entry(docket)["failure_discrepancy"] == pytest.approx(1 / 9)

    def test_each_setting_may_have_its_own_failure_tolerance(self, docket):
        docket.predict("how-much", [0.01, 0.1, 0.9], fed="setting")
        self.limit(docket, failure="how-much", failure_tolerance=[0.01, 0.01, 0.12])
        assert entry(docket)["failure_tolerance"] == 0.12

    def test_a_setting_beyond_its_own_failure_tolerance_fails(self, docket):
        docket.predict("how-much", [0.01, 0.09, 0.9], fed="setting")
        with pytest.raises(ClaimFailed, match="not the predicted one"):
            self.limit(docket, failure="how-much", failure_tolerance=[0.01, 0.01, 0.12])

    def test_failure_tolerances_must_fit_the_settings(self, docket):
        docket.predict("how-much", [0.01, 0.1, 0.9], fed="setting")
        with pytest.raises(ClaimError, match="one for each of the 3 settings"):
            self.limit(docket, failure="how-much", failure_tolerance=[0.1, 0.1])

    def test_seeds_stand_on_the_second_axis(self, docket):
        runs = [[2.0, 2.04], [2.2, 2.2], [4.0, 4.0]]
        found = self.limit(docket, measured=runs, seeds=[0, 1])
        np.testing.assert_allclose(found, [0.01, 0.1, 1.0])

    @pytest.mark.parametrize(
        ("predicted", "expected"),
        [
            ([1.0, 2.0], [1.0, 1.0, 3.0]),
            ([1.0, 2.0, 4.0], [1.0, 1.0, 1.0]),
            ([[2.0, 2.0], [2.0, 2.0], [2.0, 2.0]], [0.0, 1.0, 3.0]),
        ],
        ids=["over seeds", "over settings", "over both"],
    )
    def test_a_prediction_may_run_over_seeds_or_settings_or_both(self, predicted, expected):
        """By hand: the larger relative error of two seeds, at each of three settings."""
        docket = Docket("toy", pillar="own", title="Toy", root=None, keep_going=True)
        docket.predict("two", 2.0, fed="setting")
        docket.predict("each", predicted, fed="initial state")
        runs = [[2.0, 2.0], [2.0, 4.0], [4.0, 8.0]]
        found = self.limit(
            docket, prediction="each", measured=runs, seeds=[0, 1], statistic="worst"
        )
        np.testing.assert_allclose(found, expected)

    def test_an_ambiguous_prediction_is_refused(self, docket):
        docket.predict("each", [1.0, 2.0, 3.0], fed="initial state")
        runs = np.ones((3, 3))
        with pytest.raises(ClaimError, match="give it both axes"):
            self.limit(docket, prediction="each", measured=runs, seeds=[0, 1, 2])

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"measured": [2.02, 2.2, 2.3]}, "does not exceed the bound"),
            ({"measured": [2.02, 4.5, 4.0]}, "does not grow"),
        ],
    )
    def test_a_theory_that_does_not_fail_fails_the_limit(self, docket, changes, words):
        with pytest.raises(ClaimFailed, match=words):
            self.limit(docket, **changes)

    def test_a_wrong_exponent_fails_the_limit(self, docket):
        docket.predict("exponent", 2.0, fed="setting")
        with pytest.raises(ClaimFailed, match=r"exponent 1\.00, predicted 2\.00"):
            self.limit(docket, failure="exponent", failure_tolerance=0.1)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"bound": 0.05}, "less than three times the tolerance"),
            ({"limits": "other"}, "no claim of this chapter"),
            ({"knob": ("scale", [1.0, 10.0])}, "3 settings or more"),
            ({"knob": ("scale", [1.0, 10.0, 5.0])}, "order the settings"),
            ({"knob": ("scale", [1.0, 2.0, 3.0, 4.0])}, "first axis has length 3"),
            ({"bound": np.inf}, "positive finite"),
        ],
    )
    def test_what_cannot_be_judged_is_refused(self, docket, changes, words):
        with pytest.raises(ClaimError, match=words):
            self.limit(docket, **changes)

    def test_a_predicted_failure_needs_a_tolerance(self, docket):
        docket.predict("exponent", 1.0, fed="setting")
        with pytest.raises(ClaimError, match="failure_tolerance"):
            self.limit(docket, failure="exponent")


class TestChecksAndObservations:
    def test_a_check_holds_to_rounding(self, docket, capsys):
        docket.check("zero", "It is zero.", residual=[1e-15, -2e-15], tolerance=1e-12, because="x")
        assert entry(docket)["kind"] == "check"
        assert "e-15" not in capsys.readouterr().out

    def test_a_check_out_of_rounding_fails(self, docket):
        with pytest.raises(ClaimFailed, match=r"1e-06"):
            docket.check("zero", "It is zero.", residual=1e-6, tolerance=1e-12, because="x")

    def test_a_check_of_nan_is_refused(self, docket):
        with pytest.raises(ClaimError, match="NaN"):
            docket.check("zero", "It is zero.", residual=np.nan, tolerance=1e-12, because="x")

    def test_an_observation_has_an_interval(self, docket):
        docket.observe("seen", "It was seen.", value=1.0, interval=(0.9, 1.2), because="seeds")
        assert entry(docket)["verdict"] == "observed"
        with pytest.raises(ClaimError, match="low <= value <= high"):
            docket.observe("odd", "Odd.", value=2.0, interval=(0.9, 1.2), because="seeds")
