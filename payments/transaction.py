"""Raw transactions and blocks, read into what matching needs: inputs, outputs and the txid.

The formats are those of Bitcoin Core's `primitives/transaction.h`, `primitives/block.h` and `serialize.h`,
and BIP 141 and 144 for the witness. What Core refuses to read is refused here too.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from typing import Any

from payments.money import MAX_MONEY_SATS, SATS_PER_BTC

NULL_OUTPOINT = bytes(32) + b"\xff\xff\xff\xff"

# The fewest bytes that one of each can take: outpoint, empty script and sequence; amount and empty script.
MIN_INPUT_BYTES = 36 + 1 + 4
MIN_OUTPUT_BYTES = 8 + 1
MIN_TRANSACTION_BYTES = 4 + 1 + MIN_INPUT_BYTES + 1 + 4

HEADER_BYTES = 80

# MAX_SIZE in Core's serialize.h: no compact size may claim more.
MAX_SIZE = 0x02000000

_amount_and_size = struct.Struct("<QB").unpack_from
_uint16 = struct.Struct("<H").unpack_from
_uint32 = struct.Struct("<I").unpack_from
_header_end = struct.Struct("<II").unpack_from


class MalformedTransaction(ValueError):
    """These bytes are no transaction or block that Bitcoin Core would read."""


class Transaction:
    """One transaction.

    `inputs` are the 36-byte outpoints it spends, as `outpoint` makes them; a coinbase spends none.
    `outputs` are (amount_sats, script) in their order, so an index is a vout.
    It keeps alive the buffer it was read from, be it a whole block, until it is let go.
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
        """Of `raw`, it is the bytes from `start` to `end`; its witness, if any, begins at `witness`."""
        self.inputs = inputs
        self.outputs = outputs
        self._raw = raw
        self._start = start
        self._witness = witness
        self._end = end
        self._txid = txid

    @property
    def txid(self) -> str:
        """The double SHA-256 of the serialisation without witness (BIP 141), in display order, as hex.

        Worked out when first asked for: most transactions of a block match nothing and are never named.
        """
        if self._txid is None:
            self._txid = _display(_double_sha256(self._stripped()))
        return self._txid

    @property
    def raw(self) -> bytes:
        """The serialisation that it was read from, with its witness."""
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
    """The transaction that `raw` is, from its first byte to its last; MalformedTransaction otherwise."""
    try:
        transaction, end = _read_transaction(raw, 0)
    except (IndexError, struct.error) as error:
        raise MalformedTransaction("the transaction ends too early") from error
    if end != len(raw):
        raise MalformedTransaction(f"{len(raw) - end} bytes after the end of the transaction")
    return transaction


def parse_block(raw: bytes) -> Block:
    """The block that `raw` is, as REST and `getblock` with verbosity 0 give it.

    Neither its proof of work nor its Merkle root is checked: bitcoind has done so.
    Raises MalformedTransaction.
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


def header_hashes(raw: bytes) -> list[str]:
    """The hashes of block headers that stand one behind the other, 80 bytes each (`primitives/block.h`).

    Only as far as each follows the one before it; an incomplete one at the end is left out.
    """
    hashes: list[str] = []
    for start in range(0, len(raw) - HEADER_BYTES + 1, HEADER_BYTES):
        header = raw[start : start + HEADER_BYTES]
        if hashes and _display(header[4:36]) != hashes[-1]:
            break
        hashes.append(_display(_double_sha256(header)))
    return hashes


def transaction_from_rpc(decoded: Mapping[str, Any]) -> Transaction:
    """The same from bitcoind's decoder: `decoderawtransaction`, or a `tx` of `getblock` with verbosity 2.

    Amounts must be Decimal, as python-bitcoinrpc gives them. Raises MalformedTransaction.
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
    """The same from `getblock` with verbosity 2. Raises MalformedTransaction."""
    try:
        bits = int(decoded["bits"], 16)
        return Block(
            hash=_checked_hash(decoded["hash"]),
            # The genesis block has none, and Core leaves the field out.
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
    """The hashes that a block of this difficulty takes on average: GetBlockProof of Core's chain.cpp.

    A target that is zero, negative or above 256 bits is worth nothing (SetCompact of arith_uint256.cpp).
    """
    size, word = bits >> 24, bits & 0x007FFFFF
    target = word << 8 * (size - 3) if size > 3 else word >> 8 * (3 - size)
    is_negative = bool(bits & 0x00800000)
    if is_negative or target == 0 or target >> 256:
        return 0
    return (1 << 256) // (target + 1)


def outpoint(txid: str, vout: int) -> bytes:
    """The 36 bytes that name an output in `Transaction.inputs`; ValueError or OverflowError if none."""
    return bytes.fromhex(_checked_hash(txid))[::-1] + vout.to_bytes(4, "little")


def split_outpoint(key: bytes) -> tuple[str, int]:
    """The (txid, vout) of what `outpoint` made."""
    return _display(key[:32]), int.from_bytes(key[32:], "little")


def _read_transaction(raw: bytes, start: int) -> tuple[Transaction, int]:
    """The transaction that begins at `start`, and where it ends.

    A length that reaches past the end of `raw` needs no check of its own: every field is followed by one
    that must be there, and reading that raises IndexError or struct.error.
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
    """The compact size at `position`, and where it ends: ReadCompactSize of Core's serialize.h."""
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
