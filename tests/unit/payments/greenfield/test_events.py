"""The events of an invoice in BTCPay's form: their sequence and members. No event comes twice."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given

from payments.greenfield.events import Body, Reported, events_since, report_of_ended
from payments.greenfield.facts import Mark
from payments.greenfield.state import AdditionalStatus, InvoiceStatus
from payments.status import ReceivedOutput, Status, Terms
from tests.support.facts import ACCEPTING, TERMS
from tests.support.invoice_history import (
    CREATED,
    InvoiceHistory,
    Step,
    example_facts,
    histories_terms,
    steps,
)
from tests.support.invoice_order import order_faults

ZERO = replace(TERMS, confirmations_required=0)
ONE = replace(TERMS, confirmations_required=1)
PAID = ["ReceivedPayment", "Processing"]
SETTLED = ["PaymentSettled", "Settled"]


def types(events: list[Body]) -> list[str]:
    return [event["type"].removeprefix("Invoice") for event in events]


# A payment in time


def test_a_payment_is_processing_and_then_settled() -> None:
    """No event follows InvoiceSettled when the payment gets more confirmations."""
    invoice = InvoiceHistory()
    assert types(invoice.events) == ["Created"]
    invoice.pay()
    assert invoice.look() == PAID
    invoice.mine()
    assert invoice.look() == []
    invoice.bury(5)
    assert invoice.look() == SETTLED
    invoice.bury(100)
    invoice.expire()
    assert invoice.look() == []


def test_a_payment_that_needs_no_confirmation_is_settled_at_once() -> None:
    """InvoiceProcessing still precedes InvoiceSettled."""
    invoice = InvoiceHistory(ZERO)
    invoice.pay()
    assert invoice.look() == PAID + SETTLED
    assert invoice.events[-1]["manuallyMarked"] is False
    invoice.mine()
    assert invoice.look() == []


def test_a_payment_first_seen_deep_in_a_block_has_each_event() -> None:
    invoice = InvoiceHistory(is_reported=False)
    invoice.pay(depth=9)
    assert invoice.look() == ["Created", *PAID, *SETTLED]


def test_several_outputs_of_one_transaction_are_several_payments() -> None:
    """The ids differ by the index of the output."""
    invoice = InvoiceHistory(ONE)
    invoice.pay(40, "a", 0)
    invoice.pay(60, "a", 3)
    assert invoice.look() == ["ReceivedPayment", "ReceivedPayment", "Processing"]
    assert [event["payment"]["id"] for event in invoice.events[1:3]] == ["a-0", "a-3"]
    invoice.mine()
    assert invoice.look() == ["PaymentSettled", "PaymentSettled", "Settled"]


def test_parts_are_reported_as_they_come_and_settled_together() -> None:
    """A part with enough confirmations settles nothing by itself."""
    invoice = InvoiceHistory(ONE)
    invoice.pay(40, "a")
    invoice.mine()
    assert invoice.look() == ["ReceivedPayment"]
    assert invoice.state.additional is AdditionalStatus.PAID_PARTIAL
    invoice.pay(60, "b")
    assert invoice.look() == PAID
    invoice.mine()
    assert invoice.look() == ["PaymentSettled", "PaymentSettled", "Settled"]


def test_an_output_without_value_is_no_payment() -> None:
    invoice = InvoiceHistory()
    invoice.pay(0)
    assert invoice.look() == []


def test_a_tolerance_of_100_percent_makes_any_payment_enough() -> None:
    """Without a payment the invoice is new, and expires."""
    terms = replace(ONE, tolerance_sats=100)
    invoice = InvoiceHistory(terms)
    assert invoice.state.status is InvoiceStatus.NEW
    invoice.pay(1)
    assert invoice.look() == PAID
    invoice.mine()
    assert invoice.look() == SETTLED
    invoice = InvoiceHistory(terms)
    invoice.expire()
    assert invoice.look() == ["Expired"]


def test_a_coinbase_output_settles_at_100_confirmations() -> None:
    invoice = InvoiceHistory(ZERO)
    invoice.tip += 1
    key = "coinbase-0"
    invoice.outputs[key] = ReceivedOutput(
        "coinbase", 0, 100, invoice.now, invoice.now, invoice.tip, is_coinbase=True
    )
    assert invoice.look() == PAID
    invoice.bury(98)
    assert invoice.look() == []
    invoice.bury(1)
    assert invoice.look() == SETTLED


def test_a_surplus_is_overpaid_from_546_satoshis_on() -> None:
    """In BTCPay 1 satoshi is enough, and then the plug-in of Magento bills nothing."""
    for sats, is_over in ((645, False), (646, True)):
        invoice = InvoiceHistory(ZERO)
        invoice.pay(sats)
        invoice.look()
        assert {event["overPaid"] for event in invoice.events if "overPaid" in event} == {is_over}
        assert (invoice.state.additional is AdditionalStatus.PAID_OVER) == is_over


# Extra money


def test_extra_money_before_the_end_is_a_payment() -> None:
    """It is settled with the invoice if it has enough confirmations by then."""
    invoice = InvoiceHistory(ONE)
    invoice.pay()
    invoice.look()
    invoice.pay(700, "b")
    assert invoice.look() == ["ReceivedPayment"]
    assert invoice.events[-1]["afterExpiration"] is False
    invoice.mine("a-0")
    assert invoice.look() == SETTLED
    invoice.mine("b-0")
    assert invoice.look() == []


def test_extra_money_after_the_end_has_no_event() -> None:
    """Such an event would set the shop's order back. The state of the invoice does not change."""
    invoice = InvoiceHistory(ZERO)
    invoice.pay()
    invoice.look()
    before = invoice.state
    invoice.pass_time(5)
    invoice.pay(10_000, "b")
    assert invoice.look() == []
    invoice.mine()
    invoice.expire()
    assert invoice.look() == []
    assert invoice.state == before
    assert invoice.facts.received_sats == 10_100


# Replaced payments


def test_a_fee_bump_reports_the_new_payment() -> None:
    """The shop gets the payment's new id before the payment is settled. The state does not change."""
    invoice = InvoiceHistory(ONE)
    invoice.pay()
    invoice.look()
    invoice.pass_time(10)
    invoice.bump("a-0", "b")
    assert invoice.look() == ["ReceivedPayment"]
    assert invoice.events[-1]["payment"]["id"] == "b-0"
    assert invoice.state.status is InvoiceStatus.PROCESSING
    invoice.mine()
    assert invoice.look() == SETTLED
    assert invoice.events[-2]["payment"]["id"] == "b-0"


def test_money_that_is_gone_before_the_expiry_has_no_event() -> None:
    """The invoice is new again. When it is covered again, the shop receives InvoiceProcessing again."""
    invoice = InvoiceHistory(ONE)
    invoice.pay()
    invoice.look()
    invoice.drop("a-0")
    assert invoice.look() == []
    assert invoice.state.status is InvoiceStatus.NEW
    invoice.pay(txid="b")
    assert invoice.look() == PAID


def test_money_that_is_gone_and_returns_is_not_received_twice() -> None:
    invoice = InvoiceHistory(ONE)
    invoice.pay()
    invoice.look()
    invoice.drop("a-0")
    invoice.look()
    invoice.bring_back("a-0")
    assert invoice.look() == ["Processing"]


def test_an_invoice_that_has_lost_its_money_becomes_invalid_at_its_expiry() -> None:
    """InvoiceExpired is not enough, because the shop has put the order on hold."""
    invoice = InvoiceHistory(ONE)
    invoice.pay()
    invoice.look()
    invoice.drop("a-0")
    invoice.look()
    invoice.expire()
    assert invoice.look() == ["Invalid"]
    assert invoice.events[-1]["manuallyMarked"] is False
    invoice.bring_back("a-0")
    assert invoice.look() == [], "the money is late, and under review"
    invoice.accept()
    assert invoice.look() == ["Processing"]


def test_an_invoice_that_loses_its_money_after_its_expiry_becomes_invalid() -> None:
    invoice = InvoiceHistory(ONE)
    invoice.pay()
    invoice.look()
    invoice.expire()
    assert invoice.look() == []
    invoice.drop("a-0")
    assert invoice.look() == ["Invalid"]


@pytest.mark.parametrize("is_expired", [False, True])
def test_a_settled_invoice_that_loses_its_money_becomes_invalid_at_once(is_expired: bool) -> None:
    """The shop may have sent the goods. If the money returns, the invoice is settled again."""
    invoice = InvoiceHistory(ZERO)
    invoice.pay()
    invoice.look()
    if is_expired:
        invoice.expire()
    invoice.drop("a-0")
    assert invoice.look() == ["Invalid"]
    assert invoice.state.status is InvoiceStatus.INVALID
    invoice.pay(txid="b")
    events = invoice.look()
    if is_expired:
        assert events == ["ReceivedPayment"]
        assert invoice.events[-1]["afterExpiration"] is True
        invoice.accept()
        events += invoice.look()
    assert events == PAID + SETTLED


def test_a_settled_invoice_with_fewer_confirmations_has_no_event() -> None:
    """A reorg returned its payment to the mempool. InvoiceSettled does not come a second time."""
    invoice = InvoiceHistory(ONE)
    invoice.pay()
    invoice.mine()
    invoice.look()
    invoice.disconnect()
    assert invoice.look() == []
    assert invoice.state.status.value == "Processing"
    invoice.mine()
    assert invoice.look() == []
    assert invoice.state.status.value == "Settled"


# After the expiry


def test_an_invoice_without_money_expires() -> None:
    invoice = InvoiceHistory()
    invoice.expire()
    assert invoice.look() == ["Expired"]
    assert invoice.events[-1]["partiallyPaid"] is False
    assert invoice.look() == []


def test_a_part_in_time_that_is_found_at_the_expiry_is_not_after_it() -> None:
    """`afterExpiration` follows the shop's last event, and not the clock."""
    invoice = InvoiceHistory()
    invoice.pay(40)
    invoice.expire()
    assert invoice.look() == ["ReceivedPayment", "Expired", "ExpiredPaidPartial"]
    assert invoice.events[1]["afterExpiration"] is False
    assert invoice.events[2]["partiallyPaid"] is True


@pytest.mark.parametrize("sats", [40, 100, 700])
def test_late_money_under_review_is_received_after_the_expiry(sats: int) -> None:
    """The invoice is not Processing, Settled or PaidLate, at any amount and any depth."""
    invoice = InvoiceHistory(ONE)
    invoice.expire()
    invoice.pay(sats)
    assert invoice.look() == ["Expired", "ReceivedPayment"]
    assert invoice.events[-2]["partiallyPaid"] is False
    assert invoice.events[-1]["afterExpiration"] is True
    invoice.mine()
    invoice.bury(6)
    assert invoice.look() == []
    assert (invoice.state.status, invoice.state.additional) == (
        InvoiceStatus.EXPIRED,
        AdditionalStatus.PAID_PARTIAL,
    )


def test_accepted_late_money_is_processing_before_it_is_settled() -> None:
    """Otherwise the plug-in of WooCommerce never completes the order."""
    invoice = InvoiceHistory(ONE)
    invoice.expire()
    invoice.look()
    invoice.pay()
    invoice.mine()
    assert invoice.look() == ["ReceivedPayment"]
    invoice.accept()
    assert invoice.look() == ["Processing", *SETTLED]
    assert [event["afterExpiration"] for event in invoice.events if "afterExpiration" in event] == [
        True,
        False,
    ]


def test_late_money_that_counts_at_once_is_not_after_the_expiry() -> None:
    """With LATE_PAYMENTS=accept the invoice is Processing when the shop requests it."""
    invoice = InvoiceHistory(replace(ACCEPTING, confirmations_required=1))
    invoice.expire()
    invoice.look()
    invoice.pay()
    assert invoice.look() == PAID
    assert invoice.events[-2]["afterExpiration"] is False
    assert invoice.state.additional is AdditionalStatus.NONE


# Marks by hand


def test_a_mark_as_settled_is_one_event() -> None:
    """The mark is a claim of the shop, so no event reports money."""
    invoice = InvoiceHistory()
    invoice.mark("settled")
    assert invoice.look() == ["Settled"]
    assert (invoice.events[-1]["manuallyMarked"], invoice.events[-1]["overPaid"]) == (True, False)
    assert invoice.look() == []
    invoice.expire()
    invoice.pay()
    assert invoice.look() == []
    assert (invoice.state.status, invoice.state.additional) == (
        InvoiceStatus.SETTLED,
        AdditionalStatus.MARKED,
    )


def test_a_mark_as_invalid_stays_when_money_comes() -> None:
    """The event reports the money with `afterExpiration`."""
    invoice = InvoiceHistory(ZERO)
    invoice.mark("Invalid")
    assert invoice.look() == ["Invalid"]
    assert invoice.events[-1]["manuallyMarked"] is True
    invoice.pay()
    assert invoice.look() == ["ReceivedPayment"]
    assert invoice.events[-1]["afterExpiration"] is True
    assert (invoice.state.status, invoice.state.additional) == (
        InvoiceStatus.INVALID,
        AdditionalStatus.MARKED,
    )
    invoice.mark("Settled")
    assert invoice.look() == ["Settled"]


def test_a_mark_after_the_payment_ends_the_invoice() -> None:
    invoice = InvoiceHistory(ONE)
    invoice.pay()
    invoice.look()
    invoice.mark("settled")
    assert invoice.look() == ["Settled"]
    invoice.mine()
    assert invoice.look() == []
    invoice.mark("invalid")
    assert invoice.look() == ["Invalid"]


def test_a_mark_as_settled_accepts_late_money_that_is_enough() -> None:
    """The money then counts, so InvoiceProcessing comes first."""
    invoice = InvoiceHistory(ONE)
    invoice.expire()
    invoice.pay()
    invoice.look()
    invoice.mark("Settled")
    assert invoice.look() == ["Processing"]
    assert invoice.facts.mark is None
    invoice.mine()
    assert invoice.look() == SETTLED
    assert invoice.events[-1]["manuallyMarked"] is False


def test_a_mark_as_settled_of_late_money_that_is_not_enough_is_a_mark() -> None:
    invoice = InvoiceHistory(ONE)
    invoice.expire()
    invoice.pay(40)
    invoice.look()
    invoice.mark("Settled")
    assert invoice.look() == ["Settled"]
    assert invoice.facts.mark is Mark.SETTLED


def test_late_money_of_an_invoice_marked_as_invalid_can_be_accepted() -> None:
    """The acceptance ends the mark."""
    invoice = InvoiceHistory(ONE)
    invoice.mark("invalid")
    invoice.expire()
    invoice.pay()
    assert invoice.look() == ["Invalid", "ReceivedPayment"]
    invoice.mark("settled")
    assert invoice.look() == ["Processing"]


# The form


def test_an_event_has_each_member() -> None:
    """The delivery adds its own members. InvoiceCreated has the time at which the invoice was created."""
    invoice = InvoiceHistory(ZERO)
    invoice.pass_time(7)
    invoice.pay()
    invoice.look()
    created, received, processing, settled_payment, settled = invoice.events
    common = {"storeId": "company1", "invoiceId": "PR-1", "metadata": {"orderId": "4711"}}
    at = int(CREATED.timestamp())
    assert created == {"type": "InvoiceCreated", "timestamp": at, **common}
    payment = {
        "id": "a-0",
        "receivedDate": at + 7,
        "value": "0.00000100",
        "fee": "0",
        "status": "Settled",
        "destination": "bcrt1qa",
    }
    members = {
        "timestamp": at + 7,
        **common,
        "afterExpiration": False,
        "paymentMethodId": "BTC-CHAIN",
        "paymentMethod": "BTC-CHAIN",
        "payment": payment,
    }
    assert received == {"type": "InvoiceReceivedPayment", **members}
    assert settled_payment == {"type": "InvoicePaymentSettled", **members}
    assert processing == {"type": "InvoiceProcessing", "timestamp": at + 7, **common, "overPaid": False}
    assert settled == {
        "type": "InvoiceSettled",
        "timestamp": at + 7,
        **common,
        "manuallyMarked": False,
        "overPaid": False,
    }


def test_a_request_of_the_native_api_is_an_invoice_too() -> None:
    """Its `order_id` becomes `orderId`, unless its metadata has an `orderId`."""
    facts = example_facts(checkout=None, order_id="A-7", metadata={"cart": 5})
    [created], _ = events_since(facts, None, CREATED)
    assert created["metadata"] == {"orderId": "A-7", "cart": 5}
    facts = replace(facts, metadata={"orderId": 8})
    [created], _ = events_since(facts, None, CREATED)
    assert created["metadata"] == {"orderId": 8}


# Invoices from before the first endpoint


@pytest.mark.parametrize(
    ("status", "was_covered", "ended"),
    [
        (Status.CONFIRMED, True, InvoiceStatus.SETTLED),
        (Status.EXPIRED, False, InvoiceStatus.EXPIRED),
        (Status.EXPIRED, True, InvoiceStatus.INVALID),
    ],
)
def test_an_invoice_that_had_ended_before_the_first_endpoint_has_no_old_events(
    status: Status, was_covered: bool, ended: InvoiceStatus
) -> None:
    found = report_of_ended(status, was_covered=was_covered, known_payments=["a-0"])
    assert found is not None
    assert (found.status, found.received) == (ended, frozenset({"a-0"}))


@pytest.mark.parametrize("status", [Status.NEW, Status.UNDERPAID, Status.RECEIVED, Status.CONFIRMING])
def test_an_open_invoice_from_before_the_first_endpoint_has_all_events(status: Status) -> None:
    """So InvoiceProcessing precedes InvoiceSettled."""
    assert report_of_ended(status, was_covered=False) is None


# Any history


def play(terms: Terms, changes: list[tuple[Step, bool]]) -> list[tuple[InvoiceHistory, list[Body]]]:
    """Play the steps. Return the events of each assessment, with the facts of the invoice at that time."""
    invoice = InvoiceHistory(terms, is_reported=False)
    looks = []
    for step, is_assessed in [*changes, (Step("end", lambda _: None), True)]:
        step.act(invoice)
        if is_assessed:
            count = len(invoice.events)
            invoice.look()
            then = InvoiceHistory(terms, is_reported=False)
            then.facts, then.reported = invoice.facts, invoice.reported
            looks.append((then, invoice.events[count:]))
    return looks


@given(histories_terms(), steps)
def test_the_sequence_never_sets_an_order_back(terms: Terms, changes: list[tuple[Step, bool]]) -> None:
    """InvoiceProcessing precedes InvoiceSettled, and only InvoiceInvalid follows InvoiceSettled."""
    events = [event for _, found in play(terms, changes) for event in found]
    assert types(events)[0] == "Created"
    assert [*order_faults(events)] == []


@given(histories_terms(), steps)
def test_no_event_comes_twice(terms: Terms, changes: list[tuple[Step, bool]]) -> None:
    """Each payment is reported once as received and once as settled, and InvoiceExpired comes once."""
    events = [event for _, found in play(terms, changes) for event in found]
    for name in ("InvoiceReceivedPayment", "InvoicePaymentSettled"):
        ids = [event["payment"]["id"] for event in events if event["type"] == name]
        assert len(set(ids)) == len(ids)
    assert types(events).count("Expired") <= 1
    ends = [name for name in types(events) if name in ("Settled", "Invalid")]
    assert all(first != second for first, second in pairwise(ends))


@given(histories_terms(), steps)
def test_unchanged_facts_have_no_event(terms: Terms, changes: list[tuple[Step, bool]]) -> None:
    for then, _ in play(terms, changes):
        events, reported = events_since(then.facts, then.reported, then.now)
        assert events == []
        assert reported == then.reported
        assert Reported.from_document(reported.document) == reported


@given(histories_terms(), steps)
def test_the_invoice_has_the_state_of_its_last_event(terms: Terms, changes: list[tuple[Step, bool]]) -> None:
    """There are two exceptions: money that is gone before the expiry, and a reorg after InvoiceSettled."""
    names = {"Processing", "Settled", "Expired", "Invalid"}
    last = "New"
    for then, events in play(terms, changes):
        last = next((name for name in reversed(types(events)) if name in names), last)
        status = then.state.status.value
        may_lag = {"Processing": {"New"}, "Settled": {"Processing"}, "Invalid": {"Expired"}}
        assert status == last or status in may_lag.get(last, set()), (status, last)
        for event in events:
            if "payment" in event:
                live = {f"{o.txid}-{o.vout}" for o in then.facts.live_outputs}
                assert event["payment"]["id"] in live


@given(histories_terms(), steps)
def test_no_boolean_is_left_out(terms: Terms, changes: list[tuple[Step, bool]]) -> None:
    """Plug-ins read booleans without a check."""
    wanted = {
        "InvoiceReceivedPayment": {"afterExpiration"},
        "InvoicePaymentSettled": {"afterExpiration"},
        "InvoiceProcessing": {"overPaid"},
        "InvoiceSettled": {"manuallyMarked", "overPaid"},
        "InvoiceExpired": {"partiallyPaid"},
        "InvoiceInvalid": {"manuallyMarked"},
    }
    for then, events in play(terms, changes):
        for event in events:
            found = {name for name, value in event.items() if isinstance(value, bool)}
            assert found == wanted.get(event["type"], set())
            if event["type"] in ("InvoiceReceivedPayment", "InvoicePaymentSettled"):
                is_ended = then.state.status.is_ended
                assert is_ended or event["afterExpiration"] is False


@given(histories_terms(), steps)
def test_an_invoice_is_paid_only_by_money_that_counts(terms: Terms, changes: list[tuple[Step, bool]]) -> None:
    """Without a mark, its state follows the request's status. The state is never PaidLate."""
    for then, _ in play(terms, changes):
        facts, state = then.facts, then.state
        assert state.additional.value in {"None", "PaidPartial", "PaidOver", "Marked"}
        is_paid = state.status in (InvoiceStatus.PROCESSING, InvoiceStatus.SETTLED)
        if facts.mark is None:
            assert is_paid == facts.status.is_covered
            assert (state.status is InvoiceStatus.SETTLED) == (facts.status is Status.CONFIRMED)
        else:
            assert state.status.value.lower() == facts.mark.value
