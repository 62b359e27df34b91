"""bitcoind's mempool: which payments are in it, and what became of those that are not any more."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from types import MappingProxyType

import structlog

from daemon.chain.outputs import mark_dropped, mark_replaced, record_unconfirmed
from daemon.chain.watchlist import PayingTransaction, Watchlist
from daemon.node.client import Bitcoind
from daemon.unit_of_work import unit_of_work
from models.block import stored_tip
from models.db.leadership import node_changed
from models.output import (
    DROPPED,
    MEMPOOL,
    MINED,
    outputs_of,
    spends_of,
    states_of,
    txids_believed_in_mempool,
    unconfirmed_outputs,
)
from payments.transaction import Transaction

log = structlog.get_logger(__name__)

DROP_GRACE = timedelta(seconds=5)
"""How long a payment must be missing before it is called dropped: a node that has just started gets its
wallet's transactions back a moment after it answers."""

RELAY_GRACE = timedelta(seconds=60)
"""The same for one that only another node has had, whose daemon was at work before: it may be on its way."""

FEED_DELAY = timedelta(seconds=2)
"""How late a message of the feed may be to count as news: the mempool's times are whole seconds."""

MAX_ENTRIES = 1000
"""With more payments the list of the whole mempool costs less than an entry for each."""

MAX_FOREIGN_PER_SCAN = 10_000
"""How many foreign transactions one look reads where no wallet can name its own: half a second's work."""

BATCH_SIZE = 100
"""How many of them bitcoind is asked for at once: a stranger may have made each as large as is relayed."""


@dataclass(frozen=True, slots=True)
class _NewPayment:
    """A payment that bitcoind has in its mempool. `lineage` is it and its unconfirmed ancestors.

    `has_ancestors` is true even where they left the mempool before bitcoind was asked for them.
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
    """What became of payments, by txid; `returned` are those that were away and are in the mempool again."""

    returned: Collection[str] = ()
    replaced: dict[str, str] = field(default_factory=dict)
    dropped: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class MempoolUpdate:
    """What bitcoind said of payments, to be stored; `lineages` of those that are in the mempool again.

    It is not `is_conclusive` in two cases only: the tip has moved, or bitcoind still loads its mempool. Both
    end by themselves. The caller then syncs and looks again.
    """

    fates: _Outcomes
    arrivals: list[_NewPayment]
    is_conclusive: bool
    watch: Watchlist
    lineages: Mapping[str, Sequence[Transaction]] = field(default_factory=dict)

    def apply(self) -> None:
        """Store all of it, inside the caller's database transaction.

        One transaction, so that a payment neither counts together with the one it replaces, nor is taken for
        gone while its replacement is still to come.
        """
        # Before what they replace is marked: a fee bump is as old as what was there until then.
        for arrival in self.arrivals:
            record_unconfirmed(arrival.match, arrival.first_seen_at, arrival.now, arrival.lineage, self.watch)
        _record_fates(self.fates)
        self.watch.add(self.lineages)

    def apply_in_transaction(self) -> None:
        """Store all of it in a database transaction of its own, if there is anything."""
        fates = self.fates
        if not (self.arrivals or self.lineages or fates.replaced or fates.dropped):
            return
        with unit_of_work("mempool-recorded"):
            self.apply()


class Mempool:
    """Holds what is recorded of unconfirmed payments against bitcoind's mempool."""

    def __init__(self, node: Bitcoind, watch: Watchlist) -> None:
        self._node = node
        self._watch = watch
        self._missing_since: dict[str, datetime] = {}
        self._is_new_here = node_changed()
        self._hearsay: frozenset[str] = frozenset()
        self._foreign: set[str] = set()
        self._check_from = 0

    @property
    def is_missing_any(self) -> bool:
        """Whether a payment has left the mempool too lately to be called dropped: ask again soon."""
        return bool(self._missing_since)

    def look(
        self,
        matches: Iterable[PayingTransaction],
        endangered: Collection[str],
        now: datetime,
        *,
        came_by_feed: bool = False,
        undecided: Collection[str] | None = None,
    ) -> MempoolUpdate:
        """Return which of these payments the mempool has, and what became of those that may conflict.

        Of the `endangered` only the `undecided` (all, if not given) can be dropped.
        """
        asked = list(matches)
        arrivals = [a for match in asked if (a := self._arrival(match, now, came_by_feed)) is not None]
        is_any_absent = len(arrivals) < len(asked)
        rivals = {a.txid: {txid for t in a.lineage for txid in self._watch.conflicts(t)} for a in arrivals}
        fates = self._fates({*endangered}.union(*rivals.values()), now, undecided)
        if fates is None:
            return MempoolUpdate(_Outcomes(), [], False, self._watch)
        # One that is back may replace another in turn: it is stored like one that comes for the first time.
        for txids in (fates.replaced.values(), fates.returned):
            arrivals += self._unread_of_ours(txids, now, {a.txid for a in arrivals})
        # Several questions concern each of these. The mempool may have changed between two of them.
        unsure = {
            a.txid for a in arrivals if a.has_ancestors or a.txid in fates.returned or rivals.get(a.txid)
        }
        gone = unsure - self._present(unsure)
        arrivals = [a for a in arrivals if a.txid not in gone]
        # bitcoind also publishes what is in a block, and with txindex=1 it has what no chain holds any more.
        is_conclusive = not (is_any_absent or gone) or self._is_absence_certain()
        return MempoolUpdate(fates, arrivals, is_conclusive, self._watch)

    def is_any_gone(self) -> bool:
        """Return whether something has left the mempool that the database believes in it.

        The feed is silent where nothing conflicts with what has left: an eviction, or a parent whose
        replacement was itself replaced. Of more than MAX_ENTRIES the next ones are asked for at each call.
        """
        believed = sorted(txids_believed_in_mempool())
        start = self._check_from if self._check_from < len(believed) else 0
        self._check_from = start + MAX_ENTRIES
        part = believed[start : self._check_from]
        return len(self._present(part)) < len(part)

    def verify_unconfirmed(self, now: datetime) -> bool:
        """Ask after every payment that is in no block; False where the tip has moved: sync, and ask again."""
        outputs = unconfirmed_outputs()
        if self._is_new_here:
            self._hearsay = frozenset(txid for txid, state, _ in outputs if state == MEMPOOL)
            self._is_new_here = False
        undecided = {txid for txid, state, replaced_in in outputs if state != DROPPED and replaced_in is None}
        self._missing_since = {t: since for t, since in self._missing_since.items() if t in undecided}
        # Before it is asked whether they are there: what is replaced after that, the feed tells.
        lineages = self._grown_lineages({txid for txid, state, _ in outputs if state == MEMPOOL})
        findings = self._record([], {txid for txid, _, _ in outputs}, now, undecided, lineages)
        if findings.is_conclusive:
            self._watch.settle()
        return findings.is_conclusive

    def rescan(self, tip_hash: str, now: datetime, *, by_wallet: bool) -> bool:
        """Store payments that the feed missed. Return False where something is left for another look."""
        candidates = self._node.wallet_mempool_txids(tip_hash) if by_wallet else self._unread()
        states = {output.txid: output.state for output in outputs_of(candidates)}
        returned = [txid for txid, state in states.items() if state not in (MEMPOOL, MINED)]
        matches = self._matches([txid for txid in candidates if txid not in states])
        if matches or returned:
            # What is gone is gone: it may be back, but is not waited for.
            findings = self._record(matches, returned, now, undecided=())
            if findings.arrivals:
                log.info("payments found that the feed did not bring", count=len(findings.arrivals))
            if not findings.is_conclusive:
                return False
        if by_wallet:
            return True
        self._foreign.update(candidates)
        return len(candidates) < MAX_FOREIGN_PER_SCAN

    def look_at(self, txids: Sequence[str], now: datetime) -> None:
        """Record those of these transactions that the mempool has and that pay us."""
        if matches := self._matches(txids):
            self._record(matches, [], now)

    def _record(
        self,
        matches: Iterable[PayingTransaction],
        endangered: Collection[str],
        now: datetime,
        undecided: Collection[str] | None = None,
        lineages: Mapping[str, Sequence[Transaction]] = MappingProxyType({}),
    ) -> MempoolUpdate:
        """Look, and store what was found, and these lineages."""
        findings = self.look(matches, endangered, now, undecided=undecided)
        findings = replace(findings, lineages={**lineages, **findings.lineages})
        findings.apply_in_transaction()
        return findings

    def _matches(self, txids: Sequence[str]) -> list[PayingTransaction]:
        """Return those of these transactions that bitcoind has, and that pay us."""
        return [
            m for part in _chunks(txids) for m in self._watch.matches(self._node.mempool_transactions(part))
        ]

    def _unread(self) -> list[str]:
        """Without a wallet any transaction of the mempool may be ours: the next of those that are new."""
        everything = self._node.mempool_txids()
        # The new list's own strings, so that the whole of the old one is let go.
        self._foreign = {txid for txid in everything if txid in self._foreign}
        return list(islice((txid for txid in everything if txid not in self._foreign), MAX_FOREIGN_PER_SCAN))

    def _unread_of_ours(
        self, txids: Iterable[str], now: datetime, recorded: Collection[str]
    ) -> list[_NewPayment]:
        """Return those that pay us too, though the feed has not brought them: a customer's fee bump."""
        unread = list(set(txids).difference(recorded))
        return [a for match in self._matches(unread) if (a := self._arrival(match, now, False)) is not None]

    def _lineages(self, returned: Iterable[str]) -> dict[str, Sequence[Transaction]]:
        """What payments that were away depend on now: the ancestors of one in a block are not unconfirmed."""
        node = self._node
        return {t: node.mempool_transactions([t, *node.mempool_ancestors(t)]) for t in returned}

    def _grown_lineages(self, txids: Collection[str]) -> dict[str, Sequence[Transaction]]:
        """What these payments depend on, if blocks have left the chain: one that stayed in the mempool may be
        made of money that was confirmed, and is not any more."""
        if not self._watch.reorg_pending:
            return {}
        return self._lineages(t for part in _chunks(list(txids)) for t in self._node.mempool_dependents(part))

    def _arrival(self, match: PayingTransaction, now: datetime, came_by_feed: bool) -> _NewPayment | None:
        """First seen now if the feed has just brought it; else when the mempool says that it came.

        A message may have lain in its queue: the machine was asleep, or the database locked.
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

    def _fates(
        self, txids: Collection[str], now: datetime, undecided: Collection[str] | None = None
    ) -> _Outcomes | None:
        """What became of these payments. None where the tip has moved, or the mempool is still loading.

        A transaction that has just left the mempool may have been mined a moment ago: its absence means
        something only while the tip that we have read stays the node's tip.
        """
        present = self._present(txids)
        self._hearsay -= present
        absent = [txid for txid in txids if txid not in present]
        replaced = self._replacements(absent)
        if absent and not self._is_absence_certain():
            return None
        for txid in (*present, *replaced):
            self._missing_since.pop(txid, None)
        missing = [t for t in absent if t not in replaced and (undecided is None or t in undecided)]
        returned = {txid for (txid, _), state in states_of(present).items() if state != MEMPOOL}
        return _Outcomes(returned, replaced, [txid for txid in missing if self._is_missing_long(txid, now)])

    def _present(self, txids: Collection[str]) -> set[str]:
        if len(txids) > MAX_ENTRIES:
            return set(txids) & self._node.mempool_txids()
        return {txid for part in _chunks(list(txids)) for txid in self._node.in_mempool(part)}

    def _replacements(self, txids: Collection[str]) -> dict[str, str]:
        """For each of these payments that something in the mempool conflicts with: by what."""
        spends = spends_of(txids)
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
        # Also where the clock was set back: better an early look than one that never comes.
        return not since <= now < since + (RELAY_GRACE if txid in self._hearsay else DROP_GRACE)


def _chunks(txids: Sequence[str]) -> list[Sequence[str]]:
    """So many as bitcoind is asked for at once."""
    return [txids[start : start + BATCH_SIZE] for start in range(0, len(txids), BATCH_SIZE)]


def _record_fates(fates: _Outcomes) -> None:
    for txid, by in fates.replaced.items():
        mark_replaced(txid, by, in_block=None)
    mark_dropped(fates.dropped)
