r"""Standard, NTK, mean-field and maximal-update parametrisations: one table, and what follows.

For width $n$ and each kind of parameter (see `learnmech.numerics.scaling`) a layer uses
$n^{-a} w$, starts with $w \sim \mathcal{N}(0, n^{-2b})$, and has the learning rate
$\eta\, n^{-c}$:

                              a     b     c      c
                                         SGD   Adam
    standard     input        0     0     0      0
                 hidden       0    1/2    0      0
                 readout      0    1/2    0      0
    ntk          input        0     0     0     1/2
                 hidden      1/2    0     0      1
                 readout     1/2    0     0     1/2
    mean-field   input        0     0    -1      0
                 hidden      1/2    0    -1     1/2
                 readout      1     0    -1      0
    mup          input        0     0    -1      0
                 hidden       0    1/2    0      1
                 readout      0     1     1      1

A bias has the row of the input, for it acts as an input weight on a constant one; a parameter
no side of which grows has exponents zero.

* `standard` is what frameworks do: variance one over the fan-in, one learning rate.
* `ntk` keeps the kernel: every layer moves the outputs by an amount of order one, and no
  feature moves. With SGD its learning rate is one for all (Jacot et al., arXiv:1806.07572); with
  Adam the exponents are those that do the same by the calculus below (the neural-tangent limit
  of adaptive optimizers: Yang and Littwin, "Tensor Programs IVb", arXiv:2308.01814).
* `mup` moves every layer's features by an amount of order one (Yang and Hu, "Tensor Programs
  IV", arXiv:2011.14522). The rows are Table 3 of Yang et al., "Tensor Programs V",
  arXiv:2203.03466; its Tables 8 and 9, and the form of Tensor Programs IV (a = -1/2, 0, 1/2 and
  b = 1/2 throughout, c = 0 for SGD), are shifts of them.
* `mean-field` is the average over neurons $f = \frac1n \sum_i v_i \phi(w_i \cdot x)$ with a
  learning rate proportional to n (Mei, Montanari and Nguyen, arXiv:1804.06561), carried to any
  depth with hidden layers divided by the root of n; it is a shift of mup (Everett et al.,
  arXiv:2407.05872), as standard is one of ntk but for the learning rates.

A calculus of one small step. Write the table without multipliers, so that $B = a + b$ and
$C = c + p\,a$. Every table here has features of order one at the start ($B = 0$ for the input,
$1/2$ for hidden layers) and outputs at most of order one ($B_r \geq 1/2$ for the readout).
The gradient of the loss by a preactivation is then $\delta \sim n^{-B_r}$, in every layer. A
step moves an entry by $n^{-C}$ times the gradient (SGD) or times its sign (Adam); in both cases
the step of a layer is aligned with its inputs, so sums over a growing fan-in count in full, a
factor of n. With $g = B_r$ for SGD and $g = 0$ for Adam the powers of n by which the first hidden
layer, later ones, and the outputs move are

$$ e_1 = -C_\mathrm{input} - g, \qquad
   e_l = \max(e_{l-1},\; 1 - C_\mathrm{hidden} - g), \qquad
   e_f = \max(1 - C_\mathrm{readout},\; 1 - B_r + e_L). $$

The last term is the initial readout on moved features; it too is aligned, because features
move along the readout's own weights. A moved layer below, on the other hand, moves the next one
by no more than it moved itself.
"""

from __future__ import annotations

from learnmech.numerics.scaling import Exponents, WidthExponents

__all__ = [
    "PARAMETRIZATIONS",
    "coordinate_slopes",
    "stable_learning_rate_exponent",
    "width_exponents",
]

_TABLE: dict[str, dict[str, tuple[float, float, float, float]]] = {
    #  kind        a    b  c SGD  c Adam
    "standard": {
        "input": (0.0, 0.0, 0.0, 0.0),
        "hidden": (0.0, 0.5, 0.0, 0.0),
        "readout": (0.0, 0.5, 0.0, 0.0),
        "bias": (0.0, 0.0, 0.0, 0.0),
        "fixed": (0.0, 0.0, 0.0, 0.0),
    },
    "ntk": {
        "input": (0.0, 0.0, 0.0, 0.5),
        "hidden": (0.5, 0.0, 0.0, 1.0),
        "readout": (0.5, 0.0, 0.0, 0.5),
        "bias": (0.0, 0.0, 0.0, 0.5),
        "fixed": (0.0, 0.0, 0.0, 0.0),
    },
    "mean-field": {
        "input": (0.0, 0.0, -1.0, 0.0),
        "hidden": (0.5, 0.0, -1.0, 0.5),
        "readout": (1.0, 0.0, -1.0, 0.0),
        "bias": (0.0, 0.0, -1.0, 0.0),
        "fixed": (0.0, 0.0, 0.0, 0.0),
    },
    "mup": {
        "input": (0.0, 0.0, -1.0, 0.0),
        "hidden": (0.0, 0.5, 0.0, 1.0),
        "readout": (0.0, 1.0, 1.0, 1.0),
        "bias": (0.0, 0.0, -1.0, 0.0),
        "fixed": (0.0, 0.0, 0.0, 0.0),
    },
}

PARAMETRIZATIONS = tuple(_TABLE)
"""Names of the parametrisations in the table."""


def width_exponents(parametrization: str, optimizer: str) -> WidthExponents:
    r"""Exponents of width of one parametrisation for one optimizer.

    Args:
        parametrization: "standard", "ntk", "mean-field" or "mup".
        optimizer: "sgd" (with or without momentum) or "adam".

    Returns:
        A frozen table: for each kind of parameter the powers a, b and c of one over the width in
        the forward multiplier, the initial standard deviation and the learning rate. Printing it
        shows it as a table.

    Raises:
        ValueError: On an unknown name.

    Reference: Yang et al., arXiv:2203.03466, Table 3 for "mup"; the module's docstring for the
    others.

    >>> width_exponents("mup", "adam").rows["hidden"]
    Exponents(multiplier=0.0, initial_std=0.5, learning_rate=1.0)
    """
    if parametrization not in _TABLE:
        raise ValueError(
            f"no parametrisation is called {parametrization!r}; choose from "
            f"{', '.join(PARAMETRIZATIONS)}."
        )
    rows = {
        kind: Exponents(a, b, {"sgd": c_sgd, "adam": c_adam}.get(optimizer, 0.0))
        for kind, (a, b, c_sgd, c_adam) in _TABLE[parametrization].items()
    }
    return WidthExponents(parametrization, optimizer, rows)


def coordinate_slopes(table: WidthExponents, *, hidden_layers: int = 2) -> tuple[float, ...]:
    r"""Powers of n by which one small step moves each layer: the slopes of a coordinate check.

    They follow from the table by the calculus above and are asymptotic: as log-log slopes of the
    root mean square change against the width, local slopes at the wide end approach them. Biases
    change none of them.

    Args:
        table: From `width_exponents`, or any shift of one.
        hidden_layers: Number of hidden layers L, at least one.

    Returns:
        L + 1 slopes: of the preactivations of the hidden layers, first to last, and of the
        outputs.

    Raises:
        ValueError: If there is no hidden layer, or if features or outputs of the table do not
            stay of order one at the start, which the calculus assumes.

    >>> coordinate_slopes(width_exponents("standard", "sgd"))
    (-0.5, 0.5, 1.0)
    >>> coordinate_slopes(width_exponents("mup", "adam"))
    (0.0, 0.0, 0.0)
    """
    if hidden_layers < 1:
        raise ValueError("a coordinate check needs at least one hidden layer.")
    rows = table.without_multipliers().rows
    first, hidden, readout = rows["input"], rows["hidden"], rows["readout"]
    if first.initial_std != 0.0 or hidden.initial_std != 0.5 or readout.initial_std < 0.5:
        raise ValueError(
            "features must start at order one and outputs at most there: a + b has to be 0 for "
            "the input, 1/2 for hidden layers and at least 1/2 for the readout."
        )
    gradient = readout.initial_std if table.optimizer == "sgd" else 0.0
    slopes = [-first.learning_rate - gradient]
    for _ in range(hidden_layers - 1):
        slopes.append(max(slopes[-1], 1.0 - hidden.learning_rate - gradient))
    slopes.append(max(1.0 - readout.learning_rate, 1.0 - readout.initial_std + slopes[-1]))
    return tuple(slope + 0.0 for slope in slopes)  # no negative zeros


def stable_learning_rate_exponent(
    table: WidthExponents, *, loss: str = "squared", hidden_layers: int = 2
) -> float:
    r"""Power of n with which the largest usable learning rate scales, asymptotically.

    With the squared loss nothing may move by more than order one, outputs included, so the power
    is minus the largest of the `coordinate_slopes`. With the cross-entropy outputs may diverge
    and training stays stable as long as the features do ("controlled divergence", Haas et al.,
    arXiv:2505.22491), so it is minus the largest slope among the hidden layers. Where a
    parametrisation transfers, the power is zero; best learning rates of networks of moderate
    width drift more slowly than these powers.

    Args:
        table: From `width_exponents`, or any shift of one.
        loss: "squared" or "cross-entropy".
        hidden_layers: Number of hidden layers, at least one.

    Returns:
        p, where the largest usable learning rate is proportional to $n^p$.

    Raises:
        ValueError: On an unknown loss, or as `coordinate_slopes`.

    >>> stable_learning_rate_exponent(width_exponents("standard", "adam"))
    -1.5
    >>> stable_learning_rate_exponent(width_exponents("standard", "adam"), loss="cross-entropy")
    -1.0
    """
    if loss not in ("squared", "cross-entropy"):
        raise ValueError(f"loss must be 'squared' or 'cross-entropy', not {loss!r}.")
    slopes = coordinate_slopes(table, hidden_layers=hidden_layers)
    return -max(slopes if loss == "squared" else slopes[:-1]) + 0.0
