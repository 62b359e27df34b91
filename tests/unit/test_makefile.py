"""The Makefile's installation of packages, with a pip that downloads nothing."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from regtest.node import PROJECT

PIP = """\
#!/bin/sh
for n in 1 2 3 4 5 6 7 8 9 10 11 12; do echo "Collecting package$n==1 (from -r a file)"; done
echo "  Downloading package"
{end}
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The Makefile, lock files of 12 packages, and a virtual environment without a Python."""
    shutil.copy(PROJECT / "Makefile", tmp_path)
    for name in ("requirements-build.lock", "requirements.lock"):
        (tmp_path / name).write_text("".join(f"package{n}==1 \\\n    --hash=x\n" for n in range(1, 13)))
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    return tmp_path


def setup(checkout: Path, end: str) -> subprocess.CompletedProcess[str]:
    """Run `make setup` with a pip that ends with the shell command `end`."""
    python = checkout / ".venv" / "bin" / "python"
    python.write_text(PIP.format(end=end))
    python.chmod(0o700)
    # The make that runs these tests passes its options on, such as -w, which prints directories.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(["make", "setup"], cwd=checkout, capture_output=True, text=True, env=environ)


def test_it_shows_how_many_packages_it_has(checkout: Path) -> None:
    """No line is pip's own, and none is a command of the Makefile."""
    done = setup(checkout, 'echo "Installing collected packages: all"')
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "Installing the packages of requirements-build.lock into .venv",
        "  package 10 of 12",
        "  unpacking",
        "Installing the packages of requirements.lock into .venv",
        "  package 10 of 12",
        "  unpacking",
    ]
    assert (checkout / ".venv" / "installed").exists()


def test_a_failure_of_pip_fails(checkout: Path) -> None:
    """pip's error is shown, and the next `make setup` begins again."""
    done = setup(checkout, "echo 'no network' >&2; exit 1")
    assert done.returncode == 2
    assert done.stderr.startswith("no network\npip has failed: its error is above\n")
    assert not (checkout / ".venv" / "installed").exists()
    assert setup(checkout, "true").returncode == 0
