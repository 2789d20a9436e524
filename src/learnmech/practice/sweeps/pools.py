"""Workers of every kind behind one call: processes, a Dask cluster, a Ray cluster.

A cluster that was there stays as it is; one that a sweep starts ends with it. Processes are kept
for five minutes, for the next sweep, and end at once when the sweeping process is gone.
"""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from joblib import cpu_count
from joblib.externals.loky import get_reusable_executor

from learnmech.practice.sweeps.cells import THREADS, Outcome, run_shipped

__all__ = ["Pool", "pool_for"]

_AT_ONCE = 256  # cells that are sent to a cluster before the first is back
_PATIENCE = "10s"  # for a scheduler to answer
_IDLE = 300  # seconds after which an unused process ends
_DASK_ADDRESSES = ("tcp://", "tls://", "ws://", "wss://", "ucx://", "inproc://")


@dataclass(frozen=True)
class Pool:
    """Workers of one kind."""

    submit: Callable[..., Future[Outcome]]  # (function, *arguments) -> its outcome, later
    cancel: Callable[[], None]  # gives up what is under way
    at_once: int  # cells that may be under way
    deaths: tuple[type[BaseException], ...] = ()  # raised by a future whose workers died


def pool_for(workers: object) -> AbstractContextManager[Pool] | None:
    """Return how to open a pool, or None for this process."""
    if (
        isinstance(workers, int)
        and not isinstance(workers, bool)
        and (workers > 0 or workers == -1)
    ):
        count = cpu_count() if workers == -1 else workers
        return None if count == 1 else _processes(count)
    if isinstance(workers, str):
        if workers == "ray" or workers.startswith("ray://"):
            return _ray(workers)
        if workers == "dask" or workers.startswith(_DASK_ADDRESSES):
            return _dask(workers)
    if hasattr(workers, "get_executor"):
        return _dask(workers)
    raise ValueError(
        f"workers={workers!r} means nothing: give a number of processes (-1 for one a core), "
        '"dask", "ray", an address such as "tcp://127.0.0.1:8786" or "ray://127.0.0.1:10001", '
        "or a client of Dask."
    )


@contextmanager
def _processes(count: int) -> Iterator[Pool]:
    held: list[Any] = []

    def submit(call: Callable[..., Outcome], *arguments: Any) -> Future[Outcome]:
        if not held:
            held.append(
                get_reusable_executor(
                    max_workers=count,
                    timeout=_IDLE,
                    env=THREADS,
                    initializer=_end_with,
                    initargs=(os.getpid(),),
                )
            )
        future: Future[Outcome] = held[0].submit(call, *arguments)
        return future

    def cancel() -> None:
        if held:
            held.pop().shutdown(kill_workers=True)

    yield Pool(submit, cancel, at_once=count)


def _end_with(parent: int) -> None:
    """Make this process end when its parent is gone, however that ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _dask(where: Any) -> Iterator[Pool]:
    try:
        import distributed  # noqa: PLC0415 - an extra
    except ImportError:
        raise ImportError(
            'sweeping on a Dask cluster needs Dask: pip install "dask[distributed]"'
        ) from None
    with _dask_client(distributed, where) as client:
        if not client.ncores():
            warnings.warn(
                "the Dask cluster has no worker yet; the sweep waits for one.",
                RuntimeWarning,
                stacklevel=2,
            )
        executor = client.get_executor(pure=False)
        yield Pool(
            executor.submit,
            lambda: executor.shutdown(wait=False),
            _AT_ONCE,
            deaths=(distributed.KilledWorker,),
        )


@contextmanager
def _dask_client(distributed: Any, where: Any) -> Iterator[Any]:
    """Yield the caller's client as it is, or one of our own, and then close it."""
    client = where
    if where == "dask":
        with suppress(ValueError):  # there may be no current client
            client = distributed.get_client()
    if not isinstance(client, str):
        yield client
        return
    with ExitStack() as stack:
        if where == "dask":
            client = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=cpu_count(), threads_per_worker=1, dashboard_address=None
                )
            )
        try:
            own = distributed.Client(client, timeout=_PATIENCE, set_as_default=False)
        except OSError as error:
            raise ConnectionError(
                f"no Dask scheduler answers at {where} ({error}); start one with "
                "`dask scheduler`, and workers with `dask worker`."
            ) from None
        yield stack.enter_context(own)


@contextmanager
def _ray(where: str) -> Iterator[Pool]:
    try:
        import ray  # noqa: PLC0415 - an extra
    except ImportError:
        raise ImportError("sweeping on a Ray cluster needs Ray: pip install ray") from None
    with _ray_connection(ray, where), ThreadPoolExecutor(1) as carrier:
        remote = ray.remote(num_cpus=1, max_retries=0)(run_shipped)  # the sweep tries again
        under_way: dict[Any, Future[Outcome]] = {}

        def submit(_: object, *arguments: Any) -> Future[Outcome]:
            reference, future = remote.remote(*arguments), Future[Outcome]()
            under_way[reference] = future

            def hand_on(finished: Future[Outcome]) -> None:
                # Ray calls this in a thread of its own, in which nothing may be sent out.
                with suppress(RuntimeError):  # the sweep was given up before this came
                    carrier.submit(carry, reference, finished)

            reference.future().add_done_callback(hand_on)
            return future

        def carry(reference: Any, finished: Future[Outcome]) -> None:
            future, error = under_way.pop(reference), finished.exception()
            if error is None:
                future.set_result(finished.result())
            else:
                future.set_exception(getattr(error, "cause", None) or error)

        def cancel() -> None:
            for reference in list(under_way):
                ray.cancel(reference, force=True)

        yield Pool(
            submit,
            cancel,
            _AT_ONCE,
            deaths=(ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError),
        )


@contextmanager
def _ray_connection(ray: Any, where: str) -> Iterator[None]:
    """Use the connection there is, or a cluster that runs, or start one for this sweep."""
    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        ray.init(address="auto" if where == "ray" else where, **quiet)
    except ConnectionError as error:
        if where != "ray":
            raise ConnectionError(f"no Ray cluster answers at {where} ({error}).") from None
        before = os.environ.get("RAY_USAGE_STATS_ENABLED")
        os.environ["RAY_USAGE_STATS_ENABLED"] = before or "0"
        try:
            ray.init(address="local", include_dashboard=False, **quiet)
        finally:
            if before is None:
                del os.environ["RAY_USAGE_STATS_ENABLED"]
    try:
        yield
    finally:
        ray.shutdown()
