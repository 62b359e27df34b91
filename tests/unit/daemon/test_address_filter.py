"""The filter before the address table skips foreign scripts, and never hides one of our scripts."""

import secrets
from collections.abc import Iterable, Iterator

import pytest

from daemon.chain import address_filter as addresses
from daemon.chain.address_filter import Addresses
from models.address import Address, find_scripts
from models.db.connection import disconnect
from payments.transaction import Transaction
from tests.support.prepared_database import open_prepared
from tests.support.rows import fill_pool, script


@pytest.fixture(autouse=True)
def opened(database_url: str) -> Iterator[None]:
    """Open a migrated database."""
    open_prepared(database_url)
    yield
    disconnect()


@pytest.fixture
def queried(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return the list of scripts that the daemon looks up in the table."""
    find_ours: list[bytes] = []

    def record(scripts: Iterable[bytes]) -> tuple[dict[bytes, int], int]:
        batch = list(scripts)
        find_ours.extend(batch)
        return find_scripts(batch)

    monkeypatch.setattr(addresses, "find_scripts", record)
    return find_ours


def find_ours(watched: Addresses, scripts: Iterable[bytes]) -> dict[bytes, int]:
    """Return those of these scripts that are ours, by the id of their address."""
    transaction = Transaction([], [(1, script) for script in scripts])
    return {transaction.outputs[vout][1]: address_id for _, vout, address_id in watched.paid([transaction])}


def pool_ids(numbers: range) -> dict[bytes, int]:
    """Return the addresses of `fill_pool` as `find_ours` must return them."""
    wanted = {script(number) for number in numbers}
    return {row.script: row.id for row in Address.select() if row.script in wanted}


def test_each_script_is_found_while_the_filter_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The filter is read in batches: before the first, between two, and after the last."""
    monkeypatch.setattr(addresses, "AT_ONCE", 100)
    fill_pool(250)
    watched = Addresses()
    seen = []
    for _ in range(4):
        seen.append(watched.is_read)
        assert find_ours(watched, {script(number) for number in range(300)}) == pool_ids(range(250))
    assert seen == [False, False, False, True]


def test_a_new_address_is_found_at_once(queried: list[bytes]) -> None:
    """The filter follows the table, so no caller has to report a new address."""
    watched = Addresses()
    assert find_ours(watched, {script(0)}) == {}
    assert watched.is_read
    assert queried == []
    fill_pool(1)
    assert find_ours(watched, {script(0)}) == pool_ids(range(1))


def test_few_foreign_scripts_are_looked_up_in_the_table(queried: list[bytes]) -> None:
    """At most one in sixteen passes the filter by chance, so of a thousand never as many as two hundred."""
    fill_pool(100)
    watched = Addresses()
    watched.read_on()
    assert find_ours(watched, {secrets.token_bytes(22) for _ in range(1000)}) == {}
    assert len(queried) < 200


def test_a_full_filter_is_replaced_by_a_larger_one(
    monkeypatch: pytest.MonkeyPatch, queried: list[bytes]
) -> None:
    """The filter must still skip foreign scripts after the table has grown a thousandfold."""
    monkeypatch.setattr(addresses, "SMALLEST", 256)
    watched = Addresses()
    for count in (10, 100, 1000):
        fill_pool(count)
        assert find_ours(watched, {script(number) for number in range(count)}) == pool_ids(range(count))
    while not watched.is_read:
        watched.read_on()
    queried.clear()
    assert find_ours(watched, {secrets.token_bytes(22) for _ in range(1000)}) == {}
    assert len(queried) < 300


def test_an_address_committed_after_a_younger_one_is_found_later() -> None:
    """On PostgreSQL a daemon that ends may commit after the daemon that takes over."""
    fill_pool(10)
    [late] = pool_ids(range(5, 6))
    row = Address.get(Address.script == late).__data__
    Address.delete().where(Address.script == late).execute()
    watched = Addresses()
    assert find_ours(watched, {late}) == {}
    Address.insert(row).execute()
    fill_pool(11)
    assert find_ours(watched, {late}) == pool_ids(range(5, 6))
