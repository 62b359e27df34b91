"""The end of a test on a machine that lacks a program or a right."""

import os
from typing import NoReturn

import pytest


def cannot_run(reason: str) -> NoReturn:
    """Skip the test. In CI and in `make check` fail it, because they must run every test."""
    if os.environ.get("CI") or os.environ.get("TEST_COMPLETE"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
