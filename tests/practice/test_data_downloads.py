"""Downloads from a server on loopback: whole, broken, interrupted; and the cache they leave."""

import errno
import gzip
import io
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pooch
import pytest
import torch
from image_files import Server, cifar_members, mnist_files, send, serving, sha256, tar

from learnmech.practice.data import DownloadError, load
from learnmech.practice.data import download as downloads

FILE = "train-images-idx3-ubyte.gz"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[Server]:
    """A mirror with small files, whose checksums stand in for the published ones."""
    files = {f"mnist/{name}": content for name, content in mnist_files(0).items()}
    files |= {f"fashion-mnist/{name}": content for name, content in mnist_files(1).items()}
    files["cifar-10/cifar-10-binary.tar.gz"] = tar(cifar_members(2))
    for name in downloads.SOURCES:
        sums = {
            path.split("/")[1]: sha256(content)
            for path, content in files.items()
            if path.startswith(f"{name}/")
        }
        monkeypatch.setitem(downloads.SOURCES, name, downloads.Source("http://[::1]:1/", sums))
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1,::1")
    monkeypatch.setattr(downloads, "_TIMEOUT", 2.0)
    with serving() as running:
        running.answers.update({f"/{path}": content for path, content in files.items()})
        monkeypatch.setenv("LEARNMECH_DATA_URL", running.url)
        monkeypatch.setenv("LEARNMECH_DATA", str(cache))
        yield running


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def stored(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*") if path.is_file())


def refused(**settings: object) -> str:
    """The sentence of the error that loading MNIST ends with."""
    with pytest.raises(DownloadError) as caught:
        load("mnist", **settings)
    error, message = caught.value, str(caught.value)
    assert error.__cause__ is None
    assert error.__suppress_context__
    assert message.endswith(".")
    assert "\n" not in message
    return message


def expected(files: dict[str, bytes], part: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The stated scaling, straight from the bytes."""

    def raw(prefix: str) -> tuple[np.ndarray, np.ndarray]:
        images = gzip.decompress(files[f"{prefix}-images-idx3-ubyte.gz"])[16:]
        labels = gzip.decompress(files[f"{prefix}-labels-idx1-ubyte.gz"])[8:]
        pixels = np.frombuffer(images, np.uint8).reshape(-1, 12).astype(float)
        return pixels, np.frombuffer(labels, np.uint8).astype(int)

    (train, train_labels), (pixels, labels) = raw("train"), raw({"test": "t10k"}.get(part, part))
    inputs = (pixels - train.mean(0)) / np.sqrt(np.mean((train - train.mean(0)) ** 2))
    share = np.array([np.mean(train_labels == c) for c in range(10)])
    return inputs, np.eye(10)[labels] - share, labels


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(("name", "seed"), [("mnist", 0), ("fashion-mnist", 1)])
def test_images_are_scaled_by_the_training_part(
    server: Server, name: str, seed: int, split: str
) -> None:
    data = load(name, split=split)
    inputs, targets, labels = expected(mnist_files(seed), split)
    n = {"train": 30, "test": 20}[split]
    assert data.inputs.shape == (n, 12)
    assert data.targets.shape == (n, 10)
    np.testing.assert_allclose(data.inputs.numpy(), inputs, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(data.targets.numpy(), targets, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(data.labels.numpy(), labels)
    if split == "train":
        assert not any("t10k" in path for path in server.asked)  # asks for what it needs


def test_cifar_is_scaled_by_its_training_part(server: Server) -> None:
    members = cifar_members(2)
    names = ("data_batch_1", "data_batch_2", "test_batch")
    records = [
        np.frombuffer(members[f"cifar-10-batches-bin/{name}.bin"], np.uint8).reshape(-1, 3073)
        for name in names
    ]
    train = np.concatenate(records[:2])[:, 1:].astype(float)
    scale = np.sqrt(np.mean((train - train.mean(0)) ** 2))
    for split, pixels in (("train", train), ("test", records[2][:, 1:])):
        data = load("cifar-10", split=split)
        inputs = (pixels - train.mean(0)) / scale
        np.testing.assert_allclose(data.inputs.numpy(), inputs, rtol=1e-12, atol=1e-12)
    assert server.asked == ["/cifar-10/cifar-10-binary.tar.gz"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_subset_is_drawn_without_replacement(server: Server, dtype: torch.dtype) -> None:
    state = torch.random.get_rng_state()
    whole = load("mnist", dtype=dtype)
    one, two, other = (
        load("mnist", samples=12, generator=seeded(k), dtype=dtype) for k in (0, 0, 1)
    )
    assert torch.equal(one.inputs, two.inputs)
    assert not torch.equal(one.inputs, other.inputs)
    assert one.inputs.dtype == one.targets.dtype == dtype
    found = (one.inputs[:, None] == whole.inputs[None]).all(2).nonzero()
    assert len(set(found[:, 1].tolist())) == 12
    assert torch.equal(one.labels, whole.labels[found[:, 1]])
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.usefixtures("server")
def test_principal_components_of_images_are_whitened_and_span_the_leading_directions() -> None:
    pixels, data = load("mnist"), load("mnist", components=4)
    assert torch.allclose(data.moments()[1], torch.eye(4, dtype=torch.float64))
    assert torch.equal(data.targets, pixels.targets)
    centred = (pixels.inputs - pixels.inputs.mean(0)).numpy()
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    oracle = centred @ vectors[:, ::-1][:, :4] / np.sqrt(values[::-1][:4])
    overlaps = np.abs(oracle.T @ data.inputs.numpy()) / len(centred)
    np.testing.assert_allclose(overlaps, np.eye(4), atol=1e-10)


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"components": 30}, "mnist have 12 principal components; components=30"),
        ({"components": 3, "covariance_power": 2.0}, "covariance_power must lie in"),
        ({"split": "validation"}, 'split must be "train" or "test"'),
        ({"samples": 31, "generator": seeded(0)}, "has 30 samples here; samples=31"),
        ({"samples": 0, "generator": seeded(0)}, "cannot be drawn"),
        ({"samples": 3}, "is random; pass generator"),
        ({"base_url": "data.school.example"}, "begins with http:// or https://, unlike 'data"),
    ],
)
def test_impossible_settings(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load("mnist", **settings)


def test_each_file_is_fetched_once_and_then_works_offline(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load("mnist")
    assert server.asked == [
        "/mnist/train-images-idx3-ubyte.gz",
        "/mnist/train-labels-idx1-ubyte.gz",
    ]
    assert stored(cache / "mnist") == sorted(path.split("/")[2] for path in server.asked)
    monkeypatch.setenv("LEARNMECH_DATA_URL", "http://127.0.0.1:1/")
    assert torch.equal(load("mnist").inputs, first.inputs)
    assert len(server.asked) == 2


def test_arguments_come_before_the_environment(
    server: Server, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEARNMECH_DATA_URL", "http://127.0.0.1:1/")
    load("mnist", cache=tmp_path / "other", base_url=server.url.rstrip("/"))
    assert stored(cache) == []
    assert FILE in stored(tmp_path / "other" / "mnist")


def test_without_a_mirror_the_published_address_is_asked(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LEARNMECH_DATA_URL")
    source = downloads.SOURCES["mnist"]
    away = downloads.Source(f"{server.url}away/", source.sha256)
    monkeypatch.setitem(downloads.SOURCES, "mnist", away)
    message = refused()
    assert server.asked == [f"/away/{FILE}"]
    assert f"{server.url}away/{FILE}: the server answered 404" in message
    assert stored(cache) == []


def test_the_default_cache_is_the_users_own(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LEARNMECH_DATA")
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "home" / project)
    load("mnist")
    assert FILE in stored(tmp_path / "home" / "learnmech" / "mnist")


def test_published_addresses_and_checksums_have_their_form() -> None:
    assert set(downloads.SOURCES) == {"mnist", "fashion-mnist", "cifar-10"}
    sums = [value for source in downloads.SOURCES.values() for value in source.sha256.values()]
    assert len(sums) == len(set(sums)) == 9
    assert all(len(value) == 64 and int(value, 16) >= 0 for value in sums)
    assert all(source.url.endswith("/") for source in downloads.SOURCES.values())


# Faults: one sentence, and nothing half-written


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def test_a_damaged_cached_file_is_replaced(server: Server, cache: Path) -> None:
    whole = server.answers[f"/mnist/{FILE}"]
    first = load("mnist")
    for broken in (cut(whole), b"", bytes(len(whole))):
        (cache / "mnist" / FILE).write_bytes(broken)
        assert torch.equal(load("mnist").inputs, first.inputs)
        assert (cache / "mnist" / FILE).read_bytes() == whole


def test_offline(server: Server, cache: Path) -> None:
    message = refused(base_url="http://127.0.0.1:1/")
    assert "go online once" in message
    assert str(cache / "mnist") in message
    assert stored(cache) == []
    # by hand, as the sentence says
    for name, content in mnist_files(0).items():
        (cache / "mnist" / name).write_bytes(content)
    assert len(load("mnist", base_url="http://127.0.0.1:1/").inputs) == 30


def broken_answers(content: bytes, server: Server) -> dict[str, object]:
    def stalls(handler: BaseHTTPRequestHandler) -> None:
        send(handler, cut(content), len(content))
        server.finished.wait(20)

    def hangs_up(handler: BaseHTTPRequestHandler) -> None:
        handler.connection.close()

    return {
        "other bytes": content[:-1] + bytes([content[-1] ^ 1]),
        "half, announced as whole": lambda h: send(h, cut(content), len(content)),
        "half, announced as half": cut(content),
        "half, not announced": lambda h: send(h, cut(content), None),
        "nothing": b"",
        "a page instead": b"<html>log in to the network of this hotel</html>",
        "stalls": stalls,
        "hangs up": hangs_up,
        "missing": None,
        "out of order": lambda h: h.send_error(503),
    }


CHECKSUM, CONNECTION = (
    "does not have the known sha256; it was not kept",
    "connection failed or broke off",
)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("other bytes", CHECKSUM),
        ("half, announced as whole", CONNECTION),
        ("half, announced as half", CHECKSUM),
        ("half, not announced", CHECKSUM),
        ("nothing", CHECKSUM),
        ("a page instead", CHECKSUM),
        ("stalls", CONNECTION),
        ("hangs up", CONNECTION),
        ("missing", "the server answered 404 Not Found"),
        ("out of order", "the server answered 503 Service Unavailable"),
    ],
)
def test_a_broken_answer_leaves_nothing_and_the_next_call_works(
    server: Server, cache: Path, fault: str, message: str
) -> None:
    whole = server.answers[f"/mnist/{FILE}"]
    server.answers[f"/mnist/{FILE}"] = broken_answers(whole, server)[fault]
    sentence = refused()
    assert message in sentence
    assert f"'mnist' could not be fetched from {server.url}mnist/{FILE}" in sentence
    if message == CONNECTION:  # what to copy by hand, all of it
        names = ", ".join(downloads.SOURCES["mnist"].sha256)
        assert f"copy {names} into {cache / 'mnist'}" in sentence
    assert stored(cache) == []
    server.answers[f"/mnist/{FILE}"] = whole
    assert len(load("mnist").inputs) == 30


class Failing(io.FileIO):
    """A file that takes some bytes and then fails."""

    def __init__(self, path: str, error: BaseException) -> None:
        super().__init__(path, "w")
        self.error = error

    def write(self, chunk: bytes) -> int:
        super().write(chunk[:100])
        raise self.error


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "is full; free some space"),
        (errno.EDQUOT, "is full; free some space"),
        (errno.EIO, "cannot be used"),
    ],
)
def test_a_disk_that_fails_while_writing(
    cache: Path, monkeypatch: pytest.MonkeyPatch, number: int, message: str
) -> None:
    error = OSError(number, "of the disk")
    with monkeypatch.context() as patch:
        patch.setattr(
            "learnmech.practice.data.download.open",
            lambda path, _: Failing(path, error),
            raising=False,
        )
        assert message in refused()
    assert stored(cache) == []
    assert len(load("mnist").inputs) == 30


@pytest.mark.usefixtures("server")
def test_an_interrupted_download_leaves_nothing(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop = KeyboardInterrupt()
        patch.setattr(
            "learnmech.practice.data.download.open",
            lambda path, _: Failing(path, stop),
            raising=False,
        )
        with pytest.raises(KeyboardInterrupt):
            load("mnist")
    assert stored(cache) == []
    assert len(load("mnist").inputs) == 30


@pytest.mark.usefixtures("server")
def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    """A file in the place of the folder: refused for every user, unlike permissions for root."""
    (tmp_path / "file").write_text("not a folder")
    message = refused(cache=tmp_path / "file")
    assert f"cache folder {tmp_path / 'file' / 'mnist'} cannot be used" in message
    assert "LEARNMECH_DATA" in message
    assert (tmp_path / "file").read_text() == "not a folder"


@pytest.mark.usefixtures("server")
def test_without_pooch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    assert "pip install pooch" in refused()


def test_two_at_once_get_the_same_file(server: Server, cache: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: downloads.fetch("mnist", FILE), range(4)))
    assert paths == [cache / "mnist" / FILE] * 4
    assert stored(cache) == [FILE]
    assert paths[0].read_bytes() == server.answers[f"/mnist/{FILE}"]


def test_images_and_labels_that_do_not_belong_together(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = mnist_files(3, train=29)["train-labels-idx1-ubyte.gz"]
    sums = downloads.SOURCES["mnist"].sha256 | {"train-labels-idx1-ubyte.gz": sha256(other)}
    monkeypatch.setitem(downloads.SOURCES, "mnist", downloads.Source("", sums))
    server.answers["/mnist/train-labels-idx1-ubyte.gz"] = other
    with pytest.raises(ValueError, match="do not belong together"):
        load("mnist")
