"""The average gradient outer product in closed form, against Jacobians, and what it refuses."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from learnmech.practice.representations import average_gradient_outer_product as agop


def draw(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def filled(model: nn.Module, seed: int = 0) -> nn.Module:
    """Float64 weights from a generator of their own."""
    model = model.double()
    with torch.no_grad():
        for k, p in enumerate(model.parameters()):
            p.copy_(0.5 * draw(seed + k, *p.shape))
    return model


def perceptron() -> nn.Module:
    return filled(
        nn.Sequential(nn.Linear(5, 7), nn.GELU(), nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, 3))
    )


def by_jacobians(model: nn.Module, inputs: Tensor) -> Tensor:
    """Independent: every sample's whole Jacobian on its own, by vmap of jacrev."""
    state = dict(model.named_parameters()) | dict(model.named_buffers())

    def single(x: Tensor) -> Tensor:
        return functional_call(model, state, (x[None],))[0].reshape(-1)

    jacobians = vmap(jacrev(single))(inputs).detach().flatten(2)
    return torch.einsum("nci,ncj->ij", jacobians, jacobians) / len(inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_linear_network_gives_its_product(dtype: torch.dtype) -> None:
    w1, w2 = draw(0, 6, 4, dtype=dtype), draw(1, 3, 6, dtype=dtype)
    model = nn.Sequential(nn.Linear(4, 6, dtype=dtype), nn.Linear(6, 3, dtype=dtype))
    model[0].weight.data, model[1].weight.data = w1, w2
    inputs = draw(2, 9, 4, dtype=dtype)
    product = w2 @ w1
    result = agop(model, inputs)
    assert result.dtype == dtype
    assert not result.requires_grad
    torch.testing.assert_close(result, product.T @ product)
    torch.testing.assert_close(agop(model, inputs, layer="0"), product.T @ product)
    torch.testing.assert_close(agop(model, inputs, layer="1"), w2.T @ w2)


class Quadratic(nn.Module):
    """Half x^T A x, whose gradient is A x."""

    def __init__(self, a: Tensor) -> None:
        super().__init__()
        self.register_buffer("a", a)

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * ((x @ self.a) * x).sum(1)


def test_a_quadratic_form_in_closed_form() -> None:
    """J_i = A x_i, so the product is A (mean of x x^T) A; outputs of shape (n,)."""
    a = draw(0, 4, 4)
    a = a + a.T
    x = draw(1, 11, 4)
    torch.testing.assert_close(agop(Quadratic(a), x), a @ (x.T @ x / 11) @ a)


def test_one_tanh_layer_in_closed_form() -> None:
    """J_i = V diag(1 - tanh^2) W, written out for every sample."""
    model = filled(nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)))
    x = draw(5, 10, 4)
    w, v = model[0].weight.detach(), model[2].weight.detach()
    slopes = 1.0 - torch.tanh(model[0](x).detach()) ** 2
    jacobians = torch.einsum("ch,nh,hd->ncd", v, slopes, w)
    expected = torch.einsum("nci,ncj->ij", jacobians, jacobians) / 10
    torch.testing.assert_close(agop(model, x), expected)
    assert float(torch.trace(agop(model, x))) == pytest.approx(float((jacobians**2).sum() / 10))


@pytest.mark.parametrize("chunk_size", [None, 2, 5, 20, 100])
def test_against_every_sample_s_jacobian(chunk_size: int | None) -> None:
    model, x = perceptron(), draw(9, 20, 5)
    torch.testing.assert_close(agop(model, x, chunk_size=chunk_size), by_jacobians(model, x))


@pytest.mark.parametrize(("layer", "first"), [("0", 0), ("1", 1), ("2", 2), ("4", 4)])
def test_a_layer_s_inputs(layer: str, first: int) -> None:
    """By a layer's inputs is the same as by the inputs of the network that begins there."""
    model, x = perceptron(), draw(9, 20, 5)
    hidden = model[:first](x).detach() if first else x
    torch.testing.assert_close(agop(model, x, layer=layer), by_jacobians(model[first:], hidden))


class Skip(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inside(x)


def test_a_path_around_the_layer_does_not_count() -> None:
    model = filled(Skip())
    w, eye = model.inside.weight.detach(), torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(agop(model, draw(0, 6, 3)), (eye + w).T @ (eye + w))
    torch.testing.assert_close(agop(model, draw(0, 6, 3), layer="inside"), w.T @ w)


def test_images_tokens_and_one_sample() -> None:
    images = draw(0, 6, 1, 5, 5)
    convolution = filled(
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.GELU(), nn.Flatten(), nn.Linear(18, 2))
    )
    result = agop(convolution, images)
    assert result.shape == (25, 25)
    torch.testing.assert_close(result, by_jacobians(convolution, images))
    tokens = torch.tensor([[0, 3], [2, 2], [1, 0]])
    language = filled(nn.Sequential(nn.Embedding(4, 3), nn.Flatten(), nn.Linear(6, 4)))
    w = language[2].weight.detach()
    torch.testing.assert_close(agop(language, tokens, layer="2"), w.T @ w)
    torch.testing.assert_close(
        agop(perceptron(), draw(1, 1, 5)), by_jacobians(perceptron(), draw(1, 1, 5))
    )


def test_an_in_place_activation_spares_the_inputs() -> None:
    model = filled(nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 2)))
    x = draw(0, 8, 4)
    before = x.clone()
    w = model[1].weight.detach()
    open_gates = (x > 0).double()
    expected = torch.einsum("ni,ci,cj,nj->ij", open_gates, w, w, open_gates) / 8
    torch.testing.assert_close(agop(model, x), expected)
    torch.testing.assert_close(agop(model, x, layer="0"), expected)
    torch.testing.assert_close(agop(model, x, layer="1"), w.T @ w)
    assert torch.equal(x, before)


@pytest.mark.parametrize("train_mode", [True, False])
def test_the_model_is_left_as_it_was(train_mode: bool) -> None:
    """Under no_grad, with gradients held, frozen parameters, and buffers that training moves."""
    model = perceptron()
    model[0] = torch.nn.utils.parametrizations.spectral_norm(model[0])
    model.train(train_mode)
    x = draw(9, 20, 5).requires_grad_()
    model(x).sum().backward()
    x.grad = None
    model[2].weight.requires_grad_(False)
    held = {k: (p.detach().clone(), p.grad is not None) for k, p in model.named_parameters()}
    buffers = {k: b.clone() for k, b in model.named_buffers()}
    state = torch.random.get_rng_state()
    with torch.no_grad():
        result = agop(model, x, layer="2")
        assert not torch.is_grad_enabled()
    assert result.shape == (7, 7)
    assert model.training is train_mode
    assert torch.equal(torch.random.get_rng_state(), state)
    assert x.grad is None
    for name, p in model.named_parameters():
        assert torch.equal(p, held[name][0])
        assert (p.grad is not None) is held[name][1]
        assert p.requires_grad is (name != "2.weight")
    for name, b in model.named_buffers():
        assert torch.equal(b, buffers[name])
    assert all(not m._forward_pre_hooks for m in model.modules())


def test_batch_normalisation_reads_in_evaluation_mode() -> None:
    model = filled(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Linear(3, 2)))
    x = draw(0, 10, 4)
    model.train()
    with pytest.raises(ValueError, match=r"1 \(BatchNorm1d\) .* call model.eval\(\)"):
        agop(model, x)
    assert int(model[1].num_batches_tracked) == 0
    model.eval()
    torch.testing.assert_close(agop(model, x), by_jacobians(model, x))


class Centred(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(0)) ** 2


@pytest.mark.parametrize(
    ("coupled", "message"),
    [
        (Centred(), "depend on other samples"),  # found by its gradients
        (nn.BatchNorm1d(4, track_running_stats=False).eval(), "couples its samples"),
    ],
)
def test_samples_that_feel_each_other_are_refused(coupled: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        agop(nn.Sequential(coupled, nn.Tanh()), draw(0, 10, 4))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Dropout(0.1),
        nn.AlphaDropout(0.1),
        nn.RReLU(),
        nn.MultiheadAttention(4, 2, dropout=0.1),
        nn.LSTM(4, 4, 2, dropout=0.1),
    ],
)
def test_random_layers_are_refused_in_training_mode(layer: nn.Module) -> None:
    with pytest.raises(ValueError, match="in training mode"):
        agop(nn.Sequential(nn.Linear(4, 4), layer).train(), torch.ones(3, 4))


def test_dropout_that_drops_nothing_is_fine() -> None:
    model = filled(nn.Sequential(nn.Dropout(0.0), nn.Linear(4, 2), nn.Dropout(0.5)))
    model[2].eval()
    w = model[1].weight.detach()
    torch.testing.assert_close(agop(model, draw(0, 6, 4)), w.T @ w)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.inside(self.inside(x))


class Products(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inside = nn.Bilinear(3, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.inside(x, x)


class Constant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.detach() ** 2


class Pairs(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(len(x) // 2, -1)


class Sum(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum()


class Root(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sqrt()


ONES = torch.ones(4, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: agop(nn.Linear(3, 2), ONES[:0]), "at least one sample"),
        (lambda: agop(nn.Linear(3, 2), ONES, chunk_size=1), "chunk size of at least two"),
        (lambda: agop(nn.Linear(3, 2), ONES.long()), "floating-point numbers"),
        (lambda: agop(nn.Sequential(nn.Tanh()), ONES, layer="1"), r"no layer '1'.*\['0'\]"),
        (lambda: agop(nn.Sequential(nn.Tanh()), ONES, layer=""), "no layer ''"),
        (lambda: agop(Twice(), ONES, layer="inside"), "called 2 times"),
        (lambda: agop(Constant(), ONES), "differentiable way"),
        (lambda: agop(Pairs(), ONES), "returns 2 rows for 4 samples"),
        (lambda: agop(Sum(), ONES), "return one tensor, with a row for each sample"),
        (lambda: agop(nn.Linear(3, 2), ONES * torch.nan), "inputs hold NaN or infinity"),
        (lambda: agop(Root(), ONES * 0.0), "NaN, infinite or too large"),
        (
            lambda: agop(nn.Sequential(nn.Identity(), Pairs(), nn.Tanh()), ONES, layer="2"),
            "one row for each sample",
        ),
        (
            lambda: agop(Products(), ONES, layer="inside"),
            "takes something other",
        ),
    ],
)
def test_refuses(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_symmetric_and_positive() -> None:
    values = np.linalg.eigvalsh(agop(perceptron(), draw(9, 20, 5)).numpy())
    assert values[0] > -1e-14
    assert len(values) == 5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_device_comes_from_the_inputs() -> None:
    model, x = perceptron(), draw(9, 20, 5)
    expected = agop(model, x, layer="2")
    result = agop(model.cuda(), x.cuda(), layer="2")
    assert result.device.type == "cuda"
    torch.testing.assert_close(result.cpu(), expected)
