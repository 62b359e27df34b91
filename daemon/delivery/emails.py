"""The email to the operator about an event, as text and as HTML."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal

from daemon.delivery.advice import advice, with_late_text
from daemon.delivery.email_layout import (
    MAX_SUBJECT_CHARACTERS,
    EmailContent,
    Page,
    TableRow,
    lay_out,
    one_line,
    readable_time,
    sanitize,
    shortened,
)
from payments.document import Document
from payments.link import LinkStatus
from payments.money import (
    currency_exponent,
    format_btc,
    group_digits,
    is_currency,
    price_of_bitcoin_unit,
    to_plain,
)
from payments.network import is_test_network, network_label, network_mark, transaction_url
from payments.notifications import is_urgent
from payments.status import EventType

MAX_TRANSACTIONS = 20
"""The limit of the list in an email, because anybody can send thousands of transactions to an address."""


@dataclass(frozen=True, slots=True)
class EmailContext:
    """The facts of an email that its event's document lacks.

    `explorer_url` is the setting, and `command` starts manage.py. `page_url` is the payment's page for the
    operator, or "" if there is none. `late_text` is that of the event (models/outbox.py), or "".
    `link_status` is the status of the payment's single-use link, or None without such a link.
    """

    explorer_url: str | None
    command: str
    page_url: str = ""
    seller_name: str = ""
    seller_contact: str = ""
    late_text: str = ""
    link_status: LinkStatus | None = None


def render_email(event_type: EventType, document: Document, context: EmailContext) -> EmailContent:
    """Return the operator's email about an event."""
    message = advice(event_type, document, _how_to_accept(document, context), context.link_status)
    message = with_late_text(message, context.late_text)
    facts = list(_facts(document, context))
    # An event of an earlier version names no network.
    mark = network_mark(document.get("network")) or ""
    return lay_out(
        _subject(message.headline, document, context.seller_name),
        message,
        facts,
        mark,
        Page("Look at this payment", context.page_url),
        is_urgent=is_urgent(event_type),
    )


def _how_to_accept(document: Document, context: EmailContext) -> tuple[str, ...]:
    if context.page_url:
        return ('To accept the payment at the old price, press "Accept" on its page.',)
    return (
        "To accept the payment at the old price, run this command on the server:",
        f"`{context.command} payment accept {document['payment_request_id']}`",
    )


def _facts(document: Document, context: EmailContext) -> Iterator[TableRow]:
    currency = sanitize(document["currency"])
    yield TableRow("Request", [document["payment_request_id"]], is_code=True)
    if document.get("link_id"):
        yield TableRow("Link", [document["link_id"]], is_code=True)
        # The title of a link is the label of its requests.
        yield TableRow("Title", [one_line(document["label"])])
    yield TableRow("Seller", [_seller(document, context.seller_name)])
    if context.seller_contact:
        yield TableRow("Contact", [sanitize(context.seller_contact)])
    amounts = [_fiat(document), f"{document['amount_btc']} BTC"]
    yield TableRow("Amount", amounts[1:] if currency == "BTC" else amounts)
    if price_of_bitcoin_unit(currency) is None:
        yield TableRow("Price", [f"{_price(document)} {currency} for 1 BTC", *_price_origin(document)])
    # An event of an earlier version has no order id.
    if document.get("order_id"):
        yield TableRow("Order", [sanitize(document["order_id"])])
    yield TableRow("Note", _note(document["note"]))
    yield TableRow("Address", [document["address"]], is_code=True)
    yield TableRow("Status", [_status(document)])
    yield TableRow("Received", [f"{format_btc(document['received_sats'])} BTC"])
    if document["due_sats"]:
        yield TableRow("Missing", [f"{format_btc(document['due_sats'])} BTC"])
    if document["overpaid_sats"]:
        yield TableRow("Too much", [f"{format_btc(document['overpaid_sats'])} BTC"])
    yield from _transactions(document, context.explorer_url)
    yield TableRow("Created", [readable_time(document["created_at"])])
    yield TableRow("Expires", [readable_time(document["expires_at"])])


def _seller(document: Document, name: str) -> str:
    seller_id = document["seller_id"]
    return sanitize(f"{name} ({seller_id})" if name and name != seller_id else seller_id)


def _fiat(document: Document) -> str:
    return sanitize(f"{group_digits(document['amount_fiat'])} {document['currency']}")


def _price(document: Document) -> str:
    """Return the price with at most the decimals of its currency. The API and webhooks have all decimals."""
    text, currency = str(document["price_btc"]), document["currency"]
    decimals = len(text.partition(".")[2])
    if not is_currency(currency) or decimals <= currency_exponent(currency):
        return group_digits(text)
    unit = Decimal(1).scaleb(-currency_exponent(currency))
    rounded = Decimal(text).quantize(unit, ROUND_HALF_EVEN, Context(prec=100))
    return f"about {group_digits(to_plain(rounded))}"


def _price_origin(document: Document) -> Iterator[str]:
    price_at = datetime.fromtimestamp(document["price_timestamp"], UTC)
    yield f"on {price_at:%Y-%m-%d %H:%M:%S} UTC"
    if document["price_source"]:
        yield f"from {sanitize(document['price_source'])}"


def _transactions(document: Document, explorer_url: str | None) -> Iterator[TableRow]:
    parts, network = document["transactions"], document.get("network")

    def row(label: str, txid: str, *before: str) -> TableRow:
        link = transaction_url(txid, network, explorer_url) or ""
        return TableRow(label, [*before, txid], is_code=True, link=link)

    for part in parts[:MAX_TRANSACTIONS]:
        state = f"{format_btc(part['amount_sats'])} BTC, {_state(part)}"
        yield row("Transaction", part["txid"], state)
        if part["replaced_by"]:
            yield row("Replaced by", part["replaced_by"])
    if len(parts) > MAX_TRANSACTIONS:
        yield TableRow("Transaction", [f"and {len(parts) - MAX_TRANSACTIONS} more"])


def _state(part: Document) -> str:
    match part["state"]:
        case "mined":
            return f"{_pluralize(part['confirmations'], 'confirmation')}, in block {part['block_height']}"
        case "replaced":
            return "replaced by another transaction"
        case "dropped":
            return "dropped from the mempool"
    return "not in a block yet"


def _status(document: Document) -> str:
    confirmations = _pluralize(document["confirmations"], "confirmation")
    return f"{document['status']}, {confirmations}, {document['confirmations_required']} required"


def _subject(headline: str, document: Document, seller_name: str) -> str:
    """Return the subject. It shortens the seller and the name of the order."""
    network = document.get("network")
    mark = f"[{network_label(network)}] " if network is not None and is_test_network(network) else ""
    start, end = f"{mark}{headline}: {_fiat(document)} for ", f" ({document['payment_request_id']})"
    room = MAX_SUBJECT_CHARACTERS - len(start) - len(end)
    seller, order = one_line(seller_name or document["seller_id"]), one_line(_order(document))
    seller = shortened(seller, max(room // 2, room - len(order) - 2) if order else room)
    room -= len(seller) + 2
    return sanitize(f"{start}{seller}{f', {shortened(order, room)}' if order and room > 1 else ''}{end}")


def _order(document: Document) -> str:
    """Return the order id, else the note, else the title of the link, or "".

    An event of an earlier version has neither an order id nor a link.
    """
    title = document["label"] if document.get("link_id") else ""
    order: str = document.get("order_id") or document["note"] or title
    return order


def _note(note: str) -> list[str]:
    return [sanitize(line) for line in note.splitlines()] or ["-"]


def _pluralize(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
