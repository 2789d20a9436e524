"""One cell: the function at one point of the grid, with the same outcome wherever it is computed.

A cell is computed on one thread, because the number of threads changes the order of sums and so
the last digits, and with the sweeping process's settings of PyTorch. It starts with global
random states that descend from its parameters, and leaves those of the caller as they were: a
function that draws without a generator of its own gives the same numbers on every machine, in
every order, and in a sweep that was resumed. In one process cells run one at a time, because
these states belong to the process; give a cluster processes (`dask worker --nthreads 1
--nworkers 4`), not threads.
"""

from __future__ import annotations

import functools
import os
import pickle
import platform
import random
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor

import learnmech

__all__ = ["Arrays", "Job", "Outcome", "Task", "as_arrays", "run", "run_shipped", "settings"]
__all__ += ["THREADS", "versions"]

Arrays = Mapping[str, np.ndarray]

THREADS = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "BLIS_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
}
"""Environment that holds libraries to one thread which are loaded later."""

_ONE_AT_A_TIME = threading.RLock()  # random states and thread counts belong to the process


@dataclass(frozen=True)
class Job:
    """What the cells of one sweep share."""

    function: Callable[..., Any]
    fixed: Mapping[str, Any]  # arguments that are the same in every cell
    settings: Mapping[str, str | bool]  # of PyTorch, as `settings` reads them
    versions: Mapping[str, str]  # as `versions` reads them


@dataclass(frozen=True)
class Task:
    """What one cell adds."""

    cell: int  # position in the grid, the last name running fastest
    parameters: bytes  # its arguments, pickled
    seed: int  # of the global random states, below 2^64


@dataclass(frozen=True)
class Outcome:
    """What came of one cell."""

    cell: int
    arrays: Arrays | None  # None where the function raised
    error: str = ""  # one line
    traceback: str = ""


def run(job: Job, task: Task) -> Outcome:
    """Compute one cell in this process; what the function raises becomes part of the outcome."""
    try:
        with (
            _ONE_AT_A_TIME,
            _with_settings(job.settings),
            _with_random_states(task.seed),
            _with_one_thread(),
        ):
            parameters = pickle.loads(task.parameters)
            return Outcome(task.cell, as_arrays(job.function(**job.fixed, **parameters)))
    except (Exception, SystemExit) as error:
        first, *_ = f"{type(error).__name__}: {error}".splitlines()
        deeper = error.__traceback__.tb_next if error.__traceback__ else None
        text = "".join(traceback.format_exception(type(error), error, deeper))
        return Outcome(task.cell, None, first, text)


def run_shipped(shipped: bytes, task: Task) -> Outcome:
    """Compute one cell of a pickled job in a worker.

    Raises:
        RuntimeError: If the worker has other versions than the sweeping process, so that its
            results would be cached as something they are not.
    """
    job = _load(shipped)
    here = versions()
    for name, wanted in job.versions.items():
        if here[name] != wanted:
            raise RuntimeError(
                f"a worker has {name} {here[name]}, but the sweeping process has {wanted}; "
                "install the same versions on all machines."
            )
    return run(job, task)


def as_arrays(value: Any) -> Arrays:
    """Return what a function returned as named arrays; one without a name is called "value".

    Raises:
        TypeError: If it is no number, array or mapping of names to those.

    >>> as_arrays(0.5)
    {'value': array(0.5)}
    """
    named = value if isinstance(value, Mapping) else {"value": value}
    if not named or not all(isinstance(name, str) and name for name in named):
        raise TypeError("a mapping of results needs names that are strings, and at least one.")
    return {name: _array(name, item) for name, item in named.items()}


def _array(name: str, value: Any) -> np.ndarray:
    array = np.array(value.numpy(force=True) if isinstance(value, Tensor) else value, order="C")
    if array.dtype.kind not in "biufc":
        raise TypeError(
            f"the result {name!r} is of type {type(value).__name__}; return numbers, arrays of "
            "numbers, or a mapping of names to those."
        )
    return array


def settings() -> dict[str, str | bool]:
    """Return the settings of PyTorch that change results."""
    return {
        "default dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "matmul precision": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn only": torch.is_deterministic_algorithms_warn_only_enabled(),
    }


def versions() -> dict[str, str]:
    """Return the versions that results depend on, without what a build adds to them."""
    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "learnmech": learnmech.__version__,
        "numpy": np.__version__,
        "torch": str(torch.__version__).partition("+")[0],
    }


@functools.lru_cache(maxsize=1)
def _load(shipped: bytes) -> Job:
    job: Job = pickle.loads(shipped)
    return job


@contextmanager
def _with_settings(wanted: Mapping[str, str | bool]) -> Iterator[None]:
    before = settings()
    _set(wanted)
    try:
        yield
    finally:
        _set(before)


def _set(wanted: Mapping[str, str | bool]) -> None:
    if wanted != settings():
        torch.set_default_dtype(getattr(torch, str(wanted["default dtype"])))
        torch.set_float32_matmul_precision(str(wanted["matmul precision"]))
        torch.use_deterministic_algorithms(
            bool(wanted["deterministic"]), warn_only=bool(wanted["warn only"])
        )


@contextmanager
def _with_random_states(seed: int) -> Iterator[None]:
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the state is guarded
    with torch.random.fork_rng(devices):
        random.seed(seed)
        np.random.seed([seed & 0xFFFFFFFF, seed >> 32])  # noqa: NPY002 - and set, not drawn from
        torch.default_generator.manual_seed(seed)
        if torch.cuda.is_available():
            torch.cuda.manual_seed_all(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


@functools.lru_cache(maxsize=1)
def _loaded_libraries(modules: int) -> ThreadpoolController:
    """Return the libraries with threads; the search takes 2 ms, and imports bring new ones."""
    return ThreadpoolController()


@contextmanager
def _with_one_thread() -> Iterator[None]:
    before, threads = {name: os.environ.get(name) for name in THREADS}, torch.get_num_threads()
    os.environ.update(THREADS)
    torch.set_num_threads(1)
    try:
        with _loaded_libraries(len(sys.modules)).limit(limits=1):
            yield
    finally:
        torch.set_num_threads(threads)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
