"""A headless Chromium for the tests of pages.

`python -m tests.support.browser` finds or fetches Chromium.
"""

import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.sax.saxutils import escape

from playwright.sync_api import Browser, sync_playwright

from regtest.fetch import FetchError, Report, fetched_root, loader_command, silent
from tests.support.debian_program import CACHE
from tests.support.nodejs import LIBRARIES, node_command

NAMES = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser")
PACKAGE = "chromium-headless-shell"
_ARGUMENTS = [
    "--disable-gpu",
    # Only the tested page uses the network.
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
_FONTS = """\
<?xml version="1.0"?>
<fontconfig><dir>{root}/usr/share/fonts</dir><cachedir>{root}/var/cache/fontconfig</cachedir></fontconfig>
"""


class NoBrowserError(RuntimeError):
    """Chromium is missing; the message has the ways to install it."""


def find_browser(report: Report = silent) -> str:
    """Return $CHROMIUM, or a Chromium on the path, or one that is fetched into `.debian/` without root.

    Call `report` with each step of the fetch. Raise NoBrowserError.
    """
    named = os.environ.get("CHROMIUM")
    if named:
        found = shutil.which(named)
        if found is None:
            raise NoBrowserError(f"CHROMIUM: {named!a} is no program; allowed: the path of Chromium")
        return found
    return _on_path() or _fetched(report)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Run a browser inside the `with` block."""
    program = find_browser()
    name_node()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def name_node() -> None:
    """Name a script to Playwright where its own Node.js cannot start. Raise NoBrowserError."""
    try:
        command = node_command()
    except FetchError as error:
        raise NoBrowserError(f"Playwright's Node.js needs {LIBRARIES}: {error}") from error
    if len(command) > 1 and not os.environ.get("PLAYWRIGHT_NODEJS_PATH"):
        script = CACHE / "node"
        _write_script(script, command)
        os.environ["PLAYWRIGHT_NODEJS_PATH"] = str(script)


def _on_path() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def _fetched(report: Report) -> str:
    """Return a script that runs Debian's headless Chromium. Raise NoBrowserError."""
    try:
        root = fetched_root(PACKAGE, CACHE / PACKAGE, report)
        return str(_write_chromium(root))
    except FetchError as error:
        raise NoBrowserError(
            f"no Chromium found, and none could be fetched ({error}). Install Chromium or Chrome, or set "
            "CHROMIUM to its path"
        ) from error


def _write_chromium(root: Path) -> Path:
    """Write a script that runs Chromium with the fetched libraries and fonts, and return its path."""
    script, fonts, own_loader = root / "chromium", root / "fonts.conf", root / "usr/lib/chromium/loader"
    loader, *options = loader_command(root, root / "usr/lib/chromium" / PACKAGE)
    # Chromium looks for its data beside the program that the kernel has started, which is the loader.
    _replace(own_loader, Path(loader).read_bytes())
    _replace(fonts, _FONTS.format(root=escape(str(root))).encode())
    # Without these two switches, Chromium starts its further processes as the loader alone.
    switches = ["--no-zygote", f"--browser-subprocess-path={script}"]
    _write_script(script, [str(own_loader), *options, *switches], f"FONTCONFIG_FILE={fonts}")
    return script


def _write_script(path: Path, command: list[str], *variables: str) -> None:
    exported = [f"export {shlex.quote(variable)}" for variable in variables]
    _replace(path, "\n".join(["#!/bin/sh", *exported, f'exec {shlex.join(command)} "$@"', ""]).encode())


def _replace(path: Path, content: bytes) -> None:
    """Write an executable file at once, because several processes may do so together."""
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    Path(file.name).chmod(0o755)
    Path(file.name).rename(path)


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        _print(find_browser(_print))
        name_node()
    except NoBrowserError as error:
        sys.exit(f"nodetill: {error}")
