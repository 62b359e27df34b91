"""Somebody with coins on a regtest node: pays, pays more fee, takes it back, and rewrites the chain.

Each payment spends a confirmed coin of its own, so that what one test takes back touches no other's.
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

NO_SIGNAL = 0xFFFFFFFF
"""A sequence number that says: not to be replaced (BIP 125). With full RBF nobody is held to it."""


@dataclass(frozen=True, slots=True)
class Coin:
    """An output that the customer can spend."""

    txid: str
    vout: int
    amount_sats: int
    script: bytes


@dataclass(frozen=True, slots=True)
class Sent:
    """A signed transaction of the customer's: `outputs` are (script, amount_sats), its change is the last."""

    txid: str
    raw: str
    coin: Coin
    outputs: tuple[tuple[bytes, int], ...]

    @property
    def change(self) -> Coin:
        script, amount_sats = self.outputs[-1]
        return Coin(self.txid, len(self.outputs) - 1, amount_sats, script)


class Customer:
    """Needs a node whose wallet CUSTOMER has one mature coinbase: RegtestNode.fund_customer."""

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
        """A fresh one of the customer's own."""
        return str(self.rpc("getnewaddress", "", "bech32"))

    def script(self, address: str | None = None) -> bytes:
        """The script of an address; of a fresh one of the customer's own if none is named."""
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
        """A payment that is signed and not sent."""
        outputs = [(self.script(address), amount_sats) for address, amount_sats in amounts.items()]
        return self.sign(coin or self._coins.pop(), outputs, **how)

    def pay_in_parts(self, address: str, amount_sats: int, parts: int) -> Sent:
        """Pay with `parts` equal outputs to the one address."""
        script = self.script(address)
        return self.publish(
            self.sign(self._coins.pop(), [(script, amount_sats // parts)] * parts, fee_sats=30_000)
        )

    def publish(self, sent: Sent) -> Sent:
        """Hand it to bitcoind."""
        assert self.node.rpc("sendrawtransaction", sent.raw) == sent.txid
        return sent

    # Taking it back

    def bump_fee(self, sent: Sent) -> Sent:
        """Pay the same again with ten times the fee, out of the change."""
        return self.publish(self.sign(sent.coin, sent.outputs[:-1], fee_sats=10 * FEE_SATS))

    def double_spend(self, sent: Sent) -> Sent:
        """Replace it by one that pays nobody but the customer."""
        return self.publish(self.counterfeit(sent))

    def counterfeit(self, sent: Sent) -> Sent:
        """The same coin back to the customer: signed, and not sent."""
        return self.sign(sent.coin, [(self.script(), 1_000_000)], fee_sats=20 * FEE_SATS)

    # The chain

    def mine_only(self, *raws: str) -> str:
        """A block with these transactions and no others, by raw hex or txid; its hash."""
        return str(self.node.rpc("generateblock", self.address(), list(raws))["hash"])

    def invalidate(self, depth: int) -> None:
        """Take the top `depth` blocks off the chain."""
        height = self.node.rpc("getblockcount") - depth + 1
        self.node.rpc("invalidateblock", self.node.rpc("getblockhash", height))

    def reorg(self, depth: int, *blocks: Iterable[str]) -> None:
        """Replace the top `depth` blocks by `depth` + 1 others; `blocks` has the contents of the first.

        A fresh address in each coinbase keeps a new block from being the very one it stands in for.
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
        """WatchedOutpoint `coin` on `outputs`; what is left is change."""
        spent = list(outputs)
        change_sats = coin.amount_sats - sum(amount_sats for _, amount_sats in spent) - fee_sats
        complete = (*spent, (self.script(), change_sats))
        unsigned = _serialised(coin, complete, sequence)
        # Named in full, because a coin that is spent in the chain can be signed for all the same.
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
    """For calls of bitcoind's."""
    return Decimal(amount_sats) / SATS


def _serialised(coin: Coin, outputs: tuple[tuple[bytes, int], ...], sequence: int) -> bytes:
    count = len(outputs)
    written = [struct.pack("<QB", amount_sats, len(script)) + script for script, amount_sats in outputs]
    return b"".join(
        (
            struct.pack("<iB", 2, 1),
            outpoint(coin.txid, coin.vout),
            struct.pack("<BI", 0, sequence),
            bytes([count]) if count < 253 else struct.pack("<BH", 253, count),
            *written,
            bytes(4),
        )
    )
