"""The readers of IDX and CIFAR files, on small files written by hand, whole and broken."""

import gzip
import io
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
from image_files import cifar_members, idx, tar

from learnmech.practice.data.formats import read_cifar, read_idx


def written(folder: Path, content: bytes) -> Path:
    path = folder / "file.gz"
    path.write_bytes(content)
    return path


def named(value: bytes | str) -> str:
    """Name cases by their messages; compressed bytes hold the time of their making."""
    return value if isinstance(value, str) else "bytes"


@pytest.mark.parametrize("shape", [(7,), (3, 4, 5), (0, 2, 2), (1, 1)])
def test_idx_is_read_as_written(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    read = read_idx(written(tmp_path, gzip.compress(idx(array))), dimensions=len(shape))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, array)


IMAGES = np.arange(24).reshape(2, 4, 3)
WHOLE = gzip.compress(idx(IMAGES))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(idx(IMAGES, magic=0x0D03)), "begins with 00000d03, not with 00000803"),
        (gzip.compress(idx(np.arange(3))), "begins with 00000801, not with 00000803"),
        (gzip.compress(b""), "begins with , not"),
        (gzip.compress(idx(IMAGES)[:9]), "ends inside its header"),
        (gzip.compress(idx(IMAGES)[:-1]), "does not hold the 24 bytes"),
        (gzip.compress(idx(IMAGES) + b"x"), "does not hold the 24 bytes"),
        (gzip.compress(struct.pack(">4I", 0x803, 2**31, 2**31, 4)), "more than can be right"),
        (WHOLE[:-12], "no whole gzip file"),
        (WHOLE[:-4], "no whole gzip file"),
        (WHOLE[:-8] + bytes(8), "no whole gzip file"),
        (idx(IMAGES), "no whole gzip file"),
        (b"", "begins with , not"),
    ],
    ids=named,
)
def test_broken_idx_is_refused_in_a_sentence(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_idx(written(tmp_path, content), dimensions=3)
    assert "file.gz" in str(caught.value)
    assert str(caught.value).endswith(".")


def test_cifar_is_read_as_written(tmp_path: Path) -> None:
    """Independent: one record, byte by byte, and batches in the order of their numbers."""
    members = cifar_members(0)
    parts = read_cifar(written(tmp_path, tar(members)))
    pixels, labels = parts["train"]
    assert pixels.shape == (8, 3072)
    first, second = (members[f"cifar-10-batches-bin/data_batch_{k}.bin"] for k in (1, 2))
    assert labels.tolist() == [first[3073 * k] for k in range(4)] + [
        second[3073 * k] for k in range(4)
    ]
    assert bytes(pixels[1]) == first[3074:6146]
    assert bytes(pixels[4]) == second[1:3073]
    assert len(parts["test"][1]) == 4


def altered(change: dict[str, bytes | None]) -> bytes:
    members = cifar_members(0) | {f"cifar-10-batches-bin/{k}.bin": v for k, v in change.items()}
    return tar({name: content for name, content in members.items() if content is not None})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (altered({"test_batch": None}), "no test batch"),
        (altered({"data_batch_1": None, "data_batch_2": None}), "no train batch"),
        (altered({"test_batch": bytes(3072)}), "records of 3073 bytes"),
        (altered({"test_batch": b""}), "records of 3073 bytes"),
        (altered({"test_batch": bytes([10]) + bytes(3072)}), "label 10, above 9"),
        (altered({})[:-2000], "no whole tar.gz file"),
        (altered({})[:1000], "no whole tar.gz file"),
        (b"neither", "no whole tar.gz file"),
        (gzip.compress(b"no tar in here" * 100), "no whole tar.gz file"),
        (tar(cifar_members(0) | {"../../escaped.bin": b"x"}), "unsafe path '../../escaped.bin'"),
        (tar(cifar_members(0) | {"/tmp/escaped.bin": b"x"}), "unsafe path '/tmp/escaped.bin'"),
    ],
    ids=named,
)
def test_broken_cifar_is_refused_in_a_sentence(
    tmp_path: Path, content: bytes, message: str
) -> None:
    inner = tmp_path / "one" / "two"
    inner.mkdir(parents=True)
    with pytest.raises(ValueError, match=message) as caught:
        read_cifar(written(inner, content))
    assert "file.gz" in str(caught.value)
    assert str(caught.value).endswith(".")
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["file.gz"]


def test_links_and_giants_in_a_tar_are_not_followed(tmp_path: Path) -> None:
    def with_member(member: tarfile.TarInfo) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            archive.addfile(member)
        return buffer.getvalue()

    (tmp_path / "secret").write_bytes(bytes(3073))
    link = tarfile.TarInfo("data_batch_1.bin")
    link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
    with pytest.raises(ValueError, match=r"no train batch|no whole"):
        read_cifar(written(tmp_path, with_member(link)))
    giant = tarfile.TarInfo("data_batch_1.bin")
    giant.size = 2**31
    with pytest.raises(ValueError, match="more than can be right"):
        read_cifar(written(tmp_path, with_member(giant)))
