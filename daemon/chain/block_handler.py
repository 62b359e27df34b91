"""The way from the last block that the daemon has read to the node's tip, reorgs included.

A reorg is no special mode. The handler disconnects stored blocks that have left the node's active chain, and
connects the blocks that replace them. Each block has a database transaction of its own. After a crash, the
handler resumes at the next block.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import Enum

import structlog

from daemon.chain.outputs import (
    BlockContext,
    disconnect_outputs,
    forget_replacements,
    mark_replaced,
    record_mined,
)
from daemon.chain.watchlist import PayingTransaction, Watchlist
from daemon.node.checks import is_ordered
from daemon.node.client import Bitcoind
from daemon.node.errors import NodeError
from daemon.node.types import NodeTip
from daemon.progress import Progress
from daemon.unit_of_work import UnitOfWork, unit_of_work
from models.block import Block as StoredBlock
from models.block import add_blocks, block_at, forget_old_blocks, stored_tip
from models.output import Output, forget_outpoints_of, txids_in_block
from models.payment import PaymentRequest
from models.wallet import is_bitcoind_used
from payments.status import CLOSING_DEPTH
from payments.transaction import Block, Transaction, outpoint

log = structlog.get_logger(__name__)

CHAINWORK_DIGITS = 64


class Sync(Enum):
    """The result of a sync."""

    AT_TIP = "at the node's tip"
    CATCHING_UP = "the node's chain has less work than the one already read: it is catching up"


class BlockHandler:
    """Connects blocks, and disconnects them after a reorg."""

    def __init__(self, node: Bitcoind, watch: Watchlist, pulse: Callable[[], None]) -> None:
        """Call `pulse` between two blocks. Its exception ends the sync, which resumes at the next call."""
        self._node = node
        self._watch = watch
        self._pulse = pulse

    def sync(self, node_tip: NodeTip, now: datetime) -> tuple[Sync, NodeTip]:
        """Read up to the node's tip, and return the result and that tip. Statuses are decided later.

        A tip with less work than ours is no reorg, because a node may be catching up after a crash. The sync
        waits for that node, unless the operator has ordered to follow its chain.
        """
        while True:
            tip = stored_tip()
            if tip is None:
                self._begin_at(node_tip)
                return Sync.AT_TIP, node_tip
            if tip.hash == node_tip.hash:
                return Sync.AT_TIP, node_tip
            if node_tip.chainwork < tip.chainwork and not is_ordered(self._node):
                return Sync.CATCHING_UP, node_tip
            self._advance(tip, node_tip, now)
            reached = stored_tip()
            # Hashes are compared, because to peewee two blocks of one height are equal.
            if reached is not None and reached.hash == tip.hash:
                raise NodeError("bitcoind's chain moves while it is read")
            if reached is None or reached.hash != node_tip.hash:
                node_tip = self._node.tip()

    def _begin_at(self, node_tip: NodeTip) -> None:
        """Join the chain at the node's tip. No earlier block can pay us, because no address was in use."""
        header = self._node.header(node_tip.hash)
        assert header is not None, "bitcoind has its own tip"
        with unit_of_work("chain-joined"):
            add_blocks([_row(node_tip.hash, node_tip.height, int(node_tip.chainwork, 16), header["time"])])
        log.info("chain joined", height=node_tip.height, block=node_tip.hash)

    def _advance(self, tip: StoredBlock, node_tip: NodeTip, now: datetime) -> None:
        fork = self._fork(tip) or self._restart_at_older_block(node_tip, now)
        if fork.height < tip.height:
            log.warning("reorg", depth=tip.height - fork.height, fork_height=fork.height, old_tip=tip.hash)
            self._disconnect_down_to(fork.height, tip)
        self._read_above(fork, node_tip, now)

    def _fork(self, tip: StoredBlock) -> StoredBlock | None:
        """Return the newest stored block that is in the node's active chain, or None."""
        block: StoredBlock | None = tip
        while block is not None and self._node.block_hash(block.height) != block.hash:
            block = block_at(block.height - 1)
        return block

    def _restart_at_older_block(self, node_tip: NodeTip, now: datetime) -> StoredBlock:
        """Read again from the oldest request that is open, or whose payment has left the chain.

        The handler calls this where no stored block is in the node's chain. Return the block to begin above.
        """
        is_concerned = PaymentRequest.closed_at.is_null() | PaymentRequest.address.in_(
            self._unchained_address_ids()
        )
        oldest = PaymentRequest.select().where(is_concerned).order_by(PaymentRequest.created_at).first()
        since = (oldest.created_at if oldest else now).timestamp() - 2 * 3600
        oldest_height = StoredBlock.select(StoredBlock.height).order_by(StoredBlock.height).scalar()
        height = min(oldest_height, node_tip.height + 1)
        block_hash = None
        while height > 0:
            height -= 1
            block_hash = self._node.block_hash(height)
            header = self._node.header(block_hash) if block_hash else None
            if header and header["time"] < since:
                break
        block_hash = block_hash or self._node.block_hash(0)
        header = self._node.header(block_hash) if block_hash else None
        assert header is not None, "bitcoind has its own chain"
        self._watch.reorg_pending = True
        log.warning("reorg deeper than the blocks kept; reading again", height=height, block=block_hash)
        with unit_of_work("chain-read-again") as work:
            unmine_above(work, height)
            StoredBlock.delete().execute()
            block = _row(header["hash"], header["height"], int(header["chainwork"], 16), header["time"])
            add_blocks([block])
        return block

    def _unchained_address_ids(self) -> set[int]:
        """Return the ids of the addresses that blocks outside the node's chain pay.

        The search starts at the newest output and ends at the first output in the node's chain.
        """
        found: set[int] = set()
        mined = Output.select().where(Output.block_hash.is_null(False))
        for output in mined.order_by(Output.block_height.desc()):
            assert output.block_height is not None
            if self._node.block_hash(output.block_height) == output.block_hash:
                break
            found.add(output.address_id)
        return found

    def disconnect_from(self, height: int) -> None:
        """Disconnect the stored blocks from this height on. The next sync reads these heights again."""
        tip = stored_tip()
        if tip is not None and height <= tip.height:
            log.warning("reading blocks again", height=height, old_tip_height=tip.height)
            self._disconnect_down_to(height - 1, tip)

    def _disconnect_down_to(self, fork_height: int, tip: StoredBlock) -> None:
        self._watch.reorg_pending = True
        for height in range(tip.height, fork_height, -1):
            block = block_at(height)
            if block is not None:
                with unit_of_work("block-disconnected") as work:
                    disconnect_outputs(work, [block.hash])
                    block.delete_instance()
                self._pulse()

    def _read_above(self, fork: StoredBlock, node_tip: NodeTip, now: datetime) -> None:
        """Read the blocks above `fork`. Stop at a block that does not follow, because the chain has moved."""
        progress = Progress("catching up", node_tip.height - fork.height)
        reached = fork
        while reached.height < node_tip.height:
            self._pulse()
            block_hash = self._node.block_hash(reached.height + 1)
            block = None if block_hash is None else self._node.block(block_hash)
            if block is None or block.previous_hash != reached.hash:
                return
            reached = self._connect(reached, block, now)
            del block  # so that the next one does not come into memory beside it
            progress.report(reached.height - fork.height, height=reached.height)

    def _connect(self, tip: StoredBlock, block: Block, now: datetime) -> StoredBlock:
        """Store a block above `tip`, with its payments and conflicts, in one transaction. Return its row."""
        height = tip.height + 1
        matches = self._watch.matches(block.transactions)
        conflicts = list(self._watch.conflicting(block.transactions))
        context = BlockContext(self._received_at(matches), _replacing_lineages(block, conflicts))
        connected = _row(block.hash, height, int(tip.chainwork, 16) + block.work, block.time)
        with unit_of_work("block-connected") as work:
            if matches:
                record_mined(work, matches, block, height, now, self._watch, context)
            for other, ours in conflicts:
                for txid in ours:
                    mark_replaced(work, txid, other.txid, in_block=block.hash)
            add_blocks([connected])
            # The outpoints of payments to an open request are deleted when the request closes.
            forget_outpoints_of(txids_in_block(height - CLOSING_DEPTH + 1), height)
            forget_old_blocks(height)
        log.info(
            "block connected",
            height=height,
            block=block.hash,
            transactions=len(block.transactions),
            payments=len(matches),
        )
        return connected

    def _received_at(self, matches: Sequence[PayingTransaction]) -> dict[str, datetime]:
        """Return when bitcoind's wallet received the new transactions, by txid."""
        new = {match.transaction.txid for match in matches if match.is_new}
        wanted = new if new and is_bitcoind_used() else ()
        times = {txid: self._node.wallet_received_at(txid) for txid in wanted}
        return {txid: time for txid, time in times.items() if time is not None}


def _replacing_lineages(
    block: Block, conflicts: Sequence[tuple[Transaction, set[str]]]
) -> dict[str, list[Transaction]]:
    """Map each conflict in this block, and each of its descendants there, to its lineage."""
    lineages = {other.txid: [other] for other, _ in conflicts}
    if not lineages:
        return {}
    # An outpoint begins with the transaction's hash, in the internal byte order.
    found = {outpoint(txid, 0)[:32]: lineage for txid, lineage in lineages.items()}
    for transaction in block.transactions:
        parents = {spent[:32] for spent in transaction.inputs} & found.keys()
        if parents:
            ancestors = [t for parent in parents for t in found[parent]]
            lineages[transaction.txid] = list(dict.fromkeys([transaction, *ancestors]))
            found[outpoint(transaction.txid, 0)[:32]] = lineages[transaction.txid]
    return lineages


def unmine_above(work: UnitOfWork, height: int) -> None:
    """Disconnect every block above this height, even a block that is not stored."""
    above = Output.select().where(Output.block_height > height)
    disconnect_outputs(work, {output.block_hash for output in above if output.block_hash})
    # The database has no height for a mined conflict. Conflicts below belong to requests closed long ago.
    forget_replacements(work, Output.replaced_in.is_null(False))


def _row(block_hash: str, height: int, chainwork: int, time: int) -> StoredBlock:
    return StoredBlock(
        height=height,
        hash=block_hash,
        chainwork=f"{chainwork:0{CHAINWORK_DIGITS}x}",
        mined_at=datetime.fromtimestamp(time, UTC),
    )
