r"""Readers of the two binary formats of small images, in NumPy, from the files as published.

IDX (MNIST): big-endian; two zero bytes, a type byte (0x08: unsigned bytes), the number of
dimensions k, k sizes of four bytes, then the array in C order; compressed with gzip.

CIFAR-10 binary: a gzipped tar of batches; a record is one byte of label (0 to 9) and 3072 bytes
of pixels, channel by channel (red, green, blue), rows from the top, 32 x 32 each.

Nothing is unpacked to the disk. A file that is damaged raises a `ValueError` that names it.
"""

import gzip
import math
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import UInt8

__all__ = ["read_cifar", "read_idx"]

_LARGEST = 2**30  # bytes: no file of these formats claims more
_RECORD = 1 + 3 * 32 * 32
_BROKEN = (gzip.BadGzipFile, EOFError, zlib.error, tarfile.TarError)


def read_idx(path: Path, *, dimensions: int) -> UInt8[np.ndarray, "..."]:
    """Return the array of bytes that a gzipped IDX file holds.

    Args:
        path: The file.
        dimensions: Number of axes expected: 3 for images (n, rows, columns), 1 for labels (n,).

    Raises:
        ValueError: On a wrong magic number, a wrong length or damaged compression.
        OSError: Where the file cannot be read.
    """
    try:
        with gzip.open(path, "rb") as stream:
            return _idx_array(stream, path.name, dimensions)
    except _BROKEN as error:
        raise ValueError(f"{path.name} is no whole gzip file ({error}).") from None


def read_cifar(
    path: Path,
) -> Mapping[str, tuple[UInt8[np.ndarray, "n 3072"], UInt8[np.ndarray, " n"]]]:
    """Return pixels and labels of "train" and "test" from the tar of the CIFAR-10 binary version.

    Args:
        path: The file. Its members data_batch_1.bin, data_batch_2.bin, ... are the training
            part, test_batch.bin the test part, whatever their folder; others are passed over.

    Raises:
        ValueError: On damaged compression, a missing part, a batch of wrong length or label, or
            a member whose path leads out of the archive.
        OSError: Where the file cannot be read.
    """
    batches: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                place = PurePosixPath(member.name)
                if place.is_absolute() or ".." in place.parts:
                    raise ValueError(f"{path.name} holds the unsafe path {member.name!r}.")
                wanted = member.isfile() and place.suffix == ".bin"  # links are not followed
                stream = archive.extractfile(member) if wanted else None
                if stream is not None:
                    _check_size(member.size, path.name)
                    batches[place.name] = stream.read()
    except _BROKEN as error:
        raise ValueError(f"{path.name} is no whole tar.gz file ({error}).") from None
    parts = {
        "train": sorted(name for name in batches if name.startswith("data_batch_")),
        "test": [name for name in batches if name == "test_batch.bin"],
    }
    for part, names in parts.items():
        if not names:
            raise ValueError(f"{path.name} has no {part} batch.")
    return {
        part: _records(b"".join(batches[name] for name in names), path.name)
        for part, names in parts.items()
    }


def _idx_array(stream: gzip.GzipFile, name: str, dimensions: int) -> UInt8[np.ndarray, "..."]:
    magic = stream.read(4)
    if magic != bytes([0, 0, 8, dimensions]):
        raise ValueError(
            f"{name} begins with {magic.hex()}, not with 000008{dimensions:02x}: it is no IDX "
            f"file of bytes in {dimensions} dimensions."
        )
    header = stream.read(4 * dimensions)
    if len(header) != 4 * dimensions:
        raise ValueError(f"{name} ends inside its header.")
    sizes = np.frombuffer(header, dtype=">u4").tolist()
    expected = math.prod(sizes)
    _check_size(expected, name)
    content = stream.read(expected)
    if len(content) != expected or stream.read(1):
        raise ValueError(f"{name} does not hold the {expected} bytes that its header announces.")
    return np.frombuffer(content, dtype=np.uint8).reshape(sizes)


def _records(
    content: bytes, name: str
) -> tuple[UInt8[np.ndarray, "n 3072"], UInt8[np.ndarray, " n"]]:
    if not content or len(content) % _RECORD:
        raise ValueError(f"{name} holds a batch that is not made of records of {_RECORD} bytes.")
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, _RECORD)
    labels = records[:, 0]
    if labels.max() > 9:
        raise ValueError(f"{name} holds the label {labels.max()}, above 9.")
    return records[:, 1:], labels


def _check_size(size: int, name: str) -> None:
    if size > _LARGEST:
        raise ValueError(f"{name} announces {size} bytes, which is more than can be right.")
