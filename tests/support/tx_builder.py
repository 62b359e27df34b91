"""Builds transactions and blocks, so that a test decides their content and the moment of their publication.

A submitted branch becomes the active chain at once with its last block, as on a real network.
`invalidateblock` would show the blocks between. Anyone can spend the coins (P2WSH of OP_TRUE), so no input
needs a signature. Formats: Bitcoin Core's primitives/transaction.h and primitives/block.h, BIP 34, BIP 141.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from typing import Protocol

from payments.transaction import outpoint

OP_TRUE = b"\x51"
ANYONE_CAN_SPEND = b"\x00\x20" + sha256(OP_TRUE).digest()

SUBSIDY_SATS, HALVING_BLOCKS = 5_000_000_000, 150
EASIEST_BITS = 0x207FFFFF
"""Regtest's difficulty, from Core's chainparams.cpp. About every second header satisfies it."""

_SEQUENCE = 0xFFFFFFFD
_WITNESS = bytes([1, len(OP_TRUE)]) + OP_TRUE
_RESERVED = bytes(32)
_extra_nonces = count()


@dataclass(frozen=True, slots=True)
class Coin:
    """An output that anyone can spend."""

    txid: str
    vout: int
    amount_sats: int

    @property
    def outpoint(self) -> bytes:
        return outpoint(self.txid, self.vout)


@dataclass(frozen=True, slots=True)
class BuiltTransaction:
    """A transaction; `outputs` are (script, amount_sats), `stripped` its bytes without the witness."""

    txid: str
    coins: tuple[Coin, ...]
    outputs: tuple[tuple[bytes, int], ...]
    stripped: bytes
    raw: bytes

    def coin(self, vout: int) -> Coin:
        """Return output `vout`; a negative number counts from the end."""
        place = vout % len(self.outputs)
        return Coin(self.txid, place, self.outputs[place][1])


def build_transaction(
    coins: Sequence[Coin], outputs: Iterable[tuple[bytes, int]], fee_sats: int, version: int = 2
) -> BuiltTransaction:
    """Spend `coins` to `outputs`. The last output of the result is the change."""
    paid = list(outputs)
    change_sats = sum(coin.amount_sats for coin in coins) - sum(sats for _, sats in paid) - fee_sats
    assert change_sats > 0
    complete = (*paid, (ANYONE_CAN_SPEND, change_sats))
    inputs = [coin.outpoint + b"\x00" + struct.pack("<I", _SEQUENCE) for coin in coins]
    return _serialised(tuple(coins), inputs, complete, [_WITNESS] * len(inputs), version)


class Mineable(Protocol):
    """A transaction with its id and its bytes."""

    @property
    def txid(self) -> str: ...
    @property
    def raw(self) -> bytes: ...


def build_block(
    previous_hash: str, height: int, time: int, content: Sequence[Mineable], script: bytes = ANYONE_CAN_SPEND
) -> tuple[str, bytes]:
    """Return the hash and the bytes of a block that has `content` in this order. Its coins go to `script`."""
    transactions = [_coinbase(height, content, script), *content]
    root = _merkle_root([bytes.fromhex(t.txid)[::-1] for t in transactions])
    start = struct.pack("<i", 0x20000000) + bytes.fromhex(previous_hash)[::-1] + root
    for nonce in count():
        header = start + struct.pack("<III", time, EASIEST_BITS, nonce)
        digest = _double(header)
        if digest[31] < 0x7F:
            break
    raw = header + _size(len(transactions)) + b"".join(t.raw for t in transactions)
    return digest[::-1].hex(), raw


def _coinbase(height: int, content: Sequence[Mineable], pays: bytes) -> BuiltTransaction:
    """Return a coinbase with a number of its own, so that two blocks with the same content differ."""
    witness_root = _merkle_root([bytes(32), *(_double(t.raw) for t in content)])
    commitment = b"\x6a\x24\xaa\x21\xa9\xed" + _double(witness_root + _RESERVED)
    script = _pushed_number(height) + b"\x08" + struct.pack("<Q", next(_extra_nonces))
    spent = bytes(32) + b"\xff" * 4 + _size(len(script)) + script + b"\xff" * 4
    subsidy_sats = SUBSIDY_SATS >> (height // HALVING_BLOCKS)
    outputs = ((pays, subsidy_sats), (commitment, 0))
    return _serialised((), [spent], outputs, [b"\x01\x20" + _RESERVED])


def _serialised(
    coins: tuple[Coin, ...],
    inputs: Sequence[bytes],
    outputs: tuple[tuple[bytes, int], ...],
    witnesses: Iterable[bytes],
    version_number: int = 2,
) -> BuiltTransaction:
    written = [struct.pack("<q", sats) + _size(len(script)) + script for script, sats in outputs]
    body = _size(len(inputs)) + b"".join(inputs) + _size(len(outputs)) + b"".join(written)
    version, lock_time = struct.pack("<i", version_number), bytes(4)
    stripped = version + body + lock_time
    raw = version + b"\x00\x01" + body + b"".join(witnesses) + lock_time
    return BuiltTransaction(_double(stripped)[::-1].hex(), coins, outputs, stripped, raw)


def _merkle_root(hashes: list[bytes]) -> bytes:
    while len(hashes) > 1:
        if len(hashes) % 2:
            hashes.append(hashes[-1])
        hashes = [_double(hashes[i] + hashes[i + 1]) for i in range(0, len(hashes), 2)]
    return hashes[0]


def _pushed_number(number: int) -> bytes:
    """Return the height as CScript writes it; BIP 34 requires it at the start of a coinbase."""
    if number <= 16:
        return bytes([0x50 + number])
    digits = number.to_bytes(number.bit_length() // 8 + 1, "little")
    return bytes([len(digits)]) + digits


def _size(number: int) -> bytes:
    return bytes([number]) if number < 253 else b"\xfd" + struct.pack("<H", number)


def _double(data: bytes) -> bytes:
    return sha256(sha256(data).digest()).digest()
