"""A regtest chain with coins that anyone can spend, for payments and full blocks without a wallet."""

import base64
import http.client
import json
import secrets
import struct
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from daemon.node.rpc import Rpc
from payments.transaction import outpoint, parse_transaction
from regtest.node import RegtestNode

# OP_2DROP OP_TRUE takes any two items, so a spend is as large as one that carries a signature and a key.
COIN_WITNESS_SCRIPT = b"\x6d\x51"
COIN_SCRIPT = b"\x00\x20" + sha256(COIN_WITNESS_SCRIPT).digest()
COIN_WITNESS = b"\x03\x47" + bytes(71) + b"\x21" + bytes(33) + b"\x02" + COIN_WITNESS_SCRIPT

SUBSIDY_SATS = 50 * 100_000_000
FEE_SATS = 1_000
FOREIGN_SATS = 1_000
FULL_BLOCK_WEIGHT = 3_980_000
"""In weight units, BIP 141: 4,000,000 without the miner's own transaction."""

COINS_A_BLOCK = 20_000
"""The outputs of one transaction, of 43 bytes each."""

BATCH_SIZE = 500
ANSWER_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Coin:
    """An output with COIN_SCRIPT."""

    outpoint: bytes
    amount_sats: int


class Load:
    """A node and coins on it. Each coin is spent once a block, and its change is a coin of the next block."""

    def __init__(self, node: RegtestNode, coin_count: int) -> None:
        """Mine `coin_count` coins: as many as are spent between two blocks."""
        self.node = node
        self._rpc = Rpc(node.url, node.cookie_file.read_text, ANSWER_SECONDS)
        self._begun: Begun | None = None
        descriptor = f"raw({COIN_SCRIPT.hex()})"
        starts = range(0, coin_count, COINS_A_BLOCK)
        blocks = self._rpc.call("generatetodescriptor", 100 + len(starts), descriptor)
        self._coins: list[Coin] = []
        self._change: list[Coin] = []
        for start, block_hash in zip(starts, blocks, strict=False):
            self._fan(block_hash, min(COINS_A_BLOCK, coin_count - start), descriptor)

    def _fan(self, block_hash: str, count: int, descriptor: str) -> None:
        """Split one block's new money into `count` coins."""
        coinbase = self._rpc.call("getblock", block_hash)["tx"][0]
        share_sats = (SUBSIDY_SATS - SUBSIDY_SATS // 100) // count
        fan = signed(Coin(outpoint(coinbase, 0), SUBSIDY_SATS), [(share_sats, COIN_SCRIPT)] * count)
        # Nodes relay no transaction of this size, so it goes directly into a block.
        self._rpc.call("generateblock", descriptor, [fan.hex()])
        txid = parse_transaction(fan).txid
        self._coins += [Coin(outpoint(txid, vout), share_sats) for vout in range(count)]

    @classmethod
    def start(cls, directory: Path, coin_count: int) -> Self:
        """Start a node with Nodetill's wallet."""
        node = RegtestNode.start(directory)
        node.rpc("createwallet", "nodetill", False, False, "", False, True, True)
        return cls(node, coin_count)

    def payment(self, script: bytes, amount_sats: int) -> bytes:
        """Return a transaction with two outputs, of which the second pays `script`."""
        coin = self._coins.pop()
        change_sats = coin.amount_sats - amount_sats - FEE_SATS
        raw = signed(coin, [(change_sats, COIN_SCRIPT), (amount_sats, script)])
        self._change.append(Coin(outpoint(parse_transaction(raw).txid, 0), change_sats))
        return raw

    def foreign(self) -> bytes:
        """Return a payment to somebody else."""
        return self.payment(random_script(), FOREIGN_SATS)

    def script(self, address: str) -> bytes:
        """Return an address's script."""
        return bytes.fromhex(self._rpc.call("validateaddress", address)["scriptPubKey"])

    def submit(self, raws: Sequence[bytes]) -> None:
        """Put transactions into the mempool."""
        for start in range(0, len(raws), BATCH_SIZE):
            self._rpc.batch("sendrawtransaction", [[raw.hex()] for raw in raws[start : start + BATCH_SIZE]])

    def begin_submit(self, raw: bytes) -> None:
        """Send a transaction to the mempool; `finish` waits for the response."""
        self._begun = Begun(self.node, "sendrawtransaction", raw.hex())

    def begin_mine(self) -> None:
        """Start to mine the mempool; `finish` waits for the response."""
        self._begun = Begun(self.node, "generatetodescriptor", 1, f"raw({COIN_SCRIPT.hex()})")
        # The coins take turns: each payment leaves its coin smaller.
        self._coins = self._change + self._coins
        self._change = []

    def finish(self) -> None:
        """Wait for the response to the call that was begun."""
        assert self._begun is not None, "no call was begun"
        self._begun.finish()

    def height(self) -> int:
        """Return the height of the node's tip."""
        return int(self._rpc.call("getblockcount"))

    def mine(self, count: int) -> None:
        """Mine `count` blocks. The first has the transactions of the mempool."""
        self._rpc.call("generatetodescriptor", count, f"raw({COIN_SCRIPT.hex()})")

    def newest(self, count: int) -> list[str]:
        """Return the hashes of the newest blocks, oldest first."""
        height = self.height()
        return self._rpc.batch("getblockhash", [[h] for h in range(height - count + 1, height + 1)])

    def close(self) -> None:
        self._rpc.close()
        self.node.stop()


class Begun:
    """A call of bitcoind whose response is read later, so that its reading disturbs no measurement."""

    def __init__(self, node: RegtestNode, method: str, *parameters: Any) -> None:
        credentials = base64.b64encode(node.cookie_file.read_bytes()).decode()
        self._connection = http.client.HTTPConnection("127.0.0.1", node.rpc_port, timeout=ANSWER_SECONDS)
        body = json.dumps({"method": method, "params": parameters, "id": 0})
        self._connection.request("POST", "/", body, {"Authorization": f"Basic {credentials}"})

    def finish(self) -> None:
        """Wait for the response. Raise RuntimeError for an error."""
        with closing(self._connection):
            answer = json.loads(self._connection.getresponse().read())
        if answer["error"] is not None:
            raise RuntimeError(f"bitcoind refused: {answer['error']}")


def signed(coin: Coin, outputs: Sequence[tuple[int, bytes]]) -> bytes:
    """Return a transaction that spends one coin. Amounts are in satoshis."""
    count = bytes([len(outputs)]) if len(outputs) < 253 else b"\xfd" + struct.pack("<H", len(outputs))
    body = b"".join(struct.pack("<QB", amount_sats, len(script)) + script for amount_sats, script in outputs)
    spent = b"\x01" + coin.outpoint + b"\x00\xff\xff\xff\xff"
    return b"\x02\x00\x00\x00\x00\x01" + spent + count + body + COIN_WITNESS + bytes(4)


def random_script() -> bytes:
    """Return a pay-to-witness-public-key-hash script of nobody."""
    return b"\x00\x14" + secrets.token_bytes(20)


def foreign_weight() -> int:
    """Return the weight of `Load.foreign`, BIP 141."""
    outputs = [(FOREIGN_SATS, COIN_SCRIPT), (FOREIGN_SATS, random_script())]
    size, witness_size = len(signed(Coin(bytes(36), 0), outputs)), len(COIN_WITNESS) + 2
    return size * 4 - witness_size * 3
