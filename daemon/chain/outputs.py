"""The facts that the daemon stores: outputs found, mined, unmined, replaced, dropped.

All of it runs inside the caller's database transaction and marks the requests it concerns for assessment. A
fact that is stored already is stored again without effect, so that a message may come twice.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from daemon.chain.watchlist import PayingTransaction, Watchlist
from daemon.output_log import tell
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
    outputs_of,
    txid_in,
)
from models.payment import PaymentRequest, mark_for_reassessment, payments_at
from payments.replacement import inherited_present_since
from payments.status import ReceivedOutput
from payments.transaction import Block, Transaction, split_outpoint

_TOLD = ("block_height", "replaced_by", "replaced_in")


@dataclass(frozen=True, slots=True)
class Sighting:
    """When bitcoind vouches for a transaction: `first` where it is new to us, `back` where it was gone."""

    first: datetime
    back: datetime
    now: datetime


@dataclass(frozen=True, slots=True)
class Foreword:
    """What bitcoind and the blocks themselves add about transactions that are first met in a block.

    `received_at` is when the wallet received them, by txid. `lineages` are their ancestors in the blocks
    that are read together, as far as these conflict with payments, and they themselves.
    """

    received_at: Mapping[str, datetime]
    lineages: Mapping[str, Sequence[Transaction]]


def record_unconfirmed(
    match: PayingTransaction,
    seen_at: datetime,
    now: datetime,
    lineage: Sequence[Transaction],
    watch: Watchlist,
) -> None:
    """Store a payment that is in the mempool. `lineage` is it and its unconfirmed ancestors."""
    txid = match.transaction.txid
    known = _known([txid])
    _take_in(match, Sighting(seen_at, seen_at, now), lineage, watch, known, state=MEMPOOL)
    if known:
        is_new = Output.block_hash.is_null() & (Output.state != MEMPOOL)
        values = {"state": MEMPOOL, "replaced_by": None, "replaced_in": None}
        _change("output returned", txid_in([txid]) & is_new, **values)
    watch.add({txid: lineage})


def record_mined(
    matches: Sequence[PayingTransaction],
    block: Block,
    height: int,
    now: datetime,
    watch: Watchlist,
    foreword: Foreword,
) -> None:
    """Store payments that are in a block of the active chain."""
    mined_at = datetime.fromtimestamp(block.time, UTC)
    place = {"state": MINED, "block_hash": block.hash, "block_height": height}
    paying = {match.transaction.txid: match.transaction for match in matches}
    known = _known(paying)
    for match in matches:
        txid = match.transaction.txid
        sighting = Sighting(min(mined_at, foreword.received_at.get(txid, mined_at)), mined_at, now)
        lineage = foreword.lineages.get(txid, [match.transaction])
        _take_in(match, sighting, lineage, watch, known, **place)
        if len(lineage) > 1:
            watch.add({txid: lineage})
    is_elsewhere = Output.block_hash.is_null() | (Output.block_hash != block.hash)
    for batch in chunked(paying):
        _change("output mined", txid_in(batch) & is_elsewhere, **place, replaced_by=None, replaced_in=None)
    # A reorg may take them out again, and put in something else that spends the same. One that came by the
    # mempool is watched already: there may be thousands of outpoints.
    watched = count_own_inputs(paying)
    watch.add({txid: [t] for txid, t in paying.items() if watched.get(txid) != len(t.inputs)})


def mark_replaced(txid: str, by: str, in_block: str | None) -> None:
    """A conflicting transaction is in the mempool, or in a block of the active chain, which then counts."""
    is_new = (Output.state != REPLACED) | (Output.replaced_by != by)
    if in_block is None:
        is_new &= Output.replaced_in.is_null()
    else:
        is_new |= Output.replaced_in.is_null() | (Output.replaced_in != in_block)
    condition = txid_in([txid]) & Output.block_hash.is_null() & is_new
    _change("output replaced", condition, state=REPLACED, replaced_by=by, replaced_in=in_block)


def mark_dropped(txids: Collection[str]) -> None:
    """They have left the mempool, are in no block, and no conflict is known: not even one in the chain."""
    is_new = Output.block_hash.is_null() & Output.replaced_in.is_null() & (Output.state != DROPPED)
    for batch in chunked(txids):
        _change("output dropped", txid_in(batch) & is_new, state=DROPPED, replaced_by=None, replaced_in=None)


def disconnect_outputs(in_blocks: Iterable[str]) -> None:
    """Store that these blocks have left the active chain. The mempool shows what bitcoind has put back.

    `gone_since` stays empty: until an assessment finds them gone, a move to another place is no gap.
    """
    hashes = list(in_blocks)
    is_in_one = Output.block_hash.in_(hashes)
    _change("output unmined", is_in_one, state=DROPPED, block_hash=None, block_height=None)
    forget_replacements(Output.replaced_in.in_(hashes))


def forget_replacements(condition: Any) -> None:
    """The blocks that these conflicts are in have left the active chain, as far as is known."""
    _change("replacement unmined", condition, state=DROPPED, replaced_by=None, replaced_in=None)


def _known(txids: Iterable[str]) -> dict[tuple[str, int], Output]:
    return {(output.txid, output.vout): output for output in outputs_of(txids)}


def _take_in(
    match: PayingTransaction,
    sighting: Sighting,
    lineage: Sequence[Transaction],
    watch: Watchlist,
    known: Mapping[tuple[str, int], Output],
    **place: object,
) -> None:
    """Insert the outputs that are not `known`, and let the age of those begin anew that were gone."""
    stored = [(row, known.get((match.transaction.txid, row[0]))) for row in match.outputs]
    if all(output is not None and output.gone_since is None for _, output in stored):
        return
    payments = payments_at({address_id for _, _, address_id in match.outputs})
    inherited = _inherited(match, lineage, payments, watch)
    looked_at = daemon_report().complete_look_at
    for row, output in stored:
        payment = payments.get(row[2])
        floors = [looked_at, payment.created_at if payment else None]
        if output is None:
            moment = _bounded(sighting.first, sighting.now, *floors)
            _insert(match.transaction, row, moment, inherited.get(row[2], moment), **place)
        elif output.gone_since is not None:
            moment = _bounded(sighting.back, sighting.now, *floors, output.gone_since)
            since = min(moment, inherited.get(row[2], moment))
            Output.update(present_since=since, gone_since=None).where(Output.id == output.id).execute()
    address_ids = {row[2] for row, output in stored if output is None}
    if mark_for_reassessment(address_ids) < len(address_ids):
        retire(address_ids, sighting.now)
        # One may have been given to a request just before it could be retired.
        mark_for_reassessment(address_ids)


def _insert(
    transaction: Transaction,
    row: tuple[int, int, int],
    first_seen_at: datetime,
    inherited: datetime,
    **place: object,
) -> None:
    vout, amount_sats, address_id = row
    txid = transaction.txid
    insert(
        Output,
        address=address_id,
        txid=txid,
        vout=vout,
        amount_sats=amount_sats,
        first_seen_at=first_seen_at,
        present_since=min(first_seen_at, inherited),
        is_coinbase=not transaction.inputs,
        **place,
    )
    height = place.get("block_height")
    tell("output seen", address_id, txid=txid, vout=vout, amount_sats=amount_sats, block_height=height)


def _bounded(moment: datetime, now: datetime, *floors: datetime | None) -> datetime:
    """Return the moment that bitcoind vouches for, or the nearest at which the output can have been there.

    It was not there at any of the floors. A block's or another machine's clock may be wrong.
    """
    return min(max(moment, *(floor for floor in floors if floor is not None)), now)


def _inherited(
    match: PayingTransaction,
    lineage: Sequence[Transaction],
    payments: Mapping[int, PaymentRequest],
    watch: Watchlist,
) -> dict[int, datetime]:
    """Return, by address, since when the money has been there that this transaction takes the place of.

    Only money that was there until now has such a place. An output has lost it once an assessment found the
    output gone: the price is kept for nobody by a payment that was taken back.
    """
    txid = match.transaction.txid
    conflicts = {ours for t in lineage for ours in watch.conflicts(t)}
    parents = {split_outpoint(outpoint)[0] for t in lineage for outpoint in t.inputs}
    outputs = [o for o in outputs_at(*payments) if o.gone_since is None and o.txid != txid]
    # What spent the same may be in a block already, while this transaction is its child.
    replaced = [o for o in outputs if o.txid in conflicts or o.replaced_by in parents]
    replaced_txids = {o.txid for o in replaced}
    heirs = watch.heirs(lineage, replaced_txids) - replaced_txids - {txid}
    taken = [o for o in outputs if o.txid in heirs and o.receipt.is_live]
    found = {}
    for address_id, payment in payments.items():
        # Children of one replacement share the place of what it replaced.
        added_sats = sum(sats for _, sats, paid_id in match.outputs if paid_id == address_id)
        added_sats += sum(o.amount_sats for o in taken if o.address_id == address_id)
        ours: list[ReceivedOutput] = [o.receipt for o in replaced if o.address_id == address_id]
        moment = inherited_present_since(added_sats, payment.terms.needed_sats, ours)
        if moment is not None:
            found[address_id] = moment
    return found


def _change(what: str, condition: Any, **values: Any) -> None:
    """Change the outputs that need it, and mark the requests they pay. `what` is their line in the log."""
    change = Output.update(**values).where(condition).returning(Output.address, Output.txid, Output.vout)
    outputs = list(change.tuples().execute())
    mark_for_reassessment({address_id for address_id, _, _ in outputs})
    facts = {name: value for name, value in values.items() if name in _TOLD and value is not None}
    for address_id, txid, vout in outputs:
        tell(what, address_id, txid=txid, vout=vout, **facts)
