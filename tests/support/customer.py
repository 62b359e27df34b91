"""A customer with coins on a regtest node, who pays, bumps the fee, double-spends and makes reorgs.

Each payment spends a confirmed coin of its own, so that a double-spend of one test affects no other test.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from payments.transaction import outpoint
from regtest.node import CUSTOMER, RegtestNode

COINS = 90
COIN_SATS = 50_000_000
FEE_SATS = 2_000
SATS = 100_000_000

OP_RETURN = b"\x6a"

NO_SIGNAL = 0xFFFFFFFF
"""A sequence number without BIP 125's signal for replacement. With full RBF it prevents no replacement."""


@dataclass(frozen=True, slots=True)
class Coin:
    """An output that the customer can spend."""

    txid: str
    vout: int
    amount_sats: int
    script: bytes


@dataclass(frozen=True, slots=True)
class Sent:
    """A signed transaction of the customer.

    `outputs` are (script, amount_sats), and the last is the change.
    """

    txid: str
    raw: str
    coin: Coin
    outputs: tuple[tuple[bytes, int], ...]

    @property
    def change(self) -> Coin:
        script, amount_sats = self.outputs[-1]
        return Coin(self.txid, len(self.outputs) - 1, amount_sats, script)


class Customer:
    """Needs a node whose wallet CUSTOMER has a mature coinbase, as after RegtestNode.fund_customer."""

    def __init__(self, node: RegtestNode) -> None:
        self.node = node
        coinbase = self.rpc("listunspent", 100)[0]
        script = bytes.fromhex(coinbase["scriptPubKey"])
        coin = Coin(coinbase["txid"], coinbase["vout"], int(coinbase["amount"] * SATS), script)
        own = self.script()
        split = self.publish(self.sign(coin, [(own, COIN_SATS)] * COINS, fee_sats=10_000))
        node.mine()
        self._coins = [Coin(split.txid, vout, COIN_SATS, own) for vout in range(COINS)]

    def rpc(self, method: str, *arguments: Any) -> Any:
        return self.node.rpc(method, *arguments, wallet=CUSTOMER)

    def address(self) -> str:
        """Return a new address of the customer."""
        return str(self.rpc("getnewaddress", "", "bech32"))

    def script(self, address: str | None = None) -> bytes:
        """Return the script of `address`, or of a new address of the customer."""
        named = address or self.address()
        return bytes.fromhex(self.node.rpc("validateaddress", named)["scriptPubKey"])

    # Paying

    def pay(self, address: str, amount_sats: int, **how: Any) -> Sent:
        """Pay one address; `how` goes to `sign`."""
        return self.pay_all({address: amount_sats}, **how)

    def pay_all(self, amounts: Mapping[str, int], **how: Any) -> Sent:
        """Pay several addresses in one transaction."""
        return self.publish(self.write(amounts, **how))

    def write(self, amounts: Mapping[str, int], *, coin: Coin | None = None, **how: Any) -> Sent:
        """Sign a payment, and do not send it."""
        outputs = [(self.script(address), amount_sats) for address, amount_sats in amounts.items()]
        return self.sign(coin or self._coins.pop(), outputs, **how)

    def pay_in_parts(self, address: str, amount_sats: int, parts: int) -> Sent:
        """Pay with `parts` equal outputs to the one address."""
        script = self.script(address)
        return self.publish(
            self.sign(self._coins.pop(), [(script, amount_sats // parts)] * parts, fee_sats=30_000)
        )

    def write_data(self, size_bytes: int) -> Sent:
        """Sign a transaction with an output of data. A large one is valid only in a block."""
        return self.sign(self._coins.pop(), [(OP_RETURN + bytes(size_bytes), 0)], fee_sats=size_bytes)

    def publish(self, sent: Sent) -> Sent:
        """Send a transaction to bitcoind."""
        assert self.node.rpc("sendrawtransaction", sent.raw) == sent.txid
        return sent

    # Replacing it

    def bump_fee(self, sent: Sent) -> Sent:
        """Pay the same again with ten times the fee, out of the change."""
        return self.publish(self.sign(sent.coin, sent.outputs[:-1], fee_sats=10 * FEE_SATS))

    def double_spend(self, sent: Sent) -> Sent:
        """Replace a payment by a transaction that pays only the customer."""
        return self.publish(self.sign_double_spend(sent))

    def sign_double_spend(self, sent: Sent) -> Sent:
        """Sign a transaction that pays the same coin to the customer, and do not send it."""
        return self.sign(sent.coin, [(self.script(), 1_000_000)], fee_sats=20 * FEE_SATS)

    # The chain

    def mine_only(self, *raws: str) -> str:
        """Mine a block with only these transactions, each as raw hex or txid, and return its hash."""
        return str(self.node.rpc("generateblock", self.address(), list(raws))["hash"])

    def invalidate(self, depth: int) -> None:
        """Take the top `depth` blocks off the chain."""
        height = self.node.rpc("getblockcount") - depth + 1
        self.node.rpc("invalidateblock", self.node.rpc("getblockhash", height))

    def reorg(self, depth: int, *blocks: Iterable[str]) -> None:
        """Replace the top `depth` blocks by `depth` + 1 others. `blocks` has the contents of the first ones.

        Each coinbase pays a new address, so that no new block is identical to the block that it replaces.
        """
        self.invalidate(depth)
        contents = [list(block) for block in blocks]
        for content in [*contents, *[[]] * (depth + 1 - len(contents))]:
            self.mine_only(*content)

    # Transactions, as Core's primitives/transaction.h has them

    def sign(
        self,
        coin: Coin,
        outputs: Iterable[tuple[bytes, int]],
        *,
        fee_sats: int = FEE_SATS,
        sequence: int = 0xFFFFFFFD,
    ) -> Sent:
        """Sign a transaction that spends `coin` to `outputs`, with the rest as change."""
        spent = list(outputs)
        change_sats = coin.amount_sats - sum(amount_sats for _, amount_sats in spent) - fee_sats
        complete = (*spent, (self.script(), change_sats))
        unsigned = _serialised(coin, complete, sequence)
        # The coin is described in full, so that the wallet also signs for one that the chain has spent.
        spends = {
            "txid": coin.txid,
            "vout": coin.vout,
            "scriptPubKey": coin.script.hex(),
            "amount": format_btc(coin.amount_sats),
        }
        signed = self.rpc("signrawtransactionwithwallet", unsigned.hex(), [spends])
        assert signed["complete"], signed
        txid = self.node.rpc("decoderawtransaction", signed["hex"])["txid"]
        return Sent(txid, signed["hex"], coin, complete)


def format_btc(amount_sats: int) -> Decimal:
    """Return BTC as bitcoind's calls take them."""
    return Decimal(amount_sats) / SATS


def _serialised(coin: Coin, outputs: tuple[tuple[bytes, int], ...], sequence: int) -> bytes:
    written = [
        struct.pack("<Q", amount_sats) + _size(len(script)) + script for script, amount_sats in outputs
    ]
    return b"".join(
        (
            struct.pack("<iB", 2, 1),
            outpoint(coin.txid, coin.vout),
            struct.pack("<BI", 0, sequence),
            _size(len(outputs)),
            *written,
            bytes(4),
        )
    )


def _size(number: int) -> bytes:
    """Return a number as Core's serialize.h has it (WriteCompactSize)."""
    if number < 253:
        return bytes([number])
    return struct.pack("<BH", 253, number) if number < 2**16 else struct.pack("<BI", 254, number)
