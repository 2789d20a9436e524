r"""How noisy the gradients of single samples are, and the batch size at which that matters.

Samples have gradients $g_i = \nabla_\theta \ell_i$ with mean $G$ and covariance $\Sigma$ under
the distribution they are drawn from. The noise scales are

$$ B_{\text{simple}} = \frac{\operatorname{tr}\Sigma}{|G|^2}, \qquad
   B_{\text{noise}} = \frac{\operatorname{tr}(H\Sigma)}{G^\top H G}, $$

in samples: on smaller batches noise dominates a step, on larger ones the gradient. Losses are
per sample and the caller's, and $G$ is the gradient of their MEAN. For the estimates and their
standard errors see `learnmech.practice.gradient_noise.estimates`; for $B_{\text{noise}}$ they are
the same with the inner product $u^\top H v$.

Reference: McCandlish, Kaplan, Amodei et al., "An empirical model of large-batch training",
arXiv:1812.06162, equations (2.2)-(2.3) for the covariance, (2.8) and (2.9) for the scales, and
appendix A.1, equation (A.2), whose estimates are these for batches of 1 and n. Norms without
gradients: Goodfellow, arXiv:1510.01799.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from learnmech.practice.gradient_noise.estimates import NoiseScale, estimate_noise_scale
from learnmech.practice.layers import (
    Factor,
    per_sample_factors,
    sample_chunks,
    trained_parameters,
)

__all__ = [
    "GradientNoise",
    "hessian_noise_scale",
    "measure_gradient_noise",
    "squared_gradient_norms",
]

Losses = Callable[[Tensor, Tensor], Tensor]
HessianProduct = Callable[[Sequence[Tensor]], Sequence[Tensor]]


@dataclass(frozen=True)
class GradientNoise:
    """What `measure_gradient_noise` found on n samples."""

    squared_norms: Float[Tensor, " n"]  # $|g_i|^2$, squared units of loss per unit of parameters
    inner_products: Float[Tensor, " n"]  # $g_i \cdot \bar g$, the same units
    squared_norm_of_mean: float  # $|\bar g|^2$, the same units
    total: NoiseScale  # of all parameters together
    per_layer: Mapping[str, NoiseScale]  # by module, for its own parameters; "" for the model


def squared_gradient_norms(
    model: nn.Module,
    inputs: Shaped[Tensor, "n ..."],
    targets: Shaped[Tensor, "..."],
    losses: Losses,
    *,
    chunk_size: int | None = None,
) -> Float[Tensor, " n"]:
    r"""Return $|\nabla_\theta \ell_i|^2$ for every sample, at about the cost of one gradient.

    A layer's part is $|a_i|^2 |g_i|^2$ with its inputs a and the gradients g at its outputs, and
    with several positions $\sum_{ts} (a_{it}\cdot a_{is})(g_{it}\cdot g_{is})$, or the sum over
    positions first if that is cheaper. Layers that are not known get per-sample gradients.

    Args:
        model: Any module from `inputs` to outputs (n, ...), in evaluation mode if that makes a
            difference. Parameters without `requires_grad` are left out.
        inputs: (n, ...), with the dtype and on the device of the model.
        targets: (n, ...), as `losses` takes them.
        losses: One loss per sample, (n,), from (outputs, targets), no mean; for the half squared
            loss `lambda f, y: 0.5 * ((f - y) ** 2).sum(-1)`.
        chunk_size: Number of samples handled at a time, None for all.

    Returns:
        The squared norms, (n,), with the dtype and device of the losses.

    Raises:
        ValueError: On losses that are not of shape (n,) or not finite, a model that couples
            samples or is random, or no trained parameter.

    Reference: Goodfellow, arXiv:1510.01799.

    Cost: a forward and a backward pass, and O(n) per number in the layers' inputs and outputs.

    >>> net = nn.Linear(2, 1, bias=False)  # gradient of 1/2 f^2 with f = 3 w . x: f times 3 x
    >>> _ = nn.init.ones_(net.weight)
    >>> half = lambda f, y: 0.5 * ((f - y) ** 2).sum(-1)
    >>> squared_gradient_norms(net, torch.eye(2), torch.zeros(2, 1), half)
    tensor([1., 1.])
    """
    norms = []
    for chunk in sample_chunks(_same_length(inputs, targets), chunk_size):
        factors = _loss_factors(model, inputs[chunk], targets[chunk], losses)
        parts = [part for factor in factors for part in factor.squares().values()]
        norms.append(torch.stack(parts).sum(0))
    return torch.cat(norms)


def measure_gradient_noise(
    model: nn.Module,
    inputs: Shaped[Tensor, "n ..."],
    targets: Shaped[Tensor, "..."],
    losses: Losses,
    *,
    chunk_size: int | None = None,
) -> GradientNoise:
    r"""Measure norms, inner products with the mean and the simple noise scale, per layer too.

    Samples are taken for independent draws, so that $|G|^2$ is that of the distribution and not
    of these n samples, for which it would be `squared_norm_of_mean`.

    Args:
        model: As for `squared_gradient_norms`.
        inputs: (n, ...) with n of at least 3.
        targets: (n, ...), as `losses` takes them.
        losses: One loss per sample, (n,), from (outputs, targets), no mean.
        chunk_size: Number of samples handled at a time; None for all. With more than one chunk
            everything is computed twice, as inner products need the mean first.

    Returns:
        Per-sample numbers with the dtype and device of the losses; estimates as floats, computed
        from them in float64, with standard errors that hold the rounding of the dtype.

    Raises:
        ValueError: As `squared_gradient_norms`, and on fewer than 3 samples.

    Reference: McCandlish et al., arXiv:1812.06162, equations (2.9) and (A.2).

    Cost: about that of two gradients, or of three in chunks.

    >>> net = nn.Linear(1, 1, bias=False)  # loss w x: gradients are the inputs 1, 2 and 6
    >>> x = torch.tensor([[1.0], [2.0], [6.0]])
    >>> noise = measure_gradient_noise(net, x, x, lambda f, y: f[:, 0])
    >>> round(noise.total.noise, 6), round(noise.total.signal, 6)  # variance 7, and 9 - 7/3
    (7.0, 6.666667)
    """
    n = _same_length(inputs, targets)
    if n < 3:
        raise ValueError(f"noise scales with standard errors need 3 samples or more, not {n}.")
    chunks = sample_chunks(n, chunk_size)
    kept: list[list[Factor]] = []
    squares: dict[str, list[Tensor]] = defaultdict(list)
    means: dict[str, Tensor] = {}
    for chunk in chunks:
        factors = _loss_factors(model, inputs[chunk], targets[chunk], losses)
        for factor in factors:
            for name, part in factor.squares().items():
                squares[name].append(part)
            for name, total in factor.totals().items():
                means[name] = means[name] + total / n if name in means else total / n
        if len(chunks) == 1:
            kept.append(factors)
    inner: dict[str, list[Tensor]] = defaultdict(list)
    for i, chunk in enumerate(chunks):
        again = kept[i] if kept else _loss_factors(model, inputs[chunk], targets[chunk], losses)
        for factor in again:
            for name, part in factor.inner(means).items():
                inner[name].append(part)
    layers: dict[str, list[str]] = defaultdict(list)
    for name in trained_parameters(model):
        layers[name.rpartition(".")[0]].append(name)
    parts = {layer: _summed(squares, inner, means, names) for layer, names in layers.items()}
    everything = _summed(squares, inner, means, list(means))
    return GradientNoise(
        squared_norms=everything[0],
        inner_products=everything[1],
        squared_norm_of_mean=everything[2],
        total=estimate_noise_scale(*everything),
        per_layer={layer: estimate_noise_scale(*part) for layer, part in parts.items()},
    )


def _summed(
    squares: Mapping[str, Sequence[Tensor]],
    inner: Mapping[str, Sequence[Tensor]],
    means: Mapping[str, Tensor],
    names: Sequence[str],
) -> tuple[Tensor, Tensor, float]:
    """Squared norms, inner products and the mean's square of some parameters together."""
    own_squares, own_inner = (
        torch.stack([torch.cat(list(of[name])) for name in names]).sum(0) for of in (squares, inner)
    )
    return own_squares, own_inner, sum(float(means[name].double().square().sum()) for name in names)


def hessian_noise_scale(
    model: nn.Module,
    inputs: Shaped[Tensor, "n ..."],
    targets: Shaped[Tensor, "..."],
    losses: Losses,
    hessian_product: HessianProduct,
    *,
    batches: int = 32,
    generator: torch.Generator,
) -> NoiseScale:
    r"""Estimate $B_{\text{noise}} = \operatorname{tr}(H\Sigma) / (G^\top H G)$ from batches.

    The samples are dealt into K batches of b = n // K at random. Their mean gradients have the
    covariance $\Sigma/b$, so K products with H give unbiased estimates of both numbers, and the
    spread over batches gives standard errors that hold the noise of the sample as well. H itself
    is taken as given.

    Args:
        model: As for `squared_gradient_norms`.
        inputs: (n, ...) with n of at least `batches`.
        targets: (n, ...), as `losses` takes them.
        losses: One loss per sample, (n,), from (outputs, targets), no mean.
        hessian_product: Gives H v, with H the Hessian of the MEAN loss, for v given as a list of
            tensors: one per parameter that requires gradients, in the order and with the shapes
            of `model.parameters()`.
        batches: K, at least 3; standard errors fall as $1/\sqrt K$.
        generator: Deals the samples; up to K - 1 of them are left out.

    Returns:
        The estimates; `noise_scale` is in samples and refuses where $G^\top H G$ is not resolved
        or not positive.

    Raises:
        ValueError: As `squared_gradient_norms`, on fewer than 3 batches or more batches than
            samples, and on products that have other shapes or are not finite.

    Reference: McCandlish et al., arXiv:1812.06162, equation (2.8); estimates as in (A.2).

    Cost: one pass over the data, K products with H, and K gradients in memory.

    >>> net = nn.Linear(1, 1, bias=False)
    >>> x = torch.tensor([[1.0], [2.0], [6.0]])
    >>> scale = hessian_noise_scale(
    ...     net, x, x, lambda f, y: f[:, 0], lambda v: [10.0 * part for part in v],
    ...     batches=3, generator=torch.Generator().manual_seed(0),
    ... )
    >>> round(scale.noise, 5), round(scale.signal, 5)  # H = 10 times variance and mean square
    (70.0, 66.66667)
    """
    n = _same_length(inputs, targets)
    if not 3 <= batches <= n:
        raise ValueError(f"batches must be between 3 and the number of samples {n}, not {batches}.")
    names = list(trained_parameters(model))
    size = n // batches
    order = torch.randperm(n, generator=generator, device=generator.device).to(inputs.device)
    gradients: list[list[Tensor]] = []
    for k in range(batches):
        batch = order[k * size : (k + 1) * size]
        totals: dict[str, Tensor] = {}
        for factor in _loss_factors(model, inputs[batch], targets[batch], losses):
            totals |= factor.totals()
        gradients.append([totals[name] / size for name in names])
    stacked = [torch.stack(parts).flatten(1) for parts in zip(*gradients, strict=True)]
    columns = []
    for gradient in gradients:
        pushed = list(hessian_product(gradient))
        if [p.shape for p in pushed] != [g.shape for g in gradient]:
            raise ValueError(
                "hessian_product must give one tensor for each it gets, of the same shapes."
            )
        pairs = zip(stacked, pushed, strict=True)
        columns.append(
            torch.stack([g.double() @ p.detach().flatten().double() for g, p in pairs]).sum(0)
        )
    products = torch.stack(columns)
    if not bool(torch.isfinite(products).all()):
        raise ValueError("hessian_product gave NaN or infinity.")
    products = 0.5 * (products + products.mT)
    return estimate_noise_scale(
        products.diagonal(),
        products.mean(1),
        float(products.mean()),
        samples_per_gradient=size,
        precision=stacked[0].dtype,
    )


def _loss_factors(
    model: nn.Module, inputs: Tensor, targets: Tensor, losses: Losses
) -> list[Factor]:
    def call(network: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
        result = losses(network(x), y)
        if result.shape != x.shape[:1]:
            raise ValueError(
                f"losses must give one number per sample, ({len(x)},), not {tuple(result.shape)}; "
                'leave out the mean (reduction="none") and sum over outputs.'
            )
        return result

    return per_sample_factors(model, call, [inputs, targets])


def _same_length(inputs: Tensor, targets: Tensor) -> int:
    if inputs.shape[:1] != targets.shape[:1] or not inputs.shape[:1]:
        raise ValueError(
            f"inputs and targets need one common first axis, not shapes {tuple(inputs.shape)} and "
            f"{tuple(targets.shape)}."
        )
    return len(inputs)
