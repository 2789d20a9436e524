"""Origins: which code belongs to installed packages, and what code refers to by name."""

from __future__ import annotations

import dis
import functools
import sys
import sysconfig
import types
from collections.abc import Iterator
from pathlib import Path

__all__ = ["OURS", "attribute_names", "global_names", "is_installed", "is_installed_module"]

OURS = __name__.partition(".")[0]
"""The name of this package."""

_INSTALLED = tuple(
    Path(sysconfig.get_path(name)).resolve()
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
)


def global_names(code: types.CodeType) -> Iterator[str]:
    """Yield the global names that code reads, functions inside it included."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from global_names(constant)


def attribute_names(code: types.CodeType) -> Iterator[str]:
    """Yield the names that code may look up as attributes, and some others."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from attribute_names(constant)


@functools.cache
def is_installed(filename: str) -> bool:
    """Say whether a file belongs to Python itself or to an installed package."""
    if filename.startswith("<frozen"):
        return True
    path = Path(filename)
    return bool({"site-packages", "dist-packages"} & set(path.parts)) or any(
        path.is_relative_to(folder) or path.resolve().is_relative_to(folder)
        for folder in _INSTALLED
    )


def is_installed_module(module: types.ModuleType) -> bool:
    """Say whether a module belongs to Python itself or to an installed package."""
    file = getattr(module, "__file__", None)
    if file is None:
        return module.__name__ in sys.builtin_module_names
    return is_installed(file)
