"""Raw transactions from the feed: which pay us, and which take a payment back.

The feed proves nothing: bitcoind publishes a transaction again when its block comes, and when it goes. What
is recorded is what its mempool says when asked. What it says nothing of, the chain or the next look will.
"""

from collections.abc import Iterable
from datetime import datetime
from enum import Enum

import structlog

from daemon.bitcoind import Bitcoind
from daemon.mempool import Mempool
from daemon.recording import Match, Watch, find_matches
from models.output import MEMPOOL, MINED, outputs_of
from payments.transaction import MalformedTransaction, Transaction

log = structlog.get_logger(__name__)


class Outcome(Enum):
    """What came of a batch of transactions."""

    NOTHING = "none of them concerns us"
    RECORDED = "facts were stored"
    UNCLEAR = "bitcoind's chain has to be looked at before they make sense"


class TransactionHandler:
    """Takes what the feed brings."""

    def __init__(self, node: Bitcoind, mempool: Mempool, watch: Watch) -> None:
        self._node = node
        self._mempool = mempool
        self._watch = watch

    def handle(self, raws: Iterable[bytes], now: datetime) -> Outcome:
        """Record what is new."""
        transactions = [t for raw in raws if (t := self._read(raw)) is not None]
        fresh = _unrecorded(find_matches(transactions))
        endangered = {txid for t in transactions for txid in self._watch.conflicts(t)}
        if not fresh and not endangered:
            return Outcome.NOTHING
        is_clear = self._mempool.record(fresh, endangered, now, came_by_feed=True)
        return Outcome.RECORDED if is_clear else Outcome.UNCLEAR

    def _read(self, raw: bytes) -> Transaction | None:
        try:
            return self._node.read_transaction(raw)
        except MalformedTransaction as error:
            log.warning("unreadable transaction skipped", reason=str(error), size=len(raw))
            return None


def _unrecorded(matches: list[Match]) -> list[Match]:
    """Without those whose outputs are all known to be in the mempool or a block."""
    if not matches:
        return []
    settled = {
        (output.txid, output.vout)
        for output in outputs_of(match.transaction.txid for match in matches)
        if output.state in (MEMPOOL, MINED)
    }
    return [
        match
        for match in matches
        if any((match.transaction.txid, vout) not in settled for vout, _, _ in match.outputs)
    ]
