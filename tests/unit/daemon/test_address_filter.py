"""The filter in front of the address table spares it foreign scripts, and never hides one of ours."""

import secrets
from collections.abc import Iterable, Iterator

import pytest

from daemon.chain import address_filter as addresses
from daemon.chain.address_filter import Addresses
from models.address import Address, find_scripts
from models.db.connection import disconnect
from models.db.schema import open_database
from payments.transaction import Transaction
from tests.support.rows import fill_pool, script


@pytest.fixture(autouse=True)
def opened(database_url: str) -> Iterator[None]:
    """A migrated database."""
    open_database(database_url)
    yield
    disconnect()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The scripts that the table is asked for."""
    found: list[bytes] = []

    def ask(scripts: Iterable[bytes]) -> tuple[dict[bytes, int], int]:
        batch = list(scripts)
        found.extend(batch)
        return find_scripts(batch)

    monkeypatch.setattr(addresses, "find_scripts", ask)
    return found


def found(watched: Addresses, scripts: Iterable[bytes]) -> dict[bytes, int]:
    """Which of these scripts are ours, paid by one transaction."""
    transaction = Transaction([], [(1, script) for script in scripts])
    return {transaction.outputs[vout][1]: address_id for _, vout, address_id in watched.paid([transaction])}


def ids(numbers: range) -> dict[bytes, int]:
    """The addresses of `fill_pool`, as they must be found."""
    wanted = {script(number) for number in numbers}
    return {row.script: row.id for row in Address.select() if row.script in wanted}


def test_every_script_of_the_table_is_found_whatever_part_of_it_has_been_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Read in pieces: before the first, between two of them, and after the last."""
    monkeypatch.setattr(addresses, "AT_ONCE", 100)
    fill_pool(250)
    watched = Addresses()
    seen = []
    for _ in range(4):
        seen.append(watched.is_read)
        assert found(watched, {script(number) for number in range(300)}) == ids(range(250))
    assert seen == [False, False, False, True]


def test_an_address_is_found_from_the_moment_it_is_in_the_table(asked: list[bytes]) -> None:
    """Whoever put it there: the filter follows the table, and is told nothing."""
    watched = Addresses()
    assert found(watched, {script(0)}) == {}
    assert watched.is_read
    assert asked == []
    fill_pool(1)
    assert found(watched, {script(0)}) == ids(range(1))


def test_the_table_is_asked_for_few_foreign_scripts(asked: list[bytes]) -> None:
    """One in sixteen at most, by chance: of a thousand, never so many as two hundred."""
    fill_pool(100)
    watched = Addresses()
    watched.read_on()
    assert found(watched, {secrets.token_bytes(22) for _ in range(1000)}) == {}
    assert len(asked) < 200


def test_a_filter_that_gets_crowded_is_made_anew_and_larger(
    monkeypatch: pytest.MonkeyPatch, asked: list[bytes]
) -> None:
    """So that a table that has grown a thousandfold since the start is still spared."""
    monkeypatch.setattr(addresses, "SMALLEST", 256)
    watched = Addresses()
    for count in (10, 100, 1000):
        fill_pool(count)
        assert found(watched, {script(number) for number in range(count)}) == ids(range(count))
    while not watched.is_read:
        watched.read_on()
    asked.clear()
    assert found(watched, {secrets.token_bytes(22) for _ in range(1000)}) == {}
    assert len(asked) < 300


def test_an_address_that_is_committed_after_a_younger_one_is_found_with_the_next() -> None:
    """As on PostgreSQL, where a daemon that ends may commit after the one that takes over."""
    fill_pool(10)
    [late] = ids(range(5, 6))
    row = Address.get(Address.script == late).__data__
    Address.delete().where(Address.script == late).execute()
    watched = Addresses()
    assert found(watched, {late}) == {}
    Address.insert(row).execute()
    fill_pool(11)
    assert found(watched, {late}) == ids(range(5, 6))
