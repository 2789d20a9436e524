"""The first step against plain NumPy networks, and its powers against the table of exponents."""

import numpy as np
import pytest

from learnmech.theory import infinite_kernels
from learnmech.theory.first_step import first_step, start_sharpness
from learnmech.theory.parametrizations import coordinate_slopes, width_exponents

GAINS = {"input": 2**0.5, "hidden": 2**0.5, "readout": 0.7}
SAMPLE = np.array([1.0, -0.5, 2.0, 0.3, -1.2])
KINDS = ("input", "hidden", "readout")
TABLES = [(name, opt) for name in ("standard", "ntk", "mup") for opt in ("sgd", "adam")]


def movements(step):
    return np.array([float(step.first), float(step.second), float(step.outputs)])


def one_step(rng, width, table, base, residual):
    """Return mean squares of the movements of one network: backpropagation written out in NumPy."""
    rows, scale = table.without_multipliers().rows, width / base
    shapes = [(width, SAMPLE.size), (width, width), (residual.size, width)]
    fan_in = [SAMPLE.size, base, base]
    w1, w2, w3 = (
        rng.standard_normal(shape) * GAINS[kind] / fan**0.5 * scale ** -rows[kind].initial_std
        for shape, kind, fan in zip(shapes, KINDS, fan_in, strict=True)
    )
    h1 = w1 @ SAMPLE
    h2 = w2 @ np.maximum(h1, 0)
    d2 = (w3.T @ residual) * (h2 > 0)
    d1 = (w2.T @ d2) * (h1 > 0)
    parts = [(d1, SAMPLE), (d2, np.maximum(h1, 0)), (residual, np.maximum(h2, 0))]
    rule = np.sign if table.optimizer == "adam" else np.asarray
    changes = [
        rule(np.outer(d, x)) * scale ** -rows[kind].learning_rate
        for (d, x), kind in zip(parts, KINDS, strict=True)
    ]
    m1 = changes[0] @ SAMPLE
    m2 = changes[1] @ np.maximum(h1, 0) + w2 @ (m1 * (h1 > 0))
    m3 = changes[2] @ np.maximum(h2, 0) + w3 @ (m2 * (h2 > 0))
    return np.array([(m**2).mean() for m in (m1, m2, m3)])


@pytest.mark.parametrize(("name", "optimizer"), TABLES)
def test_the_constants_are_those_of_networks_stepped_by_hand(name, optimizer):
    """The oracle draws networks and differentiates by hand; it knows no expectation."""
    table, width, base, count = width_exponents(name, optimizer), 400, 50, 60
    residual = np.array([0.9, -0.3, -0.6])
    rng = np.random.default_rng(1)
    squares = [one_step(rng, width, table, base, residual) for _ in range(count)]
    step = first_step(width, table, base_width=base, gains=GAINS, sample=SAMPLE, residuals=residual)
    measured = np.mean(squares, axis=0)
    error = np.std(squares, axis=0) / count**0.5 / measured + 10 / width
    assert (abs(measured / movements(step) ** 2 - 1) < 3 * error).all()


@pytest.mark.parametrize(("name", "optimizer"), TABLES)
def test_at_huge_width_the_powers_are_those_of_the_coordinate_check(name, optimizer):
    table = width_exponents(name, optimizer)
    options = {"base_width": 64, "gains": GAINS, "sample": SAMPLE, "residuals": np.array([1.0, -2])}
    at = [movements(first_step(n, table, **options)) for n in (10**10, 10**12)]
    assert np.log(at[1] / at[0]) / np.log(100) == pytest.approx(coordinate_slopes(table), abs=1e-3)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_all_parametrisations_agree_at_the_base_width(optimizer):
    options = {"base_width": 64, "gains": GAINS, "sample": SAMPLE, "residuals": np.ones(3)}
    first = movements(first_step(64, width_exponents("standard", optimizer), **options))
    other = movements(first_step(64, width_exponents("mup", optimizer), **options))
    assert other == pytest.approx(first, rel=1e-12)


def test_residuals_of_many_networks_are_taken_at_once():
    residuals = np.random.default_rng(0).standard_normal((4, 2, 3))
    table = width_exponents("standard", "adam")
    options = {"base_width": 8, "gains": GAINS, "sample": SAMPLE}
    together = first_step(16, table, residuals=residuals, **options)
    alone = first_step(16, table, residuals=residuals[2, 1], **options)
    assert together.outputs.shape == (4, 2)
    assert together.outputs[2, 1] == pytest.approx(float(alone.outputs), rel=1e-13)
    assert together.sampling == pytest.approx((10 / 16) ** 0.5)


def test_the_curvature_is_that_of_the_infinite_ntk():
    """At huge width the input layer's kernel is negligible in the standard parametrisation.

    What is left are the NNGP of the outputs and, behind the gates of the second layer, that of
    the first; both are read off `infinite_kernels`, which was written for another parametrisation.
    """
    x = np.random.default_rng(3).standard_normal((20, 6))
    gains = {"input": 2**0.5, "hidden": 2**0.5, "readout": 1.0}
    table = width_exponents("standard", "sgd")
    whole = infinite_kernels(x, activation="relu", hidden_layers=2, weight_std=2**0.5, bias_std=0.0)
    first = infinite_kernels(x, activation="relu", hidden_layers=1, weight_std=2**0.5, bias_std=0.0)
    wide = start_sharpness(x, 10**9, table, base_width=10**9, gains=gains) / 10**9
    below = 2 * first.nngp + 2 * (first.ntk - first.nngp)  # the NTK of h_2, gain two per layer
    gates = (whole.ntk - whole.nngp) / below
    kernel = whole.nngp + gates * first.nngp
    assert wide == pytest.approx(np.linalg.eigvalsh(kernel / 20)[-1], rel=1e-6)


def test_the_curvature_does_not_change_with_width_in_mup_and_grows_in_standard():
    x = np.random.default_rng(3).standard_normal((20, 6))
    options = {"base_width": 32, "gains": GAINS}
    mup = [start_sharpness(x, n, width_exponents("mup", "sgd"), **options) for n in (32, 4096)]
    assert mup[1] == pytest.approx(mup[0], rel=1e-12)
    standard = [
        start_sharpness(x, n, width_exponents("standard", "sgd"), **options)
        for n in (10**6, 2 * 10**6)
    ]
    assert standard[1] / standard[0] == pytest.approx(2.0, rel=1e-4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sample": np.zeros(3)}, "not zero"),
        ({"residuals": np.array(1.0)}, "residuals"),
        ({"gains": {"input": 1.0}}, "gain"),
        ({"gains": dict.fromkeys(KINDS, -1.0)}, "gain"),
        ({"base_width": 0}, "at least one"),
    ],
)
def test_a_step_that_cannot_be_predicted_is_refused(change, words):
    good = {"base_width": 8, "gains": GAINS, "sample": SAMPLE, "residuals": np.ones(2)}
    with pytest.raises(ValueError, match=words):
        first_step(8, width_exponents("mup", "sgd"), **{**good, **change})


def test_a_curvature_that_cannot_be_predicted_is_refused():
    options = {"base_width": 8, "gains": GAINS}
    with pytest.raises(ValueError, match="rows of zeros"):
        start_sharpness(np.zeros((2, 3)), 8, width_exponents("mup", "sgd"), **options)
    with pytest.raises(ValueError, match="SGD"):
        start_sharpness(np.ones((2, 3)), 8, width_exponents("mup", "adam"), **options)
