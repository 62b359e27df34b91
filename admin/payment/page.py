"""The output of `manage.py payment show`: facts, transactions, events and decisions."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from admin.cli import facts
from admin.terminal import printable, readable_time
from models.decision import Decision
from models.outbox import Event
from payments.document import timestamp
from payments.late import LateMoney
from payments.money import format_btc
from web.api.schemas import Payment, Transaction


def page(
    found: Payment,
    events: Iterable[Event],
    decisions: Iterable[Decision],
    late: LateMoney | None,
    cancelled_at: datetime | None,
) -> str:
    """Return the request as readable lines. Omit facts and sections without content."""
    sections = {
        "Transactions": [_transaction(part) for part in found["transactions"]],
        "Events": [f"  {_time(event.created_at)}  {event.type.removeprefix('payment.')}" for event in events],
        "Decisions": [_decision(each) for each in decisions],
    }
    lines = [facts([(name, text) for name, text in _facts(found, late, cancelled_at) if text])]
    for heading, content in sections.items():
        lines += ["", heading, *content] if content else []
    return "\n".join(lines)


def _facts(
    found: Payment, late: LateMoney | None, cancelled_at: datetime | None
) -> Iterator[tuple[str, str | None]]:
    currency = found["currency"]
    yield "Payment", found["payment_request_id"]
    yield "Status", f"{found['status']}{' (late)' if found['late'] else ''}"
    yield "Confirmations", f"{found['confirmations']} of {found['confirmations_required']}"
    yield "Seller", found["seller_id"]
    yield "Amount", f"{found['amount_fiat']} {currency}, {_bitcoin(found['amount_sats'])}"
    price_at = _time(datetime.fromtimestamp(found["price_timestamp"], UTC))
    yield "Price of 1 BTC", f"{found['price_btc']} {currency} by {found['price_source']}, {price_at}"
    for name, sats in (
        ("Received", found["received_sats"]),
        ("Due", found["due_sats"]),
        ("Overpaid", found["overpaid_sats"]),
    ):
        yield name, _bitcoin(sats) if sats else None
    yield "Late money", None if late is None else late.sentences()
    yield "Address", found["address"]
    yield "Page", found["checkout_url"]
    yield "Order", found["order_id"]
    yield "Note", found["note"]
    yield "Label", found["label"]
    yield "Metadata", json.dumps(found["metadata"], ensure_ascii=False) if found["metadata"] else None
    yield "Return link", found["redirect_url"]
    yield "Created", readable_time(found["created_at"])
    yield "Cancelled", None if cancelled_at is None else _time(cancelled_at)
    yield "Expired" if found["status"] == "expired" else "Expires", readable_time(found["expires_at"])
    for name, moment in (("Received at", found["received_at"]), ("Confirmed at", found["confirmed_at"])):
        yield name, moment and readable_time(moment)


def _transaction(part: Transaction) -> str:
    where = f"block {part['block_height']}, {part['confirmations']} deep"
    state = where if part["state"] == "mined" else part["state"]
    by = f" by {part['replaced_by']}" if part["replaced_by"] else ""
    outpoint = f"{part['txid']}:{part['vout']}"
    since = readable_time(part["first_seen_at"])
    return printable(f"  {outpoint}  {part['amount_sats']} sats  {state}{by}  first seen {since}")


def _decision(decision: Decision) -> str:
    comment = f": {decision.comment}" if decision.comment else ""
    return printable(f"  {_time(decision.at)}  {decision.kind}, by {decision.by}{comment}")


def _bitcoin(sats: int) -> str:
    return f"{format_btc(sats)} BTC ({sats} sats)"


def _time(moment: datetime) -> str:
    return readable_time(timestamp(moment))
