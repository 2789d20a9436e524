"""Fingerprints: equal for what computes the same, different for what does not."""

import contextlib
import copy
import enum
import functools
import logging
import os
import subprocess
import sys
import textwrap
import threading
import types
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from learnmech.practice.sweeps import grids
from learnmech.practice.sweeps.fingerprints import fingerprint, own_modules


def mark(value):
    return fingerprint(value, "x")


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclass(frozen=True)
class Plan:
    rate: float
    widths: tuple = (8, 8)
    extra: list = field(default_factory=list)


DIFFERENT = [
    None,
    1,
    1.0,
    True,
    0.0,
    -0.0,
    float("nan"),
    1j,
    "1",
    b"1",
    np.float64(1),
    np.float32(1),
    (1,),
    [1],
    {1},
    frozenset({1}),
    {1: 2},
    {2: 1},
    {1: 2, 2: 1},
    {2: 1, 1: 2},
    ((1, 2), 3),
    (1, (2, 3)),
    ("ab", "c"),
    ("a", "bc"),
    np.array(1.0),
    np.array([1.0]),
    np.array([[1.0]]),
    np.array([1.0], dtype=">f8"),
    np.array([1], dtype=np.int64),
    torch.ones(1, dtype=torch.float64),
    torch.ones(1),
    torch.ones(1, requires_grad=True),
    torch.ones(1, dtype=torch.bfloat16),
    torch.zeros(1, dtype=torch.bfloat16),
    torch.empty(0),
    torch.tensor(1.0),
    torch.nn.Parameter(torch.ones(2)),
    torch.float32,
    torch.float64,
    torch.device("cpu"),
    np.dtype("f4"),
    Path("a"),
    Fraction(1, 3),
    range(3),
    slice(3),
    Colour.RED,
    Colour.BLUE,
    Plan(0.1),
    Plan(0.2),
    Plan(0.1, (8, 16)),
    torch.relu,
    torch.tanh,
    torch.nn.ReLU,
    torch.nn.ReLU(),
    torch.nn.GELU(),
    np.sin,
    np.cos,
    len,
    str.upper,
    functools.partial(max, 1),
    functools.partial(max, 2),
]


def test_different_values_differ_and_copies_agree():
    marks = {}
    for value in DIFFERENT:
        first = mark(value)
        assert first not in marks, (value, marks[first])
        marks[first] = value
        if isinstance(value, int | float | tuple | list | dict | np.ndarray | Plan):
            assert mark(copy.deepcopy(value)) == first


def test_sharing_and_the_order_of_sets_do_not_matter():
    part = (1, 2)
    assert mark((part, part)) == mark(((1, 2), (1, 2)))
    assert mark({"a", "b", "c", "d"}) == mark({"d", "c", "b", "a"})
    assert mark(np.arange(6.0).reshape(2, 3).T) == mark(np.arange(6.0).reshape(2, 3).T.copy())


def test_values_that_hold_themselves_end():
    first, second = [1], [1]
    first.append(first)
    second.append(second)
    assert mark(first) == mark(second)


BASE = """
    def f(x, power=2):
        return helper(x) ** power + SHIFT

    def helper(x):
        return x * TABLE["a"]

    SHIFT = 1.0
    TABLE = {"a": 2}
"""
CHANGES = {
    "its own code": ("** power +", "** power -"),
    "a default": ("power=2", "power=3"),
    "a helper": ("return x *", "return -x *"),
    "a number it reads": ("SHIFT = 1.0", "SHIFT = 1"),
    "data its helper reads": ('"a": 2', '"a": 3'),
}


def function_of(text, name="f"):
    namespace = {"__name__": "experiment"}
    exec(textwrap.dedent(text), namespace)
    return namespace[name]


@pytest.mark.parametrize("change", CHANGES)
def test_a_function_changes_with(change):
    old, new = CHANGES[change]
    assert old in BASE
    assert mark(function_of(BASE)) != mark(function_of(BASE.replace(old, new)))


def test_comments_formatting_and_unused_names_do_not_matter():
    same = BASE.replace("return helper", "# a comment\n\n        return   helper")
    same += "\n    UNUSED = object()\n"
    assert mark(function_of(same)) == mark(function_of(BASE))


def test_lambdas_on_one_line_differ():
    one, other = (lambda x: x + 1), (lambda x: x + 2)
    assert mark(one) != mark(other)


def closing_over(value):
    def inner(x):
        return x + value

    return inner


def test_what_a_function_closes_over_counts():
    assert mark(closing_over(1)) == mark(closing_over(1))
    assert mark(closing_over(1)) != mark(closing_over(2))
    assert mark(closing_over(np.zeros(2))) != mark(closing_over(np.ones(2)))


def test_functions_that_call_each_other_end():
    text = """
        def f(n):
            return 1 if n < 1 else g(n - 1)

        def g(n):
            return f(n - 1) * {factor}
    """
    one, same, other = (function_of(text.format(factor=k)) for k in (2, 2, 3))
    assert mark(one) == mark(same) != mark(other)


CLASS = """
    import torch

    class Net(torch.nn.Module):
        depth = 2

        def __init__(self, width):
            super().__init__()
            self.layer = torch.nn.Linear(width, 1)

        def forward(self, x):
            return self.scaled(x)

        @staticmethod
        def scaled(x):
            return 2 * x

        @property
        def size(self):
            return 3

    def f(width):
        return Net(width)(torch.ones(1, width)).sum() * Net.depth
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("depth = 2", "depth = 3"),
        ("2 * x", "3 * x"),
        ("return 3", "return 4"),
        ("width, 1", "1, 1"),
    ],
)
def test_a_class_of_your_own_counts_with_its_methods(old, new):
    assert old in CLASS
    assert mark(function_of(CLASS)) == mark(function_of(CLASS))
    assert mark(function_of(CLASS)) != mark(function_of(CLASS.replace(old, new)))


def module_of(text, name="helpers_of_a_user"):
    module = types.ModuleType(name)
    exec(textwrap.dedent(text), module.__dict__)
    return module


def test_attributes_of_your_own_modules_count_and_others_do_not():
    text = "def g(x):\n    return {0} * x\n\ndef h(x):\n    return {1} * x\n"

    def using(module):
        namespace = {"helpers": module}
        exec("def f(x):\n    return helpers.g(x)\n", namespace)
        return mark(namespace["f"])

    base = using(module_of(text.format(1, 1)))
    assert using(module_of(text.format(1, 2))) == base
    assert using(module_of(text.format(2, 1))) != base


def test_installed_packages_count_by_their_version(monkeypatch):
    def f(x):
        return np.sin(x)

    before = mark(f)
    monkeypatch.setattr(np, "__version__", "99.0")
    assert mark(f) != before


def decorated(scale):
    def wrap(function):
        @functools.wraps(function)
        def inner(*args):
            return scale * function(*args)

        return inner

    return wrap


def test_decorators_count_with_their_arguments():
    marks = {mark(decorated(scale)(core)) for scale in (1, 2) for core in (math_a, math_b)}
    assert len(marks) == 4
    assert mark(functools.lru_cache(math_a)) != mark(functools.lru_cache(math_b))


def test_a_function_of_your_own_under_a_decorator_of_a_package_counts():
    """contextlib stands for any installed package that wraps what it is given."""
    assert mark(contextlib.contextmanager(math_a)) != mark(contextlib.contextmanager(math_b))


def math_a(x):
    return x + 1


def math_b(x):
    return x + 2


def test_code_of_this_package_counts_with_what_it_calls(monkeypatch):
    def f(model):
        return grids.describe(model)

    before = mark(f)
    assert mark(f) == before
    monkeypatch.setattr(grids, "_text", math_a)
    assert mark(f) != before


@pytest.mark.parametrize("value", [threading.Lock(), sys.stdout, (n for n in range(2))])
def test_what_has_no_content_to_compare_is_refused_unless_vouched_for(value):
    f = closing_over(value)
    with pytest.raises(
        ValueError, match=r"'value', used by x \(inner\), is of type .*version=\"1\""
    ):
        mark(f)
    assert fingerprint(f, "x", vouched=True) == fingerprint(f, "x", vouched=True)


def test_generators_are_refused_because_draws_depend_on_the_order():
    with pytest.raises(ValueError, match="make the generator inside the function"):
        mark(closing_over(torch.Generator()))


def test_a_logger_or_an_unbound_name_is_no_obstacle():
    def f(x):
        logging.getLogger("a").info(x)
        return not_yet_defined(x)  # noqa: F821

    assert mark(f) == mark(f)
    assert mark(closing_over(logging.getLogger("a"))) != mark(closing_over(logging.getLogger("b")))


def test_fingerprints_agree_between_processes_with_other_hash_seeds():
    program = (
        f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})\n"
        "import test_sweeps_fingerprints as here\n"
        "values = here.BASE, here.member, here.Plan(0.1), {'a', 'b'}\n"
        "print([here.mark(value).hex() for value in values])\n"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1


def member(x):
    return x in {"alpha", "beta", "gamma", "delta"}  # a set among the constants of the code


def test_own_modules_are_those_outside_installed_packages():
    def f(x):
        return math_a(np.sin(x)), grids.describe

    assert [module.__name__ for module in own_modules(f)] == [__name__]
