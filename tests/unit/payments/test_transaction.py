"""The parser agrees with python-bitcoinlib, and refuses the bytes that Bitcoin Core refuses."""

from decimal import Decimal
from typing import Any

import pytest
from bitcoin.core import (
    CBlock,
    CMutableTransaction,
    CMutableTxIn,
    CMutableTxOut,
    COutPoint,
    CTransaction,
    CTxInWitness,
    CTxWitness,
    b2lx,
)
from bitcoin.core.script import CScriptWitness
from hypothesis import given
from hypothesis import strategies as st

from payments.money import MAX_MONEY_SATS, format_btc
from payments.transaction import (
    NULL_OUTPOINT,
    MalformedTransaction,
    Transaction,
    block_from_rpc,
    outpoint,
    parse_block,
    parse_transaction,
    split_outpoint,
    transaction_from_rpc,
    work_from_bits,
)

GENESIS_COINBASE = bytes.fromhex(
    "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff001d0104455468"
    "652054696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f6e64206261"
    "696c6f757420666f722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130b7105cd6a828e0"
    "3909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000"
)
GENESIS_TXID = "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"
GENESIS_HASH = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
GENESIS_HEADER = bytes.fromhex(
    "01000000000000000000000000000000000000000000000000000000000000000000000"
    "03ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c"
)

# An early transaction of the main chain with a witness (P2WPKH in P2SH).
SEGWIT_TXID = "c586389e5e4b3acb9d6c8be1c19ae8ab2795397633176f5a6442a261bbdefc3a"
SEGWIT = bytes.fromhex(
    "0200000000010140d43a99926d43eb0e619bf0b3d83b4a31f60c176beecfb9d35bf45e54d0f7420100000017160014a4b4ca48de"
    "0b3fffc15404a1acdc8dbaae226955ffffffff0100e1f5050000000017a9144a1154d50b03292b3024370901711946cb7cccc387"
    "024830450221008604ef8f6d8afa892dee0f31259b6ce02dd70c545cfcfed8148179971876c54a022076d771d6e91bed212783c9"
    "b06e0de600fab2d518fad6f15a2b191d7fbd262a3e0121039d25ab79f41f75ceaf882411fd41fa670a4c672c23ffaf0e361a969c"
    "de0692e800000000"
)

hashes = st.binary(min_size=32, max_size=32)
keys = st.binary(min_size=33, max_size=33)
output_scripts = st.one_of(
    st.binary(min_size=20, max_size=20).map(lambda h: b"\x76\xa9\x14" + h + b"\x88\xac"),  # P2PKH
    st.binary(min_size=20, max_size=20).map(lambda h: b"\xa9\x14" + h + b"\x87"),  # P2SH
    st.binary(min_size=20, max_size=20).map(lambda h: b"\x00\x14" + h),  # P2WPKH
    hashes.map(lambda h: b"\x00\x20" + h),  # P2WSH
    hashes.map(lambda h: b"\x51\x20" + h),  # P2TR
    st.just(b"\x51\x02\x4e\x73"),  # P2A
    st.binary(max_size=75).map(lambda data: b"\x6a" + bytes([len(data)]) + data),  # OP_RETURN
    keys.map(lambda key: b"\x51\x21" + key + b"\x51\xae"),  # bare multisig, one of one
    keys.map(lambda key: b"\x21" + key + b"\xac"),  # P2PK
    st.binary(max_size=40),  # empty and non-standard
    st.integers(250, 260).map(bytes),  # around the first longer compact size
    st.sampled_from([bytes(0xFFFF), bytes(0x10000)]),  # and the second
)
inputs = st.builds(
    lambda txid, vout, script, sequence: CMutableTxIn(COutPoint(txid, vout), script, sequence),
    hashes,
    st.integers(0, 0xFFFFFFFF),
    st.binary(max_size=110) | st.just(bytes(300)),
    st.integers(0, 0xFFFFFFFF),
)
outputs = st.builds(CMutableTxOut, st.integers(0, MAX_MONEY_SATS), output_scripts)
witness_items = st.binary(max_size=80) | st.just(bytes(600))


@st.composite
def serialised(draw: st.DrawFn) -> bytes:
    """Draw a transaction as python-bitcoinlib writes it, with or without a witness."""
    vin = draw(st.lists(inputs, min_size=1, max_size=4))
    vout = draw(st.lists(outputs, max_size=5))
    stacks = draw(st.lists(st.lists(witness_items, max_size=4), min_size=len(vin), max_size=len(vin)))
    witness = CTxWitness([CTxInWitness(CScriptWitness(stack)) for stack in stacks])
    locktime, version = draw(st.integers(0, 0xFFFFFFFF)), draw(st.integers(-(2**31), 2**31 - 1))
    raw: bytes = CMutableTransaction(vin, vout, locktime, version, witness).serialize()
    return raw


def block_of(transactions: list[bytes]) -> bytes:
    assert len(transactions) < 253
    return GENESIS_HEADER + bytes([len(transactions)]) + b"".join(transactions)


def facts(transaction: Transaction) -> tuple[str, list[bytes], list[tuple[int, bytes]]]:
    return transaction.txid, transaction.inputs, transaction.outputs


def facts_by_bitcoinlib(raw: bytes) -> tuple[str, list[bytes], list[tuple[int, bytes]]]:
    peer = CTransaction.deserialize(raw)
    spent = [] if peer.is_coinbase() else [vin.prevout.serialize() for vin in peer.vin]
    return b2lx(peer.GetTxid()), spent, [(vout.nValue, bytes(vout.scriptPubKey)) for vout in peer.vout]


def legacy(vin: bytes = b"\x01" + bytes(41), vout: bytes = b"\x00") -> bytes:
    """Return a transaction from the bytes of its inputs and outputs, with their counts."""
    return b"\x02\x00\x00\x00" + vin + vout + bytes(4)


@given(serialised())
def test_a_transaction_is_parsed_as_by_python_bitcoinlib(raw: bytes) -> None:
    """Each form of output is tried, with and without a witness."""
    assert facts(parse_transaction(raw)) == facts_by_bitcoinlib(raw)


@given(st.lists(serialised(), max_size=5))
def test_a_block_has_its_transactions_in_order(transactions: list[bytes]) -> None:
    """Each is equal to the transaction parsed alone."""
    raw = block_of(transactions)
    block = parse_block(raw)
    assert [facts(transaction) for transaction in block.transactions] == [
        facts(parse_transaction(transaction)) for transaction in transactions
    ]
    assert block.hash == b2lx(CBlock.deserialize(raw).GetHash())


def test_the_genesis_block_is_parsed() -> None:
    """Its coinbase spends nothing."""
    block = parse_block(GENESIS_HEADER + b"\x01" + GENESIS_COINBASE)
    assert (block.hash, block.previous_hash) == (GENESIS_HASH, "00" * 32)
    assert (block.time, block.bits, block.work) == (1231006505, 0x1D00FFFF, 0x100010001)
    (coinbase,) = block.transactions
    assert coinbase.txid == GENESIS_TXID
    assert coinbase.inputs == []
    assert [amount_sats for amount_sats, _ in coinbase.outputs] == [50 * 10**8]


def test_the_txid_of_a_segwit_transaction_leaves_out_the_witness() -> None:
    transaction = parse_transaction(SEGWIT)
    spent = ("42f7d0545ef45bd3b9cfee6b170cf6314a3bd8b3f09b610eeb436d92993ad440", 1)
    assert transaction.txid == SEGWIT_TXID
    assert repr(transaction) == f"<Transaction {SEGWIT_TXID}>"
    assert transaction.inputs == [outpoint(*spent)]
    assert split_outpoint(transaction.inputs[0]) == spent
    script = bytes.fromhex("a9144a1154d50b03292b3024370901711946cb7cccc387")
    assert transaction.outputs == [(100_000_000, script)]


def test_many_inputs_and_outputs_have_longer_counts() -> None:
    """From 253 on a count takes three bytes."""
    vin = [CMutableTxIn(COutPoint(bytes(32), vout)) for vout in range(253)]
    raw = CMutableTransaction(vin, [CMutableTxOut(sats) for sats in range(70_000)]).serialize()
    transaction = parse_transaction(raw)
    assert facts(transaction) == facts_by_bitcoinlib(raw)
    assert transaction.outputs[-1] == (69_999, b"")


@given(serialised().filter(lambda raw: len(raw) < 1000))
def test_a_transaction_cut_anywhere_is_malformed(raw: bytes) -> None:
    """The only exception is MalformedTransaction, also for a byte too many."""
    for end in range(len(raw)):
        with pytest.raises(MalformedTransaction):
            parse_transaction(raw[:end])
    with pytest.raises(MalformedTransaction, match="1 bytes after"):
        parse_transaction(raw + b"\x00")


def test_a_block_cut_anywhere_is_malformed() -> None:
    """The only exception is MalformedTransaction, also for a byte too many."""
    raw = block_of([GENESIS_COINBASE, SEGWIT])
    for end in range(len(raw)):
        with pytest.raises(MalformedTransaction):
            parse_block(raw[:end])
    with pytest.raises(MalformedTransaction, match="1 bytes after"):
        parse_block(raw + b"\x00")


@given(st.binary(max_size=300))
def test_random_bytes_are_parsed_or_malformed(raw: bytes) -> None:
    """The only exception is MalformedTransaction."""
    for parse in (parse_transaction, parse_block):
        try:
            parse(raw)
        except MalformedTransaction:
            continue


@given(serialised().filter(lambda raw: len(raw) < 1000), st.data())
def test_a_changed_byte_is_malformed_or_parsed_as_by_python_bitcoinlib(
    raw: bytes, data: st.DataObject
) -> None:
    changed = bytearray(raw)
    changed[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        transaction = parse_transaction(bytes(changed))
    except MalformedTransaction:
        return
    assert facts(transaction) == facts_by_bitcoinlib(bytes(changed))


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(legacy(vin=b"\xfe\xff\xff\xff\x01"), id="inputs"),
        pytest.param(legacy(vout=b"\xfe\xff\xff\xff\x01"), id="outputs"),
        pytest.param(legacy(vin=b"\x01" + bytes(36) + b"\xfe\xff\xff\xff\x01"), id="input script"),
        pytest.param(legacy(vout=b"\x01" + bytes(8) + b"\xfe\xff\xff\xff\x01"), id="output script"),
        pytest.param(
            SEGWIT[: SEGWIT.index(b"\xc3\x87\x02") + 2] + b"\xfe\xff\xff\xff\x01" + bytes(4), id="witness"
        ),
        pytest.param(legacy(vin=b"\xff" + b"\xff" * 8), id="64 bits"),
    ],
)
def test_a_length_that_the_bytes_cannot_hold_is_malformed_at_once(raw: bytes) -> None:
    """A large length must not allocate much memory."""
    with pytest.raises(MalformedTransaction):
        parse_transaction(raw)


@pytest.mark.parametrize("count", [b"\xfd\x01\x00", b"\xfe\x01\x00\x00\x00", b"\xff\x01" + bytes(7)])
def test_a_size_not_in_its_shortest_form_is_malformed(count: bytes) -> None:
    """ReadCompactSize of Core's serialize.h refuses it, too."""
    parse_transaction(legacy(vin=b"\x01" + bytes(41)))
    with pytest.raises(MalformedTransaction):
        parse_transaction(legacy(vin=count + bytes(41)))


def test_an_amount_above_21_million_bitcoin_is_malformed() -> None:
    """A negative amount reads as a very large one."""
    parse_transaction(legacy(vout=b"\x01" + MAX_MONEY_SATS.to_bytes(8, "little") + b"\x00"))
    for amount in (MAX_MONEY_SATS + 1).to_bytes(8, "little"), b"\xff" * 8:
        with pytest.raises(MalformedTransaction, match="amount"):
            parse_transaction(legacy(vout=b"\x01" + amount + b"\x00"))


def test_a_transaction_without_inputs_is_malformed() -> None:
    """Its bytes are those of a witness marker (BIP 144), whose flag must be 1."""
    for flag in (0, 2, 3):
        with pytest.raises(MalformedTransaction, match="no inputs"):
            parse_transaction(legacy(vin=b"\x00", vout=bytes([flag, 0])))


def test_an_empty_witness_is_malformed() -> None:
    """Core calls it superfluous, also without inputs."""
    start, end = b"\x02\x00\x00\x00\x00\x01", bytes(4)
    for body in (b"\x01" + bytes(41) + b"\x00" + b"\x00", b"\x00\x00"):
        with pytest.raises(MalformedTransaction, match="superfluous"):
            parse_transaction(start + body + end)


def test_only_a_lone_null_outpoint_makes_a_coinbase() -> None:
    """IsCoinBase of Core's transaction.h has the same rule."""
    null, other = NULL_OUTPOINT + bytes(5), bytes(41)
    assert parse_transaction(legacy(vin=b"\x01" + null)).inputs == []
    assert parse_transaction(legacy(vin=b"\x02" + null + other)).inputs == [NULL_OUTPOINT, bytes(36)]


@pytest.mark.parametrize(
    ("bits", "work"),
    [
        (0x1D00FFFF, 0x100010001),  # the lowest difficulty of the main chain
        (0x207FFFFF, 2),  # regtest
        (0x1B0404CB, 2**64 // 0x0404CB),
        (0x03000001, 2**255),  # a target of 1
        (0x01010000, 2**255),
        (0x01003456, 0),  # a target of 0
        (0x00000000, 0),
        (0x04923456, 0),  # negative
        (0xFF123456, 0),  # above 256 bits
        (0x21010000, 0),
        (0x2100FFFF, 1),
    ],
)
def test_the_work_of_a_block_follows_its_bits(bits: int, work: int) -> None:
    """GetBlockProof and SetCompact of Core have the same rule."""
    assert work_from_bits(bits) == work


@given(hashes, st.integers(0, 0xFFFFFFFF))
def test_an_outpoint_is_split_into_its_txid_and_vout(txid: bytes, vout: int) -> None:
    """Its bytes are those of a transaction's input."""
    assert split_outpoint(outpoint(txid.hex(), vout)) == (txid.hex(), vout)
    assert outpoint(txid.hex(), vout) == COutPoint(txid[::-1], vout).serialize()


def as_decoded(raw: bytes) -> dict[str, Any]:
    """Return the answer of bitcoind's decoder, as far as Nodetill reads it."""
    peer = CTransaction.deserialize(raw)
    vin = [{"txid": b2lx(each.prevout.hash), "vout": each.prevout.n} for each in peer.vin]
    vout = [
        {"value": Decimal(format_btc(each.nValue)), "scriptPubKey": {"hex": each.scriptPubKey.hex()}}
        for each in peer.vout
    ]
    return {
        "txid": b2lx(peer.GetTxid()),
        "vin": [{"coinbase": ""}] if peer.is_coinbase() else vin,
        "vout": vout,
    }


@given(serialised())
def test_a_decoded_transaction_equals_the_parsed_one(raw: bytes) -> None:
    """The daemon uses bitcoind's decoder for a transaction that the parser refuses."""
    assert facts(transaction_from_rpc(as_decoded(raw))) == facts(parse_transaction(raw))


def test_a_decoded_block_equals_the_parsed_one() -> None:
    """The genesis block has no previous block."""
    block = {
        "hash": GENESIS_HASH,
        "time": 1231006505,
        "bits": "1d00ffff",
        "size": 285,
        "tx": [as_decoded(GENESIS_COINBASE)],
    }
    decoded, parsed = block_from_rpc(block), parse_block(block_of([GENESIS_COINBASE]))
    assert [facts(each) for each in decoded.transactions] == [facts(each) for each in parsed.transactions]
    for name in ("hash", "previous_hash", "time", "bits", "work", "size"):
        assert getattr(decoded, name) == getattr(parsed, name)
    assert block_from_rpc(block | {"previousblockhash": "ab" * 32}).previous_hash == "ab" * 32


@pytest.mark.parametrize(
    "change",
    [
        {"txid": "00"},
        {"txid": None},
        {"vin": [{}]},
        {"vin": [{"txid": "00" * 32, "vout": -1}]},
        {"vin": [{"txid": "00" * 32, "vout": 2**32}]},
        *(
            {"vout": [{"value": value, "scriptPubKey": {"hex": ""}}]}
            for value in (
                0.1,
                True,
                "1",
                Decimal("0.000000001"),
                Decimal(-1),
                Decimal(21_000_001),
                Decimal("NaN"),
            )
        ),
        {"vout": [{"value": Decimal("Infinity"), "scriptPubKey": {"hex": ""}}]},
        {"vout": [{"value": Decimal(1), "scriptPubKey": {"hex": "xyz"}}]},
        {"vout": None},
    ],
)
def test_an_answer_that_is_no_transaction_is_malformed(change: dict[str, Any]) -> None:
    """Amounts as floats are malformed, because they may have lost satoshis."""
    decoded = as_decoded(SEGWIT) | change
    with pytest.raises(MalformedTransaction):
        transaction_from_rpc(decoded)
    with pytest.raises(MalformedTransaction):
        block_from_rpc({"hash": GENESIS_HASH, "time": 0, "bits": "1d00ffff", "tx": [decoded]})
