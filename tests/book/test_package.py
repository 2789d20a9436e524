"""The wheel: what it holds, and that it works alone, away from the checkout and its book."""

import os
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from learnmech.teaching.building import PACKAGE

ROOT = Path(__file__).resolve().parents[2]
NO_TORCH = "import sys; sys.modules['torch'] = None\n"


def _run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    _run([*build, str(ROOT)])
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder that holds the installed wheel and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    _run([*pip, "--no-deps", "--no-index", "--no-compile", "--target", str(folder), str(wheel)])
    return folder


@pytest.fixture
def python(installed, tmp_path):
    """A function that runs a program with the installed wheel, in an empty folder."""

    def run(program):
        kept = {k: v for k, v in os.environ.items() if not k.startswith("LEARNMECH_")}
        guard = (
            "import learnmech, pathlib\n"
            f"assert pathlib.Path(learnmech.__file__).is_relative_to({str(installed)!r})\n"
        )
        return _run(
            [sys.executable, "-c", program + guard],
            cwd=tmp_path,
            env={**kept, "PYTHONPATH": str(installed), "MPLBACKEND": "agg"},
        )

    return run


def test_the_wheel_holds_the_package_its_types_and_the_bibliography_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        packaged = archive.read("learnmech/compare/references.bib")
    assert "learnmech/py.typed" in names
    assert packaged == (ROOT / "book" / "references.bib").read_bytes()
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"learnmech"}
    assert [name for name in names if "test" in name or "conftest" in name] == []


def test_it_has_the_name_that_handed_out_notebooks_install_and_the_teaching_page_says(wheel):
    assert wheel.name == PACKAGE
    page = (ROOT / "book" / "teaching.md").read_text("utf-8")
    assert f'pip install "./{PACKAGE}[chapters]"' in page


def test_every_module_of_the_checkout_is_in_the_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    modules = {path.relative_to(ROOT / "src").as_posix() for path in ROOT.glob("src/**/*.py")}
    assert modules - names == set()


def test_the_metadata_offers_the_extras_and_needs_no_part_of_the_book(installed):
    (info,) = installed.glob("*.dist-info")
    metadata = Parser().parsestr((info / "METADATA").read_text("utf-8"))
    assert set(metadata.get_all("Provides-Extra")) == {
        "book",
        "chapters",
        "test",
        "dask",
        "ray",
        "download",
    }
    needed = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    book = ("jupyter", "nbclient", "nbformat", "jupytext", "ipykernel", "sphinx", "pytest")
    assert [line for line in needed if line.lower().startswith(book)] == []


def test_theory_works_alone_and_without_torch(python):
    program = NO_TORCH + (
        "import numpy as np\n"
        "from learnmech.theory import mode_strength\n"
        "growth = mode_strength(np.linspace(0.0, 20.0, 5), 2.0, 0.01)\n"
        "print(growth.shape, abs(growth[-1] - 2.0) < 1e-6)\n"
    )
    assert python(program) == "(5,) True"


@pytest.mark.parametrize("wing", ["theory", "compare", "numerics"])
def test_the_wings_without_networks_import_without_torch(python, wing):
    assert python(NO_TORCH + f"import learnmech.{wing}\nprint('imported')\n") == "imported"


def test_every_wing_imports_without_the_packages_of_the_book(python):
    program = (
        "import sys\n"
        "absent = ['IPython', 'docutils', 'ipykernel', 'jupytext', 'myst_nb', 'nbclient',\n"
        "          'nbformat', 'beartype', 'pytest']\n"
        "sys.modules.update(dict.fromkeys(absent))\n"
        "import learnmech.theory, learnmech.practice, learnmech.compare, learnmech.numerics\n"
        "print('imported')\n"
    )
    assert python(program) == "imported"


def test_an_answer_is_checked_away_from_the_checkout(wheel, python):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    keys = {path.name for path in ROOT.glob("src/learnmech/teaching/keys/*.json")}
    assert keys
    assert {f"learnmech/teaching/keys/{name}" for name in keys} <= names
    program = NO_TORCH + (
        "from learnmech.teaching import CannotCheck, check\n"
        "try:\n"
        "    check('dln-derive', ...)\n"
        "except CannotCheck as error:\n"
        "    print(error)\n"
    )
    assert python(program).startswith("dln-derive: there is no answer yet")


def test_a_chapter_of_your_own_works_outside_a_checkout_with_the_packaged_bibliography(
    python, tmp_path
):
    program = (
        "from learnmech.compare import Chapter, relative_error\n"
        "from learnmech.compare.bibliography import bibliography_path\n"
        "import learnmech\n"
        "chapter = Chapter('my-own')\n"
        "chapter.predict('two', 2.0, fed='setting')\n"
        "chapter.claim('two-is-two', 'Two is two.', prediction='two', measured=2.01,\n"
        "              measure=relative_error(), tolerance=0.02, error=0.01,\n"
        "              because='the measurement has two digits', sources=['saxe2014exact'])\n"
        "chapter.close()\n"
        "package = learnmech.__path__[0]\n"
        "assert bibliography_path(chapter.root).is_relative_to(package)\n"
    )
    assert python(program).startswith("holds: two-is-two")
    assert (tmp_path / "learnmech-chapters" / "_ledger" / "my-own.json").is_file()
