"""Following the chain: from the last block that was read to the node's tip, whatever lies between.

A reorg is no special mode: blocks of ours that the node no longer has are taken back, those it has instead
are read. One transaction a block, so that a crash goes on at the next one.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum

import structlog

from daemon.bitcoind import Bitcoind, NodeError, NodeTip
from daemon.failpoint import transaction
from daemon.recording import Watch, mark_replaced, record_mined, unmine
from models.block import Block as StoredBlock
from models.block import block_at, forget_old_blocks, stored_tip
from models.output import Output
from models.payment import PaymentRequest
from payments.transaction import Block

log = structlog.get_logger(__name__)

CHAINWORK_DIGITS = 64


class Sync(Enum):
    """Where a sync ended."""

    AT_TIP = "at the node's tip"
    CATCHING_UP = "the node's chain has less work than the one already read: it is catching up"


class BlockHandler:
    """Reads blocks, and takes them back."""

    def __init__(self, node: Bitcoind, watch: Watch, pulse: Callable[[], None]) -> None:
        """`pulse` is called between two blocks; what it raises ends the sync, which goes on another time."""
        self._node = node
        self._watch = watch
        self._pulse = pulse

    def sync(self, node_tip: NodeTip, now: datetime) -> tuple[Sync, NodeTip]:
        """Read up to the node's tip, and say which it was. Statuses are decided later, at that tip.

        A tip with less work than ours is a node that came back from a crash, not a reorg: it is waited for.
        """
        while True:
            tip = stored_tip()
            if tip is None:
                self._begin_at(node_tip)
                return Sync.AT_TIP, node_tip
            if tip.hash == node_tip.hash:
                return Sync.AT_TIP, node_tip
            if node_tip.chainwork < tip.chainwork:
                return Sync.CATCHING_UP, node_tip
            self._advance(tip, node_tip, now)
            reached = stored_tip()
            # By hash: two blocks of one height are one row to peewee.
            if reached is not None and reached.hash == tip.hash:
                raise NodeError("bitcoind's chain moves while it is read")
            if reached is None or reached.hash != node_tip.hash:
                node_tip = self._node.tip()

    def _begin_at(self, node_tip: NodeTip) -> None:
        """A new database: nobody was ever given an address, so no earlier block can pay one."""
        header = self._node.header(node_tip.hash)
        assert header is not None, "bitcoind knows its own tip"
        with transaction("chain-joined"):
            _store(node_tip.hash, node_tip.height, node_tip.chainwork, header["time"])
        log.info("chain joined", height=node_tip.height, block=node_tip.hash)

    def _advance(self, tip: StoredBlock, node_tip: NodeTip, now: datetime) -> None:
        fork = self._fork(tip) or self._begin_again(now)
        if fork.height < tip.height:
            self._disconnect_down_to(fork, tip)
        self._read_above(fork, node_tip, now)

    def _fork(self, tip: StoredBlock) -> StoredBlock | None:
        """The newest stored block that is in the node's active chain."""
        block: StoredBlock | None = tip
        while block is not None and self._node.block_hash(block.height) != block.hash:
            block = block_at(block.height - 1)
        return block

    def _begin_again(self, now: datetime) -> StoredBlock:
        """None of the blocks that were kept is left in the chain: read again from the oldest request that is
        open, or whose payment has left the chain."""
        is_concerned = PaymentRequest.closed_at.is_null() | PaymentRequest.address.in_(self._unchained())
        oldest = PaymentRequest.select().where(is_concerned).order_by(PaymentRequest.created_at).first()
        since = (oldest.created_at if oldest else now).timestamp() - 2 * 3600
        height = StoredBlock.select(StoredBlock.height).order_by(StoredBlock.height).scalar()
        block_hash = None
        while height > 0:
            height -= 1
            block_hash = self._node.block_hash(height)
            header = self._node.header(block_hash) if block_hash else None
            if header and header["time"] < since:
                break
        block_hash = block_hash or self._node.block_hash(0)
        header = self._node.header(block_hash) if block_hash else None
        assert header is not None, "bitcoind knows its own chain"
        log.warning("reorg deeper than the blocks kept; reading again", height=height, block=block_hash)
        with transaction("chain-read-again"):
            unmine_above(height)
            StoredBlock.delete().execute()
            return _store(header["hash"], header["height"], header["chainwork"], header["time"])

    def _unchained(self) -> set[int]:
        """The addresses paid in blocks that are not in the node's chain, by the newest outputs first."""
        found: set[int] = set()
        mined = Output.select().where(Output.block_hash.is_null(False))
        for output in mined.order_by(Output.block_height.desc()):
            assert output.block_height is not None
            if self._node.block_hash(output.block_height) == output.block_hash:
                break
            found.add(output.address_id)
        return found

    def _disconnect_down_to(self, fork: StoredBlock, tip: StoredBlock) -> None:
        log.warning("reorg", depth=tip.height - fork.height, fork_height=fork.height, old_tip=tip.hash)
        for height in range(tip.height, fork.height, -1):
            block = block_at(height)
            if block is not None:
                with transaction("block-disconnected"):
                    unmine([block.hash])
                    block.delete_instance()
                self._pulse()

    def _read_above(self, fork: StoredBlock, node_tip: NodeTip, now: datetime) -> None:
        """Read the blocks above `fork`, up to one that does not follow the last: the chain has moved."""
        previous_hash = fork.hash
        for height in range(fork.height + 1, node_tip.height + 1):
            is_tip = height == node_tip.height
            block_hash = node_tip.hash if is_tip else self._node.block_hash(height)
            if block_hash is None or not self._read(block_hash, height, previous_hash, now):
                return
            previous_hash = block_hash
            self._pulse()

    def _read(self, block_hash: str, height: int, previous_hash: str, now: datetime) -> bool:
        """Connect this block, and let go of it before the next comes; False where it follows another."""
        block = self._node.block(block_hash)
        if block.previous_hash != previous_hash:
            return False
        self._connect(block, height, now)
        return True

    def _connect(self, block: Block, height: int, now: datetime) -> None:
        matches = self._watch.matches(block.transactions)
        conflicts = list(self._watch.conflicting(block.transactions))
        with transaction("block-connected"):
            previous = block_at(height - 1)
            assert previous is not None
            assert previous.hash == block.previous_hash
            if matches:
                record_mined(matches, block, height, now, self._watch)
            for other, ours in conflicts:
                for txid in ours:
                    mark_replaced(txid, other.txid, in_block=block.hash)
            chainwork = f"{int(previous.chainwork, 16) + block.work:0{CHAINWORK_DIGITS}x}"
            _store(block.hash, height, chainwork, block.time)
            forget_old_blocks(height)
        log.info(
            "block connected",
            height=height,
            block=block.hash,
            transactions=len(block.transactions),
            payments=len(matches),
        )


def unmine_above(height: int) -> None:
    """Take back every block above this height, known or not."""
    above = Output.select().where((Output.block_height > height) | Output.replaced_in.is_null(False))
    unmine({found for output in above for found in (output.block_hash, output.replaced_in) if found})


def _store(block_hash: str, height: int, chainwork: str, time: int) -> StoredBlock:
    return StoredBlock.create(
        height=height, hash=block_hash, chainwork=chainwork, mined_at=datetime.fromtimestamp(time, UTC)
    )
