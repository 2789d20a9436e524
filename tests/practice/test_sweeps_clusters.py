"""Sweeps on processes, Dask and Ray: the same numbers, and nothing lost when a part is killed."""

import importlib
import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import Future
from contextlib import nullcontext
from pathlib import Path

import clusters
import numpy as np
import pytest
import torch

from learnmech.practice.sweeps import pools, sweep


def train(width, rate, seed):
    """Train a small network, and decompose a matrix that is large enough for threads."""
    torch.manual_seed(seed)
    net = torch.nn.Sequential(
        torch.nn.Linear(20, width), torch.nn.Tanh(), torch.nn.Linear(width, 1)
    )
    x = torch.randn(200, 20)
    y = x[:, :1] ** 2
    optimizer = torch.optim.SGD(net.parameters(), lr=rate)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = 0.5 * ((net(x) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    matrix = np.random.default_rng(seed).normal(size=(150, 150))
    return {
        "loss": losses,
        "weights": net[0].weight,
        "singular": np.linalg.svd(matrix * rate, compute_uv=False),
        "product": (matrix @ matrix.T)[0],
        "unseeded": torch.randn(2),
    }


GRID = {"rate": np.logspace(-3, -1, 8), "seed": range(8)}  # 64 cells
ARGUMENTS = {
    "fixed": {"width": 16},
    "cache": False,
    "dims": {"loss": ["step"], "weights": ["unit", "input"]},
}


def work(cell, path, seconds=0.0):
    """Note when a cell starts and ends, and where."""
    clusters.note(path, "start", cell, os.getpid())
    time.sleep(seconds)
    clusters.note(path, "end", cell, os.getpid())
    return {"square": cell**2, "process": os.getpid()}


def die(cell, path):
    """Kill the process that computes cell 3, and the first one that computes cell 5."""
    if cell == 3 or (cell == 5 and not os.path.exists(path)):
        clusters.note(path, "died", cell)
        os.kill(os.getpid(), signal.SIGKILL)
    return cell


def starts(path):
    """Count how often each cell was begun."""
    return Counter(words[1] for words in clusters.notes(path) if words[0] == "start")


def same(one, other):
    """Say whether two data sets are equal bit for bit."""
    return one.coords.equals(other.coords) and all(
        one[name].dtype == other[name].dtype
        and one[name].values.tobytes() == other[name].values.tobytes()
        for name in one
    )


@pytest.fixture(autouse=True)
def patience():
    """Let a cluster that does not answer fail its own test, and not stop all of them."""

    def stop(*_):
        raise TimeoutError("there was no answer for three minutes")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(180)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The sweep in one process, which is a process of its own.

    Like all workers it was started with the environment that the tests pin; libraries choose
    their code paths by it when they are loaded, and here that may have been before.
    """
    file = tmp_path_factory.mktemp("reference") / "data.pickle"
    program = (
        f"import pickle, sys; sys.path.insert(0, {os.path.dirname(__file__)!r})\n"
        "import test_sweeps_clusters as here\n"
        "result = here.sweep(here.train, here.GRID, **here.ARGUMENTS)\n"
        f"pickle.dump(result.data, open({str(file)!r}, 'wb'))\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    return pickle.loads(file.read_bytes())


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    pytest.importorskip("distributed", reason="Dask is not installed")
    with clusters.dask_cluster(tmp_path_factory.mktemp("dask"), workers=2) as cluster:
        yield cluster


@pytest.fixture
def ray():
    """A cluster of Ray with two cores, which must not leave a process behind."""
    ray = pytest.importorskip("ray", reason="there is no Ray for this Python")
    with (
        tempfile.TemporaryDirectory(prefix="ray") as folder,  # with a short name, for its sockets
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        before = children()
        try:
            ray.init(
                address="local",
                num_cpus=2,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="ERROR",
                _temp_dir=folder,
            )
        except (OSError, RuntimeError, TimeoutError) as error:
            pytest.skip(f"Ray does not start here: {error}")
        yield ray
        ray.shutdown()
        clusters.wait_until(lambda: children() <= before)


def children():
    psutil = pytest.importorskip("psutil")
    return {process.pid for process in psutil.Process().children(recursive=True)}


def test_several_processes_give_the_same_bits(reference):
    result = sweep(train, GRID, workers=2, **ARGUMENTS)
    assert (result.computed, result.failures) == (64, ())
    assert result.data["unseeded"].values.std() > 0
    assert same(result.data, reference)


def test_dask_gives_the_same_bits_by_address_and_by_client(reference, dask):
    from distributed import Client

    assert same(sweep(train, GRID, workers=dask.address, **ARGUMENTS).data, reference)
    with Client(dask.address):  # the current client is what "dask" names
        assert same(sweep(train, GRID, workers="dask", **ARGUMENTS).data, reference)
    with Client(dask.address, set_as_default=False) as client:
        assert same(sweep(train, GRID, workers=client, **ARGUMENTS).data, reference)
        assert client.status == "running"  # it is still the caller's


def test_ray_gives_the_same_bits(reference, ray):
    assert same(sweep(train, GRID, workers="ray", **ARGUMENTS).data, reference)
    assert ray.is_initialized()  # it is still the caller's


def test_settings_of_torch_travel_to_the_workers():
    def kind(cell):
        return torch.ones(2) * cell

    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        here = sweep(kind, {"cell": [1, 2]}, cache=False).data
        there = sweep(kind, {"cell": [1, 2]}, cache=False, workers=2).data
    finally:
        torch.set_default_dtype(default)
    assert here["value"].dtype == there["value"].dtype == np.float64


def first_waits(cell, folder):
    """Let the first cell end only when others are stored."""
    if cell == 0:
        clusters.wait_until(lambda: len(list(Path(folder).rglob("*.cell"))) >= 5, seconds=20)
    return cell


def test_a_slow_cell_keeps_no_other_from_being_stored(tmp_path):
    """joblib's own backends give results in the order in which cells were sent out."""
    fixed = {"folder": str(tmp_path)}
    result = sweep(first_waits, {"cell": range(8)}, fixed=fixed, workers=2, cache=tmp_path)
    assert result.failures == ()


def test_a_cluster_that_goes_away_is_said_to_be_lost(monkeypatch):
    def submit(*_):
        future = Future()
        future.cancel()
        future.set_running_or_notify_cancel()
        return future

    lost = pools.Pool(submit, lambda: None, at_once=4)
    monkeypatch.setattr("learnmech.practice.sweeps.backends.pool_for", lambda _: nullcontext(lost))
    with pytest.raises(ConnectionError, match="the connection to the cluster was lost"):
        sweep(train, GRID, **ARGUMENTS)


def test_a_dask_worker_killed_in_the_middle_loses_nothing(dask, tmp_path):
    """Only the cell under way on the killed worker is computed again."""
    path = tmp_path / "notes"
    victim = dask.add_worker()

    def under_way():
        mine = [words for words in clusters.notes(path) if words[2] == str(victim.pid)]
        return mine[-1][1] if len(mine) > 2 and mine[-1][0] == "start" else None

    killed = []

    def kill():
        clusters.wait_until(under_way)
        time.sleep(0.1)  # the result before this one has left the worker
        killed.append(under_way())
        os.kill(victim.pid, signal.SIGKILL)

    assassin = threading.Thread(target=kill)
    assassin.start()
    from distributed import Client

    with Client(dask.address, set_as_default=False) as client:
        client.wait_for_workers(3, timeout=60)
        client.run(importlib.import_module, "learnmech.practice.sweeps")  # all start level
        result = sweep(
            work,
            {"cell": range(24)},
            fixed={"path": str(path), "seconds": 0.4},
            workers=client,
            cache=tmp_path / "cache",
        )
    assassin.join()
    assert result.failures == ()
    assert result.data["square"].values.tolist() == [cell**2 for cell in range(24)]
    twice = {cell for cell, count in starts(path).items() if count > 1}
    assert twice == set(killed)
    assert starts(path).total() == 25
    assert os.getpid() not in result.data["process"].values


def sweep_of_work(folder, workers, seconds=0.1):
    """Sweep over 20 cells."""
    return sweep(
        work,
        {"cell": range(20)},
        fixed={"path": str(folder / "notes"), "seconds": seconds},
        workers=workers,
        cache=folder / "cache",
    )


@pytest.fixture
def sweeping(tmp_path):
    """A function that starts a process which sweeps over the work."""
    started = []

    def start(workers, seconds=0.1):
        program = (
            f"import pathlib, sys; sys.path.insert(0, {os.path.dirname(__file__)!r})\n"
            "import test_sweeps_clusters as here\n"
            f"here.sweep_of_work(pathlib.Path({str(tmp_path)!r}), {workers!r}, {seconds})\n"
        )
        command = [sys.executable, "-c", program]
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def stored(folder):
    return len(list((folder / "cache").rglob("*.cell")))


def is_running(pid):
    psutil = pytest.importorskip("psutil")
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_sweep_computes_again_only_what_was_under_way(workers, sweeping, tmp_path):
    process = sweeping(workers)
    clusters.wait_until(lambda: stored(tmp_path) >= 5)
    process.kill()
    process.wait()
    for pid in {int(words[2]) for words in clusters.notes(tmp_path / "notes")}:
        clusters.wait_until(lambda pid=pid: not is_running(pid), seconds=10)
    check_the_second_run(tmp_path, under_way=workers, workers=1)


def test_a_killed_sweep_on_dask_computes_again_only_what_was_under_way(dask, sweeping, tmp_path):
    process = sweeping(dask.address, 0.3)
    clusters.wait_until(lambda: stored(tmp_path) >= 5)
    process.kill()
    process.wait()
    time.sleep(1.0)  # what workers have begun, they end
    # The scheduler gives each of two workers one cell ahead.
    check_the_second_run(tmp_path, under_way=4, workers=dask.address, seconds=0.3)


def check_the_second_run(folder, *, under_way, **arguments):
    kept = stored(folder)
    begun = starts(folder / "notes").total()
    assert 5 <= kept <= begun <= kept + under_way < 20
    result = sweep_of_work(folder, **arguments)
    assert (result.computed, result.reused, result.damaged) == (20 - kept, kept, ())
    assert result.data["square"].values.tolist() == [cell**2 for cell in range(20)]
    assert len(starts(folder / "notes")) == 20
    assert starts(folder / "notes").total() == begun + 20 - kept


def test_an_interrupted_sweep_goes_on_from_there(sweeping, tmp_path):
    process = sweeping(2)
    clusters.wait_until(lambda: stored(tmp_path) >= 5)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in error
    assert "stored, and the next call goes on from there" in error
    kept = stored(tmp_path)
    result = sweep_of_work(tmp_path, 1)
    assert (result.computed, result.reused) == (20 - kept, kept)


def test_a_cell_that_kills_its_process_fails_alone(tmp_path):
    fixed = {"path": str(tmp_path / "notes")}
    with pytest.warns(RuntimeWarning, match=r"1 of 8 cells failed; the first is cell=3"):
        result = sweep(die, {"cell": range(8)}, fixed=fixed, workers=2, cache=False)
    assert [failure.parameters for failure in result.failures] == [{"cell": 3}]
    assert "died while it computed this cell" in result.failures[0].error
    assert np.isnan(result.data["value"].values).tolist() == [cell == 3 for cell in range(8)]


def test_a_cell_that_kills_workers_of_dask_fails_alone(dask, tmp_path):
    """joblib's own backend for Dask waits for ever here, and Dask blames neighbours too."""
    dask.add_worker()
    from distributed import Client

    with Client(dask.address, set_as_default=False) as client:
        client.wait_for_workers(3, timeout=60)
        client.run_on_scheduler(
            lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 0)
        )
    fixed = {"path": str(tmp_path / "notes")}
    clusters.note(fixed["path"], "died", 5)
    with pytest.warns(RuntimeWarning, match="1 of 8 cells failed"):
        result = sweep(die, {"cell": range(8)}, fixed=fixed, workers=dask.address, cache=False)
    assert [failure.index for failure in result.failures] == [(3,)]
    assert "died while it computed this cell" in result.failures[0].error


@pytest.mark.parametrize(
    ("module", "workers", "command"),
    [
        ("distributed", "tcp://127.0.0.1:8786", 'pip install "dask[distributed]"'),
        ("ray", "ray", "pip install ray"),
    ],
)
def test_a_cluster_without_its_package_says_what_to_install(module, workers, command, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=re.escape(command)):
        sweep(train, GRID, **ARGUMENTS, workers=workers)


def test_an_address_without_a_scheduler_is_said_to_be_so(monkeypatch):
    pytest.importorskip("distributed", reason="Dask is not installed")
    monkeypatch.setattr(pools, "_PATIENCE", "1s")
    with pytest.raises(ConnectionError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        sweep(train, GRID, **ARGUMENTS, workers="tcp://127.0.0.1:9")


def whereabouts(cell):
    return os.getpid()


@pytest.mark.parametrize(("words", "here"), [("", True), ("1", True), ("2", False)])
def test_the_environment_says_where_a_sweep_computes_that_is_not_told(monkeypatch, words, here):
    monkeypatch.setenv("LEARNMECH_WORKERS", words)
    result = sweep(whereabouts, {"cell": range(2)}, cache=False)
    assert (set(result.data["value"].values.tolist()) == {os.getpid()}) == here
    told = sweep(whereabouts, {"cell": range(2)}, cache=False, workers=1)
    assert set(told.data["value"].values.tolist()) == {os.getpid()}


def test_an_environment_that_means_nothing_is_refused(monkeypatch):
    monkeypatch.setenv("LEARNMECH_WORKERS", "threads")
    with pytest.raises(ValueError, match="workers='threads' means nothing"):
        sweep(whereabouts, {"cell": range(2)}, cache=False)


@pytest.mark.parametrize("workers", [0, -2, True, 1.5, "threads"])
def test_workers_that_mean_nothing_are_refused(workers):
    with pytest.raises(ValueError, match="means nothing: give a number of processes"):
        sweep(train, GRID, **ARGUMENTS, workers=workers)
