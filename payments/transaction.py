"""A parser of raw transactions and blocks. It reads the parts that matching needs: inputs, outputs and txids.

Bitcoin Core defines the formats in `primitives/transaction.h`, `primitives/block.h` and `serialize.h`. BIP
141 and BIP 144 define the witness. This parser refuses all bytes that Core refuses.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from typing import Any

from payments.money import MAX_MONEY_SATS, SATS_PER_BTC

NULL_OUTPOINT = bytes(32) + b"\xff\xff\xff\xff"

# The smallest input has an outpoint, an empty script and a sequence. The smallest output has an amount and an
# empty script.
MIN_INPUT_BYTES = 36 + 1 + 4
MIN_OUTPUT_BYTES = 8 + 1
MIN_TRANSACTION_BYTES = 4 + 1 + MIN_INPUT_BYTES + 1 + 4

HEADER_BYTES = 80

# MAX_SIZE in Core's serialize.h. A compact size that is larger is refused.
MAX_SIZE = 0x02000000

_amount_and_size = struct.Struct("<QB").unpack_from
_uint16 = struct.Struct("<H").unpack_from
_uint32 = struct.Struct("<I").unpack_from
_header_end = struct.Struct("<II").unpack_from


class MalformedTransaction(ValueError):
    """The bytes are not a transaction or block that Bitcoin Core accepts."""


class Transaction:
    """One transaction.

    `inputs` are the 36-byte outpoints that the transaction spends, as `outpoint` returns them. A coinbase
    transaction has no inputs. `outputs` are pairs (amount_sats, script), and the index of a pair is its vout.
    A transaction keeps a reference to the buffer from which it was read. This buffer may be a whole block.
    """

    __slots__ = ("_end", "_raw", "_start", "_txid", "_witness", "inputs", "outputs")

    def __init__(
        self,
        inputs: list[bytes],
        outputs: list[tuple[int, bytes]],
        raw: bytes = b"",
        start: int = 0,
        witness: int = 0,
        end: int = 0,
        txid: str | None = None,
    ) -> None:
        """Use the bytes of `raw` from `start` to `end`. `witness` is the start of the witness, or 0."""
        self.inputs = inputs
        self.outputs = outputs
        self._raw = raw
        self._start = start
        self._witness = witness
        self._end = end
        self._txid = txid

    @property
    def txid(self) -> str:
        """Return the double SHA-256 of the serialisation without witness (BIP 141), in display order, as hex.

        The first call computes it, because most transactions of a block match nothing and need no txid.
        """
        if self._txid is None:
            self._txid = _display(_double_sha256(self._stripped()))
        return self._txid

    @property
    def raw(self) -> bytes:
        """Return the serialisation with its witness."""
        return self._raw[self._start : self._end]

    def _stripped(self) -> bytes:
        raw, start, end = self._raw, self._start, self._end
        if not self._witness:
            return raw[start:end]
        return raw[start : start + 4] + raw[start + 6 : self._witness] + raw[end - 4 : end]

    def __repr__(self) -> str:
        return f"<Transaction {self.txid}>"


@dataclass(frozen=True, slots=True)
class Block:
    """A block: hashes in display order, `time` in Unix seconds, `work` in hashes, `size` in bytes."""

    hash: str
    previous_hash: str
    time: int
    bits: int
    work: int
    size: int
    transactions: list[Transaction]


def parse_transaction(raw: bytes) -> Transaction:
    """Return the transaction in `raw`, which must have no other bytes. Raise MalformedTransaction."""
    try:
        transaction, end = _read_transaction(raw, 0)
    except (IndexError, struct.error) as error:
        raise MalformedTransaction("the transaction ends too early") from error
    if end != len(raw):
        raise MalformedTransaction(f"{len(raw) - end} bytes after the end of the transaction")
    return transaction


def parse_block(raw: bytes) -> Block:
    """Return the block in `raw`, in the form of REST and of `getblock` with verbosity 0.

    The proof of work and the Merkle root are not checked here, because bitcoind has checked them.
    Raise MalformedTransaction.
    """
    try:
        count, position = _read_size(raw, HEADER_BYTES)
        _check_count(count, MIN_TRANSACTION_BYTES, raw, position)
        transactions = []
        for _ in range(count):
            transaction, position = _read_transaction(raw, position)
            transactions.append(transaction)
    except (IndexError, struct.error) as error:
        raise MalformedTransaction("the block ends too early") from error
    if position != len(raw):
        raise MalformedTransaction(f"{len(raw) - position} bytes after the end of the block")
    time, bits = _header_end(raw, 68)
    block_hash, previous_hash = _display(_double_sha256(raw[:HEADER_BYTES])), _display(raw[4:36])
    return Block(block_hash, previous_hash, time, bits, work_from_bits(bits), len(raw), transactions)


def transaction_from_rpc(decoded: Mapping[str, Any]) -> Transaction:
    """Return the transaction in JSON of `decoderawtransaction`, or in a `tx` of `getblock` with verbosity 2.

    Amounts must be Decimal, as python-bitcoinrpc returns them. Raise MalformedTransaction.
    """
    try:
        inputs = [outpoint(vin["txid"], vin["vout"]) for vin in decoded["vin"] if "coinbase" not in vin]
        outputs = [
            (_sats(vout["value"]), bytes.fromhex(vout["scriptPubKey"]["hex"])) for vout in decoded["vout"]
        ]
        return Transaction(inputs, outputs, txid=_checked_hash(decoded["txid"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise MalformedTransaction(f"not a decoded transaction: {error!r}") from error


def block_from_rpc(decoded: Mapping[str, Any]) -> Block:
    """Return the block in JSON of `getblock` with verbosity 2. Raise MalformedTransaction."""
    try:
        bits = int(decoded["bits"], 16)
        return Block(
            hash=_checked_hash(decoded["hash"]),
            # The genesis block has no previous block, and Core leaves the field out.
            previous_hash=_checked_hash(decoded.get("previousblockhash", "00" * 32)),
            time=int(decoded["time"]),
            bits=bits,
            work=work_from_bits(bits),
            size=int(decoded["size"]),
            transactions=[transaction_from_rpc(transaction) for transaction in decoded["tx"]],
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise MalformedTransaction(f"not a decoded block: {error!r}") from error


def work_from_bits(bits: int) -> int:
    """Return the average number of hashes for a block of this difficulty (GetBlockProof of Core's chain.cpp).

    Return 0 for a target that is zero, negative or above 256 bits (SetCompact of arith_uint256.cpp).
    """
    size, word = bits >> 24, bits & 0x007FFFFF
    target = word << 8 * (size - 3) if size > 3 else word >> 8 * (3 - size)
    is_negative = bool(bits & 0x00800000)
    if is_negative or target == 0 or target >> 256:
        return 0
    return (1 << 256) // (target + 1)


def outpoint(txid: str, vout: int) -> bytes:
    """Return the 36 bytes of an outpoint in `Transaction.inputs`. Raise ValueError or OverflowError."""
    return bytes.fromhex(_checked_hash(txid))[::-1] + vout.to_bytes(4, "little")


def split_outpoint(key: bytes) -> tuple[str, int]:
    """Return the (txid, vout) of 36 bytes from `outpoint`."""
    return _display(key[:32]), int.from_bytes(key[32:], "little")


def _read_transaction(raw: bytes, start: int) -> tuple[Transaction, int]:
    """Return the transaction that begins at `start`, and the position of its end.

    A length that reaches past the end of `raw` needs no check here, because each field has a field behind it.
    To read that next field raises IndexError or struct.error.
    """
    position = start + 4
    is_segwit = raw[position] == 0
    if is_segwit:
        if raw[position + 1] != 1:
            raise MalformedTransaction("no inputs, or a flag other than the witness's (BIP 144)")
        position += 2
    count, position = _read_size(raw, position)
    _check_count(count, MIN_INPUT_BYTES, raw, position)
    inputs, position = _read_inputs(raw, position, count)
    outputs, position = _read_outputs(raw, position)
    witness = 0
    if is_segwit:
        witness, position = position, _skip_witness(raw, position, count)
    end = position + 4
    if end > len(raw):
        raise MalformedTransaction("the transaction ends too early")
    return Transaction(inputs, outputs, raw, start, witness, end), end


def _read_inputs(raw: bytes, position: int, count: int) -> tuple[list[bytes], int]:
    inputs = []
    for _ in range(count):
        inputs.append(raw[position : position + 36])
        position += 36
        size = raw[position]
        if size < 253:
            position += 1 + size + 4
        else:
            size, position = _read_size(raw, position)
            position += size + 4
    if inputs == [NULL_OUTPOINT]:  # a coinbase
        inputs = []
    return inputs, position


def _read_outputs(raw: bytes, position: int) -> tuple[list[tuple[int, bytes]], int]:
    count, position = _read_size(raw, position)
    _check_count(count, MIN_OUTPUT_BYTES, raw, position)
    outputs = []
    for _ in range(count):
        amount_sats, size = _amount_and_size(raw, position)
        if amount_sats > MAX_MONEY_SATS:
            raise MalformedTransaction("an amount that is negative or above 21 million bitcoin")
        position += 9
        if size > 252:
            size, position = _read_size(raw, position - 1)
        outputs.append((amount_sats, raw[position : position + size]))
        position += size
    return outputs, position


def _skip_witness(raw: bytes, position: int, input_count: int) -> int:
    is_empty = True
    for _ in range(input_count):
        items, position = _read_size(raw, position)
        _check_count(items, 1, raw, position)
        for _ in range(items):
            size = raw[position]
            if size < 253:
                position += 1 + size
            else:
                size, position = _read_size(raw, position)
                position += size
        is_empty = is_empty and not items
    if is_empty:
        raise MalformedTransaction("superfluous witness")
    return position


def _read_size(raw: bytes, position: int) -> tuple[int, int]:
    """Return the compact size at `position`, and its end (ReadCompactSize of Core's serialize.h)."""
    size = raw[position]
    if size < 253:
        return size, position + 1
    if size == 253:
        (size,), end, smallest = _uint16(raw, position + 1), position + 3, 253
    elif size == 254:
        (size,), end, smallest = _uint32(raw, position + 1), position + 5, 0x10000
    else:
        raise MalformedTransaction("a size above 32 MiB")
    if not smallest <= size <= MAX_SIZE:
        raise MalformedTransaction("a size not in its shortest form, or above 32 MiB")
    return size, end


def _check_count(count: int, smallest: int, raw: bytes, position: int) -> None:
    if count * smallest > len(raw) - position:
        raise MalformedTransaction(f"a count of {count} that the rest of the bytes cannot hold")


def _sats(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, Decimal | int):
        raise TypeError("an amount that is not a Decimal")
    numerator, denominator = value.as_integer_ratio()
    amount_sats, rest = divmod(numerator * SATS_PER_BTC, denominator)
    if rest or not 0 <= amount_sats <= MAX_MONEY_SATS:
        raise ValueError("an amount that is no satoshis, negative or above 21 million bitcoin")
    return amount_sats


def _checked_hash(text: str) -> str:
    digest = bytes.fromhex(text)
    if len(digest) != 32:
        raise ValueError("a hash that has not 32 bytes")
    return digest.hex()


def _double_sha256(data: bytes) -> bytes:
    return sha256(sha256(data).digest()).digest()


def _display(digest: bytes) -> str:
    return digest[::-1].hex()
