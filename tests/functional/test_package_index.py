"""Each locked package installs without a compiler on each machine that Nodetill runs on.

The tests need the package index. uv reads only the list of files and the metadata, and downloads no package.
"""

import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

from regtest.node import PROJECT
from tests.support.needs import cannot_run
from tests.unit.test_lock_files import NEEDS_SOURCE

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# The C library of Debian 11 and later, Ubuntu 20.04 and later, and Raspberry Pi OS 11 and later.
PLATFORMS = ("x86_64-manylinux_2_31", "aarch64-manylinux_2_31")
LOCKS = ("requirements-build.lock", "requirements.lock")
UV = Path(sys.executable).with_name("uv")
NOT_FOUND = 1
"""uv's exit status if no files fit. After another error, such as a missing network, the status is 2."""


def install(requirements: Path, python: str, platform: str) -> subprocess.CompletedProcess[str]:
    """Find the wheels for a machine, and install nothing."""
    machine = ["--python-version", python, "--python-platform", platform]
    options = ["--dry-run", "--no-deps", "--only-binary", ":all:", "--target", str(requirements.parent / "t")]
    command = [str(UV), "pip", "install", *options, *machine, "-r", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    if done.returncode not in (0, NOT_FOUND):
        cannot_run(f"the package index cannot be read: {done.stderr}")
    return done


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_each_package_has_a_wheel(python: str, platform: str, tmp_path: Path) -> None:
    """Packages of pure Python that have no wheel are named in `NEEDS_SOURCE`."""
    entries: list[str] = []
    for name in LOCKS:
        entries += re.findall(r"^[\w.-]+==(?:.*\\\n)*.*\n", (PROJECT / name).read_text(), re.MULTILINE)
    wanted = [entry for entry in entries if entry.partition("==")[0] not in NEEDS_SOURCE]
    assert len(wanted) == len(entries) - len(NEEDS_SOURCE)
    (tmp_path / "wanted.txt").write_text("".join(wanted))
    done = install(tmp_path / "wanted.txt", python, platform)
    assert done.returncode == 0, done.stderr


def test_a_package_without_a_wheel_is_noticed(tmp_path: Path) -> None:
    """pysqlite3 has wheels for x86 alone."""
    (tmp_path / "wanted.txt").write_text("pysqlite3==0.6.1\n")
    assert install(tmp_path / "wanted.txt", "3.13", PLATFORMS[0]).returncode == 0
    refused = install(tmp_path / "wanted.txt", "3.13", PLATFORMS[1])
    assert refused.returncode == NOT_FOUND
    assert "pysqlite3==0.6.1 has no usable wheels" in " ".join(refused.stderr.split())


@pytest.mark.parametrize("name", sorted(NEEDS_SOURCE))
def test_a_package_without_a_wheel_is_pure_python(name: str) -> None:
    """Its installation needs no compiler."""
    installed = distribution(name)
    assert "Root-Is-Purelib: true" in (installed.read_text("WHEEL") or "")
