"""systemd/nodetill, the command of the Debian install, gets the secrets that the units name."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
UNITS = ("nodetill-daemon", "nodetill-web")
SECRETS = "/etc/nodetill/secrets"
# This program stands for setpriv. It prints its directory, its environment and the command that it would run.
SHOW = "import json, os, sys; print(json.dumps([os.getcwd(), dict(os.environ), sys.argv[1:]]))"


class Machine:
    """The files of an installation, in a directory of the test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.units, self.secrets, self.state = (directory / name for name in ("units", "secrets", "state"))
        self.package = directory / "package"
        for folder in (self.units, self.package, self.secrets, self.state, directory / "bin"):
            folder.mkdir()
        for unit in UNITS:
            shutil.copy(ROOT / "systemd" / f"{unit}.service", self.units)
            self._place(self.units / f"{unit}.service")
        script = directory / "nodetill"
        script.write_text((ROOT / "systemd" / "nodetill").read_text())
        self._place(script)
        self.pretend_to_be(0)
        self._program("setpriv", f"exec {sys.executable} -c '{SHOW}' \"$@\"")

    def pretend_to_be(self, uid: int) -> None:
        self._program("id", f"echo {uid}")

    def keep(self, name: str, content: str) -> None:
        """Store a secret."""
        (self.secrets / name).write_text(f"{content}\n")

    def edit(self, unit: str, *lines: str) -> None:
        """Add the lines as systemctl edit does."""
        folder = self.units / f"{unit}.service.d"
        folder.mkdir(exist_ok=True)
        (folder / "override.conf").write_text("\n".join(["[Service]", *lines, ""]))
        self._place(folder / "override.conf")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Call the script with an environment that has nothing but a path."""
        path = f"{self.directory / 'bin'}:/usr/bin:/bin"
        command = ["/bin/sh", str(self.directory / "nodetill"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, env={"PATH": path}, timeout=60)

    def environ(self) -> dict[str, str]:
        """Return the environment that manage.py gets, or fail with the script's error."""
        done = self.run("seller", "list")
        assert done.returncode == 0, done.stderr
        directory, environ, command = json.loads(done.stdout)
        assert directory == str(self.state)
        assert command[-2:] == ["seller", "list"]
        return dict(environ)

    def _place(self, path: Path) -> None:
        text = path.read_text().replace(SECRETS, str(self.secrets))
        for real, place in (
            ("/etc/systemd/system", self.units),
            ("/usr/lib/systemd/system", self.package),
            ("/var/lib/nodetill", self.state),
        ):
            text = text.replace(real, str(place))
        path.write_text(text)

    def _program(self, name: str, line: str) -> None:
        path = self.directory / "bin" / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """An installation with each secret that the units name."""
    machine = Machine(tmp_path)
    for name in _credentials():
        machine.keep(name, f"the {name}")
    return machine


def _credentials() -> dict[str, str]:
    """Return the credentials that the units use, each with the setting whose file it is."""
    lines = [
        line for unit in UNITS for line in (ROOT / "systemd" / f"{unit}.service").read_text().splitlines()
    ]
    named = [line.removeprefix("Environment=").partition("_FILE=%d/") for line in lines if "%d/" in line]
    assert named
    return {credential: variable for variable, _, credential in named}


def test_commands_get_each_secret_that_a_unit_passes_on(machine: Machine) -> None:
    environ = machine.environ()
    for credential, variable in _credentials().items():
        assert environ[variable] == f"the {credential}"


def test_commands_use_the_daemons_database(machine: Machine) -> None:
    """On a PostgreSQL server elsewhere each server has a role of its own."""
    for unit, name in {"nodetill-daemon": "database-url", "nodetill-web": "database-url-web"}.items():
        machine.keep(name, f"postgresql://{name}@db.example.com/nodetill")
        machine.edit(
            unit,
            f"LoadCredential=database-url:{SECRETS}/{name}",
            "Environment=DATABASE_URL_FILE=%d/database-url",
        )
    assert machine.environ()["DATABASE_URL"] == "postgresql://database-url@db.example.com/nodetill"


def test_commands_never_use_the_web_servers_role(machine: Machine) -> None:
    machine.keep("database-url-web", "postgresql://web@db.example.com/nodetill")
    machine.edit(
        "nodetill-web",
        f"LoadCredential=database-url:{SECRETS}/database-url-web",
        "Environment=DATABASE_URL_FILE=%d/database-url",
    )
    assert "DATABASE_URL" not in machine.environ()


def test_a_secret_that_an_edit_adds_is_passed_on(machine: Machine) -> None:
    machine.keep("metrics-token", "0123456789abcdef $HOME `id`")
    machine.edit(
        "nodetill-web",
        f"LoadCredential=metrics-token:{SECRETS}/metrics-token",
        'Environment="METRICS_TOKEN_FILE=%d/metrics-token"',
    )
    assert machine.environ()["METRICS_TOKEN"] == "0123456789abcdef $HOME `id`"


def test_a_missing_secret_is_named(machine: Machine) -> None:
    (machine.secrets / "smtp-url").unlink()
    done = machine.run("doctor")
    assert done.returncode == 1
    needed = f"nodetill-daemon.service needs the file {machine.secrets / 'smtp-url'} for SMTP_URL"
    assert done.stderr == f"nodetill: {needed}, and it is missing\n"


def test_a_missing_unit_is_named(machine: Machine) -> None:
    (machine.units / "nodetill-web.service").unlink()
    done = machine.run("doctor")
    assert (done.returncode, "nodetill-web.service is missing: copy it" in done.stderr) == (1, True)


def test_the_units_of_the_debian_package_are_read(machine: Machine) -> None:
    """The package has its units in /usr. The administrator's edits of them are in /etc."""
    for unit in UNITS:
        (machine.units / f"{unit}.service").rename(machine.package / f"{unit}.service")
    machine.keep("metrics-token", "a token")
    machine.edit(
        "nodetill-web",
        f"LoadCredential=metrics-token:{SECRETS}/metrics-token",
        "Environment=METRICS_TOKEN_FILE=%d/metrics-token",
    )
    environ = machine.environ()
    assert (environ["SMTP_URL"], environ["METRICS_TOKEN"]) == ("the smtp-url", "a token")


def test_only_root_may_run_it(machine: Machine) -> None:
    machine.pretend_to_be(1000)
    done = machine.run("doctor")
    assert (done.returncode, "run this command as root" in done.stderr) == (1, True)
