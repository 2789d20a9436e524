"""The first code cell of every notebook: it looks for the chapter's packages, and pins numbers.

A chapter's text does not hold this cell; reading the text puts it in, after the first words, and
the page leaves it out. Where everything is installed it does nothing and prints nothing. In Colab
it installs the package from the book's repository, where the configuration names one; anywhere
else it stops the run with one sentence that says what to type. No index is asked for ``learnmech``.
Then it chooses threads and code paths, while NumPy is not loaded yet (:mod:`learnmech.pins`).
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Sequence

from nbformat import NotebookNode, v4

from learnmech.compare.repository import Repository

__all__ = ["is_setup_cell", "needed_modules", "setup_cell"]

_FIRST_LINE = (
    "# Nothing to read yet: this cell looks for the chapter's packages and pins its numbers."
)

_LOOK = """\
{first_line}
import importlib.util
import sys


class NotInstalled(ImportError):
    def _render_traceback_(self):  # one sentence, and no traceback
        return [str(self)]


def missing():
    importlib.invalidate_caches()
    found = {{name: importlib.util.find_spec(name) for name in [{modules}]}}
    # A package without an origin is only half there, until the kernel is started anew.
    return [name for name, spec in found.items() if spec is None or spec.origin is None]


"""

_INSTALL_IN_COLAB = """\
if missing() and "google.colab" in sys.modules:
    import subprocess

    print("Installing the book's package; this takes about a minute.")
    package = "{package}"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", package], check=False)
"""

_STOP_OR_PIN = """\
if missing():
    raise NotInstalled(
        f"This chapter needs {{', '.join(missing())}}: type  "
        '{command}'
        "  in {place}, then restart the kernel and run all cells."
    )

from learnmech.pins import pin

pin()  # before NumPy is loaded: threads and code paths as in the book's own runs"""


def needed_modules(sources: Iterable[str]) -> list[str]:
    """Return the modules that code cells import, without Python's own; ``learnmech`` comes first.

    Args:
        sources: the sources of a chapter's code cells; one that is not Python is passed over.
    """
    found = set()
    for source in sources:
        try:
            tree = ast.parse(source)
        except SyntaxError:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return ["learnmech", *sorted(found - {"learnmech"} - sys.stdlib_module_names)]


def setup_cell(
    slug: str,
    modules: Sequence[str],
    repository: Repository | None,
    *,
    package: str = "",
) -> NotebookNode:
    """Return the cell for one chapter.

    Args:
        slug: the chapter's name; the cell's id is ``<slug>-setup``.
        modules: what the chapter imports.
        repository: where the package can be had from, if the book's configuration says so.
        package: the file of the package that is handed out with the notebook, if one is.
    """
    source = _LOOK.format(
        first_line=_FIRST_LINE, modules=", ".join(f'"{name}"' for name in modules)
    )
    command = 'pip install -e ".[book]"'
    place = "the folder of the book and the environment of this notebook"
    if package:
        command = f'pip install "./{package}[chapters]"'
        place = "the folder that holds this file and the environment of this notebook"
    if repository is not None:
        address = f"learnmech[chapters] @ git+{repository.url}@{repository.branch}"
        source += _INSTALL_IN_COLAB.format(package=address)
        command = f'pip install "{address}"'
        place = "the environment of this notebook"
    source += _STOP_OR_PIN.format(command=command, place=place)
    cell: NotebookNode = v4.new_code_cell(
        source, id=f"{slug}-setup", metadata={"tags": ["remove-cell"]}
    )
    return cell


def is_setup_cell(cell: NotebookNode) -> bool:
    """Say whether a cell is such a cell; jupytext writes it into a text that it synchronises."""
    return bool(cell.cell_type == "code" and cell.source.startswith(_FIRST_LINE))
