"""Fixtures that many tests share: databases of both kinds, and bitcoind nodes."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings
from playwright.sync_api import Browser

from regtest.node import RegtestNode, find_bitcoind
from tests.support.browser import open_browser
from tests.support.postgres import PostgresServer

# How long an example takes says how busy the machine is.
settings.register_profile("nodetill", deadline=None)
settings.load_profile("nodetill")

NewDatabase = Callable[[Path], str]

KINDS = {"sqlite": ["sqlite", "postgresql"], "postgresql": ["postgresql"]}[
    os.environ.get("TEST_DATABASE", "sqlite")
]
"""With `make test DATABASE=postgresql` nothing runs on SQLite but what is about SQLite itself."""


@pytest.fixture(scope="session")
def bitcoind() -> list[str]:
    """The command that runs bitcoind."""
    return find_bitcoind()


@pytest.fixture(scope="module")
def start_node(
    bitcoind: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., RegtestNode]]:
    """Starts a bitcoind in a directory of its own, with the options given; they end with the module."""
    with ExitStack() as stack:

        def start(*extra: str) -> RegtestNode:
            datadir = tmp_path_factory.mktemp("bitcoind")
            return stack.enter_context(RegtestNode.start(datadir, bitcoind, extra))

        yield start


@pytest.fixture(scope="module")
def regtest_node(start_node: Callable[..., RegtestNode]) -> RegtestNode:
    """A bitcoind that the tests of a module share; its customer has coins."""
    node = start_node()
    node.fund_customer()
    return node


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """DATABASE_URL of a fresh database: the test runs on each kind."""
    return _makes(request.param, request)(tmp_path)


@pytest.fixture(scope="session")
def new_database(request: pytest.FixtureRequest) -> NewDatabase:
    """Gives the DATABASE_URL of a fresh database, for a test that runs on one kind: the first of KINDS.

    A module that is about SQLite has a fixture of this name that gives `sqlite_in`.
    """
    return _makes(KINDS[0], request)


def sqlite_in(directory: Path) -> str:
    """DATABASE_URL of the SQLite database in this directory."""
    return f"sqlite:///{directory / 'nodetill.db'}"


def _makes(kind: str, request: pytest.FixtureRequest) -> NewDatabase:
    if kind == "sqlite":
        return sqlite_in
    server: PostgresServer = request.getfixturevalue("postgres")
    return lambda _directory: server.new_database()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    with open_browser() as opened:
        yield opened
