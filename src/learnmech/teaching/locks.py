"""What is kept of an answer: a salted slow hash, and hints that only a wrong answer opens.

Of each exercise the file holds how many digits are asked for, the place of the last one, a random
salt, and

    tag = first half of scrypt(label = answer, salt)          for the right answer,
    box = MAC(key, hint) + (hint xor stream(key, MAC))        for each common wrong answer,

where the key is the other half of scrypt(label = wrong answer, salt). So neither the answer nor a
hint can be read without giving the number that it belongs to. A salt that is kept gives the same
bytes again, which makes a changed answer visible in a comparison of two versions.

Three digits are few: whoever wants to can try all thousand. This keeps honest people honest.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

__all__ = ["Key", "answer_tag", "key_folder", "load_keys", "open_box", "read_keys", "seal_box"]

# About 50 milliseconds and 16 MB: quick enough to wait for, slow enough to make guessing dull.
_COST = {"n": 2**14, "r": 8, "p": 1}
_HALF = 32
_MAC = 16


@dataclass(frozen=True)
class Key:
    """What is kept of one exercise."""

    label: str
    digits: int  # significant digits asked for
    exact: bool  # whether the answer is a whole number, to be given exactly
    place: int  # power of ten of the last digit, in the right answer
    salt: str  # 16 random bytes, in hexadecimal
    answer: str  # the right answer's tag, in hexadecimal
    hints: tuple[str, ...] = ()  # one box for each common wrong answer

    def to_json(self) -> dict[str, Any]:
        """Return the key without its label, as it stands in a file."""
        return {
            "digits": self.digits,
            "exact": self.exact,
            "place": self.place,
            "salt": self.salt,
            "answer": self.answer,
            "hints": list(self.hints),
        }

    @classmethod
    def from_json(cls, label: str, entry: Mapping[str, Any]) -> Key:
        """Read a key back."""
        return cls(label, **{**entry, "hints": tuple(entry["hints"])})


@lru_cache(maxsize=512)
def _slow(label: str, number: str, salt: str) -> bytes:
    return hashlib.scrypt(
        f"{label} = {number}".encode(), salt=bytes.fromhex(salt), dklen=2 * _HALF, **_COST
    )


def answer_tag(label: str, number: str, salt: str) -> str:
    """Return the slow hash by which an answer is known."""
    return _slow(label, number, salt)[:_HALF].hex()


def _stream(key: bytes, mac: bytes, length: int) -> bytes:
    return hashlib.shake_256(key + mac).digest(length)


def _mac(key: bytes, hint: bytes) -> bytes:
    return hmac.digest(key, hint, "sha256")[:_MAC]


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def seal_box(label: str, number: str, salt: str, hint: str) -> str:
    """Return a hint that only this number opens."""
    key, plain = _slow(label, number, salt)[_HALF:], hint.encode()
    mac = _mac(key, plain)
    return base64.b64encode(mac + _xor(plain, _stream(key, mac, len(plain)))).decode()


def open_box(label: str, number: str, salt: str, box: str) -> str | None:
    """Return the hint in a box, or None if this number does not open it."""
    key, sealed = _slow(label, number, salt)[_HALF:], base64.b64decode(box)
    mac, rest = sealed[:_MAC], sealed[_MAC:]
    plain = _xor(rest, _stream(key, mac, len(rest)))
    return plain.decode() if hmac.compare_digest(_mac(key, plain), mac) else None


def key_folder() -> Traversable:
    """Return the folder of key files, which is part of the package."""
    return files("learnmech.teaching") / "keys"


def read_keys(path: Traversable) -> dict[str, Key]:
    """Return the keys in a file, by label."""
    entries = json.loads(path.read_text("utf-8"))["exercises"]
    return {label: Key.from_json(label, entry) for label, entry in entries.items()}


def load_keys() -> dict[str, Key]:
    """Return all keys that come with the package, by label."""
    found: dict[str, Key] = {}
    for path in sorted(key_folder().iterdir(), key=lambda path: path.name):
        if path.name.endswith(".json"):
            found |= read_keys(path)
    return found
