"""Files in the formats of MNIST and CIFAR-10, written by hand, and a server that can misbehave."""

import gzip
import hashlib
import io
import struct
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def idx(array: np.ndarray, *, magic: int | None = None) -> bytes:
    """An IDX file of bytes, before compression."""
    number = 0x0800 + array.ndim if magic is None else magic
    header = struct.pack(f">{1 + array.ndim}I", number, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def mnist_files(seed: int, *, train: int = 30, test: int = 20) -> dict[str, bytes]:
    """The four files of MNIST with few random images of 4 x 3 pixels."""
    rng = np.random.default_rng(seed)
    files = {}
    for prefix, n in (("train", train), ("t10k", test)):
        images, labels = rng.integers(0, 256, (n, 4, 3)), rng.integers(0, 10, n)
        files[f"{prefix}-images-idx3-ubyte.gz"] = gzip.compress(idx(images), mtime=0)
        files[f"{prefix}-labels-idx1-ubyte.gz"] = gzip.compress(idx(labels), mtime=0)
    return files


def tar(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), mtime=0)


def cifar_members(seed: int, *, per_batch: int = 4) -> dict[str, bytes]:
    """The members of the CIFAR-10 archive with few random images."""
    rng = np.random.default_rng(seed)
    members = {"cifar-10-batches-bin/readme.html": b"<html>"}
    for batch in ("data_batch_2", "data_batch_1", "test_batch"):
        records = rng.integers(0, 256, (per_batch, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        members[f"cifar-10-batches-bin/{batch}.bin"] = records.tobytes()
    return members


Answer = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """Serves bytes by path, or lets a function answer; counts what was asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: dict[str, bytes | Answer] = {}
        self.asked: list[str] = []
        self.finished = threading.Event()  # lets an answer that waits end


@contextmanager
def serving() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append(self.path)
            answer = server.answers.get(self.path)
            if callable(answer):
                answer(self)
            elif answer is None:
                self.send_error(404)
            else:
                send(self, answer, len(answer))

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = Server(f"http://127.0.0.1:{httpd.server_port}/")
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.finished.set()
        httpd.shutdown()
        thread.join()
        httpd.server_close()


def send(handler: BaseHTTPRequestHandler, content: bytes, announced: int | None) -> None:
    """Send some bytes as the body, whatever length was announced."""
    handler.send_response(200)
    if announced is not None:
        handler.send_header("Content-Length", str(announced))
    handler.end_headers()
    handler.wfile.write(content)
