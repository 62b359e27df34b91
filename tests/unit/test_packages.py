"""A program that runs outside the virtual environment prints the command to type, and no traceback."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from regtest.node import PROJECT


def _run(program: str, *arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a program by a Python outside the virtual environment that has no packages."""
    python = Path(sys.executable).resolve()
    command = [str(python), "-S", str(PROJECT / program), *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("program", ["manage.py", "run_daemon.py", "run_web.py"])
def test_a_missing_package_is_reported_in_one_sentence(program: str, tmp_path: Path) -> None:
    done = _run(program, directory=tmp_path)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1
    assert line.endswith(f"; run: {PROJECT}/.venv/bin/python {PROJECT}/{program}")


def test_the_printed_command_works(tmp_path: Path) -> None:
    """It has the same arguments, and works in any directory."""
    done = _run("manage.py", "seller", "add", "--help", directory=tmp_path)
    command = shlex.split(done.stderr.partition("run: ")[2])
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert again.returncode == 0
    assert "seller add" in again.stdout


def test_the_debian_package_is_installed_again(tmp_path: Path) -> None:
    """It has no Makefile."""
    shutil.copy(PROJECT / "packages.py", tmp_path)
    (tmp_path / "manage.py").write_text("import packages\nimport bottle\n")
    command = [sys.executable, "-S", str(tmp_path / "manage.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stderr.endswith("; run: apt install --reinstall nodetill\n")
