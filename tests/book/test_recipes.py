"""The recipes for one's own code: each block runs as it stands and prints what the page says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "book" / "use-it.md"
BLOCK = re.compile(r"```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<output>.*?)```\n)?", re.DOTALL)


def recipes(text):
    """Return (heading, code, printed output) of every recipe of a page."""
    found = []
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        heading = section.splitlines()[0]
        found += [
            (heading, match["code"], match["output"] or "") for match in BLOCK.finditer(section)
        ]
    return found


def run(code, folder):
    """Run a recipe as a script in an empty folder and return what it printed."""
    script = folder / "recipe.py"
    script.write_text(code, "utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=folder,
        env={**os.environ, "LEARNMECH_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(
    ("code", "output"),
    [
        pytest.param(code, output, id=name)
        for name, code, output in recipes(PAGE.read_text("utf-8"))
    ],
)
def test_a_recipe_prints_what_the_page_says(code, output, tmp_path):
    assert run(code, tmp_path) == output


def test_there_are_five_recipes_and_each_says_what_it_prints():
    found = recipes(PAGE.read_text("utf-8"))
    assert len(found) >= 5
    assert [name for name, _, output in found if not output] == []


def test_a_wrong_number_on_the_page_would_be_seen(tmp_path):
    ((_, code, output),) = recipes("## One\n\n```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n")
    assert run(code, tmp_path) != output
