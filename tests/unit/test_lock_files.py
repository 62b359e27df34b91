"""The lock files have all installed packages with the hashes of their files, for each kind of machine."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent.parent
NAMES = ("requirements-build", "requirements", "requirements-dev")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
Machine = dict[str, str]
"""The values of PEP 508's markers."""

NEEDS_SOURCE = {"python-bitcoinrpc"}
"""The packages that have no wheel."""


@dataclass(frozen=True)
class Locked:
    """One package of a lock file."""

    requirement: Requirement
    hashes: int


def environment(python: str, machine: str) -> Machine:
    """Return the markers of a machine that Nodetill runs on."""
    here = {name: str(value) for name, value in default_environment().items()}
    version = {"python_version": python, "python_full_version": f"{python}.1"}
    return {**here, **version, "platform_machine": machine}


MACHINES = {
    f"{python}-{machine}": environment(python, machine)
    for python in ("3.11", "3.12", "3.13", "3.14")
    for machine in ("x86_64", "aarch64")
}


def wanted(name: str) -> list[Requirement]:
    """Return the requirements of a hand-written file, and of the files that it includes."""
    found = []
    for line in (ROOT / f"{name}.txt").read_text().splitlines():
        text = line.partition(" #")[0].strip()
        if text.startswith("-r "):
            found += wanted(text.removeprefix("-r ").removesuffix(".txt"))
        elif text and not text.startswith(("#", "-")):
            found.append(Requirement(text))
    return found


def locked(name: str) -> dict[str, Locked]:
    """Return the packages of a lock file by name."""
    text = (ROOT / f"{name}.lock").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith(("#", "--"))]
    found: dict[str, Locked] = {}
    for line in lines:
        requirement = Requirement(line.partition(" --hash")[0])
        found[canonicalize_name(requirement.name)] = Locked(requirement, len(HASH.findall(line)))
    assert len(found) == len(lines)
    return found


def applies(requirement: Requirement, machine: Machine) -> bool:
    """Return whether the requirement applies to that machine."""
    return requirement.marker is None or requirement.marker.evaluate(machine)


def needed(requirement: Requirement, machine: Machine) -> set[str]:
    """Return the names of all packages that a requirement needs on that machine, from installed metadata."""
    names: set[str] = set()
    left = [requirement]
    while left:
        each = left.pop()
        name = canonicalize_name(each.name)
        extras = ("", *each.extras)
        names.add(name)
        for text in _requires(name):
            further = Requirement(text)
            holds = any(
                further.marker is None or further.marker.evaluate({**machine, "extra": e}) for e in extras
            )
            if holds and canonicalize_name(further.name) not in names:
                left.append(further)
    return names


def _requires(name: str) -> list[str]:
    try:
        return requires(name) or []
    except PackageNotFoundError:
        return []


@pytest.mark.parametrize("name", [*NAMES, "bench/peers", "tests/clients/clients"])
def test_each_package_is_pinned_with_its_hashes(name: str) -> None:
    """Each has one version. pip installs no file that has changed since the lock was written."""
    packages = locked(name)
    assert packages
    for package in packages.values():
        (pin,) = package.requirement.specifier
        assert pin.operator == "=="
        assert package.requirement.url is None
        assert package.hashes > 0


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", NAMES)
def test_the_lock_has_all_needed_packages(name: str, machine: str) -> None:
    """It has each requirement with its version, and the packages that the requirement needs."""
    packages = locked(name)
    at = MACHINES[machine]
    for requirement in wanted(name):
        if not applies(requirement, at):
            continue
        pinned = packages[canonicalize_name(requirement.name)].requirement
        assert str(pinned.specifier) == str(requirement.specifier), f"{requirement}: make lock"
        for further in needed(requirement, at):
            assert further in packages, f"{requirement} needs {further}: make lock"
            assert applies(packages[further].requirement, at), f"{further} is left out on {machine}"


@pytest.mark.parametrize("name", ["bench/peers", "tests/clients/clients"])
def test_what_has_an_environment_of_its_own_is_locked(name: str) -> None:
    packages = locked(name)
    for requirement in wanted(name):
        assert packages[canonicalize_name(requirement.name)].requirement.specifier == requirement.specifier


@pytest.mark.parametrize("name", NAMES)
def test_only_named_packages_are_built_from_source(name: str) -> None:
    """A source package runs its own code at its installation."""
    lines = (ROOT / f"{name}.lock").read_text().splitlines()
    options = [line for line in lines if line.startswith("--")]
    # pip ignores an exception that comes before the rule.
    assert options == ["--only-binary :all:", *(f"--no-binary {name}" for name in sorted(NEEDS_SOURCE))]


def test_no_lock_file_names_an_index() -> None:
    """The machine's own configuration names it."""
    for name in (*NAMES, "bench/peers", "tests/clients/clients"):
        for path in (ROOT / f"{name}.txt", ROOT / f"{name}.lock"):
            assert "://" not in path.read_text(), path.name
            assert "index" not in path.read_text(), path.name


def test_an_exchanged_file_is_refused(tmp_path: Path) -> None:
    """It has the right name and version, but another content."""
    pin = locked("requirements")["segno"]
    version = str(pin.requirement.specifier).removeprefix("==")
    (tmp_path / f"segno-{version}-py3-none-any.whl").write_bytes(b"not what was locked")
    entry = re.search(r"^segno==(?:.*\\\n)*.*\n", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert entry is not None
    (tmp_path / "segno.lock").write_text(entry[0])
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--no-deps"]
    options = ["--ignore-installed", "--find-links", str(tmp_path), "-r", str(tmp_path / "segno.lock")]
    environ = {**os.environ, "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    done = subprocess.run([*command, *options], capture_output=True, text=True, env=environ, timeout=60)
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
