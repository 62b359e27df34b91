"""The complete state of a regtest node: every transaction, the chain, and the mempool.

Chain and mempool are read from bitcoind each time. The inputs and outputs of each transaction are kept, since
all transactions are built here.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from daemon.node.errors import RpcError
from tests.support.tx_builder import (
    ANYONE_CAN_SPEND,
    HALVING_BLOCKS,
    SUBSIDY_SATS,
    BuiltTransaction,
    Coin,
    build_block,
    build_transaction,
)

COIN_SATS = 1_000_000
BATCH_SIZE = 900
MATURITY = 100
HOURS_BACK = 2
MEDIAN_OF = 11


@dataclass(frozen=True, slots=True)
class Place:
    """A block of the active chain, which has a transaction."""

    block_hash: str
    height: int


@dataclass(frozen=True, slots=True)
class View:
    """The chain and the mempool of bitcoind at one moment; `places` has each mined transaction's block."""

    tip: Place
    places: dict[str, Place]
    mempool: frozenset[str]


class AnyNode(Protocol):
    """A node on regtest: regtest.node.RegtestNode, or one in memory."""

    def rpc(self, method: str, *args: Any, wallet: str | None = None) -> Any: ...
    def restart(self, *extra: str) -> None: ...
    def kill(self) -> None: ...
    def launch(self) -> None: ...


@dataclass(slots=True)
class ChainState:
    """A node, and every transaction and block that a test has built, sent or not.

    `watcher` is called after each change of the chain or the mempool. `oddly_timed` has the transactions in
    blocks with a chosen time.
    """

    node: AnyNode
    watcher: Callable[[], None] = lambda: None
    transactions: dict[str, BuiltTransaction] = field(default_factory=dict)
    made_at: dict[str, datetime] = field(default_factory=dict)
    spenders: defaultdict[bytes, set[str]] = field(default_factory=lambda: defaultdict(set))
    payers: defaultdict[bytes, list[tuple[str, int, int]]] = field(default_factory=lambda: defaultdict(list))
    oddly_timed: set[str] = field(default_factory=set)
    _coins: list[Coin] = field(default_factory=list)
    _coinbase_height: int = 0
    _chain: list[str] = field(default_factory=list)
    _headers: dict[str, tuple[str | None, int]] = field(default_factory=dict)
    _contents: dict[str, list[str]] = field(default_factory=dict)
    _places: dict[str, Place] = field(default_factory=dict)
    _ever_mined: set[str] = field(default_factory=set)
    _blocks: dict[str, str] = field(default_factory=dict)
    _best_work: int = 0

    def begin(self) -> "ChainState":
        """Mine blocks until coins are mature.

        Their times are in the past, so that later blocks have the present time.
        """
        genesis = self.node.rpc("getblockhash", 0)
        self._headers[genesis] = None, self.node.rpc("getblockheader", genesis)["time"]
        start = int(datetime.now(UTC).timestamp()) - HOURS_BACK * 3600
        for number in range(MATURITY + 5):
            self.mine(time=start + number)
        return self

    def settle(self, coins: int, blocks: int) -> None:
        """Mine the mempool, prepare at least `coins` coins, and mine `blocks` more blocks."""
        self.mine(self.transactions[txid] for txid in self.view().mempool)
        while len(self._coins) < coins:
            self._split_a_coinbase()
        for _ in range(blocks):
            self.mine()
        # This call writes the chain state to the disk (ForceFlushStateToDisk in Core's rpc/blockchain.cpp).
        self.node.rpc("gettxoutsetinfo")
        self._blocks.clear()

    # Transactions

    def coin(self) -> Coin:
        """Return an unspent coin."""
        return self._coins.pop()

    def build_transaction(
        self, coins: Sequence[Coin], outputs: Iterable[tuple[bytes, int]], fee_sats: int, version: int = 2
    ) -> BuiltTransaction:
        """Build a transaction, and do not send it."""
        made = build_transaction(coins, outputs, fee_sats, version)
        if made.txid not in self.transactions:
            self.transactions[made.txid] = made
            self.made_at[made.txid] = datetime.now(UTC)
            for coin in made.coins:
                self.spenders[coin.outpoint].add(made.txid)
            for vout, (script, amount_sats) in enumerate(made.outputs):
                if script != ANYONE_CAN_SPEND and amount_sats:
                    self.payers[script].append((made.txid, vout, amount_sats))
        return made

    def publish(self, sent: BuiltTransaction) -> bool:
        """Send a transaction to bitcoind, and return whether it was accepted."""
        try:
            self.node.rpc("sendrawtransaction", sent.raw.hex(), 0)
        except RpcError:
            return False
        self.watcher()
        return True

    # Blocks

    def mine(self, content: Iterable[BuiltTransaction] = (), time: int | None = None) -> str:
        """Mine a block with the valid transactions of `content`; `time` is the time in its header."""
        view = self.view()
        valid = self._valid(content, view.places)
        if time is not None:
            self.oddly_timed |= {transaction.txid for transaction in valid}
        made = self._submit(view.tip.block_hash, view.tip.height + 1, valid, time)
        self.watcher()
        return made

    def reorg(self, depth: int, contents: Iterable[Iterable[BuiltTransaction]]) -> list[str]:
        """Replace the top `depth` blocks by `depth` + 1 blocks with the valid transactions of `contents`.

        bitcoind stores the first blocks, and activates the new branch with the last one.
        """
        view = self.view()
        height = view.tip.height - depth
        previous = self._chain[height]
        places = {txid: place for txid, place in view.places.items() if place.height <= height}
        given = [list(content) for content in contents][: depth + 1]
        made = []
        for content in [*given, *[[]] * (depth + 1 - len(given))]:
            height += 1
            valid = self._valid(content, places)
            previous = self._submit(previous, height, valid)
            places.update((transaction.txid, Place(previous, height)) for transaction in valid)
            made.append(previous)
        assert self.node.rpc("getbestblockhash") == previous
        self.watcher()
        return made

    def earliest_time(self) -> int:
        """Return the earliest time that the header of the next block can have."""
        return self._median_time(self.view().tip.block_hash) + 1

    def view(self) -> View:
        """Read bitcoind's chain and mempool."""
        while True:
            info = self.node.rpc("getblockchaininfo")
            mempool = frozenset(self.node.rpc("getrawmempool"))
            if self.node.rpc("getbestblockhash") == info["bestblockhash"]:
                break
        self._follow(info["bestblockhash"], info["blocks"])
        self._best_work = max(self._best_work, int(info["chainwork"], 16))
        return View(Place(info["bestblockhash"], info["blocks"]), dict(self._places), mempool)

    def is_behind(self) -> bool:
        """Return whether the node's chain has less work than an earlier one."""
        return int(self.node.rpc("getblockchaininfo")["chainwork"], 16) < self._best_work

    def hand_over_blocks(self) -> None:
        """Submit the blocks that the node may have lost, as its peers do."""
        for raw in self._blocks.values():
            self.node.rpc("submitblock", raw)
        assert not self.is_behind()
        self.watcher()

    # Conflicts and ancestors

    def conflicts(self, txid: str, view: View, *, through_mined: bool = True) -> set[str]:
        """Return the node's transactions that spend an outpoint of this one or of its unconfirmed ancestors.

        Ancestors that were ever in a block count only with `through_mined`.
        """
        if txid in view.places:
            return set()
        made = self.transactions[txid]
        found = {
            other
            for coin in made.coins
            for other in self.spenders[coin.outpoint]
            if other != txid and (other in view.places or other in view.mempool)
        }
        for coin in made.coins:
            if coin.txid in self.transactions and (through_mined or coin.txid not in self._ever_mined):
                found |= self.conflicts(coin.txid, view, through_mined=through_mined)
        return found

    def lost_a_block(self, txid: str, view: View) -> bool:
        """Return whether an ancestor was in a block that a reorg removed, and the node has this no more.

        No block shows that this transaction has become invalid. The daemon finds this in the mempool.
        """
        if txid in view.places or txid in view.mempool:
            return False
        return any(
            ancestor in self._ever_mined and ancestor not in view.places
            for ancestor in self.lineage(txid) - {txid}
        )

    def are_rivals(self, one: str, other: str) -> bool:
        """Return whether two different transactions spend a common outpoint."""
        mine, theirs = self.transactions[one].coins, self.transactions[other].coins
        return one != other and not {coin.outpoint for coin in mine}.isdisjoint(
            coin.outpoint for coin in theirs
        )

    def rivals(self, txid: str) -> set[str]:
        """Return this transaction, all that spend a common outpoint, the descendants of these, and so on."""
        found, unread = {txid}, [txid]
        while unread:
            made = self.transactions[unread.pop()]
            coins = [*made.coins, *(made.coin(vout) for vout in range(len(made.outputs)))]
            fresh = {spender for coin in coins for spender in self.spenders.get(coin.outpoint, ())} - found
            found |= fresh
            unread.extend(fresh)
        return found

    def lineage(self, txid: str) -> set[str]:
        """Return this transaction and those of its ancestors that were built here."""
        found, unread = {txid}, [txid]
        while unread:
            parents = {coin.txid for coin in self.transactions[unread.pop()].coins}
            fresh = (parents & self.transactions.keys()) - found
            found |= fresh
            unread.extend(fresh)
        return found

    def _valid(self, content: Iterable[BuiltTransaction], places: dict[str, Place]) -> list[BuiltTransaction]:
        """Return the transactions of `content` that a block can have, parents first."""
        taken: dict[str, BuiltTransaction] = {}
        rest = list(dict.fromkeys(content))
        spent = {
            coin.outpoint
            for t in rest
            for coin in t.coins
            if any(other in places for other in self.spenders[coin.outpoint])
        }
        is_growing = True
        while is_growing:
            is_growing = False
            for each in rest:
                if each.txid in taken or each.txid in places:
                    continue
                parents = {coin.txid for coin in each.coins}
                has_all = all(p in places or p in taken or p not in self.transactions for p in parents)
                if has_all and not any(coin.outpoint in spent for coin in each.coins):
                    taken[each.txid] = each
                    spent.update(coin.outpoint for coin in each.coins)
                    is_growing = True
        return list(taken.values())

    def _submit(
        self, previous: str, height: int, content: list[BuiltTransaction], time: int | None = None
    ) -> str:
        time = time or max(self._median_time(previous) + 1, int(datetime.now(UTC).timestamp()))
        block_hash, raw = build_block(previous, height, time, content)
        answer = self.node.rpc("submitblock", raw.hex())
        assert answer in (None, "inconclusive"), answer
        self._headers[block_hash] = previous, time
        self._blocks[block_hash] = raw.hex()
        return block_hash

    def _median_time(self, block_hash: str) -> int:
        """Return the median time past (BIP 113). The next block must be later."""
        times: list[int] = []
        walk: str | None = block_hash
        while walk is not None and len(times) < MEDIAN_OF:
            walk, time = self._headers[walk]
            times.append(time)
        return sorted(times)[len(times) // 2]

    def _split_a_coinbase(self) -> None:
        self._coinbase_height += 1
        block = self.node.rpc("getblock", self.node.rpc("getblockhash", self._coinbase_height), 1)
        coinbase = Coin(block["tx"][0], 0, SUBSIDY_SATS >> (self._coinbase_height // HALVING_BLOCKS))
        split = self.build_transaction([coinbase], [(ANYONE_CAN_SPEND, COIN_SATS)] * BATCH_SIZE, 100_000)
        self.mine([split])
        self._coins += [split.coin(vout) for vout in range(BATCH_SIZE)]

    def _follow(self, tip_hash: str, height: int) -> None:
        """Update the copy of the chain to the one that ends at `tip_hash`."""
        fresh = []
        walk = tip_hash
        while height >= len(self._chain) or self._chain[height] != walk:
            block = self.node.rpc("getblock", walk, 1)
            self._contents[walk] = [txid for txid in block["tx"] if txid in self.transactions]
            fresh.append(walk)
            height -= 1
            if height < 0:
                break
            walk = block["previousblockhash"]
        for gone in self._chain[height + 1 :]:
            for txid in self._contents[gone]:
                self._places.pop(txid, None)
        self._chain[height + 1 :] = reversed(fresh)
        for place, block_hash in enumerate(self._chain[height + 1 :], height + 1):
            for txid in self._contents[block_hash]:
                self._places[txid] = Place(block_hash, place)
                self._ever_mined.add(txid)
