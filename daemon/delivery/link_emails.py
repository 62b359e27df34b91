"""The email to the operator about a payment link that became paid or is no longer paid."""

from collections.abc import Iterator

from daemon.delivery.advice import Advice
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
from daemon.delivery.emails import EmailContext
from payments.document import Document
from payments.link import LinkEvent
from payments.money import format_btc, group_digits
from payments.network import is_test_network, network_label, network_mark
from payments.notifications import is_urgent


def render_link_email(event_type: LinkEvent, document: Document, context: EmailContext) -> EmailContent:
    """Return the operator's email about an event of a link."""
    message = _advice(event_type, document)
    return lay_out(
        _subject(message.headline, document, context.seller_name),
        message,
        [*_facts(document, context)],
        network_mark(document["network"]) or "",
        Page("Look at this link", context.page_url),
        is_urgent=is_urgent(event_type),
    )


def _advice(event_type: LinkEvent, document: Document) -> Advice:
    if event_type is LinkEvent.PAID:
        return Advice(
            "Link paid", ("All of the money has the confirmations that it needs. You can deliver the goods.",)
        )
    remaining = document["remaining_fiat"]
    missing = f"{group_digits(remaining)} {document['currency']} are missing now." if remaining else ""
    return Advice(
        "URGENT: link no longer paid",
        (
            f"Money of this link is gone, because of a double-spend or a reorg. {missing}".rstrip(),
            (
                "Stop the delivery. If you have delivered already, contact the customer. "
                "You will get another email if the link is paid again."
            ),
        ),
    )


def _facts(document: Document, context: EmailContext) -> Iterator[TableRow]:
    yield TableRow("Link", [document["link_id"]], is_code=True)
    yield TableRow("Title", [one_line(document["title"])])
    if document["order_id"]:
        yield TableRow("Order", [one_line(document["order_id"])])
    yield TableRow("Seller", [_seller(document, context.seller_name)])
    if context.seller_contact:
        yield TableRow("Contact", [sanitize(context.seller_contact)])
    if document["amount_fiat"]:
        yield TableRow("Amount", [_amount(document, "amount_fiat")])
    yield TableRow("Paid", [_amount(document, "paid_fiat")])
    if document["remaining_fiat"]:
        yield TableRow("Remaining", [_amount(document, "remaining_fiat")])
    if document["late_sats"]:
        yield TableRow("Under review", [f"{format_btc(document['late_sats'])} BTC, which came too late"])
    for line in context.late_text.splitlines():
        reference, _, sentences = line.partition(": ")
        yield TableRow("Late", [sentences, reference], is_code=True, link=_page_of(reference, context))
    if document["note"]:
        yield TableRow("Note", [sanitize(line) for line in document["note"].splitlines()])
    for payment in document["payments"]:
        worth = f"{group_digits(payment['paid_fiat'])} {document['currency']}"
        yield TableRow(
            "Request", [f"{worth}, {payment['status']}", payment["payment_request_id"]], is_code=True
        )
    if document["due_at"]:
        yield TableRow("Due", [readable_time(document["due_at"])])
    yield TableRow("Created", [readable_time(document["created_at"])])
    yield TableRow("Page", [document["url"]], link=document["url"])


def _page_of(reference: str, context: EmailContext) -> str:
    """Return the address of a request's page for the operator, or "" if there is none."""
    root, marker, _ = context.page_url.rpartition("/operator/")
    return f"{root}{marker}payments/{reference}" if marker else ""


def _seller(document: Document, name: str) -> str:
    seller_id = document["seller_id"]
    return sanitize(f"{name} ({seller_id})" if name and name != seller_id else seller_id)


def _amount(document: Document, field: str) -> str:
    return sanitize(f"{group_digits(document[field])} {document['currency']}")


def _subject(headline: str, document: Document, seller_name: str) -> str:
    """Return the subject, with the seller's name and the title shortened."""
    network = document["network"]
    mark = f"[{network_label(network)}] " if network is not None and is_test_network(network) else ""
    amount = "amount_fiat" if document["amount_fiat"] else "paid_fiat"
    start, end = f"{mark}{headline}: {_amount(document, amount)} for ", f" ({document['link_id']})"
    room = MAX_SUBJECT_CHARACTERS - len(start) - len(end)
    seller = shortened(one_line(seller_name or document["seller_id"]), room // 2)
    title = shortened(one_line(document["title"]), room - len(seller) - 2)
    return sanitize(f"{start}{seller}, {title}{end}")
