"""Payment documents as events have them, for the tests of emails and webhooks."""

from typing import Any

from daemon.delivery.emails import EmailContext

TXID = "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"


CONTEXT = EmailContext(
    explorer_url=None, command="nodetill", seller_name="Alpaca Direct", seller_contact="shop@example.com"
)
"""The context of a shop whose operator's page is off."""


def document(**changes: Any) -> dict[str, Any]:
    """Return the document of a received payment of 135.99 EUR, with `changes`."""
    return {
        "payment_request_id": "PR-3kTMd0Zk6bW1vJrXq2nVhA",
        "seller_id": "company1",
        "network": "main",
        "amount_fiat": "135.99",
        "currency": "EUR",
        "price_btc": "61142.30",
        "price_timestamp": 1796900000,
        "price_source": "coinbase, kraken, bitpay",
        "amount_btc": "0.00222416",
        "amount_sats": 222416,
        "address": "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
        "payment_uri": "bitcoin:BC1QAR0SRRR7XFKVY5L643LYDNW9RE59GTZZWF5MDQ?amount=0.00222416",
        "checkout_url": "http://127.0.0.1:8080/pay/PR-3kTMd0Zk6bW1vJrXq2nVhA",
        "note": "Alpaca socks",
        "label": None,
        "metadata": {},
        "redirect_url": None,
        "status": "received",
        "confirmations": 0,
        "confirmations_required": 6,
        "received_sats": 222416,
        "due_sats": 0,
        "overpaid_sats": 0,
        "late": False,
        "txid": TXID,
        "transactions": [transaction()],
        "created_at": "2026-12-10T09:00:00Z",
        "expires_at": "2026-12-10T09:15:00Z",
        "received_at": "2026-12-10T09:03:00Z",
        "confirmed_at": None,
        **changes,
    }


def transaction(**changes: Any) -> dict[str, Any]:
    """Return an output of the document in the mempool, with `changes`."""
    return {
        "txid": TXID,
        "vout": 1,
        "amount_sats": 222416,
        "state": "mempool",
        "confirmations": 0,
        "block_hash": None,
        "block_height": None,
        "first_seen_at": "2026-12-10T09:03:00Z",
        "replaced_by": None,
        **changes,
    }
