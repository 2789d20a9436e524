"""64 small networks, 8 seeds times 8 learning rates: one batched run beside a loop of torch.optim.

Digits in 30 dimensions, perceptrons 30-32-32-10, half squared loss, float64. Both sides start from
the same weights and see the same minibatches, which the loop gets ready-made; after the run the
losses on all data are compared, network by network. The gain is in overheads: it is larger for
smaller batches, and for tanh, whose evaluation costs both sides the same, smaller than for ReLU.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from harness import Bench, Facts
from torch import nn

from learnmech.practice.data import Dataset, load
from learnmech.practice.losses import half_squared_loss
from learnmech.practice.networks import EnsembleMLP, mlp
from learnmech.practice.training import EnsembleAdam, EnsembleSGD, train
from learnmech.practice.training.batches import minibatches

STEPS = 150
SEEDS = range(8)
RATES = torch.logspace(-3.0, -1.5, 8, dtype=torch.float64)
OPTIMIZERS = {
    "SGD": (EnsembleSGD, torch.optim.SGD, {}),
    "SGD with momentum": (EnsembleSGD, torch.optim.SGD, {"momentum": 0.9}),
    "Adam": (EnsembleAdam, torch.optim.Adam, {}),
}


def seeded(seed: int) -> torch.Generator:
    """Return a generator with a seed."""
    return torch.Generator().manual_seed(seed)


class Work:
    """The same training twice, on minibatches of one size with one kind of optimizer."""

    def __init__(self, data: Dataset, batch_size: int, optimizer: str, activation: str) -> None:
        self.inputs, self.targets, self.batch_size = data.inputs, data.targets, batch_size
        self.ensemble_optimizer, self.optimizer, self.settings = OPTIMIZERS[optimizer]
        self.networks = [
            mlp((30, 32, 32, 10), activation=activation, generator=seeded(seed))
            for seed in SEEDS
            for _ in RATES
        ]
        self.rates = RATES.repeat(len(SEEDS))
        chosen = minibatches(len(data.inputs), batch_size, seeded(0))
        self.batches = [
            (data.inputs[i], data.targets[i]) for i, _ in zip(chosen, range(STEPS), strict=False)
        ]
        self.ours: np.ndarray | None = None
        self.theirs: np.ndarray | None = None

    def together(self) -> Facts:
        """Train all networks in one batched run."""
        ensemble = EnsembleMLP(self.networks)
        run = train(
            ensemble,
            self.inputs,
            self.targets,
            optimizer=self.ensemble_optimizer(ensemble.parameters(), self.rates, **self.settings),
            steps=STEPS,
            probe_steps=[STEPS],
            batch_size=self.batch_size,
            generator=seeded(0),
        )
        self.ours = run.records["loss"][0]
        return {"best_loss": float(self.ours.min())}

    def one_by_one(self) -> Facts:
        """Train them in a plain loop."""
        losses = []
        for network, rate in zip(self.networks, self.rates.tolist(), strict=True):
            model = copy.deepcopy(network)
            optimizer = self.optimizer(model.parameters(), lr=rate, **self.settings)
            losses.append(self.loop(model, optimizer))
        self.theirs = np.array(losses)
        return {"best_loss": float(self.theirs.min())}

    def loop(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> float:
        """Train one network and return its loss on all data."""
        for x, y in self.batches:
            optimizer.zero_grad()
            loss = 0.5 * ((model(x) - y) ** 2).sum(-1).mean()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            return float(half_squared_loss(model(self.inputs), self.targets))

    def disagreement(self) -> float:
        """Return the largest relative difference between the two sides' final losses."""
        assert self.ours is not None
        assert self.theirs is not None
        return float(np.max(np.abs(self.ours / self.theirs - 1.0)))


def main() -> None:
    """Race the batched run against the loop for several optimizers and batch sizes."""
    digits = load("digits", components=30)
    with Bench("ensembles") as bench:
        for optimizer, activation, batch_size, target in (
            ("SGD", "relu", 64, 3.5),
            ("SGD with momentum", "relu", 64, 3.5),
            ("Adam", "relu", 64, 3.5),
            ("SGD", "tanh", 64, None),
            ("SGD", "relu", 256, None),
        ):
            work = Work(digits, batch_size, optimizer, activation)
            name = (
                f"64 {activation} networks of width 32, {STEPS} steps of {optimizer}, "
                f"batches of {batch_size}"
            )
            bench.race(
                name,
                ours=work.together,
                peer=work.one_by_one,
                peer_name="loop with torch.optim",
                at_least=target,
                pairs=3,
            )
            bench.bound(f"{name}: difference of losses", work.disagreement(), at_most=1e-11)


if __name__ == "__main__":
    main()
