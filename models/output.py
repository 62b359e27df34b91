"""Outputs that pay our addresses, and the outpoints that their unconfirmed transactions depend on."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import peewee

from models.address import Address
from models.db.connection import (
    BytesField,
    Table,
    UtcDateTimeField,
    chunked,
    database,
    fetch_all,
    placeholders,
    with_paramstyle,
)
from models.payment import ANY_HEIGHT
from payments.status import CLOSING_DEPTH, ReceivedOutput

MEMPOOL, MINED, REPLACED, DROPPED = "mempool", "mined", "replaced", "dropped"


class Output(Table):
    """A transaction output to one of our addresses, in whatever state bitcoind last had it.

    `replaced_by` is the transaction that conflicts with it; `replaced_in` the block of the active chain
    that this one is in, None while it is in the mempool. `present_since` is since when the output has been
    there without a gap. `gone_since` is when an assessment found it gone: None while it is live, and while
    its absence has had no effect yet.
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

    @property
    def receipt(self) -> ReceivedOutput:
        """Return the fact that the status is worked out from."""
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
    """An outpoint that the payment `txid` depends on: no other transaction may spend it.

    `spending_txid` is the transaction that does spend it: `txid` itself or one of its unconfirmed ancestors.
    """

    txid = peewee.CharField(max_length=64)
    outpoint = BytesField(index=True)
    spending_txid = peewee.CharField(max_length=64)

    class Meta:
        primary_key = peewee.CompositeKey("txid", "outpoint")


def add_spends(spends: Iterable[tuple[str, bytes, str]]) -> None:
    """Store these (txid, outpoint, spending_txid); what is stored already stays as it is."""
    for batch in chunked(spends):
        triples = ",".join(["(?,?,?)"] * len(batch))
        columns = "txid, outpoint, spending_txid"
        # Only placeholders are put into the text.
        query = f"INSERT INTO watched_outpoint ({columns}) VALUES {triples} ON CONFLICT DO NOTHING"  # noqa: S608
        database.execute_sql(with_paramstyle(query), [value for spend in batch for value in spend])


def outputs_at(*address_ids: int) -> list[Output]:
    """Every output to these addresses, in the order they were found."""
    # Only placeholders are put into the text.
    query = f"SELECT * FROM output WHERE address_id IN ({placeholders(address_ids)}) ORDER BY id"  # noqa: S608
    return fetch_all(Output, query, *address_ids) if address_ids else []


def outputs_by_address(address_ids: Sequence[int]) -> dict[int, list[Output]]:
    """The same by address; nothing for one that was never paid."""
    found: dict[int, list[Output]] = {}
    for output in outputs_at(*address_ids):
        found.setdefault(output.address_id, []).append(output)
    return found


def txid_in(txids: Sequence[str]) -> peewee.SQL:
    """The condition on an output that it is in one of these transactions: the query builder takes fifty times
    as long to write it down."""
    # Only placeholders are put into the text.
    return peewee.SQL(with_paramstyle(f"txid IN ({placeholders(txids)})"), txids)


def outputs_of(txids: Iterable[str]) -> list[Output]:
    """Every output of ours in these transactions."""
    found = []
    for batch in chunked(txids):
        # Only placeholders are put into the text.
        found += fetch_all(Output, f"SELECT * FROM output WHERE txid IN ({placeholders(batch)})", *batch)  # noqa: S608
    return found


def states_of(txids: Iterable[str]) -> dict[tuple[str, int], str]:
    """The state of every output of ours in these transactions, by (txid, vout)."""
    found = {}
    for batch in chunked(txids):
        # Only placeholders are put into the text.
        query = with_paramstyle(f"SELECT txid, vout, state FROM output WHERE txid IN ({placeholders(batch)})")  # noqa: S608
        rows = database.execute_sql(query, batch).fetchall()
        found.update({(txid, vout): state for txid, vout, state in rows})
    return found


_UNSETTLED = """FROM output o LEFT JOIN payment_request p ON p.address_id = o.address_id
    WHERE o.block_hash IS NULL AND CASE WHEN p.id IS NULL
        THEN o.state <> 'dropped' AND o.replaced_in IS NULL
        ELSE p.closed_at IS NULL OR p.reassess_at_height = ? END"""
"""The outputs in no block that bitcoind has to be asked about.

A closed request counts where its facts have changed (a reorg reached it), because it is assessed only after
bitcoind has been asked. An output without a request counts until it is mined, dropped, or replaced in a
block.
"""


def unconfirmed_outputs() -> list[tuple[str, str, str | None]]:
    """Return (txid, state, replaced_in) of each output that bitcoind has to be asked about.

    There may be as many as open requests.
    """
    # Only text of our own is put into it.
    query = f"SELECT o.txid, o.state, o.replaced_in {_UNSETTLED} ORDER BY o.id"
    return list(database.execute_sql(with_paramstyle(query), (ANY_HEIGHT,)).fetchall())


def txids_believed_in_mempool() -> list[str]:
    """Return the unconfirmed payments, and the unconfirmed transactions that replace one."""
    # Only text of our own is put into it. Its last two conditions are an index's.
    query = f"""SELECT CASE o.state WHEN 'mempool' THEN o.txid ELSE o.replaced_by END {_UNSETTLED}
        AND o.state <> 'dropped' AND o.replaced_in IS NULL"""
    return list({txid for (txid,) in database.execute_sql(with_paramstyle(query), (ANY_HEIGHT,))})


def spends_of(txids: Iterable[str]) -> list[WatchedOutpoint]:
    """The outpoints that these transactions depend on."""
    found = []
    for batch in chunked(txids):
        # Only placeholders are put into the text.
        query = f"SELECT * FROM watched_outpoint WHERE txid IN ({placeholders(batch)})"  # noqa: S608
        found += fetch_all(WatchedOutpoint, query, *batch)
    return found


def count_own_inputs(txids: Iterable[str]) -> dict[str, int]:
    """How many outpoints are stored that each of these transactions spends itself."""
    found: dict[str, int] = {}
    for batch in chunked(txids):
        # Only placeholders are put into the text.
        query = f"""SELECT txid, count(*) FROM watched_outpoint
            WHERE spending_txid = txid AND txid IN ({placeholders(batch)}) GROUP BY txid"""  # noqa: S608
        found.update(database.execute_sql(with_paramstyle(query), batch).fetchall())
    return found


def forget_spends(txids: Iterable[str], tip_height: int) -> None:
    """Forget what these transactions spend, of those that pay closed requests only and are buried or gone.

    A reorg can still bring another transaction in the place of one that is not buried. An open request needs
    the outpoints of each transaction that pays it, even if the transaction pays a closed request too.
    """
    for batch in chunked(txids):
        # Only placeholders are put into the text.
        query = f"""DELETE FROM watched_outpoint WHERE txid IN ({placeholders(batch)}) AND NOT EXISTS (
            SELECT 1 FROM output o JOIN payment_request p ON p.address_id = o.address_id
            WHERE o.txid = watched_outpoint.txid AND (p.closed_at IS NULL OR o.block_height > ?))"""  # noqa: S608
        database.execute_sql(with_paramstyle(query), (*batch, tip_height - CLOSING_DEPTH + 1))


def txids_in_blocks(first_height: int, last_height: int) -> list[str]:
    """Return the transactions of ours in the stored blocks of these heights."""
    query = """SELECT DISTINCT o.txid FROM output o JOIN block b ON b.hash = o.block_hash
        WHERE b.height BETWEEN ? AND ?"""
    return [txid for (txid,) in database.execute_sql(with_paramstyle(query), (first_height, last_height))]


def note_gaps(outputs: Iterable[Output], now: datetime) -> None:
    """Store that these outputs are gone as far as anybody knows: their absence is a gap from now on."""
    gone = [o.id for o in outputs if not o.receipt.is_live and o.gone_since is None]
    for batch in chunked(gone):
        Output.update(gone_since=now).where(Output.id.in_(batch)).execute()


def all_spends() -> Iterator[tuple[str, bytes, str]]:
    """Yield what `add_spends` stored; equal txids are one string, to save memory."""
    same: dict[str, str] = {}
    for txid, outpoint, spender in database.execute_sql(
        "SELECT txid, outpoint, spending_txid FROM watched_outpoint"
    ):
        yield same.setdefault(txid, txid), bytes(outpoint), same.setdefault(spender, spender)
