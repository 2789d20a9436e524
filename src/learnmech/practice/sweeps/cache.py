"""The cache: one file a cell, checked when it is read and never half-written.

A file is a line `learnmech-cell 1 SHA-256`, a line of JSON (the key, the parameters as text for
a human reader, name, dtype and shape of every array) and the bytes of the arrays; the hash is
that of everything after the first line. Nothing is unpickled. A file is written under another
name, flushed to the disk and renamed, so that a reader, another sweep or a power cut finds the
old file, the new one or none.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from learnmech.practice.sweeps.cells import Arrays

__all__ = ["Cache", "DamagedEntry", "user_folder"]

_MAGIC = "learnmech-cell 1"
_DAY = 86400.0  # seconds


class DamagedEntry(Exception):
    """A file of the cache that cannot be what was written."""


def user_folder() -> Path:
    """Return the folder for cached cells: `LEARNMECH_CACHE`, or `sweeps` in the user's cache.

    Raises:
        ValueError: Where there is neither that variable nor a home folder.
    """
    if named := os.environ.get("LEARNMECH_CACHE"):
        return Path(named).expanduser().absolute()
    try:
        if sys.platform == "win32":
            base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        elif sys.platform == "darwin":
            base = Path.home() / "Library" / "Caches"
        else:
            base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        raise ValueError(
            "there is no home folder to cache results in; name a folder with cache=... or in "
            "the environment variable LEARNMECH_CACHE."
        ) from None
    return base / "learnmech" / "sweeps"


@dataclass(frozen=True)
class Cache:
    """The folder of one function's cells."""

    folder: Path

    @classmethod
    def open(cls, base: Path, function: str) -> Cache:
        """Make the folder for a function's cells, and clear away what killed sweeps left.

        Raises:
            ValueError: If nothing can be written there.
        """
        folder = base / (
            re.sub(r"[^A-Za-z0-9_.-]+", "_", function)[-100:].strip("._") or "function"
        )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise ValueError(
                f"results cannot be cached in {folder} ({error.strerror or error}); name another "
                "folder with cache=..., or say cache=False."
            ) from None
        for left in folder.glob("*.tmp"):
            with suppress(OSError):  # another sweep may clear it away at the same time
                if left.stat().st_mtime < time.time() - _DAY:
                    left.unlink()
        return cls(folder)

    def read(self, key: str) -> Arrays | None:
        """Return the arrays stored under a key, or None if there are none.

        Raises:
            DamagedEntry: If there is something that is not what was written.
        """
        try:
            content = self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DamagedEntry(str(error)) from None
        first, _, rest = content.partition(b"\n")
        if first != _first_line(rest):
            raise DamagedEntry("its checksum is wrong")
        line, _, data = rest.partition(b"\n")
        header = json.loads(line)
        if header["key"] != key:
            raise DamagedEntry("it belongs to another cell")
        arrays, start = {}, 0
        for name, kind, shape in header["arrays"]:
            dtype, count = np.dtype(kind), math.prod(shape)
            array = np.frombuffer(data, dtype, count, start).reshape(shape).copy()
            arrays[name], start = array, start + array.nbytes
        return arrays

    def write(self, key: str, parameters: str, arrays: Arrays) -> None:
        """Store arrays under a key, whole or not at all.

        Raises:
            OSError: If the disk is full or the folder cannot be written.
        """
        header: dict[str, Any] = {"key": key, "parameters": parameters}
        header["arrays"] = [[name, a.dtype.str, a.shape] for name, a in arrays.items()]
        body = json.dumps(header).encode() + b"\n"
        body += b"".join(array.tobytes() for array in arrays.values())
        handle, temporary = tempfile.mkstemp(suffix=".tmp", dir=self.folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_first_line(body) + b"\n" + body)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._path(key))
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        self._flush_folder()

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.cell"

    def _flush_folder(self) -> None:
        if sys.platform != "win32":  # where a folder cannot be opened
            handle = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def _first_line(body: bytes) -> bytes:
    return f"{_MAGIC} {hashlib.sha256(body).hexdigest()}".encode()
