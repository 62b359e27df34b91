"""The search for a browser for the tests, and its advice where there is none."""

import os
from pathlib import Path

import pytest

from tests.support.browser import NoBrowserError, find_browser


def test_the_browser_of_the_variable_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """CHROMIUM must name a program."""
    chromium = tmp_path / "chromium"
    monkeypatch.setenv("CHROMIUM", str(chromium))
    with pytest.raises(NoBrowserError, match="is no program"):
        find_browser()
    chromium.touch(mode=0o700)
    assert find_browser() == str(chromium)


def test_without_root_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without root, the search installs no package."""
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NoBrowserError, match="apt install chromium"):
        find_browser()
