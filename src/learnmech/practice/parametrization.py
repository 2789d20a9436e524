r"""A parametrisation applied to any module: as initial weights and parameter groups, nothing else.

The exponents of width come from outside, as a table
(`learnmech.theory.parametrizations.width_exponents` makes them). What a parameter's row is, is read
off by comparing shapes with a narrower instance of the same architecture: which sides grow. With
$m$ the width over the base width, the table's forward multipliers moved into the rest,

$$ \text{std} = \frac{\text{gain}}{\sqrt{\text{fan-in at the base width}}}\; m^{-(a+b)}, \qquad
   \text{learning rate} = \eta\, m^{-(c+pa)}, \qquad p = 2 \text{ (SGD)}, \; 1 \text{ (Adam)}. $$

So no multiplier is left in the forward pass, no module is patched, no parameter carries hidden
state, and at the base width all parametrisations coincide. Moving the multipliers changes
nothing in training: exactly so for SGD with or without momentum, and for Adam because its `eps`
is moved too, to $\epsilon\, m^{a}$. Weight decay is not in the table and not touched: an L2 penalty
$\lambda$ on the parameters of the table would have to be multiplied by $m^{2a}$, the decoupled
decay of `torch.optim.AdamW` by $m^{a}$; neither is transferred between widths by any table here.

    roles = width_roles(model, narrower)
    reinitialise(model, roles, table, base_width=64, generator=generator)
    groups = parameter_groups(model, roles, table, base_width=64, learning_rate=0.1)
    optimizer = torch.optim.SGD(groups)

References: Yang and Hu, arXiv:2011.14522 (the symmetry); Yang et al., "Tensor Programs V",
arXiv:2203.03466 (kinds of parameters by the sides that grow); Everett et al., arXiv:2407.05872
(Adam's eps has to scale).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from fractions import Fraction
from math import prod
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from learnmech.numerics.scaling import KINDS, WidthExponents
from learnmech.practice.networks.ensemble import EnsembleMLP
from learnmech.practice.networks.linear import DeepLinear
from learnmech.practice.networks.norms import Affine

__all__ = ["Role", "WidthRoles", "parameter_groups", "reinitialise", "width_roles"]

_STACKED = (nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)
_LAYERS = (nn.Linear, _ConvNd, *_STACKED)
_NORMS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, _NormBase, Affine, nn.PReLU)


@dataclass(frozen=True)
class Role:
    """What one parameter does as the width grows.

    Raises:
        ValueError: On an unknown kind, or a weight without inputs.
    """

    kind: str  # "input", "hidden", "readout", "bias" or "fixed"
    fan_in: int | None  # number of inputs of each output of a weight; None for a bias or a gain

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no kind is called {self.kind!r}; choose from {', '.join(KINDS)}.")
        weight = self.kind in ("input", "hidden", "readout")
        if (weight and self.fan_in is None) or (self.fan_in is not None and self.fan_in < 1):
            raise ValueError(f"the fan-in of a weight must be at least one, not {self.fan_in}.")


@dataclass(frozen=True)
class WidthRoles:
    """The roles of all parameters of a module, and how wide it is."""

    width: int  # size of the smallest side that grows; base widths are counted the same way
    roles: Mapping[str, Role]  # name, as in named_parameters, -> role
    shapes: Mapping[str, tuple[int, ...]]  # name -> shape, by which a module is recognised

    def __post_init__(self) -> None:
        object.__setattr__(self, "roles", MappingProxyType(dict(self.roles)))
        object.__setattr__(self, "shapes", MappingProxyType(dict(self.shapes)))

    def __reduce__(self) -> tuple[Any, ...]:
        """Let the roles be copied and pass between processes, which read-only mappings do not."""
        return WidthRoles, (self.width, dict(self.roles), dict(self.shapes))


def width_roles(
    model: nn.Module, narrower: nn.Module, *, known: Mapping[str, Role] | None = None
) -> WidthRoles:
    """Tell what every parameter does, by comparing shapes with a narrower instance.

    Layers of PyTorch (linear, convolutional, recurrent, attention, embeddings, norms) and of this
    package say what their parameters are. Parameters of any other module do not: a matrix of
    which one side grows could be an input or a readout, and so could a vector, which could be a
    bias besides. They are refused unless `known` says what they are.

    Args:
        model: The module.
        narrower: The same architecture with every width divided by one number.
        known: Roles of parameters whose shapes do not say enough, by name or by a pattern such as
            `blocks.*.gain`; the first that fits counts.

    Returns:
        The role of every parameter, and the width of the model.

    Raises:
        ValueError: If the two are not the same architecture, no side grows, sides grow by
            different factors, a parameter is ambiguous, a pattern fits none, or one
            parameter with two uses has two roles.

    Reference: Yang et al., arXiv:2203.03466, appendix on matrix-like and vector-like parameters.

    >>> def net(n):
    ...     return nn.Sequential(nn.Linear(3, n), nn.ReLU(), nn.Linear(n, n), nn.Linear(n, 2))
    >>> roles = width_roles(net(8), net(4))
    >>> [(name, role.kind) for name, role in roles.roles.items() if "weight" in name]
    [('0.weight', 'input'), ('2.weight', 'hidden'), ('3.weight', 'readout')]
    >>> roles.width, roles.roles["3.bias"]
    (8, Role(kind='fixed', fan_in=None))
    """
    wide = dict(model.named_parameters(remove_duplicate=False))
    narrow = dict(narrower.named_parameters(remove_duplicate=False))
    same = wide.keys() == narrow.keys()
    if not same or any(wide[name].ndim != narrow[name].ndim for name in wide):
        raise ValueError("the two models have different parameters; give one architecture twice.")
    known = known or {}
    idle = [key for key in known if not any(fnmatchcase(name, key) for name in wide)]
    if idle:
        raise ValueError(f"no parameter is called {', '.join(idle)}.")
    modules = dict(model.named_modules(remove_duplicate=False))
    roles: dict[str, Role] = {}
    growing: set[int] = set()
    factors: set[Fraction] = set()
    by_tensor: dict[int, str] = {}
    for name, parameter in wide.items():
        shape, before = parameter.shape, narrow[name].shape
        grows = tuple(i for i, (n, k) in enumerate(zip(shape, before, strict=True)) if n != k)
        growing |= {shape[i] for i in grows}
        factors |= {Fraction(shape[i], before[i]) for i in grows}
        given = (role for key, role in known.items() if fnmatchcase(name, key))
        role = next(given, None) or _role(name, modules, shape, grows)
        first = by_tensor.setdefault(id(parameter), name)
        if first == name:
            roles[name] = role
        elif role != roles[first]:
            raise ValueError(
                f"{first} and {name} are one parameter with two roles, {roles[first].kind} and "
                f"{role.kind}; untie them, or give both names the role you mean in known=."
            )
    if not growing:
        raise ValueError("the two models have the same shapes; give a narrower second one.")
    if len(factors) > 1 or next(iter(factors)) < 1:
        raise ValueError(
            f"sides of the model are {', '.join(str(f) for f in sorted(factors))} times those of "
            "the narrower one; every width has to grow, and by one factor."
        )
    return WidthRoles(min(growing), roles, _shapes(model))


def reinitialise(
    model: nn.Module,
    roles: WidthRoles,
    table: WidthExponents,
    *,
    base_width: int,
    generator: torch.Generator,
    gain: float | Mapping[str, float] = 1.0,
    bias_std: float = 0.0,
) -> None:
    """Draw all weights of a module anew, in place, Gaussian and as a parametrisation says.

    Vectors whose entries are all equal (biases at zero, gains of norms at one) stay as they are;
    others, such as the biases that `nn.Linear` draws, become `bias_std` times a standard normal,
    and so does the bias of a single output unless it is zero. The row of an embedding's
    `padding_idx` becomes zero.

    Args:
        model: The module.
        roles: Its roles, from `width_roles`.
        table: Exponents of width.
        base_width: Width at which all parametrisations coincide; counted as `roles.width` is.
        generator: Source of randomness; parameters are drawn in the order of the module, each on
            the generator's device.
        gain: Standard deviation of weights times the root of their fan-in at the base width: one
            number (1 is LeCun's choice, the root of two He's), or kind -> number, one where
            left out.
        bias_std: Standard deviation of vectors that are drawn, at the base width.

    Raises:
        ValueError: If the roles are not those of this module, or on numbers out of range.

    >>> from learnmech.numerics.scaling import KINDS, Exponents, WidthExponents
    >>> table = WidthExponents("ours", "sgd", dict.fromkeys(KINDS, Exponents(0.5, 0.5, 0.0)))
    >>> def net(n):
    ...     return nn.Sequential(nn.Linear(1, n, bias=False), nn.Linear(n, 1, bias=False))
    >>> wide = net(10000)
    >>> g = torch.Generator().manual_seed(0)
    >>> reinitialise(wide, width_roles(wide, net(5)), table, base_width=100, generator=g)
    >>> spread = float(wide[1].weight.detach().std())
    >>> round(1000 * spread, 1)  # 1/10 at width 100, and 100 times less at 100 times the width
    1.0
    """
    scale = _scale(model, roles, base_width)
    gains = dict.fromkeys(KINDS, gain) if not isinstance(gain, Mapping) else dict(gain)
    decent = all(0.0 <= g < float("inf") for g in (*gains.values(), bias_std))
    if not decent or not gains.keys() <= set(KINDS):
        raise ValueError(f"gains must be finite, not negative, and of {', '.join(KINDS)}.")
    rows = table.without_multipliers().rows
    for name, parameter in model.named_parameters():
        role = roles.roles[name]
        if role.fan_in is None:
            values = parameter.detach().flatten()
            drawn_before = values.numel() == 1 and "bias" in name and bool(values != 0.0)
            if bool((values == values[:1]).all()) and not drawn_before:
                continue
            std = bias_std
        else:
            grows = role.kind in ("hidden", "readout")
            base_fan_in = role.fan_in / scale if grows else role.fan_in
            std = gains.get(role.kind, 1.0) / base_fan_in**0.5
        std *= scale ** -rows[role.kind].initial_std
        drawn = torch.randn(
            parameter.shape, generator=generator, dtype=parameter.dtype, device=generator.device
        )
        with torch.no_grad():
            parameter.copy_(std * drawn)
            for row in _padding(model, parameter):
                parameter[row] = 0.0


def parameter_groups(
    model: nn.Module,
    roles: WidthRoles,
    table: WidthExponents,
    *,
    base_width: int,
    learning_rate: float | Tensor,
    eps: float = 1e-8,
) -> list[dict[str, Any]]:
    """Return plain parameter groups for `torch.optim`, with the learning rates of the table.

    They go into the optimizer that the table is for: `torch.optim.SGD(groups, momentum=0.9)` or
    `torch.optim.Adam(groups)`, or into an `EnsembleSGD` or `EnsembleAdam`.

    Args:
        model: The module; parameters that do not require gradients are left out.
        roles: Its roles, from `width_roles`.
        table: Exponents of width.
        base_width: Width at which all parametrisations coincide; counted as `roles.width` is.
        learning_rate: eta, the learning rate of all parameters at the base width; a tensor (E,)
            for an ensemble.
        eps: Adam's epsilon at the base width; every group of a table for Adam has its own.

    Returns:
        One group for each kind of parameter there is, with "params", "lr" and, for Adam, "eps".

    Raises:
        ValueError: If the roles are not those of this module, on a learning rate that is not
            positive and finite, or a negative eps.

    >>> from learnmech.numerics.scaling import KINDS, Exponents, WidthExponents
    >>> table = WidthExponents("ours", "sgd", dict.fromkeys(KINDS, Exponents(0.5, 0.0, 0.0)))
    >>> def net(n):
    ...     return nn.Sequential(nn.Linear(3, n, bias=False), nn.Linear(n, 2, bias=False))
    >>> roles = width_roles(net(16), net(4))
    >>> groups = parameter_groups(net(16), roles, table, base_width=8, learning_rate=1.0)
    >>> [group["lr"] for group in groups]  # a multiplier of 2^-1/2 is worth 1/2
    [0.5, 0.5]
    """
    scale = _scale(model, roles, base_width)
    rates = torch.as_tensor(learning_rate)
    if not bool((rates > 0).all()) or not bool(torch.isfinite(rates).all()):
        raise ValueError("learning_rate must be positive and finite.")
    if not 0.0 <= eps < float("inf"):
        raise ValueError(f"eps must be finite and not negative, not {eps}.")
    rows = table.without_multipliers().rows
    groups: list[dict[str, Any]] = []
    for kind in KINDS:
        members = [
            parameter
            for name, parameter in model.named_parameters()
            if roles.roles[name].kind == kind and parameter.requires_grad
        ]
        if members:
            group = {"params": members, "lr": learning_rate * scale ** -rows[kind].learning_rate}
            if table.optimizer == "adam":
                group["eps"] = eps * scale ** table.rows[kind].multiplier
            groups.append(group)
    return groups


def _scale(model: nn.Module, roles: WidthRoles, base_width: int) -> float:
    if _shapes(model) != roles.shapes:
        raise ValueError(
            "these roles belong to another module, or to another width of this one; take "
            "width_roles of this very module."
        )
    if not 1 <= base_width < float("inf"):
        raise ValueError(f"base_width must be at least one and finite, not {base_width}.")
    return roles.width / base_width


def _padding(model: nn.Module, table: nn.Parameter) -> list[int]:
    """Rows of an embedding that stand for nothing and never train."""
    return [
        module.padding_idx
        for module in model.modules()
        if isinstance(module, nn.Embedding | nn.EmbeddingBag)
        and module.weight is table
        and module.padding_idx is not None
    ]


def _shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def _role(
    name: str, modules: Mapping[str, nn.Module], shape: torch.Size, grows: tuple[int, ...]
) -> Role:
    """Return the role of one parameter from the sides that grow, or refuse."""
    sides = _sides(name, modules, shape)
    if sides is not None:
        out, into, fan_in = sides
        strange = set(grows) - {out, into}
        if strange:
            raise ValueError(f"{name} of shape {tuple(shape)} grows along an axis with no width.")
        kind = {(True, True): "hidden", (True, False): "input", (False, True): "readout"}.get(
            (out in grows, into in grows), "fixed"
        )
        return Role(kind, fan_in)
    if _is_vector(name, modules) or (not grows and len(shape) < 2):
        return Role("bias" if grows else "fixed", None)
    raise ValueError(
        f"{name} of shape {tuple(shape)} belongs to a module that this function does not know, so "
        "its shape does not tell an input from a readout or a bias; give its role in known=, for "
        f'example {{"{name}": Role("input", fan_in=...)}}.'
    )


def _owner(name: str, modules: Mapping[str, nn.Module]) -> tuple[nn.Module, str]:
    """Return the module a parameter belongs to and its name there; a list belongs to its owner."""
    path, _, local = name.rpartition(".")
    if isinstance(modules[path], nn.ParameterList):
        path, _, local = path.rpartition(".")
    return modules[path], local


def _is_vector(name: str, modules: Mapping[str, nn.Module]) -> bool:
    """Say whether a parameter is the bias of a known layer, or belongs to a known norm."""
    owner, local = _owner(name, modules)
    if isinstance(owner, EnsembleMLP):
        return local == "biases"
    return isinstance(owner, _NORMS) or (isinstance(owner, _LAYERS) and "bias" in local)


def _sides(
    name: str, modules: Mapping[str, nn.Module], shape: torch.Size
) -> tuple[int, int | None, int] | None:
    """Return a weight's output axis, input axis and fan-in; None for what is not a known weight."""
    owner, local = _owner(name, modules)
    if isinstance(owner, DeepLinear | EnsembleMLP) and local == "weights":
        return len(shape) - 2, len(shape) - 1, shape[-1]
    if local == "weight":
        if isinstance(owner, _ConvTransposeNd):
            return 1, 0, shape[0] * prod(shape[2:])
        if isinstance(owner, nn.Linear | _ConvNd):
            return 0, 1, prod(shape[1:])
        if isinstance(owner, nn.Embedding | nn.EmbeddingBag):
            return 1, None, 1  # a row is picked, not summed over
    if isinstance(owner, _STACKED) and "weight" in local:
        return 0, 1, shape[1]
    return None
