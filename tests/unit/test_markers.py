"""The markers that tests/conftest.py gives to tests, by which `make unit` leaves some out."""

import os

import pytest

from tests.conftest import MARKERS


def markers(item: pytest.Item) -> set[str]:
    return {marker.name for marker in item.iter_markers()}


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_test_on_postgresql_is_marked(kind: str, request: pytest.FixtureRequest) -> None:
    """Its parameter names the kind of database. `make unit` leaves the second one out."""
    assert ("postgresql" in markers(request.node)) == (kind == "postgresql")
    assert kind == "sqlite" or os.environ.get("TEST_DATABASE") != "sqlite-only"


def test_a_test_with_a_fixture_has_its_marker(request: pytest.FixtureRequest) -> None:
    """Only tests that need a program have its marker, so `make unit` runs all others."""
    for item in request.session.items:
        assert isinstance(item, pytest.Function)
        needed = {MARKERS[name] for name in MARKERS if name in item.fixturenames}
        assert needed <= markers(item)
        if (
            not needed
            and not hasattr(item, "callspec")
            and item.module.__name__.startswith("tests.unit.web.")
        ):
            assert not markers(item) & set(MARKERS.values())
