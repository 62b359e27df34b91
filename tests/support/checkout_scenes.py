"""A payment request in each scene of the checkout page, as the daemon stores it."""

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from models.payment import PaymentRequest
from tests.support.rows import new_link
from tests.support.web_server import TIP, WebServer, pay, stored

THIEF = "9c" * 32
DUE_SATS = 222_402
PART_SATS = 100_000

Row = Mapping[str, Any]

RECEIVED: Row = {"status": "received", "received_sats": DUE_SATS, "due_sats": 0}
EXPIRED: Row = {"status": "expired"}
PART: Row = {"received_sats": PART_SATS, "due_sats": DUE_SATS - PART_SATS}


def _mined(depth: int) -> Row:
    return {"state": "mined", "block_hash": "ab" * 32, "block_height": TIP - depth + 1}


# Each scene has the columns of its request and, if it has a transaction, the columns of its output.
SCENES: Mapping[str, tuple[Row, Row | None]] = MappingProxyType(
    {
        "new": ({}, None),
        "underpaid": ({"status": "underpaid", **PART}, {"amount_sats": PART_SATS}),
        "ending": ({}, None),
        "received": (RECEIVED, {"amount_sats": DUE_SATS}),
        "confirming": (
            {**RECEIVED, "status": "confirming", "covered_height": TIP - 1},
            {"amount_sats": DUE_SATS, **_mined(2)},
        ),
        "confirmed": (
            {**RECEIVED, "status": "confirmed", "covered_height": TIP - 5},
            {"amount_sats": DUE_SATS, **_mined(6)},
        ),
        "expired": (EXPIRED, None),
        "expired_partly": ({**PART, **EXPIRED}, {"amount_sats": PART_SATS}),
        "expired_part": ({**PART, **EXPIRED, "counted_sats": PART_SATS}, {"amount_sats": PART_SATS}),
        "late": ({**RECEIVED, **EXPIRED, "is_late": True}, {"amount_sats": DUE_SATS}),
        "replaced": ({}, {"state": "replaced", "replaced_by": THIEF}),
        "dropped": ({}, {"state": "dropped"}),
        "underpaid_dropped": ({"status": "underpaid", **PART}, {"amount_sats": PART_SATS}),
        "expired_replaced": (EXPIRED, {"state": "replaced", "replaced_by": THIEF}),
        "expired_dropped": (EXPIRED, {"state": "dropped"}),
    }
)
OVER = frozenset(
    {"ending", "expired", "expired_partly", "expired_part", "late", "expired_replaced", "expired_dropped"}
)
"""Scenes after the request's expiry."""


def create_in_scene(shop: WebServer, scene: str, **fields: Any) -> dict[str, Any]:
    """Create a request in this scene from the POST's `fields`, and return its first document."""
    document = shop.created(**fields)
    row, output = SCENES[scene]
    overdue = {"expires_at": shop.now - timedelta(seconds=1)} if scene in OVER else {}
    txid = hashlib.sha256(document["payment_request_id"].encode()).hexdigest()
    live = {"txid": txid} if row.get("received_sats") else {}
    change(document, **row, **overdue, **live)
    if scene == "expired_part":
        reference = document["payment_request_id"].replace("PR-", "LK-")
        change(document, link=new_link(reference=reference))
    if output is not None:
        pay(document, txid, **{"present_since": shop.now, **output})
    if scene == "underpaid_dropped":
        pay(document, txid[::-1], state="dropped")
    return document


def change(document: Mapping[str, Any], **columns: Any) -> None:
    """Set columns of the request."""
    if columns:
        PaymentRequest.update(**columns).where(PaymentRequest.id == stored(document).id).execute()
