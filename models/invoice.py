"""Changes of a payment request that a shop makes through BTCPay's Greenfield API.

Each change is in columns that only the web process writes.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from models.db.connection import fetch_all, lock_in_transaction
from models.payment import PaymentRequest


def archive_invoice(payment: PaymentRequest, archived_at: datetime | None) -> None:
    """Archive an invoice, or unarchive it if `archived_at` is None. Only lists change."""
    PaymentRequest.update(archived_at=archived_at).where(PaymentRequest.id == payment.id).execute()


def replace_metadata(payment: PaymentRequest, metadata: Mapping[str, Any], order_id: str | None) -> None:
    PaymentRequest.update(metadata=metadata, order_id=order_id).where(
        PaymentRequest.id == payment.id
    ).execute()


def lock_order(seller_id: str, order_id: str) -> None:
    """Lock an order of a seller until the end of the transaction, so that calls for it run one by one."""
    lock_in_transaction(f"order {seller_id} {order_id}")


def recent_invoices(seller_id: str, order_id: str, now: datetime, window: timedelta) -> list[PaymentRequest]:
    """Return the new invoices of an order, without payments or marks, made within `window`, newest first."""
    query = """SELECT * FROM payment_request WHERE seller_id = ? AND order_id = ? AND created_at > ?
        AND status = 'new' AND checkout IS NOT NULL AND marked IS NULL AND archived_at IS NULL
        AND NOT EXISTS (SELECT 1 FROM output WHERE output.address_id = payment_request.address_id)
        ORDER BY id DESC"""
    since = PaymentRequest.created_at.db_value(now - window)
    return fetch_all(PaymentRequest, query, seller_id, order_id, since)
