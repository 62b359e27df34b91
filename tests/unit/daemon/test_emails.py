"""Each email names event, payment and next step, and no text of a payment alters its form."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.delivery.email_layout import MAX_SUBJECT_CHARACTERS, EmailContent
from daemon.delivery.emails import MAX_TRANSACTIONS, render_email
from payments.notifications import is_urgent, message_id, should_email_operator, webhook_body
from payments.status import EventType, Status
from tests.support.email_documents import CONTEXT, TXID, document, transaction

PAGE = "https://pay.example.com/operator/payments/PR-3kTMd0Zk6bW1vJrXq2nVhA"
WITH_PAGE = replace(CONTEXT, page_url=PAGE)
REFERENCE = "PR-3kTMd0Zk6bW1vJrXq2nVhA"

any_text = st.text(st.characters(codec=None), max_size=120)
events = st.sampled_from(EventType)


def email(event_type: EventType, **changes: Any) -> EmailContent:
    """Return the email of an event whose document has these changes."""
    return render_email(event_type, document(**changes), CONTEXT)


class Tags(HTMLParser):
    """The elements of a page, its links, and the resources that it loads."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect an element, as HTMLParser calls it."""
        self.names.add(tag)
        for name, value in attrs:
            if name == "href":
                self.links.append(value or "")
            elif name in ("src", "srcset", "background", "data") or name.startswith("on"):
                self.loaded.append(value or "")


@pytest.mark.parametrize(
    ("event_type", "is_sent"),
    [
        (EventType.UNDERPAID, False),
        (EventType.RECEIVED, True),
        (EventType.CONFIRMED, True),
        (EventType.LATE, True),
        (EventType.REVERTED, True),
        (EventType.EXTRA, True),
    ],
)
def test_events_are_mailed_as_the_specification_lists(event_type: EventType, is_sent: bool) -> None:
    assert should_email_operator(event_type, document()) is is_sent


@pytest.mark.parametrize(
    "changes", [{"overpaid_sats": 1}, {"status": "expired", "due_sats": 0}, {"status": "expired"}]
)
def test_an_email_warns_against_sending_back_unconfirmed_money(changes: dict[str, Any]) -> None:
    """A customer can double-spend an unconfirmed payment, and keep the money that was sent back."""
    caution = "Do not send money back before it is confirmed."
    for event_type in (EventType.LATE, EventType.EXTRA, EventType.EXPIRED):
        waiting = email(event_type, **changes, transactions=[transaction(state="mempool")])
        assert caution in " ".join(waiting.text.split())
        mined = email(event_type, **changes, transactions=[transaction(state="mined")])
        assert caution not in " ".join(mined.text.split())


def test_an_expiry_is_mailed_only_if_money_came() -> None:
    """A customer who did not pay needs no action."""
    assert not should_email_operator(EventType.EXPIRED, document(received_sats=0))
    assert should_email_operator(EventType.EXPIRED, document(received_sats=1))


@pytest.mark.parametrize("event_type", EventType)
def test_an_email_has_all_the_facts(event_type: EventType) -> None:
    """Both of its forms have them."""
    mail = email(event_type, due_sats=100, overpaid_sats=23, status="expired")
    for form in (mail.text, unescape(mail.html)):
        for fact in (
            *(
                REFERENCE,
                "Alpaca Direct (company1)",
                "shop@example.com",
                "135.99 EUR",
                "0.00222416 BTC",
                "Alpaca socks",
            ),
            *("61,142.30 EUR for 1 BTC", "2026-12-10 10:53:20 UTC", "coinbase, kraken, bitpay"),
            *("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", TXID, f"https://mempool.space/tx/{TXID}"),
            *("0.00000100 BTC", "0.00000023 BTC", "0 confirmations, 6 required", "2026-12-10 09:15:00 UTC"),
        ):
            assert fact in form, fact


@pytest.mark.parametrize(
    ("event_type", "changes", "subject"),
    [
        (
            EventType.RECEIVED,
            {},
            "Payment received: 135.99 EUR for Alpaca Direct, Alpaca socks (PR-3kTMd0Zk6bW1vJrXq2nVhA)",
        ),
        (
            EventType.RECEIVED,
            {"note": "", "amount_fiat": "1234567.5"},
            "Payment received: 1,234,567.5 EUR for Alpaca Direct (PR-3kTMd0Zk6bW1vJrXq2nVhA)",
        ),
        (
            EventType.RECEIVED,
            {"note": "17\n2 socks", "amount_fiat": "1", "currency": "BTC", "network": "regtest"},
            "[regtest] Payment received: 1 BTC for Alpaca Direct, 17 2 socks (PR-3kTMd0Zk6bW1vJrXq2nVhA)",
        ),
        (EventType.CONFIRMED, {"status": "confirmed"}, "Payment confirmed: 135.99 EUR"),
        (
            EventType.EXPIRED,
            {"status": "expired", "received_sats": 100_000, "due_sats": 122_416},
            "Payment expired with 0.00100000 BTC received: 135.99 EUR",
        ),
        (EventType.LATE, {"status": "expired", "late": True}, "Late payment, your decision: 135.99 EUR"),
        (EventType.LATE, {"status": "received", "late": True}, "Late payment counted: 135.99 EUR"),
        (EventType.REVERTED, {"status": "new"}, "URGENT: payment reverted: 135.99 EUR"),
        (EventType.REVERTED, {"status": "received"}, "URGENT: payment no longer confirmed: 135.99 EUR"),
        (EventType.EXTRA, {"status": "confirmed"}, "Surplus for a finished payment: 135.99 EUR"),
        (
            EventType.EXTRA,
            {"status": "expired", "due_sats": 5},
            "More money for an expired payment: 135.99 EUR",
        ),
        (EventType.EXTRA, {"status": "expired", "late": True}, "Late payment, your decision: 135.99 EUR"),
    ],
)
def test_a_subject_names_the_event_and_the_amount(
    event_type: EventType, changes: dict[str, Any], subject: str
) -> None:
    """A locked telephone shows only the subject."""
    assert email(event_type, **changes).subject.startswith(subject)


def test_a_late_payment_email_has_the_command_to_accept_it() -> None:
    """The command has a line of its own, so that it can be copied."""
    text = email(EventType.LATE, status="expired", late=True).text
    assert "`" not in text
    assert f"\nnodetill payment accept {REFERENCE}\n" in text


def test_a_long_command_stays_on_one_line() -> None:
    """A command on two lines can't be copied."""
    command = "'/home/me/a long/way/to/nodetill/.venv/bin/python' '/home/me/a long/way/to/nodetill/manage.py'"
    context = replace(CONTEXT, command=command)
    text = render_email(EventType.LATE, document(status="expired", late=True), context).text
    assert f"\n{command} payment accept {REFERENCE}\n" in text


def test_commands_addresses_and_txids_are_code_elements() -> None:
    """They are read letter by letter."""
    page = email(EventType.LATE, status="expired", late=True).html
    for code in (f"nodetill payment accept {REFERENCE}", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", TXID):
        assert f"<code>{code}</code>" in page


def test_a_received_payment_email_names_the_confirmations_to_wait_for() -> None:
    """A request without required confirmations needs no wait."""
    assert "Do not deliver" in email(EventType.RECEIVED).text
    assert "at 6 confirmations" in " ".join(email(EventType.RECEIVED).text.split())
    assert "Do not deliver" not in email(EventType.RECEIVED, confirmations_required=0).text


@pytest.mark.parametrize("event_type", [EventType.RECEIVED, EventType.CONFIRMED, EventType.EXTRA])
def test_an_overpayment_email_names_the_extra_amount(event_type: EventType) -> None:
    text = " ".join(email(event_type, status="confirmed", overpaid_sats=777).text.split())
    assert "The customer paid 0.00000777 BTC too much." in text


def test_an_email_links_the_replacing_transaction() -> None:
    """The operator needs it first."""
    replaced = transaction(state="replaced", replaced_by="ab" * 32)
    mail = email(EventType.REVERTED, status="new", transactions=[replaced])
    assert f"https://mempool.space/tx/{'ab' * 32}" in mail.text
    assert f"https://mempool.space/tx/{'ab' * 32}" in Tags(mail.html).links


@pytest.mark.parametrize(
    ("changes", "expected", "unexpected"),
    [
        (
            {"status": "new", "received_sats": 0, "due_sats": 222416},
            "This payment has disappeared. It was double-spent, or the network dropped it.",
            "BTC are",
        ),
        (
            {"status": "underpaid", "received_sats": 200000, "due_sats": 22416},
            "now 0.00022416 BTC of the money are missing. 0.00200000 BTC are still there",
            "disappeared",
        ),
        (
            {"status": "expired", "received_sats": 222417, "due_sats": 0, "late": True},
            "came after the quoted price expired",
            "missing",
        ),
    ],
)
def test_an_email_of_a_reverted_payment_names_the_rest(
    changes: dict[str, Any], expected: str, unexpected: str
) -> None:
    """All of the money may be gone, or a tenth, or only the right to the price."""
    text = " ".join(email(EventType.REVERTED, **changes).text.split())
    assert expected in text
    assert unexpected not in text


def test_only_a_reverted_payment_is_urgent() -> None:
    assert [event_type for event_type in EventType if is_urgent(event_type)] == [EventType.REVERTED]


def test_thousands_of_outputs_make_no_huge_email() -> None:
    """Anybody can send dust to an address."""
    mail = email(EventType.RECEIVED, transactions=[transaction(vout=n) for n in range(5000)])
    assert f"and {5000 - MAX_TRANSACTIONS} more" in mail.text
    assert len(mail.html) < 100_000


@given(events, st.sampled_from(Status), any_text, any_text, any_text)
def test_no_text_of_a_customer_or_seller_alters_the_form_of_an_email(
    event_type: EventType, status: Status, note: str, seller: str, contact: str
) -> None:
    """The subject is one line with the request's id. The HTML has only our elements and links."""
    context = replace(CONTEXT, seller_name=seller, seller_contact=contact)
    mail = render_email(event_type, document(note=note, seller_id=seller, status=status.value), context)
    assert mail.subject.isprintable() or not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", mail.subject)
    assert mail.subject.splitlines() == [mail.subject]
    assert REFERENCE in mail.subject
    assert len(mail.subject) <= MAX_SUBJECT_CHARACTERS
    tags = Tags(mail.html)
    expected = {
        "html",
        "head",
        "meta",
        "title",
        "body",
        "h1",
        "p",
        "table",
        "tr",
        "th",
        "td",
        "a",
        "br",
        "code",
    }
    assert tags.names <= expected
    assert set(tags.links) == {f"https://mempool.space/tx/{TXID}"}
    assert not tags.loaded
    mail.text.encode()
    mail.html.encode()


@given(any_text)
def test_no_text_reverses_the_direction_of_other_text(note: str) -> None:
    """U+202E would reverse an amount or an address."""
    context = replace(CONTEXT, seller_name=f"{note}\u202eb")
    mail = render_email(EventType.RECEIVED, document(note=f"{note}\u202e\u2066"), context)
    everything = set(mail.subject + mail.text + mail.html)
    assert not set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069") & everything


def test_a_note_keeps_its_lines() -> None:
    """A shop may list the items of an order."""
    text = email(EventType.RECEIVED, note="2 socks\n1 hat").text
    assert "Note          2 socks\n              1 hat\n" in text


def test_text_is_wrapped_but_txids_and_links_stay_whole() -> None:
    """A mail program cannot open a link on two lines."""
    mail = email(EventType.LATE, status="expired", late=True, note="word " * 90)
    long = [line for line in mail.text.splitlines() if len(line) > 76]
    assert all(TXID in line for line in long)


@given(events, any_text)
def test_a_webhooks_body_has_the_same_bytes_at_each_attempt(event_type: EventType, note: str) -> None:
    """The signature must hold after the document was read from the database."""
    created_at = datetime(2026, 12, 10, 9, 3, 0, 123456, tzinfo=UTC)
    fresh = document(note=note.encode("utf-8", "replace").decode(), metadata={"z": 1, "a": [None, "ü"]})
    body = webhook_body(event_type, created_at, fresh)
    assert body == webhook_body(event_type, created_at, json.loads(json.dumps(fresh, ensure_ascii=False)))
    assert json.loads(body) == {
        "type": event_type.value,
        "timestamp": "2026-12-10T09:03:00Z",
        "data": fresh,
    }


def test_a_message_id_follows_from_the_event() -> None:
    """A repeat after a crash then has the same id."""
    assert message_id("evt_1", "shop@mail.example.com") == "<evt_1@mail.example.com>"


@pytest.mark.parametrize(
    ("price", "currency", "shown"),
    [
        ("61142.30", "EUR", "61,142.30 EUR for 1 BTC"),
        ("61142", "EUR", "61,142 EUR for 1 BTC"),
        ("61142.3456789012345678901234567890123456789", "EUR", "about 61,142.35 EUR for 1 BTC"),
        ("9612345.5", "JPY", "about 9,612,346 JPY for 1 BTC"),
        ("18000.1234567", "KWD", "about 18,000.123 KWD for 1 BTC"),
        ("1.2345", "???", "1.2345 ??? for 1 BTC"),
    ],
)
def test_a_price_has_the_decimals_of_its_currency(price: str, currency: str, shown: str) -> None:
    """A source may send forty decimals."""
    sent = email(EventType.RECEIVED, price_btc=price, currency=currency)
    assert f" {shown}\n" in sent.text
    assert f">{shown}<" in sent.html


@pytest.mark.parametrize(("currency", "price"), [("BTC", "1"), ("SAT", "100000000")])
def test_an_amount_in_bitcoin_has_no_price(currency: str, price: str) -> None:
    """A row "1 BTC for 1 BTC" informs nobody."""
    mail = email(EventType.RECEIVED, currency=currency, price_btc=price, price_source="bitcoin")
    for form in (mail.text, mail.html):
        assert "Price" not in form
        assert "for 1 BTC" not in form


def test_an_amount_in_btc_is_named_once() -> None:
    """The amount has the decimals that wallets show."""
    text = email(EventType.RECEIVED, currency="BTC", amount_fiat="0.00222416").text
    assert "\nAmount        0.00222416 BTC\nNote" in text


@pytest.mark.parametrize("event_type", EventType)
def test_an_email_links_to_the_operator_s_page(event_type: EventType) -> None:
    """The link comes before the explanation. In the text it has a line of its own."""
    mail = render_email(event_type, document(status="expired", late=True), WITH_PAGE)
    assert mail.text.split("\n\n")[1] == f"Look at this payment:\n{PAGE}"
    assert Tags(mail.html).links[0] == PAGE
    assert mail.html.index("Look at this payment") < mail.html.index("</p>")


def test_an_email_names_the_command_only_without_the_page() -> None:
    """A reader on a phone cannot run a command."""
    for event_type in (EventType.LATE, EventType.EXTRA, EventType.EXPIRED):
        mail = render_email(event_type, document(status="expired", late=True), WITH_PAGE)
        assert "payment accept" not in mail.text + mail.html
        assert 'press "Accept" on its page' in mail.text
        mail = email(event_type, status="expired", late=True)
        assert f"nodetill payment accept {REFERENCE}" in mail.text
        assert "Look at this payment" not in mail.text + mail.html


def test_a_late_replacement_names_the_way_to_accept_it() -> None:
    """The email of a reverted payment has the command too where the new money came late."""
    mail = email(EventType.REVERTED, status="expired", received_sats=222417, due_sats=0, late=True)
    assert f"nodetill payment accept {REFERENCE}" in mail.text
    mail = email(EventType.REVERTED, status="new", received_sats=0, due_sats=222416)
    assert "payment accept" not in mail.text


@pytest.mark.parametrize(
    ("network", "label"),
    [
        ("test", "testnet3"),
        ("testnet4", "testnet4"),
        ("signet", "signet"),
        ("custom-signet", "custom signet"),
        ("regtest", "regtest"),
    ],
)
def test_an_email_marks_a_test_network(network: str, label: str) -> None:
    """The subject and the first line of both forms have the mark."""
    mail = email(EventType.CONFIRMED, status="confirmed", network=network)
    mark = f"Test network ({label}): not real money"
    assert mail.subject.startswith(f"[{label}] Payment confirmed: ")
    assert mail.text.startswith(f"{mark}\n\nPayment confirmed\n")
    assert mail.html.index(mark) < mail.html.index("<h1")


@pytest.mark.parametrize("network", ["main", None])
def test_an_email_about_real_money_has_no_mark(network: str | None) -> None:
    """An event of an earlier version has no network at all."""
    facts = document(network=network)
    for given_facts in (facts, {name: value for name, value in facts.items() if name != "network"}):
        mail = render_email(EventType.RECEIVED, given_facts, CONTEXT)
        assert mail.subject.startswith("Payment received: ")
        assert "Test network" not in mail.text + mail.html


def test_a_transaction_without_an_explorer_has_no_link() -> None:
    """The email then has its id alone."""
    mail = email(EventType.RECEIVED, network="regtest")
    assert "mempool.space" not in mail.text + mail.html
    assert f"<code>{TXID}</code>" in mail.html
    assert TXID in mail.text
    assert not Tags(mail.html).links


@pytest.mark.parametrize(
    ("event_type", "changes", "said"),
    [
        (
            EventType.EXPIRED,
            {"status": "expired", "received_sats": 100_000, "due_sats": 122_416},
            "paid 0.00100000 of 0.00222416 BTC. The time to pay is over, so the order is not paid.",
        ),
        (
            EventType.EXTRA,
            {"status": "expired", "received_sats": 100_000, "due_sats": 122_416},
            "The customer paid 0.00100000 of 0.00222416 BTC. The order is not paid.",
        ),
        (
            EventType.EXTRA,
            {"status": "confirmed"},
            "The customer sent money although everything was paid.",
        ),
    ],
)
def test_an_email_names_what_the_customer_did(
    event_type: EventType, changes: dict[str, Any], said: str
) -> None:
    """The first sentences have the figures."""
    assert said in " ".join(email(event_type, **changes).text.split())


def test_a_long_note_or_name_leaves_room_for_the_other() -> None:
    """Both are cut, and the id stays whole."""
    long_name = replace(CONTEXT, seller_name="Alpaca " * 20)
    subject = render_email(EventType.RECEIVED, document(note="Order 5000 " + "x" * 200), long_name).subject
    assert len(subject) <= MAX_SUBJECT_CHARACTERS
    assert re.fullmatch(r".* for Alpaca Alpaca.*…, Order 5000 x+… \(PR-3kTMd0Zk6bW1vJrXq2nVhA\)", subject)
    subject = render_email(EventType.RECEIVED, document(note="17"), long_name).subject
    assert subject.endswith(f"…, 17 ({REFERENCE})")


def test_the_worth_of_late_money_comes_after_the_first_paragraph() -> None:
    """The email has the stored sentence, so that each attempt sends the same text."""
    sentence = "Came 42 min late. Worth 131.20 EUR on 2026-11-23 at 12:00 UTC (asked for: 135.99 EUR)."
    late = document(status="expired", late=True)
    mail = render_email(EventType.LATE, late, replace(CONTEXT, late_text=sentence))
    text = " ".join(mail.text.split())
    assert text.index("counts only if you accept it.") < text.index(sentence) < text.index("To accept")
    assert f"<p>{sentence}</p>" in mail.html
