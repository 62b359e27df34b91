"""The addresses and outpoints with which the daemon compares each transaction."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from models.address import find_scripts
from models.output import (
    MEMPOOL,
    MINED,
    Output,
    add_watched_outpoints,
    all_watched_outpoints,
    outputs_of,
)
from payments.transaction import Transaction


class PaidOutput(NamedTuple):
    """An output of a transaction that pays one of our addresses."""

    vout: int
    amount_sats: int
    address_id: int


@dataclass(frozen=True, slots=True)
class PayingTransaction:
    """A transaction that pays us, and its outputs that do so. `recorded` has their rows in the database."""

    transaction: Transaction
    outputs: tuple[PaidOutput, ...]
    recorded: Mapping[int, Output] = field(default_factory=dict)

    @property
    def is_new(self) -> bool:
        """Return whether an output is not recorded."""
        return any(paid.vout not in self.recorded for paid in self.outputs)

    @property
    def is_live(self) -> bool:
        """Return whether all outputs are recorded in the mempool or in a block."""
        return not self.is_new and all(row.state in (MEMPOOL, MINED) for row in self.recorded.values())


class Watchlist:
    """Our addresses in the database, and in memory the outpoints that our payments depend on.

    The outpoints mirror the table `watched_outpoint`, which has no rows for payments that are buried deep.
    """

    def __init__(self) -> None:
        self.reorg_pending = True
        """True if a reorg has happened since the mempool's lineages were read.

        After a reorg, payments may depend on more transactions. The value is true at the start, because an
        earlier process may have seen a reorg.
        """
        self._spenders: defaultdict[bytes, dict[str, str]] = defaultdict(dict)

    def load(self) -> None:
        """Read the outpoints from the database."""
        self._spenders.clear()
        for txid, outpoint, spender in all_watched_outpoints():
            self._spenders[outpoint][txid] = spender

    def add(self, lineages: Mapping[str, Iterable[Transaction]]) -> None:
        """Store and watch the outpoints that each payment's lineage spends. Keys are the payments' txids."""
        rows = [
            (txid, outpoint, t.txid)
            for txid, lineage in lineages.items()
            for t in lineage
            for outpoint in t.inputs
        ]
        for txid, outpoint, spender in rows:
            self._spenders[outpoint][txid] = spender
        add_watched_outpoints(rows)

    def settle(self) -> None:
        """Note that the lineages in the mempool are up to date after a reorg."""
        self.reorg_pending = False

    def matches(self, transactions: Sequence[Transaction]) -> list[PayingTransaction]:
        """Return the transactions that pay an address of the table. An output of 0 satoshis pays nothing."""
        ours = find_scripts({script for transaction in transactions for _, script in transaction.outputs})
        if not ours:
            return []
        paid = [
            (transaction, PaidOutput(vout, amount_sats, ours[script]))
            for transaction in transactions
            for vout, (amount_sats, script) in enumerate(transaction.outputs)
            if script in ours and amount_sats
        ]
        found: defaultdict[Transaction, list[PaidOutput]] = defaultdict(list)
        for transaction, output in paid:
            found[transaction].append(output)
        recorded: defaultdict[str, dict[int, Output]] = defaultdict(dict)
        for row in outputs_of({transaction.txid for transaction in found}):
            recorded[row.txid][row.vout] = row
        return [PayingTransaction(t, tuple(outputs), recorded[t.txid]) for t, outputs in found.items()]

    def conflicts(self, transaction: Transaction) -> set[str]:
        """Return the txids of the payments that conflict with this transaction."""
        spenders_of = self._spenders
        touched = [spenders_of[outpoint] for outpoint in transaction.inputs if outpoint in spenders_of]
        if not touched:
            return set()
        txid = transaction.txid
        return {ours for spenders in touched for ours, spender in spenders.items() if spender != txid}

    def heirs(self, lineage: Iterable[Transaction], replaced: Collection[str]) -> set[str]:
        """Return the payments that depend on a transaction of `lineage` which replaces one of `replaced`."""
        return {
            ours
            for transaction in lineage
            if not self.conflicts(transaction).isdisjoint(replaced)
            for outpoint in transaction.inputs
            for ours, spender in self._spenders.get(outpoint, {}).items()
            if spender == transaction.txid
        }

    def conflicting(self, transactions: Iterable[Transaction]) -> Iterator[tuple[Transaction, set[str]]]:
        """Yield each transaction that conflicts with payments, with the txids of these payments."""
        is_free = self._spenders.keys().isdisjoint
        for transaction in [t for t in transactions if not is_free(t.inputs)]:
            if conflicts := self.conflicts(transaction):
                yield transaction, conflicts
