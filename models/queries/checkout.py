"""The data of a customer's checkout page, read in one statement."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from models.db.connection import database, with_paramstyle
from models.payment import PaymentRequest, is_searchable


class Part(NamedTuple):
    """An output to the request's address, with columns of `models.output.Output`."""

    txid: str
    amount_sats: int
    state: str
    replaced_by: str | None


@dataclass(frozen=True, slots=True)
class Checkout:
    """Columns of `models.payment.PaymentRequest` and its seller, and its outputs in the order of their ids.

    `assessed_height` is the tip at which its status was computed. `network` is None before the
    daemon has first reached bitcoind. `options` are those of the Greenfield invoice, as the shop sent them.
    `thanks` is the text of the payment link that made the request, or "". `is_part` means that all of its
    money counts for a single-use link, whose page requests the rest.
    """

    reference: str
    status: str
    covered_height: int | None
    confirmations_required: int
    amount_fiat: str
    currency: str
    price: str
    amount_sats: int
    received_sats: int
    due_sats: int
    overpaid_sats: int
    txid: str | None
    address: str
    label: str | None
    order_id: str | None
    redirect_url: str | None
    assessed_height: int
    network: str | None
    seller_id: str
    seller_name: str
    support: str | None
    marked: str | None
    was_covered: bool
    was_confirmed: bool
    thanks: str
    options: Mapping[str, Any]
    expires_at: datetime
    received_at: datetime | None
    confirmed_at: datetime | None
    is_late: bool
    is_closed: bool
    is_part: bool
    parts: tuple[Part, ...]


_QUERY = """
    SELECT p.reference, p.status, p.covered_height, coalesce(p.required_depth, p.confirmations_required),
        p.amount_fiat, p.currency, p.price, p.amount_sats, p.received_sats, p.due_sats, p.overpaid_sats,
        p.txid, a.address, p.label, p.order_id, p.redirect_url,
        coalesce(p.unpublished_height, (SELECT assessed_height FROM daemon_report), 0),
        (SELECT coalesce(network, chain) FROM daemon_report),
        s.id, s.name, s.support, p.marked, p.first_covered_at IS NOT NULL, p.first_confirmed_at IS NOT NULL,
        coalesce(k.thanks, ''), p.checkout, p.expires_at, p.received_at, p.confirmed_at,
        p.is_late, p.closed_at IS NOT NULL,
        k.id IS NOT NULL AND NOT k.is_reusable AND p.counted_sats = p.received_sats,
        o.txid, o.amount_sats, o.state, o.replaced_by
    FROM payment_request p
        JOIN address a ON a.id = p.address_id
        JOIN seller s ON s.id = p.seller_id
        LEFT JOIN link k ON k.id = p.link_id
        LEFT JOIN output o ON o.address_id = p.address_id
    WHERE p.reference = ? ORDER BY o.id
"""


def checkout_of(reference: str) -> Checkout | None:
    """Return the request with this public identifier, or None. One statement needs no snapshot."""
    if not is_searchable(reference):
        return None
    found = database.execute_sql(with_paramstyle(_QUERY), (reference,)).fetchall()
    if not found:
        return None
    width = len(Part._fields)
    parts = tuple(Part(*row[-width:]) for row in found if row[-width] is not None)
    *columns, options, expires_at, received_at, confirmed_at, is_late, is_closed, is_part = found[0][:-width]
    times = [PaymentRequest.expires_at.python_value(time) for time in (expires_at, received_at, confirmed_at)]
    sent = PaymentRequest.checkout.python_value(options) or {}
    values = [*columns, sent, *times, bool(is_late), bool(is_closed), bool(is_part), parts]
    return Checkout(*values)
