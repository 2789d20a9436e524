"""The cache of sweeps: nothing computed twice, nothing believed that is damaged."""

import hashlib
import os
import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from learnmech.practice.sweeps import cache as caching
from learnmech.practice.sweeps import cells, sweep
from learnmech.practice.sweeps.cache import Cache, DamagedEntry, user_folder


@pytest.fixture
def counted(tmp_path):
    """A sweep over a function of which the calls are noted in a file."""
    path = str(tmp_path / "calls")

    def function(n, power=2):
        with open(path, "a") as file:
            file.write(f"{n}\n")
        return {"power": n**power, "row": np.arange(3.0) * n}

    def run(values=(1, 2, 3), **options):
        Path(path).write_text("")
        result = sweep(function, {"n": values}, cache=tmp_path / "cache", **options)
        return result, [int(line) for line in Path(path).read_text().splitlines()]

    return run


def entries(folder):
    return sorted((folder / "cache").rglob("*.cell"))


def test_a_second_sweep_computes_nothing_and_returns_the_same(counted):
    first, calls = counted()
    assert (calls, first.computed, first.reused) == ([1, 2, 3], 3, 0)
    second, calls = counted()
    assert (calls, second.computed, second.reused) == ([], 0, 3)
    assert second.data.identical(first.data)
    for name in first.data:
        assert second.data[name].dtype == first.data[name].dtype


def test_a_larger_or_reordered_grid_computes_what_is_missing(counted):
    counted()
    result, calls = counted(values=[4, 3, 2, 0])
    assert calls == [4, 0]
    assert result.data["power"].values.tolist() == [16, 9, 4, 0]


def test_an_argument_may_move_between_fixed_and_grid(counted, tmp_path):
    counted(fixed={"power": 3})
    _, calls = counted(values=[1, 2], fixed={"power": 3})
    assert calls == []
    _, calls = counted(values=[1, 2])
    assert calls == [1, 2]  # the default is not the argument 3


def test_another_version_is_another_function(counted):
    counted()
    assert counted(version="2")[1] == [1, 2, 3]
    assert counted(version="2")[1] == counted()[1] == []


@pytest.mark.parametrize("name", ["numpy", "torch", "learnmech", "Python"])
def test_results_of_other_versions_are_not_used(name, counted, monkeypatch):
    counted()
    here = cells.versions()
    monkeypatch.setattr("learnmech.practice.sweeps.driver.versions", lambda: {**here, name: "9.9"})
    assert counted()[1] == [1, 2, 3]


def test_results_under_another_default_dtype_are_not_used(counted):
    counted()
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        assert counted()[1] == [1, 2, 3]
    finally:
        torch.set_default_dtype(default)


def test_failed_cells_are_tried_again(tmp_path):
    mended = tmp_path / "mended"

    def function(n):
        if n == 2 and not os.path.exists(mended):
            raise OSError("not yet")
        return n

    with pytest.warns(RuntimeWarning, match="1 of 3 cells failed; the first is n=2: OSError"):
        sweep(function, {"n": [1, 2, 3]}, cache=tmp_path / "cache")
    mended.touch()
    result = sweep(function, {"n": [1, 2, 3]}, cache=tmp_path / "cache")
    assert (result.computed, result.reused, result.failures) == (1, 2, ())


def test_an_interrupted_sweep_goes_on_from_there(tmp_path):
    stop = tmp_path / "stop"
    stop.touch()

    def function(n):
        if n == 3 and os.path.exists(stop):
            raise KeyboardInterrupt
        return n

    with pytest.raises(KeyboardInterrupt) as caught:
        sweep(function, {"n": range(5)}, cache=tmp_path / "cache")
    assert "stopped with 3 of 5 cells computed; stored, and" in caught.value.__notes__[0]
    stop.unlink()
    result = sweep(function, {"n": range(5)}, cache=tmp_path / "cache")
    assert (result.computed, result.reused) == (2, 3)


def flip(content, where):
    return content[:where] + bytes([content[where] ^ 1]) + content[where + 1 :]


def sealed_with_another_key(content):
    """A valid entry, but of another cell."""
    body = content.partition(b"\n")[2]
    body = re.sub(rb'"key": "[0-9a-f]{4}', b'"key": "0000', body)
    return b"learnmech-cell 1 " + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


DAMAGE = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[:-1],
    "half": lambda content: content[: len(content) // 2],
    "longer": lambda content: content + b"\0",
    "another version": lambda content: content.replace(b"cell 1", b"cell 2", 1),
    "flipped in the checksum": lambda content: flip(content, 20),
    "flipped in the header": lambda content: flip(content, 120),
    "flipped in the data": lambda content: flip(content, -2),
    "text": lambda content: b"not a result\nat all\n",
    "pickle": lambda content: b"\x80\x04K\x01.",
    "of another cell": sealed_with_another_key,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_entry_is_computed_again_and_reported(damage, counted, tmp_path):
    first, _ = counted()
    victim = entries(tmp_path)[1]
    content = victim.read_bytes()
    victim.write_bytes(DAMAGE[damage](content))
    again, calls = counted()
    assert [dict(parameters)["n"] for parameters in again.damaged] == calls
    assert (len(calls), again.computed, again.reused) == (1, 1, 2)
    assert again.data.identical(first.data)
    assert victim.read_bytes() == content  # it is whole again
    assert counted()[0].damaged == ()


def test_a_folder_in_the_place_of_an_entry_costs_the_cache_of_one_cell(counted, tmp_path):
    first, _ = counted()
    victim = entries(tmp_path)[0]
    victim.unlink()
    victim.mkdir()
    with pytest.warns(RuntimeWarning, match="1 results could not be cached"):
        again, calls = counted()
    assert len(again.damaged) == len(calls) == 1
    assert again.data.identical(first.data)


@pytest.mark.parametrize(
    "array",
    [
        np.float16(1.5),
        np.array([np.nan, -0.0, np.inf], dtype=">f4"),
        np.arange(6, dtype=np.int8).reshape(1, 2, 3),
        np.zeros((0, 4), dtype=np.uint64),
        np.array([True, False]),
        np.array(1j, dtype=np.complex64),
        np.longdouble(1) / 3,
        np.arange(6.0).reshape(2, 3).T,
    ],
    ids=lambda array: str(np.asarray(array).dtype),
)
def test_arrays_come_back_bit_for_bit(array, tmp_path):
    store = Cache.open(tmp_path, "function")
    arrays = cells.as_arrays({"a/b ü": array, "other": 1})
    store.write("key", "n=1", arrays)
    back = store.read("key")
    assert list(back) == ["a/b ü", "other"]
    for name, stored in back.items():
        assert (stored.dtype, stored.shape) == (arrays[name].dtype, arrays[name].shape)
        assert stored.tobytes() == arrays[name].tobytes()
        assert stored.flags.writeable


def test_a_write_that_is_cut_short_leaves_nothing(tmp_path, monkeypatch):
    store = Cache.open(tmp_path, "function")
    monkeypatch.setattr(caching.os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        store.write("key", "", {"a": np.ones(3)})
    assert list(store.folder.iterdir()) == []


def test_a_full_disk_is_reported_and_the_results_are_returned(counted, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(caching.os, "fsync", full)
    with pytest.warns(RuntimeWarning, match="3 results could not be cached .*No space left"):
        result, _ = counted()
    assert result.data["power"].values.tolist() == [1, 4, 9]


def test_what_a_killed_sweep_left_is_cleared_away_after_a_day(tmp_path):
    store = Cache.open(tmp_path, "function")
    for name, age in {"old.tmp": 100_000, "new.tmp": 10, "old.cell": 100_000}.items():
        file = store.folder / name
        file.touch()
        os.utime(file, (time.time() - age,) * 2)
    Cache.open(tmp_path, "function")
    assert {file.name for file in store.folder.iterdir()} == {"new.tmp", "old.cell"}


def test_writers_and_readers_of_one_entry_never_see_half_of_it(tmp_path):
    store = Cache.open(tmp_path, "function")
    store.write("key", "", {"a": np.zeros(1)})
    problems = []

    def write(value):
        for _ in range(30):
            store.write("key", "", {"a": np.full(10 + value, value)})

    writers = [threading.Thread(target=write, args=(value,)) for value in range(3)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        try:
            (array,) = store.read("key").values()
        except DamagedEntry as error:
            problems.append(error)
        else:
            assert len(set(array.tolist())) == 1
    assert problems == []
    assert [file.name for file in store.folder.iterdir()] == ["key.cell"]


def test_two_sweeps_at_once_share_a_folder(tmp_path):
    results = []

    def function(n):
        time.sleep(0.01)
        return n**2

    def run():
        results.append(sweep(function, {"n": range(20)}, cache=tmp_path))

    sweepers = [threading.Thread(target=run) for _ in range(2)]
    for sweeper in sweepers:
        sweeper.start()
    for sweeper in sweepers:
        sweeper.join()
    one, other = results
    assert one.data.identical(other.data)
    again = sweep(function, {"n": range(20)}, cache=tmp_path)
    assert (again.reused, again.damaged) == (20, ())


def test_a_folder_that_cannot_be_written_is_refused_at_once(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"results cannot be cached in .*name another folder"):
        sweep(pow, {"exp": [2]}, fixed={"base": 3}, cache=tmp_path / "file" / "cache")


def test_entries_say_what_they_are(counted, tmp_path):
    counted(fixed={"power": 3})
    (folder,) = {file.parent.name for file in entries(tmp_path)}
    assert folder.startswith("test_sweeps_cache.counted._locals_.function")
    texts = {file.read_bytes().split(b'"parameters": "')[1][:12] for file in entries(tmp_path)}
    assert texts == {b"power=3, n=1", b"power=3, n=2", b"power=3, n=3"}


def test_the_default_folder_is_the_users_and_can_be_named(monkeypatch, tmp_path):
    monkeypatch.setenv("LEARNMECH_CACHE", str(tmp_path / "named"))
    assert user_folder() == tmp_path / "named"
    sweep(pow, {"exp": [2]}, fixed={"base": 3})
    assert len(list((tmp_path / "named").rglob("*.cell"))) == 1
    monkeypatch.delenv("LEARNMECH_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for system, variable, place in [
        ("linux", "XDG_CACHE_HOME", ".cache/learnmech/sweeps"),
        ("darwin", "-", "Library/Caches/learnmech/sweeps"),
        ("win32", "LOCALAPPDATA", "AppData/Local/learnmech/sweeps"),
    ]:
        monkeypatch.setattr(caching.sys, "platform", system)
        monkeypatch.delenv(variable, raising=False)
        assert user_folder() == tmp_path / "home" / place
    monkeypatch.setattr(caching.Path, "home", lambda: (_ for _ in ()).throw(RuntimeError))
    with pytest.raises(ValueError, match="there is no home folder to cache results in"):
        user_folder()
