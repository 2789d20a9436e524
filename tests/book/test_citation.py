"""How the book is cited and licensed: one version everywhere, whole keys, the split of licences."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import learnmech

ROOT = Path(__file__).resolve().parents[2]
REQUIRED = ("cff-version", "message", "title", "authors")
KEYS = {
    *REQUIRED, "abstract", "commit", "contact", "date-released", "doi", "identifiers", "keywords",
    "license", "license-url", "preferred-citation", "references", "repository",
    "repository-artifact", "repository-code", "type", "url", "version",
}  # fmt: skip
"""All keys of the Citation File Format 1.2.0."""
PERSON = {"family-names", "given-names"}


def citation_problems(said):
    """List what the Citation File Format 1.2.0 has against a citation file."""
    problems = [f"'{key}' is missing" for key in REQUIRED if not said.get(key)]
    problems += [f"there is no key '{key}'" for key in said if key not in KEYS]
    if said.get("cff-version") != "1.2.0":
        problems.append("'cff-version' is not 1.2.0")
    if said.get("type", "software") not in {"software", "dataset"}:
        problems.append("'type' is neither software nor dataset")
    for author in said.get("authors") or []:
        if "name" not in author and not set(author) >= PERSON:
            problems.append(f"the author {author} has no name")
    for number, reference in enumerate(said.get("references") or [], start=1):
        problems += [
            f"reference {number}: '{key}' is missing"
            for key in ("authors", "title", "type")
            if not reference.get(key)
        ]
        problems += [
            f"reference {number}: an identifier needs 'type' and 'value'"
            for identifier in reference.get("identifiers") or []
            if not {"type", "value"} <= set(identifier)
        ]
    return problems


@pytest.fixture
def said():
    return yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))


def test_the_citation_file_is_whole(said):
    assert citation_problems(said) == []


@pytest.mark.parametrize("key", REQUIRED)
def test_a_missing_key_is_caught(said, key):
    del said[key]
    assert f"'{key}' is missing" in citation_problems(said)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"licence": "MIT"}, "there is no key 'licence'"),
        ({"type": "book"}, "'type' is neither software nor dataset"),
        ({"authors": [{"family-names": "Doe"}]}, "the author {'family-names': 'Doe'} has no name"),
        ({"references": [{"type": "article", "title": "T"}]}, "reference 1: 'authors' is missing"),
    ],
)
def test_what_the_format_does_not_know_is_caught(said, change, problem):
    assert problem in citation_problems({**said, **change})


def test_package_project_and_citation_have_one_version(said):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert said["version"] == project["version"] == learnmech.__version__
    assert said["title"] == yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["title"]


def test_code_is_mit_and_text_and_figures_are_cc_by(said, pages):
    assert said["license"] == ["MIT", "CC-BY-4.0"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text("utf-8").startswith("MIT License")
    text = (ROOT / "LICENSE-text.md").read_text("utf-8")
    assert "`CC-BY-4.0`" in text
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "[MIT licence](LICENSE)" in readme
    assert "[CC BY 4.0](LICENSE-text.md)" in readme
    for page in ("book/teaching.html", "book/scorecard.html"):
        words = re.sub(r"\s+", " ", (pages / page).read_text("utf-8"))
        assert "Code: MIT licence. Text and figures: CC BY 4.0." in words
