"""English prose that every Python brings along: the documentation strings of its own library.

Source files are read and parsed, and never imported. Together with the topics of `help()` they
hold 270 000 to 300 000 words of technical English, about 9000 of them different. The text depends
on the version of Python, and on what its distributor patched or left out: results that lean on it
hold for one version, which the corpus names.
"""

import ast
import os
import platform
import re
import sys
import sysconfig
import warnings
from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

__all__ = ["Corpus", "docstrings"]

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)*")

# What distributors leave out (tests, Tk), what is no prose of its own (a hundred code tables),
# and what others installed.
_LEFT_OUT = {
    "__pycache__",
    "dist-packages",
    "encodings",
    "ensurepip",
    "idlelib",
    "lib2to3",
    "site-packages",
    "test",
    "tests",
    "tkinter",
    "turtledemo",
}


@dataclass(frozen=True)
class Corpus:
    """A text as numbers of words, document after document."""

    name: str  # the name it was loaded by
    source: str  # what the text was taken from, with its version
    tokens: Int[Tensor, " N"]  # each word's place in the vocabulary
    starts: Int[Tensor, " D"]  # place in tokens where each document begins
    vocabulary: tuple[str, ...]  # V words, most frequent first, ties in alphabetical order
    counts: Int[Tensor, " V"]  # how often each of them occurs in tokens


def docstrings(*, vocabulary_size: int | None = None, folder: str | Path | None = None) -> Corpus:
    """Make "docstrings": the words of the standard library's documentation strings.

    Words are runs of the letters a to z (with apostrophes between them), in lower case. A
    document is one documentation string or one topic of `help()`; files go in alphabetical
    order, those of a folder before those of its subfolders. Takes two or three seconds.

    Args:
        vocabulary_size: Keep this many of the most frequent words and drop all others from the
            text; a document may become empty. None keeps all.
        folder: Folder of Python sources to read instead of the standard library.

    Raises:
        ValueError: On a vocabulary size below one, or a folder without documentation strings.

    >>> import json  # a small part of the library
    >>> text = docstrings(folder=Path(json.__file__).parent, vocabulary_size=50)
    >>> "json" in text.vocabulary, len(text.counts), int(text.counts.sum()) == len(text.tokens)
    (True, 50, True)
    """
    if vocabulary_size is not None and vocabulary_size < 1:
        raise ValueError(f"vocabulary_size must be at least one, not {vocabulary_size}.")
    root, names = (
        (Path(sysconfig.get_path("stdlib")), sys.stdlib_module_names)
        if folder is None
        else (Path(folder), None)
    )
    documents = [
        _WORD.findall(text.lower())
        for file in _files(root, names)
        for text in _texts(file.read_bytes())
    ]
    frequency = Counter(word for words in documents for word in words)
    if not frequency:
        raise ValueError(f"there are no Python sources with documentation strings in {root}.")
    ranked = sorted(frequency.items(), key=lambda pair: (-pair[1], pair[0]))[:vocabulary_size]
    place = {word: i for i, (word, _) in enumerate(ranked)}
    kept = [[place[word] for word in words if word in place] for words in documents]
    lengths = [len(words) for words in kept]
    version = f"standard library of {platform.python_implementation()} {platform.python_version()}"
    return Corpus(
        name="docstrings",
        source=version if folder is None else str(folder),
        tokens=torch.tensor([token for words in kept for token in words], dtype=torch.int64),
        starts=torch.tensor([0, *accumulate(lengths)][:-1], dtype=torch.int64),
        vocabulary=tuple(place),
        counts=torch.tensor([count for _, count in ranked], dtype=torch.int64),
    )


def _files(root: Path, known: Set[str] | None) -> Iterator[Path]:
    """Sources below a folder in alphabetical order; at its top only the modules `known`."""
    for place, folders, names in os.walk(root):
        folders[:] = sorted(set(folders) - _LEFT_OUT)
        stems = [name.removesuffix(".py") for name in sorted(names) if name.endswith(".py")]
        if known is not None and Path(place) == root:
            folders[:] = [folder for folder in folders if folder in known]
            stems = [stem for stem in stems if stem in known]
        yield from (Path(place, f"{stem}.py") for stem in stems)


def _texts(source: bytes) -> Iterator[str]:
    """Documentation strings of one file, and the values of its tables of topics, in order."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in other people's strings
        try:
            statements: list[ast.AST] = [ast.parse(source)]
        except (SyntaxError, ValueError):  # templates that are no Python yet
            return
    while statements:
        node = statements.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node, clean=False)
            if text:
                yield text
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            if names == ["topics"]:
                for value in node.value.values:
                    if isinstance(value, ast.Constant) and isinstance(value.value, str):
                        yield value.value
        inner = [
            n
            for n in ast.iter_child_nodes(node)
            if isinstance(n, ast.stmt | ast.excepthandler | ast.match_case)
        ]
        statements.extend(reversed(inner))
