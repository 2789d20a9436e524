"""From the answers in a chapter's text to the keys that come with the package.

`seal` works the answers out and locks them; what has not changed keeps its salt, so that sealing
twice gives the same bytes. Only `learnmech seal` writes keys.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from learnmech.compare.pairs import ChapterFiles, find_chapters, read_text
from learnmech.teaching.answers import grid_place, grid_texts
from learnmech.teaching.exercises import Exercise, MalformedExercise, read_exercises
from learnmech.teaching.locks import Key, answer_tag, read_keys, seal_box

__all__ = ["Sealed", "chapter_exercises", "key_path", "seal", "seal_chapters"]


@dataclass(frozen=True)
class Sealed:
    """The keys of one chapter, and how they differ from those that were there."""

    chapter: str
    keys: tuple[Key, ...]
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def summary(self) -> str:
        """One line on what is there and what is new."""
        news = [
            f"{word} {', '.join(labels)}"
            for word, labels in (
                ("added", self.added), ("changed", self.changed), ("removed", self.removed)
            )
            if labels
        ]  # fmt: skip
        count = f"{len(self.keys)} exercise" + ("" if len(self.keys) == 1 else "s")
        return f"{self.chapter}: {count}; " + ("; ".join(news) or "unchanged")

    @property
    def text(self) -> str:
        """The content of the chapter's key file."""
        entries = {key.label: key.to_json() for key in self.keys}
        return json.dumps({"chapter": self.chapter, "exercises": entries}, indent=1) + "\n"


def key_path(root: Path, chapter: str) -> Path:
    """Return where the keys of a chapter stand in a checkout."""
    return root / "src" / "learnmech" / "teaching" / "keys" / f"{chapter}.json"


def chapter_exercises(files: ChapterFiles) -> list[Exercise]:
    """Return a chapter's exercises, worked out.

    Raises:
        MalformedExercise: if one is not whole; the sentence names the chapter.
    """
    try:
        return read_exercises(read_text(files).cells)
    except MalformedExercise as error:
        raise MalformedExercise(f"{files.slug}: {error}") from None


def seal(chapter: str, exercises: Sequence[Exercise], old: Mapping[str, Key]) -> Sealed:
    """Lock the answers of a chapter's exercises.

    Args:
        chapter: its name.
        exercises: its exercises.
        old: the keys that are there, whose salts are kept where the answer is the same.

    Raises:
        MalformedExercise: if a wrong answer would pass for the right one.
    """
    keys = tuple(_lock(chapter, exercise, old.get(exercise.label)) for exercise in exercises)
    labels = [key.label for key in keys]
    return Sealed(
        chapter,
        keys,
        tuple(label for label in labels if label not in old),
        tuple(key.label for key in keys if key.label in old and old[key.label] != key),
        tuple(label for label in old if label not in labels),
    )


def _lock(chapter: str, exercise: Exercise, old: Key | None) -> Key:
    label, exact = exercise.label, exercise.exact
    place = grid_place(exercise.answer, exercise.digits, exact=exact)
    accepted = grid_texts(exercise.answer, place)
    salt = old.salt if old else secrets.token_hex(16)
    if old and answer_tag(label, accepted[0], salt) != old.answer:
        salt = secrets.token_hex(16)
    boxes = []
    for wrong in exercise.wrong:
        if grid_texts(wrong.value, place)[0] in accepted:
            raise MalformedExercise(
                f"{chapter}: exercise '{label}': the wrong answer {wrong.expression} would pass "
                "for the right one; take it out or ask for more digits"
            )
        own = grid_place(wrong.value, exercise.digits, exact=exact)
        boxes.append(seal_box(label, grid_texts(wrong.value, own)[0], salt, wrong.hint))
    tag = answer_tag(label, accepted[0], salt)
    return Key(label, exercise.digits, exact, place, salt, tag, tuple(boxes))


def seal_chapters(root: Path, chapters: Sequence[ChapterFiles]) -> list[Sealed]:
    """Seal chapters of a checkout and write their key files; all of them or none.

    The keys of a chapter that is no more are removed.

    Raises:
        MalformedExercise: if an exercise is not whole, or two chapters use one label; nothing was
            written.
    """
    there = {path.stem: read_keys(path) for path in key_path(root, "x").parent.glob("*.json")}
    gone = sorted(there.keys() - {files.slug for files in find_chapters(root)})
    others = there.keys() - {files.slug for files in chapters} - set(gone)
    owner = {label: slug for slug in sorted(others) for label in there[slug]}
    results = [seal(slug, [], there[slug]) for slug in gone]
    for files in chapters:
        exercises = chapter_exercises(files)
        for exercise in exercises:
            if exercise.label in owner:
                raise MalformedExercise(
                    f"{files.slug}: the label '{exercise.label}' is taken by the chapter "
                    f"'{owner[exercise.label]}'; choose another"
                )
            owner[exercise.label] = files.slug
        results.append(seal(files.slug, exercises, there.get(files.slug, {})))
    for sealed in results:
        _write(key_path(root, sealed.chapter), sealed)
    return results


def _write(path: Path, sealed: Sealed) -> None:
    if not sealed.keys:
        path.unlink(missing_ok=True)
        return
    if path.is_file() and path.read_text("utf-8") == sealed.text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(sealed.text, encoding="utf-8")
    os.replace(part, path)
