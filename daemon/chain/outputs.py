"""Storage of the facts about outputs: seen, mined, unmined, replaced, dropped.

Each function runs inside the caller's unit of work and marks the requests that the facts concern for
reassessment. To store the same fact again has no effect, so a message may arrive twice.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from daemon.chain.watchlist import PaidOutput, PayingTransaction, Watchlist
from daemon.unit_of_work import UnitOfWork
from models.address import retire
from models.daemon_status import daemon_report
from models.db.connection import chunked, insert
from models.output import (
    DROPPED,
    MEMPOOL,
    MINED,
    REPLACED,
    Output,
    count_own_inputs,
    outputs_at,
)
from models.payment import PaymentRequest, mark_for_reassessment, payments_at
from payments.replacement import inherited_present_since
from payments.status import ReceivedOutput
from payments.transaction import Block, Transaction, split_outpoint

_LOGGED_VALUES = ("block_height", "replaced_by", "replaced_in")


@dataclass(frozen=True, slots=True)
class Sighting:
    """The times that bitcoind reports for a transaction.

    `first` applies where the transaction is new to us, `back` where the transaction was gone.
    """

    first: datetime
    back: datetime
    now: datetime


@dataclass(frozen=True, slots=True)
class BlockContext:
    """Additional facts about transactions that we see first in a block.

    `received_at` maps a txid to the time when the wallet received the transaction. `lineages` covers
    transactions that conflict with payments, themselves or by an ancestor. It maps the txid to the
    transaction and those ancestors. Only the blocks that are read together count.
    """

    received_at: Mapping[str, datetime]
    lineages: Mapping[str, Sequence[Transaction]]


def record_unconfirmed(
    work: UnitOfWork,
    match: PayingTransaction,
    seen_at: datetime,
    now: datetime,
    lineage: Sequence[Transaction],
    watch: Watchlist,
) -> None:
    """Store a payment that is in the mempool. `lineage` is the payment and its unconfirmed ancestors."""
    txid = match.transaction.txid
    _store_outputs(work, match, Sighting(seen_at, seen_at, now), lineage, watch, state=MEMPOOL)
    if match.recorded:
        is_new = Output.block_hash.is_null() & (Output.state != MEMPOOL)
        values = {"state": MEMPOOL, "replaced_by": None, "replaced_in": None}
        _change(work, "output returned", Output.txid.in_([txid]) & is_new, **values)
    watch.add({txid: lineage})


def record_mined(
    work: UnitOfWork,
    matches: Sequence[PayingTransaction],
    block: Block,
    height: int,
    now: datetime,
    watch: Watchlist,
    context: BlockContext,
) -> None:
    """Store payments that are in a block of the active chain."""
    mined_at = datetime.fromtimestamp(block.time, UTC)
    location = {"state": MINED, "block_hash": block.hash, "block_height": height}
    paying = {match.transaction.txid: match.transaction for match in matches}
    for match in matches:
        txid = match.transaction.txid
        sighting = Sighting(min(mined_at, context.received_at.get(txid, mined_at)), mined_at, now)
        lineage = context.lineages.get(txid, [match.transaction])
        _store_outputs(work, match, sighting, lineage, watch, **location)
        if len(lineage) > 1:
            watch.add({txid: lineage})
    is_elsewhere = Output.block_hash.is_null() | (Output.block_hash != block.hash)
    for batch in chunked(paying):
        _change(
            work,
            "output mined",
            Output.txid.in_(batch) & is_elsewhere,
            **location,
            replaced_by=None,
            replaced_in=None,
        )
    # After a reorg, a conflict may take the place of a payment in the chain. A payment that came by the
    # mempool is watched already, and it may have thousands of outpoints.
    watched = count_own_inputs(paying)
    watch.add({txid: [t] for txid, t in paying.items() if watched.get(txid) != len(t.inputs)})


def mark_replaced(work: UnitOfWork, txid: str, by: str, in_block: str | None) -> None:
    """Store that the conflict `by` is in the mempool, or in a block of the active chain.

    A conflict in a block takes precedence over a conflict in the mempool.
    """
    is_new = (Output.state != REPLACED) | (Output.replaced_by != by)
    if in_block is None:
        is_new &= Output.replaced_in.is_null()
    else:
        is_new |= Output.replaced_in.is_null() | (Output.replaced_in != in_block)
    condition = Output.txid.in_([txid]) & Output.block_hash.is_null() & is_new
    _change(work, "output replaced", condition, state=REPLACED, replaced_by=by, replaced_in=in_block)


def mark_dropped(work: UnitOfWork, txids: Collection[str]) -> None:
    """Store that these payments are dropped. Skip those in a block, or with a conflict in the chain."""
    is_new = Output.block_hash.is_null() & Output.replaced_in.is_null() & (Output.state != DROPPED)
    for batch in chunked(txids):
        _change(
            work,
            "output dropped",
            Output.txid.in_(batch) & is_new,
            state=DROPPED,
            replaced_by=None,
            replaced_in=None,
        )


def disconnect_outputs(work: UnitOfWork, in_blocks: Iterable[str]) -> None:
    """Store that these blocks have left the active chain. The mempool shows what bitcoind has put back.

    `gone_since` stays empty. A move to another block or to the mempool is no gap, unless an assessment finds
    the outputs gone meanwhile.
    """
    hashes = list(in_blocks)
    is_in_one = Output.block_hash.in_(hashes)
    _change(work, "output unmined", is_in_one, state=DROPPED, block_hash=None, block_height=None)
    forget_replacements(work, Output.replaced_in.in_(hashes))


def forget_replacements(work: UnitOfWork, condition: Any) -> None:
    """Store that the conflicts which replace the selected outputs have left the active chain."""
    _change(work, "replacement unmined", condition, state=DROPPED, replaced_by=None, replaced_in=None)


def _store_outputs(
    work: UnitOfWork,
    match: PayingTransaction,
    sighting: Sighting,
    lineage: Sequence[Transaction],
    watch: Watchlist,
    **location: object,
) -> None:
    """Insert the outputs that are not recorded. Restart the age of outputs that were gone."""
    stored = [(paid, match.recorded.get(paid.vout)) for paid in match.outputs]
    if all(output is not None and output.gone_since is None for _, output in stored):
        return
    payments = payments_at({paid.address_id for paid in match.outputs})
    inherited = _inherited(match, lineage, payments, watch)
    looked_at = daemon_report().complete_look_at
    for paid, output in stored:
        payment = payments.get(paid.address_id)
        floors = [looked_at, payment.created_at if payment else None]
        if output is None:
            moment = _bounded(sighting.first, sighting.now, *floors)
            since = min(moment, inherited.get(paid.address_id, moment))
            _insert(work, match.transaction, paid, first_seen_at=moment, present_since=since, **location)
        elif output.gone_since is not None:
            moment = _bounded(sighting.back, sighting.now, *floors, output.gone_since)
            since = min(moment, inherited.get(paid.address_id, moment))
            Output.update(present_since=since, gone_since=None).where(Output.id == output.id).execute()
    address_ids = {paid.address_id for paid, output in stored if output is None}
    if mark_for_reassessment(address_ids) < len(address_ids):
        retire(address_ids, sighting.now)
        # A request may have claimed an address just before the address could be retired.
        mark_for_reassessment(address_ids)


def _insert(work: UnitOfWork, transaction: Transaction, paid: PaidOutput, **values: object) -> None:
    facts = {"txid": transaction.txid, "vout": paid.vout, "amount_sats": paid.amount_sats}
    insert(Output, address=paid.address_id, is_coinbase=not transaction.inputs, **facts, **values)
    work.log_output("output seen", paid.address_id, **facts, block_height=values.get("block_height"))


def _bounded(moment: datetime, now: datetime, *floors: datetime | None) -> datetime:
    """Return the time that bitcoind reports, limited to the range in which the output can have appeared.

    The output was absent at each of the floors. The clock of a block or of another machine may be wrong.
    """
    return min(max([moment, *(floor for floor in floors if floor is not None)]), now)


def _inherited(
    match: PayingTransaction,
    lineage: Sequence[Transaction],
    payments: Mapping[int, PaymentRequest],
    watch: Watchlist,
) -> dict[int, datetime]:
    """Map each paid address to the first-seen time inherited from the outputs this transaction replaces.

    Only outputs that were live until now count. An output that an assessment found gone passes on no time.
    Otherwise a payment that was taken back would keep its price.
    """
    txid = match.transaction.txid
    conflicts = {ours for t in lineage for ours in watch.conflicts(t)}
    parents = {split_outpoint(outpoint)[0] for t in lineage for outpoint in t.inputs}
    outputs = [o for o in outputs_at(*payments) if o.gone_since is None and o.txid != txid]
    # The conflict may be in a block already, while this transaction is its child.
    replaced = [o for o in outputs if o.txid in conflicts or o.replaced_by in parents]
    replaced_txids = {o.txid for o in replaced}
    heirs = watch.heirs(lineage, replaced_txids) - replaced_txids - {txid}
    taken = [o for o in outputs if o.txid in heirs and o.received_output.is_live]
    found = {}
    for address_id, payment in payments.items():
        # Children of one replacement share the amount and time of the outputs that it replaced.
        added_sats = sum(paid.amount_sats for paid in match.outputs if paid.address_id == address_id)
        added_sats += sum(o.amount_sats for o in taken if o.address_id == address_id)
        ours: list[ReceivedOutput] = [o.received_output for o in replaced if o.address_id == address_id]
        moment = inherited_present_since(added_sats, payment.terms.needed_sats, ours)
        if moment is not None:
            found[address_id] = moment
    return found


def _change(work: UnitOfWork, event: str, condition: Any, **values: Any) -> None:
    """Change the selected outputs, mark the requests that they pay, and log `event` for each output."""
    change = Output.update(**values).where(condition).returning(Output.address, Output.txid, Output.vout)
    outputs = list(change.tuples().execute())
    mark_for_reassessment({address_id for address_id, _, _ in outputs})
    facts = {name: value for name, value in values.items() if name in _LOGGED_VALUES and value is not None}
    for address_id, txid, vout in outputs:
        work.log_output(event, address_id, txid=txid, vout=vout, **facts)
