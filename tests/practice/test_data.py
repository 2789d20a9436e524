"""Data sets by name, against plain lines of NumPy and the laws they state."""

import inspect
import itertools

import jaxtyping
import numpy as np
import pytest
import torch
from sklearn import datasets

from learnmech.practice.data import Dataset, load, split
from learnmech.practice.data.loading import MAKERS

OFFLINE = {
    "breast-cancer": {},
    "diabetes": {},
    "digits": {},
    "gaussian": {"noise": 0.5},
    "hierarchy": {},
    "hypercube": {"samples": 7},
    "modular-addition": {"modulus": 5},
    "teacher": {},
    "teacher-student": {},
}
RANDOM = ["gaussian", "hierarchy", "hypercube", "teacher", "teacher-student"]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def close(actual: torch.Tensor, expected: np.ndarray, tolerance: float = 1e-12) -> None:
    np.testing.assert_allclose(actual.numpy(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", OFFLINE)
def test_every_set_has_the_dtype_asked_for_and_finite_rows(name: str, dtype: torch.dtype) -> None:
    data = load(name, generator=seeded(0), dtype=dtype, **OFFLINE[name])
    assert data.name == name
    assert data.inputs.dtype == data.targets.dtype == dtype
    assert len(data.inputs) == len(data.targets) > 0
    assert bool(data.inputs.isfinite().all())
    assert bool(data.targets.isfinite().all())
    if data.labels is not None:
        assert data.labels.dtype == torch.int64


def test_no_maker_is_left_out_here() -> None:
    assert set(MAKERS) == {*OFFLINE, "docstrings", "mnist", "fashion-mnist", "cifar-10"}
    for name, maker in MAKERS.items():
        assert f'"{name}"' in load.__doc__
        for setting in set(inspect.signature(maker).parameters) - {"generator", "dtype", "pixels"}:
            assert f"`{setting}`" in load.__doc__, setting
            assert f"{setting}:" in maker.__doc__, setting


@pytest.mark.parametrize("name", RANDOM)
def test_random_sets_depend_on_their_generator_only(name: str) -> None:
    state = torch.random.get_rng_state()
    one, two, other = (load(name, generator=seeded(k), **OFFLINE[name]) for k in (3, 3, 4))
    assert torch.equal(one.inputs, two.inputs)
    assert torch.equal(one.targets, two.targets)
    assert not torch.equal(one.targets, other.targets)
    assert torch.equal(torch.random.get_rng_state(), state)
    with pytest.raises(ValueError, match="pass generator"):
        load(name, **OFFLINE[name])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", RANDOM)
def test_random_sets_lie_on_the_device_of_their_generator(name: str) -> None:
    data = load(name, generator=torch.Generator("cuda").manual_seed(0), **OFFLINE[name])
    assert data.inputs.device.type == data.targets.device.type == "cuda"
    train, _ = split(data, 0.5, generator=seeded(0))
    assert train.inputs.device.type == "cuda"
    assert load("digits").to("cuda").labels.device.type == "cuda"


# Linear problems, whitened exactly


@pytest.mark.parametrize("name", ["digits", "hierarchy", "teacher"])
def test_inputs_are_whitened_exactly(name: str) -> None:
    data = load(name, generator=seeded(0))
    correlation, covariance, power = data.moments()
    eye = torch.eye(covariance.shape[0], dtype=torch.float64)
    torch.testing.assert_close(covariance, eye, atol=1e-12, rtol=0)
    assert power >= float((correlation**2).sum()) - 1e-12
    if name != "digits":
        values = torch.linalg.svdvals(correlation)[:5]
        expected = torch.tensor([3.0, 1.8, 1.0, 0.6, 0.35], dtype=torch.float64)
        torch.testing.assert_close(values, expected)


def test_the_tree_splits_items_in_halves() -> None:
    data = load("hierarchy", singular_values=(2.0,), outputs=3, generator=seeded(1))
    first, second = data.targets[:4], data.targets[4:]
    torch.testing.assert_close(first, first[:1].expand(4, 3))
    torch.testing.assert_close(first, -second)


# Bundled data


def test_digits_between_whitened_and_raw() -> None:
    """Independent: NumPy's eigenvalues of the raw pixel covariance."""
    pixels = datasets.load_digits().data
    raw = np.linalg.eigvalsh(np.cov(pixels.T, bias=True))[::-1][:12]
    for c in (0.0, 0.3, 1.0):
        data = load("digits", components=12, covariance_power=c)
        assert data.inputs.shape == (1797, 12)
        spectrum = torch.diagonal(data.moments()[1]).numpy()
        np.testing.assert_allclose(spectrum, raw**c / np.mean(raw**c), rtol=1e-9)
        assert float(data.targets.mean(0).abs().max()) < 1e-12


def test_digits_as_pixels_keep_their_geometry() -> None:
    """Independent: distances between images, up to one factor, are those of the raw pixels."""
    raw, data = datasets.load_digits(), load("digits", pixels=True)
    close(data.inputs.mean(0), np.zeros(64))
    assert float((data.inputs**2).mean()) == pytest.approx(1.0, rel=1e-12)
    ratio = torch.pdist(data.inputs[:50]).numpy() / torch.pdist(torch.tensor(raw.data[:50])).numpy()
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-12)
    np.testing.assert_array_equal(data.labels.numpy(), raw.target)
    np.testing.assert_array_equal(data.targets.argmax(1).numpy(), raw.target)


@pytest.mark.parametrize("name", ["breast-cancer", "diabetes"])
def test_features_are_standardised(name: str) -> None:
    """Independent: scikit-learn's StandardScaler."""
    from sklearn.preprocessing import StandardScaler

    diabetes = name == "diabetes"
    raw = datasets.load_diabetes(scaled=False) if diabetes else datasets.load_breast_cancer()
    data = load(name)
    close(data.inputs, StandardScaler().fit_transform(raw.data))
    if diabetes:
        close(data.targets, StandardScaler().fit_transform(raw.target[:, None]))
    else:
        benign = list(raw.target_names).index("benign")
        close(data.targets[:, 0], np.where(raw.target == benign, 1.0, -1.0))


# Inputs whose law is known


def test_gaussian_inputs_have_the_spectrum_given() -> None:
    """Independent: sample covariance, whose entries scatter by sqrt(l_i l_j (1 + d_ij) / n)."""
    n = 20_000
    for settings, spectrum in [
        ({"components": 6, "decay": 1.5}, np.arange(1, 7) ** -1.5),
        ({"spectrum": (3.0, 0.5, 0.0)}, np.array([3.0, 0.5, 0.0])),
        ({"components": 4}, np.ones(4)),
        ({"decay": 1.0}, 1.0 / np.arange(1, 31)),
    ]:
        data = load("gaussian", samples=n, generator=seeded(1), **settings)
        covariance = data.moments()[1].numpy()
        scatter = np.sqrt(np.outer(spectrum, spectrum) * (1 + np.eye(len(spectrum))) / n)
        assert (np.abs(covariance - np.diag(spectrum)) <= 4.5 * scatter + 1e-15).all()
        assert not data.targets.any()


def test_gaussian_targets_are_linear_up_to_noise() -> None:
    w = torch.tensor([[1.0, -2.0, 0.5], [0.0, 1.0, 1.0]])
    clean, noisy = (
        load(
            "gaussian", samples=10_000, spectrum=(1, 2, 3), teacher=w, noise=s, generator=seeded(2)
        )
        for s in (0.0, 0.3)
    )
    assert torch.equal(clean.inputs, noisy.inputs)
    close(clean.targets, clean.inputs.numpy() @ w.numpy().T.astype(float))
    noise = (noisy.targets - clean.targets).numpy()
    np.testing.assert_allclose(np.cov(noise.T), 0.09 * np.eye(2), atol=0.09 * 4 / 100 * 2**0.5)
    assert np.abs(noise.T @ clean.inputs.numpy() / 10_000).max() < 4 * 0.3 * 3**0.5 / 100


def test_the_whole_hypercube_and_its_monomials() -> None:
    """Independent: itertools; monomials of different degrees are orthonormal."""
    data = load("hypercube", components=5, degrees=(0, 1, 2, 5))
    vertices = np.array(list(itertools.product((1.0, -1.0), repeat=5)))
    np.testing.assert_array_equal(data.inputs.numpy(), vertices)
    np.testing.assert_array_equal(data.targets[:, 2].numpy(), vertices[:, 0] * vertices[:, 1])
    np.testing.assert_array_equal((data.targets.mT @ data.targets / 32).numpy(), np.eye(4))


def test_degrees_may_be_an_array(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for users
    ours, theirs = (load("hypercube", components=3, degrees=m) for m in ((1, 3), np.array([1, 3])))
    assert torch.equal(ours.targets, theirs.targets)


def test_sampled_vertices_are_fair() -> None:
    data = load("hypercube", components=40, degrees=(3,), samples=4000, generator=seeded(0))
    assert set(data.inputs.unique().tolist()) == {-1.0, 1.0}
    assert float(data.inputs.mean(0).abs().max()) < 4.5 / 4000**0.5
    np.testing.assert_array_equal(data.targets[:, 0], data.inputs[:, :3].prod(1))


def test_a_given_teacher_answers() -> None:
    """Independent: three rectified directions at 120 degrees add up to a known function."""
    angles = 2 * np.pi / 3 * np.arange(3)
    first = torch.tensor(np.stack([np.cos(angles), np.sin(angles)], 1))
    data = load(
        "teacher-student",
        samples=50,
        weights=[first, torch.ones(1, 3)],
        generator=seeded(0),
    )
    x = data.inputs.numpy()
    assert x.shape == (50, 2)
    # relu(u) = (u + |u|) / 2, and the three directions add up to zero.
    close(data.targets[:, 0], 0.5 * np.abs(x @ first.numpy().T).sum(1))


def test_a_random_teacher_has_the_sizes_and_the_scale_stated() -> None:
    """Independent: entries of variance 1 / fan-in keep the mean square, which is 1."""
    data = load(
        "teacher-student",
        samples=2000,
        sizes=(30, 400, 200),
        activation=lambda h: h,
        noise=1.0,
        generator=seeded(0),
    )
    assert data.inputs.shape == (2000, 30)
    assert data.targets.shape == (2000, 200)
    # With noise of variance 1 added: 2. W_2 W_1 has 30 columns of 200, so some percent of scatter.
    assert data.moments()[2] / 200 == pytest.approx(2.0, rel=0.05)
    assert load("teacher-student", generator=seeded(0)).inputs.shape == (200, 10)
    residual = load("teacher-student", generator=seeded(0), activation=torch.tanh)
    assert bool((residual.targets < 0).any())
    assert residual.targets.shape == (200, 1)


def test_modular_addition_is_complete() -> None:
    p = 7
    tokens = load("modular-addition", modulus=p, one_hot=False)
    hot = load("modular-addition", modulus=p)
    for row, (a, b) in enumerate(itertools.product(range(p), repeat=2)):
        assert tokens.inputs[row].tolist() == [a, b]
        assert hot.inputs[row].nonzero()[:, 0].tolist() == [a, p + b]
        assert hot.targets[row].nonzero().item() == int(hot.labels[row]) == (a + b) % p
    assert tokens.inputs.dtype == torch.int64
    assert torch.equal(tokens.targets, hot.targets)
    assert tokens.moments()[1].dtype == torch.float64


# Parting


@pytest.mark.parametrize("share", [0.3, 15, 1, 48])
def test_parts_are_disjoint_and_complete(share: float) -> None:
    data = load("modular-addition", modulus=7, one_hot=False)
    parts = split(data, share, generator=seeded(0))
    assert len(parts[0].inputs) == (share if isinstance(share, int) else 15)
    rows = torch.cat([part.inputs for part in parts]).tolist()
    assert sorted(rows) == data.inputs.tolist()
    for part in parts:  # rows stay together
        assert torch.equal(part.inputs.sum(1) % 7, part.labels)
        assert torch.equal(part.targets.argmax(1), part.labels)
        assert part.name == data.name


def test_parts_of_growing_size_are_nested_and_random() -> None:
    data = load("diabetes")
    small, large, other = (
        split(data, n, generator=seeded(k))[0].inputs for n, k in ((50, 0), (200, 0), (50, 1))
    )
    assert torch.equal(large[:50], small)
    assert not torch.equal(other, small)
    assert not torch.equal(small, data.inputs[:50])


def test_numbers_of_samples_may_be_numpys() -> None:
    """As a learning curve has them, from np.geomspace(...).astype(int)."""
    data = load("diabetes")
    ours, theirs = (split(data, n, generator=seeded(0))[0].inputs for n in (50, np.int64(50)))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("share", [0, 4, -1, 0.0, 1.0, 1.5, float("nan"), 0.01])
def test_empty_parts_are_refused(share: float) -> None:
    data = Dataset("line", torch.ones(4, 1), torch.ones(4, 1))
    with pytest.raises(ValueError, match=r"leave one part empty|between 0 and 1"):
        split(data, share, generator=seeded(0))


# Refusals


@pytest.mark.parametrize(
    ("name", "near"),
    [("minst", "mnist"), ("cifar10", "cifar-10"), ("teacher_student", "teacher-student")],
)
def test_an_unknown_name_gives_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"called '{name}'; the nearest (is|are): .*{near}"):
        load(name)


def test_a_name_like_nothing_gives_the_list() -> None:
    with pytest.raises(ValueError, match="called 'xyz'; there are: breast-cancer, "):
        load("xyz")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "hierarchy", "components": 3}, "components; it takes singular_values, outputs."),
        ({"name": "diabetes", "samples": 3}, "samples; it takes none."),
        ({"name": "digits", "components": 65}, "principal components"),
        ({"name": "digits", "components": 0}, "principal components"),
        ({"name": "digits", "covariance_power": 2.0}, "must lie in"),
        ({"name": "digits", "covariance_power": float("nan")}, "must lie in"),
        ({"name": "digits", "pixels": True, "components": 3}, "neither components nor"),
        ({"name": "digits", "pixels": True, "covariance_power": 0.0}, "neither components nor"),
        ({"name": "hierarchy", "singular_values": (1.0,) * 8}, "1 to 7"),
        ({"name": "teacher", "samples": 10}, "more samples"),
        ({"name": "teacher", "singular_values": (0.0,)}, "positive and finite"),
        ({"name": "gaussian", "spectrum": (1.0,), "decay": 1.0}, "either spectrum"),
        ({"name": "gaussian", "spectrum": (1.0, -1.0)}, "not negative"),
        ({"name": "gaussian", "decay": float("nan")}, "finite"),
        ({"name": "gaussian", "components": 0}, "at least one"),
        ({"name": "gaussian", "samples": 0}, "at least one"),
        ({"name": "gaussian", "teacher": torch.ones(1, 3)}, "does not fit 30"),
        ({"name": "gaussian", "teacher": torch.full((1, 30), torch.nan)}, "finite"),
        ({"name": "gaussian", "noise": -1.0}, "not negative"),
        ({"name": "hypercube", "degrees": (11,)}, "from 0 to components=10"),
        ({"name": "hypercube", "degrees": ()}, "some numbers"),
        ({"name": "hypercube", "components": 21}, "choose samples"),
        ({"name": "hypercube", "samples": 0}, "at least one"),
        ({"name": "teacher-student", "sizes": (2, 1), "weights": []}, "either sizes or weights"),
        ({"name": "teacher-student", "weights": []}, "fit on each other"),
        ({"name": "teacher-student", "weights": [torch.ones(2, 3)] * 2}, "fit on each other"),
        ({"name": "teacher-student", "sizes": (2,)}, "at least two"),
        ({"name": "teacher-student", "samples": 0}, "at least one"),
        ({"name": "teacher-student", "noise": float("inf")}, "finite"),
        ({"name": "modular-addition", "modulus": 1}, "at least 2"),
    ],
)
def test_load_refuses(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        load(generator=seeded(0), **settings)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
