"""The units of systemd/: systemd accepts them, and its own measure of exposure is low."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from config import EX_CONFIG
from tests.support.debian_program import CACHE, find_program
from tests.support.needs import cannot_run

ROOT = Path(__file__).parent.parent.parent
UNITS = sorted((ROOT / "systemd").glob("nodetill-*.service"))
BITCOIND = ROOT / "systemd" / "bitcoind.service"
PYTHON = "/opt/nodetill/.venv/bin/python"
PROGRAMS = {**dict.fromkeys(UNITS, PYTHON), BITCOIND: "/usr/local/bin/bitcoind"}
SECRETS = ("BITCOIND_RPC_URL", "SMTP_URL", "OPERATOR_PASSWORD", "DATABASE_URL")


@pytest.fixture(scope="module")
def analyze() -> list[str]:
    """Return the command that runs systemd-analyze. It needs a directory that systemd makes as it boots."""
    if os.geteuid() != 0 and not Path("/run/systemd").is_dir():
        cannot_run("no systemd has booted this machine, and only root can create /run/systemd: run as root")
    return find_program("systemd-analyze", "systemd")


def _run(command: list[str], *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, env={**os.environ, **environ}, timeout=60
    )


def test_systemd_accepts_the_units(analyze: list[str], tmp_path: Path) -> None:
    """Python's path is replaced by this machine's."""
    units = []
    for unit, program in PROGRAMS.items():
        text = unit.read_text()
        assert program in text
        units.append(tmp_path / unit.name)
        units[-1].write_text(text.replace(program, sys.executable))
    fetched = CACHE / "systemd" / "root" / "usr/lib/systemd/system"
    # A fetched systemd has the units that ours need. It refuses the installed units of another version.
    path = {} if len(analyze) == 1 else {"SYSTEMD_UNIT_PATH": f"{tmp_path}:{fetched}"}
    done = _run(analyze, "verify", "--man=no", *map(str, units), **path)
    assert done.returncode == 0, done.stderr
    assert "nodetill" not in done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_the_units_have_a_low_exposure(analyze: list[str], unit: Path) -> None:
    """systemd's own measure is at most 1.5 of 10."""
    done = _run(analyze, "security", "--offline=true", "--threshold=15", "--no-pager", str(unit))
    assert done.returncode == 0, done.stdout
    assert "Overall exposure level" in done.stdout


def test_bitcoinds_unit_has_a_low_exposure(analyze: list[str]) -> None:
    """bitcoind calls the whole internet, so its limit is 4 of 10, above that of the servers."""
    done = _run(analyze, "security", "--offline=true", "--threshold=40", "--no-pager", str(BITCOIND))
    assert done.returncode == 0, done.stdout


def test_the_web_server_gets_no_secret_of_the_daemon() -> None:
    """An attacker in the web server then cannot call bitcoind or send the operator's mail."""
    daemon, web = map(_credentials, UNITS)
    assert daemon == {"bitcoind-rpc-url", "smtp-url", "operator-password"}
    assert web == {"operator-password"}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_no_secret_is_in_a_unit_or_its_environment(unit: Path) -> None:
    """All users can read a unit. systemd passes each secret as a file."""
    for line in unit.read_text().splitlines():
        if line.startswith("Environment="):
            name, _, value = line.removeprefix("Environment=").partition("=")
            assert name not in SECRETS
            assert not name.endswith("_FILE") or value.startswith("%d/")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_each_credential_is_loaded_and_used(unit: Path) -> None:
    """LoadCredential=NAME:… and %d/NAME have the same names."""
    lines = unit.read_text().splitlines()
    assert _credentials(unit) == {line.partition("%d/")[2] for line in lines if "%d/" in line}


def _credentials(unit: Path) -> set[str]:
    prefix = "LoadCredential="
    lines = [line for line in unit.read_text().splitlines() if line.startswith(prefix)]
    return {line.removeprefix(prefix).partition(":")[0] for line in lines}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_server_is_always_restarted_except_with_a_wrong_setting(unit: Path) -> None:
    """systemd's default limit would stop the restarts after five tries in ten seconds."""
    lines = set(unit.read_text().splitlines())
    assert {"Type=notify", "Restart=always", "StartLimitIntervalSec=0"} <= lines
    assert f"RestartPreventExitStatus={EX_CONFIG}" in lines
    assert "WatchdogSec=60" in lines


def _lines(unit: Path) -> set[str]:
    return set(unit.read_text().splitlines())


def test_each_server_has_a_user_of_its_own() -> None:
    """An attacker in one server then cannot read the other's memory or credentials."""
    daemon, web = map(_lines, UNITS)
    assert {"User=nodetill", "Group=nodetill"} <= daemon
    assert {"User=nodetill-web", "Group=nodetill"} <= web
    # At each start systemd changes the owner of a unit's state directory to the unit's user.
    of_both = {"StateDirectory=", "LogsDirectory=", "CacheDirectory=", "ConfigurationDirectory="}
    made = [{line for line in lines if line.startswith(tuple(of_both))} for lines in (daemon, web)]
    assert not made[0] & made[1]
    assert {"StateDirectory=nodetill", "StateDirectoryMode=2770"} <= daemon
    assert "ReadWritePaths=-/var/lib/nodetill" in web


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_memory_and_threads_of_a_server_are_limited(unit: Path) -> None:
    """No core file can have a secret."""
    assert {"MemoryMax=512M", "LimitCORE=0"} <= _lines(unit)
    # The daemon sends at most 300 webhooks at a time, each in a thread.
    assert {"TasksMax=512", "TasksMax=256"} & _lines(unit)
