"""What a notebook's code must not do, read off its text without running it.

Four rules, each a list of problems that is empty for a good chapter:

* a prediction stands before the training it is held against, and nothing measured flows into it;
* no literal seed: all randomness descends from ``chapter.seeds``;
* no draw from a global random state;
* no cell ends in a semicolon, which shows an output in one runner and hides it in another.

The first rule follows names through the code: a call of anything imported from
``learnmech.practice.training``, of ``.backward()`` or of an optimiser's ``.step()`` is training,
and so is a call that is handed a function which trains, such as a sweep over it; a name that was
assigned from it, directly or through other names, carries the line of that training.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeGuard

__all__ = ["notebook_problems"]

_TRAINING_MODULE = "learnmech.practice.training"
_TRAINING_METHODS = {"backward", "step"}
_SEEDED = {
    "manual_seed",
    "seed",
    "default_rng",
    "Generator",
    "SeedSequence",
    "RandomState",
    "PCG64",
    "generator",
    "rng",
}
_MAKERS_OF_INTEGERS = {"range", "list", "tuple", "np", "numpy", "torch"}
_SEED_WORDS = re.compile(r"(^|_)(seeds?|random_state)$")
_GLOBAL_DRAWS = {
    "torch": {"rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial"},
    "random": {"random", "randint", "choice", "shuffle", "sample", "uniform", "gauss"},
}
_CHAPTER_METHODS = {
    "predict",
    "claim",
    "limit",
    "check",
    "observe",
    "figure",
    "live_figure",
    "close",
}
_MAY_BE_GIVEN_RUNS = {"counterfactual run", "same run"}


def notebook_problems(cells: list[str]) -> list[str]:
    """List what is wrong with a notebook's code cells; empty for a good chapter.

    Args:
        cells: the sources of the code cells, in order.

    Returns:
        One sentence for each problem, with the number of its code cell, counted from one.
    """
    problems: list[str] = []
    flow = _Flow()
    for number, source in enumerate(cells, start=1):
        try:
            tree = ast.parse(source)
        except SyntaxError as error:
            problems.append(f"code cell {number} is not Python: {error.msg} in line {error.lineno}")
            continue
        if source.rstrip().endswith(";"):
            problems.append(f"code cell {number} ends in a semicolon; remove it")
        problems += [f"code cell {number}: {line}" for line in _seed_problems(tree)]
        problems += [f"code cell {number}: {line}" for line in flow.read(tree, number)]
    return problems


def _name(node: ast.expr) -> str:
    """Return the dotted name of an expression such as ``np.random.normal``, or nothing."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        parts.append(node.id)
    return ".".join(reversed(parts))


def _is_literal(node: ast.AST) -> bool:
    """Say whether an expression is made of integers alone: ``3``, ``[0, 1]``, ``range(5)``."""
    parts = list(ast.walk(node))
    integers = any(isinstance(p, ast.Constant) and type(p.value) is int for p in parts)
    names = {p.id for p in parts if isinstance(p, ast.Name)}
    return integers and names <= _MAKERS_OF_INTEGERS


def _seed_problems(tree: ast.AST) -> Iterator[str]:
    advice = "take seeds from chapter.seeds(n), generators from chapter.generator(seed)"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = _name(node.func)
            last = called.rsplit(".", 1)[-1]
            literal = any(_is_literal(a) for a in node.args)
            if last in _SEEDED and literal:
                yield f"line {node.lineno} gives {called} a literal seed; {advice}"
            for keyword in node.keywords:
                if keyword.arg and _SEED_WORDS.search(keyword.arg) and _is_literal(keyword.value):
                    yield f"line {node.lineno} has a literal {keyword.arg}; {advice}"
            yield from _global_draw(node, called, last)
        elif isinstance(node, ast.Assign):
            names = [t.id for t in node.targets if isinstance(t, ast.Name)]
            seedy = any(_SEED_WORDS.search(name) for name in names)
            if seedy and _is_literal(node.value):
                yield f"line {node.lineno} assigns a literal seed; {advice}"


def _global_draw(node: ast.Call, called: str, last: str) -> Iterator[str]:
    head = called.split(".", 1)[0]
    given = any(keyword.arg == "generator" for keyword in node.keywords)
    numpy_global = ".random." in f".{called}" and head in {"np", "numpy"} and last not in _SEEDED
    if (called == f"{head}.{last}" and last in _GLOBAL_DRAWS.get(head, ()) and not given) or (
        numpy_global
    ):
        yield (
            f"line {node.lineno} draws from the global random state through {called}; pass a "
            "generator from chapter.generator(seed) or use chapter.rng(seed)"
        )


@dataclass
class _Flow:
    """Which trainings each name descends from; a training is a position (cell, line)."""

    descent: dict[str, set[tuple[int, int]]] = field(default_factory=dict)
    trainers: set[str] = field(default_factory=set)
    predictions: dict[str, tuple[int, int]] = field(default_factory=dict)

    def read(self, tree: ast.Module, cell: int) -> list[str]:
        problems: list[str] = []
        self._block(tree.body, cell, problems)
        return problems

    def _block(self, body: list[ast.stmt], cell: int, problems: list[str]) -> None:
        for statement in body:
            self._statement(statement, cell, problems)

    def _statement(self, node: ast.stmt, cell: int, problems: list[str]) -> None:
        if isinstance(node, ast.ImportFrom):
            if node.module and node.module.startswith(_TRAINING_MODULE):
                self.trainers |= {alias.asname or alias.name for alias in node.names}
            return
        if isinstance(node, ast.Import):
            self.trainers |= {
                alias.asname or alias.name
                for alias in node.names
                if alias.name.startswith(_TRAINING_MODULE)
            }
            return
        if isinstance(node, ast.FunctionDef):
            if self._trains(node):
                self.trainers.add(node.name)
            return
        self._calls(node, cell, problems)
        self._assignments(node, cell)
        for name in ("body", "orelse", "finalbody"):
            inner = getattr(node, name, None)
            if isinstance(inner, list):
                self._block(inner, cell, problems)

    def _header(self, node: ast.stmt) -> Iterator[ast.AST]:
        """Walk a statement without the statements nested in it."""
        stack: list[ast.AST] = [node]
        while stack:
            part = stack.pop()
            yield part
            stack += [c for c in ast.iter_child_nodes(part) if not isinstance(c, ast.stmt)]

    def _trains(self, node: ast.AST) -> bool:
        return any(isinstance(p, ast.Call) and self._is_training(p) for p in ast.walk(node))

    def _is_training(self, call: ast.Call) -> bool:
        called = _name(call.func)
        parts = called.split(".")
        arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
        return (
            called in self.trainers
            or parts[0] in self.trainers
            or "training" in parts[:-1]
            or (len(parts) > 1 and parts[-1] in _TRAINING_METHODS)
            or any(_name(given) in self.trainers for given in arguments)
        )

    def _descends(self, node: ast.AST, cell: int) -> set[tuple[int, int]]:
        found: set[tuple[int, int]] = set()
        local = {
            name.id
            for part in ast.walk(node)
            if isinstance(part, ast.comprehension)
            for name in ast.walk(part.target)
            if isinstance(name, ast.Name)
        }
        for part in ast.walk(node):
            if isinstance(part, ast.Name) and part.id not in local:
                found |= self.descent.get(part.id, set())
            elif isinstance(part, ast.Call) and self._is_training(part):
                found.add((cell, part.lineno))
        return found

    def _assignments(self, node: ast.stmt, cell: int) -> None:
        if isinstance(node, ast.Assign):
            pairs = [(target, node.value) for target in node.targets]
        elif isinstance(node, ast.AugAssign | ast.AnnAssign) and node.value is not None:
            pairs = [(node.target, node.value)]
        elif isinstance(node, ast.For):
            pairs = [(node.target, node.iter)]
        elif isinstance(node, ast.Expr) and _fills_its_object(node.value):
            pairs = [(node.value.func, node.value)]
        else:
            return
        for target, value in pairs:
            found = self._descends(value, cell)
            for name, whole in _assigned(target):
                rebinds = whole and isinstance(node, ast.Assign | ast.AnnAssign | ast.For)
                old = set() if rebinds else self.descent.get(name, set())
                self.descent[name] = old | found

    def _calls(self, node: ast.stmt, cell: int, problems: list[str]) -> None:
        for part in self._header(node):
            if not isinstance(part, ast.Call):
                continue
            method = _name(part.func).rsplit(".", 1)[-1]
            if method == "predict" and _string(part.args[:1]):
                problems += self._predict(part, cell)
            elif method in {"claim", "limit"}:
                problems += self._judge(part, cell)

    def _predict(self, call: ast.Call, cell: int) -> list[str]:
        name = _string(call.args[:1])
        self.predictions[name] = (cell, call.lineno)
        fed = next((k.value for k in call.keywords if k.arg == "fed"), None)
        if isinstance(fed, ast.Constant) and fed.value in _MAY_BE_GIVEN_RUNS:
            return []
        value = call.args[1] if len(call.args) > 1 else ast.Constant(None)
        sources = self._descends(value, cell)
        if not sources:
            return []
        at = min(sources)
        return [
            f"line {call.lineno} predicts '{name}' from the training in code cell {at[0]}, line "
            f"{at[1]}; a prediction uses nothing measured during training"
        ]

    def _judge(self, call: ast.Call, cell: int) -> list[str]:
        words = {k.arg: k.value for k in call.keywords}
        trainings = self._descends(words.get("measured", ast.Constant(None)), cell)
        problems = []
        for key in ("prediction", "failure"):
            name = _string([words[key]]) if key in words else ""
            if not name or not trainings:
                continue
            at = self.predictions.get(name)
            if at is None:
                problems.append(
                    f"line {call.lineno} names the prediction '{name}', which no "
                    "chapter.predict(...) above it freezes"
                )
            elif at > min(trainings):
                problems.append(
                    f"line {call.lineno}: the prediction '{name}' (code cell {at[0]}, line "
                    f"{at[1]}) stands after the training it is held against (code cell "
                    f"{min(trainings)[0]}, line {min(trainings)[1]}); predict before you train"
                )
        return problems


def _assigned(target: ast.expr) -> Iterator[tuple[str, bool]]:
    """Yield the names that an assignment changes, and whether the whole name is replaced."""
    if isinstance(target, ast.Name):
        yield target.id, True
    elif isinstance(target, ast.Tuple | ast.List):
        for part in target.elts:
            yield from _assigned(part)
    elif isinstance(target, ast.Starred):
        yield from _assigned(target.value)
    elif isinstance(target, ast.Subscript | ast.Attribute):
        for name, _ in _assigned(target.value):
            yield name, False


def _fills_its_object(node: ast.expr) -> TypeGuard[ast.Call]:
    """Say whether a call may keep its arguments, as ``runs.append(run)`` does."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr not in _CHAPTER_METHODS
    )


def _string(nodes: list[ast.expr]) -> str:
    if nodes and isinstance(nodes[0], ast.Constant) and isinstance(nodes[0].value, str):
        return nodes[0].value
    return ""
