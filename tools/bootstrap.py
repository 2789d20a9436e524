"""Make the environment that the book, its tests and its tools run in.

    python3 tools/bootstrap.py .venv

The one source is ``environment.yml``, which conda users install from as well: its range of
Python versions decides which Python may be used, and its pip list is handed to plain pip, so
that pip's own settings (mirrors, proxies, certificates, folders of wheels) count as usual.
Exact versions stand in ``constraints.txt`` and ranges in ``pyproject.toml``.

The last thing written is a stamp, ``.venv/.ready``. A folder without it was interrupted or is
broken, and is made again from nothing; with it, a change to the four inputs is one more run of
pip, and no change is no work.

Only the standard library is used, on a system that has make (Linux, macOS, WSL). The syntax is
that of Python 3.6, quoted annotations included, so that a Python that is too old can still say
so in a sentence.
"""

import errno
import fcntl
import hashlib
import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
INPUTS = ("environment.yml", "pyproject.toml", "constraints.txt", "tools/bootstrap.py")

# What may lie in a virtual environment. A folder that holds anything else is someone's work
# and is not emptied, even if it was named by mistake.
VENV_NAMES = {"bin", "etc", "include", "lib", "lib64", "man", "share"} | {
    "pyvenv.cfg",
    ".gitignore",
    ".ready",
    "install.log",
}

NO_SPACE = (
    "The disk is full: free at least 3 GB here and in {temporary} "
    "(10 GB on Linux, if pip fetches PyTorch with CUDA) and run make again."
)

# With fewer bytes free the disk counts as full: the log cannot tell, as it has no room either.
FULL = 1_000_000

# The reasons for which pip usually fails, most telling first, and what to do about each.
PIP_FAILURES = (
    (r"No space left on device|Errno 28|Disk quota exceeded", NO_SPACE),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLError",
        "pip does not trust the certificate of its package index: give it yours "
        "(`export PIP_CERT=FILE`) and run make again.",
    ),
    (
        r"connection broken by|Max retries exceeded|ConnectionError|ConnectTimeout"
        r"|Read ?Timeout|NameResolutionError|ProxyError|Failed to establish a new connection",
        "pip cannot reach its package index: check the network, the proxy or pip's "
        "settings (`pip config list`) and run make again.",
    ),
    (
        r"No matching distribution found for ([^\s]+)",
        "pip finds no package that fits `{0}`: check the versions in constraints.txt and "
        "pip's package index (`pip config list`) and run make again.",
    ),
    (
        r"ResolutionImpossible",
        "The versions asked for contradict each other: make constraints.txt and "
        "pyproject.toml agree and run make again.",
    ),
)


class StopHereError(Exception):
    """Something the reader can put right; the message is one sentence that says how."""


def say(line: str) -> None:
    """Print a line at once, in the right order even where the output is a file."""
    print(line, flush=True)


def read_environment(text: str) -> "tuple[tuple[int, int], tuple[int, int], list[str]]":
    """Read what pip users need from the text of ``environment.yml``.

    Args:
        text: the file's content, in the plain layout that this project keeps to.

    Returns:
        The lowest Python version allowed, the first one that no longer is, and the pip list.

    Raises:
        StopHereError: if the range or the list is not where it should be.
    """
    python_range = None
    pip_list = []
    pip_indent = None
    for line in text.splitlines():
        content = re.sub(r"(^|\s)#.*", "", line).rstrip()
        entry = re.match(r"(\s*)- +(.*)", content)
        if entry is None:
            pip_indent = None if content else pip_indent
            continue
        indent, item = len(entry.group(1)), entry.group(2).strip("'\"")
        if pip_indent is not None and indent > pip_indent:
            pip_list.append(item)
            continue
        pip_indent = indent if item == "pip:" else None
        bounds = re.match(r"python *>= *(\d+)\.(\d+) *, *< *(\d+)\.(\d+)$", item)
        if bounds is not None:
            python_range = [int(number) for number in bounds.groups()]
    if python_range is None:
        raise StopHereError("environment.yml needs a line such as `- python>=3.11,<3.15`.")
    if not pip_list:
        raise StopHereError("environment.yml needs a list of packages below `- pip:`.")
    lowest, ceiling = python_range[:2], python_range[2:]
    return (lowest[0], lowest[1]), (ceiling[0], ceiling[1]), pip_list


def check_python(
    version: "tuple[int, int]", lowest: "tuple[int, int]", ceiling: "tuple[int, int]"
) -> None:
    """Refuse a Python outside the range that ``environment.yml`` names.

    Args:
        version: major and minor version of the Python at hand.
        lowest: the lowest version allowed.
        ceiling: the first version that is no longer allowed.

    Raises:
        StopHereError: if the version lies outside the range.
    """
    if lowest <= version < ceiling:
        return
    fault = "old" if version < lowest else "new"
    newest = f"{ceiling[0]}.{ceiling[1] - 1}"
    raise StopHereError(
        f"Python {version[0]}.{version[1]} is too {fault}: install a Python from "
        f"{lowest[0]}.{lowest[1]} to {newest} and name it, for example "
        f"`make PYTHON=python{newest} book`."
    )


def check_venv_module(version: "tuple[int, int]") -> None:
    """Refuse a Python that cannot make virtual environments.

    Args:
        version: major and minor version of the Python at hand.

    Raises:
        StopHereError: if ``venv`` or ``ensurepip``, which Debian packages apart, is missing.
    """
    # A name from within each, since an empty folder left behind can be imported as well.
    for module, name in (("venv", "EnvBuilder"), ("ensurepip", "bootstrap")):
        try:
            found = hasattr(importlib.import_module(module), name)
        except ImportError:
            found = False
        if not found:
            package = f"python{version[0]}.{version[1]}-venv"
            raise StopHereError(
                f"This Python ({sys.executable}) lacks the venv module: install it (on Debian and "
                f"Ubuntu, `sudo apt-get install python3-venv` or `{package}`) and run make again."
            )


def explain(log: str, free: int) -> str:
    """Turn the end of pip's output into one sentence that says what to do.

    Args:
        log: what pip printed.
        free: how many bytes are free where the environment is made.

    Returns:
        The sentence.
    """
    end = "\n".join(log.splitlines()[-60:])
    if free < FULL:
        return NO_SPACE.format(temporary=tempfile.gettempdir())
    for pattern, sentence in PIP_FAILURES:
        found = re.search(pattern, end)
        if found is not None:
            return sentence.format(*found.groups(), temporary=tempfile.gettempdir())
    return "The installation failed: put right what the lines above name and run make again."


def run(command: "list[str]", log: Path) -> int:
    """Run a command at the repository root and add its output to the log.

    Args:
        command: program and arguments.
        log: the file that takes what it prints.

    Returns:
        Its exit status.
    """
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            cwd=str(ROOT),
            # Some machines set `pip install --user` for all; pip refuses that in here.
            env=dict(os.environ, PIP_USER="0"),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            return process.wait()
        except BaseException:
            # Nothing may go on installing after an interrupt.
            process.terminate()
            process.wait()
            raise


def stop(venv: Path, log: Path) -> None:
    """Show the last lines of the log and say what went wrong.

    Args:
        venv: the environment's folder.
        log: the log of the command that failed.

    Raises:
        StopHereError: always.
    """
    text = log.read_text(encoding="utf-8", errors="replace")
    for line in text.splitlines()[-8:]:
        say("    " + line[:160])
    reason = explain(text, shutil.disk_usage(str(venv)).free)
    raise StopHereError(f"{reason} The log is {os.path.relpath(str(log), str(ROOT))}.")


def venv_version(venv: Path) -> "tuple[int, int] | None":
    """Ask a virtual environment for its Python's version.

    Args:
        venv: the environment's folder.

    Returns:
        Major and minor version, or None if that Python or its pip does not run.
    """
    code = "import pip, sys; print(*sys.version_info[:2])"
    try:
        answer = subprocess.check_output(
            [str(venv / "bin" / "python"), "-I", "-c", code], stderr=subprocess.DEVNULL
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    major, minor = answer.split()
    return int(major), int(minor)


def digest() -> str:
    """Summarise the inputs, so that a new date on an old file is not taken for a change.

    Returns:
        A hash over the content of all inputs.
    """
    total = hashlib.sha256()
    for name in INPUTS:
        path = ROOT / name
        total.update(path.read_bytes() if path.exists() else b"")
        total.update(b"\0")
    return total.hexdigest()


def take_turn() -> "IO[bytes]":
    """Wait until no other call of make is at work here.

    Returns:
        An open file that holds a lock until it is closed, however this process ends.
    """
    lock = (ROOT / "environment.yml").open("rb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("Another make is at work on the environment: waiting for it.")
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as problem:
        # Some network file systems know no locks; there, two calls at once are not kept apart.
        say(f"Going on without a lock ({problem.strerror}): run one make at a time.")
    return lock


def make_venv(venv: Path, log: Path) -> None:
    """Make an empty virtual environment, in place of whatever half-made one is there.

    Args:
        venv: the environment's folder.
        log: the file that takes what is printed.

    Raises:
        StopHereError: if the folder is not an environment's, or if making it fails.
    """
    if venv.exists():
        strangers = sorted(set(os.listdir(str(venv))) - VENV_NAMES)
        if strangers:
            raise StopHereError(
                f"{venv} is not a virtual environment (it holds {strangers[0]}): "
                "move it away and run make again."
            )
        # The stamp first: what is left by an interrupted removal must not pass for complete.
        if (venv / ".ready").exists():
            (venv / ".ready").unlink()
        shutil.rmtree(str(venv))
    venv.mkdir(parents=True)
    # Called from within an environment, possibly the one just removed, we want its parent.
    python = getattr(sys, "_base_executable", None) or sys.executable
    if run([python, "-I", "-m", "venv", str(venv)], log) != 0:
        stop(venv, log)


def install(venv: Path, pip_list: "list[str]", log: Path) -> None:
    """Install the pip list, as conda would, with the working directory at the root.

    Args:
        venv: the environment's folder.
        pip_list: the entries of ``environment.yml``.
        log: the file that takes what pip prints.

    Raises:
        StopHereError: if pip fails.
    """
    python = str(venv / "bin" / "python")
    # Isolated from PYTHON* variables: packages on a PYTHONPATH would count as installed.
    # Compiled now, whatever pip's settings say: where Python may not write bytecode, every
    # kernel would otherwise compile all of PyTorch for itself, two seconds each time.
    command = [python, "-I", "-m", "pip", "install", "--compile", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar", "off"]
    for entry in pip_list:
        command += entry.split(None, 1) if entry.startswith("-") else [entry]
    if run(command, log) != 0:
        stop(venv, log)
    # Matplotlib lists the fonts once; done here, it cannot disturb a notebook's output. If it
    # fails (it may, with a home that cannot be written), Matplotlib does it again later.
    run([python, "-c", "import matplotlib.font_manager"], log)


def bring_up_to_date(venv: Path) -> None:
    """Make, update or merely confirm the environment, with as little work as that takes.

    Args:
        venv: the environment's folder.
    """
    start = time.time()
    running = (sys.version_info[0], sys.version_info[1])
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    lowest, ceiling, pip_list = read_environment(text)
    name, stamp, log = os.path.relpath(str(venv), str(ROOT)), venv / ".ready", venv / "install.log"

    # The stamp names the root because an environment cannot be moved: its commands hold paths.
    wanted = [str(ROOT), digest()]
    found = stamp.read_text(encoding="utf-8").splitlines() if stamp.exists() else []
    version = venv_version(venv) if found[:1] == wanted[:1] else None
    sound = version is not None and lowest <= version < ceiling

    if not sound:
        check_python(running, lowest, ceiling)
        check_venv_module(running)
        say(
            f"Making the environment in {name}, once, with Python {running[0]}.{running[1]}: "
            "one to ten minutes, most of it to fetch and unpack PyTorch. "
            f"What pip says meanwhile is in {os.path.relpath(str(log), str(ROOT))}."
        )
        make_venv(venv, log)
        install(venv, pip_list, log)
    elif found != wanted:
        say(f"Updating the environment in {name}: seconds, unless versions have changed.")
        stamp.unlink()
        log.write_bytes(b"")
        install(venv, pip_list, log)
    if not sound or found != wanted:
        say(f"The environment is ready ({time.time() - start:.0f} s).")
    stamp.write_text("\n".join(wanted) + "\n", encoding="utf-8")
    # As old as the inputs that were read: an edit made meanwhile is then newer than the stamp.
    os.utime(str(stamp), (start, start))


def interrupt(number: int, frame: object) -> None:
    """Treat a request to end like an interrupt from the keyboard."""
    raise KeyboardInterrupt


def main(arguments: "list[str]") -> int:
    """Run from the command line.

    Args:
        arguments: the folder that the environment shall be in.

    Returns:
        The exit status: 0 when the environment is ready.
    """
    if len(arguments) != 1:
        print("Usage: python3 tools/bootstrap.py .venv", file=sys.stderr)
        return 2
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), interrupt)
    try:
        with take_turn():
            bring_up_to_date(Path(os.path.abspath(arguments[0])))
    except StopHereError as problem:
        sys.stdout.flush()
        print(problem, file=sys.stderr)
        return 1
    except OSError as problem:
        full = problem.errno in (errno.ENOSPC, errno.EDQUOT)
        what = NO_SPACE.format(temporary=tempfile.gettempdir()) if full else f"{problem}."
        print(what, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted: run make again, and the environment is made anew.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
