"""The wings' import rule is enforced by import-linter; here it is broken on purpose."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def lint(folder):
    """Run import-linter on the package in a folder, under the repository's own contracts."""
    program = "import sys; from importlinter.cli import lint_imports_command as c; sys.exit(c())"
    return subprocess.run(
        [sys.executable, "-c", program, "--config", "pyproject.toml", "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def source(tmp_path):
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_package_keeps_the_rule(source):
    assert lint(source).returncode == 0


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("theory/linear_networks.py", "import learnmech.practice.networks"),
        ("practice/losses.py", "from learnmech.theory import mode_strength"),
        ("compare/measures.py", "from learnmech.theory import half_time"),
        ("numerics/fits.py", "import learnmech.compare.ledger"),
        ("teaching/checking.py", "import learnmech.compare.ledger"),
    ],
)
def test_a_wing_that_reaches_into_another_goes_red(source, module, line):
    path = source / "src" / "learnmech" / module
    path.write_text(path.read_text() + f"\n{line}\n")
    done = lint(source)
    assert done.returncode == 1
    assert "BROKEN" in done.stdout
