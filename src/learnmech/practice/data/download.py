"""Files fetched once from their source or a mirror, checked by sha256, and kept in a cache.

pooch writes to a temporary name in the cache and moves the file to its own name only when its
checksum is right; a cached file with a wrong checksum is fetched again. Every failure is one
sentence, a `DownloadError`. (A process killed outright may leave a file with a temporary
name, which nothing reads.)

Where files come from and where they go:

* cache folder: the argument `cache`, or the environment variable LEARNMECH_DATA, or the user's
  cache folder (`pooch.os_cache("learnmech")`); a file lies in its folder NAME.
* mirror: the argument `base_url`, or the environment variable LEARNMECH_DATA_URL; it serves
  NAME/FILE for each data set NAME.
"""

import errno
import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

__all__ = ["SOURCES", "DownloadError", "Source", "fetch"]

_TIMEOUT = 30.0  # seconds without an answer or a byte
_CHUNK = 2**16  # bytes


class DownloadError(OSError):
    """A file that could not be fetched or kept; the message is one sentence."""


@dataclass(frozen=True)
class Source:
    """Where the files of a data set are published."""

    url: str  # what stands before the file name
    sha256: Mapping[str, str]  # file name -> checksum, in hexadecimal


# Addresses and checksums are those of TensorFlow Datasets (its folder url_checksums: mnist.txt,
# fashion_mnist.txt, cifar10.txt).
SOURCES: dict[str, Source] = {
    "mnist": Source(
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        {
            "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea37026"
            "5605f56be210a4024d2ca8f203523609",
            "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cc"
            "a23d567ec52cac8be1a0730e8010255c",
            "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e3"
            "3eeafee792b84584aec276f5a2dbc4e6",
            "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd"
            "2371eca3ffa0defaefb259924204aec6",
        },
    ),
    "fashion-mnist": Source(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        {
            "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed27"
            "1626dd12800ba2636569512369268a84",
            "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc"
            "97de4d1bfaf8ba1a3aa29af54cc90845",
            "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a4"
            "84bd415d4595297633bb08f03db6a073",
            "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3c"
            "d6d1c2608764d35dfb1850b086bf8dd5",
        },
    ),
    "cifar-10": Source(
        "https://www.cs.toronto.edu/~kriz/",
        {
            "cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d6"
            "8f9f25eb1ed8d9ddda3db29a59bca1dd",
        },
    ),
}


def fetch(
    name: str, file: str, *, cache: str | Path | None = None, base_url: str | None = None
) -> Path:
    """Return the path of a file of a data set, after fetching it if need be.

    Args:
        name: A key of `SOURCES`.
        file: Name of one of its files.
        cache: Cache folder, instead of the one described above.
        base_url: Mirror, instead of the one described above.

    Returns:
        The file in the cache, with the right checksum.

    Raises:
        DownloadError: Without pooch, without a connection, on a broken, wrong or refused answer,
            or where the cache cannot be written. The cache then holds no part of the file.
        ValueError: On a mirror whose address is not one of HTTP.
    """
    pooch = _pooch()
    source = SOURCES[name]
    folder = Path(cache or os.environ.get("LEARNMECH_DATA") or pooch.os_cache("learnmech"), name)
    mirror = base_url or os.environ.get("LEARNMECH_DATA_URL")
    if mirror and not mirror.startswith(("http://", "https://")):
        raise ValueError(f"a mirror's address begins with http:// or https://, unlike {mirror!r}.")
    url = f"{mirror.rstrip('/')}/{name}/{file}" if mirror else source.url + file
    try:
        kept = pooch.retrieve(
            url,
            known_hash=f"sha256:{source.sha256[file]}",
            fname=file,
            path=folder,
            downloader=_download,
        )
    except (OSError, ValueError) as error:
        missing = [needed for needed in source.sha256 if not (folder / needed).exists()]
        reason = _reason(error, folder, missing)
        raise DownloadError(f"{name!r} could not be fetched from {url}: {reason}.") from None
    return Path(kept)


def _download(url: str, output_file: str, pooch: object) -> None:
    """Write what an address answers to a file, and close both whatever happens.

    This is `pooch.HTTPDownloader`, which leaves a refused or broken connection open.

    Args:
        url: The address.
        output_file: Path to write to.
        pooch: Not used; pooch passes it.
    """
    requests = importlib.import_module("requests")  # a dependency of pooch
    with requests.get(url, stream=True, timeout=_TIMEOUT) as response, open(output_file, "wb") as f:
        response.raise_for_status()
        for chunk in response.iter_content(_CHUNK):
            f.write(chunk)


def _pooch() -> ModuleType:
    try:
        return importlib.import_module("pooch")
    except ImportError:
        raise DownloadError(
            "this data set is downloaded, which needs pooch: type 'pip install pooch' first."
        ) from None


def _reason(error: OSError | ValueError, folder: Path, missing: Sequence[str]) -> str:
    exceptions = importlib.import_module("requests.exceptions")
    if isinstance(error, exceptions.HTTPError):
        return f"the server answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, exceptions.RequestException):
        return (
            f"the connection failed or broke off ({type(error).__name__}); go online once, or "
            f"copy {', '.join(missing)} into {folder}"
        )
    if isinstance(error, ValueError):
        return "what came does not have the known sha256; it was not kept"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk of {folder} is full; free some space, or choose another cache folder"
    return (
        f"the cache folder {folder} cannot be used ({error.strerror or error}); choose another, "
        "by the argument cache or the environment variable LEARNMECH_DATA"
    )
