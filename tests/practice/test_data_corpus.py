"""The corpus of documentation strings, against a library of three files and Python's own help."""

import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

from learnmech.practice.data import load

ABC = '''"""The cat's ABC."""
raise SystemExit("importing a source would end everything")
class A:
    "A cat \\d, a dog."
    def f(self):
        """Zebra_zebra!"""
        text = "no documentation"
try:
    match 1:
        case 1:
            async def g():
                """Last: café."""
except ValueError:
    class B:
        "Very last"
def h():
    1 + 1
'''
TOPICS = "topics = {'one': 'Dogs' 'and', 'two': 'cat'}\nother = {'three': 'never'}\n"


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("sysconfig.get_path", lambda name: {"stdlib": str(tmp_path)}[name])
    for name, text in {
        "abc.py": ABC,
        "pydoc_data/topics.py": TOPICS,
        "json/encoder.py": "'''Encoder.'''",
        "json/tests/test_it.py": "'''left out'''",
        "json/template.py": "def {name}(): '''left out'''",
        "not_of_the_library.py": "'''left out'''",
        "site-packages/numpy/core.py": "'''left out'''",
        "json/README.txt": "'''left out'''",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def documents(corpus) -> list[list[str]]:
    ends = [*corpus.starts.tolist()[1:], len(corpus.tokens)]
    pairs = zip(corpus.starts.tolist(), ends, strict=True)
    return [[corpus.vocabulary[t] for t in corpus.tokens[a:b].tolist()] for a, b in pairs]


@pytest.mark.usefixtures("library")
def test_words_of_a_small_library_in_order() -> None:
    corpus = load("docstrings")
    assert documents(corpus) == [
        ["the", "cat's", "abc"],
        ["a", "cat", "d", "a", "dog"],
        ["zebra", "zebra"],
        ["last", "caf"],
        ["very", "last"],
        ["encoder"],
        ["dogsand"],
        ["cat"],
    ]
    assert corpus.vocabulary[:5] == ("a", "cat", "last", "zebra", "abc")
    assert corpus.counts[:5].tolist() == [2, 2, 2, 2, 1]
    again = load("docstrings")
    assert torch.equal(again.tokens, corpus.tokens)
    assert again.vocabulary == corpus.vocabulary


def test_any_folder_of_sources_will_do(library: Path) -> None:
    corpus = load("docstrings", folder=library / "json")
    assert documents(corpus) == [["encoder"]]
    assert corpus.source == str(library / "json")
    assert ["left", "out"] in documents(load("docstrings", folder=library))  # no list of names


@pytest.mark.usefixtures("library")
def test_rare_words_are_dropped() -> None:
    corpus = load("docstrings", vocabulary_size=2)
    assert corpus.vocabulary == ("a", "cat")
    assert documents(corpus) == [[], ["a", "cat", "a"], [], [], [], [], [], ["cat"]]


def test_the_running_python_is_a_corpus_and_imports_nothing() -> None:
    """Independent: a docstring of a loaded module, and counts by `Counter`."""
    import textwrap

    before = set(sys.modules)
    corpus = load("docstrings")
    assert {"antigravity", "this", "turtle"}.isdisjoint(set(sys.modules) - before)
    assert sys.version.split()[0] in corpus.source
    assert len(corpus.tokens) > 100_000
    assert len(corpus.vocabulary) > 5_000
    counted = Counter(corpus.tokens.tolist())
    assert [counted[i] for i in range(len(corpus.counts))] == corpus.counts.tolist()
    assert corpus.counts.sort(descending=True, stable=True).indices.tolist() == list(
        range(len(corpus.counts))
    )
    assert len(set(corpus.vocabulary)) == len(corpus.vocabulary)
    words = "".join(c if c.isascii() and c.isalpha() else " " for c in textwrap.__doc__.lower())
    assert words.split() in documents(corpus)


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one"):
        load("docstrings", vocabulary_size=0)
    with pytest.raises(ValueError, match="no Python sources"):
        load("docstrings", folder=tmp_path)
    with pytest.raises(ValueError, match="takes no setting called words"):
        load("docstrings", words=3)
