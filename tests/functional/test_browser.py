"""The search for a browser for the tests, and its advice where there is none."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import run_browser
from tests.support import browser, needs, nodejs
from tests.support.browser import PACKAGE, NoBrowserError, find_browser, name_node


def test_the_browser_of_the_variable_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """CHROMIUM must name a program."""
    chromium = tmp_path / "chromium"
    monkeypatch.setenv("CHROMIUM", str(chromium))
    with pytest.raises(NoBrowserError, match="is no program"):
        find_browser()
    chromium.touch(mode=0o700)
    assert find_browser() == str(chromium)


LOADER = """\
#!/bin/sh
printf '%s\\n' "$FONTCONFIG_FILE" "$@"
"""


def test_debian_s_chromium_runs_with_the_fetched_libraries(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The script names the libraries and fonts, and itself for Chromium's further processes."""
    root = tmp_path / "with a space" / "root"
    files = (
        "lib/arm-linux-gnu/ld-linux-arm.so.1",
        f"lib/chromium/{PACKAGE}",
        "lib/arm-linux-gnu/pulseaudio/a",
    )
    for name in files:
        (root / "usr" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "usr" / name).write_text(LOADER)
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(browser, "NAMES", ())
    monkeypatch.setattr(browser, "fetched_root", lambda *_: root)
    script = find_browser()
    assert find_browser() == script, "a second call writes the same files"
    printed = subprocess.run([script, "--headless", "two words"], capture_output=True, text=True, check=True)
    libraries = root / "usr/lib/arm-linux-gnu"
    assert printed.stdout.splitlines() == [
        str(root / "fonts.conf"),
        "--library-path",
        f"{libraries}:{libraries}/pulseaudio",
        str(root / "usr/lib/chromium" / PACKAGE),
        "--no-zygote",
        f"--browser-subprocess-path={script}",
        "--headless",
        "two words",
    ]
    assert str(root) in (root / "fonts.conf").read_text()
    # Chromium's data is in this directory.
    assert (root / "usr/lib/chromium/loader").read_text() == LOADER
    assert {path.name for path in root.iterdir()} == {"usr", "chromium", "fonts.conf"}


def test_node_js_runs_with_the_fetched_libraries_where_the_system_lacks_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Playwright reads the name of the script from its variable."""
    loader = tmp_path / "root/usr/lib/ld-linux-arm.so.1"
    loader.parent.mkdir(parents=True)
    loader.write_text(LOADER)
    loader.chmod(0o700)
    node = tmp_path / "node-without-libatomic"
    node.write_text("#!/bin/sh\nexit 127\n")
    node.chmod(0o700)
    monkeypatch.setattr(nodejs, "NODE", node)
    monkeypatch.setattr(nodejs, "fetched_root", lambda *_: tmp_path / "root")
    monkeypatch.setattr(browser, "CACHE", tmp_path)
    monkeypatch.setenv("PLAYWRIGHT_NODEJS_PATH", "")
    name_node()
    command = [os.environ["PLAYWRIGHT_NODEJS_PATH"], "cli.js"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[1:] == ["--library-path", "", str(node), "cli.js"]


@pytest.fixture
def without_chromium(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine that is not Debian, and has no Chromium."""
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(browser, "CACHE", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("without_chromium")
def test_a_machine_without_a_browser_names_the_cure() -> None:
    with pytest.raises(
        NoBrowserError, match=r"this is not Debian.*Install Chromium or Chrome, or set CHROMIUM to"
    ):
        find_browser()


@pytest.mark.usefixtures("without_chromium")
@pytest.mark.parametrize("is_complete", [True, False])
def test_a_test_without_its_browser_is_skipped_but_not_in_ci(
    is_complete: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(needs, "IS_COMPLETE", is_complete)
    outcome = pytest.fail if is_complete else pytest.skip
    with pytest.raises(outcome.Exception, match="set CHROMIUM"):
        next(run_browser())
