"""The watchlist finds each output that pays an address of the table, and nothing else."""

import secrets
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from daemon.chain.watchlist import PaidOutput, PayingTransaction, Watchlist
from models.address import Address
from models.db.connection import disconnect
from payments.transaction import Transaction
from tests.support.prepared_database import open_prepared
from tests.support.rows import fill_pool, new_output, new_payment, script

VALUES: dict[str, dict[str, Any]] = {
    "mined": {"block_hash": "cd" * 32, "block_height": 1},
    "replaced": {"replaced_by": "ef" * 32},
}
"""The further values of an output in these states."""


@pytest.fixture(autouse=True)
def opened(database_url: str) -> Iterator[None]:
    """Open a migrated database."""
    open_prepared(database_url)
    yield
    disconnect()


def paying(*scripts: bytes, amount_sats: int = 1) -> Transaction:
    return Transaction([], [(amount_sats, script) for script in scripts])


def pool_ids(numbers: Iterable[int]) -> list[int]:
    """Return the ids of the addresses of `fill_pool`."""
    by_script = {row.script: row.id for row in Address.select()}
    return [by_script[script(number)] for number in numbers]


def test_transactions_without_an_output_of_ours_match_nothing() -> None:
    fill_pool(10)
    assert Watchlist().matches([]) == []
    assert Watchlist().matches([paying(), paying(*(secrets.token_bytes(22) for _ in range(3000)))]) == []


def test_each_output_of_ours_is_found_among_many() -> None:
    """The scripts of one look need several statements."""
    fill_pool(3000)
    transactions = [paying(secrets.token_bytes(22), script(number)) for number in range(3000)]
    found = Watchlist().matches(transactions)
    ids = pool_ids(range(3000))
    assert found == [
        PayingTransaction(transaction, (PaidOutput(1, 1, address_id),))
        for transaction, address_id in zip(transactions, ids, strict=True)
    ]


def test_all_outputs_of_ours_in_a_transaction_are_found_in_their_order() -> None:
    fill_pool(2)
    first, second = pool_ids(range(2))
    transaction = paying(script(1), secrets.token_bytes(22), script(0), script(1))
    [match] = Watchlist().matches([transaction])
    assert match.outputs == (PaidOutput(0, 1, second), PaidOutput(2, 1, first), PaidOutput(3, 1, second))


def test_an_output_of_0_satoshis_pays_nothing() -> None:
    fill_pool(1)
    assert Watchlist().matches([paying(script(0), amount_sats=0)]) == []


def test_an_address_is_found_from_its_commit_on() -> None:
    """On PostgreSQL an address with a lower id may be committed later."""
    fill_pool(10)
    [late] = pool_ids([5])
    row = Address.get_by_id(late).__data__
    Address.delete().where(Address.id == late).execute()
    watch = Watchlist()
    assert watch.matches([paying(script(5))]) == []
    Address.insert(row).execute()
    assert [match.outputs for match in watch.matches([paying(script(5))])] == [(PaidOutput(0, 1, late),)]


@pytest.mark.parametrize(
    ("states", "is_new", "is_live"),
    [
        ((None, None), True, False),
        (("mempool", None), True, False),
        (("mempool", "mined"), False, True),
        (("mempool", "replaced"), False, False),
        (("dropped", "dropped"), False, False),
    ],
)
def test_a_match_has_the_recorded_outputs(
    states: tuple[str | None, ...], is_new: bool, is_live: bool
) -> None:
    """A transaction is looked at again unless all of its outputs are live."""
    transaction = paying(*(script(number) for number in range(len(states))))
    for vout, state in enumerate(states):
        payment = new_payment(vout)
        if state is not None:
            new_output(payment, txid=transaction.txid, vout=vout, state=state, **VALUES.get(state, {}))
    [match] = Watchlist().matches([transaction])
    assert set(match.recorded) == {vout for vout, state in enumerate(states) if state}
    assert (match.is_new, match.is_live) == (is_new, is_live)
