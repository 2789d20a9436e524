"""The table against its sources' other forms, and its calculus against a plain NumPy step."""

import itertools
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learnmech.numerics.scaling import KINDS, OPTIMIZERS, Exponents, WidthExponents
from learnmech.theory import parametrizations
from learnmech.theory.parametrizations import (
    PARAMETRIZATIONS,
    coordinate_slopes,
    stable_learning_rate_exponent,
    width_exponents,
)

ALL = list(itertools.product(PARAMETRIZATIONS, OPTIMIZERS))


def weights(table: WidthExponents) -> list[tuple[float, float, float]]:
    rows = [table.rows[kind] for kind in ("input", "hidden", "readout")]
    return [(row.multiplier, row.initial_std, row.learning_rate) for row in rows]


def test_the_docstring_shows_the_table() -> None:
    shown, name = {}, ""
    number = r"(-?\d(?:/\d)?)"
    pattern = re.compile(rf"^    (\S*) +(input|hidden|readout) +{' +'.join([number] * 4)}$", re.M)
    for title, kind, *cells in pattern.findall(parametrizations.__doc__ or ""):
        name = title or name
        shown[name, kind] = [float(Fraction(cell)) for cell in cells]
    assert len(shown) == 12
    for (name, kind), (a, b, c_sgd, c_adam) in shown.items():
        for optimizer, c in (("sgd", c_sgd), ("adam", c_adam)):
            assert width_exponents(name, optimizer).rows[kind] == Exponents(a, b, c)


@pytest.mark.parametrize(("name", "optimizer"), ALL)
def test_biases_are_input_weights_and_fixed_sizes_have_no_exponents(
    name: str, optimizer: str
) -> None:
    rows = width_exponents(name, optimizer).rows
    assert rows["bias"] == rows["input"]
    assert rows["fixed"] == Exponents(0.0, 0.0, 0.0)


# Tensor Programs IV, and Tables 8 and 9 of Tensor Programs V, as (a, b, c) for the three kinds;
# there variances are 1/fan_in (b = 1/2) or 1/fan_out, and learning rates fan_in (c = -1) and so on.
SGD_FORMS = {
    "IV": [(-0.5, 0.5, 0.0), (0.0, 0.5, 0.0), (0.5, 0.5, 0.0)],
    "V, table 8": [(0.0, 0.0, -1.0), (0.0, 0.5, 0.0), (1.0, 0.0, -1.0)],
    "V, table 9": [(-0.5, 0.5, 0.0), (0.0, 0.5, 0.0), (0.5, 0.5, 0.0)],
}
ADAM_FORMS = {
    "V, table 8": [(0.0, 0.0, 0.0), (0.0, 0.5, 1.0), (1.0, 0.0, 0.0)],
    "V, table 9": [(-0.5, 0.5, 0.5), (0.0, 0.5, 1.0), (0.5, 0.5, 0.5)],
}


@pytest.mark.parametrize(
    ("optimizer", "form"),
    [("sgd", form) for form in SGD_FORMS.values()]
    + [("adam", form) for form in ADAM_FORMS.values()],
)
def test_mup_is_a_shift_of_its_published_forms(
    optimizer: str, form: list[tuple[float, float, float]]
) -> None:
    ours = width_exponents("mup", optimizer)
    theta = {
        kind: a - ours.rows[kind].multiplier
        for kind, (a, _, _) in zip(("input", "hidden", "readout"), form, strict=True)
    }
    assert weights(ours.shifted(theta)) == form


def test_mean_field_is_mup_and_ntk_starts_as_standard() -> None:
    for optimizer in OPTIMIZERS:
        plain = {
            name: width_exponents(name, optimizer).without_multipliers().rows
            for name in PARAMETRIZATIONS
        }
        assert dict(plain["mean-field"]) == dict(plain["mup"])
        for kind in KINDS:
            assert plain["ntk"][kind].initial_std == plain["standard"][kind].initial_std


@given(
    st.sampled_from(ALL),
    st.dictionaries(st.sampled_from(KINDS), st.sampled_from([-1.5, -0.5, 0.25, 1.0, 2.0])),
)
@settings(max_examples=60, deadline=None)
def test_shifts_change_no_prediction_and_can_be_undone(
    which: tuple[str, str], theta: dict[str, float]
) -> None:
    table = width_exponents(*which)
    moved = table.shifted(theta)
    assert dict(moved.without_multipliers().rows) == dict(table.without_multipliers().rows)
    assert dict(moved.shifted({k: -v for k, v in theta.items()}).rows) == dict(table.rows)
    assert coordinate_slopes(moved) == coordinate_slopes(table)
    power = OPTIMIZERS[table.optimizer]
    for kind in KINDS:
        old, new = table.rows[kind], moved.rows[kind]
        assert new.multiplier + new.initial_std == old.multiplier + old.initial_std
        assert (
            new.learning_rate + power * new.multiplier == old.learning_rate + power * old.multiplier
        )


def test_slopes_derived_by_hand() -> None:
    expected = {
        ("standard", "sgd"): (-0.5, 0.5, 1.0),
        ("standard", "adam"): (0.0, 1.0, 1.5),
        ("ntk", "sgd"): (-0.5, -0.5, 0.0),
        ("ntk", "adam"): (-0.5, -0.5, 0.0),
    }
    for which in ALL:
        slopes = expected.get(which, (0.0, 0.0, 0.0))
        assert coordinate_slopes(width_exponents(*which)) == slopes
        deeper = coordinate_slopes(width_exponents(*which), hidden_layers=4)
        assert deeper == (slopes[0], slopes[1], slopes[1], slopes[1], slopes[2])


@pytest.mark.parametrize(("name", "optimizer"), [which for which in ALL if which[0] != "standard"])
@pytest.mark.parametrize("kind", ["input", "hidden", "readout"])
def test_no_layer_could_learn_faster_and_stay_stable(name: str, optimizer: str, kind: str) -> None:
    """In all but standard, any larger learning rate of one layer makes the outputs grow."""
    table = width_exponents(name, optimizer)
    a, b, c = (getattr(table.rows[kind], f) for f in ("multiplier", "initial_std", "learning_rate"))
    rows = {**table.rows, kind: Exponents(a, b, c - 0.25)}
    assert max(coordinate_slopes(WidthExponents("faster", optimizer, rows))) == 0.25


def one_step(table: WidthExponents, n: int, rng: np.random.Generator) -> np.ndarray:
    """Root mean square change of h1, h2 and f of a linear network after one tiny step.

    Independent: explicit multipliers, gradients written out by hand, no autograd, no torch.
    """
    d, outputs, samples = 6, 2, 5
    rows = [table.rows[kind] for kind in ("input", "hidden", "readout")]
    shapes = [(n, d), (n, n), (outputs, n)]
    multipliers = [n**-row.multiplier for row in rows]
    w = [
        n**-row.initial_std * rng.normal(size=shape)
        for row, shape in zip(rows, shapes, strict=True)
    ]
    x, y = rng.normal(size=(d, samples)), rng.normal(size=(outputs, samples))

    def forward(w: list[np.ndarray]) -> list[np.ndarray]:
        layers = [x]
        for weight, m in zip(w, multipliers, strict=True):
            layers.append(m * weight @ layers[-1])
        return layers

    layers = forward(w)
    delta = (layers[3] - y) / samples
    moved = []
    for i in (2, 1, 0):
        gradient = multipliers[i] * delta @ layers[i].T
        step = gradient if table.optimizer == "sgd" else np.sign(gradient)
        moved.insert(0, w[i] - 1e-7 * n ** -rows[i].learning_rate * step)
        delta = multipliers[i] * w[i].T @ delta
    after = forward(moved)
    return np.array([np.sqrt(np.mean((after[i] - layers[i]) ** 2)) for i in (1, 2, 3)])


@pytest.mark.parametrize(("name", "optimizer"), ALL)
def test_slopes_of_a_step_by_hand(name: str, optimizer: str) -> None:
    """Local slopes over a factor four at the wide end; three standard errors over seeds.

    The next term of the calculus is smaller by the root of the width, at most n^-1/2 = 0.04 here.
    """
    table = width_exponents(name, optimizer)
    rng = np.random.default_rng(7)
    changes = np.array([[one_step(table, n, rng) for n in (300, 1200)] for _ in range(10)])
    local = np.diff(np.log(changes), axis=1)[:, 0] / np.log(4.0)
    error = local.std(0, ddof=1) / 10**0.5
    assert np.all(error < 0.2)
    np.testing.assert_array_less(
        np.abs(local.mean(0) - coordinate_slopes(table)), 3 * error + 600**-0.5
    )


def test_stable_learning_rates() -> None:
    """Values of the literature: Haas et al. for SGD with either loss; Adam as derived."""
    assert stable_learning_rate_exponent(width_exponents("standard", "sgd")) == -1.0
    cross = {
        o: stable_learning_rate_exponent(width_exponents("standard", o), loss="cross-entropy")
        for o in OPTIMIZERS
    }
    assert cross == {"sgd": -0.5, "adam": -1.0}
    for name, optimizer in ALL:
        if name != "standard":
            assert stable_learning_rate_exponent(width_exponents(name, optimizer)) == 0.0


def test_tables_are_frozen_and_can_be_read() -> None:
    table = width_exponents("mup", "adam")
    with pytest.raises(TypeError, match="does not support item assignment"):
        table.rows["input"] = Exponents(0.0, 0.0, 0.0)
    lines = str(table).splitlines()
    assert lines[0] == "mup, adam: powers of 1/width"
    assert lines[3].split() == ["hidden", "0", "0.5", "1"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: width_exponents("muP", "sgd"), "no parametrisation is called 'muP'; choose from"),
        (lambda: width_exponents("mup", "lion"), "no exponents are known for 'lion'"),
        (lambda: WidthExponents("half", "sgd", {}), "exactly one row for each"),
        (
            lambda: width_exponents("mup", "sgd").shifted({"output": 1.0}),
            "no kind is called output",
        ),
        (
            lambda: coordinate_slopes(width_exponents("mup", "sgd"), hidden_layers=0),
            "at least one hidden layer",
        ),
        (
            lambda: coordinate_slopes(
                WidthExponents("big", "sgd", dict.fromkeys(KINDS, Exponents(0.0, 0.0, 0.0)))
            ),
            "features must start at order one",
        ),
        (
            lambda: stable_learning_rate_exponent(width_exponents("mup", "sgd"), loss="hinge"),
            "loss must be",
        ),
    ],
)
def test_refuses(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
