"""The command that texts name is the one that starts this installation's manage.py."""

import subprocess
from pathlib import Path

import pytest

from config.command import command_of

ROOT = Path(__file__).parents[3]


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A directory of a PATH, with the program of systemd/ as docs/install.md installs it."""
    directory = tmp_path / "bin"
    directory.mkdir()
    program = directory / "nodetill"
    program.write_text((ROOT / "systemd" / "nodetill").read_text())
    program.chmod(0o755)
    return directory


def test_the_installed_program_is_named(programs: Path) -> None:
    """docs/install.md installs it."""
    python = Path("/opt/nodetill/.venv/bin/python")
    assert command_of(Path("/opt/nodetill"), python, Path("/var/lib/nodetill"), str(programs)) == "nodetill"


def test_the_program_of_a_container_is_named(tmp_path: Path) -> None:
    """An image has it as `manage`."""
    program = tmp_path / "manage"
    program.write_text((ROOT / "container" / "manage").read_text())
    program.chmod(0o755)
    root = Path("/usr/lib/nodetill")
    assert command_of(root, root / ".venv/bin/python", Path("/var/lib/nodetill"), str(tmp_path)) == "manage"


def test_the_program_of_another_copy_is_not_named(programs: Path) -> None:
    """It would work on another database."""
    root = Path("/home/me/nodetill")
    assert command_of(root, root / ".venv/bin/python", root, str(programs)) == ".venv/bin/python manage.py"


def test_a_checkout_is_called_by_its_python(tmp_path: Path) -> None:
    """Relative paths where the server was started in the checkout, else whole paths."""
    root = tmp_path / "a checkout"
    python = root / ".venv" / "bin" / "python"
    assert command_of(root, python, root, "") == ".venv/bin/python manage.py"
    assert command_of(root, python, tmp_path, "") == f"'{python}' '{root}/manage.py'"
    assert command_of(root, Path("/usr/bin/python3"), root, "") == f"/usr/bin/python3 '{root}/manage.py'"


def test_a_package_is_called_by_pip_s_program() -> None:
    """pip has put it beside the Python."""
    root = Path("/srv/till/lib/python3.13/site-packages")
    assert command_of(root, Path("/srv/till/bin/python"), Path("/"), "") == "/srv/till/bin/nodetill"


def test_the_command_of_this_checkout_works() -> None:
    """A shell runs it."""
    command = command_of(ROOT, ROOT / ".venv" / "bin" / "python", ROOT, "")
    done = subprocess.run(
        f"{command} payment accept --help", shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "payment accept" in done.stdout
