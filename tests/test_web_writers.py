"""What is written at the same time on SQLite is one commit, and each caller hears what became of its own."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import peewee
import pytest

from models.database import database, disconnect
from models.schema import open_database
from models.seller import Seller
from tests.conftest import sqlite_in
from tests.rows import new_seller
from tests.waiting import wait_until
from web.database import Writers

NAMES = ["company1", "company2", "company3"]


class RefusedError(Exception):
    """A work's own."""


@pytest.fixture
def writers(tmp_path: Path) -> Iterator[Writers]:
    """Those of an empty database."""
    open_database(sqlite_in(tmp_path))
    yield Writers()
    disconnect()


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


def test_those_that_wait_for_the_same_turn_are_one_commit(writers: Writers) -> None:
    """The first of them to come to its turn writes for all, and each gets its own answer."""
    commits: list[None] = []
    commit = database.obj.commit
    database.obj.commit = lambda: commits.append(commit())
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


def test_one_that_has_given_up_is_not_done_later(writers: Writers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its caller was told that nothing was used up."""
    monkeypatch.setattr("web.database.LOCK_TIMEOUT_SECONDS", 0.01)
    with writers.transaction(), ThreadPoolExecutor() as threads:
        outcome = threads.submit(writers.carry_out, adds("company1"))
        assert "too long" in str(outcome.exception())
    assert writers.carry_out(adds("company2"))
    assert sellers() == ["company2"]


def test_one_that_is_being_done_when_its_caller_would_give_up_is_answered_truly(writers: Writers) -> None:
    """It is too late to take it back: the caller waits for what becomes of it."""
    is_begun, may_go_on = threading.Event(), threading.Event()

    class Turn:
        """Nobody's for as long as its caller waits, who gives up when the others are at work."""

        def acquire(self, timeout: float) -> bool:
            assert is_begun.wait(timeout)
            return False

    def slow() -> None:
        is_begun.set()
        may_go_on.wait(30)

    impatient = Writers()
    vars(impatient).update(_turn=Turn(), _waiting=writers._waiting)
    with ThreadPoolExecutor(2) as threads:
        with writers.transaction():
            leader = threads.submit(writers.carry_out, slow)
            wait_until(lambda: len(writers._waiting) == 1)
            follower = threads.submit(impatient.carry_out, adds("company1"))
            wait_until(lambda: len(writers._waiting) == 2)
        assert is_begun.wait(30)
        may_go_on.set()
        leader.result()
        assert follower.result()
    assert sellers() == ["company1"]
