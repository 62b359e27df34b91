"""The raw transactions from the feed that pay us, or conflict with a payment.

A message of the feed proves nothing, because bitcoind publishes a transaction again with its block, and after
a reorg. So the daemon checks the mempool and records only what the mempool contains. For all other
transactions, the chain or the next look brings the facts.
"""

from collections.abc import Iterable
from datetime import datetime

import structlog

from daemon.chain.mempool import Mempool, MempoolUpdate
from daemon.chain.watchlist import Watchlist
from daemon.node.client import Bitcoind
from payments.transaction import MalformedTransaction, Transaction

log = structlog.get_logger(__name__)


class TransactionHandler:
    """Compares the feed's transactions with the watchlist."""

    def __init__(self, node: Bitcoind, mempool: Mempool, watch: Watchlist) -> None:
        self._node = node
        self._mempool = mempool
        self._watch = watch

    def compare(self, raws: Iterable[bytes], now: datetime) -> MempoolUpdate | None:
        """Return the new facts, not stored yet. Return None where no transaction concerns us."""
        transactions = [t for raw in raws if (t := self._read(raw)) is not None]
        new = [match for match in self._watch.matches(transactions) if not match.is_live]
        possibly_conflicted = {txid for _, txids in self._watch.conflicting(transactions) for txid in txids}
        if not new and not possibly_conflicted:
            return None
        return self._mempool.compare(new, possibly_conflicted, now, came_by_feed=True)

    def _read(self, raw: bytes) -> Transaction | None:
        try:
            return self._node.read_transaction(raw)
        except MalformedTransaction as error:
            log.warning("unreadable transaction skipped", reason=str(error), size=len(raw))
            return None
