"""An invoice whose facts change step by step, with the events that btcpay endpoints receive."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from payments.greenfield.events import Body, Reported, events_since
from payments.greenfield.facts import InvoiceFacts
from payments.greenfield.marking import MarkingError, read_marking
from payments.greenfield.state import InvoiceState, state_of
from payments.status import ReceivedOutput, Status, Terms, assess
from tests.support.facts import EXPIRES, TERMS, TIP

CREATED = EXPIRES - timedelta(minutes=15)


def example_facts(**values: Any) -> InvoiceFacts:
    """Return the facts of a new invoice of 100 sats, with these values."""
    usual: dict[str, Any] = {
        "invoice_id": "PR-1",
        "store_id": "company1",
        "amount": "135.99",
        "currency": "EUR",
        "price": "61142.30",
        "address": "bcrt1qa",
        "terms": TERMS,
        "created_at": CREATED,
        "status": Status.NEW,
        "outputs": (),
        "tip_height": TIP,
        "metadata": {"orderId": "4711"},
        "checkout": {},
    }
    return InvoiceFacts(**{**usual, **values})


class InvoiceHistory:
    """An invoice over time. Each method changes a fact, and `look` assesses as the daemon does."""

    def __init__(self, terms: Terms = TERMS, *, is_reported: bool = True) -> None:
        self.outputs: dict[str, ReceivedOutput] = {}
        self.facts = example_facts(terms=terms)
        self.reported: Reported | None = None
        self.events: list[Body] = []
        self.now = CREATED
        self.tip = TIP
        self._gone: set[str] = set()
        if is_reported:
            self.look()

    @property
    def state(self) -> InvoiceState:
        """Return the present state of the invoice."""
        return state_of(self.facts)

    def pay(self, amount_sats: int = 100, txid: str = "a", vout: int = 0, *, depth: int = 0) -> None:
        """Let an output appear in the mempool, or in a block."""
        height = self.tip - depth + 1 if depth else None
        key = f"{txid}-{vout}"
        if key not in self.outputs:
            self.outputs[key] = ReceivedOutput(txid, vout, amount_sats, self.now, self.now, height)

    def mine(self, *keys: str) -> None:
        """Mine a block with these live outputs, or with all of them."""
        self.tip += 1
        for key in keys or self.outputs:
            if self.outputs[key].is_live and self.outputs[key].block_height is None:
                self._change(key, block_height=self.tip)

    def bury(self, blocks: int) -> None:
        """Mine empty blocks."""
        self.tip += blocks

    def disconnect(self) -> None:
        """Move all payments from their blocks to the mempool, as a reorg does."""
        for key in self.outputs:
            self._change(key, block_height=None)

    def drop(self, key: str) -> None:
        """Remove an output from mempool and chain."""
        self._change(key, is_live=False, block_height=None)

    def bring_back(self, key: str) -> None:
        """Let an output return. If an assessment was without the output, its age begins again."""
        since = self.now if key in self._gone else self.outputs[key].present_since
        self._change(key, is_live=True, present_since=since)
        self._gone.discard(key)

    def bump(self, key: str, txid: str) -> None:
        """Replace an output by one of the same amount, which inherits its age."""
        old = self.outputs[key]
        self.drop(key)
        self.outputs[f"{txid}-0"] = replace(old, txid=txid, vout=0, is_live=True, first_seen_at=self.now)

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def expire(self) -> None:
        """Move the time past the expiry."""
        self.now = max(self.now, EXPIRES + timedelta(seconds=1))

    def accept(self) -> None:
        """Accept late money, if there is any, as the operator does."""
        if self.facts.is_late:
            self.facts = replace(self.facts, terms=replace(self.facts.terms, is_late_accepted=True))

    def mark(self, status: str) -> None:
        """Mark by hand as the API does. Raise MarkingError."""
        marking = read_marking(self.facts, status)
        self.facts = replace(self.facts, mark=marking.mark)
        if marking.accepts_late_money:
            self.accept()

    def look(self) -> list[str]:
        """Assess, and return the types of the new events, without the prefix "Invoice"."""
        self._assess()
        events, self.reported = events_since(self.facts, self.reported, self.now)
        self.reported = Reported.from_document(self.reported.document)
        self.events += events
        self._gone |= {key for key, output in self.outputs.items() if not output.is_live}
        return [event["type"].removeprefix("Invoice") for event in events]

    def _assess(self) -> None:
        facts = self.facts
        outputs = tuple(self.outputs.values())
        found = assess(
            facts.terms,
            outputs,
            tip_height=self.tip,
            as_of=self.now,
            was_confirmed=facts.status is Status.CONFIRMED,
        )
        is_confirmed = found.status is Status.CONFIRMED
        is_new = is_confirmed and facts.status is not Status.CONFIRMED
        is_accepted = facts.terms.is_late_accepted and found.status.is_covered
        self.facts = replace(
            facts,
            terms=replace(facts.terms, is_late_accepted=is_accepted),
            status=found.status,
            outputs=outputs,
            tip_height=self.tip,
            is_late=found.is_late,
            was_covered=facts.was_covered or found.status.is_covered,
            was_confirmed=facts.was_confirmed or is_confirmed,
            confirmed_at=(self.now if is_new else facts.confirmed_at) if is_confirmed else None,
        )

    def _change(self, key: str, **values: Any) -> None:
        self.outputs[key] = replace(self.outputs[key], **values)


@dataclass(frozen=True)
class Step:
    """A change of an invoice's facts, by the name of its method, for hypothesis."""

    name: str
    act: Callable[[InvoiceHistory], None]

    def __repr__(self) -> str:
        return self.name


def _on(name: str, key: str, act: Callable[[InvoiceHistory, str], None]) -> Step:
    return Step(f"{name} {key}", lambda history: act(history, key) if key in history.outputs else None)


def _marking(status: str) -> Step:
    def act(history: InvoiceHistory) -> None:
        try:
            history.mark(status)
        except MarkingError:
            return

    return Step(f"mark {status}", act)


_KEYS = ("a-0", "a-1", "b-0", "c-0")
_STEPS = [
    *(
        Step(f"pay {amount} by {key}", lambda h, k=key, n=amount: h.pay(n, *_place(k)))  # type: ignore[misc]
        for key in _KEYS
        for amount in (40, 60, 100, 700)
    ),
    *(Step(f"find {key}", lambda h, k=key: h.pay(100, *_place(k), depth=7)) for key in _KEYS),  # type: ignore[misc]
    *(_on("drop", key, InvoiceHistory.drop) for key in _KEYS),
    *(_on("bring back", key, InvoiceHistory.bring_back) for key in _KEYS),
    *(_on("mine", key, InvoiceHistory.mine) for key in _KEYS),
    _on("bump", "a-0", lambda h, key: h.bump(key, "d") if h.outputs[key].block_height is None else None),
    Step("mine", lambda h: h.mine()),
    Step("bury", lambda h: h.bury(6)),
    Step("disconnect", lambda h: h.disconnect()),
    Step("expire", lambda h: h.expire()),
    Step("wait", lambda h: h.pass_time(30)),
    Step("accept", lambda h: h.accept()),
    _marking("Settled"),
    _marking("Invalid"),
]
steps = st.lists(st.tuples(st.sampled_from(_STEPS), st.booleans()), max_size=25)
"""Changes of facts. After each change the test may assess or not."""


@st.composite
def histories_terms(draw: st.DrawFn) -> Terms:
    """Draw the terms of a request: any speed, any tolerance, late money accepted or not."""
    return replace(
        TERMS,
        tolerance_sats=draw(st.sampled_from([0, 0, 5, 60, 100])),
        confirmations_required=draw(st.sampled_from([0, 1, 2, 6])),
        late_accepted_until=draw(st.sampled_from([None, TERMS.monitored_until])),
    )


def _place(key: str) -> tuple[str, int]:
    txid, _, vout = key.partition("-")
    return txid, int(vout)
