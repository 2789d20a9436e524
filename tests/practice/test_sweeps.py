"""What a sweep returns, refuses and leaves alone."""

import os
import random
import subprocess
import sys
import threading
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch

from learnmech.practice.sweeps import SweepFailed, cells, sweep
from learnmech.practice.sweeps.shipping import pack, ship


def affine(slope, x, shift=0.0):
    return slope * x + shift


def test_one_dimension_a_name_in_the_order_of_the_grid():
    """Independent: the outer product of the two lists."""
    result = sweep(affine, {"x": [3, 1, 2], "slope": [0.5, -1.0]}, cache=False)
    value = result.data["value"]
    assert value.dims == ("x", "slope")
    np.testing.assert_array_equal(value, np.outer([3, 1, 2], [0.5, -1.0]))
    assert result.data["x"].values.tolist() == [3, 1, 2]
    assert float(value.sel(x=1, slope=-1.0)) == -1.0
    assert (result.computed, result.reused, result.failures) == (6, 0, ())


def test_an_empty_grid_is_one_cell():
    result = sweep(affine, {}, fixed={"slope": 2.0, "x": 3.0}, cache=False)
    assert (result.data["value"].shape, float(result.data["value"])) == ((), 6.0)


def test_results_keep_names_shapes_and_dtypes():
    def record(n):
        return {
            "loss": torch.arange(3, dtype=torch.float32, requires_grad=True) * n,
            "step": np.arange(3) + n,
            "large": 2**60 + n,
            "good": n > 1,
            "phase": 1j * n,
        }

    dims = {"loss": ["step_of_training"], "step": ["step_of_training"]}
    data = sweep(record, {"n": [1, 2]}, dims=dims, cache=False).data
    assert data["loss"].dims == data["step"].dims == ("n", "step_of_training")
    assert data["loss"].dtype == np.float32
    assert data["large"].values.tolist() == [2**60 + 1, 2**60 + 2]
    assert data["good"].values.tolist() == [False, True]
    assert data["phase"].values.tolist() == [1j, 2j]
    assert data["loss"].values[1].tolist() == [0.0, 2.0, 4.0]


def test_arguments_arrive_as_plain_python_numbers():
    """A NumPy scalar would widen a float32 array."""
    seen = []

    def record(rate, count, flag):
        seen.append((type(rate), type(count), type(flag)))
        return np.ones(2, dtype=np.float32) * rate

    grid = {"rate": np.logspace(-2, 0, 2), "count": [np.int64(3)]}
    data = sweep(record, grid, fixed={"flag": np.True_}, cache=False).data
    assert set(seen) == {(float, int, bool)}
    assert data["value"].dtype == np.float32


def relu(x):
    return max(x, 0.0)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([1, 2.5], [1.0, 2.5]),
        ([True, False], [True, False]),
        (["sgd", "adam"], ["sgd", "adam"]),
        ([(8, 8), (8,)], ["(8, 8)", "(8,)"]),
        ([relu, torch.nn.ReLU, None], ["relu", "ReLU", "None"]),
        ([np.zeros(2), np.ones(2)], ["array(2,) (0)", "array(2,) (1)"]),
        ([2**80, 1], [str(2**80), "1"]),
        ([True, 2], ["True", "2"]),
    ],
)
def test_coordinates_are_the_values_or_their_names(values, labels):
    data = sweep(lambda choice: 1.0, {"choice": values}, cache=False).data
    assert data["choice"].values.tolist() == labels


def fragile(n, scale):
    if n == 2:
        raise KeyError(f"no cell {n}\nnow or ever")
    return {"count": n * scale, "row": [n, n]}


def test_a_cell_that_raises_is_reported_and_the_others_are_kept():
    message = r"2 of 6 cells failed; the first is n=2, scale=10: KeyError: 'no cell 2"
    with pytest.warns(RuntimeWarning, match=message):
        result = sweep(fragile, {"n": [1, 2, 3], "scale": [10, 20]}, cache=False)
    np.testing.assert_array_equal(
        result.data["count"], [[10, 20], [np.nan, np.nan], [30, 60]], strict=True
    )
    assert np.isnan(result.data["row"].sel(n=2)).all()
    first, second = result.failures
    assert (first.parameters, first.index) == ({"n": 2, "scale": 10}, (1, 0))
    assert (second.parameters, second.index) == ({"n": 2, "scale": 20}, (1, 1))
    assert "\n" not in first.error
    assert "raise KeyError" in first.traceback
    assert "in fragile" in first.traceback
    assert "cells.py" not in first.traceback  # it begins where the function does
    assert result.computed == 6


def test_failures_can_raise_at_the_end_with_everything_else_at_hand():
    with pytest.raises(SweepFailed, match="1 of 3 cells failed") as caught:
        sweep(fragile, {"n": [1, 2, 3]}, fixed={"scale": 1}, cache=False, raise_failures=True)
    assert caught.value.result.data["count"].sel(n=3) == 3


def test_a_sweep_of_which_every_cell_fails_still_says_so():
    with pytest.warns(RuntimeWarning, match="1 of 1 cells failed"):
        result = sweep(fragile, {"n": [2], "scale": [1]}, cache=False)
    assert list(result.data) == []
    assert result.data.sizes == {"n": 1, "scale": 1}


def leave(n):
    sys.exit(f"cell {n} is off")


def test_a_cell_that_exits_fails_and_does_not_end_the_sweep():
    with pytest.warns(RuntimeWarning, match="SystemExit: cell 1 is off"):
        assert len(sweep(leave, {"n": [1, 2]}, cache=False).failures) == 2


@pytest.mark.parametrize("value", [None, "text", {}, {1: 2.0}, [object()], {"a": {"b": 1}}])
def test_results_that_are_no_numbers_fail(value):
    with pytest.warns(RuntimeWarning, match="TypeError: .*(return numbers|needs names)"):
        sweep(lambda n: value, {"n": [1]}, cache=False)


def test_cells_of_different_shape_are_named_and_stay_in_the_cache(tmp_path):
    def ragged(n, seed):
        return {"path": np.zeros(n + seed)}

    grid = {"n": [1, 2], "seed": [0]}
    for _ in range(2):
        with pytest.raises(
            ValueError,
            match=r"the cell n=2, seed=0 returned path of shape \(2,\), but the cell n=1, seed=0 "
            r"returned path of shape \(1,\)",
        ):
            sweep(ragged, grid, cache=tmp_path)
    assert len(list(tmp_path.rglob("*.cell"))) == 2
    result = sweep(ragged, {"n": [2], "seed": [0]}, cache=tmp_path)
    assert (result.computed, result.reused) == (0, 1)


def test_cells_with_different_names_are_named():
    with pytest.raises(
        ValueError, match=r"the cell n=2 returned b of shape \(\), but the cell n=1"
    ):
        sweep(lambda n: {"a" if n == 1 else "b": n}, {"n": [1, 2]}, cache=False)


@pytest.mark.parametrize(
    ("grid", "options", "message"),
    [
        ({"x": 3}, {}, r"grid\['x'\] must be a sequence of values in a fixed order, not int"),
        ({"x": "abc"}, {}, "must be a sequence of values in a fixed order, not str"),
        ({"x": {1, 2}}, {}, "must be a sequence of values in a fixed order, not set"),
        ({"x": []}, {}, r"grid\['x'\] is empty"),
        ({"x": np.ones((2, 2))}, {}, r"grid\['x'\] must have one dimension, not 2"),
        ({"x": [1, 1.0]}, {}, r"grid\['x'\] holds the value 1.0 twice"),
        ({"x": [(1,), (1,)]}, {}, r"grid\['x'\] holds the value \(1,\) twice"),
        ({"x": [1], "y": [2]}, {}, r"names \['slope', 'x', 'y'\]: got an unexpected keyword"),
        ({}, {}, r"names \['slope'\]: missing a required argument: 'x'"),
        ({"x": [1]}, {"fixed": {"slope": 1, "x": 1}}, "'x' is in grid and in fixed"),
        ({"x y": [1]}, {}, "'x y' cannot be the name of an argument"),
        ({"x": [threading.Lock()]}, {}, r"grid\['x'\] is of type _thread.lock, whose content"),
        ({"x": [np.random.default_rng(0)]}, {}, "is a random generator .* pass an integer seed"),
        ({"x": [torch.Generator()]}, {}, "is a random generator .* pass an integer seed"),
        ({"x": [1]}, {"dims": {"y": []}}, "dims names 'y', but the function returns value"),
        ({"x": [1]}, {"dims": {"value": ["a"]}}, "names 1 dimensions, but that result has 0"),
    ],
)
def test_what_makes_no_sweep_is_refused_in_a_sentence(grid, options, message):
    with pytest.raises(ValueError, match=message):
        sweep(affine, grid, **{"fixed": {"slope": 2.0}, "cache": False, **options})


def test_results_named_like_parameters_are_refused():
    with pytest.raises(ValueError, match="the result 'n' or one of its dimensions has the name"):
        sweep(lambda n: {"n": n}, {"n": [1]}, cache=False)
    with pytest.raises(ValueError, match="give it another name"):
        sweep(lambda n: [n], {"n": [1]}, dims={"value": ["n"]}, cache=False)


def test_functions_in_c_that_do_not_say_what_they_take_are_called():
    ends = {"input": torch.zeros(()), "end": torch.ones(())}
    data = sweep(torch.lerp, {"weight": [0.25, 0.5]}, fixed=ends, cache=False).data
    assert data["value"].values.tolist() == [0.25, 0.5]


def unseeded(n):
    torch.manual_seed(n // 2)
    seeded = torch.rand(1).item()
    return {"seeded": seeded, "python": random.random(), "numpy": np.random.rand()}  # noqa: NPY002


def test_random_states_descend_from_the_arguments_and_the_caller_keeps_its_own():
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002 - the state that must be left alone
    states = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    forward = sweep(unseeded, {"n": [1, 2, 3]}, cache=False).data
    backward = sweep(unseeded, {"n": [3, 2, 1]}, cache=False).data
    assert backward.sortby("n").identical(forward)
    assert len(set(forward["python"].values)) == len(set(forward["numpy"].values)) == 3
    assert forward["seeded"].values[1] == forward["seeded"].values[2]  # its own seed is kept
    assert torch.equal(torch.get_rng_state(), states[0])
    for one, other in zip(np.random.get_state(), states[1], strict=True):  # noqa: NPY002
        np.testing.assert_array_equal(one, other)


def threads(n):
    return {"torch": torch.get_num_threads(), "omp": int(os.environ["OMP_NUM_THREADS"])}


def test_cells_run_on_one_thread_and_the_caller_keeps_its_own(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        data = sweep(threads, {"n": [1]}, cache=False).data
        assert (data["torch"].item(), data["omp"].item()) == (1, 1)
        assert torch.get_num_threads() == 2
        assert os.environ["OMP_NUM_THREADS"] == "2"
        assert "MKL_NUM_THREADS" not in os.environ
    finally:
        torch.set_num_threads(before)


def test_a_function_cannot_change_the_arguments_of_other_cells():
    def consume(sizes, seed):
        return sizes.pop()

    data = sweep(consume, {"sizes": [[1, 2]], "seed": [0, 1, 2]}, cache=False).data
    assert data["value"].values.tolist() == [[2, 2, 2]]


def test_a_sweep_inside_a_cell_is_a_cell_like_any_other():
    def outer(n):
        return sweep(affine, {"x": range(n)}, fixed={"slope": 1}, cache=False).data["value"].sum()

    assert sweep(outer, {"n": [2, 3]}, cache=False).data["value"].values.tolist() == [1, 3]


def test_a_worker_with_other_versions_refuses():
    """Its results would be cached under versions that did not make them."""
    here = cells.versions()
    job = cells.Job(affine, {"slope": 2.0}, cells.settings(), {**here, "torch": "0.4"})
    task = cells.Task(0, pack({"x": 3}), 0)
    with pytest.raises(RuntimeError, match=rf"has torch {here['torch']}, but the .* has 0\.4;"):
        cells.run_shipped(ship(job), task)
    valid = cells.Job(affine, {"slope": 2.0}, cells.settings(), here)
    assert cells.run_shipped(ship(valid), task).arrays == {"value": 6.0}


def test_what_cannot_travel_is_said_before_a_worker_starts():
    lock = threading.Lock()

    def function(n):
        with lock:
            return n

    with pytest.raises(ValueError, match=r"the function cannot be sent to a worker .*workers=1"):
        sweep(function, {"n": [1, 2]}, workers=2, cache=False)
    assert sweep(function, {"n": [1, 2]}, workers=1, cache=False).computed == 2


def test_nothing_is_printed_unless_a_person_watches(capsys):
    sweep(affine, {"x": [1, 2]}, fixed={"slope": 2.0}, cache=False)
    assert capsys.readouterr() == ("", "")
    sweep(affine, {"x": [1, 2]}, fixed={"slope": 2.0}, cache=False, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "affine" in err


def test_results_are_frozen():
    result = sweep(affine, {"x": [1]}, fixed={"slope": 2.0}, cache=False)
    with pytest.raises(FrozenInstanceError):
        result.computed = 0


def test_the_module_is_light_and_needs_no_extra(tmp_path):
    """A sweep in one process works without Dask and Ray, and imports neither them nor xarray.

    Nor does it draw from Python's own generator, which beartype does in these tests.
    """
    program = (
        "import random, sys\n"
        "sys.modules.update(dict.fromkeys(['dask', 'distributed', 'ray']))\n"
        "from learnmech.practice.sweeps import sweep\n"
        "assert 'xarray' not in sys.modules\n"
        "state = random.getstate()\n"
        "print(sweep(lambda x: x * 2, {'x': [4]}).data['value'].item())\n"
        "assert random.getstate() == state\n"
    )
    environment = {**os.environ, "LEARNMECH_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("8\n", "")
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
