"""The operator's emails about a link and its requests have the facts, and the right moment to deliver.

No text of a stranger changes them.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import load_settings
from daemon.delivery.email_layout import MAX_SUBJECT_CHARACTERS
from daemon.delivery.emails import render_email
from daemon.delivery.link_emails import render_link_email
from models.seller import Seller
from payments.link import LinkEvent, LinkStatus
from payments.notifications import is_urgent, should_email_operator
from payments.status import EventType
from tests.support.email_documents import CONTEXT
from tests.support.email_documents import document as payment_document
from tests.support.links import LinkShop, link_settings
from tests.support.outbox import NOW, Outbox
from tests.support.web_server import open_shop

texts = st.text(max_size=100)
LINK_ID = "LK-7tPq2Zc9mWbYd4KxVn5RsA"
DELIVER = "You can deliver the goods."
WAIT = 'Deliver only after the email "Link paid".'
SEND_BACK = "Ask the customer to pay the rest, or to give you an address for a refund."
REQUESTS_REST = "the page of the link requests the rest."


@pytest.fixture
def shop(tmp_path: Path, database_url: str) -> Iterator[LinkShop]:
    environ = {"ADDRESS_POOL": "20"}
    with open_shop(tmp_path, database_url, environ) as opened:
        yield LinkShop(opened, link_settings(tmp_path, database_url, environ))


def sent_by(shop: LinkShop) -> dict[str, str]:
    """Send the emails that wait. Return each text, in one line, by the first words of its subject."""
    outbox = Outbox(shop.settings)
    outbox.work()
    emails = [given["email"] for given in outbox.mail.given]
    return {email.subject.partition(":")[0]: " ".join(email.text.split()) for email in emails}


def document(**changes: Any) -> dict[str, Any]:
    return {
        "link_id": "LK-7tPq2Zc9mWbYd4KxVn5RsA",
        "seller_id": "company1",
        "network": "main",
        "url": "https://pay.example.com/l/LK-7tPq2Zc9mWbYd4KxVn5RsA",
        "title": "Invoice 17",
        "order_id": "2026-17",
        "note": "a friend",
        "amount_fiat": "1234.00",
        "currency": "EUR",
        "due_at": "2026-12-24T23:59:59Z",
        "paid_fiat": "1234.00",
        "remaining_fiat": "0.00",
        "late_sats": 0,
        "payments": [
            {
                "payment_request_id": "PR-3kTMd0Zk6bW1vJrXq2nVhA",
                "status": "confirmed",
                "paid_fiat": "1234.00",
            }
        ],
        "created_at": "2026-12-10T09:00:00Z",
        **changes,
    }


@pytest.mark.parametrize("event_type", LinkEvent)
def test_an_email_has_all_the_facts(event_type: LinkEvent) -> None:
    context = replace(CONTEXT, page_url="https://pay.example.com/operator/links/LK-7tPq2Zc9mWbYd4KxVn5RsA")
    mail = render_link_email(event_type, document(), context)
    for fact in (
        "Invoice 17",
        "2026-17",
        "a friend",
        "1,234.00 EUR",
        "Alpaca Direct (company1)",
        "shop@example.com",
        "PR-3kTMd0Zk6bW1vJrXq2nVhA",
        "https://pay.example.com/operator/links/LK-7tPq2Zc9mWbYd4KxVn5RsA",
        "2026-12-24 23:59:59 UTC",
    ):
        assert fact in mail.text
        assert fact in mail.html
    assert should_email_operator(event_type, document())


def test_an_email_about_money_that_is_gone_is_urgent() -> None:
    mail = render_link_email(
        LinkEvent.REVERTED, document(remaining_fiat="34.00", paid_fiat="1200.00"), CONTEXT
    )
    assert mail.subject == (
        "URGENT: link no longer paid: 1,234.00 EUR for Alpaca Direct, Invoice 17 (LK-7tPq2Zc9mWbYd4KxVn5RsA)"
    )
    assert "34.00 EUR are missing now." in " ".join(mail.text.split())
    assert is_urgent(LinkEvent.REVERTED)
    assert not is_urgent(LinkEvent.PAID)


@given(texts, texts, texts, texts)
def test_no_text_changes_the_form_of_the_email(title: str, order_id: str, note: str, seller: str) -> None:
    context = replace(CONTEXT, seller_name=seller)
    changes = {"title": title, "order_id": order_id, "note": note}
    mail = render_link_email(LinkEvent.PAID, document(**changes), context)
    assert len(mail.subject) <= MAX_SUBJECT_CHARACTERS
    assert mail.subject.isprintable() or not mail.subject.isascii()
    assert not {"\n", "\r"} & set(mail.subject)
    plain = render_link_email(LinkEvent.PAID, document(title="a", order_id="b", note="c"), context)
    assert mail.html.count("<script") == 0
    assert mail.html.count("<table") == plain.html.count("<table")


def text_of(event_type: EventType, link_status: LinkStatus | None, **changes: Any) -> str:
    """Return the text of the email about a request of a link, in one line."""
    document = payment_document(link_id=LINK_ID, label="Invoice 17", **changes)
    context = replace(CONTEXT, link_status=link_status)
    return " ".join(render_email(event_type, document, context).text.split())


def test_only_the_email_of_the_link_leads_to_the_delivery(shop: LinkShop) -> None:
    """A confirmed part does not pay the link, because an earlier part may still be unconfirmed."""
    link_id = shop.link(amount_fiat="100.00")
    first = shop.request(link_id)
    output = shop.pay(first, first.amount_sats // 2)
    shop.expire(first)
    assert REQUESTS_REST in sent_by(shop)["Payment expired with 0.00081771 BTC received"]
    shop.server.now = first.created_at
    second = shop.request(link_id)
    shop.pay(second, depth=6)
    assert shop.money(link_id)[0] == "processing"
    emails = sent_by(shop)
    for headline in ("Payment received", "Payment confirmed"):
        assert WAIT in emails[headline]
        assert DELIVER not in emails[headline]
    shop.mine(output)
    assert DELIVER in sent_by(shop)["Link paid"]


@pytest.mark.parametrize("how", ["reusable", "closed", "of a removed seller"])
def test_nobody_requests_the_rest_of_such_a_link(shop: LinkShop, how: str) -> None:
    link_id = shop.link(is_reusable=how == "reusable")
    request = shop.request(link_id)
    shop.pay(request, request.amount_sats // 2)
    if how == "closed":
        assert shop.server.post(f"/api/v1/links/{link_id}/close").status == 200
    elif how == "of a removed seller":
        Seller.update(removed_at=NOW).execute()
    shop.expire(request)
    (text,) = sent_by(shop).values()
    assert SEND_BACK in text
    assert "requests the rest" not in text


@pytest.mark.parametrize(
    ("changes", "order"),
    [({}, "Invoice 17"), ({"note": "a friend"}, "a friend"), ({"order_id": "2026-17"}, "2026-17")],
)
def test_an_email_about_a_request_has_the_title_of_its_link(changes: dict[str, str], order: str) -> None:
    """The label of another request names the payee, so its subject lacks the label."""
    document = payment_document(**{"note": "", "label": "Invoice 17", "link_id": LINK_ID, **changes})
    mail = render_email(EventType.CONFIRMED, document, CONTEXT)
    assert mail.subject.startswith(f"Payment confirmed: 135.99 EUR for Alpaca Direct, {order} (PR-")
    assert f"\nLink          {LINK_ID}\nTitle         Invoice 17\n" in mail.text
    other = payment_document(note="", label="Alpaca Direct")
    assert "for Alpaca Direct (PR-" in render_email(EventType.CONFIRMED, other, CONTEXT).subject


def test_late_money_has_its_worth_and_its_page(shop: LinkShop, tmp_path: Path) -> None:
    """The text is stored with the event, so that each attempt sends the same email."""
    first = shop.request(link_id := shop.link())
    shop.expire(first)
    shop.server.now = first.created_at
    second = shop.request(link_id)
    shop.server.now = first.expires_at + timedelta(minutes=42)
    shop.pay(first)
    shop.server.now = first.created_at
    shop.pay(second, depth=6)
    environ = {"OPERATOR_PASSWORD": "open sesame", "PUBLIC_URL": "https://pay.example.com"}
    outbox = Outbox(load_settings(environ, tmp_path))
    outbox.work()
    (mail,) = (given["email"] for given in outbox.mail.given if "Link paid" in given["email"].subject)
    words = " ".join(mail.text.split())
    page = f"https://pay.example.com/operator/payments/{first.reference}"
    assert f"Late Came 42 min late. Worth 100.00 EUR on {first.created_at:%Y-%m-%d} at" in words
    assert f"{first.reference} {page} " in words
    assert f'<a href="{page}">' in mail.html


def test_a_paid_request_of_a_reusable_link_can_be_delivered(shop: LinkShop) -> None:
    shop.pay(shop.request(shop.link(is_reusable=True)), depth=6)
    emails = sent_by(shop)
    assert DELIVER in emails["Payment confirmed"]
    assert "Link paid" not in emails["Payment received"]


@pytest.mark.parametrize("link_status", LinkStatus)
@pytest.mark.parametrize("required", [0, 6])
def test_no_email_about_a_request_of_an_invoice_leads_to_the_delivery(
    link_status: LinkStatus, required: int
) -> None:
    """The link decides. A closed link of which an amount remains has no email "Link paid"."""
    for event_type in EventType:
        text = text_of(event_type, link_status, confirmations_required=required)
        assert DELIVER not in text
        if event_type in (EventType.RECEIVED, EventType.CONFIRMED):
            assert (WAIT in text) is (link_status is not LinkStatus.CLOSED)
            assert ("So do not deliver." in text) is (link_status is LinkStatus.CLOSED)
            assert '"Payment confirmed"' not in text


@pytest.mark.parametrize(
    ("link_status", "said"),
    [
        (LinkStatus.OPEN, f"counts for the payment link {LINK_ID}, and {REQUESTS_REST}"),
        (LinkStatus.OVERDUE, f"counts for the payment link {LINK_ID}, and {REQUESTS_REST}"),
        (LinkStatus.PROCESSING, f"counts for the payment link {LINK_ID}, and no amount remains there."),
        (LinkStatus.PAID, f"counts for the payment link {LINK_ID}, and no amount remains there."),
        (LinkStatus.CLOSED, SEND_BACK),
        (None, SEND_BACK),
    ],
)
def test_an_expired_part_counts_for_its_link(link_status: LinkStatus | None, said: str) -> None:
    text = text_of(EventType.EXPIRED, link_status, status="expired", received_sats=9, due_sats=5)
    assert said in text


@pytest.mark.parametrize("link_status", [*LinkStatus, None])
def test_late_money_of_a_part_holds_the_rest_up(link_status: LinkStatus | None) -> None:
    """The page of the link requests no rest before the operator has decided."""
    text = text_of(EventType.EXTRA, link_status, status="expired", received_sats=9, due_sats=5)
    is_normal = link_status in (None, LinkStatus.CLOSED)
    assert (SEND_BACK in text) is is_normal
    assert ("mark this payment as done" in text) is not is_normal
    is_open = link_status in (LinkStatus.OPEN, LinkStatus.OVERDUE)
    assert ("Until then nobody can pay the rest of the link." in text) is is_open
