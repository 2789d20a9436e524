"""Looking for what must not be in the students' edition: solutions, answers, hints.

Every text file of a folder is read as a reader could: markup and JSON are taken off, and what is
left is compared without spaces, signs or capitals. A sentence counts as leaked if six of its words
stand there in a row, so that a changed word does not hide it. What the book says outside its
solutions, docstrings included, is no leak. The search index holds single words; there a leak is a
word that only a solution of that page has.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from learnmech.teaching.editions import EDITIONS, answer_words, edition_cells
from learnmech.teaching.exercises import Exercise

__all__ = ["OpenText", "Secrets", "chapter_secrets", "leaks", "open_words"]

_RUN = 6
_SHORTEST_RUN = 4
_SHORTEST_CODE = 12
_LONGEST_WORD = 500
_READ = {".html", ".ipynb", ".md", ".json", ".txt", ".py", ".xml"}
_INDEX_FILE = "searchindex.js"
_WORD = re.compile(r"[a-z]{2,}")
_MATHS = re.compile(r"\$+([^$]+)\$+")
# Pages show these in another way, so a run of words ends before them.
_BETWEEN = re.compile(rf"{_MATHS.pattern}|(?:\{{[a-z:]+\}})?`[^`]*`")
_INDEX = re.compile(r"Search\.setIndex\((\{.*\})\)", re.DOTALL)


@dataclass(frozen=True)
class Secrets:
    """What is secret of one chapter."""

    page: str  # the page's name, such as notebooks/simple-laws/edge-of-stability
    runs: dict[tuple[str, ...], str]  # words in a row: where they are from
    codes: dict[str, str]  # code or formulas without spaces: where they are from
    answers: dict[re.Pattern[str], str]  # an answer beside its name: where it is from
    stems: dict[str, str]  # stems that only solutions have, as the search knows them: a word


@dataclass(frozen=True)
class OpenText:
    """What the book says openly, ready to be looked up in."""

    code: str  # without spaces
    runs: set[tuple[str, ...]]
    stems: dict[str, str]

    @classmethod
    def of(cls, text: str) -> OpenText:
        """Read a text."""
        sizes = range(_SHORTEST_RUN, _RUN + 1)
        return cls(_dense(text), _grams(text, sizes), _stems(text))


def open_words(cells: Sequence[NotebookNode], exercises: Sequence[Exercise]) -> str:
    """Return what a chapter says outside its solutions, outputs included."""
    return "\n".join(_strings(edition_cells(cells, exercises, EDITIONS["students"])))


def chapter_secrets(
    page: str,
    exercises: Sequence[Exercise],
    openly: OpenText,
) -> Secrets:
    """Return what is secret of a chapter.

    Args:
        page: the name of its page.
        exercises: its exercises.
        openly: what the book says openly, all its chapters included (`open_words`).
    """
    runs: dict[tuple[str, ...], str] = {}
    codes: dict[str, str] = {}
    answers: dict[re.Pattern[str], str] = {}
    for exercise in exercises:
        label = exercise.label
        prose = [("the solution", exercise.solution)]
        prose += [("a hint", wrong.hint) for wrong in exercise.wrong]
        runs |= {run: f"{kind} of {label}" for kind, text in prose for run in _runs(text)}
        pieces = [("the code", line) for line in exercise.code.splitlines()]
        pieces += [("the solution", formula) for formula in _MATHS.findall(exercise.solution)]
        pieces += [("a wrong answer", wrong.expression) for wrong in exercise.wrong]
        pieces += [("the answer", repr(exercise.answer))]
        codes |= {_dense(text): f"{kind} of {label}" for kind, text in pieces}
        answers |= dict.fromkeys(_beside(exercise), f"the answer of {label}")
    stems = _stems(" ".join(_BETWEEN.sub(" ", exercise.solution) for exercise in exercises))
    return Secrets(
        page,
        {run: where for run, where in runs.items() if run not in openly.runs},
        {
            code: where
            for code, where in codes.items()
            if len(code) >= _SHORTEST_CODE and code not in openly.code
        },
        answers,
        {stem: word for stem, word in stems.items() if stem not in openly.stems},
    )


def _beside(exercise: Exercise) -> Iterator[re.Pattern[str]]:
    # Each begins with a literal, which makes the search quick.
    number = re.escape(answer_words(exercise.answer, exercise))
    for name in (exercise.label, exercise.variable, "Target", "target", "Answer", "answer"):
        yield re.compile(rf"{re.escape(name)}\b(?: is)?[^\w\n]{{1,12}}{number}(?!\d)")


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _runs(text: str) -> Iterator[tuple[str, ...]]:
    """Yield the runs of words by which a text is known again."""
    for piece in _BETWEEN.sub("\0", text).split("\0"):
        words = tuple(_words(piece))
        if len(words) >= _SHORTEST_RUN:
            size = min(_RUN, len(words))
            yield from (words[i : i + size] for i in range(len(words) - size + 1))


def _grams(text: str, sizes: Iterable[int]) -> set[tuple[str, ...]]:
    words = _words(text)
    return {gram for size in sizes for gram in zip(*(words[i:] for i in range(size)), strict=False)}


def _stems(text: str) -> dict[str, str]:
    """Return the words of a text by their stems, as Sphinx's search makes them."""
    import snowballstemmer  # type: ignore[import-untyped]  # noqa: PLC0415 - Sphinx's own

    stem = snowballstemmer.stemmer("english").stemWord
    return {stem(word): word for word in sorted(set(_words(text)))}


def _dense(text: str) -> str:
    return re.sub(r"[\s\\]+", "", text)


def _strings(value: object) -> Iterator[str]:
    """Yield every string in a JSON-like value, keys included, but no encoded picture."""
    if isinstance(value, str):
        if len(value) < _LONGEST_WORD or " " in value:
            yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _strings(inner)
    elif isinstance(value, list | tuple):
        if value and all(isinstance(line, str) for line in value):
            yield "".join(value)
        else:
            for inner in value:
                yield from _strings(inner)


def _text_of(path: Path) -> str:
    """Return what a file says, without markup."""
    raw = path.read_text("utf-8", errors="replace")
    if path.suffix in {".ipynb", ".json"}:
        return "\n".join(_strings(json.loads(raw)))
    if path.suffix in {".html", ".xml"}:
        return html.unescape(re.sub(r"<[^>]*>", "", raw))
    return raw


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and (path.suffix in _READ or path.name == _INDEX_FILE):
            yield path


def leaks(folder: Path, secrets: Iterable[Secrets]) -> list[str]:
    """List what an edition's folder gives away; empty for a sound students' edition.

    Args:
        folder: anything with pages, notebooks and texts in it.
        secrets: of all its chapters.

    Returns:
        One sentence for each file and secret, the same secret once.
    """
    known = list(secrets)
    found: list[str] = []
    for path in _files(folder):
        text = _text_of(path)
        given_away = _indexed(text, known) if path.name == _INDEX_FILE else _said(text, known)
        name = path.relative_to(folder).as_posix()
        found += [f"{name} holds {what}" for what in sorted(given_away)]
    return found


def _said(text: str, known: Sequence[Secrets]) -> set[str]:
    grams = _grams(text, {len(run) for secrets in known for run in secrets.runs})
    dense = _dense(text)
    found = set()
    for secrets in known:
        found |= {secrets.runs[run] for run in secrets.runs.keys() & grams}
        found |= {where for code, where in secrets.codes.items() if code in dense}
        found |= {where for shown, where in secrets.answers.items() if shown.search(text)}
    return found


def _indexed(text: str, known: Sequence[Secrets]) -> set[str]:
    """Return the words that the search finds on a chapter's page and only its solutions have."""
    match = _INDEX.search(text)
    index = json.loads(match[1]) if match else {"docnames": [], "terms": {}}
    found = set()
    for secrets in known:
        if secrets.page not in index["docnames"]:
            continue
        page = index["docnames"].index(secrets.page)
        for stem, word in secrets.stems.items():
            places = index["terms"].get(stem, [])
            if page in (places if isinstance(places, list) else [places]):
                found.add(f"the word '{word}' of a solution")
    return found
