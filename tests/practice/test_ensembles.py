"""Every member of an ensemble is trained as it would be alone, whatever becomes of the others."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from learnmech.practice.losses import cross_entropy
from learnmech.practice.networks import DeepLinear, EnsembleMLP, gaussian_linear, mlp
from learnmech.practice.training import DivergenceError, EnsembleAdam, EnsembleSGD, train

DOUBLE = torch.float64
RATES = torch.tensor([0.003, 0.01, 0.03, 0.1], dtype=DOUBLE)  # all stable: rounding stays small

# Our optimizer of all members, and torch's of one.
PAIRS = {
    "sgd": (EnsembleSGD, torch.optim.SGD, {}),
    "sgd, decay": (EnsembleSGD, torch.optim.SGD, {"weight_decay": 0.03}),
    "heavy ball": (EnsembleSGD, torch.optim.SGD, {"momentum": 0.8, "weight_decay": 0.01}),
    "nesterov": (EnsembleSGD, torch.optim.SGD, {"momentum": 0.8, "nesterov": True}),
    "adam": (EnsembleAdam, torch.optim.Adam, {}),
    "adam, other": (
        EnsembleAdam,
        torch.optim.Adam,
        {"betas": (0.7, 0.95), "eps": 1e-3, "weight_decay": 0.02},
    ),
}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def data(n: int = 10) -> tuple[Tensor, Tensor]:
    return tuple(torch.randn(n, k, generator=seeded(k), dtype=DOUBLE) for k in (3, 2))


def members(count: int = 4) -> list[nn.Sequential]:
    return [
        mlp((3, 6, 5, 2), activation="tanh", bias_std=0.1, generator=seeded(s))
        for s in range(count)
    ]


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def agree(ensemble: EnsembleMLP, alone: list[nn.Sequential]) -> None:
    for e, member in enumerate(alone):
        torch.testing.assert_close(
            weights(ensemble.member(e)), weights(member), rtol=1e-11, atol=1e-13
        )


@pytest.mark.parametrize("batches", [None, "shared", "own"])
@pytest.mark.parametrize("name", PAIRS)
def test_members_follow_their_own_runs(name: str, batches: str | None) -> None:
    """Independent: torch.optim on each network alone, on the batches that it would see alone."""
    ours, theirs, settings = PAIRS[name]
    alone, (x, y) = members(), data()
    ensemble = EnsembleMLP(alone)
    batched = {} if batches is None else {"batch_size": 3}

    def generators(e: int) -> torch.Generator:
        return seeded(9 if batches == "shared" else 9 + e)

    if batches is not None:
        everyone = seeded(9) if batches == "shared" else [generators(e) for e in range(4)]
        together = {"generator": everyone} | batched
    else:
        together = {}
    settled = {"steps": 40, "probe_steps": [0, 11, 40]}
    run = train(
        ensemble,
        x,
        y,
        optimizer=ours(ensemble.parameters(), lr=RATES, **settings),
        **settled,
        **together,
    )
    for e, member in enumerate(alone):
        one = train(
            member,
            x,
            y,
            optimizer=theirs(member.parameters(), lr=float(RATES[e]), **settings),
            **settled,
            **batched,
            generator=generators(e),
        )
        np.testing.assert_allclose(run.records["loss"][:, e], one.records["loss"], rtol=1e-12)
        np.testing.assert_allclose(run.t[:, e], one.t, rtol=1e-15)
    agree(ensemble, alone)
    assert run.diverged == {}


def test_groups_with_their_own_rates_and_another_loss() -> None:
    alone, (x, _) = members(), data()
    labels = (x[:, 0] > 0).long()
    ensemble = EnsembleMLP(alone)
    groups = [
        {"params": list(ensemble.weights), "lr": RATES},
        {"params": list(ensemble.biases), "lr": 0.5 * RATES, "momentum": 0.5},
    ]
    settings = {"steps": 25, "probe_steps": [25], "loss": cross_entropy}
    train(ensemble, x, labels, optimizer=EnsembleSGD(groups), **settings)
    for e, member in enumerate(alone):
        lr = float(RATES[e])
        split = [
            {"params": [p for n, p in member.named_parameters() if "weight" in n], "lr": lr},
            {
                "params": [p for n, p in member.named_parameters() if "bias" in n],
                "lr": 0.5 * lr,
                "momentum": 0.5,
            },
        ]
        train(member, x, labels, optimizer=torch.optim.SGD(split), **settings)
    agree(ensemble, alone)


@pytest.mark.parametrize(
    ("optimizer", "settings"),
    [(EnsembleSGD, {}), (EnsembleSGD, {"momentum": 0.5, "weight_decay": 0.1}), (EnsembleAdam, {})],
)
def test_a_member_that_diverges_is_frozen_and_the_others_never_notice(optimizer, settings) -> None:
    """Member 1 overflows; elsewhere a run in which it has a small rate is the same, bit for bit."""
    x, y = data()
    start = EnsembleMLP(members())
    bad = 1e80 if optimizer is EnsembleSGD else 1e200
    runs, models = [], []
    for rate in (bad, 0.01):
        model = copy.deepcopy(start)
        rates = torch.tensor([0.1, rate, 0.2, 0.05], dtype=DOUBLE)
        runs.append(
            train(
                model,
                x,
                y,
                optimizer=optimizer(model.parameters(), lr=rates, **settings),
                steps=30,
                probe_steps=range(31),
                probes={"weights": lambda m: m.weights[1].flatten(1)},
            )
        )
        models.append(model)
    assert list(runs[0].diverged) == [1]
    assert runs[1].diverged == {}
    step = runs[0].diverged[1]
    losses = runs[0].records["loss"]
    assert np.isfinite(losses[:step, 1]).all()
    assert not np.isfinite(losses[step:, 1]).any()
    others = [0, 2, 3]
    np.testing.assert_array_equal(losses[:, others], runs[1].records["loss"][:, others])
    for name in ("weights", "biases"):
        for p, q in zip(getattr(models[0], name), getattr(models[1], name), strict=True):
            assert torch.equal(p[others], q[others])
    frozen = runs[0].records["weights"][step:, 1]
    np.testing.assert_array_equal(frozen, np.broadcast_to(frozen[0], frozen.shape))


@pytest.mark.parametrize("batch_size", [None, 4])
def test_the_step_of_divergence_is_that_of_the_run_alone(batch_size: int | None) -> None:
    x, y = data()
    nets = [DeepLinear([torch.ones(4, 3, dtype=DOUBLE), torch.ones(2, 4, dtype=DOUBLE)])] * 3
    ensemble = DeepLinear(
        [torch.stack([net.weights[i].detach() for net in nets]) for i in range(2)]
    )
    rates = [0.001, 2.0, 30.0]
    settings = {
        "steps": 40,
        "probe_steps": [40],
        "batch_size": batch_size,
    }
    run = train(
        ensemble,
        x,
        y,
        optimizer=EnsembleSGD(ensemble.parameters(), lr=torch.tensor(rates)),
        generator=seeded(0),
        **settings,
    )
    assert set(run.diverged) == {1, 2}
    assert run.diverged[2] < run.diverged[1]
    for e in (1, 2):
        net = copy.deepcopy(nets[e])
        sgd = torch.optim.SGD(net.parameters(), lr=rates[e])
        with pytest.raises(DivergenceError) as caught:
            train(net, x, y, optimizer=sgd, generator=seeded(0), **settings)
        assert caught.value.step == run.diverged[e]


def test_an_ensemble_with_an_optimizer_of_torch_is_stopped() -> None:
    x, y = data()
    ensemble = gaussian_linear((3, 4, 2), 1.0, generators=[seeded(0), seeded(1)])
    sgd = torch.optim.SGD(ensemble.parameters(), lr=1e80)
    with pytest.raises(DivergenceError):
        train(ensemble, x, y, optimizer=sgd, steps=30, probe_steps=[30])


def test_one_rate_for_all_is_torchs_own() -> None:
    x, y = data()
    ensemble = gaussian_linear((3, 4, 2), 0.3, generators=[seeded(0), seeded(1)])
    other = copy.deepcopy(ensemble)
    settings = {"steps": 20, "probe_steps": [20]}
    train(ensemble, x, y, optimizer=EnsembleAdam(ensemble.parameters(), lr=0.01), **settings)
    train(other, x, y, optimizer=torch.optim.Adam(other.parameters(), lr=0.01), **settings)
    torch.testing.assert_close(weights(ensemble), weights(other), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("optimizer", [EnsembleSGD, EnsembleAdam])
def test_a_copy_of_an_optimizer_goes_on_as_the_optimizer_itself(optimizer) -> None:
    (x, y), ensemble = data(), EnsembleMLP(members())
    own = optimizer(ensemble.parameters(), lr=RATES)
    train(ensemble, x, y, optimizer=own, steps=3, probe_steps=[3])
    own.freeze([2])
    other, copied = copy.deepcopy((ensemble, own))
    for model, one in ((ensemble, own), (other, copied)):
        train(model, x, y, optimizer=one, steps=3, probe_steps=[3])
    assert torch.equal(weights(ensemble), weights(other))


@pytest.mark.parametrize("rates", [[0.01, 0.02, 0.03, 0.04], np.array([0.01, 0.02, 0.03, 0.04])])
def test_rates_in_a_list_or_an_array(rates) -> None:
    (x, y), ensemble = data(), EnsembleMLP(members())
    sgd = EnsembleSGD(ensemble.parameters())
    sgd.param_groups[0]["lr"] = rates
    run = train(ensemble, x, y, optimizer=sgd, steps=2, probe_steps=[0, 2])
    np.testing.assert_allclose(run.t, np.multiply.outer([0, 2], rates))


def test_every_member_needs_its_own_generator_or_none_does() -> None:
    (x, y), ensemble = data(), EnsembleMLP(members())
    sgd = EnsembleSGD(ensemble.parameters(), lr=RATES)
    settings = {"steps": 1, "probe_steps": [1], "batch_size": 2}
    with pytest.raises(ValueError, match="one for each of the 4, not 2"):
        train(ensemble, x, y, optimizer=sgd, generator=[seeded(0), seeded(1)], **settings)


@pytest.mark.parametrize("optimizer", [EnsembleSGD, EnsembleAdam])
def test_single_precision_stays_single(optimizer) -> None:
    nets = [mlp((3, 4, 2), generator=seeded(s), dtype=torch.float32) for s in range(4)]
    ensemble, (x, y) = EnsembleMLP(nets), data()
    run = train(
        ensemble,
        x.float(),
        y.float(),
        optimizer=optimizer(ensemble.parameters(), lr=RATES),
        steps=5,
        probe_steps=[5],
    )
    assert run.records["loss"].dtype == np.float32
    assert all(p.dtype == torch.float32 for p in ensemble.parameters())


def parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.ones(*shape))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: EnsembleSGD([parameter(4, 2)], lr=torch.ones(3)), "first axes and rates"),
        (lambda: EnsembleSGD([parameter(4, 2), parameter(3)], lr=0.1), "first axes and rates"),
        (lambda: EnsembleSGD([parameter(4, 2)], lr=torch.zeros(4)), "positive and finite"),
        (lambda: EnsembleAdam([parameter(4, 2)], lr=math.nan), "positive and finite"),
        (lambda: EnsembleSGD([parameter(4)], momentum=1.0), r"momentum must lie in \[0, 1\)"),
        (lambda: EnsembleSGD([parameter(4)], weight_decay=-1.0), "not be negative"),
        (lambda: EnsembleSGD([parameter(4)], nesterov=True), "positive momentum"),
        (lambda: EnsembleAdam([parameter(4)], betas=(0.9, 1.0)), "betas must lie in"),
        (lambda: EnsembleAdam([parameter(4)], eps=-1.0), "eps and weight_decay"),
        (lambda: EnsembleSGD([parameter(4)]).freeze([4]), "from 0 to 3"),
        (lambda: EnsembleSGD([parameter(4)]).step(lambda: 0.0), "no closure"),
    ],
)
def test_refuses_in_a_sentence(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("optimizer", [EnsembleSGD, EnsembleAdam])
def test_an_ensemble_on_a_gpu(optimizer) -> None:
    x, y = (t.cuda() for t in data())
    ensemble = EnsembleMLP(members()).cuda()
    run = train(
        ensemble,
        x,
        y,
        optimizer=optimizer(ensemble.parameters(), lr=RATES),
        steps=5,
        probe_steps=[0, 5],
        batch_size=4,
        generator=[seeded(s) for s in range(4)],
    )
    assert run.records["loss"].shape == (2, 4)
    assert ensemble.member(0).readout.weight.device.type == "cuda"
