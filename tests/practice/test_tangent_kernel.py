"""The empirical tangent kernel against Jacobians, its identities, and what it leaves alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from per_sample_zoo import EXACT, KNOWN, TOKENS, Apply, build, jacobian, normal, seeded
from torch import Tensor, nn

from learnmech.practice.layers import per_sample, products
from learnmech.practice.networks import BatchNorm
from learnmech.practice.tangent_kernel import empirical_ntk, empirical_ntk_per_parameter


def full_kernels(model: nn.Module, x1: Tensor, x2: Tensor) -> dict[str, Tensor]:
    one, other = jacobian(model, x1), jacobian(model, x2)
    return {name: torch.einsum("ncp,mdp->nmcd", one[name], other[name]) for name in one}


def inputs(name: str) -> tuple[Tensor, Tensor]:
    if name in TOKENS:
        return tuple(torch.randint(6, (n, 4), generator=seeded(n)) for n in (5, 3))
    shape = (KNOWN | {key: value[:2] for key, value in EXACT.items()})[name][1]
    return normal(1, *shape), normal(2, 3, *shape[1:])


def model_of(name: str) -> nn.Module:
    makers = {key: make for key, (make, *_) in (KNOWN | EXACT).items()} | TOKENS
    return build(makers[name])


@pytest.fixture
def exact_names(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of the parameters that exact Jacobians were taken of."""
    names: set[str] = set()
    original = per_sample._exact

    def watched(network, call, tensors, parameters, outputs):
        names.update(parameters)
        return original(network, call, tensors, parameters, outputs)

    monkeypatch.setattr(per_sample, "_exact", watched)
    return names


@pytest.mark.parametrize("name", [*KNOWN, *TOKENS, *EXACT])
def test_kernels_are_products_of_jacobians(name: str, exact_names: set[str]) -> None:
    """Every form of the kernel, by parameter and together; and who needed exact Jacobians."""
    model, (x1, x2) = model_of(name), inputs(name)
    expected = full_kernels(model, x1, x2)
    parts = empirical_ntk_per_parameter(model, x1, x2, outputs="full")
    assert list(parts) == list(expected)
    scale = sum(expected.values()).abs().max()
    for key, part in parts.items():
        torch.testing.assert_close(part, expected[key], rtol=1e-10, atol=1e-11 * float(scale))
    whole = sum(expected.values())
    trace = whole.diagonal(dim1=2, dim2=3).sum(-1)
    close = {"rtol": 1e-10, "atol": 1e-11 * float(scale)}
    torch.testing.assert_close(empirical_ntk(model, x1, x2, outputs="full"), whole, **close)
    torch.testing.assert_close(empirical_ntk(model, x1, x2), trace, **close)
    assert exact_names == (EXACT[name][2] if name in EXACT else set())


@pytest.mark.parametrize("outputs", ["trace", "full"])
@pytest.mark.parametrize("name", ["mlp", "convolutions", "embedding", "attention", "called twice"])
def test_one_set_of_inputs_is_symmetric_whatever_the_chunks(name: str, outputs: str) -> None:
    model, (x, _) = model_of(name), inputs(name)
    whole = empirical_ntk(model, x, x, outputs=outputs)
    for chunk_size in (None, 1, 2, 5, 100):
        kernel = empirical_ntk(model, x, outputs=outputs, chunk_size=chunk_size)
        turned = kernel.mT if outputs == "trace" else kernel.permute(1, 0, 3, 2)
        assert torch.equal(kernel, turned)
        torch.testing.assert_close(kernel, whole, rtol=1e-12, atol=1e-12)
        across = empirical_ntk(model, x, x[:3], outputs=outputs, chunk_size=chunk_size)
        torch.testing.assert_close(across, whole[:, :3], rtol=1e-12, atol=1e-12)


def test_many_samples_are_taken_in_blocks() -> None:
    """Blocks above the diagonal, mirrored, and products with a second copy of the inputs."""
    model, x = model_of("mlp"), normal(1, 300, 4)
    for outputs in ("trace", "full"):
        kernel = empirical_ntk(model, x, outputs=outputs)
        across = empirical_ntk(model, x, x.clone(), outputs=outputs)
        torch.testing.assert_close(kernel, across, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("block", [1, 60, 700])
@pytest.mark.parametrize(
    "name", ["narrow over positions", "wide over positions", "convolutions", "embedding"]
)
def test_small_blocks_change_nothing(
    name: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, (x1, x2) = model_of(name), inputs(name)
    expected = [empirical_ntk(model, x1, x2, outputs=outputs) for outputs in ("trace", "full")]
    monkeypatch.setattr(products, "_BLOCK", block)
    for kernel, outputs in zip(expected, ("trace", "full"), strict=True):
        small = empirical_ntk(model, x1, x2, outputs=outputs)
        torch.testing.assert_close(small, kernel, rtol=1e-12, atol=1e-12)


def test_by_finite_differences() -> None:
    """Independent of autograd: central differences in every parameter, error about 1e-9."""
    for name in ("called twice", "recurrent module", "embedding looked up twice", "image norms"):
        model, (x, _) = model_of(name), inputs(name)
        columns = []
        with torch.no_grad():
            for p in model.parameters():
                flat = p.view(-1)
                for k in range(len(flat)):
                    value = float(flat[k])
                    ends = []
                    for sign in (1.0, -1.0):
                        flat[k] = value + sign * 1e-5
                        ends.append(model(x).reshape(len(x), -1))
                    flat[k] = value
                    columns.append((ends[0] - ends[1]) / 2e-5)
        rows = torch.stack(columns, -1)
        expected = torch.einsum("ncp,mcp->nm", rows, rows)
        torch.testing.assert_close(empirical_ntk(model, x), expected, rtol=1e-7, atol=1e-7)


def test_kernel_is_positive_and_scales() -> None:
    """Identities: a Gram matrix; twice the function has four times the kernel."""
    model, x = model_of("mlp"), normal(3, 20, 4)
    kernel = empirical_ntk(model, x, outputs="full").permute(0, 2, 1, 3).reshape(60, 60)
    assert float(torch.linalg.eigvalsh(kernel).min()) > -1e-12 * float(kernel.abs().max())
    doubled = Apply(lambda m, inputs: 2.0 * m.net(inputs), net=model)
    torch.testing.assert_close(empirical_ntk(doubled, x), 4.0 * empirical_ntk(model, x))


@pytest.mark.parametrize("name", ["mlp", "convolutions", "sequence norms"])
def test_single_precision_is_right_to_single_precision(name: str) -> None:
    model, (x, _) = model_of(name).float(), inputs(name)
    kernel = empirical_ntk(model, x.float()).double()
    reference = empirical_ntk(model.double(), x.float().double())
    assert float((kernel - reference).abs().max() / reference.abs().max()) < 1e-6


def test_linear_model_has_a_kernel_known_by_heart() -> None:
    x = normal(1, 6, 3)
    torch.testing.assert_close(
        empirical_ntk(nn.Linear(3, 5).double(), x), 5.0 * (x @ x.mT + 1.0), rtol=1e-14, atol=1e-14
    )


def test_path_may_differ_between_the_two_sets() -> None:
    """A model that calls its layer more often for one set than for the other."""

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        often = 2 if x.shape[1] == 4 else 1
        hidden = x[:, :4] if often == 2 else F.pad(x, (0, 1))
        for _ in range(often):
            hidden = m.a(hidden).tanh()
        return m.norm(hidden) if often == 1 else F.layer_norm(hidden, [4], m.norm.weight * 1.0)

    model = build(lambda: Apply(forward, a=nn.Linear(4, 4), norm=nn.LayerNorm(4)))
    x1, x2 = normal(1, 5, 4), normal(2, 3, 3)
    expected = sum(full_kernels(model, x1, x2).values())
    torch.testing.assert_close(empirical_ntk(model, x1, x2, outputs="full"), expected)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_uneven_padding() -> None:
    """An even kernel pads one more on the right."""
    model = build(lambda: nn.Sequential(nn.Conv2d(2, 3, (4, 3), padding="same"), nn.Flatten()))
    x = normal(1, 3, 2, 6, 5)
    expected = sum(full_kernels(model, x, x).values())
    torch.testing.assert_close(empirical_ntk(model, x, outputs="full"), expected)


def test_unused_and_tied_parameters_count_once() -> None:
    model, (x, _) = model_of("weight used outside of its layer"), inputs("mlp")
    parts = empirical_ntk_per_parameter(model, x)
    assert torch.equal(parts["b.weight"], torch.zeros(5, 5, dtype=x.dtype))
    tied = model_of("tied linear layers with biases of their own")
    assert list(empirical_ntk_per_parameter(tied, x)) == ["0.weight", "0.bias", "2.bias"]


def test_sparse_gradients_are_gradients() -> None:
    dense, sparse = (
        build(lambda flag=flag: nn.Sequential(nn.EmbeddingBag(6, 3, sparse=flag), nn.Tanh()))
        for flag in (False, True)
    )
    tokens = torch.randint(6, (5, 4), generator=seeded(5))
    torch.testing.assert_close(empirical_ntk(sparse, tokens), empirical_ntk(dense, tokens))


def test_writing_on_a_recorded_input_is_not_overlooked() -> None:
    """Plain autograd refuses this too; a wrong kernel would be silent."""
    model = build(
        lambda: Apply(
            lambda m, x: m.b(m.a(x).tanh() + x.mul_(2.0)), a=nn.Linear(4, 4), b=nn.Linear(4, 2)
        )
    )
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        empirical_ntk(model, normal(1, 5, 4))


def test_autocast_hides_weights_and_so_needs_exact_jacobians(exact_names: set[str]) -> None:
    """One rounded copy of the weight serves both calls: counting calls would miss the third use."""

    def forward(m: nn.Module, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return m.a(m.a(x).float()).float() + m.a.weight.sum()

    model, x = build(lambda: Apply(forward, a=nn.Linear(4, 4))).float(), normal(1, 5, 4).float()
    expected = sum(full_kernels(model, x, x).values())
    kernel = empirical_ntk(model, x, outputs="full")
    torch.testing.assert_close(kernel, expected, rtol=1e-5, atol=1e-3)
    assert exact_names == {"a.weight", "a.bias"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("train_mode", [True, False])
@pytest.mark.parametrize("name", ["mlp", "image norms", "attention", "positional table"])
def test_nothing_is_changed(name: str, train_mode: bool, dtype: torch.dtype) -> None:
    model, (x, _) = model_of(name).to(dtype), inputs(name)
    x = x.to(dtype)
    for module in model.modules():
        module.training = train_mode and not isinstance(module, nn.BatchNorm2d)
    modes = [m.training for m in model.modules()]
    model(x).square().sum().backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    state = {key: value.clone() for key, value in model.state_dict().items()}
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    random_state = torch.get_rng_state()
    for requires_grad in (True, False):  # of the caller's surroundings
        with torch.set_grad_enabled(requires_grad):
            kernel = empirical_ntk(model, x)
            assert torch.is_grad_enabled() is requires_grad
        assert kernel.dtype == dtype
        assert not kernel.requires_grad
    assert torch.equal(torch.get_rng_state(), random_state)
    assert [m.training for m in model.modules()] == modes
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()] == hooks
    for p, gradient in zip(model.parameters(), gradients, strict=True):
        assert torch.equal(p.grad, gradient)
        assert p.requires_grad
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key])


def test_an_error_in_the_model_leaves_nothing_behind() -> None:
    def fails(m: nn.Module, x: Tensor) -> Tensor:
        torch.rand(3)
        m.a(x)
        raise KeyError("inside")

    model = Apply(fails, a=nn.Linear(4, 2))
    state = torch.get_rng_state()
    with pytest.raises(KeyError, match="inside"):
        empirical_ntk(model, torch.ones(3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.overrides._get_current_function_mode_stack() == []
    assert model.a(torch.ones(1, 4)).shape == (1, 2)


def test_buffers_that_a_forward_pass_writes_are_spared() -> None:
    """Instance norm with running statistics writes on them in training mode."""
    model = nn.Sequential(nn.InstanceNorm1d(3, affine=True, track_running_stats=True)).double()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    x = normal(1, 4, 3, 6)
    expected = sum(full_kernels(model, x, x).values())  # this does write
    model.load_state_dict(before)
    torch.testing.assert_close(empirical_ntk(model, x, outputs="full"), expected)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])


class OwnBatchNorm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


class Accumulated(nn.Module):
    """Reads samples that come later only: the last one is as it is alone."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flip(0).cumsum(0).flip(0)


class OwnNoise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1e-9 * torch.randn_like(x)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), r"1 \(BatchNorm1d\) .* model.eval\(\)"),
        (
            nn.Sequential(nn.BatchNorm1d(4, track_running_stats=False)).eval(),
            "track_running_stats=True",
        ),
        (nn.Sequential(nn.Linear(4, 4), BatchNorm(4)), "couples its samples.*norm over features"),
        (nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)), r"1 \(Dropout\) is random in training"),
        (nn.Sequential(nn.Linear(4, 4), OwnBatchNorm()), "couples its samples"),
        (nn.Sequential(nn.Linear(4, 4), Accumulated()), "couples its samples"),
        (nn.Sequential(nn.Linear(4, 4), OwnNoise()), "draws random numbers"),
        (nn.Sequential(nn.Linear(4, 4), nn.RReLU()), "is random in training"),
        (nn.Sequential(nn.ReLU()), "no parameter of the model requires gradients"),
        (nn.Sequential(nn.Linear(4, 4).requires_grad_(False)), "no parameter"),
        (Apply(lambda m, x: m.a(x).sum(), a=nn.Linear(4, 2)), "first axis 5"),
        (Apply(lambda m, x: (m.a(x), x), a=nn.Linear(4, 2)), "first axis 5, not tuple"),
        (Apply(lambda m, x: m.a(x).log(), a=nn.Linear(4, 2)), "NaN or infinity"),
        (nn.Embedding(4, 2, max_norm=1.0), "set max_norm=None"),
        (Apply(lambda m, x: (x * m.a).abs(), a=torch.ones(4, dtype=torch.cfloat)), "a is complex"),
    ],
)
def test_refuses_models(model: nn.Module, message: str) -> None:
    x = torch.ones(5, 4, dtype=torch.long) if isinstance(model, nn.Embedding) else normal(1, 5, 4)
    state = torch.get_rng_state()
    model = model.double()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        empirical_ntk(model, x)
    assert torch.equal(torch.get_rng_state(), state)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"outputs": "mean"}, 'outputs must be "trace" or "full"'),
        ({"chunk_size": 0}, "chunk_size must be at least 1"),
        ({"x1": torch.ones(0, 4)}, "at least one sample"),
        ({"x2": torch.ones(0, 4)}, "at least one sample"),
    ],
)
def test_refuses_settings(settings: dict, message: str) -> None:
    call = {"x1": torch.ones(2, 4)} | settings
    with pytest.raises(ValueError, match=message):
        empirical_ntk(nn.Linear(4, 2), call.pop("x1"), **call)


def test_dropout_that_is_off_is_no_reason_to_refuse() -> None:
    for model in (
        nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.0)),
        nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.5)).eval(),
    ):
        assert empirical_ntk(model, torch.ones(3, 4)).shape == (3, 3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["convolutions", "embedding", "attention"])
def test_device_comes_from_the_inputs(name: str) -> None:
    model, (x1, x2) = model_of(name), inputs(name)
    expected = empirical_ntk(model, x1, x2)
    kernel = empirical_ntk(model.cuda(), x1.cuda(), x2.cuda())
    assert kernel.device.type == "cuda"
    torch.testing.assert_close(kernel.cpu(), expected, rtol=1e-9, atol=1e-9)
