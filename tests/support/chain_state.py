"""All that is true on a regtest node: every transaction there is, the chain, and the mempool.

What is in the chain and in the mempool is asked from bitcoind each time; what a transaction spends and pays
is known, since all of them are forged here.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from bitcoinrpc.authproxy import JSONRPCException

from tests.support.tx_builder import ANYBODY, HALVING_BLOCKS, SUBSIDY_SATS, Coin, Forged, forge, forge_block

COIN_SATS = 1_000_000
COINS_AT_ONCE = 900
MATURITY = 100
HOURS_BACK = 2
MEDIAN_OF = 11


@dataclass(frozen=True, slots=True)
class Place:
    """Where a transaction is in the active chain."""

    block_hash: str
    height: int


@dataclass(frozen=True, slots=True)
class View:
    """What bitcoind has, at one moment."""

    tip: Place
    places: dict[str, Place]
    mempool: frozenset[str]


class AnyNode(Protocol):
    """What a chain is made on: regtest.node.RegtestNode, or one in memory."""

    def rpc(self, method: str, *args: Any, wallet: str | None = None) -> Any: ...
    def restart(self, *extra: str) -> None: ...
    def kill(self) -> None: ...
    def launch(self) -> None: ...


@dataclass(slots=True)
class World:
    """The node, and everything that was ever sent to it or kept from it.

    `watcher` is called whenever that may have changed its chain or its mempool.
    """

    node: AnyNode
    watcher: Callable[[], None] = lambda: None
    transactions: dict[str, Forged] = field(default_factory=dict)
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

    def begin(self) -> "World":
        """Blocks enough for coins to ripen, all in the past: later ones then have the time of day."""
        genesis = self.node.rpc("getblockhash", 0)
        self._headers[genesis] = None, self.node.rpc("getblockheader", genesis)["time"]
        start = int(datetime.now(UTC).timestamp()) - HOURS_BACK * 3600
        for number in range(MATURITY + 5):
            self.mine(time=start + number)
        return self

    def settle(self, coins: int, blocks: int) -> None:
        """Empty the mempool, lay in so many coins, and bury all of that under so many blocks."""
        self.mine(self.transactions[txid] for txid in self.view().mempool)
        while len(self._coins) < coins:
            self._split_a_coinbase()
        for _ in range(blocks):
            self.mine()
        # Writes all of it to the disk (ForceFlushStateToDisk in Core's rpc/blockchain.cpp).
        self.node.rpc("gettxoutsetinfo")
        self._blocks.clear()

    # Transactions

    def coin(self) -> Coin:
        """One that nobody has spent."""
        return self._coins.pop()

    def forge(
        self, coins: Sequence[Coin], outputs: Iterable[tuple[bytes, int]], fee_sats: int, version: int = 2
    ) -> Forged:
        """A transaction that nobody has seen yet."""
        made = forge(coins, outputs, fee_sats, version)
        if made.txid not in self.transactions:
            self.transactions[made.txid] = made
            self.made_at[made.txid] = datetime.now(UTC)
            for coin in made.coins:
                self.spenders[coin.outpoint].add(made.txid)
            for vout, (script, amount_sats) in enumerate(made.outputs):
                if script != ANYBODY and amount_sats:
                    self.payers[script].append((made.txid, vout, amount_sats))
        return made

    def publish(self, sent: Forged) -> bool:
        """Hand it to bitcoind; whether it is taken."""
        try:
            self.node.rpc("sendrawtransaction", sent.raw.hex(), 0)
        except JSONRPCException:
            return False
        self.watcher()
        return True

    # Blocks

    def mine(self, content: Iterable[Forged] = (), time: int | None = None) -> str:
        """Mine one block on the tip, with those of `content` that can be in it; `time` is its clock's."""
        view = self.view()
        valid = self._valid(content, view.places)
        if time is not None:
            self.oddly_timed |= {transaction.txid for transaction in valid}
        made = self._submit(view.tip.block_hash, view.tip.height + 1, valid, time)
        self.watcher()
        return made

    def reorg(self, depth: int, contents: Iterable[Iterable[Forged]]) -> list[str]:
        """`depth` + 1 blocks in the place of the top `depth`, with those of `contents` that can be in each.

        All but the last are only stored; with it bitcoind goes over to all of them.
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
        """Return the earliest time that the next block can have: by its clock only."""
        return self._median_time(self.view().tip.block_hash) + 1

    def view(self) -> View:
        """What bitcoind has now."""
        while True:
            info = self.node.rpc("getblockchaininfo")
            mempool = frozenset(self.node.rpc("getrawmempool"))
            if self.node.rpc("getbestblockhash") == info["bestblockhash"]:
                break
        self._follow(info["bestblockhash"], info["blocks"])
        self._best_work = max(self._best_work, int(info["chainwork"], 16))
        return View(Place(info["bestblockhash"], info["blocks"]), dict(self._places), mempool)

    def is_behind(self) -> bool:
        """Whether the node's chain is not the best one that it ever had."""
        return int(self.node.rpc("getblockchaininfo")["chainwork"], 16) < self._best_work

    def hand_over_blocks(self) -> None:
        """As its peers would, with those that it may have lost."""
        for raw in self._blocks.values():
            self.node.rpc("submitblock", raw)
        assert not self.is_behind()
        self.watcher()

    # What follows from it

    def conflicts(self, txid: str, view: View, *, through_mined: bool = True) -> set[str]:
        """What the node has that spends something this one or an unconfirmed ancestor of it spends.

        Ancestors that have ever been in a block count only where `through_mined`.
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

    def are_rivals(self, one: str, other: str) -> bool:
        """Whether these are two that spend the same."""
        mine, theirs = self.transactions[one].coins, self.transactions[other].coins
        return one != other and not {coin.outpoint for coin in mine}.isdisjoint(
            coin.outpoint for coin in theirs
        )

    def rivals(self, txid: str) -> set[str]:
        """This one and all that ever spent the same, what was made of their money, and so on."""
        found, unread = {txid}, [txid]
        while unread:
            made = self.transactions[unread.pop()]
            coins = [*made.coins, *(made.coin(vout) for vout in range(len(made.outputs)))]
            fresh = {spender for coin in coins for spender in self.spenders.get(coin.outpoint, ())} - found
            found |= fresh
            unread.extend(fresh)
        return found

    def lineage(self, txid: str) -> set[str]:
        """Return this one and its ancestors, as far as they were forged here."""
        found, unread = {txid}, [txid]
        while unread:
            parents = {coin.txid for coin in self.transactions[unread.pop()].coins}
            fresh = (parents & self.transactions.keys()) - found
            found |= fresh
            unread.extend(fresh)
        return found

    def _valid(self, content: Iterable[Forged], places: dict[str, Place]) -> list[Forged]:
        """Those of `content` that can follow, parents first."""
        taken: dict[str, Forged] = {}
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

    def _submit(self, previous: str, height: int, content: list[Forged], time: int | None = None) -> str:
        time = time or max(self._median_time(previous) + 1, int(datetime.now(UTC).timestamp()))
        block_hash, raw = forge_block(previous, height, time, content)
        answer = self.node.rpc("submitblock", raw.hex())
        assert answer in (None, "inconclusive"), answer
        self._headers[block_hash] = previous, time
        self._blocks[block_hash] = raw.hex()
        return block_hash

    def _median_time(self, block_hash: str) -> int:
        """A block must be later than this of the one before it (BIP 113)."""
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
        split = self.forge([coinbase], [(ANYBODY, COIN_SATS)] * COINS_AT_ONCE, 100_000)
        self.mine([split])
        self._coins += [split.coin(vout) for vout in range(COINS_AT_ONCE)]

    def _follow(self, tip_hash: str, height: int) -> None:
        """Make our copy of the chain the one that ends there."""
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
