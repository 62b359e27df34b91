"""Foreign clients of BTCPay's Greenfield API, in `.clients/`, outside Nodetill's own environment.

`tests/clients/` has their exact versions with the hashes of their files, and a program for each.
"""

import fcntl
import json
import os
import shutil
import subprocess
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.needs import cannot_run
from tests.support.nodejs import node_command

ROOT = Path(__file__).parent.parent.parent
CACHE = ROOT / ".clients"
PROGRAMS = ROOT / "tests" / "clients"
_SECONDS = 300


def run_client(program: str, base: str, key: str, store: str) -> dict[str, Any]:
    """Run a program of `tests/clients/`, and return its output. Fetch its client before its first run."""
    is_python = program.endswith(".py")
    command, environ = (python_command(), {}) if is_python else _node()
    done = subprocess.run(
        [*command, str(PROGRAMS / program), base, key, store],
        capture_output=True,
        text=True,
        env={**os.environ, **environ},
        timeout=_SECONDS,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def python_command() -> list[str]:
    """Return the command for Python with the clients in Python. Fetch the clients before the first run."""
    place, lock = CACHE / "python", PROGRAMS / "clients.lock"
    python = place / "bin" / "python"
    with _alone():
        if _is_to_fetch(place, lock):
            venv.create(place, clear=True, with_pip=True)
            install = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
            install += ["--require-hashes", "--use-pep517", "--no-build-isolation", "--no-deps", "-r"]
            _fetch([*install, str(ROOT / "requirements-build.lock")], place)
            _fetch([*install, str(lock)], place)
            _mark_fetched(place, lock)
    # The program's directory has modules of Nodetill, and a client could import one by mistake.
    return [str(python), "-P"]


def _node() -> tuple[list[str], dict[str, str]]:
    place, lock = CACHE / "node", PROGRAMS / "package-lock.json"
    with _alone():
        if _is_to_fetch(place, lock):
            npm = shutil.which("npm")
            if npm is None:
                cannot_run("npm is missing: apt-get install npm")
            place.mkdir(exist_ok=True)
            for name in ("package.json", "package-lock.json"):
                shutil.copy(PROGRAMS / name, place)
            _fetch([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], place)
            _mark_fetched(place, lock)
    return node_command(), {"NODE_PATH": str(place / "node_modules")}


@contextmanager
def _alone() -> Iterator[None]:
    """Let only one process fetch at a time, because the tests run in several processes."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_to_fetch(place: Path, lock: Path) -> bool:
    fetched = place / "fetched"
    return not fetched.exists() or fetched.read_text() != lock.read_text()


def _mark_fetched(place: Path, lock: Path) -> None:
    """Store the mark of a complete fetch. Call this last, so that an interrupted fetch is repeated."""
    (place / "fetched").write_text(lock.read_text())


def _fetch(command: list[str], place: Path) -> None:
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=_SECONDS)
    if done.returncode != 0:
        cannot_run(f"the registry does not provide a client: {done.stderr[-500:]}")
