"""Following the chain: from the last block that was read to the node's tip, whatever lies between.

A reorg is no special mode: blocks of ours that the node no longer has are taken back, those it has instead
are read. A transaction for each full block or for some small ones, so that a crash goes on at the next one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

import structlog

from daemon.chain.outputs import (
    Foreword,
    disconnect_outputs,
    forget_replacements,
    mark_replaced,
    record_mined,
)
from daemon.chain.watchlist import PayingTransaction, Watchlist
from daemon.node.checks import is_ordered
from daemon.node.client import Bitcoind
from daemon.node.rpc import NodeError
from daemon.node.types import NodeTip
from daemon.progress import Progress
from daemon.unit_of_work import unit_of_work
from models.block import Block as StoredBlock
from models.block import add_blocks, block_at, forget_old_blocks, stored_tip
from models.output import Output, forget_spends, states_of, txids_in_blocks
from models.payment import PaymentRequest
from payments.status import CLOSING_DEPTH
from payments.transaction import Block, Transaction, outpoint

log = structlog.get_logger(__name__)

CHAINWORK_DIGITS = 64

BYTES_AT_ONCE, BLOCKS_AT_ONCE = 500_000, 500
"""After how many of them a database transaction is ended. Some hundred megabytes would wait for it else."""


class Sync(Enum):
    """Where a sync ended."""

    AT_TIP = "at the node's tip"
    CATCHING_UP = "the node's chain has less work than the one already read: it is catching up"


@dataclass(frozen=True, slots=True)
class _Content:
    """The payments in a block, and what there conflicts with which payments."""

    block: Block
    matches: list[PayingTransaction]
    conflicts: list[tuple[Transaction, set[str]]]


class BlockHandler:
    """Reads blocks, and takes them back."""

    def __init__(self, node: Bitcoind, watch: Watchlist, pulse: Callable[[], None]) -> None:
        """`pulse` is called between two blocks; what it raises ends the sync, which goes on another time."""
        self._node = node
        self._watch = watch
        self._pulse = pulse

    def sync(self, node_tip: NodeTip, now: datetime) -> tuple[Sync, NodeTip]:
        """Read up to the node's tip, and return which it was. Statuses are decided later, at that tip.

        A tip with less work than ours is a node that came back from a crash, not a reorg. It is waited for,
        unless the operator has ordered to follow its chain.
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
            # By hash: two blocks of one height are one row to peewee.
            if reached is not None and reached.hash == tip.hash:
                raise NodeError("bitcoind's chain moves while it is read")
            if reached is None or reached.hash != node_tip.hash:
                node_tip = self._node.tip()

    def _begin_at(self, node_tip: NodeTip) -> None:
        """A new database: nobody was ever given an address, so no earlier block can pay one."""
        header = self._node.header(node_tip.hash)
        assert header is not None, "bitcoind knows its own tip"
        with unit_of_work("chain-joined"):
            add_blocks([_row(node_tip.hash, node_tip.height, int(node_tip.chainwork, 16), header["time"])])
        log.info("chain joined", height=node_tip.height, block=node_tip.hash)

    def _advance(self, tip: StoredBlock, node_tip: NodeTip, now: datetime) -> None:
        fork = self._fork(tip) or self._begin_again(node_tip, now)
        if fork.height < tip.height:
            log.warning("reorg", depth=tip.height - fork.height, fork_height=fork.height, old_tip=tip.hash)
            self._disconnect_down_to(fork.height, tip)
        self._read_above(fork, node_tip, now)

    def _fork(self, tip: StoredBlock) -> StoredBlock | None:
        """The newest stored block that is in the node's active chain."""
        block: StoredBlock | None = tip
        while block is not None and self._node.block_hash(block.height) != block.hash:
            block = block_at(block.height - 1)
        return block

    def _begin_again(self, node_tip: NodeTip, now: datetime) -> StoredBlock:
        """Begin where the oldest request is that is open, or whose payment has left the chain.

        None of the blocks that were kept is in the node's chain.
        """
        is_concerned = PaymentRequest.closed_at.is_null() | PaymentRequest.address.in_(self._unchained())
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
        assert header is not None, "bitcoind knows its own chain"
        self._watch.reorg_pending = True
        log.warning("reorg deeper than the blocks kept; reading again", height=height, block=block_hash)
        with unit_of_work("chain-read-again"):
            unmine_above(height)
            StoredBlock.delete().execute()
            block = _row(header["hash"], header["height"], int(header["chainwork"], 16), header["time"])
            add_blocks([block])
        return block

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

    def disconnect_from(self, height: int) -> None:
        """Take back the stored blocks from this height on. The next sync reads them again."""
        tip = stored_tip()
        if tip is not None and height <= tip.height:
            log.warning("reading blocks again", height=height, old_tip_height=tip.height)
            self._disconnect_down_to(height - 1, tip)

    def _disconnect_down_to(self, fork_height: int, tip: StoredBlock) -> None:
        self._watch.reorg_pending = True
        for height in range(tip.height, fork_height, -1):
            block = block_at(height)
            if block is not None:
                with unit_of_work("block-disconnected"):
                    disconnect_outputs([block.hash])
                    block.delete_instance()
                self._pulse()

    def _read_above(self, fork: StoredBlock, node_tip: NodeTip, now: datetime) -> None:
        """Read the blocks above `fork`, up to one that does not follow the last: the chain has moved."""
        hashes = self._hashes_between(fork, node_tip)
        progress = Progress("catching up", node_tip.height - fork.height)
        reached: StoredBlock | None = fork
        while reached is not None:
            progress.tell(reached.height - fork.height, height=reached.height)
            self._pulse()
            reached = self._read_some(reached, hashes, now)

    def _hashes_between(self, fork: StoredBlock, node_tip: NodeTip) -> Iterator[str]:
        """The active chain's blocks above `fork`, the node's tip last, as it was asked for."""
        height, block_hash = fork.height, fork.hash
        while height < node_tip.height - 1:
            hashes = self._node.hashes_after(block_hash, height, node_tip.height - 1)
            if not hashes:
                return
            yield from hashes
            height, block_hash = height + len(hashes), hashes[-1]
        yield node_tip.hash

    def _read_some(self, tip: StoredBlock, hashes: Iterator[str], now: datetime) -> StoredBlock | None:
        """Read and connect some blocks above `tip`, and let go of them; the last of them, None at the end.

        A full block, or many small ones: what was missed in a month is not a commit for each.
        """
        blocks: list[Block] = []
        previous_hash, size = tip.hash, 0
        for block_hash in hashes:
            block = self._node.block(block_hash)
            if block.previous_hash != previous_hash:
                break
            blocks.append(block)
            previous_hash, size = block_hash, size + block.size
            if size >= BYTES_AT_ONCE or len(blocks) == BLOCKS_AT_ONCE:
                break
        return self._connect(tip, blocks, now) if blocks else None

    def _connect(self, tip: StoredBlock, blocks: Sequence[Block], now: datetime) -> StoredBlock:
        """Store what these blocks hold of ours, and that they follow `tip`; the last of them."""
        contents = self._look_through(blocks)
        foreword = self._foreword(contents)
        with unit_of_work("block-connected"):
            connected = []
            for content in contents:
                block, height = content.block, tip.height + 1
                if content.matches:
                    record_mined(content.matches, block, height, now, self._watch, foreword)
                for other, ours in content.conflicts:
                    for txid in ours:
                        mark_replaced(txid, other.txid, in_block=block.hash)
                tip = _row(block.hash, height, int(tip.chainwork, 16) + block.work, block.time)
                connected.append(tip)
            # All at once, so that PostgreSQL is not waited for after each of some hundred small ones.
            add_blocks(connected)
            # Those that pay an open request are forgotten when it closes.
            buried = tip.height - CLOSING_DEPTH + 1
            forget_spends(txids_in_blocks(buried - len(connected) + 1, buried), tip.height)
            forget_old_blocks(tip.height)
        log.info(
            "block connected" if len(blocks) == 1 else "blocks connected",
            height=tip.height,
            block=tip.hash,
            blocks=len(blocks),
            transactions=sum(len(block.transactions) for block in blocks),
            payments=sum(len(content.matches) for content in contents),
        )
        return tip

    def _look_through(self, blocks: Sequence[Block]) -> list[_Content]:
        """All of them at once: each look at the address table may be a way to a server."""
        matches = {m.transaction: m for m in self._watch.matches([t for b in blocks for t in b.transactions])}
        return [
            _Content(
                block,
                [matches[t] for t in block.transactions if t in matches],
                list(self._watch.conflicting(block.transactions)),
            )
            for block in blocks
        ]

    def _foreword(self, contents: Sequence[_Content]) -> Foreword:
        """Ask the wallet when it received what is first met here, and follow what replaces payments."""
        matches = [match for content in contents for match in content.matches]
        known = states_of(match.transaction.txid for match in matches)
        new = {
            match.transaction.txid
            for match in matches
            if any((match.transaction.txid, vout) not in known for vout, _, _ in match.outputs)
        }
        moments = {txid: self._node.wallet_received_at(txid) for txid in new}
        received_at = {txid: moment for txid, moment in moments.items() if moment is not None}
        return Foreword(received_at, _replacing_lineages(contents))


def _replacing_lineages(contents: Sequence[_Content]) -> dict[str, list[Transaction]]:
    """Return what conflicts with payments in these blocks, and its descendants, each with its ancestors."""
    lineages = {other.txid: [other] for content in contents for other, _ in content.conflicts}
    if not lineages:
        return {}
    # An outpoint begins with the transaction's hash, in the order of its bytes.
    found = {outpoint(txid, 0)[:32]: lineage for txid, lineage in lineages.items()}
    for transaction in (t for content in contents for t in content.block.transactions):
        parents = {spent[:32] for spent in transaction.inputs} & found.keys()
        if parents:
            ancestors = [t for parent in parents for t in found[parent]]
            lineages[transaction.txid] = list(dict.fromkeys([transaction, *ancestors]))
            found[outpoint(transaction.txid, 0)[:32]] = lineages[transaction.txid]
    return lineages


def unmine_above(height: int) -> None:
    """Take back every block above this height, known or not."""
    above = Output.select().where(Output.block_height > height)
    disconnect_outputs({output.block_hash for output in above if output.block_hash})
    # At which height a conflict was mined is not kept. Those below are of requests that are long closed.
    forget_replacements(Output.replaced_in.is_null(False))


def _row(block_hash: str, height: int, chainwork: int, time: int) -> StoredBlock:
    return StoredBlock(
        height=height,
        hash=block_hash,
        chainwork=f"{chainwork:0{CHAINWORK_DIGITS}x}",
        mined_at=datetime.fromtimestamp(time, UTC),
    )
