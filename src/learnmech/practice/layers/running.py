"""Run somebody else's model without changing anything, and refuse what has no per-sample answer.

An instrument that speaks of single samples needs a model that computes every sample by itself:
no batch statistics, no random numbers. And it must leave the model, its buffers, the data and
the random state as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from learnmech.practice.networks.norms import BatchNorm

__all__ = [
    "agree",
    "number_of_samples",
    "refuse_coupled_samples",
    "refuse_difference",
    "sample_chunks",
    "trained_parameters",
    "undisturbed",
]

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_DROPOUTS = (
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)


def trained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that require gradients, each once, by their first names.

    Raises:
        ValueError: Where there is none.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not trained:
        raise ValueError("no parameter of the model requires gradients, so there is none to take.")
    return trained


def refuse_coupled_samples(model: nn.Module) -> None:
    """Raise where a module mixes the samples of a batch, is random, or changes when called.

    Raises:
        ValueError: The sentence names the module.
    """
    for name, module in model.named_modules():
        title = f"{name or 'the model'} ({type(module).__name__})"
        remedy = None
        if isinstance(module, BatchNorm):
            remedy = "take a norm over features, or torch.nn.BatchNorm1d in evaluation mode"
        elif isinstance(module, _BATCH_NORMS) and module.running_mean is None:
            remedy = "give it running statistics (track_running_stats=True)"
        elif isinstance(module, _BATCH_NORMS) and module.training:
            remedy = "call model.eval() first"
        if remedy is not None:
            raise ValueError(
                f"{title} normalises with the statistics of the batch and so couples its samples: "
                f"no gradient belongs to one of them; {remedy}."
            )
        rate = 0.0
        if isinstance(module, _DROPOUTS):
            rate = module.p
        elif isinstance(module, nn.MultiheadAttention | nn.RNNBase):
            rate = module.dropout
        if module.training and (rate > 0.0 or isinstance(module, nn.RReLU)):
            raise ValueError(f"{title} is random in training mode; call model.eval() first.")
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.max_norm is not None:
            raise ValueError(
                f"{title} rewrites its own weights whenever it is called, because of max_norm; "
                "set max_norm=None."
            )


def sample_chunks(n: int, chunk_size: int | None) -> list[slice]:
    """Return slices of 0..n of at most `chunk_size` samples; one slice for None.

    Raises:
        ValueError: On no sample, or a chunk size below one.
    """
    if n < 1:
        raise ValueError("give at least one sample.")
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(
            f"chunk_size must be at least 1, or None for all at once; not {chunk_size}."
        )
    step = chunk_size or n
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def number_of_samples(tensors: Sequence[Tensor]) -> int:
    """Return the length of the common first axis.

    Raises:
        ValueError: Where there is none, or no sample on it.
    """
    lengths = {len(t) if t.ndim else 0 for t in tensors}
    if len(lengths) != 1 or 0 in lengths:
        shapes = " and ".join(str(tuple(t.shape)) for t in tensors)
        raise ValueError(f"give at least one sample on one common first axis, not {shapes}.")
    return lengths.pop()


@contextmanager
def undisturbed(model: nn.Module, device: torch.device) -> Iterator[Callable[..., Any]]:
    """Lend a network that stands for the model, with copies of its buffers and of its inputs.

    Gradients are recorded inside, and the random state is put back at the end.

    Raises:
        ValueError: At the end, where random numbers were drawn.
    """
    on_cuda = device.type == "cuda"
    before = torch.get_rng_state()
    before_cuda = torch.cuda.get_rng_state(device) if on_cuda else before
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}

    def network(*inputs: Tensor) -> Any:
        copies = tuple(x.clone() for x in inputs)
        return functional_call(model, buffers, copies) if buffers else model(*copies)

    moved = False
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield network
    finally:
        if not torch.equal(torch.get_rng_state(), before):
            torch.set_rng_state(before)
            moved = True
        if on_cuda and not torch.equal(torch.cuda.get_rng_state(device), before_cuda):
            torch.cuda.set_rng_state(before_cuda, device)
            moved = True
    if moved:
        raise ValueError(
            "the model draws random numbers when it is called, so its gradients are not those of "
            "one function; call model.eval(), or take the randomness out."
        )


def agree(row: Tensor, alone: Tensor) -> bool:
    """Say whether two ways to one row differ by no more than rounding does."""
    if not row.is_floating_point():
        return torch.equal(row, alone)
    row, alone = row.detach(), alone.detach()
    scale = torch.maximum(row.abs().max(), alone.abs().max())
    return bool((row - alone).abs().max() <= 10.0 * torch.finfo(row.dtype).eps ** 0.5 * scale)


def refuse_difference(in_batch: Tensor, alone: Tensor) -> None:
    """Raise unless what the batch and one sample alone give is the same to rounding.

    Raises:
        ValueError: As the model couples its samples.
    """
    if not agree(in_batch, alone):
        raise ValueError(
            "a sample alone gives another output than in the batch, so the model couples its "
            "samples and nothing belongs to one of them."
        )
