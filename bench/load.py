"""A regtest chain with coins that anybody can spend: payments and full blocks without a wallet."""

import base64
import http.client
import json
import secrets
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from payments.transaction import outpoint, parse_transaction
from regtest.node import RegtestNode

# OP_2DROP OP_TRUE takes any two items, so a spend is as large as one that carries a signature and a key.
COIN_WITNESS_SCRIPT = b"\x6d\x51"
COIN_SCRIPT = b"\x00\x20" + sha256(COIN_WITNESS_SCRIPT).digest()
COIN_WITNESS = b"\x03\x47" + bytes(71) + b"\x21" + bytes(33) + b"\x02" + COIN_WITNESS_SCRIPT

SUBSIDY_SATS = 50 * 100_000_000
FEE_SATS = 1_000
LARGE_FEE_SATS = 150_000
FOREIGN_SATS = 1_000
FULL_BLOCK_WEIGHT = 3_980_000
"""What a miner's own part leaves of 4,000,000."""

COINS_A_BLOCK = 20_000
"""Of 43 bytes each."""

AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Coin:
    """An output with COIN_SCRIPT."""

    outpoint: bytes
    amount_sats: int


class Load:
    """Spends coins on one node. Each is spent once a block: its change is a coin of the next."""

    def __init__(self, node: RegtestNode, coin_count: int) -> None:
        """Mine as many coins as are needed between two blocks."""
        self.node = node
        self._rpc = Rpc(node.admin_url)
        descriptor = f"raw({COIN_SCRIPT.hex()})"
        starts = range(0, coin_count, COINS_A_BLOCK)
        blocks = self._rpc.call("generatetodescriptor", 100 + len(starts), descriptor)
        self._coins: list[Coin] = []
        self._change: list[Coin] = []
        for start, block_hash in zip(starts, blocks, strict=False):
            self._fan(block_hash, min(COINS_A_BLOCK, coin_count - start), descriptor)

    def _fan(self, block_hash: str, count: int, descriptor: str) -> None:
        """Make one block's new money so many coins."""
        coinbase = self._rpc.call("getblock", block_hash)["tx"][0]
        share_sats = (SUBSIDY_SATS - SUBSIDY_SATS // 100) // count
        fan = signed(Coin(outpoint(coinbase, 0), SUBSIDY_SATS), [(share_sats, COIN_SCRIPT)] * count)
        # Larger than what is relayed, so it goes straight into a block.
        self._rpc.call("generateblock", descriptor, [fan.hex()])
        txid = parse_transaction(fan).txid
        self._coins += [Coin(outpoint(txid, vout), share_sats) for vout in range(count)]

    @classmethod
    def start(cls, directory: Path, coin_count: int) -> Self:
        """A node of its own, with Nodetill's wallet."""
        node = RegtestNode.start(directory)
        node.rpc("createwallet", "nodetill", False, False, "", False, True, True)
        return cls(node, coin_count)

    def payment(self, script: bytes, amount_sats: int) -> bytes:
        """A transaction with two outputs, the second to `script`."""
        coin = self._coins.pop()
        change_sats = coin.amount_sats - amount_sats - FEE_SATS
        raw = signed(coin, [(change_sats, COIN_SCRIPT), (amount_sats, script)])
        self._change.append(Coin(outpoint(parse_transaction(raw).txid, 0), change_sats))
        return raw

    def foreign(self) -> bytes:
        """A payment to somebody else."""
        return self.payment(random_script(), FOREIGN_SATS)

    def large(self, paid: Sequence[tuple[int, bytes]], coin_count: int) -> bytes:
        """A transaction that spends many coins, and pays these amounts to these scripts."""
        coins = [self._coins.pop() for _ in range(coin_count)]
        share_sats = (sum(sats for sats, _ in paid) + LARGE_FEE_SATS) // coin_count + 1
        change = [(coin.amount_sats - share_sats, COIN_SCRIPT) for coin in coins]
        raw = signed_all(coins, [*change, *paid])
        txid = parse_transaction(raw).txid
        self._change += [Coin(outpoint(txid, vout), sats) for vout, (sats, _) in enumerate(change)]
        return raw

    def script(self, address: str) -> bytes:
        """An address's script."""
        return bytes.fromhex(self._rpc.call("validateaddress", address)["scriptPubKey"])

    def submit(self, raws: Sequence[bytes]) -> None:
        """Put them into the mempool."""
        for start in range(0, len(raws), AT_ONCE):
            self._rpc.batch("sendrawtransaction", [[raw.hex()] for raw in raws[start : start + AT_ONCE]])

    def begin_submit(self, raw: bytes) -> None:
        """Put it into the mempool, without waiting: `finish` takes the answer."""
        self._rpc.send("sendrawtransaction", raw.hex())

    def begin_mine(self) -> None:
        """Mine the mempool, without waiting: `finish` takes the answer."""
        self._rpc.send("generatetodescriptor", 1, f"raw({COIN_SCRIPT.hex()})")
        # The coins take turns: each payment leaves its coin smaller.
        self._coins = self._change + self._coins
        self._change = []

    def finish(self) -> Any:
        """The answer to what was begun."""
        return self._rpc.receive()

    def height(self) -> int:
        """Of the node's tip."""
        return int(self._rpc.call("getblockcount"))

    def mine(self, count: int) -> None:
        """Mine so many blocks of what the mempool has: mostly none but the miner's own transaction."""
        for _ in range(0, count, AT_ONCE):
            self._rpc.call("generatetodescriptor", min(count, AT_ONCE), f"raw({COIN_SCRIPT.hex()})")

    def newest(self, count: int) -> list[str]:
        """The hashes of the newest blocks, oldest first."""
        height = self.height()
        return self._rpc.batch("getblockhash", [[h] for h in range(height - count + 1, height + 1)])

    def rescan(self, count: int) -> float:
        """The seconds that bitcoind takes to look through the newest blocks for its own wallet."""
        began = time.perf_counter()
        self.node.rpc("rescanblockchain", self.height() - count + 1, wallet="nodetill")
        return time.perf_counter() - began

    @property
    def pid(self) -> int:
        """bitcoind's process."""
        assert self.node.process is not None
        return self.node.process.pid

    def new_address_rate(self, count: int) -> float:
        """How many addresses a second the wallet makes for somebody who wants nothing else."""
        wallet = Rpc(self.node.admin_url, "/wallet/nodetill")
        began = time.perf_counter()
        for _ in range(count):
            # By another label: by its own, Nodetill would take them for addresses that it lost.
            wallet.call_again("getnewaddress", "bench", "bech32")
        return count / (time.perf_counter() - began)

    def weight(self, block_hash: str) -> int:
        """A block's weight, BIP 141."""
        return int(self._rpc.call("getblock", block_hash)["weight"])

    def size(self, block_hash: str) -> int:
        """How many transactions a block has."""
        return int(self._rpc.call("getblock", block_hash)["nTx"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.node.stop()


class Rpc:
    """bitcoind's JSON-RPC on one connection, where sending and receiving can be told apart."""

    def __init__(self, url: str, path: str = "/") -> None:
        parts = urlsplit(url)
        self._path = path
        credentials = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
        self._connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=120)

    def call(self, method: str, *parameters: Any) -> Any:
        """The result."""
        self.send(method, *parameters)
        return self.receive()

    def call_again(self, method: str, *parameters: Any) -> Any:
        """The same on the connection of the call before, which has to have been a moment ago."""
        self._request(_request(method, parameters))
        return self.receive()

    def send(self, method: str, *parameters: Any) -> None:
        """Ask; `receive` takes the result."""
        self._post(_request(method, parameters))

    def receive(self) -> Any:
        """The result of what was asked."""
        return _result(json.loads(self._connection.getresponse().read()))

    def batch(self, method: str, calls: Sequence[Sequence[Any]]) -> list[Any]:
        """The results of many calls."""
        self._post([_request(method, parameters) for parameters in calls])
        return [_result(answer) for answer in json.loads(self._connection.getresponse().read())]

    def _post(self, document: Any) -> None:
        # bitcoind closes a connection that was idle for 30 s; http.client then makes a new one.
        self._connection.close()
        self._request(document)

    def _request(self, document: Any) -> None:
        self._connection.request("POST", self._path, json.dumps(document), self._headers)


def signed(coin: Coin, outputs: Sequence[tuple[int, bytes]]) -> bytes:
    """A transaction that spends one coin. Amounts are in satoshis."""
    return signed_all([coin], outputs)


def signed_all(coins: Sequence[Coin], outputs: Sequence[tuple[int, bytes]]) -> bytes:
    """A transaction that spends several coins."""
    spent = b"".join(coin.outpoint + b"\x00\xff\xff\xff\xff" for coin in coins)
    body = b"".join(struct.pack("<QB", amount_sats, len(script)) + script for amount_sats, script in outputs)
    inputs, made = _compact_size(len(coins)) + spent, _compact_size(len(outputs)) + body
    return b"\x02\x00\x00\x00\x00\x01" + inputs + made + COIN_WITNESS * len(coins) + bytes(4)


def _compact_size(count: int) -> bytes:
    return bytes([count]) if count < 253 else b"\xfd" + struct.pack("<H", count)


def random_script() -> bytes:
    """A pay-to-witness-public-key-hash script that is nobody's."""
    return b"\x00\x14" + secrets.token_bytes(20)


def foreign_weight() -> int:
    """The weight of `Load.foreign`, BIP 141."""
    outputs = [(FOREIGN_SATS, COIN_SCRIPT), (FOREIGN_SATS, random_script())]
    size, witness_size = len(signed(Coin(bytes(36), 0), outputs)), len(COIN_WITNESS) + 2
    return size * 4 - witness_size * 3


def _request(method: str, parameters: Sequence[Any]) -> dict[str, Any]:
    return {"jsonrpc": "1.0", "id": 0, "method": method, "params": list(parameters)}


def _result(answer: dict[str, Any]) -> Any:
    if answer["error"] is not None:
        raise RuntimeError(f"bitcoind refused: {answer['error']}")
    return answer["result"]
