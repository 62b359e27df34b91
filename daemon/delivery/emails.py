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
from payments.money import currency_exponent, format_btc, is_currency
from payments.notifications import is_urgent
from payments.status import EventType

MAX_SUBJECT_CHARACTERS = 120
"""The limit of a subject. Only the seller's name is cut to keep the subject within it."""

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


def render_email(
    event_type: EventType,
    document: Document,
    explorer_url: str,
    seller_contact: str = "",
    late_text: str = "",
) -> EmailContent:
    """Return the operator's email about an event. `explorer_url` contains {txid}."""
    message = with_late_text(advice(event_type, document), late_text)
    facts = list(_facts(document, explorer_url, seller_contact))
    return EmailContent(
        subject=_subject(message.headline, document),
        text=_text(message, facts),
        html=_html(message, facts, is_urgent=is_urgent(event_type)),
    )


def _facts(document: Document, explorer_url: str, seller_contact: str) -> Iterator[_TableRow]:
    currency = _sanitize(document["currency"])
    yield _TableRow("Request", [document["payment_request_id"]], is_code=True)
    yield _TableRow("Seller", [_sanitize(document["seller_id"])])
    if seller_contact:
        yield _TableRow("Contact", [_sanitize(seller_contact)])
    yield _TableRow("Amount", [f"{document['amount_fiat']} {currency}", f"{document['amount_btc']} BTC"])
    yield _TableRow("Price", [f"{_price(document)} {currency} for 1 BTC", *_price_origin(document)])
    yield _TableRow("Note", _note(document["note"]))
    yield _TableRow("Address", [document["address"]], is_code=True)
    yield _TableRow("Status", [_status(document)])
    yield _TableRow("Received", [f"{format_btc(document['received_sats'])} BTC"])
    if document["due_sats"]:
        yield _TableRow("Missing", [f"{format_btc(document['due_sats'])} BTC"])
    if document["overpaid_sats"]:
        yield _TableRow("Too much", [f"{format_btc(document['overpaid_sats'])} BTC"])
    yield from _transactions(document, explorer_url)
    yield _TableRow("Created", [_readable_time(document["created_at"])])
    yield _TableRow("Expires", [_readable_time(document["expires_at"])])


def _price(document: Document) -> str:
    """Return the price with at most the decimals of its currency. The API and webhooks have all decimals."""
    text, currency = str(document["price_btc"]), document["currency"]
    decimals = len(text.partition(".")[2])
    if not is_currency(currency) or decimals <= currency_exponent(currency):
        return text
    unit = Decimal(1).scaleb(-currency_exponent(currency))
    return f"about {Decimal(text).quantize(unit, ROUND_HALF_EVEN, Context(prec=100)):f}"


def _price_origin(document: Document) -> Iterator[str]:
    price_at = datetime.fromtimestamp(document["price_timestamp"], UTC)
    yield f"on {price_at:%Y-%m-%d %H:%M:%S} UTC"
    if document["price_source"]:
        yield f"from {_sanitize(document['price_source'])}"


def _transactions(document: Document, explorer_url: str) -> Iterator[_TableRow]:
    parts = document["transactions"]
    for part in parts[:MAX_TRANSACTIONS]:
        state = f"{format_btc(part['amount_sats'])} BTC, {_state(part)}"
        yield _transaction("Transaction", part["txid"], explorer_url, state)
        if part["replaced_by"]:
            yield _transaction("Replaced by", part["replaced_by"], explorer_url)
    if len(parts) > MAX_TRANSACTIONS:
        yield _TableRow("Transaction", [f"and {len(parts) - MAX_TRANSACTIONS} more"])


def _transaction(label: str, txid: str, explorer_url: str, *before: str) -> _TableRow:
    return _TableRow(label, [*before, txid], is_code=True, link=explorer_url.replace("{txid}", txid))


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


def _subject(headline: str, document: Document) -> str:
    amount = f"{document['amount_fiat']} {document['currency']}"
    seller = " ".join(_sanitize(document["seller_id"]).split())
    room = MAX_SUBJECT_CHARACTERS - len(f"{headline}: {amount} for  ({document['payment_request_id']})")
    if len(seller) > room:
        seller = seller[: max(room - 1, 1)] + "…"
    return _sanitize(f"{headline}: {amount} for {seller} ({document['payment_request_id']})")


def _text(message: Advice, facts: Sequence[_TableRow]) -> str:
    paragraphs = [
        textwrap.fill(_CODE.sub(r"\1", paragraph), _WIDTH, break_long_words=False, break_on_hyphens=False)
        for paragraph in message.paragraphs
    ]
    table = [line for fact in facts for line in _text_lines(fact)]
    return "\n\n".join([message.headline, *paragraphs, "\n".join(table)]) + "\n"


def _text_lines(fact: _TableRow) -> Iterator[str]:
    label = fact.label
    for line in (*fact.lines, fact.link) if fact.link else fact.lines:
        # A word that is longer than a line (a txid, a link) stays whole, so that it can be copied.
        for piece in textwrap.wrap(
            line, _WIDTH - _MARGIN, break_long_words=False, break_on_hyphens=False
        ) or [""]:
            yield f"{label:<{_MARGIN}}{piece}".rstrip()
            label = ""


def _html(message: Advice, facts: Sequence[_TableRow], *, is_urgent: bool) -> str:
    # This red is readable on a light background and on a dark background.
    colour = "color: #d32f2f;" if is_urgent else ""
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
<h1 style="margin: 0; font-size: 22px; line-height: 1.3; {colour}">{escape(message.headline)}</h1>
{paragraphs}
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
