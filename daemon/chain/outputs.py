"""The facts that the daemon stores: outputs found, mined, unmined, replaced, dropped.

All of it runs inside the caller's database transaction and marks the requests it concerns for assessment. A
fact that is stored already is stored again without effect, so that a message may come twice.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Container, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from daemon.chain.watchlist import Match, Watch
from daemon.output_log import tell
from models.address import retire
from models.db.connection import batches, insert
from models.output import (
    DROPPED,
    MEMPOOL,
    MINED,
    REPLACED,
    Output,
    is_in,
    outputs_of,
    own_spends,
    states_of,
)
from models.payment import touch
from payments.status import Receipt, replaced_since
from payments.transaction import Block, Transaction

_TOLD = ("block_height", "replaced_by", "replaced_in")


def record_unconfirmed(
    match: Match, first_seen_at: datetime, lineage: Iterable[Transaction], watch: Watch
) -> None:
    """Store a payment that is in the mempool. `lineage` is it and its unconfirmed ancestors."""
    txid = match.transaction.txid
    known = states_of([txid])
    _insert(match, first_seen_at, watch, known, state=MEMPOOL)
    if known:
        mark_live([txid])
    watch.add({txid: lineage})


def record_mined(matches: Sequence[Match], block: Block, height: int, now: datetime, watch: Watch) -> None:
    """Store payments that are in a block of the active chain."""
    mined_at = min(datetime.fromtimestamp(block.time, UTC), now)
    place = {"state": MINED, "block_hash": block.hash, "block_height": height}
    paying = {match.transaction.txid: [match.transaction] for match in matches}
    known = states_of(paying)
    for match in matches:
        _insert(match, mined_at, watch, known, **place)
    is_elsewhere = Output.block_hash.is_null() | (Output.block_hash != block.hash)
    for batch in batches(paying):
        _change("output mined", is_in(batch) & is_elsewhere, **place, replaced_by=None, replaced_in=None)
    # A reorg may take them out again, and put in something else that spends the same. One that came by the
    # mempool is watched already: there may be thousands of outpoints.
    watched = own_spends(paying)
    watch.add({txid: [t] for txid, [t] in paying.items() if watched.get(txid) != len(t.inputs)})


def mark_replaced(txid: str, by: str, in_block: str | None) -> None:
    """A conflicting transaction is in the mempool, or in a block of the active chain, which then counts."""
    is_new = (Output.state != REPLACED) | (Output.replaced_by != by)
    if in_block is None:
        is_new &= Output.replaced_in.is_null()
    else:
        is_new |= Output.replaced_in.is_null() | (Output.replaced_in != in_block)
    condition = is_in([txid]) & Output.block_hash.is_null() & is_new
    _change("output replaced", condition, state=REPLACED, replaced_by=by, replaced_in=in_block)


def mark_dropped(txids: Collection[str]) -> None:
    """They have left the mempool, are in no block, and no conflict is known: not even one in the chain."""
    is_new = Output.block_hash.is_null() & Output.replaced_in.is_null() & (Output.state != DROPPED)
    for batch in batches(txids):
        _change("output dropped", is_in(batch) & is_new, state=DROPPED, replaced_by=None, replaced_in=None)


def mark_live(txids: Collection[str]) -> None:
    """They are in the mempool, whatever they were before."""
    is_new = Output.block_hash.is_null() & (Output.state != MEMPOOL)
    for batch in batches(txids):
        _change("output returned", is_in(batch) & is_new, state=MEMPOOL, replaced_by=None, replaced_in=None)


def unmine(in_blocks: Iterable[str], watch: Watch) -> None:
    """These blocks have left the active chain. What bitcoind has put back, the mempool will tell."""
    hashes = list(in_blocks)
    is_in_one = Output.block_hash.in_(hashes)
    watch.unmined |= _change("output unmined", is_in_one, state=DROPPED, block_hash=None, block_height=None)
    forget_replacements(Output.replaced_in.in_(hashes))


def forget_replacements(condition: Any) -> None:
    """The blocks that these conflicts are in have left the active chain, as far as is known."""
    _change("replacement unmined", condition, state=DROPPED, replaced_by=None, replaced_in=None)


def _insert(
    match: Match,
    first_seen_at: datetime,
    watch: Watch,
    known: Container[tuple[str, int]],
    **place: object,
) -> None:
    """Outputs that are not `known`; a fee bump is as old as what it takes the place of."""
    txid = match.transaction.txid
    fresh = [row for row in match.outputs if (txid, row[0]) not in known]
    if not fresh:
        return
    replaced = _replaced_since(match, watch)
    for vout, amount_sats, address_id in fresh:
        insert(
            Output,
            address=address_id,
            txid=txid,
            vout=vout,
            amount_sats=amount_sats,
            first_seen_at=min(first_seen_at, replaced.get(address_id, first_seen_at)),
            **place,
        )
        height = place.get("block_height")
        tell("output seen", address_id, txid=txid, vout=vout, amount_sats=amount_sats, block_height=height)
    address_ids = {address_id for _, _, address_id in fresh}
    if touch(address_ids) < len(address_ids):
        retire(address_ids, first_seen_at)
        # One may have been given to a request just before it could be retired.
        touch(address_ids)


def _replaced_since(match: Match, watch: Watch) -> dict[int, datetime]:
    """For each address that this pays, since when the money that it takes the place of has been there.

    Only what was there until now: what was taken back before the price ran out keeps it for nobody.
    """
    replaced: defaultdict[int, list[Receipt]] = defaultdict(list)
    conflicts = watch.conflicts(match.transaction)
    for output in outputs_of(conflicts):
        if output.receipt.is_live or output.txid in watch.unmined:
            replaced[output.address_id].append(output.receipt)
    added: Counter[int] = Counter()
    for _, amount_sats, address_id in match.outputs:
        added[address_id] += amount_sats
    moments = {address_id: replaced_since(sats, replaced[address_id]) for address_id, sats in added.items()}
    return {address_id: moment for address_id, moment in moments.items() if moment is not None}


def _change(what: str, condition: Any, **values: Any) -> set[str]:
    """Change the outputs that need it, and mark the requests they pay; their transactions. `what` is their
    line's in the log."""
    change = Output.update(**values).where(condition).returning(Output.address, Output.txid, Output.vout)
    outputs = list(change.tuples().execute())
    touch({address_id for address_id, _, _ in outputs})
    facts = {name: value for name, value in values.items() if name in _TOLD and value is not None}
    for address_id, txid, vout in outputs:
        tell(what, address_id, txid=txid, vout=vout, **facts)
    return {txid for _, txid, _ in outputs}
