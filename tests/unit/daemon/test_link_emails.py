"""The operator's email about a link has the facts. No text of a seller changes its form."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.delivery.email_layout import MAX_SUBJECT_CHARACTERS
from daemon.delivery.link_emails import render_link_email
from payments.link import LinkEvent
from payments.notifications import is_urgent, should_email_operator
from tests.support.email_documents import CONTEXT

texts = st.text(max_size=100)


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
