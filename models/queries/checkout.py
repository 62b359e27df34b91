"""The data of a customer's checkout page, read in one statement."""

from typing import Any, NamedTuple

from models.db.connection import execute, statement
from models.identifiers import is_searchable
from models.link import COUNTS_PARTS
from models.payment import PaymentRequest
from payments.greenfield.facts import Mark
from payments.status import Status


class CheckoutOutput(NamedTuple):
    """An output to the request's address, with columns of `models.output.Output`."""

    txid: str
    amount_sats: int
    state: str
    replaced_by: str | None


# The names are those of the fields of `web.checkout.status.PublicFacts`.
_COLUMNS = {
    "reference": "p.reference",
    "network": "(SELECT coalesce(network, chain) FROM daemon_report)",
    "status": "p.status",
    "covered_height": "p.covered_height",
    "assessed_height": "coalesce(p.unpublished_height, (SELECT assessed_height FROM daemon_report), 0)",
    "confirmations_required": "coalesce(p.required_depth, p.confirmations_required)",
    "amount_fiat": "p.amount_fiat",
    "currency": "p.currency",
    "price": "p.price",
    "amount_sats": "p.amount_sats",
    "received_sats": "p.received_sats",
    "due_sats": "p.due_sats",
    "overpaid_sats": "p.overpaid_sats",
    "is_late": "p.is_late",
    "txid": "p.txid",
    "address": "a.address",
    "label": "p.label",
    "order_id": "p.order_id",
    "seller_id": "p.seller_id",
    "seller_name": "s.name",
    "support": "s.support",
    "expires_at": "p.expires_at",
    "received_at": "p.received_at",
    "confirmed_at": "p.confirmed_at",
    "own_redirect_url": "p.redirect_url",
    "thanks": "coalesce(k.thanks, '')",
    "is_part": statement(
        "p.counted_sats = p.received_sats AND EXISTS (SELECT 1 FROM link WHERE id = p.link_id AND {counts})",
        counts=COUNTS_PARTS,
    ),
    "is_closed": "p.closed_at IS NOT NULL",
    "was_covered": "p.first_covered_at IS NOT NULL",
    "was_confirmed": "p.first_confirmed_at IS NOT NULL",
    "marked": "p.marked",
    "options": "p.checkout",
}
_QUERY = statement(
    """
    SELECT {columns}, o.txid, o.amount_sats, o.state, o.replaced_by
    FROM payment_request p
        JOIN address a ON a.id = p.address_id
        JOIN seller s ON s.id = p.seller_id
        LEFT JOIN link k ON k.id = p.link_id
        LEFT JOIN output o ON o.address_id = p.address_id
    WHERE p.reference = ? ORDER BY o.id
""",
    columns=", ".join(_COLUMNS.values()),
)
_TIMES = ("expires_at", "received_at", "confirmed_at")
_FLAGS = ("is_late", "is_closed", "is_part", "was_covered", "was_confirmed")


def checkout_columns(reference: str) -> dict[str, Any] | None:
    """Return the columns of the request with this public identifier by their names, or None.

    `outputs` are its outputs in the order of their ids. One statement needs no snapshot.
    """
    if not is_searchable(reference):
        return None
    found = execute(_QUERY, reference).fetchall()
    if not found:
        return None
    count = len(_COLUMNS)
    columns = dict(zip(_COLUMNS, found[0][:count], strict=True))
    for name in _TIMES:
        columns[name] = PaymentRequest.expires_at.python_value(columns[name])
    for name in _FLAGS:
        columns[name] = bool(columns[name])
    columns["status"] = Status(columns["status"])
    columns["marked"] = None if columns["marked"] is None else Mark(columns["marked"])
    columns["options"] = PaymentRequest.checkout.python_value(columns["options"]) or {}
    columns["outputs"] = tuple(CheckoutOutput(*row[count:]) for row in found if row[count] is not None)
    return columns
