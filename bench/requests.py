"""Payment requests as rows: for tables as large as a benchmark asks for."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from bench.database import Connection
from bench.site import AMOUNT_EUR, AMOUNT_SATS, SELLER


def request_row(number: int, address_id: int, created: datetime) -> dict[str, Any]:
    """One that nobody has paid yet, and that has a day for it."""
    moments = (created + timedelta(days=days) for days in (0, 1, 8))
    created_at, expires_at, monitored_until = (int(moment.timestamp() * 1e6) for moment in moments)
    return {
        "reference": f"PR-{number:022}",
        "address_id": address_id,
        "seller_id": SELLER,
        "amount_fiat": AMOUNT_EUR,
        "currency": "EUR",
        "price": "50000",
        "price_at": created_at,
        "price_source": "fixed",
        "amount_sats": AMOUNT_SATS,
        "tolerance_sats": 0,
        "confirmations_required": 6,
        "created_at": created_at,
        "expires_at": expires_at,
        "monitored_until": monitored_until,
        "note": f"order {number}",
        "metadata": "{}",
        "status": "new",
        "covered_height": None,
        "received_sats": 0,
        "due_sats": AMOUNT_SATS,
        "overpaid_sats": 0,
        "is_late": False,
        "txid": None,
        "received_at": None,
        "confirmed_at": None,
        "closed_at": None,
        "notified_sats": 0,
        "revision": 1,
        "reassess_at": expires_at,
    }


def expired(row: Mapping[str, Any]) -> dict[str, Any]:
    """The same, when nobody paid it."""
    return {**row, "status": "expired", "closed_at": row["monitored_until"], "reassess_at": None}


def confirmed(row: Mapping[str, Any], txid: str) -> dict[str, Any]:
    """The same, when somebody paid it at once, in the block after the first."""
    return {
        **expired(row),
        "status": "confirmed",
        "covered_height": 1,
        "received_sats": row["amount_sats"],
        "due_sats": 0,
        "txid": txid,
        "received_at": row["created_at"],
        "confirmed_at": row["created_at"],
        "notified_sats": row["amount_sats"],
    }


def fill_requests(connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
    """Put them into the table, which has their addresses."""
    waiting = iter(rows)
    first = next(waiting)
    values = (tuple(row.values()) for row in chain([first], waiting))
    connection.fill("payment_request", ", ".join(first), values)
