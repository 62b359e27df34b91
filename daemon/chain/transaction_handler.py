"""Raw transactions from the feed: which pay us, and which take a payment back.

The feed proves nothing: bitcoind publishes a transaction again when its block comes, and when it goes. What
is recorded is what its mempool says when asked. What it says nothing of, the chain or the next look will.
"""

from collections.abc import Iterable
from datetime import datetime

import structlog

from daemon.chain.mempool import Mempool, MempoolUpdate
from daemon.chain.watchlist import PayingTransaction, Watchlist
from daemon.node.client import Bitcoind
from models.output import MEMPOOL, MINED, states_of
from payments.transaction import MalformedTransaction, Transaction

log = structlog.get_logger(__name__)


class TransactionHandler:
    """Takes what the feed brings."""

    def __init__(self, node: Bitcoind, mempool: Mempool, watch: Watchlist) -> None:
        self._node = node
        self._mempool = mempool
        self._watch = watch

    def look(self, raws: Iterable[bytes], now: datetime) -> MempoolUpdate | None:
        """What is new, to be stored; None where none of them concerns us."""
        transactions = [t for raw in raws if (t := self._read(raw)) is not None]
        fresh = _unrecorded(self._watch.matches(transactions))
        endangered = {txid for _, txids in self._watch.conflicting(transactions) for txid in txids}
        if not fresh and not endangered:
            return None
        return self._mempool.look(fresh, endangered, now, came_by_feed=True)

    def _read(self, raw: bytes) -> Transaction | None:
        try:
            return self._node.read_transaction(raw)
        except MalformedTransaction as error:
            log.warning("unreadable transaction skipped", reason=str(error), size=len(raw))
            return None


def _unrecorded(matches: list[PayingTransaction]) -> list[PayingTransaction]:
    """Without those whose outputs are all known to be in the mempool or a block."""
    states = states_of([match.transaction.txid for match in matches])
    return [
        match
        for match in matches
        if any(
            states.get((match.transaction.txid, vout)) not in (MEMPOOL, MINED) for vout, _, _ in match.outputs
        )
    ]
