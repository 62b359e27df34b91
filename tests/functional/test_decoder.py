"""Our parser of transactions and blocks has the same results as bitcoind, also for invalid bytes."""

import json
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
import urllib3

from config import load_settings
from daemon.node.client import Bitcoind
from payments.money import MAX_MONEY_SATS, SATS_PER_BTC
from payments.transaction import (
    MalformedTransaction,
    Transaction,
    parse_block,
    parse_transaction,
    split_outpoint,
)
from regtest.installation import settings_for
from regtest.node import CUSTOMER, RegtestNode

pytestmark = pytest.mark.bitcoind

BATCH_SIZE, BATCHES = 100, 20

SIZES = (0, 1, 22, 25, 34, 252, 253, 254, 520, 5_000)
LARGE = 70_000
IMPOSSIBLE = (MAX_MONEY_SATS + 1, 2**63 - 1, 2**63, 2**64 - 1)
COUNTS = (0, 1, 1, 2, 2, 3, 4)
COINBASE = bytes(32) + b"\xff" * 4
BOUNDARY_BYTES = (0, 1, 252, 253, 254, 255)


def _script(chance: Random) -> bytes:
    size = LARGE if chance.random() < 0.01 else chance.choice(SIZES)
    return (chance.randbytes(chance.randint(1, 8)) * (size + 1))[:size]


def _amount(chance: Random) -> bytes:
    sats = chance.choice(IMPOSSIBLE) if chance.random() < 0.1 else chance.randint(0, MAX_MONEY_SATS)
    return struct.pack("<Q", sats)


def _generated(chance: Random) -> bytes:
    """Return a transaction, or nearly one. The flag and the witnesses may contradict each other."""
    inputs = [
        (COINBASE if chance.random() < 0.2 else chance.randbytes(36))
        + _sized(_script(chance))
        + chance.randbytes(4)
        for _ in range(chance.choice(COUNTS))
    ]
    outputs = [_amount(chance) + _sized(_script(chance)) for _ in range(chance.choice(COUNTS))]
    has_witness = chance.random() < 0.5
    stacks = [_counted([_sized(_script(chance)) for _ in range(chance.randint(0, 3))]) for _ in inputs]
    return b"".join(
        (
            chance.randbytes(4),
            b"\x00\x01" if has_witness else b"",
            _counted(inputs),
            _counted(outputs),
            *(stacks if has_witness else ()),
            chance.randbytes(4),
        )
    )


def _damaged(chance: Random) -> bytes:
    """Return a transaction with a few bytes changed, removed or inserted, mostly near its start."""
    raw = bytearray(_generated(chance))
    for _ in range(chance.randint(1, 2)):
        place = chance.randrange(min(60, len(raw)) if chance.random() < 0.6 else len(raw))
        kind = chance.choice(("change", "cut", "end", "insert"))
        if kind == "change":
            raw[place] = chance.choice(BOUNDARY_BYTES) if chance.random() < 0.5 else chance.randrange(256)
        elif kind == "cut" and len(raw) > 12:
            del raw[place : place + chance.randint(1, 4)]
        elif kind == "end" and place > 12:
            del raw[place:]
        else:
            raw[place:place] = chance.randbytes(chance.randint(1, 4))
    return bytes(raw)


def _sized(content: bytes) -> bytes:
    return _compact_size(len(content)) + content


def _counted(items: Sequence[bytes]) -> bytes:
    return _compact_size(len(items)) + b"".join(items)


def _compact_size(size: int) -> bytes:
    """Encode a size as BIP 144 and Bitcoin Core's serialize.h do."""
    if size < 253:
        return bytes([size])
    return struct.pack("<BH", 253, size) if size < 0x10000 else struct.pack("<BI", 254, size)


@pytest.fixture(scope="module")
def daemons_node(regtest_node: RegtestNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bitcoind]:
    """Yield the daemon's own connection to the node."""
    directory: Path = tmp_path_factory.mktemp("decoder")
    with closing(Bitcoind(load_settings(settings_for(regtest_node, directory), directory))) as node:
        yield node


@pytest.mark.parametrize("make", [_generated, _damaged])
def test_our_parser_agrees_with_bitcoind(
    regtest_node: RegtestNode, daemons_node: Bitcoind, make: Callable[[Random], bytes]
) -> None:
    """Both return the same txid, inputs and outputs for thousands of odd transactions, or both refuse."""
    chance = Random(make.__name__)
    read = 0
    for _ in range(BATCHES):
        raws = [make(chance) for _ in range(BATCH_SIZE)]
        decoded = _decoded_by_bitcoind(regtest_node, raws)
        read += sum(each is not None for each in decoded)
        for raw, expected in zip(raws, decoded, strict=True):
            _compare(daemons_node, raw, expected)
    # Some transactions are valid, and some are not.
    assert BATCH_SIZE < read < (BATCHES - 1) * BATCH_SIZE


def test_our_parser_agrees_on_all_transactions_of_a_chain(regtest_node: RegtestNode) -> None:
    """The blocks have coinbases, payments with and without a witness, and many outputs."""
    senders = [_address(regtest_node, kind) for kind in ("bech32", "bech32m", "p2sh-segwit", "legacy")]
    for sender in senders:
        regtest_node.rpc("sendtoaddress", sender, 1, wallet=CUSTOMER)
    regtest_node.mine()
    regtest_node.rpc("sendall", [_address(regtest_node, "legacy")], wallet=CUSTOMER)
    hashes = regtest_node.mine()
    height = regtest_node.rpc("getblockcount")
    hashes += [regtest_node.rpc("getblockhash", height - depth) for depth in range(1, 20)]
    for block_hash in hashes:
        block = parse_block(bytes.fromhex(regtest_node.rpc("getblock", block_hash, 0)))
        decoded = regtest_node.rpc("getblock", block_hash, 2)
        assert (block.hash, block.previous_hash) == (decoded["hash"], decoded["previousblockhash"])
        assert [_facts(t) for t in block.transactions] == [_decoded_facts(t) for t in decoded["tx"]]


def _address(node: RegtestNode, kind: str) -> str:
    return str(node.rpc("getnewaddress", "", kind, wallet=CUSTOMER))


def _decoded_by_bitcoind(node: RegtestNode, raws: Sequence[bytes]) -> list[dict[str, Any] | None]:
    """Return bitcoind's result for each transaction, by one HTTP request. None means that bitcoind refuses.

    `iswitness` is true, as in the P2P protocol. Otherwise bitcoind could also read the bytes as a transaction
    without a witness and without inputs.
    """
    calls = [
        {"id": number, "method": "decoderawtransaction", "params": [raw.hex(), True]}
        for number, raw in enumerate(raws)
    ]
    credentials = node.cookie_file.read_text().strip()
    answer = urllib3.request(
        "POST",
        f"http://127.0.0.1:{node.rpc_port}/",
        body=json.dumps(calls),
        headers=urllib3.make_headers(basic_auth=credentials) | {"Content-Type": "application/json"},
    )
    assert answer.status == 200, answer.data
    rows = {row["id"]: row["result"] for row in json.loads(answer.data, parse_float=Decimal)}
    return [rows[number] for number in range(len(raws))]


def _compare(daemons_node: Bitcoind, raw: bytes, decoded: dict[str, Any] | None) -> None:
    """Compare both results. If only our parser refuses, the daemon must get the result by bitcoind's decoder.

    The exception is an impossible amount, which the daemon may refuse.
    """
    try:
        ours: Transaction | None = parse_transaction(raw)
    except MalformedTransaction:
        ours = None
    if ours is not None:
        assert decoded is not None, f"bitcoind refuses {raw.hex()}"
        assert _facts(ours) == _decoded_facts(decoded), raw.hex()
    elif decoded is not None and _is_possible(decoded):
        assert _facts(daemons_node.read_transaction(raw)) == _decoded_facts(decoded), raw.hex()


def _is_possible(decoded: dict[str, Any]) -> bool:
    return all(0 <= vout["value"] * SATS_PER_BTC <= MAX_MONEY_SATS for vout in decoded["vout"])


def _facts(transaction: Transaction) -> tuple[str, list[tuple[str, int]], list[tuple[int, bytes]]]:
    return transaction.txid, [split_outpoint(key) for key in transaction.inputs], transaction.outputs


def _decoded_facts(decoded: dict[str, Any]) -> tuple[str, list[tuple[str, int]], list[tuple[int, bytes]]]:
    inputs = [(vin["txid"], vin["vout"]) for vin in decoded["vin"] if "coinbase" not in vin]
    outputs = [
        (int(vout["value"] * SATS_PER_BTC), bytes.fromhex(vout["scriptPubKey"]["hex"]))
        for vout in decoded["vout"]
    ]
    return decoded["txid"], inputs, outputs
