"""A machine without a browser is told what to do."""

import os
from pathlib import Path

import pytest

from tests.support.browser import NoBrowserError, find_browser


def test_the_one_that_is_named_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Or none, where that is no program."""
    chromium = tmp_path / "chromium"
    monkeypatch.setenv("CHROMIUM", str(chromium))
    with pytest.raises(NoBrowserError, match="is no program"):
        find_browser()
    chromium.touch(mode=0o700)
    assert find_browser() == str(chromium)


def test_without_root_nothing_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What to install is said instead."""
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NoBrowserError, match="apt install chromium"):
        find_browser()
