"""How ``neural_tangents.json`` was made: infinite kernels of a few inputs by neural-tangents.

neural-tangents 0.6.5 imports only beside packages of its time, so it cannot live in the peers'
environment. In an environment of its own, under Python 3.11:

    pip install neural-tangents==0.6.5 jax==0.4.23 jaxlib==0.4.23 tf2jax==0.3.6 "numpy<2" \
        "ml_dtypes<0.4"
    python benchmarks/reference/neural_tangents_make.py

Inputs are binary fractions, so that they are the same doubles everywhere: four rows of a small
lattice; row 0 again; row 0 with its first coordinate moved by 2^-14; row 1 with the sign turned;
a 64th of row 2; and zeros. Kernels are written with 17 digits.
"""

import json
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np
from neural_tangents import stax

jax.config.update("jax_enable_x64", True)

SETTINGS = [
    {
        "activation": activation,
        "hidden_layers": hidden_layers,
        "weight_std": weight_std,
        "bias_std": bias_std,
        "readout_weight_std": readout_weight_std,
    }
    for activation in ("relu", "erf")
    for hidden_layers in (1, 3)
    for weight_std, bias_std, readout_weight_std in ((1.5, 0.0, 1.0), (1.25, 0.5, 0.75))
]


def inputs() -> np.ndarray:
    """The nine rows described above, without a library's random numbers."""
    i, j = np.arange(4)[:, None], np.arange(5)[None]
    lattice = ((7 * i + 3 * j * (i + 1) + 5 * j * j) % 17 - 8) / 8
    near = lattice[0].copy()
    near[0] += 2.0**-14
    extra = [lattice[0], near, -lattice[1], lattice[2] / 64, np.zeros(5)]
    return np.vstack([lattice, *extra])


def kernels(x: np.ndarray, setting: dict) -> dict:
    """NNGP and NTK of one network; every layer, the readout too, has a bias."""
    nonlinearity = {"relu": stax.Relu, "erf": stax.Erf}[setting["activation"]]
    layers = []
    for _ in range(setting["hidden_layers"]):
        layers += [stax.Dense(1, setting["weight_std"], setting["bias_std"]), nonlinearity()]
    readout = stax.Dense(1, setting["readout_weight_std"], setting["bias_std"])
    both = stax.serial(*layers, readout)[2](x, x, ("nngp", "ntk"))
    return {name: np.asarray(getattr(both, name)).tolist() for name in ("nngp", "ntk")}


def main() -> None:
    """Write the file that stands beside this script."""
    x = inputs()
    stored = {
        "made_by": "benchmarks/reference/neural_tangents_make.py",
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {name: version(name) for name in ("neural-tangents", "jax", "jaxlib", "numpy")},
        "inputs": x.tolist(),
        "kernels": [{**setting, **kernels(x, setting)} for setting in SETTINGS],
    }
    path = Path(__file__).with_name("neural_tangents.json")
    path.write_text(json.dumps(stored, indent=None, separators=(",", ":")) + "\n", "utf-8")


if __name__ == "__main__":
    main()
