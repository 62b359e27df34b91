"""Payment requests as rows of the table."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.database import connect, fill
from bench.site import AMOUNT_EUR, AMOUNT_SATS, SELLER


def open_requests(database: Path, address_ids: Iterable[int]) -> None:
    """Add a request that nobody has paid yet for each of these addresses."""
    now = datetime.now(UTC)
    rows = [_row(number, address_id, now) for number, address_id in enumerate(address_ids)]
    connection = connect(database)
    fill(connection, "payment_request", ", ".join(rows[0]), (tuple(row.values()) for row in rows))
    connection.close()


def _row(number: int, address_id: int, created: datetime) -> dict[str, Any]:
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
        "received_sats": 0,
        "due_sats": AMOUNT_SATS,
        "overpaid_sats": 0,
        "is_late": False,
        "notified_sats": 0,
        "revision": 1,
        "reassess_at": expires_at,
    }
