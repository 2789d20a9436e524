"""The first minutes of a newcomer: ``tools/bootstrap.py``, the Makefile and what they say.

Everything runs in a project of its own in a temporary folder, whose environment holds one tiny
wheel, with no package index but what a test gives: nothing is fetched, and pip's settings on
this machine do not count.
"""

import ast
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "tools" / "bootstrap.py"
WHEEL = "tiny-1.0-py3-none-any.whl"

ENVIRONMENT = f"""\
# A comment.
name: tiny
dependencies:
  - python>=3.11,<3.99  # the range
  - pip
  - pip:
      - -c constraints.txt
      - ./{WHEEL}
"""


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bootstrap = _load()


def _write_project(root: Path) -> Path:
    (root / "tools").mkdir(parents=True)
    shutil.copy(SCRIPT, root / "tools")
    shutil.copy(ROOT / "Makefile", root)
    (root / "environment.yml").write_text(ENVIRONMENT)
    (root / "pyproject.toml").write_text("")
    (root / "constraints.txt").write_text("tiny==1.0\n")
    with zipfile.ZipFile(root / WHEEL, "w") as wheel:
        info = "tiny-1.0.dist-info"
        wheel.writestr("tiny.py", "ONE = 1\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return root


def _settings(**extra: str) -> dict[str, str]:
    """The environment variables of a plain machine without a network, and ``extra``."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PIP_", "PYTHON", "MAKE", "MFLAGS", "COV_"))
    }
    offline = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "LC_ALL": "C"}
    return {**kept, **offline, "PYTHON": sys.executable, **extra}


def _make(root: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments],
        cwd=root,
        env=_settings(**extra),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def _one_sentence(stderr: str) -> str:
    """What was said on stderr, less make's own last line; no traceback is ever said."""
    assert "Traceback" not in stderr
    lines = [line for line in stderr.splitlines() if not line.startswith("make")]
    assert len(lines) == 1, stderr
    return lines[0]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose environment was made, over a half-made one; tests leave it sound."""
    root = _write_project(tmp_path_factory.mktemp("made") / "a project")
    # As an interrupt leaves it: a Python that does not run, packages, and no stamp.
    (root / ".venv" / "lib" / "half-made").mkdir(parents=True)
    (root / ".venv" / "bin").mkdir()
    (root / ".venv" / "bin" / "python").symlink_to("/nonexistent/python")
    # Both settings would leave the environment without bytecode.
    result = _make(root, "env", PYTHONDONTWRITEBYTECODE="1", PIP_NO_COMPILE="1")
    assert result.returncode == 0, result.stderr
    first, last = result.stdout.splitlines()
    assert first.startswith("Making the environment in .venv, once, with Python 3.")
    assert "minutes" in first
    assert first.endswith("is in .venv/install.log.")
    assert last.startswith("The environment is ready")
    return root


@pytest.fixture
def changed(made: Path) -> Iterator[Path]:
    """The same project, asking for one package more, which no test lets it have."""
    stamp = made / ".venv" / ".ready"
    before = stamp.read_text()
    (made / "environment.yml").write_text(ENVIRONMENT + "      - no-such-package==1\n")
    yield made
    (made / "environment.yml").write_text(ENVIRONMENT)
    stamp.write_text(before)


# --- what environment.yml says ---------------------------------------------------------------


def test_reads_the_range_and_the_pip_list() -> None:
    lowest, ceiling, pip_list = bootstrap.read_environment(ENVIRONMENT)
    assert (lowest, ceiling) == ((3, 11), (3, 99))
    assert pip_list == ["-c constraints.txt", f"./{WHEEL}"]


def test_reads_this_project() -> None:
    text = (ROOT / "environment.yml").read_text()
    lowest, ceiling, pip_list = bootstrap.read_environment(text)
    declared = f">={lowest[0]}.{lowest[1]},<{ceiling[0]}.{ceiling[1]}"
    assert f'requires-python = "{declared}"' in (ROOT / "pyproject.toml").read_text()
    assert pip_list == ["-c constraints.txt", "-e .[book,test]"]


def test_the_pip_list_ends_where_its_indent_does() -> None:
    text = ENVIRONMENT + "  - conda-package\nvariables:\n  - other\n"
    assert bootstrap.read_environment(text) == bootstrap.read_environment(ENVIRONMENT)


@pytest.mark.parametrize("lost", ["  - python>=3.11,<3.99  # the range\n", "  - pip:\n"])
def test_an_unreadable_environment_file_is_named(lost: str) -> None:
    with pytest.raises(bootstrap.StopHereError, match=r"environment\.yml needs"):
        bootstrap.read_environment(ENVIRONMENT.replace(lost, ""))


# --- Python itself ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "fault"), [((3, 6), "too old"), ((3, 10), "too old"), ((3, 15), "too new")]
)
def test_a_python_outside_the_range_is_refused(version: tuple[int, int], fault: str) -> None:
    with pytest.raises(bootstrap.StopHereError) as refusal:
        bootstrap.check_python(version, (3, 11), (3, 15))
    assert str(refusal.value) == (
        f"Python 3.{version[1]} is {fault}: install a Python from 3.11 to 3.14 and name it, for "
        "example `make PYTHON=python3.14 book`."
    )


@pytest.mark.parametrize("minor", [11, 14])
def test_a_python_within_the_range_is_taken(minor: int) -> None:
    bootstrap.check_python((3, minor), (3, 11), (3, 15))


def test_an_old_python_can_read_the_script() -> None:
    tree = ast.parse(SCRIPT.read_text(), feature_version=(3, 7))
    # Evaluated by old Pythons, which know no `list[str]`: annotations have to be quoted.
    for node in ast.walk(tree):
        assert not isinstance(node, ast.ImportFrom) or node.module != "__future__"
        if isinstance(node, ast.arg | ast.FunctionDef):
            annotation = node.annotation if isinstance(node, ast.arg) else node.returns
            assert annotation is None or isinstance(annotation, ast.Name | ast.Constant)


@pytest.mark.parametrize("missing", ["/nonexistent/python", "false"])
def test_no_python_is_one_sentence(tmp_path: Path, missing: str) -> None:
    result = _make(_write_project(tmp_path / "p"), "book", PYTHON=missing)
    assert result.returncode != 0
    said = _one_sentence(result.stderr)
    assert said.startswith(f"No Python 3 found as '{missing}': install Python 3.11 or later")


def test_a_missing_venv_module_is_one_sentence(tmp_path: Path) -> None:
    root = _write_project(tmp_path / "p")
    stub = tmp_path / "stub" / "ensurepip"
    stub.mkdir(parents=True)
    (stub / "__init__.py").write_text("raise ImportError\n")
    result = _make(root, "env", PYTHONPATH=str(stub.parent))
    assert result.returncode != 0
    assert "sudo apt-get install python3-venv" in _one_sentence(result.stderr)
    assert not (root / ".venv").exists()


# --- making the environment ------------------------------------------------------------------


def test_bytecode_is_compiled_whatever_the_settings_say(made: Path) -> None:
    assert list((made / ".venv").glob("lib/python*/site-packages/__pycache__/tiny.*.pyc"))


def test_a_second_call_does_nothing_and_needs_no_python(made: Path) -> None:
    start = time.perf_counter()
    result = _make(made, "env", PYTHON="/nonexistent")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert time.perf_counter() - start < 1.0


def test_a_new_date_on_an_old_file_is_no_change(made: Path) -> None:
    (made / "pyproject.toml").touch()
    result = _make(made, "env")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert "bootstrap" not in _make(made, "-n", "env").stdout


def test_a_change_is_installed_into_what_is_there(made: Path) -> None:
    (made / "pyproject.toml").write_text("# changed\n")
    result = _make(made, "env", PIP_USER="1")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.startswith("Updating")


def test_a_half_made_environment_is_made_again(made: Path) -> None:
    assert not (made / ".venv" / "lib" / "half-made").exists()
    python = made / ".venv" / "bin" / "python"
    subprocess.run([python, "-I", "-c", "import tiny"], check=True)


def test_an_environment_that_looks_new_to_make_but_does_not_run_is_looked_at(made: Path) -> None:
    stamp, python = made / ".venv" / ".ready", made / ".venv" / "bin" / "python"
    assert "bootstrap" not in _make(made, "-n", "env").stdout
    # From a folder that was moved: its commands hold the old path.
    whole = stamp.read_text()
    stamp.write_text(whole.replace(str(made), "/elsewhere"))
    assert "bootstrap" in _make(made, "-n", "env").stdout
    stamp.write_text(whole)
    # Its Python has gone from the system.
    python.rename(python.with_name("hidden"))
    assert "bootstrap" in _make(made, "-n", "env").stdout
    assert bootstrap.venv_version(made / ".venv") is None
    python.with_name("hidden").rename(python)


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    root = _write_project(tmp_path / "p")
    (root / ".venv").mkdir()
    (root / ".venv" / "thesis.tex").touch()
    result = _make(root, "env")
    assert result.returncode != 0
    assert "is not a virtual environment (it holds thesis.tex)" in _one_sentence(result.stderr)
    assert (root / ".venv" / "thesis.tex").exists()


# --- when pip fails --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "pip finds no package that fits `no-such-package==1`"),
        # Port 9 of this machine: nobody listens, as on a machine without a network.
        (
            {
                "PIP_NO_INDEX": "0",
                "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
                "PIP_RETRIES": "1",
            },
            "pip cannot reach its package index: check the network",
        ),
    ],
)
def test_a_failing_pip_is_one_sentence(
    changed: Path, settings: dict[str, str], reason: str
) -> None:
    result = _make(changed, "env", **settings)
    assert result.returncode != 0
    said = _one_sentence(result.stderr)
    assert said.startswith(reason)
    assert said.endswith("The log is .venv/install.log.")
    assert "no-such-package" in (changed / ".venv" / "install.log").read_text()
    assert not (changed / ".venv" / ".ready").exists()


@pytest.mark.parametrize(
    ("log", "free", "reason"),
    [
        ("ERROR: [Errno 28] No space left on device", 10**9, "The disk is full"),
        ("", 0, "The disk is full"),
        ("SSLError(SSLCertVerificationError(1, 'CERTIFICATE_VERIFY_FAILED", 10**9, "pip does not"),
        ("ERROR: ResolutionImpossible: for help visit", 10**9, "The versions asked for"),
        ("error: metadata-generation-failed", 10**9, "The installation failed"),
    ],
)
def test_the_reason_is_told_from_the_log(log: str, free: int, reason: str) -> None:
    said = bootstrap.explain("Collecting tiny\n" * 100 + log, free)
    assert said.startswith(reason)
    assert "run make again" in said


@pytest.mark.parametrize("request_to_end", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_pip_and_leaves_no_stamp(changed: Path, request_to_end: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(20)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        process = subprocess.Popen(
            [sys.executable, "tools/bootstrap.py", ".venv"],
            cwd=changed,
            env=_settings(PIP_NO_INDEX="0", PIP_INDEX_URL=url, PIP_RETRIES="0"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            # pip has asked and now waits for an answer that does not come.
            connection, _ = silent.accept()
            with connection:
                process.send_signal(request_to_end)
                _, said = process.communicate(timeout=20)
                # The other end is closed: pip is gone, and not left to install in the dark.
                connection.settimeout(5)
                while connection.recv(4096):
                    pass
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 130
    assert said == "Interrupted: run make again, and the environment is made anew.\n"
    assert not (changed / ".venv" / ".ready").exists()


# --- the Makefile ----------------------------------------------------------------------------


def test_help_is_the_default_and_lists_every_target() -> None:
    phony = re.search(r"^\.PHONY: (.*) FORCE$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    result = _make(ROOT)
    assert result.returncode == 0
    lines = [line.split(maxsplit=2) for line in result.stdout.splitlines()]
    assert [line[1] for line in lines] == phony.group(1).split()
    assert all(len(line) == 3 for line in lines)


def test_bench_runs_every_script_and_then_says_which_missed(made: Path) -> None:
    scripts = made / "benchmarks"
    scripts.mkdir()
    (scripts / "peers.txt").write_text("# none\n")
    (scripts / "summary.py").write_text("print('table')\n")
    (scripts / "bench_a.py").write_text("raise SystemExit(1)\n")
    (scripts / "bench_b.py").write_text("import tiny; print(tiny.ONE)\n")
    result = _make(made, "bench")
    assert (made / ".venv-peers" / ".ready").exists()
    shutil.rmtree(scripts)
    shutil.rmtree(made / ".venv-peers")
    assert result.returncode != 0
    lines = result.stdout.splitlines()
    assert lines[-4:-2] == ["== benchmarks/bench_b.py", "1"]
    assert lines[-1] == "a target was missed in: benchmarks/bench_a.py"


def test_clean_says_what_it_removes(tmp_path: Path) -> None:
    root = _write_project(tmp_path / "p")
    for gone in (".venv/bin", ".venv-peers/bin", "_build/html", "tools/__pycache__", ".ruff_cache"):
        (root / gone).mkdir(parents=True)
    result = _make(root, "clean")
    assert result.returncode == 0
    assert ".venv, .venv-peers, _build" in result.stdout
    left = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_dir()}
    assert left == {"tools"}
