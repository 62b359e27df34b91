"""`pip install .` installs the program nodetill, which is the same as manage.py."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from regtest.node import PROJECT

NOT_SOURCES = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "tests", "bench")

COMPLETED = {
    "nodetill pay": "payment",
    "nodetill payment l": "list",
    "nodetill payment list --st": "--status",
    "nodetill payment list --status un": "underpaid",
    "nodetill dem": "demo",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory where the package is installed, away from the sources."""
    directory = tmp_path_factory.mktemp("package")
    shutil.copytree(PROJECT, directory / "sources", ignore=NOT_SOURCES)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    target = directory / "installed"
    subprocess.run([*pip, "--target", target, directory / "sources"], check=True)
    return target


def environ(installed: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(installed), "PATH": f"{installed / 'bin'}:{os.environ['PATH']}"}


def test_pyproject_has_each_module_and_each_requirement() -> None:
    """pyproject.toml lists both by hand."""
    described = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    lines = (PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    needed = [line for line in lines if line and line[0] not in "#-"]
    assert described["project"]["dependencies"] == needed
    modules = sorted(path.stem for path in PROJECT.glob("*.py"))
    assert described["tool"]["setuptools"]["py-modules"] == modules


@pytest.mark.broad
def test_the_program_has_the_same_commands_and_creates_a_database(installed: Path, tmp_path: Path) -> None:
    """The package has the migrations. The usage names the program by the called name."""
    program = installed / "bin" / "nodetill"
    done = subprocess.run(
        [program, "seller", "add", "company1"],
        cwd=tmp_path,
        env=environ(installed),
        capture_output=True,
        check=True,
    )
    assert b"nt_" in done.stdout
    assert (tmp_path / "var" / "nodetill.db").exists()
    usage = subprocess.run(
        [program, "--help"], env=environ(installed), capture_output=True, text=True, check=True
    )
    assert usage.stdout.startswith("Usage: nodetill [OPTIONS] COMMAND")
    assert "demo" in usage.stdout


@pytest.mark.broad
def test_the_package_has_the_files_of_the_web_server(installed: Path, tmp_path: Path) -> None:
    """They are templates, translations and static files."""
    source = "import web.html.templates, web.html.languages, web.app; print(web.app.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", source],
        cwd=tmp_path,
        env=environ(installed),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(str(installed))
    for folder in ("static", "translations", "views"):
        ours = {path.name for path in (PROJECT / "web" / folder).iterdir()}
        assert {path.name for path in (installed / "web" / folder).iterdir()} == ours


@pytest.mark.broad
def test_bash_completes_the_commands(installed: Path, tmp_path: Path) -> None:
    """README has the line that enables it."""
    line = 'eval "$(_NODETILL_COMPLETE=bash_source nodetill)"'
    assert line in (PROJECT / "README.md").read_text(encoding="utf-8")
    script = [line]
    for words in COMPLETED:
        script += [
            f"COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMPREPLY=()",
            "_nodetill_completion nodetill; echo ${COMPREPLY[@]}",
        ]
    command = ["bash", "--norc", "-c", "\n".join(script)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environ(installed), capture_output=True, text=True, check=True
    )
    assert (done.stdout.split(), done.stderr) == (list(COMPLETED.values()), "")
