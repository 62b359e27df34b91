"""Fixtures that many tests share: databases of both kinds, and bitcoind nodes."""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from shutil import disk_usage

import pytest
from hypothesis import settings
from playwright.sync_api import Browser

from regtest.node import RegtestNode, find_bitcoind
from tests.support.browser import NoBrowserError, open_browser
from tests.support.needs import cannot_run, examples
from tests.support.postgres import PostgresServer

MEMORY, MIN_FREE_BYTES = Path("/dev/shm"), 4_000_000_000
if (
    MEMORY.is_dir()
    and disk_usage(MEMORY).free > MIN_FREE_BYTES
    and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
):
    # No test is about a power cut, and a disk's fsync takes longer than many a test.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

# The duration of an example depends on the load of the machine, so no deadline applies.
settings.register_profile("nodetill", deadline=None, max_examples=examples(100))
settings.load_profile("nodetill")

NewDatabase = Callable[[Path], str]

TEST_DATABASE = os.environ.get("TEST_DATABASE", "sqlite")
KINDS = {
    "sqlite": ["sqlite", "postgresql"],
    "postgresql": ["postgresql"],
    "sqlite-only": ["sqlite"],
}[TEST_DATABASE]
"""With `make test DATABASE=postgresql`, only the tests of SQLite itself run on SQLite.

`make unit` sets TEST_DATABASE=sqlite-only, so no PostgreSQL server runs.
"""

MARKERS = {"postgres": "postgresql", "browser": "browser", "bitcoind": "bitcoind"}
"""The marker that each of these fixtures gives to the tests that need it."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that need a program which `make unit` does not run.

    A module with the marker `one_database` runs on PostgreSQL only with `make test DATABASE=postgresql`.
    """
    for item in items:
        assert isinstance(item, pytest.Function)
        for fixture, marker in MARKERS.items():
            if fixture in item.fixturenames:
                item.add_marker(marker)
        if hasattr(item, "callspec") and "postgresql" in item.callspec.params.values():
            item.add_marker("postgresql")
    if TEST_DATABASE == "sqlite":
        repeated = [item for item in items if _is_repeated(item)]
        config.hook.pytest_deselected(items=repeated)
        items[:] = [item for item in items if not _is_repeated(item)]


def pytest_collection_finish() -> None:
    """Collect garbage seldom. The modules and the tests stay until the end, and make each collection long."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5000, 20, 100)


def _is_repeated(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    is_on_postgresql = callspec is not None and "postgresql" in callspec.params.values()
    return is_on_postgresql and item.get_closest_marker("one_database") is not None


@pytest.fixture(scope="session")
def bitcoind() -> list[str]:
    """Return the command that runs bitcoind."""
    return find_bitcoind()


@pytest.fixture(scope="module")
def start_node(
    bitcoind: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., RegtestNode]]:
    """Return a function that starts a bitcoind with the given options; each one ends with the module."""
    with ExitStack() as stack:

        def start(*extra: str) -> RegtestNode:
            datadir = tmp_path_factory.mktemp("bitcoind")
            return stack.enter_context(RegtestNode.start(datadir, bitcoind, extra))

        yield start


@pytest.fixture(scope="module")
def regtest_node(start_node: Callable[..., RegtestNode]) -> RegtestNode:
    """Start a bitcoind that the tests of a module share, with coins for the customer."""
    node = start_node()
    node.fund_customer()
    return node


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    assert TEST_DATABASE != "sqlite-only", "this test lacks the marker postgresql"
    with PostgresServer() as server:
        yield server


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Yield the DATABASE_URL of a database without rows; the test runs on each kind.

    A PostgreSQL database has its tables. A SQLite file does not exist yet, and `open_prepared` copies one.
    """
    if request.param == "sqlite":
        yield sqlite_in(tmp_path)
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.prepared_database()
    yield url
    server.drop_database(url)


@pytest.fixture(params=KINDS)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the DATABASE_URL of a database without tables; the test runs on each kind."""
    return _database_maker(request.param, request)(tmp_path)


@pytest.fixture(scope="session")
def new_database(request: pytest.FixtureRequest) -> NewDatabase:
    """Return a function that returns the DATABASE_URL of an empty database of the first of KINDS.

    A module of tests of SQLite overrides this fixture with one that returns `sqlite_in`.
    """
    return _database_maker(KINDS[0], request)


def sqlite_in(directory: Path) -> str:
    """Return the DATABASE_URL of the SQLite database in this directory."""
    return f"sqlite:///{directory / 'nodetill.db'}"


def _database_maker(kind: str, request: pytest.FixtureRequest) -> NewDatabase:
    if kind == "sqlite":
        return sqlite_in
    server: PostgresServer = request.getfixturevalue("postgres")
    return lambda _directory: server.new_database()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start a headless Chromium for the whole session."""
    yield from run_browser()


def run_browser() -> Iterator[Browser]:
    """Yield a browser. Without one, skip the tests that need it, but not in CI and not in `make check`."""
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(open_browser())
        except NoBrowserError as error:
            cannot_run(str(error))
        yield opened
