"""The Debian package and the image give the servers the secrets of the units, and refuse wrong arguments."""

import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
COMPOSE = ROOT / "container" / "compose.yaml"
SERVERS = ("daemon", "web")
MAX_COMPOSE_LINES = 40


def _secrets_of_unit(server: str) -> dict[str, str]:
    """Return the settings that the unit reads from files, with the name of each credential."""
    unit = (ROOT / "systemd" / f"nodetill-{server}.service").read_text()
    return dict(re.findall(r"(?m)^Environment=(\w+_FILE)=%d/(\S+)$", unit))


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load(COMPOSE.read_text()))


@pytest.mark.parametrize("server", SERVERS)
def test_a_container_gets_the_secrets_of_the_unit(compose: dict[str, Any], server: str) -> None:
    """The web server has neither bitcoind's password nor the mail server's."""
    service, expected = compose["services"][server], _secrets_of_unit(server)
    assert service["command"] == server
    assert service["environment"] == {name: f"/run/secrets/{file}" for name, file in expected.items()}
    assert set(service["secrets"]) == set(expected.values()) <= set(compose["secrets"])


@pytest.mark.parametrize("server", SERVERS)
def test_a_container_has_few_rights(compose: dict[str, Any], server: str) -> None:
    service = compose["services"][server]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not any(port.startswith(("0.", "8")) for port in service.get("ports", []))


def test_the_compose_file_is_short() -> None:
    assert len(COMPOSE.read_text().splitlines()) <= MAX_COMPOSE_LINES


def test_the_debian_package_makes_each_secret_of_the_units() -> None:
    """systemd starts no server that lacks one."""
    made = set(re.findall(r"^secret (\S+) ", (ROOT / "debian" / "postinst").read_text(), re.MULTILINE))
    assert made == set().union(*(_secrets_of_unit(server).values() for server in SERVERS))


def test_the_debian_package_has_each_python_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["packages"]["find"]["include"]
    (parts,) = re.findall(r'(?m)^PARTS="(.*)"$', (ROOT / "debian" / "build").read_text())
    assert parts.split() == [pattern.rstrip("*") for pattern in patterns]


@pytest.mark.parametrize(
    ("arch", "version", "sentence"),
    [
        ("riscv64", "1.0", "nodetill: DEB_ARCH: there is no package for riscv64; allowed: amd64 or arm64\n"),
        ("amd64", "first", "nodetill: DEB_VERSION: first is no version of a Debian package\n"),
    ],
)
def test_the_build_refuses_a_wrong_argument(tmp_path: Path, arch: str, version: str, sentence: str) -> None:
    """It leaves no file."""
    program = tmp_path / "bin" / "dpkg"
    program.parent.mkdir()
    # The rule of dpkg --validate-version that this test needs, for machines that are not Debian.
    program.write_text("#!/bin/sh\nexpr \"$2\" : '[0-9]' > /dev/null\n")
    program.chmod(0o755)
    done = subprocess.run(
        [ROOT / "debian" / "build", arch, version, tmp_path / "output"],
        capture_output=True,
        text=True,
        env={"PATH": f"{program.parent}:{os.environ['PATH']}"},
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (1, sentence)
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize(
    "script",
    ["debian/build", "debian/postinst", "debian/prerm", "debian/postrm", "container/build", "container/base"],
)
def test_each_script_is_whole(script: str) -> None:
    done = subprocess.run(["sh", "-n", ROOT / script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
