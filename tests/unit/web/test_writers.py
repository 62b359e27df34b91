"""The web server writes one transaction at a time on SQLite, and completely or not at all."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import peewee
import pytest

from models.db.connection import disconnect
from models.seller import Seller
from tests.conftest import sqlite_in
from tests.support.prepared_database import open_prepared
from tests.support.rows import new_seller
from web.http.database import Writers

NAMES = [f"company{number}" for number in range(1, 9)]


class RefusedError(Exception):
    """An error of the block itself."""


@pytest.fixture
def writers(tmp_path: Path) -> Iterator[Writers]:
    """Open an empty database."""
    open_prepared(sqlite_in(tmp_path))
    yield Writers()
    disconnect()


def test_threads_write_one_after_the_other(writers: Writers) -> None:
    """Each waits for its turn, and none is refused."""

    def add(name: str) -> None:
        with writers.transaction():
            new_seller(name)
        disconnect()

    with ThreadPoolExecutor(len(NAMES)) as threads:
        list(threads.map(add, NAMES))
    assert sorted(seller.id for seller in Seller.select()) == NAMES


def test_a_failed_block_writes_nothing(writers: Writers) -> None:
    """The next transaction works."""

    def add_and_fail() -> None:
        with writers.transaction():
            new_seller("company1")
            raise RefusedError

    with pytest.raises(RefusedError):
        add_and_fail()
    with writers.transaction():
        new_seller("company2")
    assert [seller.id for seller in Seller.select()] == ["company2"]


def test_a_writer_that_waits_too_long_is_refused(writers: Writers, monkeypatch: pytest.MonkeyPatch) -> None:
    """It must not wait without end for another writer."""
    monkeypatch.setattr("web.http.database.LOCK_TIMEOUT_SECONDS", 0.01)

    def add() -> None:
        with writers.transaction():
            new_seller("company2")

    with ThreadPoolExecutor() as threads, writers.transaction():
        new_seller("company1")
        with pytest.raises(peewee.OperationalError, match="take too long"):
            threads.submit(add).result()
    assert [seller.id for seller in Seller.select()] == ["company1"]
