"""Which known operations a forward pass went through, without touching the model.

`Recorder` watches calls of torch functions while a model runs; the model, its modules and its
hooks are left alone. For each known call with trained parameters it keeps a `Site`: the rule's
`Use` and the place in the autograd graph where the gradient at the call's output will pass. And
it says which parameters reach the output by anything else, for which sites would not be enough.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge
from torch.overrides import TorchFunctionMode

from learnmech.practice.layers.factors import Factor, Weight
from learnmech.practice.layers.rules import DERIVATIONS, RULES, Use

__all__ = ["Recorder", "Site"]


@dataclass(frozen=True, eq=False)
class Site:
    """One call of a known operation with trained parameters."""

    key: Hashable  # operation and parameters: calls with the same key are added up
    weights: tuple[Weight, ...]  # the trained parameters
    carriers: tuple[Node, ...]  # in the graph: the parameters, or what was made of them
    source: Tensor  # what the operation worked on
    version: int  # of `source`, to see whether it was written on later
    edge: GradientEdge  # where the gradients at the output pass
    shape: tuple[int, ...]  # of the output
    build: Callable[[Tensor, Tensor], Factor]  # (source, gradients (n, C, ...)) -> factor


@dataclass(frozen=True, eq=False)
class _Derived:
    """A tensor made of a parameter by transposition or multiplication by a number."""

    tensor: Tensor
    version: int
    weight: Weight
    node: Node
    parent: Node


class Recorder(TorchFunctionMode):
    """Keeps the known calls that are made while it is active.

    Args:
        trained: The parameters to look for, by their names.
    """

    def __init__(self, trained: Mapping[str, nn.Parameter]) -> None:
        super().__init__()
        self.sites: list[Site] = []
        self._names = tuple(trained)
        self._parameters = {id(p): Weight(name, tuple(p.shape)) for name, p in trained.items()}
        self._derived: dict[int, _Derived] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Make the call, and keep it if it is known."""
        options = dict(kwargs or {})
        output = func(*args, **options)
        if not (isinstance(output, Tensor) and output.requires_grad):
            return output
        if torch.is_autocast_enabled(output.device.type):  # which hides copies of parameters
            return output
        if func in DERIVATIONS and not options:
            self._follow(output, DERIVATIONS[func](self._find, *args), args)
        if func in RULES and id(output) not in self._derived:
            rule = RULES[func]
            self._keep(
                rule, rule(self._find, output, args, options), output, (*args, *options.values())
            )
        return output

    def unaccounted(self, output: Tensor) -> set[str]:
        """Names of the parameters that reach `output` by other ways than recorded calls.

        Every edge of the graph behind `output` into a parameter, or into something made of it,
        must be that of one recorded call; a parameter without any edge is unaccounted for too.
        """
        edges, reached = _edges_into(output)
        expected: Counter[Node] = Counter()
        for site in self.sites:
            if site.edge.node in reached:
                expected.update(site.carriers)
        carried: dict[str, list[Node]] = {name: [] for name in self._names}
        for site in self.sites:
            for weight, carrier in zip(site.weights, site.carriers, strict=True):
                carried[weight.name].append(carrier)
        for derived in self._derived.values():
            if derived.node in reached:
                expected[derived.parent] += 1
            carried[derived.weight.name] += [derived.node, derived.parent]
        return {
            name
            for name, nodes in carried.items()
            if not any(edges[node] for node in nodes)
            or any(edges[node] != expected[node] for node in nodes)
        }

    def _follow(self, output: Tensor, weight: Weight | None, inputs: Sequence[Any]) -> None:
        if weight is not None:
            parent = self._carriers(inputs)[weight.name]
            node = get_gradient_edge(output).node
            self._derived[id(output)] = _Derived(output, output._version, weight, node, parent)

    def _keep(self, rule: Hashable, use: Use | None, output: Tensor, inputs: Sequence[Any]) -> None:
        weights = tuple(w for w in use.weights if w is not None) if use is not None else ()
        if use is not None and len({w.name for w in weights}) == len(weights) > 0:
            carriers = self._carriers(inputs)
            self.sites.append(
                Site(
                    key=(rule, use.weights),
                    weights=weights,
                    carriers=tuple(carriers[w.name] for w in weights),
                    source=use.source.detach(),
                    version=use.source._version,
                    edge=get_gradient_edge(output),
                    shape=tuple(output.shape),
                    build=use.build,
                )
            )

    def _carriers(self, inputs: Sequence[Any]) -> dict[str, Node]:
        """Nodes of the inputs that are parameters or made of them, by the parameters' names."""
        found = ((self._find(x), x) for x in inputs)
        return {w.name: get_gradient_edge(x).node for w, x in found if w is not None}

    def _find(self, tensor: Any) -> Weight | None:
        derived = self._derived.get(id(tensor))
        if derived is not None:
            return derived.weight if derived.tensor._version == derived.version else None
        return self._parameters.get(id(tensor))


def _edges_into(output: Tensor) -> tuple[Counter[Node], set[Node]]:
    """Count the edges into each node of the graph behind `output`, and return these nodes."""
    edges: Counter[Node] = Counter()
    reached = set() if output.grad_fn is None else {output.grad_fn}
    waiting = list(reached)
    while waiting:
        for node, _ in waiting.pop().next_functions:
            if node is not None:
                edges[node] += 1
                if node not in reached:
                    reached.add(node)
                    waiting.append(node)
    return edges, reached
