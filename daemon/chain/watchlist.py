"""Our addresses, and the outpoints that our payments depend on: what each transaction is compared with."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from daemon.chain.address_filter import Addresses
from models.output import add_spends, all_spends
from payments.transaction import Transaction


@dataclass(frozen=True, slots=True)
class PayingTransaction:
    """A transaction that pays us: for each output of ours (vout, amount_sats, address_id)."""

    transaction: Transaction
    outputs: tuple[tuple[int, int, int], ...]


class Watchlist:
    """What every transaction is held against: our addresses, and the outpoints that payments depend on.

    The outpoints mirror the `spend` table, which holds only what is not yet buried deep.
    """

    def __init__(self) -> None:
        self.addresses = Addresses()
        self.reorg_pending = True
        """Whether blocks have left the chain since it was last asked what payments in the mempool depend on:
        it may be more now. At the start nobody knows."""
        self._spends: defaultdict[bytes, dict[str, str]] = defaultdict(dict)

    def load(self) -> None:
        """Take over what is stored."""
        self._spends.clear()
        for txid, outpoint, spender in all_spends():
            self._spends[outpoint][txid] = spender

    def add(self, lineages: Mapping[str, Iterable[Transaction]]) -> None:
        """Watchlist, for each of these payments, what it and its unconfirmed ancestors spend."""
        rows = [
            (txid, outpoint, t.txid)
            for txid, lineage in lineages.items()
            for t in lineage
            for outpoint in t.inputs
        ]
        for txid, outpoint, spender in rows:
            self._spends[outpoint][txid] = spender
        add_spends(rows)

    def settle(self) -> None:
        """Note that the mempool has been asked after what left the chain."""
        self.reorg_pending = False

    def matches(self, transactions: Sequence[Transaction]) -> list[PayingTransaction]:
        """Return the transactions that pay an address of the table. An output of 0 satoshis pays nothing."""
        found: defaultdict[Transaction, list[tuple[int, int, int]]] = defaultdict(list)
        for transaction, vout, address_id in self.addresses.paid(transactions):
            amount_sats, _ = transaction.outputs[vout]
            if amount_sats:
                found[transaction].append((vout, amount_sats, address_id))
        return [PayingTransaction(transaction, tuple(outputs)) for transaction, outputs in found.items()]

    def conflicts(self, transaction: Transaction) -> set[str]:
        """The payments that can't be valid beside this transaction."""
        spends = self._spends
        touched = [spends[outpoint] for outpoint in transaction.inputs if outpoint in spends]
        if not touched:
            return set()
        txid = transaction.txid
        return {ours for spenders in touched for ours, spender in spenders.items() if spender != txid}

    def heirs(self, lineage: Iterable[Transaction], replaced: Collection[str]) -> set[str]:
        """Return the payments that depend on those of these transactions that replace one of `replaced`."""
        return {
            ours
            for transaction in lineage
            if not self.conflicts(transaction).isdisjoint(replaced)
            for outpoint in transaction.inputs
            for ours, spender in self._spends.get(outpoint, {}).items()
            if spender == transaction.txid
        }

    def conflicting(self, transactions: Iterable[Transaction]) -> Iterator[tuple[Transaction, set[str]]]:
        """Those of these transactions that payments can't be valid beside, each with these payments."""
        is_free = self._spends.keys().isdisjoint
        for transaction in [t for t in transactions if not is_free(t.inputs)]:
            if conflicts := self.conflicts(transaction):
                yield transaction, conflicts
