"""The auditor's own reader of bitcoind's data about the open requests.

It shares only the parser with the daemon. It keeps each block and transaction for the next comparison.
"""

import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar

import click

from admin.cli import CommandError
from admin.operator_rpc import OperatorRpc
from daemon.node.errors import MISC_ERROR, NO_SUCH_LABEL, NOT_FOUND, RpcError
from payments.transaction import MalformedTransaction, Transaction, parse_block, parse_transaction

T = TypeVar("T")

RECEIVING = ("receive", "generate", "immature")
SATS = 100_000_000

MAX_LAG_SECONDS = 6 * 3600
"""The longest time that a block's median time can lag behind its request's creation.

The median of eleven blocks' times lags by five blocks (BIP 113), and six hours always bring that many.
"""


@dataclass(frozen=True, slots=True)
class BlockPosition:
    """A block of the active chain. `mined_at` is the time in its header."""

    block_hash: str
    height: int
    mined_at: datetime


@dataclass(frozen=True, slots=True)
class FoundOutput:
    """An output in `block`, or, where `block` is None, in the mempool since `entered_at`."""

    txid: str
    vout: int
    amount_sats: int
    script: bytes
    block: BlockPosition | None = None
    entered_at: datetime | None = None
    is_coinbase: bool = False

    @property
    def seen_at(self) -> datetime:
        """Return the time in the block's header, or the time of entry into the mempool."""
        known = self.block.mined_at if self.block else self.entered_at
        assert known is not None
        return known


@dataclass(frozen=True, slots=True)
class WalletPayment:
    """An output that the wallet has received. `height` is its block's, or None while it is unconfirmed."""

    txid: str
    vout: int
    amount_sats: int
    height: int | None


@dataclass(frozen=True, slots=True)
class NodeState:
    """bitcoind's data at one tip. `first_height` is the lowest block that was read.

    `pruned` has the heights of the blocks that bitcoind has pruned. `found` has the outputs by script.
    """

    tip_hash: str
    height: int
    first_height: int
    pruned: frozenset[int]
    mempool: frozenset[str]
    found: Mapping[bytes, Sequence[FoundOutput]]


@dataclass(slots=True)
class NodeReader:
    """Calls bitcoind. All methods raise NodeError where bitcoind returns no result."""

    rpc: OperatorRpc
    _blocks: dict[str, tuple[FoundOutput, ...] | None] = field(default_factory=dict)
    _unconfirmed: dict[str, tuple[FoundOutput, ...]] = field(default_factory=dict)
    _addresses: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _derived: dict[tuple[str, int], str] = field(default_factory=dict)
    _first_height: int | None = None

    def read_state(self, scripts: Collection[bytes], since: datetime) -> NodeState | None:
        """Return the outputs to these scripts, or None if the tip has changed meanwhile.

        The outputs are in the mempool, or in blocks since about `since`.
        """
        tip = self._tip()
        if self._first_height is None:
            self._first_height = self._height_at(since.timestamp() - MAX_LAG_SECONDS, tip["blocks"])
        chain = self._chain(self._first_height, tip)
        self._read_blocks(chain, scripts)
        mempool = frozenset(self.rpc.call("getrawmempool"))
        self._read_mempool(mempool, scripts)
        if self._tip()["bestblockhash"] != tip["bestblockhash"]:
            return None
        found: dict[bytes, list[FoundOutput]] = {}
        for each in self._all(chain, mempool):
            found.setdefault(each.script, []).append(each)
        pruned = frozenset(height for height, block_hash in chain.items() if self._blocks[block_hash] is None)
        return NodeState(tip["bestblockhash"], tip["blocks"], self._first_height, pruned, mempool, found)

    def is_in_chain(self, block_hash: str) -> bool:
        header = self._or_none("getblockheader", block_hash)
        return header is not None and header["confirmations"] > 0

    def txids_in(self, block_hash: str) -> frozenset[str] | None:
        """Return the txids of a block, or None where the block is pruned."""
        block = self._or_none("getblock", block_hash, 1)
        return None if block is None else frozenset(block["tx"])

    def address(self, address: str, *, in_wallet: bool) -> Mapping[str, Any]:
        """Return the wallet's getaddressinfo, or validateaddress without a wallet. Raise RpcError."""
        if address not in self._addresses:
            method = "getaddressinfo" if in_wallet else "validateaddress"
            self._addresses[address] = self.rpc.call(method, address, in_wallet=in_wallet)
        return self._addresses[address]

    def derived(self, descriptor: str, index: int) -> str:
        """Return the address of a descriptor at this index. Raise RpcError or NodeRefused."""
        key = descriptor, index
        if key not in self._derived:
            [self._derived[key]] = self.rpc.call("deriveaddresses", descriptor, [index, index])
        return self._derived[key]

    def labelled(self, label: str) -> frozenset[str]:
        """Return the wallet's addresses with this label. Raise NodeRefused."""
        return frozenset(self._or_none("getaddressesbylabel", label, in_wallet=True) or ())

    def wallet_payments(self) -> Mapping[str, Sequence[WalletPayment]]:
        """Return all outputs that the wallet has received, by address. Raise NodeRefused or RpcError."""
        found: defaultdict[str, list[WalletPayment]] = defaultdict(list)
        for row in self.rpc.call("listsinceblock", in_wallet=True)["transactions"]:
            if "address" in row and row["category"] in RECEIVING and row["confirmations"] >= 0:
                sats = int(Decimal(str(row["amount"])) * SATS)
                payment = WalletPayment(row["txid"], row["vout"], sats, row.get("blockheight"))
                found[row["address"]].append(payment)
        return found

    def _tip(self) -> Mapping[str, Any]:
        info: Mapping[str, Any] = self.rpc.call("getblockchaininfo")
        if info["initialblockdownload"]:
            raise CommandError("bitcoind is in initial block download; wait until it is done")
        if not self.rpc.call("getmempoolinfo")["loaded"]:
            raise CommandError("bitcoind is still loading its mempool; try again")
        return info

    def _height_at(self, time: float, highest: int) -> int:
        """Return the height of the first block with this median time or a later one.

        The median time never goes back (BIP 113).
        """
        low, high = 0, highest
        while low < high:
            middle = (low + high) // 2
            header = self.rpc.call("getblockheader", self.rpc.call("getblockhash", middle))
            low, high = (low, middle) if header["mediantime"] >= time else (middle + 1, high)
        return low

    def _chain(self, first_height: int, tip: Mapping[str, Any]) -> dict[int, str]:
        """Return the blocks' hashes by height. The caller checks that the tip has not changed meanwhile."""
        heights = range(min(first_height, tip["blocks"]), tip["blocks"])
        hashes = {height: self.rpc.call("getblockhash", height) for height in heights}
        return {**hashes, tip["blocks"]: tip["bestblockhash"]}

    def _read_blocks(self, chain: Mapping[int, str], scripts: Collection[bytes]) -> None:
        unread = [(height, found) for height, found in chain.items() if found not in self._blocks]
        for height, block_hash in _with_progress(unread, "Reading blocks"):
            raw = self._or_none("getblock", block_hash, 0)
            if raw is None:
                self._blocks[block_hash] = None
                continue
            parsed = parse_block(bytes.fromhex(raw))
            block = BlockPosition(block_hash, height, datetime.fromtimestamp(parsed.time, UTC))
            paying = _paying(parsed.transactions, scripts)
            self._blocks[block_hash] = tuple(
                FoundOutput(t.txid, vout, sats, script, block=block, is_coinbase=not t.inputs)
                for t, vout, sats, script in paying
            )

    def _read_mempool(self, mempool: frozenset[str], scripts: Collection[bytes]) -> None:
        self._unconfirmed = {txid: found for txid, found in self._unconfirmed.items() if txid in mempool}
        for txid in _with_progress([*mempool - self._unconfirmed.keys()], "Reading the mempool"):
            raw = self._or_none("getrawtransaction", txid)
            transaction = _parsed(raw) if raw is not None else None
            paying = [*_paying([transaction], scripts)] if transaction is not None else []
            entry = self._or_none("getmempoolentry", txid) if paying else None
            entered_at = datetime.fromtimestamp(entry["time"], UTC) if entry else datetime.now(UTC)
            self._unconfirmed[txid] = tuple(
                FoundOutput(txid, vout, sats, script, entered_at=entered_at)
                for _, vout, sats, script in paying
            )

    def _all(self, chain: Mapping[int, str], mempool: Iterable[str]) -> Iterator[FoundOutput]:
        for block_hash in chain.values():
            yield from self._blocks[block_hash] or ()
        for txid in mempool:
            yield from self._unconfirmed[txid]

    def _or_none(self, method: str, *parameters: Any, in_wallet: bool = False) -> Any:
        """Return the call's result, or None where bitcoind no longer has the transaction or the block."""
        try:
            return self.rpc.call(method, *parameters, in_wallet=in_wallet)
        except RpcError as error:
            if error.code in (MISC_ERROR, NOT_FOUND, NO_SUCH_LABEL):
                return None
            raise


def _paying(
    transactions: Iterable[Transaction], scripts: Collection[bytes]
) -> Iterator[tuple[Transaction, int, int, bytes]]:
    for transaction in transactions:
        for vout, (amount_sats, script) in enumerate(transaction.outputs):
            if amount_sats and script in scripts:
                yield transaction, vout, amount_sats, script


def _parsed(raw: str) -> Transaction | None:
    """Return the transaction, or None where our parser refuses it.

    A test compares our parser with bitcoind's, so bitcoind should not have such a transaction.
    """
    try:
        return parse_transaction(bytes.fromhex(raw))
    except MalformedTransaction:
        return None


def _with_progress(things: Sequence[T], label: str) -> Iterator[T]:
    """Yield the things. Show a progress bar on a terminal."""
    is_hidden = not sys.stderr.isatty() or len(things) < 100
    with click.progressbar(things, label=label, file=sys.stderr, hidden=is_hidden) as bar:
        yield from bar
