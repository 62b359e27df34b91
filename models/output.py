"""The outputs that pay our addresses, and the outpoints on which their unconfirmed transactions depend."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import ClassVar

import peewee

from models.address import Address
from models.db.connection import (
    BytesField,
    Table,
    UtcDateTimeField,
    chunked,
    execute,
    fetch_all,
    statement,
)
from models.payment import ANY_HEIGHT
from payments.status import CLOSING_DEPTH, ReceivedOutput

_OUTPOINTS_A_PAGE = 1000

MEMPOOL, MINED, REPLACED, DROPPED = "mempool", "mined", "replaced", "dropped"


class Output(Table):
    """A transaction output to one of our addresses, in its last state at bitcoind.

    `replaced_by` is the conflicting transaction. `replaced_in` is the block of the active chain that contains
    the conflicting transaction, or None while that transaction is in the mempool. `present_since` is the
    start of the output's current presence without a gap. `gone_since` is the time at which an assessment
    found the output gone. It is None while the output is live, and while its absence has had no effect yet.
    """

    address_id: int
    id = peewee.BigAutoField()
    address = peewee.ForeignKeyField(Address, on_delete="RESTRICT")
    txid = peewee.CharField(max_length=64)
    vout = peewee.BigIntegerField()
    amount_sats = peewee.BigIntegerField()
    first_seen_at = UtcDateTimeField()
    present_since = UtcDateTimeField()
    gone_since = UtcDateTimeField(null=True)
    is_coinbase = peewee.BooleanField(default=False)
    state = peewee.CharField(max_length=8)
    block_hash = peewee.CharField(max_length=64, null=True)
    block_height = peewee.IntegerField(null=True)
    replaced_by = peewee.CharField(max_length=64, null=True)
    replaced_in = peewee.CharField(max_length=64, null=True)

    class Meta:
        indexes = ((("txid", "vout"), True),)
        constraints = (peewee.Check("(state = 'mined') = (block_hash IS NOT NULL)"),)

    partial_indexes: ClassVar = {
        "output_block": "block_hash IS NOT NULL",
        "output_replaced_in": "replaced_in IS NOT NULL",
        "output_unconfirmed": "block_hash IS NULL AND state <> 'dropped' AND replaced_in IS NULL",
        "output_unsettled": "block_hash IS NULL",
    }

    @property
    def received_output(self) -> ReceivedOutput:
        """Return the output as a fact for the assessment."""
        return ReceivedOutput(
            txid=self.txid,
            vout=self.vout,
            amount_sats=self.amount_sats,
            first_seen_at=self.first_seen_at,
            present_since=self.present_since,
            block_height=self.block_height,
            is_live=self.state in (MEMPOOL, MINED),
            is_coinbase=bool(self.is_coinbase),
        )


class WatchedOutpoint(Table):
    """An outpoint on which the payment `txid` depends, so no other transaction may spend it.

    `spending_txid` is the transaction that spends the outpoint, which is `txid` or an unconfirmed ancestor.
    """

    txid = peewee.CharField(max_length=64)
    outpoint = BytesField(index=True)
    spending_txid = peewee.CharField(max_length=64)

    class Meta:
        primary_key = peewee.CompositeKey("txid", "outpoint")


def add_watched_outpoints(spends: Iterable[tuple[str, bytes, str]]) -> None:
    """Store these triples (txid, outpoint, spending_txid). A triple that is stored stays unchanged."""
    for batch in chunked(spends):
        triples = ",".join(["(?,?,?)"] * len(batch))
        columns = "txid, outpoint, spending_txid"
        query = statement(
            "INSERT INTO watched_outpoint ({columns}) VALUES {triples} ON CONFLICT DO NOTHING",
            columns=columns,
            triples=triples,
        )
        execute(query, *[value for spend in batch for value in spend])


def outputs_at(*address_ids: int) -> list[Output]:
    """Return every output to these addresses, in the order in which the daemon found them."""
    query = "SELECT * FROM output WHERE address_id IN ? ORDER BY id"
    return fetch_all(Output, query, address_ids) if address_ids else []


def outputs_by_address(address_ids: Sequence[int]) -> dict[int, list[Output]]:
    """Return the outputs to these addresses by address id. Leave out an address without outputs."""
    found: dict[int, list[Output]] = {}
    for output in outputs_at(*address_ids):
        found.setdefault(output.address_id, []).append(output)
    return found


def outputs_of(txids: Iterable[str]) -> list[Output]:
    """Return every output to our addresses in these transactions."""
    found = []
    for batch in chunked(txids):
        found += fetch_all(Output, "SELECT * FROM output WHERE txid IN ?", batch)
    return found


def states_of(txids: Iterable[str]) -> dict[tuple[str, int], str]:
    """Return the state of every output to our addresses in these transactions, by (txid, vout)."""
    found = {}
    for batch in chunked(txids):
        rows = execute("SELECT txid, vout, state FROM output WHERE txid IN ?", batch).fetchall()
        found.update({(txid, vout): state for txid, vout, state in rows})
    return found


_UNCONFIRMED = """FROM output o LEFT JOIN payment_request p ON p.address_id = o.address_id
    WHERE o.block_hash IS NULL AND CASE WHEN p.id IS NULL
        THEN o.state <> 'dropped' AND o.replaced_in IS NULL
        ELSE p.closed_at IS NULL OR p.reassess_at_height = ? END"""
"""The outputs in no block that the daemon must verify at bitcoind.

This includes a closed request if its facts have changed by a reorg, because it is assessed only after the
verification. It includes an output without a request until the output is mined, dropped, or replaced in a
block.
"""


def unconfirmed_outputs() -> list[tuple[str, str, str | None]]:
    """Return (txid, state, replaced_in) of each output that the daemon must verify at bitcoind.

    Their number can be as large as the number of open requests.
    """
    query = f"SELECT o.txid, o.state, o.replaced_in {_UNCONFIRMED} ORDER BY o.id"
    return list(execute(query, ANY_HEIGHT).fetchall())


def txids_believed_in_mempool() -> list[str]:
    """Return the unconfirmed payments, and the unconfirmed transactions that replace one."""
    # The first and the last two conditions are those of the index output_unconfirmed.
    query = f"""SELECT CASE o.state WHEN 'mempool' THEN o.txid ELSE o.replaced_by END {_UNCONFIRMED}
        AND o.state <> 'dropped' AND o.replaced_in IS NULL"""
    return list({txid for (txid,) in execute(query, ANY_HEIGHT)})


def outpoints_of(txids: Iterable[str]) -> list[WatchedOutpoint]:
    """Return the outpoints on which these transactions depend."""
    found = []
    for batch in chunked(txids):
        query = "SELECT * FROM watched_outpoint WHERE txid IN ?"
        found += fetch_all(WatchedOutpoint, query, batch)
    return found


def count_own_inputs(txids: Iterable[str]) -> dict[str, int]:
    """Return the number of stored outpoints that each of these transactions spends itself, by txid."""
    found: dict[str, int] = {}
    for batch in chunked(txids):
        query = """SELECT txid, count(*) FROM watched_outpoint
            WHERE spending_txid = txid AND txid IN ? GROUP BY txid"""
        found.update(execute(query, batch).fetchall())
    return found


def forget_outpoints_of(txids: Iterable[str], tip_height: int) -> None:
    """Delete the outpoints of transactions that pay only closed requests, and that are buried or gone.

    A reorg can still replace a transaction that is not buried. An open request needs the outpoints of each
    transaction that pays it, even if the transaction pays a closed request too.
    """
    for batch in chunked(txids):
        query = """DELETE FROM watched_outpoint WHERE txid IN ? AND NOT EXISTS (
            SELECT 1 FROM output o JOIN payment_request p ON p.address_id = o.address_id
            WHERE o.txid = watched_outpoint.txid AND (p.closed_at IS NULL OR o.block_height > ?))"""
        execute(query, batch, tip_height - CLOSING_DEPTH + 1)


def txids_in_block(height: int) -> list[str]:
    """Return the transactions that pay our addresses in the stored block of this height."""
    query = "SELECT DISTINCT o.txid FROM output o JOIN block b ON b.hash = o.block_hash WHERE b.height = ?"
    return [txid for (txid,) in execute(query, height)]


def note_gaps(outputs: Iterable[Output], now: datetime) -> None:
    """Store `gone_since` for those outputs that are no longer live. Their absence is a gap from now on."""
    gone = [o.id for o in outputs if not o.received_output.is_live and o.gone_since is None]
    for batch in chunked(gone):
        Output.update(gone_since=now).where(Output.id.in_(batch)).execute()


def all_watched_outpoints() -> Iterator[tuple[str, bytes, str]]:
    """Yield the triples of `add_watched_outpoints`. Equal txids are one string object, to save memory.

    The rows are read page by page, because they can be many. The caller must be their only writer.
    """
    interned: dict[str, str] = {}
    query = """SELECT txid, outpoint, spending_txid FROM watched_outpoint
        WHERE (txid, outpoint) > (?, ?) ORDER BY txid, outpoint LIMIT ?"""
    txid, outpoint = "", b""
    while page := execute(query, txid, outpoint, _OUTPOINTS_A_PAGE).fetchall():
        for txid, outpoint, spender in page:
            yield interned.setdefault(txid, txid), bytes(outpoint), interned.setdefault(spender, spender)
