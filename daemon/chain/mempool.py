"""The payments in bitcoind's mempool, and the outcomes of payments that have left it."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from types import MappingProxyType

import structlog

from daemon.chain.outputs import mark_dropped, mark_replaced, record_unconfirmed
from daemon.chain.watchlist import PayingTransaction, Watchlist
from daemon.node.client import Bitcoind
from daemon.unit_of_work import UnitOfWork, unit_of_work
from models.block import stored_tip
from models.db.leadership import node_changed
from models.output import (
    DROPPED,
    MEMPOOL,
    MINED,
    outpoints_of,
    outputs_at,
    outputs_of,
    states_of,
    txids_believed_in_mempool,
    unconfirmed_outputs,
)
from models.queries.links import addresses_of_parts_beside, txids_beside_new_money
from payments.transaction import Transaction

log = structlog.get_logger(__name__)

DROP_GRACE = timedelta(seconds=5)
"""A payment counts as dropped once it has been missing for so long.

A node that has just started accepts calls a moment before its wallet resubmits its transactions. A missing
payment is dropped at once when new money comes with which it would count together: money of its request, or
of another part of its single-use link.
"""

RELAY_GRACE = timedelta(seconds=60)
"""Grace period after a failover, for payments that only the previous daemon's node has seen.

The network may not have relayed these payments to this node yet.
"""

FEED_DELAY = timedelta(seconds=2)
"""A message of the feed counts as news up to this delay, because the mempool's times are whole seconds."""

MAX_ENTRIES = 1000
"""Above this number of payments, one list of the whole mempool costs less than an entry for each payment."""

MAX_FOREIGN_PER_SCAN = 10_000
"""The foreign transactions that one look reads where no wallet can list its own transactions."""

BATCH_SIZE = 100
"""The transactions in one batch of calls. A stranger may have made each as large as nodes relay."""


@dataclass(frozen=True, slots=True)
class _NewPayment:
    """A payment that bitcoind has in its mempool. `lineage` is the payment and its unconfirmed ancestors.

    `has_ancestors` is true even where the ancestors left the mempool before they could be read.
    """

    match: PayingTransaction
    first_seen_at: datetime
    lineage: Sequence[Transaction]
    now: datetime
    has_ancestors: bool

    @property
    def txid(self) -> str:
        return self.match.transaction.txid


@dataclass(frozen=True, slots=True)
class _Outcomes:
    """The outcomes of payments, by txid. `returned` payments had left the mempool and are in it again.

    `replaced` maps each payment to the txid of its conflict.
    """

    returned: Collection[str] = ()
    replaced: dict[str, str] = field(default_factory=dict)
    dropped: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class MempoolUpdate:
    """The facts about payments that one comparison has found. `apply` stores them.

    `lineages` belong to payments whose ancestors are more since a reorg. The update is not conclusive in
    three cases only: the tip has moved, bitcoind still loads its mempool, or a replacement has left the
    mempool meanwhile. These cases end by themselves. The caller then syncs and looks again.
    """

    outcomes: _Outcomes
    arrivals: list[_NewPayment]
    is_conclusive: bool
    watch: Watchlist
    lineages: Mapping[str, Sequence[Transaction]] = field(default_factory=dict)

    def apply(self, work: UnitOfWork) -> None:
        """Store the update, inside the caller's unit of work.

        One transaction keeps a payment from counting together with the payment that it replaces. It also
        keeps a replaced payment from looking lost before its replacement is stored.
        """
        # Arrivals are stored before the outcomes. A fee bump inherits the time of outputs that were live
        # until now, and the outcomes mark these outputs as replaced.
        for arrival in self.arrivals:
            facts = (arrival.match, arrival.first_seen_at, arrival.now, arrival.lineage)
            record_unconfirmed(work, *facts, self.watch)
        _record_outcomes(work, self.outcomes)
        self.watch.add(self.lineages)

    def apply_in_transaction(self) -> None:
        """Store the update in a database transaction of its own. Do nothing for an empty update."""
        outcomes = self.outcomes
        if not (self.arrivals or self.lineages or outcomes.replaced or outcomes.dropped):
            return
        with unit_of_work("mempool-recorded") as work:
            self.apply(work)


class Mempool:
    """Compares the recorded unconfirmed payments with bitcoind's mempool."""

    def __init__(self, node: Bitcoind, watch: Watchlist) -> None:
        self._node = node
        self._watch = watch
        self._missing_since: dict[str, datetime] = {}
        self._is_first_check = node_changed()
        self._seen_elsewhere: frozenset[str] = frozenset()
        self._foreign: set[str] = set()
        self._check_from = 0

    @property
    def is_missing_any(self) -> bool:
        """Return whether a payment is missing, but not long enough to count as dropped. Look again soon."""
        return bool(self._missing_since)

    def compare(
        self,
        matches: Iterable[PayingTransaction],
        possibly_conflicted: Collection[str],
        now: datetime,
        *,
        came_by_feed: bool = False,
        droppable: Collection[str] | None = None,
    ) -> MempoolUpdate:
        """Return the payments that the mempool has, and the outcomes of the `possibly_conflicted` txids.

        A payment of these can be dropped only if it is `droppable`. None means all of them.
        """
        # The feed may bring a transaction twice.
        candidates = {match.transaction.txid: match for match in matches}.values()
        arrivals = [a for match in candidates if (a := self._arrival(match, now, came_by_feed)) is not None]
        is_any_absent = len(arrivals) < len(candidates)
        conflicts = {txid for a in arrivals for t in a.lineage for txid in self._watch.conflicts(t)}
        while True:
            beside = self._missing_beside(arrivals)
            concerned = {*possibly_conflicted, *conflicts, *beside}
            outcomes = self._outcomes(concerned, beside, now, droppable)
            if outcomes is None:
                return self._undecided()
            successors = self._successors(outcomes, now, {a.txid for a in arrivals})
            if not successors:
                break
            # Successors are new money too. A payment that counts together with them may be missing.
            arrivals += successors
        # Several calls concern these transactions, and the mempool may have changed between two calls. For
        # example, two fee bumps of one payment may both have been read.
        replacements = set(outcomes.replaced.values())
        is_alone = not concerned and len(arrivals) == 1
        unsure = replacements | {a.txid for a in arrivals if a.has_ancestors or not is_alone}
        gone = unsure - self._present(unsure)
        if not gone.isdisjoint(replacements):
            # The replacement was mined or replaced meanwhile, perhaps by another fee bump of the payment. The
            # payment must not count as replaced before its successor is stored.
            return self._undecided()
        arrivals = [a for a in arrivals if a.txid not in gone]
        # bitcoind also publishes the transactions of a block. With txindex=1 it keeps those of stale blocks.
        is_conclusive = not (is_any_absent or gone) or self._is_absence_certain()
        return MempoolUpdate(outcomes, arrivals, is_conclusive, self._watch)

    def _undecided(self) -> MempoolUpdate:
        return MempoolUpdate(_Outcomes(), [], False, self._watch)

    def is_any_gone(self) -> bool:
        """Return whether a payment has left the mempool that the database records as in the mempool.

        The feed publishes nothing where no conflict is left. Examples are an eviction, and a parent whose
        replacement was itself replaced. Each call checks the next MAX_ENTRIES payments.
        """
        recorded = sorted(txids_believed_in_mempool())
        start = self._check_from if self._check_from < len(recorded) else 0
        self._check_from = start + MAX_ENTRIES
        part = recorded[start : self._check_from]
        return len(self._present(part)) < len(part)

    def verify_unconfirmed(self, now: datetime) -> bool:
        """Check every payment that is in no block, and store the outcomes.

        Return False where the tip has moved. The caller then syncs and calls again.
        """
        outputs = unconfirmed_outputs()
        if self._is_first_check:
            self._seen_elsewhere = frozenset(txid for txid, state, _ in outputs if state == MEMPOOL)
            self._is_first_check = False
        droppable = {txid for txid, state, replaced_in in outputs if state != DROPPED and replaced_in is None}
        self._missing_since = {t: since for t, since in self._missing_since.items() if t in droppable}
        # Lineages are read before presence is checked, because the feed reports each later replacement.
        lineages = self._grown_lineages({txid for txid, state, _ in outputs if state == MEMPOOL})
        update = self._record([], {txid for txid, _, _ in outputs}, now, droppable, lineages)
        if update.is_conclusive:
            self._watch.settle()
        return update.is_conclusive

    def rescan(self, tip_hash: str, now: datetime, *, by_wallet: bool) -> bool:
        """Store payments that the feed missed. Return False where another look has work left."""
        candidates = self._node.wallet_mempool_txids(tip_hash) if by_wallet else self._unread()
        states = {output.txid: output.state for output in outputs_of(candidates)}
        returned = [txid for txid, state in states.items() if state not in (MEMPOOL, MINED)]
        read, matches = set(states), []
        for transactions in self._transactions([txid for txid in candidates if txid not in states]):
            read.update(transaction.txid for transaction in transactions)
            matches += self._watch.matches(transactions)
        if matches or returned:
            # These payments count as gone already. They may return, but no grace period starts for them.
            update = self._record(matches, returned, now, droppable=())
            read -= {match.transaction.txid for match in matches} - {
                arrival.txid for arrival in update.arrivals
            }
            if update.arrivals:
                log.info("payments found that the feed did not bring", count=len(update.arrivals))
            if not update.is_conclusive:
                return False
        if by_wallet:
            return True
        # The next look reads again what was away for a moment.
        self._foreign |= read
        return len(candidates) < MAX_FOREIGN_PER_SCAN

    def record_transactions(self, txids: Sequence[str], now: datetime) -> None:
        """Record each of these transactions that is in the mempool and pays us."""
        if matches := self._matches(txids):
            self._record(matches, [], now)

    def _record(
        self,
        matches: Iterable[PayingTransaction],
        possibly_conflicted: Collection[str],
        now: datetime,
        droppable: Collection[str] | None = None,
        lineages: Mapping[str, Sequence[Transaction]] = MappingProxyType({}),
    ) -> MempoolUpdate:
        """Look, and store the update together with these lineages."""
        update = self.compare(matches, possibly_conflicted, now, droppable=droppable)
        update = replace(update, lineages=lineages)
        update.apply_in_transaction()
        return update

    def _matches(self, txids: Sequence[str]) -> list[PayingTransaction]:
        """Return each of these transactions that bitcoind has and that pays us."""
        return [match for part in self._transactions(txids) for match in self._watch.matches(part)]

    def _transactions(self, txids: Sequence[str]) -> Iterator[list[Transaction]]:
        """Yield those of these transactions that bitcoind has, a batch at a time."""
        return (self._node.mempool_transactions(part) for part in _chunks(txids))

    def _unread(self) -> list[str]:
        """Return the next mempool transactions that no look has read yet.

        Without a wallet, any transaction of the mempool may be ours.
        """
        everything = self._node.mempool_txids()
        # The set keeps the new list's own strings, so that the memory of the old list is freed.
        self._foreign = {txid for txid in everything if txid in self._foreign}
        return list(islice((txid for txid in everything if txid not in self._foreign), MAX_FOREIGN_PER_SCAN))

    def _successors(self, outcomes: _Outcomes, now: datetime, recorded: Collection[str]) -> list[_NewPayment]:
        """Return the replacements that pay us too, such as a fee bump that the feed missed, and the returned.

        A returned payment may replace another in turn, so it is stored like a new payment.
        """
        unread = [
            t for t in dict.fromkeys((*outcomes.replaced.values(), *outcomes.returned)) if t not in recorded
        ]
        return [a for match in self._matches(unread) if (a := self._arrival(match, now, False)) is not None]

    def _grown_lineages(self, txids: Collection[str]) -> dict[str, Sequence[Transaction]]:
        """Return the lineages of these payments after a reorg. Return an empty mapping without one.

        A payment that stayed in the mempool may spend outputs that were confirmed before the reorg.
        """
        if not self._watch.reorg_pending:
            return {}
        node = self._node
        dependents = [txid for part in _chunks(list(txids)) for txid in node.mempool_dependents(part)]
        return {t: node.mempool_transactions([t, *node.mempool_ancestors(t)]) for t in dependents}

    def _arrival(self, match: PayingTransaction, now: datetime, came_by_feed: bool) -> _NewPayment | None:
        """Return the new payment, or None where the mempool does not have it.

        Its first-seen time is `now` if the feed has just published it, else the mempool's entry time. A
        message may have waited in its queue while the machine was asleep or the database was locked.
        """
        txid = match.transaction.txid
        entry = self._node.mempool_entry(txid)
        if entry is None:
            return None
        lineage = [match.transaction]
        if entry.ancestors:
            lineage += self._node.mempool_transactions(self._node.mempool_ancestors(txid))
        is_fresh = came_by_feed and now - entry.entered_at < FEED_DELAY
        first_seen_at = now if is_fresh else min(entry.entered_at, now)
        return _NewPayment(match, first_seen_at, lineage, now, entry.ancestors > 0)

    def _missing_beside(self, arrivals: Iterable[_NewPayment]) -> set[str]:
        """Return the payments that may be missing, and that count together with the new payments."""
        paid = {paid.address_id for arrival in arrivals for paid in arrival.match.outputs}
        address_ids = paid | addresses_of_parts_beside(paid)
        unconfirmed = {output.txid for output in outputs_at(*address_ids) if output.state == MEMPOOL}
        # Many payments to one address cost one batch of calls each. `is_any_gone` checks more than that.
        return unconfirmed if len(unconfirmed) <= BATCH_SIZE else unconfirmed & self._missing_since.keys()

    def _outcomes(
        self,
        txids: Collection[str],
        beside_arrivals: Collection[str],
        now: datetime,
        droppable: Collection[str] | None,
    ) -> _Outcomes | None:
        """Return the outcomes of these payments. None where the tip has moved, or the mempool still loads.

        A transaction that has just left the mempool may have been mined a moment ago. So its absence is
        certain only while the tip that we have read stays the node's tip. There is no grace for a missing
        payment that counts together with new money, in `beside_arrivals` or stored already.
        """
        present = self._present(txids)
        self._seen_elsewhere -= present
        absent = [txid for txid in txids if txid not in present]
        replaced = self._replacements(absent)
        if absent and not self._is_absence_certain():
            return None
        for txid in (*present, *replaced):
            self._missing_since.pop(txid, None)
        may_drop = absent if droppable is None else {*droppable, *beside_arrivals}
        missing = [txid for txid in absent if txid in may_drop and txid not in replaced]
        without_grace = txids_beside_new_money(missing).union(beside_arrivals)
        dropped = [txid for txid in missing if txid in without_grace or self._is_missing_long(txid, now)]
        returned = {txid for (txid, _), state in states_of(present).items() if state != MEMPOOL}
        return _Outcomes(returned, replaced, dropped)

    def _present(self, txids: Collection[str]) -> set[str]:
        if len(txids) > MAX_ENTRIES:
            return set(txids) & self._node.mempool_txids()
        return {txid for part in _chunks(list(txids)) for txid in self._node.in_mempool(part)}

    def _replacements(self, txids: Collection[str]) -> dict[str, str]:
        """Map each of these payments that has a conflict in the mempool to the conflict's txid."""
        spends = outpoints_of(txids)
        spenders = self._node.mempool_spenders(list({spend.outpoint for spend in spends}))
        return {
            spend.txid: spenders[spend.outpoint]
            for spend in spends
            if spenders.get(spend.outpoint, spend.spending_txid) != spend.spending_txid
        }

    def _is_absence_certain(self) -> bool:
        tip = stored_tip()
        return tip is not None and self._node.tip().hash == tip.hash and self._node.is_mempool_loaded()

    def _is_missing_long(self, txid: str, now: datetime) -> bool:
        since = self._missing_since.setdefault(txid, now)
        # A clock that was set back must not delay the outcome for ever. An early outcome is better than none.
        return not since <= now < since + (RELAY_GRACE if txid in self._seen_elsewhere else DROP_GRACE)


def _chunks(txids: Sequence[str]) -> list[Sequence[str]]:
    return [txids[start : start + BATCH_SIZE] for start in range(0, len(txids), BATCH_SIZE)]


def _record_outcomes(work: UnitOfWork, outcomes: _Outcomes) -> None:
    for txid, conflict in outcomes.replaced.items():
        mark_replaced(work, txid, conflict, in_block=None)
    mark_dropped(work, outcomes.dropped)
