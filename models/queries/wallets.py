"""Figures of the wallets. The queries read no descriptor, because the web server may not read it."""

from collections.abc import Iterator
from dataclasses import dataclass

from models.address import FREE
from models.db.connection import execute, statement
from models.wallet import BITCOIND

NEWEST = 5_000
"""The addresses of a wallet that the operator's page reads for its gap, because it is loaded often."""

_IN_USE = """SELECT w.name, (
    SELECT count(*) FROM address a
    WHERE a.wallet_id = w.id AND a.claimed_at IS NULL AND a.held_at IS NULL
) FROM wallet w
WHERE w.is_default OR w.id IN (
    SELECT s.wallet_id FROM seller s WHERE s.wallet_id IS NOT NULL AND s.removed_at IS NULL
) ORDER BY w.id"""

_IS_PAID = """EXISTS (
    SELECT 1 FROM output o WHERE o.address_id = a.id AND o.state IN ('mempool', 'mined')
)"""

_NEWEST_INDEX = """SELECT a.derivation_index FROM address a
    WHERE a.wallet_id = ? AND a.derivation_index IS NOT NULL AND {condition}
    ORDER BY a.derivation_index DESC LIMIT 1"""

# The first and the last row stand for the paid neighbours of the addresses.
_GAP = statement(
    """SELECT max(i - previous) - 1 FROM (
    SELECT i, lag(i) OVER (ORDER BY i) AS previous FROM (
        SELECT a.derivation_index AS i FROM address a
        WHERE a.wallet_id = ? AND a.derivation_index >= ? AND {is_paid}
        UNION SELECT CAST(? AS BIGINT) UNION SELECT CAST(? AS BIGINT)
    ) AS paid
) AS runs""",
    is_paid=_IS_PAID,
)

_LABELS = """SELECT a.address, p.reference, p.label, p.order_id, p.note, p.id FROM address a
    JOIN payment_request p ON p.address_id = a.id
    WHERE a.wallet_id = ? AND p.id > ? ORDER BY p.id LIMIT ?"""

BATCH_SIZE = 1000


@dataclass(frozen=True, slots=True)
class WalletFigures:
    """A wallet with its indexes, which are None for bitcoind's wallet, because bitcoind alone has them.

    `gap` is the longest run of addresses that were assigned and are not paid.
    """

    name: str
    address_type: str | None
    is_default: bool
    is_used: bool
    free: int
    next_index: int | None
    last_paid_index: int | None
    gap: int | None


@dataclass(frozen=True, slots=True)
class PaidAddress:
    """An address with its request, and the transactions that pay it."""

    address: str
    reference: str
    label: str | None
    order_id: str | None
    note: str
    txids: tuple[str, ...]


def free_addresses() -> dict[str, int]:
    """Return the number of free addresses of each wallet in use, by its name."""
    return {name: int(count) for name, count in execute(_IN_USE).fetchall()}


def wallet_figures(newest: int | None = None) -> list[WalletFigures]:
    """Return all wallets. With `newest`, only so many of the newest addresses count for the gap."""
    query = "SELECT id, name, address_type, is_default, start_index, next_index FROM wallet ORDER BY id"
    free = free_addresses()
    return [
        WalletFigures(
            name,
            address_type,
            bool(is_default),
            name in free,
            free[name] if name in free else _free_count(wallet_id),
            None if wallet_id == BITCOIND else _next_index(wallet_id, next_index),
            None if wallet_id == BITCOIND else _newest_index(wallet_id, _IS_PAID),
            None if wallet_id == BITCOIND else _gap(wallet_id, start_index, newest),
        )
        for wallet_id, name, address_type, is_default, start_index, next_index in execute(query).fetchall()
    ]


def paid_addresses(wallet_id: int) -> Iterator[PaidAddress]:
    """Yield the addresses of a wallet that have a request, in the order of the requests."""
    after = 0
    while rows := execute(_LABELS, wallet_id, after, BATCH_SIZE).fetchall():
        for address, reference, label, order_id, note, after in rows:
            yield PaidAddress(address, reference, label, order_id, note, _txids(after))


def _txids(payment_id: int) -> tuple[str, ...]:
    query = """SELECT DISTINCT o.txid FROM output o JOIN payment_request p ON p.address_id = o.address_id
        WHERE p.id = ? AND o.state IN ('mempool', 'mined') ORDER BY o.txid"""
    return tuple(txid for (txid,) in execute(query, payment_id).fetchall())


def _free_count(wallet_id: int) -> int:
    query = statement("SELECT count(*) FROM address WHERE wallet_id = ? AND {free}", free=FREE)
    return int(execute(query, wallet_id).fetchone()[0])


def _next_index(wallet_id: int, next_index: int) -> int:
    """Return the index of the next address that a request gets."""
    query = statement("SELECT min(derivation_index) FROM address WHERE wallet_id = ? AND {free}", free=FREE)
    (first_free,) = execute(query, wallet_id).fetchone()
    return int(next_index if first_free is None else first_free)


def _newest_index(wallet_id: int, condition: str) -> int | None:
    query = statement(_NEWEST_INDEX, condition=condition)
    row = execute(query, wallet_id).fetchone()
    return None if row is None else int(row[0])


def _gap(wallet_id: int, start_index: int, newest: int | None) -> int:
    last = _newest_index(wallet_id, "a.claimed_at IS NOT NULL")
    if last is None:
        return 0
    first = start_index if newest is None else max(start_index, last - newest + 1)
    parameters = (wallet_id, first, first - 1, last + 1)
    return int(execute(_GAP, *parameters).fetchone()[0])
