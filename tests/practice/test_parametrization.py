"""Roles of parameters, weights and groups of a parametrisation, and the shift they rest on."""

import copy
import math
import pickle

import pytest
import torch
from torch import Tensor, nn

from learnmech.numerics.scaling import KINDS, Exponents, WidthExponents
from learnmech.practice.networks import (
    BatchNorm,
    DeepLinear,
    EnsembleMLP,
    gaussian_linear,
    mlp,
    residual_mlp,
)
from learnmech.practice.parametrization import (
    Role,
    WidthRoles,
    parameter_groups,
    reinitialise,
    width_roles,
)
from learnmech.practice.training import EnsembleSGD, train
from learnmech.theory.parametrizations import PARAMETRIZATIONS, width_exponents

DOUBLE = torch.float64
TABLES = [(name, optimizer) for name in PARAMETRIZATIONS for optimizer in ("sgd", "adam")]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def net(width: int, **settings) -> nn.Sequential:
    return mlp((3, width, width, 2), activation="tanh", generator=seeded(0), **settings)


def kinds(roles: WidthRoles) -> dict[str, tuple[str, int | None]]:
    return {name: (role.kind, role.fan_in) for name, role in roles.roles.items()}


# --- roles ---------------------------------------------------------------------------------------


class Transformer(nn.Module):
    """A little of everything: tables, attention, norms, a wide inner layer, tied or not."""

    def __init__(self, n: int, tied: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, n)
        self.block = nn.TransformerEncoderLayer(n, 2, dim_feedforward=4 * n, batch_first=True)
        self.norm = nn.LayerNorm(n)
        self.head = nn.Linear(n, 11)
        if tied:
            self.head.weight = self.embed.weight


def test_roles_of_a_perceptron_and_its_width() -> None:
    roles = width_roles(net(8, norm="layer"), net(4, norm="layer"))
    assert roles.width == 8
    assert kinds(roles) == {
        "layer1.weight": ("input", 3),
        "layer1.bias": ("bias", None),
        "norm1.weight": ("bias", None),
        "norm1.bias": ("bias", None),
        "layer2.weight": ("hidden", 8),
        "layer2.bias": ("bias", None),
        "norm2.weight": ("bias", None),
        "norm2.bias": ("bias", None),
        "readout.weight": ("readout", 8),
        "readout.bias": ("fixed", None),
    }


def test_roles_of_a_transformer() -> None:
    roles = width_roles(Transformer(8), Transformer(4))
    expected = {
        "embed.weight": ("input", 1),
        "block.self_attn.in_proj_weight": ("hidden", 8),
        "block.self_attn.in_proj_bias": ("bias", None),
        "block.self_attn.out_proj.weight": ("hidden", 8),
        "block.linear1.weight": ("hidden", 8),
        "block.linear2.weight": ("hidden", 32),
        "block.norm1.weight": ("bias", None),
        "head.weight": ("readout", 8),
        "head.bias": ("fixed", None),
    }
    assert roles.width == 8
    assert kinds(roles).items() >= expected.items()


def test_roles_of_convolutions_and_recurrences() -> None:
    def convolutional(n: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, n, 3),
            nn.BatchNorm2d(n),
            nn.Conv2d(n, 2 * n, 3),
            nn.Conv2d(2 * n, 2 * n, 5, groups=2 * n),
            nn.ConvTranspose2d(2 * n, 4, 2),
            nn.PReLU(),
        )

    roles = kinds(width_roles(convolutional(8), convolutional(2)))
    weights = ("0.weight", "1.weight", "2.weight", "3.weight", "4.weight", "5.weight", "4.bias")
    assert [roles[name] for name in weights] == [
        ("input", 27),
        ("bias", None),
        ("hidden", 72),
        ("input", 25),  # depthwise: each channel sees one channel
        ("readout", 64),
        ("fixed", None),
        ("fixed", None),
    ]
    recurrent = kinds(width_roles(nn.GRU(5, 6), nn.GRU(5, 3)))
    assert recurrent["weight_ih_l0"] == ("input", 5)
    assert recurrent["weight_hh_l0"] == ("hidden", 6)
    assert recurrent["bias_hh_l0"] == ("bias", None)


def test_roles_of_our_own_networks() -> None:
    def linear(n: int) -> DeepLinear:
        return gaussian_linear((3, n, n, 2), 0.1, generators=[seeded(0), seeded(1)])

    assert [role for role, _ in kinds(width_roles(linear(6), linear(3))).values()] == [
        "input",
        "hidden",
        "readout",
    ]

    def ensemble(n: int) -> EnsembleMLP:
        return EnsembleMLP([net(n)] * 5)

    assert kinds(width_roles(ensemble(6), ensemble(3))) == {
        "weights.0": ("input", 3),
        "weights.1": ("hidden", 6),
        "weights.2": ("readout", 6),
        "biases.0": ("bias", None),
        "biases.1": ("bias", None),
        "biases.2": ("fixed", None),
    }

    def residual(n: int) -> nn.Module:
        return residual_mlp((3, n, 2), blocks=1, norm=BatchNorm, generator=seeded(0))

    roles = kinds(width_roles(residual(6), residual(3)))
    assert roles["block1.branch.layer.weight"] == ("hidden", 6)
    assert roles["block1.branch.norm.weight"] == ("bias", None)


class Custom(nn.Module):
    """f(x) = a . relu(x @ W + b), whose shapes do not tell what is what."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(3, n, generator=seeded(0)))
        self.b = nn.Parameter(torch.zeros(n))
        self.a = nn.Parameter(torch.randn(n, generator=seeded(1)))
        self.scale = nn.Parameter(torch.tensor(2.0))


def test_unknown_modules_are_refused_unless_told() -> None:
    known = {"w": Role("input", 3), "b": Role("bias", None), "a": Role("readout", 8)}
    for left_out in known:
        rest = {name: role for name, role in known.items() if name != left_out}
        with pytest.raises(ValueError, match=rf"^{left_out} of shape .* does not know"):
            width_roles(Custom(8), Custom(4), known=rest)
    roles = width_roles(Custom(8), Custom(4), known=known)
    assert kinds(roles)["scale"] == ("fixed", None)
    with pytest.raises(ValueError, match="no parameter is called c"):
        width_roles(Custom(8), Custom(4), known={**known, "c": known["a"]})


def test_patterns_name_many_parameters() -> None:
    def stack(n: int) -> nn.Module:
        return nn.Sequential(Custom(n), Custom(n))

    known = {"*.w": Role("input", 3), "0.a": Role("readout", 8), "*.[ab]": Role("bias", None)}
    roles = kinds(width_roles(stack(8), stack(4), known=known))
    assert roles["0.a"] == ("readout", 8)
    assert roles["1.a"] == ("bias", None)


def test_tied_weights_need_one_role() -> None:
    with pytest.raises(ValueError, match=r"embed.weight and head.weight are one parameter"):
        width_roles(Transformer(8, tied=True), Transformer(4, tied=True))
    role = Role("input", 1)
    tied = width_roles(
        Transformer(8, tied=True),
        Transformer(4, tied=True),
        known={"embed.weight": role, "head.weight": role},
    )
    assert tied.roles["embed.weight"] == role
    assert "head.weight" not in tied.roles


def test_a_layer_used_twice_has_one_role() -> None:
    wide, narrow = (nn.Sequential(*[nn.Linear(n, n, bias=False)] * 2) for n in (8, 4))
    assert kinds(width_roles(wide, narrow)) == {"0.weight": ("hidden", 8)}


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (lambda: (net(4), net(4)), "same shapes"),
        (lambda: (net(4), net(8)), "every width has to grow"),
        (lambda: (net(4), nn.Linear(3, 2)), "different parameters"),
        (
            lambda: tuple(mlp((3, n, k, 2), generator=seeded(0)) for n, k in ((8, 8), (4, 2))),
            "by one factor",
        ),
        (lambda: (nn.Conv1d(2, 4, 6), nn.Conv1d(2, 2, 3)), "along an axis with no width"),
    ],
)
def test_refuses_pairs_that_say_nothing(pair, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        width_roles(*pair())


# --- weights -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "optimizer"), TABLES)
def test_weights_have_the_standard_deviations_of_the_table(name: str, optimizer: str) -> None:
    """Independent: std = gain / sqrt(fan_in) at width 50, times 8^-(a + b) at width 400."""
    table = width_exponents(name, optimizer)
    model = net(400)
    gain = {"input": 1.0, "hidden": 2.0**0.5, "readout": 0.5}
    roles = width_roles(model, net(200))
    reinitialise(model, roles, table, base_width=50, gain=gain, generator=seeded(4))
    layers = {
        "input": (model.layer1, 3),
        "hidden": (model.layer2, 50),
        "readout": (model.readout, 50),
    }
    for kind, (layer, base_fan_in) in layers.items():
        row = table.rows[kind]
        std = gain[kind] / base_fan_in**0.5 * 8.0 ** -(row.multiplier + row.initial_std)
        n = layer.weight.numel()
        squares = float(layer.weight.detach().square().sum()) / std**2
        assert abs(squares - n) < 4 * (2 * n) ** 0.5


def test_all_parametrisations_are_one_at_the_base_width() -> None:
    models = []
    for name, optimizer in TABLES:
        model, table = net(16), width_exponents(name, optimizer)
        roles = width_roles(model, net(4))
        reinitialise(model, roles, table, base_width=16, generator=seeded(1))
        models.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
        groups = parameter_groups(model, roles, table, base_width=16, learning_rate=0.25)
        assert {group["lr"] for group in groups} == {0.25}
        assert {group.get("eps") for group in groups} == {1e-8 if optimizer == "adam" else None}
    assert all(torch.equal(model, models[0]) for model in models)


def test_constants_stay_and_other_vectors_are_drawn() -> None:
    model, narrower = (
        nn.Sequential(nn.Linear(3, n), nn.LayerNorm(n), nn.Linear(n, 2)) for n in (4000, 2)
    )
    nn.init.constant_(model[2].bias, 0.7)
    roles = width_roles(model, narrower)
    table = width_exponents("mup", "sgd")
    reinitialise(model, roles, table, base_width=2, generator=seeded(0))
    assert bool((model[1].weight == 1.0).all())
    assert bool((model[2].bias == 0.7).all())
    assert not model[0].bias.detach().any()
    model[0].reset_parameters()
    reinitialise(model, roles, table, base_width=2, bias_std=3.0, generator=seeded(0))
    assert float(model[0].bias.detach().std()) == pytest.approx(3.0, rel=0.05)


def test_no_vector_is_left_as_the_global_random_state_made_it() -> None:
    """The bias of a single output is drawn anew like any other; a padding row stays zero."""

    def single(n: int) -> nn.Module:
        layers = nn.Embedding(5, n, padding_idx=2), nn.Linear(n, n), nn.PReLU(), nn.Linear(n, 1)
        return nn.Sequential(*layers)

    made = []
    for seed in (0, 1):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = single(8)
        roles, table = width_roles(model, single(4)), width_exponents("mup", "sgd")
        reinitialise(model, roles, table, base_width=4, bias_std=0.5, generator=seeded(0))
        made.append(model.state_dict())
    for one, other in zip(*(state.values() for state in made), strict=True):
        assert torch.equal(one, other)
    assert float(made[0]["3.bias"]) != 0.0
    assert float(made[0]["2.weight"]) == 0.25  # a slope is no bias
    assert not made[0]["0.weight"][2].any()
    assert made[0]["0.weight"][[0, 1, 3, 4]].all()
    nn.init.zeros_(model[3].bias)
    reinitialise(model, roles, table, base_width=4, bias_std=0.5, generator=seeded(0))
    assert float(model[3].bias.detach()) == 0.0


@pytest.mark.parametrize("passed", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_tables_and_roles_pass_between_processes(passed) -> None:
    table, roles = width_exponents("mup", "adam"), width_roles(net(8), net(4))
    assert passed(table) == table
    assert passed(roles) == roles
    with pytest.raises(TypeError, match="does not support item assignment"):
        passed(roles).roles["layer1.weight"] = Role("bias", None)


def test_nothing_is_hidden_and_nothing_else_is_touched() -> None:
    """The same call gives the same weights again; parameters carry nothing (mup's carry shapes)."""
    model, table = net(8, norm="layer").eval(), width_exponents("mup", "adam")
    model.layer2.weight.requires_grad_(False)
    before = copy.deepcopy(model)
    state = torch.random.get_rng_state()
    roles = width_roles(model, net(4, norm="layer"))
    drawn = []
    for _ in range(2):
        reinitialise(model, roles, table, base_width=4, generator=seeded(2))
        drawn.append(copy.deepcopy(model.state_dict()))
    groups = parameter_groups(model, roles, table, base_width=4, learning_rate=0.1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(drawn[0][name], drawn[1][name]) for name in drawn[0])
    assert [str(m) for m in model.modules()] == [str(m) for m in before.modules()]
    assert not model.training
    for (name, p), q in zip(model.named_parameters(), before.parameters(), strict=True):
        assert vars(p) == {}
        assert p.grad is None
        assert p.requires_grad == q.requires_grad == (name != "layer2.weight")
    grouped = {id(p) for group in groups for p in group["params"]}
    assert grouped == {id(p) for p in model.parameters() if p.requires_grad}
    assert all(set(group) == {"params", "lr", "eps"} for group in groups)


# --- the equivalence -----------------------------------------------------------------------------


class WithMultipliers(nn.Module):
    """The network as the table writes it: W = m^-a w in the forward pass of every layer."""

    def __init__(
        self, model: nn.Module, roles: WidthRoles, table: WidthExponents, m: float
    ) -> None:
        super().__init__()
        rows = {name: table.rows[role.kind] for name, role in roles.roles.items()}
        self.shape = [copy.deepcopy(model)]
        self.factors = {name: m**-row.multiplier for name, row in rows.items()}
        self.raw = nn.ParameterDict(
            {
                name.replace(".", "/"): nn.Parameter(p.detach() / self.factors[name])
                for name, p in model.named_parameters()
            }
        )
        self.rates = {name: m**-row.learning_rate for name, row in rows.items()}

    def forward(self, x: Tensor) -> Tensor:
        weights = {
            name: factor * self.raw[name.replace(".", "/")] for name, factor in self.factors.items()
        }
        return torch.func.functional_call(self.shape[0], weights, (x,))


def shifted(table: WidthExponents) -> WidthExponents:
    return table.shifted({"input": 1.5, "hidden": -0.5, "readout": 0.75, "bias": -2.0})


@pytest.mark.parametrize("shift", [lambda table: table, shifted], ids=["as listed", "shifted"])
@pytest.mark.parametrize(("name", "optimizer"), TABLES)
def test_groups_train_as_multipliers_in_the_forward_pass_would(
    name: str, optimizer: str, shift
) -> None:
    """Independent: the table written out literally and given to the same optimizer of torch.

    Adam's eps is large here, so that it matters.
    """
    table = shift(width_exponents(name, optimizer))
    model = net(12, bias_std=0.3)
    roles = width_roles(model, net(4))
    reinitialise(model, roles, table, base_width=4, bias_std=0.3, generator=seeded(3))
    literal = WithMultipliers(model, roles, table, 3.0)
    x, y = (torch.randn(9, k, generator=seeded(k), dtype=DOUBLE) for k in (3, 2))
    groups = parameter_groups(model, roles, table, base_width=4, learning_rate=0.02, eps=1e-3)
    spelled_out = [
        {"params": [p], "lr": 0.02 * literal.rates[key.replace("/", ".")]}
        for key, p in literal.raw.items()
    ]
    if optimizer == "sgd":
        optimizers = [torch.optim.SGD(g, momentum=0.9) for g in (groups, spelled_out)]
    else:
        optimizers = [torch.optim.Adam(g, eps=1e-3) for g in (groups, spelled_out)]
    losses = [
        train(one, x, y, optimizer=o, steps=30, probe_steps=range(31)).records["loss"]
        for one, o in zip((model, literal), optimizers, strict=True)
    ]
    torch.testing.assert_close(*(torch.tensor(run) for run in losses), rtol=1e-9, atol=0.0)
    torch.testing.assert_close(model(x), literal(x), rtol=1e-8, atol=1e-10)


def test_shifted_tables_give_the_same_groups() -> None:
    for name, optimizer in TABLES:
        table = width_exponents(name, optimizer)
        model, roles = net(12), width_roles(net(12), net(4))
        settings = {"base_width": 4, "learning_rate": 0.1, "eps": 0.0}
        plain, moved = (
            parameter_groups(model, roles, t, **settings) for t in (table, shifted(table))
        )
        assert [g["lr"] for g in plain] == pytest.approx([g["lr"] for g in moved], rel=1e-14)


def test_an_ensemble_of_learning_rates_in_a_parametrisation() -> None:
    """Rates of members times those of kinds; each member as its own run with its own groups."""
    table, rates = width_exponents("mup", "sgd"), torch.tensor([0.01, 0.1], dtype=DOUBLE)
    alone = [net(8), net(8)]
    roles = width_roles(alone[0], net(4))
    for s, member in enumerate(alone):
        reinitialise(member, roles, table, base_width=4, generator=seeded(s))
    ensemble = EnsembleMLP(alone)
    together = parameter_groups(
        ensemble,
        width_roles(ensemble, EnsembleMLP([net(4)] * 2)),
        table,
        base_width=4,
        learning_rate=rates,
    )
    x, y = (torch.randn(9, k, generator=seeded(k), dtype=DOUBLE) for k in (3, 2))
    settings = {"steps": 10, "probe_steps": [10]}
    run = train(ensemble, x, y, optimizer=EnsembleSGD(together), **settings)
    for e, member in enumerate(alone):
        groups = parameter_groups(member, roles, table, base_width=4, learning_rate=float(rates[e]))
        one = train(member, x, y, optimizer=torch.optim.SGD(groups), **settings)
        assert run.records["loss"][0, e] == pytest.approx(one.records["loss"][0], rel=1e-12)


def test_groups_by_hand() -> None:
    """mup for Adam at eight times the base width: hidden layers and the readout at an eighth."""
    table = width_exponents("mup", "adam")
    model = net(32)
    groups = parameter_groups(
        model, width_roles(model, net(8)), table, base_width=4, learning_rate=0.8
    )
    assert [group["lr"] for group in groups] == pytest.approx([0.8, 0.1, 0.1, 0.8, 0.8])
    shapes = [[tuple(p.shape) for p in group["params"]] for group in groups]
    assert shapes == [[(32, 3)], [(32, 32)], [(2, 32)], [(32,), (32,)], [(2,)]]


FLAT = WidthExponents("flat", "sgd", dict.fromkeys(KINDS, Exponents(0.0, 0.0, 0.0)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"roles": width_roles(net(8, bias=False), net(4, bias=False))}, "another module"),
        ({"roles": width_roles(net(16), net(4))}, "another width of this one"),
        ({"base_width": 0}, "base_width must be at least one"),
        ({"gain": -1.0}, "gains must be finite"),
        ({"gain": {"first": 1.0}}, "of input, hidden"),
        ({"bias_std": math.nan}, "gains must be finite"),
    ],
)
def test_reinitialise_refuses(change: dict, message: str) -> None:
    model = net(8)
    settings = {"roles": width_roles(model, net(4)), "base_width": 4, "generator": seeded(0)}
    with pytest.raises(ValueError, match=message):
        reinitialise(model, table=FLAT, **(settings | change))


@pytest.mark.parametrize(
    ("kind", "fan_in", "message"),
    [
        ("first", 3, "no kind is called 'first'; choose from input, hidden"),
        ("readout", None, "fan-in of a weight must be at least one"),
        ("fixed", 0, "fan-in of a weight must be at least one"),
    ],
)
def test_roles_refuse_what_makes_no_sense(kind: str, fan_in: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Role(kind, fan_in)


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf, torch.tensor([0.1, 0.0])])
def test_groups_refuse_learning_rates(rate: float | Tensor) -> None:
    model = net(8)
    roles = width_roles(model, net(4))
    with pytest.raises(ValueError, match="positive and finite"):
        parameter_groups(model, roles, FLAT, base_width=4, learning_rate=rate)


@pytest.mark.parametrize("eps", [-1e-8, math.nan])
def test_groups_refuse_an_eps_that_torch_would_take(eps: float) -> None:
    model = net(8)
    roles, table = width_roles(model, net(4)), width_exponents("mup", "adam")
    with pytest.raises(ValueError, match="eps must be finite and not negative"):
        parameter_groups(model, roles, table, base_width=4, learning_rate=0.1, eps=eps)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_weights_are_drawn_where_the_generator_is() -> None:
    model = net(8).cuda()
    roles = width_roles(model, net(4))
    for device in ("cpu", "cuda"):
        g = torch.Generator(device).manual_seed(0)
        reinitialise(model, roles, FLAT, base_width=4, generator=g)
    assert model.layer1.weight.device.type == "cuda"
