"""The pytest plugin that makes nbval look at figures, and pins what kernels compute with.

nbval by itself skips pictures and passes notebooks that were never run. With this plugin:

* every stored picture must match its own SHA-256 (on any machine);
* every plotted number, those of a live figure's frames too, must agree with the stored one within
  its figure's tolerance;
* on the kind of machine that made the notebook, pictures must agree byte for byte;
* a cell that was never run, or a picture that no chapter.figure published, is an error.

``LEARNMECH_FIGURES=exact`` or ``data`` forces byte-for-byte comparison on or off. It stands here
and not in the package because a plugin inside the package would import it before jaxtyping's
import hook, which checks array shapes in the tests, is in place.
"""

import os

import pytest

collect_ignore_glob = ["tests/**/conftest.py"]  # they hold fixtures, and no doctest


def pytest_configure(config):
    """Pin the kernels' environment and teach nbval to compare figures."""
    from learnmech.compare.reproducibility import PINNED

    os.environ.update(PINNED)
    if getattr(config.option, "nbval", False):
        _teach_nbval()


def _teach_nbval():
    from nbval.plugin import IPyNbCell

    from learnmech.compare.figures import MIME
    from learnmech.compare.live import LIVE

    plain_run, plain_compare = IPyNbCell.runtest, IPyNbCell.compare_outputs

    def runtest(cell):
        if cell.cell.source.strip() and cell.cell.execution_count is None:
            cell.raise_cell_error("this cell was never run; run 'learnmech run' and commit again")
        plain_run(cell)

    def compare_outputs(cell, test, ref, skip_compare=None):
        skipped = (*(skip_compare or cell.parent.skip_compare), MIME, LIVE)
        agrees = plain_compare(cell, test, ref, skipped)
        problems = _figure_problems(ref, test, _same_machine(cell.parent.nb))
        cell.comparison_traceback += [f"  {line}" for line in problems]
        return agrees and not problems

    IPyNbCell.runtest, IPyNbCell.compare_outputs = runtest, compare_outputs


def _same_machine(notebook):
    from learnmech.compare.reproducibility import fingerprint

    forced = os.environ.get("LEARNMECH_FIGURES", "")
    if forced not in ("", "exact", "data"):
        raise pytest.UsageError(f"LEARNMECH_FIGURES is exact or data, not {forced!r}")
    stored = notebook.metadata.get("learnmech", {}).get("fingerprint")
    return forced == "exact" or (not forced and stored == fingerprint())


def _figure_problems(reference, test, same_machine):
    from learnmech.compare.figures import MIME, figure_problems

    def pictures(outputs):
        found = [output.get("data", {}) for output in outputs]
        return [data for data in found if any(key.startswith("image/") for key in data)]

    old, new = pictures(reference), pictures(test)
    if any(MIME not in data for data in old + new):
        return ["a picture was shown without chapter.figure(...), so nothing proves it"]
    if len(old) != len(new):
        return [f"image/png: {len(old)} figures became {len(new)}"]
    return [
        line
        for stored, fresh in zip(old, new, strict=True)
        for line in figure_problems(stored, fresh, same_machine=same_machine)
    ]
