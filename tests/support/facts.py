"""Facts of payment requests for tests: simple ones, and arbitrary ones from hypothesis."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from payments.status import (
    Assessment,
    EventType,
    LastKnownState,
    ReceivedOutput,
    Status,
    Terms,
    assess,
    events_between,
)

EXPIRES = datetime(2026, 11, 23, 12, tzinfo=UTC)
MONITORED = timedelta(seconds=60)
IN_TIME, LATE = EXPIRES - timedelta(seconds=10), EXPIRES + timedelta(seconds=10)
TOO_LATE = EXPIRES + MONITORED + timedelta(seconds=10)
BEFORE_EXPIRY, AFTER_EXPIRY = EXPIRES - timedelta(seconds=1), EXPIRES + timedelta(seconds=20)
AFTER_MONITORING = EXPIRES + MONITORED + timedelta(seconds=20)
TIP = 1000

TERMS = Terms(
    amount_sats=100,
    tolerance_sats=0,
    confirmations_required=6,
    expires_at=EXPIRES,
    monitored_until=EXPIRES + MONITORED,
)
ACCEPTING = replace(TERMS, late_accepted_until=TERMS.monitored_until)
ACCEPTED = replace(TERMS, is_late_accepted=True)


def paid(
    amount_sats: int = 100,
    *,
    depth: int = 0,
    at: datetime = IN_TIME,
    since: datetime | None = None,
    txid: str = "a",
    tip: int = TIP,
    is_coinbase: bool = False,
) -> ReceivedOutput:
    """Return a live output, `depth` blocks deep, that was first seen `at` and has been there `since`."""
    height = tip - depth + 1 if depth else None
    return ReceivedOutput(txid, 0, amount_sats, at, since or at, height, is_coinbase=is_coinbase)


def gone(output: ReceivedOutput) -> ReceivedOutput:
    """Return the output after it was replaced or dropped."""
    return replace(output, block_height=None, is_live=False)


@dataclass(frozen=True, slots=True)
class Facts:
    """The arguments of `payments.status.assess`."""

    terms: Terms
    outputs: tuple[ReceivedOutput, ...]
    tip_height: int = TIP
    as_of: datetime = BEFORE_EXPIRY

    def assess(self, was_confirmed: bool = False) -> Assessment:
        return assess(
            self.terms,
            self.outputs,
            tip_height=self.tip_height,
            as_of=self.as_of,
            was_confirmed=was_confirmed,
        )

    def sunk(self, blocks: int) -> "Facts":
        """Return the facts at a tip that is `blocks` higher, so that each mined output is deeper."""
        return replace(self, tip_height=self.tip_height + blocks)


class RequestHistory:
    """A request that is assessed again and again, with its events, as the daemon does it in the database."""

    def __init__(self, terms: Terms = TERMS) -> None:
        self.terms = terms
        self.last_known_state = LastKnownState()
        self.events: list[EventType] = []
        self.reported_parts: set[tuple[str, int]] = set()

    def now(
        self,
        *outputs: ReceivedOutput,
        as_of: datetime = BEFORE_EXPIRY,
        tip: int = TIP,
        accepted: bool = False,
    ) -> tuple[str, ...]:
        """Assess these facts, and return the short names of the new events."""
        if accepted:
            self.terms = replace(self.terms, is_late_accepted=True)
        return tuple(
            event.removeprefix("payment.") for event in self.assess_next(self.facts(outputs, as_of, tip))
        )

    def facts(self, outputs: tuple[ReceivedOutput, ...], as_of: datetime, tip: int) -> Facts:
        """Return facts with this request's terms."""
        return Facts(self.terms, outputs, tip, as_of)

    def assess_next(self, facts: Facts) -> tuple[EventType, ...]:
        """Assess facts as the daemon does, and return the new events."""
        assessment = facts.assess(was_confirmed=self.last_known_state.status is Status.CONFIRMED)
        parts = {(output.txid, output.vout): output.is_live for output in facts.outputs}
        has_unreported_output = any(
            is_live and part not in self.reported_parts for part, is_live in parts.items()
        )
        events = events_between(
            self.last_known_state, assessment, has_unreported_output=has_unreported_output
        )
        self.last_known_state = LastKnownState(
            status=assessment.status,
            is_late=assessment.is_late,
            is_closed=assessment.is_closed,
            received_sats=assessment.received_sats,
            notified_sats=assessment.received_sats if events else self.last_known_state.notified_sats,
        )
        self.reported_parts = set(parts) if events else self.reported_parts
        self.events.extend(events)
        return events


moments = st.integers(-15, 75).map(lambda seconds: EXPIRES + timedelta(seconds=seconds)) | st.sampled_from(
    [border + timedelta(microseconds=off) for border in (EXPIRES, EXPIRES + MONITORED) for off in (-1, 0, 1)]
)
amounts = st.integers(0, 12)
depths = st.integers(0, 8) | st.integers(98, 102) | st.integers(142, 150)


@st.composite
def any_terms(draw: st.DrawFn) -> Terms:
    """Draw terms with small amounts, so that sums often equal the limits."""
    amount_sats = draw(st.integers(1, 12))
    return replace(
        TERMS,
        amount_sats=amount_sats,
        tolerance_sats=draw(st.integers(0, amount_sats)),
        confirmations_required=draw(st.integers(0, 7) | st.integers(99, 101) | st.integers(0, 144)),
        late_accepted_until=draw(st.sampled_from([None, TERMS.monitored_until])),
        is_late_accepted=draw(st.booleans()),
    )


@st.composite
def any_receipts(draw: st.DrawFn) -> tuple[ReceivedOutput, ...]:
    """Draw up to five distinct outputs, some of one transaction."""
    places = draw(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2)), unique=True, max_size=5))
    outputs = []
    for txid, vout in places:
        is_live = draw(st.sampled_from([True, True, True, False]))
        depth = draw(depths) if is_live else 0
        since = draw(st.none() | moments)
        output = paid(draw(amounts), depth=depth, at=draw(moments), since=since, txid=txid)
        is_coinbase = depth > 0 and draw(st.sampled_from([False, False, False, True]))
        outputs.append(replace(output, vout=vout, is_live=is_live, is_coinbase=is_coinbase))
    return tuple(outputs)


@st.composite
def any_facts(draw: st.DrawFn) -> Facts:
    """Any facts that a database can hold. The tip is at TIP."""
    return Facts(draw(any_terms()), draw(any_receipts()), as_of=draw(moments))
