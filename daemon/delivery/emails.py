"""The email to the operator about an event, as text and as HTML."""

import re
import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from html import escape

from daemon.delivery.advice import Advice, advice, with_late_text
from payments.document import Document
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

MAX_SUBJECT_CHARACTERS = 120
"""The limit of a subject. Only the seller's name and the note are cut to keep the subject within it."""

MAX_TRANSACTIONS = 20
"""The limit of the list in an email, because anybody can send thousands of transactions to an address."""

_WIDTH = 76
_MARGIN = 14
_CODE = re.compile(r"`([^`]+)`")
# The text has the reader's own colour, so it is readable on a dark background too.
_BODY = "max-width: 38em; margin: 0 auto; padding: 16px; font: 15px/1.5 system-ui, sans-serif;"
_CELL = "padding: 6px 0; vertical-align: top; border-top: 1px solid rgba(128, 128, 128, 0.3);"
_LABEL = (
    f"{_CELL} padding-right: 16px; text-align: left; font-weight: normal; white-space: nowrap; opacity: 0.7;"
)
_BAND = (
    "margin: 0 0 16px; padding: 6px 12px; border-radius: 8px; background: #85480a; color: #ffffff; "
    "font-size: 14px; font-weight: 600; text-align: center; text-wrap: balance;"
)
_BUTTON = (
    "display: inline-block; padding: 10px 18px; border-radius: 8px; background: #155e48; color: #ffffff; "
    "font-weight: 600; text-decoration: none;"
)
_LINK_TEXT = "Look at this payment"
_VALUE = f"{_CELL} overflow-wrap: anywhere; word-break: break-word;"
# These characters change the direction of the text that follows, so they can change its meaning for a reader.
_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class EmailContent:
    """The content of an email, without its envelope. The subject is one line without control characters."""

    subject: str
    text: str
    html: str


@dataclass(frozen=True, slots=True)
class _TableRow:
    """A row of facts. `is_code` shows the last line as code. `link` is the target of that line."""

    label: str
    lines: Sequence[str]
    is_code: bool = False
    link: str = ""


@dataclass(frozen=True, slots=True)
class EmailContext:
    """The facts of an email that its event's document lacks.

    `explorer_url` is the setting, and `command` starts manage.py. `page_url` is the payment's page for the
    operator, or "" if there is none. `late_text` is the sentence on late money.
    """

    explorer_url: str | None
    command: str
    page_url: str = ""
    seller_name: str = ""
    seller_contact: str = ""
    late_text: str = ""


def render_email(event_type: EventType, document: Document, context: EmailContext) -> EmailContent:
    """Return the operator's email about an event."""
    message = advice(event_type, document, _how_to_accept(document, context))
    message = with_late_text(message, context.late_text)
    facts = list(_facts(document, context))
    # An event of an earlier version names no network.
    mark = network_mark(document.get("network")) or ""
    return EmailContent(
        subject=_subject(message.headline, document, context.seller_name),
        text=_text(message, facts, mark, context.page_url),
        html=_html(message, facts, mark, context.page_url, is_urgent=is_urgent(event_type)),
    )


def _how_to_accept(document: Document, context: EmailContext) -> tuple[str, ...]:
    if context.page_url:
        return ('To accept the payment at the old price, press "Accept" on its page.',)
    return (
        "To accept the payment at the old price, run this command on the server:",
        f"`{context.command} payment accept {document['payment_request_id']}`",
    )


def _facts(document: Document, context: EmailContext) -> Iterator[_TableRow]:
    currency = _sanitize(document["currency"])
    yield _TableRow("Request", [document["payment_request_id"]], is_code=True)
    yield _TableRow("Seller", [_seller(document, context.seller_name)])
    if context.seller_contact:
        yield _TableRow("Contact", [_sanitize(context.seller_contact)])
    amounts = [_fiat(document), f"{document['amount_btc']} BTC"]
    yield _TableRow("Amount", amounts[1:] if currency == "BTC" else amounts)
    if price_of_bitcoin_unit(currency) is None:
        yield _TableRow("Price", [f"{_price(document)} {currency} for 1 BTC", *_price_origin(document)])
    # An event of an earlier version has no order id.
    if document.get("order_id"):
        yield _TableRow("Order", [_sanitize(document["order_id"])])
    yield _TableRow("Note", _note(document["note"]))
    yield _TableRow("Address", [document["address"]], is_code=True)
    yield _TableRow("Status", [_status(document)])
    yield _TableRow("Received", [f"{format_btc(document['received_sats'])} BTC"])
    if document["due_sats"]:
        yield _TableRow("Missing", [f"{format_btc(document['due_sats'])} BTC"])
    if document["overpaid_sats"]:
        yield _TableRow("Too much", [f"{format_btc(document['overpaid_sats'])} BTC"])
    yield from _transactions(document, context.explorer_url)
    yield _TableRow("Created", [_readable_time(document["created_at"])])
    yield _TableRow("Expires", [_readable_time(document["expires_at"])])


def _seller(document: Document, name: str) -> str:
    seller_id = document["seller_id"]
    return _sanitize(f"{name} ({seller_id})" if name and name != seller_id else seller_id)


def _fiat(document: Document) -> str:
    return _sanitize(f"{group_digits(document['amount_fiat'])} {document['currency']}")


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
        yield f"from {_sanitize(document['price_source'])}"


def _transactions(document: Document, explorer_url: str | None) -> Iterator[_TableRow]:
    parts, network = document["transactions"], document.get("network")

    def row(label: str, txid: str, *before: str) -> _TableRow:
        link = transaction_url(txid, network, explorer_url) or ""
        return _TableRow(label, [*before, txid], is_code=True, link=link)

    for part in parts[:MAX_TRANSACTIONS]:
        state = f"{format_btc(part['amount_sats'])} BTC, {_state(part)}"
        yield row("Transaction", part["txid"], state)
        if part["replaced_by"]:
            yield row("Replaced by", part["replaced_by"])
    if len(parts) > MAX_TRANSACTIONS:
        yield _TableRow("Transaction", [f"and {len(parts) - MAX_TRANSACTIONS} more"])


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
    """Return the subject. It shortens the seller and the order id or, without one, the note."""
    network = document.get("network")
    mark = f"[{network_label(network)}] " if network is not None and is_test_network(network) else ""
    start, end = f"{mark}{headline}: {_fiat(document)} for ", f" ({document['payment_request_id']})"
    room = MAX_SUBJECT_CHARACTERS - len(start) - len(end)
    seller, order = _one_line(seller_name or document["seller_id"]), _one_line(_order(document))
    seller = _shortened(seller, max(room // 2, room - len(order) - 2) if order else room)
    room -= len(seller) + 2
    return _sanitize(f"{start}{seller}{f', {_shortened(order, room)}' if order and room > 1 else ''}{end}")


def _order(document: Document) -> str:
    """Return the order id or, without one, the note. An event of an earlier version has no order id."""
    order: str = document.get("order_id") or document["note"]
    return order


def _one_line(text: str) -> str:
    return " ".join(_sanitize(text).split())


def _shortened(text: str, max_characters: int) -> str:
    return text if len(text) <= max_characters else text[: max(max_characters - 1, 0)].rstrip() + "…"


def _text(message: Advice, facts: Sequence[_TableRow], mark: str, page_url: str) -> str:
    paragraphs = map(_text_paragraph, message.paragraphs)
    table = [line for fact in facts for line in _text_lines(fact)]
    page = f"{_LINK_TEXT}:\n{page_url}" if page_url else ""
    pieces = [mark, message.headline, page, *paragraphs, "\n".join(table)]
    return "\n\n".join(filter(None, pieces)) + "\n"


def _text_paragraph(paragraph: str) -> str:
    """Return the paragraph in lines. A command stays on one line, so that it can be copied."""
    text = _CODE.sub(r"\1", paragraph)
    if _CODE.fullmatch(paragraph):
        return text
    return textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _text_lines(fact: _TableRow) -> Iterator[str]:
    label = fact.label
    for line in (*fact.lines, fact.link) if fact.link else fact.lines:
        # A word that is longer than a line (a txid, a link) stays whole, so that it can be copied.
        for piece in textwrap.wrap(
            line, _WIDTH - _MARGIN, break_long_words=False, break_on_hyphens=False
        ) or [""]:
            yield f"{label:<{_MARGIN}}{piece}".rstrip()
            label = ""


def _html(message: Advice, facts: Sequence[_TableRow], mark: str, page_url: str, *, is_urgent: bool) -> str:
    # This red is readable on a light background and on a dark background.
    colour = "color: #d32f2f;" if is_urgent else ""
    band = f'<p style="{_BAND}">{escape(mark)}</p>\n' if mark else ""
    link = f'<p><a href="{escape(page_url)}" style="{_BUTTON}">{_LINK_TEXT}</a></p>\n' if page_url else ""
    paragraphs = "\n".join(f"<p>{_with_code_tags(paragraph)}</p>" for paragraph in message.paragraphs)
    rows = "\n".join(_html_row(fact) for fact in facts)
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(message.headline)}</title>
</head>
<body style="{_BODY}">
{band}<h1 style="margin: 0; font-size: 22px; line-height: 1.3; {colour}">{escape(message.headline)}</h1>
{link}{paragraphs}
<table style="width: 100%; margin-top: 24px; border-collapse: collapse;">
{rows}
</table>
</body>
</html>
"""


def _html_row(fact: _TableRow) -> str:
    *lines, last = [escape(line) for line in fact.lines]
    if fact.is_code:
        last = f"<code>{last}</code>"
    if fact.link:
        last = f'<a href="{escape(fact.link)}">{last}</a>'
    content = "<br>\n".join([*lines, last])
    return f'<tr>\n<th style="{_LABEL}">{escape(fact.label)}</th>\n<td style="{_VALUE}">{content}</td>\n</tr>'


def _with_code_tags(paragraph: str) -> str:
    """Return the paragraph as HTML. Text between backticks becomes code."""
    return _CODE.sub(r"<code>\1</code>", escape(paragraph))


def _note(note: str) -> list[str]:
    return [_sanitize(line) for line in note.splitlines()] or ["-"]


def _readable_time(text: str) -> str:
    return text.replace("T", " ").replace("Z", " UTC")


def _pluralize(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _sanitize(text: str) -> str:
    """Return the text without characters that end a line, break a header or change the text's direction."""
    return "".join(map(_printable, text))


def _printable(character: str) -> str:
    if character in _BIDI_CONTROLS:
        return ""
    return " " if unicodedata.category(character) in _UNPRINTABLE else character
