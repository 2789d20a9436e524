"""Shipping: functions and arguments as bytes that any worker can read.

A function of your own travels with its code, and so do the functions and classes of your own that
it calls: a worker needs none of your files, and cannot compute with an old copy of them. What
belongs to installed packages is imported there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import cloudpickle

from learnmech.practice.sweeps.cells import Job
from learnmech.practice.sweeps.fingerprints import own_modules

__all__ = ["pack", "ship"]


def ship(job: Job) -> bytes:
    """Return a job as bytes.

    Raises:
        ValueError: If the function, or something that it uses, cannot be sent.
    """
    try:
        with _by_value(job.function):
            return _bytes(job)
    except Exception:  # something in those modules cannot be copied; a worker may import them
        pass
    try:
        return _bytes(job)
    except Exception as error:
        raise ValueError(
            f"the function cannot be sent to a worker ({error}); make what it cannot carry along "
            "inside the function, or sweep with workers=1."
        ) from error


def pack(parameters: Mapping[str, Any]) -> bytes:
    """Return the arguments of one cell as bytes.

    Raises:
        ValueError: If one of them cannot be sent to a worker.
    """
    try:
        return _bytes(dict(parameters))
    except Exception as error:
        raise ValueError(f"the values of grid cannot be sent to a worker: {error}.") from error


def _bytes(value: object) -> bytes:
    packed: bytes = cloudpickle.dumps(value)
    return packed


@contextmanager
def _by_value(function: Callable[..., Any]) -> Iterator[None]:
    known = cloudpickle.list_registry_pickle_by_value()
    added = [
        module
        for module in own_modules(function)
        if module.__name__ not in known and module is not sys.modules["__main__"]
    ]
    for module in added:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in added:
            cloudpickle.unregister_pickle_by_value(module)
