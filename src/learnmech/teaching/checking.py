"""Checking an exercise's answer, offline.

A notebook says ``check("dln-derive", answer)`` and gets a line of praise, or one sentence and no
traceback. What is compared is in :mod:`learnmech.teaching.answers`, what is kept of the right
answer in :mod:`learnmech.teaching.locks`.
"""

from __future__ import annotations

from learnmech.sentences import OneSentence, candidates
from learnmech.teaching.answers import grid_place, grid_texts, to_number
from learnmech.teaching.locks import Key, answer_tag, load_keys, open_box

__all__ = ["CannotCheck", "WrongAnswer", "check", "hint_for", "is_right"]


class WrongAnswer(OneSentence, AssertionError):
    """The answer is a number, and not the right one."""


class CannotCheck(OneSentence, ValueError):
    """There is no answer yet, it is not one finite number, or no exercise has this label."""


def check(label: str, answer: object) -> None:
    """Say whether an answer to an exercise is right.

    The answer may be a Python, NumPy or torch scalar or a numeric string. It is right if it agrees
    with the book's to the number of digits that the exercise asks for, give or take one unit of the
    last digit; a whole number has to be exact. Common mistakes are answered with a hint.

    It works without a network, because a salted slow hash of each answer comes with the package,
    and no answer. With three digits there are only a thousand numbers to try, so this keeps honest
    people honest and nobody else.

    Args:
        label: the exercise, such as ``"dln-derive"``.
        answer: your number.

    Raises:
        WrongAnswer: if the number is not right.
        CannotCheck: if there is no number yet, or no exercise of this name.

    Examples:
        >>> check("dln-derive", ...)
        Traceback (most recent call last):
        learnmech.teaching.checking.CannotCheck: dln-derive: there is no answer yet; put your \
number in place of the dots
    """
    keys = load_keys()
    if label not in keys:
        raise CannotCheck(f"no exercise is called '{label}'; {candidates(str(label), keys)}")
    key = keys[label]
    try:
        value = to_number(answer)
    except ValueError as error:
        raise CannotCheck(f"{label}: {error}") from None
    if is_right(key, value):
        print(f"{label}: right.")
        return
    hint = hint_for(key, value)
    wanted = "exactly" if key.exact else f"to {key.digits} significant digits"
    words = f"Hint: {hint}" if hint else f"It is wanted {wanted}."
    raise WrongAnswer(f"{label}: {value:.6g} is not right. {words}")


def is_right(key: Key, value: float) -> bool:
    """Say whether a number is the right answer, or a neighbour on its grid."""
    texts = grid_texts(value, key.place)
    return any(answer_tag(key.label, text, key.salt) == key.answer for text in texts)


def hint_for(key: Key, value: float) -> str | None:
    """Return the hint for a common wrong answer, if this is one; the number must not be right."""
    for text in grid_texts(value, grid_place(value, key.digits, exact=key.exact)):
        for box in key.hints:
            if (hint := open_box(key.label, text, key.salt, box)) is not None:
                return hint
    return None
