r"""Fingerprints: what a result depends on, as 32 bytes.

Two values have the same fingerprint only if they have the same type and the same content:
$1$, $1.0$ and `True` differ, floats count by their exact value, arrays and tensors by dtype,
shape and bytes, sets without order, other objects by what pickle would store of them. Nothing
depends on memory addresses or on the order of hashing, so fingerprints agree between processes.

A function counts by

* its source as compiled, so that comments and formatting do not matter;
* its default values, and the values it closes over;
* the global names that it reads: data by content; functions and classes of your own (those of
  scripts, notebooks and modules outside site-packages) like the function itself, and so on to
  any depth; attributes of your own modules likewise;
* everything that belongs to an installed package by its name and that package's version (in a
  checkout of this book learnmech counts as your own, except that objects without readable
  content are passed over in it).

It does not see what is looked up at run time: `getattr` with a computed name, files, environment
variables, the network. For those there is the `version` argument of `sweep`.

Reference: the tree of digests is that of R. Merkle, "A digital signature based on a conventional
encryption function" (CRYPTO 1987).
"""

from __future__ import annotations

import copyreg
import enum
import functools
import hashlib
import inspect
import random
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from learnmech.practice.sweeps.origins import (
    OURS,
    attribute_names,
    global_names,
    is_installed,
    is_installed_module,
)

__all__ = ["fingerprint", "node", "own_modules"]

_ATOMS = (type(None), bool, int, float, complex, str, bytes)
_GENERATORS = (np.random.Generator, np.random.RandomState, torch.Generator, random.Random)


def node(tag: str, *parts: bytes) -> bytes:
    """Return the digest of a tag and of parts, each with its length."""
    digest = hashlib.sha256(tag.encode() + b"\0")
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def fingerprint(value: Any, name: str, *, vouched: bool = False) -> bytes:
    """Return the fingerprint of a value or function.

    Args:
        value: what is to be told apart from others.
        name: what error messages call it.
        vouched: whether parts without readable content are passed over by their type. Otherwise
            they are refused.

    Raises:
        ValueError: If something in it has no content that could be compared.

    >>> fingerprint([1, 2.0], "x") == fingerprint([1, 2.0], "x")
    True
    >>> fingerprint(1, "x") == fingerprint(1.0, "x")
    False
    """
    return _Walk(vouched).value(value, name)


def own_modules(function: Callable[..., Any]) -> list[types.ModuleType]:
    """Return the modules of the user's own that a function comes from or calls into."""
    walk = _Walk(vouched=True)
    walk.value(function, "the function")
    return [sys.modules[name] for name in sorted(walk.modules) if name in sys.modules]


class _Walk:
    """One walk through a value and everything it refers to."""

    def __init__(self, vouched: bool) -> None:
        self.vouched = vouched
        self.modules: set[str] = set()
        self._open: list[int] = []  # what is being walked through, for cycles
        self._known: dict[int, tuple[Any, bytes]] = {}  # the value is kept, so its id stays its own

    def value(self, value: Any, name: str) -> bytes:
        if type(value) in _ATOMS:
            return node(type(value).__name__, repr(value).encode())
        if id(value) in self._known:
            return self._known[id(value)][1]
        if id(value) in self._open:
            return node("cycle", repr(len(self._open) - self._open.index(id(value))).encode())
        self._open.append(id(value))
        try:
            digest = self._compound(value, name)
        finally:
            self._open.pop()
        self._known[id(value)] = value, digest
        return digest

    def _compound(self, value: Any, name: str) -> bytes:
        kind = type(value).__name__
        if type(value) in (list, tuple):
            return node(kind, *(self.value(item, name) for item in value))
        if type(value) in (dict, types.MappingProxyType):
            return node(kind, *(self.value(part, name) for pair in value.items() for part in pair))
        if type(value) in (set, frozenset):
            return node(kind, *sorted(self.value(item, name) for item in value))
        for kinds, walk in _WALKS:
            if isinstance(value, kinds):
                return walk(self, value, name)
        return self._object(value, name)

    def _array(self, value: np.ndarray | np.generic, name: str) -> bytes:
        array = np.asarray(value)
        if array.dtype.hasobject or isinstance(value, np.ma.MaskedArray):
            return self._object(value, name)
        kind = repr((type(value).__name__, np.lib.format.dtype_to_descr(array.dtype), array.shape))
        return node("array", kind.encode(), array.tobytes())

    def _tensor(self, value: Tensor, name: str) -> bytes:
        if value.layout != torch.strided:
            return self._object(value, name)
        settings = f"{value.dtype} {tuple(value.shape)} {value.device.type} {value.requires_grad}"
        plain = value.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
        return node("tensor", settings.encode(), plain.view(torch.uint8).numpy().tobytes())

    def _function(self, value: types.FunctionType, name: str) -> bytes:
        module = value.__module__ or ""
        if module.partition(".")[0] == OURS:  # the tests wrap each function in a check of arguments
            value = inspect.unwrap(value)
        if is_installed(value.__code__.co_filename):
            inner = [value.__dict__.get("__wrapped__"), *map(_content, value.__closure__ or ())]
            wrapped = [f for f in inner if isinstance(f, types.FunctionType)]  # by a decorator
            here = _installed(module, value.__qualname__)
            return node("function", here, *(self.value(f, name) for f in wrapped))
        with self._inside(module):
            return self._own_function(value, name)

    def _own_function(self, value: types.FunctionType, name: str) -> bytes:
        code = value.__code__
        inside = f"{name} ({code.co_name})"
        parts = [self._code_object(code, inside)]
        parts.append(self.value((value.__defaults__, value.__kwdefaults__), f"a default of {name}"))
        for variable, cell in zip(code.co_freevars, value.__closure__ or (), strict=True):
            parts.append(self.value(_content(cell), f"{variable!r}, used by {inside},"))
        attributes = frozenset(attribute_names(code))
        for variable in sorted(set(global_names(code)) & set(value.__globals__)):
            found, label = value.__globals__[variable], f"{variable!r}, used by {inside},"
            parts.append(node("global", variable.encode()))
            if isinstance(found, types.ModuleType):
                parts.append(self._module(found, label, attributes))
            else:
                parts.append(self.value(found, label))
        return node("function", *parts)

    @contextmanager
    def _inside(self, module: str) -> Iterator[None]:
        """Walk through code of the user's own, or of this package, where nothing is refused."""
        before = self.vouched
        if module.partition(".")[0] == OURS:
            self.vouched = True
        else:
            self.modules.add(module)
        yield
        self.vouched = before

    def _code_object(self, code: types.CodeType, name: str) -> bytes:
        shape = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
        names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        return node(
            "code",
            code.co_code,
            getattr(code, "co_exceptiontable", b""),
            self.value((shape, names), name),
            self.value(code.co_consts, name),
        )

    def _module(
        self, value: types.ModuleType, name: str, attributes: frozenset[str] = frozenset()
    ) -> bytes:
        if is_installed_module(value):
            return _installed(value.__name__, "")
        if value.__name__.partition(".")[0] != OURS:
            self.modules.add(value.__name__)
        parts = []
        for attribute in sorted(attributes & set(vars(value))):
            found, label = vars(value)[attribute], f"{value.__name__}.{attribute}"
            parts.append(node("attribute", attribute.encode()))
            if isinstance(found, types.ModuleType):
                parts.append(self._module(found, label, attributes - {attribute}))
            else:
                parts.append(self.value(found, label))
        return node("module", value.__name__.encode(), *parts)

    def _class(self, value: type, name: str) -> bytes:
        module = sys.modules.get(value.__module__)
        if module is not None and is_installed_module(module):
            return _installed(value.__module__, value.__qualname__)
        with self._inside(value.__module__):
            return self._own_class(value, name)

    def _own_class(self, value: type, name: str) -> bytes:
        if issubclass(value, enum.Enum):
            members = [(key, member.value) for key, member in value.__members__.items()]
            return node("enum", value.__qualname__.encode(), self.value(members, name))
        parts = [self.value(base, name) for base in value.__bases__]
        for key, member in sorted(vars(value).items()):
            if _counts(key, member):
                label = f"{value.__qualname__}.{key}"
                parts += [node("member", key.encode()), self.value(member, label)]
        return node("class", *parts)

    def _wrapped(self, value: Any, name: str) -> bytes:
        inner = (
            (value.fget, value.fset, value.fdel)
            if isinstance(value, property)
            else getattr(value, "__wrapped__", None) or getattr(value, "func", None)
        )
        return node(type(value).__name__, self.value(inner, name))

    def _method(self, value: types.MethodType, name: str) -> bytes:
        return node("method", self.value(value.__func__, name), self.value(value.__self__, name))

    def _builtin(self, value: types.BuiltinFunctionType, name: str) -> bytes:
        owner = value.__self__
        if owner is None or isinstance(owner, types.ModuleType):
            return _installed(value.__module__ or "builtins", value.__qualname__)
        return node("bound", value.__qualname__.encode(), self.value(owner, name))

    def _object(self, value: Any, name: str) -> bytes:
        kind = type(value)
        what = f"{kind.__module__}.{kind.__qualname__}"
        if isinstance(value, _GENERATORS):
            reason = (
                f"{name} is a random generator ({what}), whose draws depend on which cells came "
                "before; pass an integer seed and make the generator inside the function."
            )
        else:
            if getattr(value, "__wrapped__", None) is not None:  # functools.lru_cache and its kin
                return node("wrapper", what.encode(), self.value(value.__wrapped__, name))
            try:
                reduce = copyreg.dispatch_table.get(kind)
                stored = reduce(value) if reduce else value.__reduce_ex__(4)
            except Exception:  # anything may happen in the code of others; it is then unreadable
                reason = (
                    f"{name} is of type {what}, whose content cannot be compared, so that a stale "
                    'result could not be told from a valid one; use plain data, or say version="1" '
                    "and change it whenever that object changes."
                )
            else:
                if isinstance(stored, str):
                    return node("named", what.encode(), stored.encode())
                parts = [*stored[:3], *(list(items or ()) for items in stored[3:5])]
                return node("object", self.value(kind, name), *(self.value(p, name) for p in parts))
        if self.vouched:
            return node("vouched", what.encode())
        raise ValueError(reason)


_WALKS: tuple[tuple[Any, Callable[[_Walk, Any, str], bytes]], ...] = (
    ((np.ndarray, np.generic), _Walk._array),
    (Tensor, _Walk._tensor),
    (types.FunctionType, _Walk._function),
    (types.MethodType, _Walk._method),
    (types.BuiltinFunctionType, _Walk._builtin),
    (types.CodeType, _Walk._code_object),
    (types.ModuleType, _Walk._module),
    (type, _Walk._class),
    ((staticmethod, classmethod, property, functools.cached_property), _Walk._wrapped),
)


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty, because it is defined after the function
        return None


def _counts(key: str, member: object) -> bool:
    """Say whether a member of a class is the user's: methods are, and data without underscores."""
    if isinstance(member, types.FunctionType | staticmethod | classmethod | property):
        return not key.startswith("__annotate")  # made by Python 3.14
    slots = types.MemberDescriptorType | types.GetSetDescriptorType
    return not (key.startswith("__") or key == "_abc_impl" or isinstance(member, slots))


def _installed(module: str, name: str) -> bytes:
    package = sys.modules.get(module.partition(".")[0])
    version = getattr(package, "__version__", "")
    return node("installed", module.encode(), name.encode(), str(version).encode())
