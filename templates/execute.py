"""Run the final-project template in an empty folder and store it as a notebook beside its text.

python templates/execute.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

from learnmech.compare.reproducibility import kernel_environment

TEXT = Path(__file__).with_name("final-project.md")


class _ThisPython(AsyncKernelManager):
    """A kernel of the Python that runs this."""

    @property
    def kernel_spec(self) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")


def read_template(text: str) -> NotebookNode:
    """Return the template as an unexecuted notebook with fixed cell ids."""
    notebook: NotebookNode = jupytext.reads(text, fmt="md:myst")
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"final-project-{number:03d}"
    notebook.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"}
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def execute(notebook: NotebookNode, folder: Path, **environment: str) -> NotebookNode:
    """Run a notebook in a folder, with variables of the environment set beside the usual ones."""
    client = NotebookClient(
        notebook,
        record_timing=False,
        kernel_manager_class=_ThisPython,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=kernel_environment(**environment))
    notebook.metadata.pop("language_info", None)
    return notebook


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as empty:
        done = execute(read_template(TEXT.read_text(encoding="utf-8")), Path(empty))
    TEXT.with_suffix(".ipynb").write_text(nbformat.writes(done) + "\n", encoding="utf-8")
