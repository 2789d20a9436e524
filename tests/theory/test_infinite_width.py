"""Infinite-width kernels: digits against mpmath, the network they describe, and identities."""

import itertools
import json
import math
from pathlib import Path

import jaxtyping
import mpmath
import numpy as np
import pytest

from learnmech.theory.infinite_width import infinite_kernels

REFERENCE = Path(__file__).parents[2] / "benchmarks" / "reference" / "neural_tangents.json"
SETTINGS = [  # weight_std, bias_std, readout_weight_std
    (math.sqrt(2.0), 0.0, 1.0),
    (1.3, 0.2, 0.7),
    (3.0, 1e-3, 1.0),
    (0.5, 2.0, 1.0),
]
SEPARATIONS = (0.0, 1e-16, 1e-13, 1e-10, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-2)


def exact(x, y, *, activation, hidden_layers, weight_std, bias_std, readout_weight_std=1.0):
    """Both kernels of one pair by the textbook recursion in 120 digits.

    Independent: textbook arccosines and arcsines of correlations, in which no digit is lost that
    matters because 120 are carried; it shares no formula for differences with the package.
    """
    with mpmath.workdps(120):
        x, y = ([mpmath.mpf(float(v)) for v in row] for row in (x, y))
        bias, pi = mpmath.mpf(bias_std) ** 2, mpmath.pi
        stds = [mpmath.mpf(weight_std)] * hidden_layers + [mpmath.mpf(readout_weight_std)]

        def first(u, v):
            return stds[0] ** 2 * mpmath.fdot(u, v) / len(u) + bias

        a, b, c = first(x, x), first(y, y), first(x, y)
        ntk = c
        for std in stds[1:]:
            if activation == "relu":
                norms = mpmath.sqrt(a * b)
                cosine = max(min(c / norms, mpmath.mpf(1)), mpmath.mpf(-1)) if norms else 0
                angle = mpmath.acos(cosine)
                moment = norms / (2 * pi) * (mpmath.sin(angle) + (pi - angle) * cosine)
                slope, own = (pi - angle) / (2 * pi), [a / 2, b / 2]
            else:
                root = mpmath.sqrt((1 + 2 * a) * (1 + 2 * b))
                moment = 2 / pi * mpmath.asin(2 * c / root)
                slope = 4 / pi / mpmath.sqrt(root**2 - 4 * c**2)
                own = [2 / pi * mpmath.asin(2 * v / (1 + 2 * v)) for v in (a, b)]
            a, b, c = (std**2 * v + bias for v in (*own, moment))
            ntk = c + std**2 * slope * ntk
        return c, ntk


def hard_inputs(d):
    """Rows near, parallel to and opposite to row 0; two random ones, a tiny one and zeros."""
    rng = np.random.default_rng(d)
    base = rng.normal(size=(3, d))
    rows = [
        factor * base[0] + separation * rng.normal(size=d) / math.sqrt(d)
        for separation in SEPARATIONS
        for factor in (1.0, -1.0, 1.7, -0.3)
    ]
    return np.array([*base, *rows, 1e-9 * base[1], np.zeros(d)])


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("activation", ["relu", "erf"])
@pytest.mark.parametrize(("d", "hidden_layers"), [(1, 1), (2, 3), (5, 1), (40, 3)])
def test_every_digit_counts(d, hidden_layers, activation, setting) -> None:
    x = hard_inputs(d)
    names = ("weight_std", "bias_std", "readout_weight_std")
    options = dict(zip(names, setting, strict=True)) | {"hidden_layers": hidden_layers}
    kernels = infinite_kernels(x, activation=activation, **options)
    pairs = [(i, j) for i in (0, 3) for j in range(i, len(x))] + [(j, j) for j in range(len(x))]
    for i, j in pairs:
        wanted = exact(x[i], x[j], activation=activation, **options)
        for kernel, value in zip((kernels.nngp, kernels.ntk), wanted, strict=True):
            if abs(wanted[1]) < 1e-50:  # exactly opposite: both are zero, to a rounding squared
                assert abs(kernel[i, j]) < 1e-30
            else:
                assert abs(kernel[i, j] / value - 1) < 1e-12, (i, j)


def test_common_formula_loses_half_the_digits_where_ours_does_not() -> None:
    """The arccosine of a correlation, as in most code, on the diagonal and near it."""
    x = np.random.default_rng(0).normal(size=(30, 10))
    x = np.vstack([x, x + 1e-7])
    kernel = x @ x.T / 10
    norms = np.sqrt(kernel.diagonal())
    scale = np.outer(norms, norms)
    angle = np.arccos(np.clip(kernel / scale, -1.0, 1.0))
    nngp = scale / (2 * np.pi) * (np.sin(angle) + (np.pi - angle) * np.cos(angle))
    common = nngp + (np.pi - angle) / (2 * np.pi) * kernel
    options = {"activation": "relu", "hidden_layers": 1, "weight_std": 1.0, "bias_std": 0.0}
    ours = infinite_kernels(x, **options).ntk
    truth = np.array([float(exact(x[i], x[i + 30], **options)[1]) for i in range(30)])
    assert np.max(np.abs(np.diagonal(common, 30) / truth - 1)) > 1e-10
    np.testing.assert_allclose(np.diagonal(ours, 30), truth, rtol=1e-14)
    assert np.max(np.abs(common.diagonal() / kernel.diagonal() - 1)) > 1e-9
    np.testing.assert_allclose(ours.diagonal(), kernel.diagonal(), rtol=1e-14)


@pytest.mark.parametrize(
    ("weight_std", "bias_std", "hidden_layers"), [(3.0, 0.1, 20), (3.0, 0.0, 20), (30.0, 0.1, 3)]
)
def test_chaotic_layers_do_not_amplify_rounding(weight_std, bias_std, hidden_layers) -> None:
    """Twenty chaotic layers multiply an error of a squared distance by about 1.9 each."""
    rng = np.random.default_rng(2)
    base = rng.normal(size=8)
    near = [sign * base + s * rng.normal(size=8) for sign in (1, -1) for s in SEPARATIONS]
    options = {"weight_std": weight_std, "bias_std": bias_std, "hidden_layers": hidden_layers}
    kernels = infinite_kernels(base[None], np.array(near), activation="erf", **options)
    for j, row in enumerate(near):
        nngp, ntk = exact(base, row, activation="erf", **options)
        assert abs(kernels.nngp[0, j] / nngp - 1) < 1e-12
        assert abs(kernels.ntk[0, j] / ntk - 1) < 1e-12


@pytest.mark.parametrize("setting", json.loads(REFERENCE.read_text("utf-8"))["kernels"])
def test_agrees_with_neural_tangents(setting) -> None:
    """Another group's code, stored with its versions; its diagonal is good to about 1e-8."""
    stored = json.loads(REFERENCE.read_text("utf-8"))
    nngp, ntk = (np.array(setting[name]) for name in ("nngp", "ntk"))
    options = {name: value for name, value in setting.items() if name not in ("nngp", "ntk")}
    kernels = infinite_kernels(np.array(stored["inputs"]), **options)
    parallel = np.eye(len(nngp), dtype=bool)
    for group in ((0, 4, 5), (1, 6), (2, 7)):
        parallel[np.ix_(group, group)] = True
    for ours, theirs in ((kernels.nngp, nngp), (kernels.ntk, ntk)):
        scale = np.sqrt(np.outer(ours.diagonal(), ours.diagonal()))
        assert np.all(np.abs(ours - theirs)[parallel] <= 1e-7 * scale[parallel])
        assert np.all(np.abs(ours - theirs)[~parallel] <= 1e-12 * scale[~parallel])


@pytest.mark.parametrize("activation", ["relu", "erf", "linear"])
def test_wide_networks_have_these_kernels(activation) -> None:
    """Independent: random finite networks, gradients by the chain rule, averaged over draws.

    It is the definition itself, readout, biases and all. The mean differs from the limit by a
    term of order 1/width beside the standard error of the draws.
    """
    rng = np.random.default_rng(3)
    width, draws, std, bias, readout = 300, 400, 1.2, 0.4, 0.8
    x = np.array([[1.0, 0.2, -0.5], [0.9, 0.3, -0.4], [-1.0, 0.5, 0.2]])
    erf = np.vectorize(math.erf)
    phi, slope = {
        "relu": (lambda h: np.maximum(h, 0.0), lambda h: (h > 0.0) * 1.0),
        "erf": (erf, lambda h: 2.0 / math.sqrt(math.pi) * np.exp(-(h**2))),
        "linear": (lambda h: h, np.ones_like),
    }[activation]
    outputs, gradients = [], []
    for _ in range(draws):
        w1, w2, w3 = (rng.normal(size=s) for s in ((width, 3), (width, width), (1, width)))
        b1, b2, b3 = (rng.normal(size=s) for s in (width, width, 1))
        s1, s2, s3 = std / math.sqrt(3), std / math.sqrt(width), readout / math.sqrt(width)
        h1 = s1 * x @ w1.T + bias * b1
        h2 = s2 * phi(h1) @ w2.T + bias * b2
        outputs.append((s3 * phi(h2) @ w3.T + bias * b3)[:, 0])
        d2 = s3 * w3 * slope(h2)
        d1 = s2 * d2 @ w2 * slope(h1)
        ntk = bias**2 * np.ones((3, 3)) + s3**2 * phi(h2) @ phi(h2).T
        for delta, scale, below in ((d2, s2, phi(h1)), (d1, s1, x)):
            ntk += (delta @ delta.T) * (scale**2 * below @ below.T + bias**2)
        gradients.append(ntk)
    products = np.einsum("ti,tj->tij", outputs, outputs)
    kernels = infinite_kernels(
        x,
        activation=activation,
        hidden_layers=2,
        weight_std=std,
        bias_std=bias,
        readout_weight_std=readout,
    )
    for samples, kernel in ((products, kernels.nngp), (np.array(gradients), kernels.ntk)):
        error = samples.std(axis=0) / math.sqrt(draws)
        assert np.all(np.abs(samples.mean(axis=0) - kernel) < 4.0 * error + 2.0 / width)


@pytest.mark.parametrize("activation", ["relu", "erf", "linear"])
def test_tiles_symmetry_and_definiteness(activation) -> None:
    """More inputs than one tile holds: the same kernel whole, in parts, and against itself."""
    x = np.random.default_rng(4).normal(size=(300, 6))
    options = {"activation": activation, "hidden_layers": 2, "weight_std": 1.5, "bias_std": 0.3}
    whole = infinite_kernels(x, **options)
    against = infinite_kernels(x, x.copy(), **options)
    part = infinite_kernels(x[100:103], x[[299, 5]], **options)
    for name in ("nngp", "ntk"):
        kernel = getattr(whole, name)
        np.testing.assert_array_equal(kernel, kernel.T)
        np.testing.assert_allclose(getattr(against, name), kernel, rtol=1e-11, atol=1e-14)
        rows = kernel[100:103][:, [299, 5]]
        np.testing.assert_allclose(getattr(part, name), rows, rtol=1e-11, atol=1e-14)
        assert np.linalg.eigvalsh(kernel)[0] > -1e-12 * np.trace(kernel)
    # The NTK is the NNGP and something positive semi-definite.
    assert np.linalg.eigvalsh(whole.ntk - whole.nngp)[0] > -1e-12 * np.trace(whole.ntk)


def test_scaling_parity_and_linear_networks() -> None:
    x = np.random.default_rng(5).normal(size=(7, 4))
    relu = {"activation": "relu", "hidden_layers": 3, "weight_std": 1.4, "bias_std": 0.0}
    erf = relu | {"activation": "erf"}
    for name in ("nngp", "ntk"):
        one = getattr(infinite_kernels(x, **relu), name)
        for factor in (1e-140, 3.0, 1e140):
            scaled = getattr(infinite_kernels(factor * x, **relu), name)
            np.testing.assert_allclose(scaled / factor / factor, one, rtol=1e-13)
        odd = getattr(infinite_kernels(x, -x, **erf), name)
        np.testing.assert_array_equal(odd, -getattr(infinite_kernels(x, x.copy(), **erf), name))
    # Without an activation, L layers give the NNGP and L + 1 equal shares of the NTK.
    linear = infinite_kernels(x, **relu | {"activation": "linear"})
    gram = x @ x.T / 4 * 1.4**6
    np.testing.assert_allclose(linear.nngp, gram, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(linear.ntk, 4.0 * gram, rtol=1e-12, atol=1e-14)
    none = infinite_kernels(x, **relu | {"hidden_layers": 0}, readout_weight_std=0.5)
    np.testing.assert_allclose(none.ntk, x @ x.T / 16, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(none.ntk, none.nngp)


def test_at_the_critical_point_the_relu_ntk_counts_layers() -> None:
    """With weight variance two each layer keeps the norm, and adds one share on the diagonal."""
    x = np.ones((1, 9))
    for hidden_layers in (1, 2, 5, 50):
        kernels = infinite_kernels(
            x,
            activation="relu",
            hidden_layers=hidden_layers,
            weight_std=math.sqrt(2.0),
            bias_std=0.0,
            readout_weight_std=math.sqrt(2.0),
        )
        assert kernels.nngp.item() == pytest.approx(2.0, rel=1e-14)
        assert kernels.ntk.item() == pytest.approx(2.0 * (hidden_layers + 1), rel=1e-13)


@pytest.mark.parametrize("activation", ["relu", "erf", "linear"])
def test_zeros_and_single_inputs(activation) -> None:
    """At zero, only biases speak; without them both kernels vanish."""
    zeros, others = np.zeros((2, 3)), np.random.default_rng(6).normal(size=(4, 3))
    options = {"activation": activation, "hidden_layers": 2, "weight_std": 1.3}
    silent = infinite_kernels(zeros, others, bias_std=0.0, **options)
    assert not silent.nngp.any()
    assert not silent.ntk.any()
    alone = infinite_kernels(zeros, bias_std=0.5, **options)
    assert np.ptp(alone.ntk) <= 1e-15
    assert alone.ntk[0, 0] > alone.nngp[0, 0] > 0.25
    options["hidden_layers"] = 1
    line = infinite_kernels(np.array([[2.0]]), np.array([[-1.0], [4.0]]), bias_std=0.0, **options)
    assert line.nngp.shape == (1, 2)
    if activation == "relu":  # opposite halves of a line share no active unit
        assert not line.nngp[0, 0]
        assert line.nngp[0, 1] > 0.0


def test_dtype_and_inputs_are_kept() -> None:
    x = np.random.default_rng(7).normal(size=(5, 3)).astype(np.float32)
    before = x.copy()
    kernels = infinite_kernels(x, activation="relu", hidden_layers=1, weight_std=1.0, bias_std=0.1)
    assert kernels.nngp.dtype == kernels.ntk.dtype == np.float64
    np.testing.assert_array_equal(x, before)


def test_settings_in_single_precision_lose_no_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy would carry on in float32 with such a number, and the kernels with it."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for users
    x = np.random.default_rng(8).normal(size=(4, 3))
    settings = {"weight_std": 1.3, "bias_std": 0.4, "readout_weight_std": 0.7}
    single = {name: np.float32(value) for name, value in settings.items()}
    double = {name: float(value) for name, value in single.items()}
    options = {"activation": "relu", "hidden_layers": np.int64(2)}
    for name in ("nngp", "ntk"):
        kernels = [getattr(infinite_kernels(x, **options, **s), name) for s in (single, double)]
        np.testing.assert_array_equal(*kernels)


GOOD = {"activation": "relu", "hidden_layers": 1, "weight_std": 1.0, "bias_std": 0.0}
ONE = np.ones((2, 3))


@pytest.mark.parametrize(
    ("x1", "x2", "options", "message"),
    [
        (np.ones(3), None, {}, "x1 must be a matrix"),
        (np.ones((0, 3)), None, {}, "x1 must be a matrix"),
        (ONE, np.ones((2, 2)), {}, "x1 has 3 columns and x2 has 2"),
        (np.full((1, 1), np.nan), None, {}, "x1 holds NaN"),
        (ONE, np.full((1, 3), np.inf), {}, "x2 holds NaN or infinity"),
        (ONE, None, {"activation": "tanh"}, "activation must be one of .*erf.*linear.*relu"),
        (ONE, None, {"hidden_layers": -1}, "hidden_layers must be"),
        (ONE, None, {"hidden_layers": 2.0}, "hidden_layers must be a whole number"),
        (ONE, None, {"weight_std": 0.0}, "weight_std must be a finite positive"),
        (ONE, None, {"readout_weight_std": -1.0}, "readout_weight_std must be"),
        (ONE, None, {"bias_std": -0.1}, "bias_std must be"),
        (ONE, None, {"bias_std": math.nan}, "bias_std must be"),
        (1e200 * ONE, None, {}, "overflows double precision"),
        (ONE, None, {"bias_std": 1e200}, "overflows double precision"),
    ],
)
def test_refuses(x1, x2, options, message, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for users
    with pytest.raises(ValueError, match=message):
        infinite_kernels(x1, x2, **GOOD | options)


def test_closed_forms_are_the_gaussian_averages() -> None:
    """Independent: Gauss-Hermite quadrature of E phi(u) phi(v) over the first preactivations."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    z = np.array(list(itertools.product(nodes, nodes)))
    w = np.array([p * q for p, q in itertools.product(weights, weights)]) / (2.0 * np.pi)
    x = np.array([[0.3, -0.2], [0.1, 0.5]])
    covariance = 0.64 * x @ x.T / 2 + 0.09
    u, v = (z @ np.linalg.cholesky(covariance).T).T
    erf = np.vectorize(math.erf)
    moment = w @ (erf(u) * erf(v))
    slopes = w @ (4.0 / np.pi * np.exp(-(u**2) - v**2))
    kernels = infinite_kernels(x, activation="erf", hidden_layers=1, weight_std=0.8, bias_std=0.3)
    assert kernels.nngp[0, 1] == pytest.approx(moment + 0.09, rel=1e-12)
    wanted = moment + 0.09 + slopes * covariance[0, 1]
    assert kernels.ntk[0, 1] == pytest.approx(wanted, rel=1e-12)
