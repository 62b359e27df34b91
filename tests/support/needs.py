"""Which tests run: the end of a test that cannot run here, and the cases that `make test` leaves out."""

import os
from collections.abc import Iterable
from typing import NoReturn

import pytest

IS_COMPLETE = bool(os.environ.get("CI") or os.environ.get("TEST_COMPLETE"))
"""CI and `make check` run every test, with all examples."""


def cannot_run(reason: str) -> NoReturn:
    """Skip the test. In CI and in `make check` fail it, because they must run every test."""
    if IS_COMPLETE:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def cases(values: Iterable[str], often: Iterable[str]) -> list[object]:
    """Return the parameters of a test with many similar cases. `make test` runs those in `often` alone."""
    few = set(often)
    return [value if value in few else pytest.param(value, marks=pytest.mark.broad) for value in values]


def examples(complete: int) -> int:
    """Return how many random examples a test tries: `complete` in `make check`, and a fifth in `make test`.

    Each run draws other examples.
    """
    return complete if IS_COMPLETE else complete // 5
