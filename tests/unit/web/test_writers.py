"""What is written at the same time on SQLite is one commit, and each caller hears what became of its own."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import peewee
import pytest

from models.db.connection import database, disconnect
from models.db.schema import open_database
from models.seller import Seller
from tests.conftest import sqlite_in
from tests.support.rows import new_seller
from tests.support.waiting import wait_until
from web.http.database import Writers

NAMES = ["company1", "company2", "company3"]


class RefusedError(Exception):
    """A work's own."""


@pytest.fixture
def writers(tmp_path: Path) -> Iterator[Writers]:
    """Those of an empty database."""
    open_database(sqlite_in(tmp_path))
    yield Writers()
    disconnect()


@pytest.fixture
def commits(writers: Writers, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One for each commit of the database."""
    seen: list[None] = []
    assert writers
    commit = database.obj.commit
    monkeypatch.setattr(database.obj, "commit", lambda: seen.append(commit()))
    return seen


def carried_out(writers: Writers, *works: Callable[[], object]) -> list["Future[object]"]:
    """What becomes of these when all of them wait for the same turn, in this order."""

    def carry_out(work: Callable[[], object]) -> object:
        try:
            return writers.carry_out(work)
        finally:
            disconnect()

    with ThreadPoolExecutor(len(works)) as threads:
        with writers.transaction():
            outcomes = []
            for work in works:
                outcomes.append(threads.submit(carry_out, work))
                wait_until(lambda: len(writers._waiting) == len(outcomes))
        return outcomes


def adds(name: str) -> Callable[[], object]:
    """Stores a seller; the thread that did."""

    def add() -> int:
        new_seller(name)
        return threading.get_ident()

    return add


def refused() -> None:
    """Writes, and is refused then."""
    new_seller("refused")
    raise RefusedError


def sellers() -> list[str]:
    """Who is stored."""
    return sorted(seller.id for seller in Seller.select())


def test_those_that_wait_for_the_same_turn_are_one_commit(writers: Writers, commits: list[None]) -> None:
    """The first of them writes for all, and each gets its own answer."""
    outcomes = carried_out(writers, *map(adds, NAMES))
    assert len({outcome.result() for outcome in outcomes}) == 1
    assert sellers() == NAMES
    # The other is the one that they waited for.
    assert len(commits) == 2


def test_one_that_is_refused_takes_nothing_from_the_others(writers: Writers) -> None:
    """Nothing that it wrote is left, and it alone hears of it."""
    first, second, third = carried_out(writers, adds("company1"), refused, adds("company3"))
    assert first.result()
    assert third.result()
    with pytest.raises(RefusedError):
        second.result()
    assert sellers() == ["company1", "company3"]


def test_of_two_that_cannot_both_be_the_first_is(writers: Writers) -> None:
    """As with one Idempotency-Key: the database refuses the other."""
    first, second = carried_out(writers, adds("company1"), adds("company1"))
    assert first.result()
    with pytest.raises(peewee.IntegrityError):
        second.result()
    assert sellers() == ["company1"]


def test_trouble_with_the_database_is_told_to_all_at_once(writers: Writers) -> None:
    """None of them is tried again: each would wait for the lock as long as the first did."""
    calls: list[None] = []

    def meet_trouble() -> None:
        calls.append(None)
        raise peewee.OperationalError("database is locked")

    for outcome in carried_out(writers, adds("company1"), meet_trouble):
        with pytest.raises(peewee.OperationalError, match="locked"):
            outcome.result()
    assert len(calls) == 1
    assert sellers() == []


def test_trouble_is_told_to_the_rest_where_one_was_refused_before(writers: Writers) -> None:
    """They are tried again without that one, together."""
    calls: list[None] = []

    def meet_trouble() -> None:
        calls.append(None)
        raise peewee.OperationalError("database is locked")

    first, *others = carried_out(writers, refused, meet_trouble, adds("company1"))
    assert isinstance(first.exception(), RefusedError)
    assert [str(outcome.exception()) for outcome in others] == ["database is locked"] * 2
    assert len(calls) == 1
    assert sellers() == []


def test_those_between_two_that_are_refused_are_one_commit(writers: Writers, commits: list[None]) -> None:
    """As where the pool of addresses runs dry: whoever got one need not wait for the disk alone."""
    works = [adds("company1"), adds("company2"), refused, refused, adds("company3"), refused]
    outcomes = carried_out(writers, *works)
    assert [outcome.exception() is None for outcome in outcomes] == [True, True, False, False, True, False]
    assert sellers() == NAMES
    # The third is the one that they waited for.
    assert len(commits) == 3


def test_one_that_ends_its_thread_leaves_nobody_waiting(writers: Writers) -> None:
    """Not even whoever it was not the thread of."""

    def end() -> None:
        raise SystemExit

    first, second, third = carried_out(writers, adds("company1"), end, adds("company3"))
    assert isinstance(second.exception(), SystemExit)
    assert first.result()
    assert third.result()
    assert sellers() == ["company1", "company3"]


def test_where_the_turn_does_not_come_nothing_is_done_later(
    writers: Writers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that wait for it are told that nothing was used up."""
    monkeypatch.setattr("web.http.database.LOCK_TIMEOUT_SECONDS", 0.01)
    with ThreadPoolExecutor() as threads, writers.transaction():
        outcomes = [threads.submit(writers.carry_out, adds(name)) for name in NAMES]
        assert ["too long" in str(outcome.exception()) for outcome in outcomes] == [True] * 3
    assert writers.carry_out(adds("company4"))
    assert sellers() == ["company4"]
