"""Where cells are computed: this process, processes, a Dask cluster or a Ray cluster, over joblib.

joblib hands the cells out, here to one small backend for every kind of machine. Its own backends
for Dask and Ray are not used, because (joblib 1.6, Ray 2.60) that of Dask waits for ever when a
cell has killed its workers, loses arguments together with the worker it left them on, and computes
in this process on a cluster with a single core; that of Ray returns results in one piece at the
end; and both give results in the order in which cells were sent out, so that one slow cell keeps
all that follow it from being stored. Here a result is handed over when it arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import BrokenProcessPool
from joblib.parallel import ParallelBackendBase

from learnmech.practice.sweeps.cells import Job, Outcome, Task, run, run_shipped
from learnmech.practice.sweeps.pools import Pool, pool_for
from learnmech.practice.sweeps.shipping import ship

__all__ = ["compute"]

Arrived = Callable[[Outcome], None]


def compute(workers: object, job: Job, tasks: Sequence[Task], arrived: Arrived) -> None:
    """Compute cells, and hand over every outcome as it arrives.

    Cells whose process died, or that were with others in a worker that died, are computed again,
    each alone. One whose process dies again is to blame, and counts as failed.

    Args:
        workers: as `sweep` takes it.
        job: what the cells share.
        tasks: the cells.
        arrived: called with each outcome, from any thread; it must not raise.

    Raises:
        ValueError: If `workers` means nothing here.
        ImportError: If what it names is not installed.
        ConnectionError: If no cluster answers there, or it goes away.
        Exception: Whatever keeps workers from computing cells at all.
    """
    opening = pool_for(workers)
    if opening is None:
        for task in tasks:
            arrived(run(job, task))
        return
    shipped, done = ship(job), set[int]()

    def note(outcome: Outcome) -> None:
        done.add(outcome.cell)
        arrived(outcome)

    with opening as pool:
        waiting = list(tasks)
        while waiting:
            for suspect in _hand_out(pool, shipped, waiting, note):
                if suspect.cell not in done and _hand_out(pool, shipped, [suspect], note):
                    note(_death(suspect))
            waiting = [task for task in waiting if task.cell not in done]


def _hand_out(pool: Pool, shipped: bytes, tasks: list[Task], arrived: Arrived) -> list[Task]:
    """Compute cells; return those that may have killed a worker."""
    backend = _Backend(pool, arrived)
    parallel = Parallel(
        n_jobs=2,  # any number above one: the pool knows how many there are
        backend=backend,
        batch_size=1,
        pre_dispatch=pool.at_once,
        return_as="generator",
    )
    try:
        for _ in parallel(delayed(run_shipped)(shipped, task) for task in tasks):
            pass
    except BrokenProcessPool:  # all processes are gone, with all that was under way
        if not backend.under_way:
            raise
    return list(backend.under_way.values())


def _death(task: Task) -> Outcome:
    error = "the worker process died while it computed this cell (out of memory, perhaps)"
    return Outcome(task.cell, None, error, error)


class _Backend(ParallelBackendBase):  # type: ignore[misc]  # joblib has no types
    """Lets joblib hand out calls to a pool."""

    supports_retrieve_callback = True

    def __init__(self, pool: Pool, arrived: Arrived) -> None:
        super().__init__(nesting_level=0)
        self.under_way: dict[Future[Outcome], Task] = {}
        self._pool = pool
        self._arrived = arrived

    def effective_n_jobs(self, n_jobs: int) -> int:
        return n_jobs

    def submit(self, func: Any, callback: Callable[[Any], None] | None = None) -> Future[Outcome]:
        ((call, arguments, _),) = func.items
        future = self._pool.submit(call, *arguments)
        self.under_way[future] = arguments[-1]
        future.add_done_callback(self._keep)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def _keep(self, future: Future[Outcome]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._arrived(future.result())
            del self.under_way[future]

    def retrieve_result_callback(self, out: Future[Outcome]) -> list[None]:
        if out.cancelled():
            raise ConnectionError("the connection to the cluster was lost.")
        error = out.exception()
        if error is not None and not isinstance(error, self._pool.deaths):
            raise error
        return [None]  # it was handed over, or its worker died

    def abort_everything(self, ensure_ready: bool = True) -> None:
        self._pool.cancel()
