"""The node in memory returns the same answers as a real bitcoind after the same random steps."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from daemon.node.errors import RpcError
from payments.transaction import split_outpoint
from regtest.node import RegtestNode
from tests.support.chain_state import AnyNode, ChainState, View
from tests.support.in_memory_miner import MiningNode
from tests.support.tx_builder import ANYONE_CAN_SPEND, BuiltTransaction

STEPS = 250
WALLET, LABEL = "nodetill", "nodetill"
ADDRESSES = 3
FEE_SATS = 2_000

COMPARED: dict[str, Callable[[Any], Any]] = {
    "getaddressinfo": lambda answer: (answer["scriptPubKey"], answer["ismine"]),
    "getbestblockhash": lambda answer: answer,
    "getblock": lambda answer: (answer["height"], answer.get("previousblockhash"), answer["tx"][1:]),
    "getblockchaininfo": lambda answer: (
        answer["blocks"],
        answer["bestblockhash"],
        answer["chainwork"],
        answer["mediantime"],
        answer["initialblockdownload"],
    ),
    "getblockhash": lambda answer: answer,
    "getblockheader": lambda answer: (answer["height"], answer["confirmations"], answer["time"]),
    "getmempoolancestors": sorted,
    "getmempoolentry": lambda answer: (
        answer["ancestorcount"],
        answer["descendantcount"],
        sorted(answer["depends"]),
        sorted(answer["spentby"]),
    ),
    "getrawmempool": sorted,
    "getrawtransaction": lambda answer: answer,
    "gettransaction": lambda answer: answer["txid"],
    "gettxspendingprevout": lambda answer: answer,
    "listsinceblock": lambda answer: sorted(
        (row["txid"], row["vout"], row["address"], row["category"], row["amount"], row["blockheight"])
        for row in answer["transactions"]
        if row["confirmations"] > 0
    ),
    "sendrawtransaction": lambda answer: answer,
    "submitblock": lambda answer: answer,
}
"""Functions that return the compared part of an answer: the part that Nodetill or its tests read."""


class TwinNode:
    """A real bitcoind and a node in memory. Each call goes to both, and the answers must be equal."""

    def __init__(self, real: RegtestNode, memory: MiningNode) -> None:
        self.real = real
        self.memory = memory

    def rpc(self, method: str, *arguments: Any, wallet: str | None = None) -> Any:
        answers = [_outcome(node.rpc, method, arguments, wallet) for node in (self.real, self.memory)]
        read = COMPARED.get(method)
        if read is not None:
            real, memory = (a.code if isinstance(a, RpcError) else read(a) for a in answers)
            assert real == memory, f"{method}{arguments}: bitcoind {real}, in memory {memory}; {answers[1]}"
        if isinstance(answers[0], RpcError):
            raise answers[0]
        return answers[0]

    def restart(self, *extra: str) -> None:
        self.real.restart(*extra)
        self.memory.restart()

    def kill(self) -> None:
        self.real.kill()
        self.memory.kill()

    def launch(self) -> None:
        self.real.launch()
        self.memory.launch()


def _outcome(call: Callable[..., Any], method: str, arguments: tuple[Any, ...], wallet: str | None) -> Any:
    try:
        return call(method, *arguments) if wallet is None else call(method, *arguments, wallet=wallet)
    except RpcError as problem:
        return problem


class Walk:
    """Random steps of customers and miners on both nodes."""

    def __init__(self, twin: TwinNode, seed: int) -> None:
        self.twin = twin
        self.chance = Random(seed)
        self.chain = ChainState(twin).begin()
        self.chain.settle(STEPS + 10, 5)
        self.sent: list[BuiltTransaction] = []
        self.scripts = [self._new_script() for _ in range(ADDRESSES)]
        self.steps: dict[Callable[[], None], int] = {
            self.pay: 12,
            self.spend_change: 10,
            self.replace: 10,
            self.send_again: 8,
            self.mine_the_mempool: 6,
            self.mine_some: 8,
            self.reorg: 12,
            self.invalidate: 4,
        }

    def _new_script(self) -> bytes:
        """Return the script of an address that both wallets own."""
        real, memory = self.twin.real, self.twin.memory
        address = real.rpc("getnewaddress", LABEL, "bech32", wallet=WALLET)
        script = bytes.fromhex(real.rpc("validateaddress", address)["scriptPubKey"])
        memory.adopt(address, script, LABEL, WALLET)
        self.twin.rpc("getaddressinfo", address, wallet=WALLET)
        return script

    def take_step(self) -> None:
        """Take one step, and compare both nodes."""
        (step,) = self.chance.choices([*self.steps], [*self.steps.values()])
        if self.sent or step == self.pay:
            step()
        self.compare()

    def compare(self) -> None:
        """Compare the chain, the mempool and the wallet of both nodes."""
        rpc = self.twin.rpc
        view = self.chain.view()
        self.twin.real.rpc("syncwithvalidationinterfacequeue")
        for txid in view.mempool:
            rpc("getmempoolentry", txid)
            rpc("getmempoolancestors", txid)
            rpc("getrawtransaction", txid)
        spent = [split_outpoint(coin.outpoint) for sent in self.sent for coin in sent.coins]
        if spent:
            rpc("gettxspendingprevout", [{"txid": txid, "vout": vout} for txid, vout in spent])
        for sent in self.sent[-5:]:
            rpc("getmempoolentry", sent.txid) if sent.txid in view.mempool else _refused(rpc, sent.txid)
        rpc("getblockheader", view.tip.block_hash)
        rpc("listsinceblock", wallet=WALLET)
        assert self._unconfirmed(self.twin.real, view) == self._unconfirmed(self.twin.memory, view)

    def _unconfirmed(self, node: AnyNode, view: View) -> set[str]:
        """Return the wallet's transactions in the mempool. The wallet also lists some that left it."""
        rows = node.rpc("listsinceblock", view.tip.block_hash, wallet=WALLET)["transactions"]
        return {row["txid"] for row in rows if row["confirmations"] == 0} & view.mempool

    def pay(self) -> None:
        self._make([self.chain.coin()], self._outputs(), FEE_SATS)

    def spend_change(self) -> None:
        coin = self.chance.choice(self.sent).coin(-1)
        if coin.amount_sats > 100_000:
            self._make([coin], self._outputs(), FEE_SATS)

    def replace(self) -> None:
        """Spend the same coins again, with a fee that may be too low."""
        old = self.chance.choice(self.sent[-6:])
        spent = sum(coin.amount_sats for coin in old.coins)
        fee_sats = spent - sum(sats for _, sats in old.outputs) + self.chance.choice((1, 200, 5_000, 50_000))
        outputs = self.chance.choice((old.outputs[:-1], [(ANYONE_CAN_SPEND, 1_000)], self._outputs()))
        if fee_sats + sum(sats for _, sats in outputs) < spent - 1_000:
            self._make(old.coins, outputs, fee_sats)

    def send_again(self) -> None:
        self.chain.publish(self.chance.choice(self.sent))

    def mine_the_mempool(self) -> None:
        self.chain.mine(self.chain.transactions[txid] for txid in sorted(self.chain.view().mempool))

    def mine_some(self) -> None:
        self.chain.mine(self._some())

    def reorg(self) -> None:
        depth = self.chance.choice((1, 1, 2, 3, 6))
        self.chain.reorg(depth, [self._some() for _ in range(self.chance.choice((0, 1, depth + 1)))])

    def invalidate(self) -> None:
        """Take blocks off the chain, compare, and put them back."""
        height = self.chain.view().tip.height - self.chance.choice((0, 1, 4))
        block_hash = self.twin.rpc("getblockhash", height)
        self.twin.rpc("invalidateblock", block_hash)
        self.compare()
        self.twin.rpc("reconsiderblock", block_hash)

    def _make(self, coins: Any, outputs: Any, fee_sats: int) -> None:
        sent = self.chain.build_transaction(list(coins), list(outputs), fee_sats)
        self.sent.append(sent)
        if self.chance.random() < 0.8:
            self.chain.publish(sent)

    def _outputs(self) -> list[tuple[bytes, int]]:
        return [(self.chance.choice(self.scripts), 1_000 + self.chance.randrange(1_000))]

    def _some(self) -> list[BuiltTransaction]:
        recent = self.sent[-12:]
        return self.chance.sample(recent, self.chance.randint(0, len(recent)))


def _refused(rpc: Callable[..., Any], txid: str) -> None:
    with pytest.raises(RpcError):
        rpc("getmempoolentry", txid)


def test_both_nodes_return_the_same_answers(start_node: Callable[..., RegtestNode]) -> None:
    """A random walk of payments, replacements, blocks and reorgs leaves both nodes with the same chain."""
    real, memory = start_node(), MiningNode()
    real.rpc("createwallet", WALLET)
    memory.rpc("createwallet", WALLET)
    walk = Walk(TwinNode(real, memory), seed=20_261_130)
    for _ in range(STEPS):
        walk.take_step()
    assert len(walk.sent) > STEPS / 5
