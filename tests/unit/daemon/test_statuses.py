"""Statuses are stored in several transactions, and never contradict the published confirmations."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from config import load_settings
from daemon.chain import statuses
from daemon.chain.statuses import Assessor
from daemon.counters import Counters
from models.daemon_status import daemon_report
from models.db.connection import disconnect
from models.outbox import events_of
from models.output import (
    Output,
    add_watched_outpoints,
    all_watched_outpoints,
    forget_outpoints_of,
    outputs_at,
)
from models.payment import PaymentRequest, mark_for_reassessment, payment_by_reference
from models.rate import store_rates
from payments.document import payment_document
from tests.support.prepared_database import open_prepared
from tests.support.rows import NOW, new_output, new_payment
from web.api.documents import document_as_now
from web.checkout.status import PublicFacts

HEIGHT = 1000
BLOCK = "cd" * 32


class Interrupted(Exception):
    """The daemon stops."""


@pytest.fixture(autouse=True)
def _database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Open an empty database, and allow few requests a transaction."""
    open_prepared(database_url)
    monkeypatch.setattr(statuses, "BATCH_SIZE", 2)
    yield
    disconnect()


class CheckedAssessor:
    """An assessor whose stored state is checked after each transaction."""

    def __init__(self, tmp_path: Path, breaks_off_at: int = 0) -> None:
        self.looks = 0
        self._breaks_off_at = breaks_off_at
        settings = load_settings({}, tmp_path)
        self._assessor = Assessor(settings, self._pulse, Counters())

    def assess(
        self, tip_height: int, *, as_of: timedelta = timedelta(0), now: timedelta | None = None
    ) -> bool:
        """Assess the due requests, and return whether one waits for the next reconciling."""
        moment = NOW + (as_of if now is None else now)
        self._assessor.assess_due(tip_height, NOW + as_of, moment)
        check_all()
        return self._assessor.is_any_waiting

    def _pulse(self) -> None:
        check_all()
        self.looks += 1
        if self.looks == self._breaks_off_at:
            raise Interrupted


def check_all() -> None:
    """Check that each document and page shows a depth that fits its status."""
    published = daemon_report().assessed_height
    for row in PaymentRequest.select():
        parts = outputs_at(row.address_id)
        document = payment_document(
            row, "bcrt1q", parts, tip_height=published, network="regtest", public_url="https://a.example"
        )
        shown = PublicFacts.read(row.reference, NOW)
        assert shown is not None
        page = shown.confirmations, shown.confirmations_required
        for confirmations, required in (
            page,
            (document["confirmations"], document["confirmations_required"]),
        ):
            match row.status:
                case "confirmed":
                    assert confirmations >= required, row.reference
                case "confirming":
                    assert 0 < confirmations < required, row.reference
                case _:
                    assert confirmations == 0, row.reference


def _mined(number: int, height: int, **values: object) -> PaymentRequest:
    """Store a due request of 1,000 satoshis that is paid in the block at `height`."""
    payment = new_payment(number, amount_sats=1000, due_sats=1000, confirmations_required=2, **values)
    txid = f"{number:064x}"
    new_output(payment, txid=txid, state="mined", block_hash=BLOCK, block_height=height)
    mark_for_reassessment([payment.address_id])
    return payment


def _row(payment: PaymentRequest) -> PaymentRequest:
    row: PaymentRequest = PaymentRequest.get_by_id(payment.id)
    return row


def test_no_transaction_shows_a_depth_of_another_tip(tmp_path: Path) -> None:
    """This holds before and after the new height is published."""
    assessor = CheckedAssessor(tmp_path)
    old = [_mined(number, HEIGHT) for number in range(5)]
    assessor.assess(HEIGHT)
    new = [_mined(number, HEIGHT + 1) for number in range(5, 10)]
    assessor.assess(HEIGHT + 1)
    assert {_row(payment).status for payment in old} == {"confirmed"}
    assert {_row(payment).status for payment in new} == {"confirming"}
    assert assessor.looks > 3
    assert daemon_report().assessed_height == HEIGHT + 1
    assert PaymentRequest.select().where(PaymentRequest.unpublished_height.is_null(False)).count() == 0


def test_an_interrupted_daemon_leaves_a_consistent_state(tmp_path: Path) -> None:
    """The next daemon may continue at another tip."""
    payments = [_mined(number, HEIGHT) for number in range(7)]
    with pytest.raises(Interrupted):
        CheckedAssessor(tmp_path, breaks_off_at=2).assess(HEIGHT)
    check_all()
    CheckedAssessor(tmp_path).assess(HEIGHT + 1)
    assert {_row(payment).status for payment in payments} == {"confirmed"}


def test_a_document_of_an_earlier_read_row_is_of_one_moment(tmp_path: Path) -> None:
    """The daemon may publish another height between two statements of a reader."""
    assessor = CheckedAssessor(tmp_path)
    _mined(1, HEIGHT)
    assessor.assess(HEIGHT)
    row = payment_by_reference("PR-1")
    assert row is not None
    assessor.assess(HEIGHT + 1)
    document = document_as_now(row, load_settings({}, tmp_path))
    assert (document["status"], document["confirmations"]) == ("confirmed", 2)


def test_a_request_that_expired_since_the_last_reconciling_waits_for_the_next(tmp_path: Path) -> None:
    """Others do not wait, and no height is published that this request has not reached."""
    assessor, minute = CheckedAssessor(tmp_path), timedelta(minutes=1)
    assessor.assess(HEIGHT - 1, as_of=-minute)
    over = _mined(1, HEIGHT, expires_at=NOW, monitored_until=NOW + timedelta(days=1))
    other = _mined(2, HEIGHT)
    assert assessor.assess(HEIGHT, as_of=-minute, now=minute)
    assert (_row(over).status, _row(other).status) == ("new", "confirming")
    assert daemon_report().assessed_height == HEIGHT - 1
    assert not assessor.assess(HEIGHT, as_of=minute)
    assert _row(over).status == "confirming"
    assert daemon_report().assessed_height == HEIGHT
    assert daemon_report().complete_look_at == NOW + minute


def test_a_gap_begins_when_an_assessment_finds_an_output_gone(tmp_path: Path) -> None:
    """It begins only once, and a live output has none."""
    payment = new_payment(1, amount_sats=1000, due_sats=1000)
    gone = new_output(payment, state="dropped")
    there = new_output(payment, vout=1)
    mark_for_reassessment([payment.address_id])
    assessor = CheckedAssessor(tmp_path)
    assessor.assess(HEIGHT)
    mark_for_reassessment([payment.address_id])
    assessor.assess(HEIGHT, as_of=timedelta(minutes=1))
    assert Output.get_by_id(gone.id).gone_since == NOW
    assert Output.get_by_id(there.id).gone_since is None


def test_an_acceptance_ends_with_the_cover(tmp_path: Path) -> None:
    """Later money needs a new acceptance."""
    accepted = new_payment(1, amount_sats=1000, due_sats=1000, expires_at=NOW, late_accepted_at=NOW)
    output = new_output(accepted, first_seen_at=NOW + timedelta(minutes=1))
    mark_for_reassessment([accepted.address_id])
    assessor = CheckedAssessor(tmp_path)
    assessor.assess(HEIGHT, as_of=timedelta(minutes=2))
    assert (_row(accepted).status, _row(accepted).late_accepted_at) == ("received", NOW)
    Output.update(state="dropped").where(Output.id == output.id).execute()
    mark_for_reassessment([accepted.address_id])
    assessor.assess(HEIGHT, as_of=timedelta(minutes=3))
    assert (_row(accepted).status, _row(accepted).late_accepted_at) == ("expired", None)
    assert [event.type for event in events_of(accepted)][-2:] == ["payment.reverted", "payment.expired"]


@pytest.mark.parametrize(
    ("height", "is_other_closed", "is_forgotten"),
    [(HEIGHT - 99, True, True), (HEIGHT - 98, True, False), (HEIGHT - 99, False, False)],
)
def test_watched_outpoints_are_deleted_when_no_request_needs_them(
    height: int, is_other_closed: bool, is_forgotten: bool
) -> None:
    """Each paid request is closed, and only a reorg of a hundred blocks could reach the payment."""
    one = new_payment(1, closed_at=NOW)
    other = new_payment(2, closed_at=NOW if is_other_closed else None)
    for vout, payment in enumerate((one, other)):
        output = new_output(payment, vout=vout, state="mined", block_hash=BLOCK, block_height=height)
    add_watched_outpoints([(output.txid, b"outpoint", output.txid)])
    forget_outpoints_of([output.txid], HEIGHT)
    assert (list(all_watched_outpoints()) == []) == is_forgotten


def test_an_event_of_late_money_keeps_its_worth_at_that_time(tmp_path: Path) -> None:
    """The price may change before the email goes; and no other event has such a sentence."""
    store_rates("kraken", {"EUR": Decimal("58988.5")}, NOW)
    payment = new_payment(1, expires_at=NOW - timedelta(minutes=42), reassess_at_height=0)
    new_output(payment, amount_sats=222_416)
    other = new_payment(2, expires_at=NOW - timedelta(minutes=42), reassess_at_height=0)
    new_output(other, amount_sats=1000, txid="cc" * 32)
    CheckedAssessor(tmp_path).assess(HEIGHT)
    sentence = (
        "Came 42 min late. Worth 131.20 EUR on 2026-11-23 at 12:00 UTC (asked for: 135.99 EUR, 3.5 % less)."
    )
    found = {event.type: event.late_text for event in events_of(payment)}
    assert found["payment.late"] == sentence
    assert [event.late_text for event in events_of(other)] == [None]
    assert "late_text" not in events_of(payment)[0].payload
