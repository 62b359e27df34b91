"""Payments and double-spends of the demo's customer."""

from collections.abc import Collection
from decimal import Decimal
from typing import Any

from payments.money import format_btc
from regtest.node import CUSTOMER, RegtestNode

RECENT = 200
EXTRA_FEE_BTC = Decimal("0.0001")


def pay(node: RegtestNode, address: str, amount_sats: int) -> str:
    """Pay from the customer's wallet, and return the txid. Raise RpcError where bitcoind refuses."""
    return str(node.rpc("sendtoaddress", address, format_btc(amount_sats), wallet=CUSTOMER))


def newest_unconfirmed(node: RegtestNode, addresses: Collection[str]) -> str | None:
    """Return the txid of the newest payment to one of `addresses` that is in the mempool, or None."""
    mempool = set(node.rpc("getrawmempool"))
    entries = node.rpc("listtransactions", "*", RECENT, wallet=CUSTOMER)
    found = [it["txid"] for it in entries if it.get("address") in addresses and it["txid"] in mempool]
    return found[-1] if found else None


def double_spend(node: RegtestNode, txid: str) -> str:
    """Replace a transaction by one that pays the customer alone, and return the new txid.

    Raise RpcError where bitcoind refuses.
    """

    def call(method: str, *arguments: Any) -> Any:
        return node.rpc(method, *arguments, wallet=CUSTOMER)

    old = call("gettransaction", txid, True, True)["decoded"]
    inputs = [{"txid": spent["txid"], "vout": spent["vout"]} for spent in old["vin"]]
    fees = call("getmempoolentry", txid)["fees"]
    # A replacement pays more than all that it replaces (Core's doc/policy/mempool-replacements.md).
    amount = sum((out["value"] for out in old["vout"]), fees["base"]) - fees["descendant"] - EXTRA_FEE_BTC
    raw = call("createrawtransaction", inputs, {call("getnewaddress", "", "bech32"): str(amount)})
    return str(call("sendrawtransaction", call("signrawtransactionwithwallet", raw)["hex"]))
