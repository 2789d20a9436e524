"""pytorch-cka: unbiased linear CKA from features, as its README uses it."""

import torch
from cka import cka_from_features
from serving import inputs, serve

arrays = inputs()
x, y = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"])
reference = float(arrays["unbiased"])


def work() -> dict[str, float]:
    """Compare the features once."""
    return {"error": abs(float(cka_from_features(x, y)) - reference)}


serve(work)
