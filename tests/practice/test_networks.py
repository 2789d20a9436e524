"""Perceptrons, residual networks, norms, outputs and ensembles, each against a few plain lines."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from learnmech.practice.losses import half_squared_loss
from learnmech.practice.networks import (
    ACTIVATIONS,
    BatchNorm,
    DeepLinear,
    EnsembleMLP,
    GroupNorm,
    LayerNorm,
    Multiplier,
    RMSNorm,
    ScaledOutput,
    mlp,
    residual_mlp,
)

DOUBLE = torch.float64


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=DOUBLE)


FORMULAS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda h: h,
    "relu": lambda h: torch.where(h > 0, h, torch.zeros_like(h)),
    "tanh": lambda h: (h.exp() - (-h).exp()) / (h.exp() + (-h).exp()),
    "erf": lambda h: 2 * torch.special.ndtr(h * 2**0.5) - 1,
    "gelu": lambda h: h * torch.special.ndtr(h),
    "silu": lambda h: h / (1 + (-h).exp()),
    "softplus": lambda h: (1 + h.exp()).log(),
    "sigmoid": lambda h: 1 / (1 + (-h).exp()),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_perceptron_is_its_formula(name: str) -> None:
    net = mlp((3, 5, 4, 2), activation=name, bias_std=0.5, generator=seeded(1))
    x = normal(7, 3)
    hidden = x
    for layer in (net.layer1, net.layer2):
        hidden = FORMULAS[name](hidden @ layer.weight.T + layer.bias)
    torch.testing.assert_close(net(x), hidden @ net.readout.weight.T + net.readout.bias)
    assert set(FORMULAS) == set(ACTIVATIONS)


def test_structure_and_options() -> None:
    net = mlp((3, 5, 5, 2), activation="tanh", norm="layer", generator=seeded(0))
    names = ["layer1", "norm1", "activation1", "layer2", "norm2", "activation2", "readout"]
    assert [name for name, _ in net.named_children()] == names
    bare = mlp((3, 2), bias=False, generator=seeded(0), dtype=torch.float32)
    assert [name for name, _ in bare.named_parameters()] == ["readout.weight"]
    assert bare.readout.weight.dtype == torch.float32
    own = mlp(
        (3, 4, 2), activation=lambda: nn.LeakyReLU(0.2), norm=nn.LayerNorm, generator=seeded(0)
    )
    assert isinstance(own.activation1, nn.LeakyReLU)
    assert own.norm1.weight.dtype == DOUBLE


def test_weights_have_the_standard_deviations_asked_for() -> None:
    """Independent: the sum of squares of N normals is N within four of its own deviations."""
    net = mlp(
        (50, 300, 300, 40),
        weight_std=math.sqrt(2.0),
        bias_std=0.3,
        readout_weight_std=0.5,
        generator=seeded(3),
    )
    expected = [(net.layer1, 2.0 / 50), (net.layer2, 2.0 / 300), (net.readout, 0.25 / 300)]
    for layer, variance in expected:
        for values, v in ((layer.weight, variance), (layer.bias, 0.09)):
            n = values.numel()
            assert abs(float(values.detach().square().sum()) / v - n) < 4 * (2 * n) ** 0.5
    assert not mlp((2, 3, 1), generator=seeded(0)).layer1.bias.detach().any()


def test_ntk_multipliers_change_gradients_and_not_the_function() -> None:
    """The gradient by a parameter of the NTK parametrisation is its multiplier times the plain."""
    settings = {"activation": "erf", "weight_std": 1.3, "bias_std": 0.4}
    plain = mlp((3, 6, 5, 2), **settings, generator=seeded(2))
    written = mlp((3, 6, 5, 2), **settings, ntk_multipliers=True, generator=seeded(2))
    x = normal(4, 3)
    torch.testing.assert_close(written(x), plain(x), rtol=1e-12, atol=1e-12)
    gradients = [
        torch.autograd.grad(net(x).sum(), list(net.parameters())) for net in (plain, written)
    ]
    multipliers = [1.3 / 3**0.5, 0.4, 1.3 / 6**0.5, 0.4, 1.0 / 5**0.5, 0.4]
    for of_plain, of_written, m in zip(*gradients, multipliers, strict=True):
        torch.testing.assert_close(of_written, m * of_plain, rtol=1e-11, atol=1e-12)
    no_bias = mlp((3, 6, 1), bias=False, ntk_multipliers=True, generator=seeded(2))
    assert isinstance(no_bias.multiplier1, Multiplier)


def test_a_residual_network_is_its_formula() -> None:
    net = residual_mlp(
        (3, 4, 2),
        blocks=3,
        branch_scale=0.7,
        activation="tanh",
        norm="rms",
        bias_std=0.2,
        generator=seeded(5),
    )
    x = normal(6, 3)

    def normed(h: Tensor) -> Tensor:
        return torch.tanh(h / (h.square().mean(-1, keepdim=True) + 1e-5).sqrt())

    def affine(layer: nn.Linear, h: Tensor) -> Tensor:
        return h @ layer.weight.T + layer.bias

    hidden = affine(net.embedding, x)
    for k in (1, 2, 3):
        hidden = hidden + 0.7 * affine(getattr(net, f"block{k}").branch.layer, normed(hidden))
    torch.testing.assert_close(net(x), affine(net.readout, normed(hidden)))


@pytest.mark.parametrize("norm", [None, "layer", "batch", "rms"])
def test_making_a_network_draws_from_its_generator_only(norm: str | None) -> None:
    state = torch.random.get_rng_state()
    nets = [mlp((3, 4, 2), norm=norm, generator=seeded(8)) for _ in range(2)]
    residual_mlp((3, 4, 2), blocks=1, norm=norm, generator=seeded(8))
    assert torch.equal(torch.random.get_rng_state(), state)
    for one, other in zip(*(net.parameters() for net in nets), strict=True):
        assert torch.equal(one, other)


# --- norms ---------------------------------------------------------------------------------------

NORM_PAIRS = {
    "layer": (LayerNorm(6, dtype=DOUBLE), nn.LayerNorm(6, dtype=DOUBLE)),
    "batch": (
        BatchNorm(6, dtype=DOUBLE),
        nn.BatchNorm1d(6, track_running_stats=False, dtype=DOUBLE),
    ),
    "rms": (RMSNorm(6, dtype=DOUBLE), nn.RMSNorm(6, eps=1e-5, dtype=DOUBLE)),
    "group": (GroupNorm(3, 6, dtype=DOUBLE), nn.GroupNorm(3, 6, dtype=DOUBLE)),
    "group of one": (GroupNorm(1, 6, dtype=DOUBLE), nn.GroupNorm(1, 6, dtype=DOUBLE)),
}


@pytest.mark.parametrize("name", NORM_PAIRS)
def test_norms_have_the_values_and_gradients_of_torch(name: str) -> None:
    ours, theirs = NORM_PAIRS[name]
    gain, shift = 1.0 + 0.3 * normal(6, seed=1), 0.3 * normal(6, seed=2)
    for module in (ours, theirs):
        with torch.no_grad():
            module.weight.copy_(gain)
            if getattr(module, "bias", None) is not None:
                module.bias.copy_(shift)
    x, mix = normal(5, 6).requires_grad_(), normal(5, 6, seed=3)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-12)
    for train in (True, False):
        results = [
            torch.autograd.grad((module.train(train)(x) * mix).sum(), [x, *module.parameters()])
            for module in (ours, theirs)
        ]
        for one, other in zip(*results, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-11)


def third_derivative(net: nn.Module, x: Tensor, y: Tensor, u: list[Tensor], v: list[Tensor]):
    """D3 L[u, v, v] three times in reverse mode, and v.Hv as a function of the step along u."""
    parameters = list(net.parameters())

    def curvature() -> Tensor:
        slope = torch.autograd.grad(half_squared_loss(net(x), y), parameters, create_graph=True)
        along = sum((g * d).sum() for g, d in zip(slope, v, strict=True))
        bend = torch.autograd.grad(along, parameters, create_graph=True, materialize_grads=True)
        return sum((g * d).sum() for g, d in zip(bend, v, strict=True))

    third = torch.autograd.grad(curvature(), parameters, materialize_grads=True)
    reverse = float(sum((g * d).sum() for g, d in zip(third, u, strict=True)))

    def moved(step: float) -> float:
        with torch.no_grad():
            for p, d in zip(parameters, u, strict=True):
                p.add_(d, alpha=step)
        value = float(curvature().detach())
        with torch.no_grad():
            for p, d in zip(parameters, u, strict=True):
                p.sub_(d, alpha=step)
        return value

    return reverse, moved


@pytest.mark.parametrize(
    "norm",
    ["layer", "batch", "rms", pytest.param(lambda width: GroupNorm(2, width), id="group")],
)
@pytest.mark.parametrize("residual", [False, True])
def test_third_derivatives_through_norms(norm, residual: bool) -> None:
    """Finite differences of the second derivative, which every mode has right.

    PyTorch's fused layer norm and batch norm fail this in reverse over reverse over reverse.
    """
    if residual:
        net = residual_mlp((3, 8, 2), blocks=2, activation="tanh", norm=norm, generator=seeded(0))
    else:
        net = mlp((3, 8, 8, 2), activation="tanh", norm=norm, generator=seeded(0))
    x, y = normal(8, 3, seed=1), normal(8, 2, seed=2)
    u, v = (
        [normal(*p.shape, seed=s + i) for i, p in enumerate(net.parameters())] for s in (10, 40)
    )
    reverse, moved = third_derivative(net, x, y, u, v)
    # Fourth-order central differences: error of order step^4, and of rounding over step.
    h = 1e-5
    difference = (8 * (moved(h) - moved(-h)) - (moved(2 * h) - moved(-2 * h))) / (12 * h)
    assert reverse == pytest.approx(difference, rel=1e-8)


def test_batch_norm_is_the_same_in_both_modes_and_keeps_nothing() -> None:
    norm, x = BatchNorm(4, dtype=DOUBLE), normal(9, 4)
    assert torch.equal(norm.train()(x), norm.eval()(x))
    assert not list(norm.buffers())
    stacked = normal(3, 9, 4)
    assert torch.equal(norm(stacked)[1], norm(stacked[1]))


# --- outputs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "net",
    [
        mlp((3, 5, 2), norm="layer", generator=seeded(0)),
        DeepLinear([normal(4, 3), normal(2, 4)]),
        EnsembleMLP([mlp((3, 5, 2), generator=seeded(s)) for s in range(2)]),
    ],
    ids=["mlp", "linear", "ensemble"],
)
def test_a_scaled_centred_output(net: nn.Module) -> None:
    x = normal(6, 3)
    scaled = ScaledOutput(net, 30.0, centred=True)
    assert not scaled(x).detach().any()
    assert [id(p) for p in scaled.parameters()] == [id(p) for p in net.parameters()]
    start = net(x).detach()
    gradients = torch.autograd.grad(scaled(x).sum(), list(scaled.parameters()))
    plain = torch.autograd.grad(net(x).sum(), list(net.parameters()))
    for one, other in zip(gradients, plain, strict=True):
        torch.testing.assert_close(one, 30.0 * other)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.1)
    torch.testing.assert_close(scaled(x), 30.0 * (net(x) - start))
    assert scaled.float()(x.float()).dtype == torch.float32  # the start moves with the module
    scaled.double()


def test_an_output_that_is_only_scaled() -> None:
    net, x = mlp((3, 5, 2), generator=seeded(0)), normal(6, 3)
    assert torch.equal(ScaledOutput(net, -2.0)(x), -2.0 * net(x))


# --- ensembles -----------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sizes", [(3, 2), (3, 5, 2), (3, 5, 4, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_ensemble_computes_what_its_members_do(
    sizes: tuple[int, ...], bias: bool, dtype: torch.dtype
) -> None:
    members = [
        mlp(sizes, activation="gelu", bias=bias, bias_std=0.5, generator=seeded(s), dtype=dtype)
        for s in range(4)
    ]
    ensemble = EnsembleMLP(members)
    assert len(ensemble) == 4
    shared, own = normal(6, 3).to(dtype), normal(4, 6, 3).to(dtype)
    for e, member in enumerate(members):
        torch.testing.assert_close(ensemble(shared)[e], member(shared))
        torch.testing.assert_close(ensemble(own)[e], member(own[e]))
        copy = ensemble.member(e)
        assert torch.equal(copy(shared), member(shared))
        assert [name for name, _ in copy.named_parameters()] == [
            name for name, _ in member.named_parameters()
        ]
    assert ensemble(shared).dtype == dtype


def test_members_of_an_ensemble_are_copies() -> None:
    member = mlp((3, 5, 2), generator=seeded(0))
    ensemble = EnsembleMLP([member, member])
    before = ensemble(normal(2, 3))
    with torch.no_grad():
        member.readout.weight.zero_()
        ensemble.member(0).readout.weight.zero_()
    assert torch.equal(ensemble(normal(2, 3)), before)
    assert sum(p.numel() for p in ensemble.parameters()) == 2 * (3 * 5 + 5 + 5 * 2 + 2)


def test_an_ensemble_with_multipliers() -> None:
    members = [
        mlp((3, 5, 2), bias_std=0.1, ntk_multipliers=True, generator=seeded(s)) for s in range(3)
    ]
    x = normal(4, 3)
    torch.testing.assert_close(EnsembleMLP(members)(x)[2], members[2](x))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mlp((3,), generator=seeded(0)), "an input and an output size"),
        (lambda: mlp((3, 0, 1), generator=seeded(0)), "at least one"),
        (lambda: mlp((3, 2), weight_std=-1.0, generator=seeded(0)), "not negative"),
        (lambda: mlp((3, 2), bias_std=math.nan, generator=seeded(0)), "finite"),
        (lambda: mlp((3, 4, 2), activation="step", generator=seeded(0)), "no activation is called"),
        (lambda: mlp((3, 4, 2), norm="instance", generator=seeded(0)), "no norm is called"),
        (lambda: mlp((3, 4, 2), ntk_multipliers=True, generator=seeded(0)), "bias=False"),
        (lambda: residual_mlp((3, 4, 2), blocks=-1, generator=seeded(0)), "-1 blocks"),
        (lambda: LayerNorm(0), "at least one feature"),
        (lambda: RMSNorm(3, eps=0.0), "positive eps"),
        (lambda: GroupNorm(2, 5), "5 features do not divide into 2 groups"),
        (lambda: BatchNorm(3)(torch.ones(1, 3)), "at least two samples"),
        (lambda: ScaledOutput(nn.Linear(1, 1), 0.0), "finite and not zero"),
        (lambda: ScaledOutput(nn.Linear(1, 1), math.inf), "finite and not zero"),
        (lambda: EnsembleMLP([]), "at least one member"),
        (
            lambda: EnsembleMLP([mlp((3, 4, 2), norm="layer", generator=seeded(0))]),
            "not LayerNorm; train such networks one by one",
        ),
        (
            lambda: EnsembleMLP([mlp((3, n, 2), generator=seeded(0)) for n in (4, 5)]),
            "same layers, sizes",
        ),
        (
            lambda: EnsembleMLP(
                [mlp((3, 2), generator=seeded(0), dtype=d) for d in (torch.float32, DOUBLE)]
            ),
            "floating type",
        ),
    ],
)
def test_refuses_in_a_sentence(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_networks_live_where_their_generator_does() -> None:
    g = torch.Generator("cuda").manual_seed(0)
    x = torch.ones(4, 3, dtype=DOUBLE, device="cuda")
    nets = [mlp((3, 5, 2), norm=n, generator=g) for n in (None, "layer", "batch", "rms")]
    nets.append(residual_mlp((3, 4, 2), blocks=2, norm="rms", generator=g))
    ensemble = EnsembleMLP([nets[0], nets[0]])
    centred = ScaledOutput(nets[1], 2.0, centred=True)
    for net in itertools.chain(nets, [ensemble, ensemble.member(1), centred]):
        assert net(x).device.type == "cuda"
