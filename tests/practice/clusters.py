"""Clusters that tests start on loopback and end by process id, and notes that cells leave."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_PATIENCE = 60.0  # seconds for a process to start on a busy machine


def note(path: str, *words: object) -> None:
    """Append a line in one write, which no other process can come between."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, (" ".join(map(str, words)) + "\n").encode())
    os.close(handle)


def notes(path: Path) -> list[list[str]]:
    """Return the lines that were noted so far, as words."""
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def wait_until(condition, *, seconds: float = _PATIENCE) -> None:
    """Wait for a condition, and fail if it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


@dataclass
class DaskCluster:
    """A scheduler and workers of one thread, each a process of its own."""

    folder: Path
    processes: list[subprocess.Popen] = field(default_factory=list)
    address: str = ""

    def start(self, kind: str, *options: str) -> subprocess.Popen:
        """Start a process of the cluster."""
        file = str(self.folder / "scheduler.json")
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--scheduler-file", file]
        with (self.folder / "log.txt").open("ab") as log:
            process = subprocess.Popen(
                [*command, "--host", "127.0.0.1", "--no-dashboard", *options],
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        self.processes.append(process)
        return process

    def add_worker(self) -> subprocess.Popen:
        """Start a worker that is one process, without a nanny that would restart it."""
        folder = str(self.folder / "workers")
        return self.start("worker", "--nthreads", "1", "--no-nanny", "--local-directory", folder)

    def close(self) -> None:
        """End every process, by its id."""
        for process in reversed(self.processes):
            process.kill()
            process.wait()


@contextmanager
def dask_cluster(folder: Path, *, workers: int) -> Iterator[DaskCluster]:
    """Run a scheduler and workers on loopback."""
    import json

    from distributed import Client

    cluster = DaskCluster(folder)
    try:
        cluster.start("scheduler", "--port", "0")
        for _ in range(workers):
            cluster.add_worker()
        file = folder / "scheduler.json"
        # Dask opens the file before it fills it: there is nothing to read until the brace closes.
        wait_until(lambda: file.exists() and file.read_text().rstrip().endswith("}"))
        cluster.address = json.loads(file.read_text())["address"]
        with Client(cluster.address, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=_PATIENCE)
        yield cluster
    finally:
        cluster.close()
