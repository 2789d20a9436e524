"""The API reference: every public name is on a page, with an example, as its docstring has it."""

import dataclasses
import inspect
import re

import pytest
from api_reference import field_comments, promised, translate


def _documented():
    return {
        f"{thing.__module__}.{thing.__qualname__}": thing
        for _, _, thing in promised()
        if inspect.isclass(thing) or inspect.isfunction(thing)
    }


def test_every_public_name_stands_on_a_page_of_the_reference(pages):
    text = "".join(path.read_text("utf-8") for path in sorted((pages / "book/api").glob("*.html")))
    anchors = re.findall(r'<dt class="sig[^"]*" id="learnmech\.(\w+)\.([\w.]*?)(\w+)"', text)
    shown = {(wing, name) for wing, _, name in anchors}
    wanted = {(name.split(".")[1], name.rsplit(".", 1)[1]) for name in _documented()}
    assert sorted(wanted - shown) == []


def test_every_function_of_theory_practice_and_numerics_shows_an_example():
    without = [
        name
        for name, thing in _documented().items()
        if inspect.isfunction(thing)
        and ".compare." not in name
        and ">>> " not in (thing.__doc__ or "")
    ]
    assert without == []


def test_every_field_of_a_result_says_what_it_is():
    silent = [
        f"{name}.{field.name}"
        for name, thing in _documented().items()
        if dataclasses.is_dataclass(thing) and ".compare." not in name
        for field in dataclasses.fields(thing)
        if field.name not in field_comments(thing)
        and f"`{field.name}`" not in (thing.__doc__ or "")
    ]
    assert silent == []


def test_no_page_of_the_reference_shows_markup_that_was_not_understood(pages):
    for path in sorted((pages / "book/api").glob("*.html")):
        body = path.read_text("utf-8").split("<main", 1)[1].split("</main>", 1)[0]
        body = re.sub(
            r"<pre>.*?</pre>|<code.*?</code>|<script.*?</script>", "", body, flags=re.DOTALL
        )
        body = re.sub(r'<(?:span|div) class="math.*?</(?:span|div)>', "", body, flags=re.DOTALL)
        words = re.sub(r"<[^>]+>", "", body)
        markup = r"``|\$|:math:|:func:|\.\. |(?<![\w*])\*[A-Za-z][^*]*\w\*"
        assert re.findall(rf".{{0,40}}(?:{markup}).{{0,40}}", words) == [], path.name


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("the slope $m$ of `x`", "the slope :math:`m` of ``x``"),
        ("several `x`s, the $n$th", r"several ``x``\ s, the :math:`n`\ th"),
        ("a norm |y - f(x)|^2", r"a norm \|y - f(x)\|^2"),
        ("``kept`` and :func:`kept`", "``kept`` and :func:`kept`"),
        ("W_1, not a link_ here", r"W_1, not a link\_ here"),
        ("$$ a = b $$", "\n\n.. math::\n\n   a = b\n\n"),
        ("costs $5", "costs $5"),
        ("a *word*, and\n*a\nbook*.", "a *word*, and\n*a\nbook*."),
        ("**Now** we go", "**Now** we go"),
        ("(*args, **options)", r"(\*args, *\*options)"),
    ],
)
def test_habits_of_docstrings_are_translated(written, read):
    assert "\n".join(translate([written])).strip() == read.strip()


def test_examples_and_indented_formulas_are_left_alone():
    example = [">>> print('|a| $b$')", "|a| $b$"]
    assert translate(example) == [*example, ""]
    formula = ["    a = b |c|"]
    assert translate(formula, formulas=True) == [".. code-block:: text", "", *formula, ""]


@dataclasses.dataclass(frozen=True)
class Toy:
    """Two fields."""

    a: int  # (n,), in metres
    # Said above,
    # over two lines.
    b: int = 0


def test_comments_of_fields_are_found_behind_and_above_them():
    assert field_comments(Toy) == {"a": "(n,), in metres", "b": "Said above, over two lines."}
