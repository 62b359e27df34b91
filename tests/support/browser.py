"""A headless Chromium for the tests of pages.

`python -m tests.support.browser` finds or installs Chromium.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from regtest.fetch import SIGNED_ALONE

NAMES = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser")
_INSTALL_SECONDS = 600
_ARGUMENTS = [
    "--disable-gpu",
    # Only the tested page uses the network.
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


class NoBrowserError(RuntimeError):
    """Chromium is missing; the message has the ways to install it."""


def find_browser() -> str:
    """Return $CHROMIUM, or a Chromium on the path, or one that apt installs for root.

    Raises NoBrowserError.
    """
    named = os.environ.get("CHROMIUM")
    if named:
        found = shutil.which(named)
        if found is None:
            raise NoBrowserError(f"CHROMIUM: {named!a} is no program; allowed: the path of Chromium")
        return found
    return _on_path() or _installed()


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Run a browser inside the `with` block."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def _on_path() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def _installed() -> str:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise NoBrowserError(
            "no Chromium found: install it (on Debian: apt install chromium), or set CHROMIUM to the path of "
            "Chromium or Chrome"
        )
    # Wait for another apt that holds the lock.
    settings = {**SIGNED_ALONE, "DPkg::Lock::Timeout": "300"}
    apt = ["apt-get", "-q", *(f"-o{name}={value}" for name, value in settings.items())]
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
        try:
            subprocess.run(
                [*apt, *command], check=True, capture_output=True, env=environ, timeout=_INSTALL_SECONDS
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            words = (error.stderr or b"").decode(errors="replace").strip().splitlines()
            raise NoBrowserError(f"apt-get {command[0]} failed: {words[-1] if words else error}") from error
    found = _on_path()
    if found is None:
        raise NoBrowserError("apt-get has installed no Chromium")
    return found


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{find_browser()}\n")
    except NoBrowserError as error:
        sys.exit(f"nodetill: {error}")
