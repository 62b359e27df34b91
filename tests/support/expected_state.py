"""Compares the database with bitcoind: every output, every status, every event.

The expected rows of outputs follow from bitcoind's chain and mempool. tests/support/oracle.py computes the
expected statuses from them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from models.block import stored_tip
from models.command import pending_commands
from models.daemon_status import daemon_report
from models.db.connection import get_row
from models.outbox import Event, Message, events_of, messages_of
from models.output import DROPPED, MEMPOOL, MINED, REPLACED, Output, outputs_at
from models.payment import PaymentRequest
from payments.document import depth
from payments.notifications import message_id, should_email_operator
from payments.status import EventType, LastKnownState, Status, assess, events_between
from tests.support.chain_state import ChainState, View
from tests.support.oracle import expected_status

COVERED = {"received", "confirming", "confirmed"}


@dataclass(slots=True)
class TrackedRequest:
    """A payment request and its state at the last `Scenario.settle`.

    `live` has the outputs that bitcoind had at that moment. `steady` has the outputs that bitcoind has had
    since then without a gap. `buried` has those that its chain has had without a gap.
    """

    payment_id: int
    script: bytes
    last_known_state: LastKnownState = field(default_factory=LastKnownState)
    seen_at: dict[tuple[str, int], datetime] = field(default_factory=dict)
    since: dict[tuple[str, int], datetime] = field(default_factory=dict)
    live: set[tuple[str, int]] = field(default_factory=set)
    event_count: int = 0
    was_closed: bool = False
    steady: set[tuple[str, int]] = field(default_factory=set)
    buried: set[tuple[str, int]] = field(default_factory=set)

    def row(self) -> PaymentRequest:
        return get_row(PaymentRequest, self.payment_id)


def is_behind(view: View) -> str | None:
    """Return what the daemon has yet to read, or None if the database can be compared."""
    tip = stored_tip()
    if tip is None or tip.hash != view.tip.block_hash:
        return f"the stored tip is {tip and tip.height}, the node's {view.tip.height}"
    assessed = daemon_report().assessed_height
    if assessed != view.tip.height:
        return f"assessed at {assessed}, the tip is {view.tip.height}"
    return f"{len(pending_commands())} commands wait" if pending_commands() else None


def differences(request: TrackedRequest, chain: ChainState, view: View, now: datetime) -> list[str]:
    """Return the differences between the stored request and its expected state."""
    row = request.row()
    outputs = outputs_at(row.address_id)
    found = [*_output_differences(request, row, outputs, chain, view, now)]
    return found or [*_status_differences(request, row, outputs, view, now)]


def _output_differences(
    request: TrackedRequest,
    row: PaymentRequest,
    outputs: Iterable[Output],
    chain: ChainState,
    view: View,
    now: datetime,
) -> Iterator[str]:
    stored = {(output.txid, output.vout): output for output in outputs}
    for txid, vout, amount_sats in chain.payers[request.script]:
        output = stored.pop((txid, vout), None)
        is_live = txid in view.places or txid in view.mempool
        if output is None:
            if is_live or (txid, vout) in request.seen_at:
                yield f"{txid}:{vout} is not stored"
            continue
        if output.amount_sats != amount_sats:
            yield f"{txid}:{vout} has {amount_sats} sats, stored are {output.amount_sats}"
        # The daemon does not update an output that it no longer watches, even if the request opens again.
        was_closed = request.was_closed or row.closed_at is not None or now > row.monitored_until
        yield from _state_differences(output, chain, view, is_watched=not was_closed)
        yield from _age_differences(request, row, output, chain, now)
        yield from _presence_differences(request, row, output, chain, is_live=is_live)
    yield from (f"{txid}:{vout} was never sent" for txid, vout in stored)


def _state_differences(output: Output, chain: ChainState, view: View, *, is_watched: bool) -> Iterator[str]:
    txid, stored = output.txid, (output.state, output.block_hash, output.block_height)
    place = view.places.get(txid)
    conflicts = chain.conflicts(txid, view)
    allowed: list[tuple[str, str | None, int | None]]
    if place is not None:
        allowed = [(MINED, place.block_hash, place.height)]
    elif txid in view.mempool:
        allowed = [(MEMPOOL, None, None)]
    elif not is_watched or (conflicts and not chain.conflicts(txid, view, through_mined=False)):
        # The daemon does not store the outpoints that a once mined parent spends.
        allowed = [(REPLACED, None, None), (DROPPED, None, None)]
    else:
        allowed = [(REPLACED if conflicts else DROPPED, None, None)]
    if stored not in allowed:
        yield f"{txid} is {allowed}, stored is {stored}"
    if is_watched and output.state == REPLACED and output.replaced_by not in conflicts:
        yield f"{txid} is replaced by one of {conflicts}, stored is {output.replaced_by}"


def _age_differences(
    request: TrackedRequest, row: PaymentRequest, output: Output, chain: ChainState, now: datetime
) -> Iterator[str]:
    """Compare first_seen_at, which never changes and is not before the transaction or the request existed."""
    before = request.seen_at.get((output.txid, output.vout))
    if before is not None and output.first_seen_at != before:
        yield f"{output.txid} was first seen at {before}, now it is {output.first_seen_at}"
    made_at = chain.made_at[output.txid].replace(microsecond=0)
    earliest = row.created_at if output.txid in chain.oddly_timed else max(row.created_at, made_at)
    if not earliest <= output.first_seen_at <= now:
        yield f"{output.txid} was first seen at {output.first_seen_at}, made at {earliest}; it is {now}"


def _presence_differences(
    request: TrackedRequest, row: PaymentRequest, output: Output, chain: ChainState, *, is_live: bool
) -> Iterator[str]:
    """Compare present_since, which begins anew after a gap and passes from an output to its replacement."""
    key, since = (output.txid, output.vout), output.present_since
    was, name = request.since.get(key), f"{output.txid} has been there since"
    kin = {rival for txid in chain.lineage(output.txid) for rival in chain.rivals(txid)} - {output.txid}
    others = outputs_at(row.address_id)
    can_inherit = since in {other.present_since for other in others if other.txid in kin}
    if was is None:
        oldest = _inherited(request, row, output, chain)
        if since != output.first_seen_at and not (since < output.first_seen_at and can_inherit):
            yield f"{name} {since}, first seen at {output.first_seen_at}"
        if oldest is not None and not request.was_closed and since > oldest:
            yield f"{name} {since}, the replaced output since {oldest}"
    elif key in request.live:
        if key in request.steady and since != was:
            yield f"{name} {was} all the time, stored is {since}"
    elif is_live and not request.was_closed and since <= was and not can_inherit:
        yield f"{name} {since}, though it was gone"


def _inherited(
    request: TrackedRequest, row: PaymentRequest, output: Output, chain: ChainState
) -> datetime | None:
    """Return the present_since that a fee bump takes over from the payments it replaces, or None.

    All transactions with the same inputs must be payments to this request that were live at the last
    comparison. The moment is the earliest at which their sum reached the sum of the bump, or covered the
    request.
    """
    rivals = {txid for txid in chain.transactions if chain.are_rivals(txid, output.txid)}
    paid = {(txid, vout): amount_sats for txid, vout, amount_sats in chain.payers[request.script]}
    old = {key for key in request.live if key[0] in rivals}
    if rivals != {txid for txid, _ in old}:
        return None
    added = sum(amount_sats for (txid, _), amount_sats in paid.items() if txid == output.txid)
    for moment in sorted(request.since[key] for key in old):
        sats = sum(paid[key] for key in old if request.since[key] <= moment)
        if sats >= added or sats + row.tolerance_sats >= row.amount_sats:
            return moment
    return None


def _status_differences(
    request: TrackedRequest, row: PaymentRequest, outputs: Iterable[Output], view: View, now: datetime
) -> Iterator[str]:
    wanted = expected_status(
        row.terms,
        [output.received_output for output in outputs],
        tip_height=view.tip.height,
        as_of=now,
        was_confirmed=request.last_known_state.status is Status.CONFIRMED,
    )
    pairs = {
        "status": (wanted.status, row.status),
        "confirmations": (wanted.confirmations, depth(row.covered_height, view.tip.height)),
        "received": (wanted.received_sats, row.received_sats),
        "due": (wanted.due_sats, row.due_sats),
        "overpaid": (wanted.overpaid_sats, row.overpaid_sats),
        "late": (wanted.is_late, row.is_late),
        "closed": (wanted.is_closed, row.closed_at is not None),
        "received at": (wanted.received_at, row.received_at),
        "confirmed at": (wanted.status == "confirmed", row.confirmed_at is not None),
    }
    for name, (true, stored) in pairs.items():
        if true != stored:
            yield f"{row.reference}: {name} is {true}, stored is {stored}"
    if row.txid not in (wanted.txids or {None}):
        yield f"{row.reference}: txid is one of {set(wanted.txids)}, stored is {row.txid}"


def remove_absent(request: TrackedRequest, chain: ChainState, view: View) -> None:
    """Remove from `steady` and `buried` the outputs that bitcoind or its chain does not have now."""
    paid = {(txid, vout) for txid, vout, _ in chain.payers[request.script]}
    in_chain = {outpoint for outpoint in paid if outpoint[0] in view.places}
    request.buried &= in_chain
    request.steady &= in_chain | {outpoint for outpoint in paid if outpoint[0] in view.mempool}


def event_faults(
    request: TrackedRequest, chain: ChainState, view: View, now: datetime, *, is_exact: bool
) -> list[str]:
    """Return the events since the last `settle` that are missing, wrong or in a wrong order.

    An output whose ancestor lost its block is found to be gone after the blocks, so there may be an event
    between the two.
    """
    row = request.row()
    all_events = events_of(row)
    faults = [*_order_faults(all_events), *_false_alarms(request, row, view, now)]
    outputs = outputs_at(row.address_id)
    if is_exact and not any(chain.lost_a_block(output.txid, view) for output in outputs):
        after = assess(
            row.terms,
            [output.received_output for output in outputs],
            tip_height=view.tip.height,
            as_of=now,
            was_confirmed=request.last_known_state.status is Status.CONFIRMED,
        )
        has_unreported_output = _has_unreported_output(outputs, all_events[: request.event_count])
        wanted = [
            event.value
            for event in events_between(
                request.last_known_state, after, has_unreported_output=has_unreported_output
            )
        ]
        events = [event.type for event in all_events[request.event_count :]]
        if events != wanted:
            faults.append(
                f"{row.reference}: events {events}, expected {wanted}; before: {request.last_known_state}"
            )
    return faults


def _false_alarms(request: TrackedRequest, row: PaymentRequest, view: View, now: datetime) -> Iterator[str]:
    """Yield a fault if an event reports a reversal, but the money was live all the time."""
    events = [EventType(event.type) for event in events_of(row)[request.event_count :]]
    if EventType.REVERTED not in events:
        return
    is_confirmed_first = EventType.CONFIRMED in events[: events.index(EventType.REVERTED)]
    was_confirmed = request.last_known_state.status is Status.CONFIRMED or is_confirmed_first
    is_enough = [
        expected_status(
            row.terms,
            [o.received_output for o in outputs_at(row.address_id) if (o.txid, o.vout) in outpoints],
            tip_height=view.tip.height,
            as_of=now,
            was_confirmed=was_confirmed,
        ).status
        in COVERED
        for outpoints in (request.steady, request.buried)
    ]
    was_covered, was_in_chain = is_enough
    if was_covered and (was_in_chain or not was_confirmed):
        yield f"{row.reference}: events {events}, though its money was live all the time"


def _has_unreported_output(outputs: Iterable[Output], events: list[Event]) -> bool:
    """Return whether a live output is missing from the last event's document."""
    parts = [(part["txid"], part["vout"]) for event in events[-1:] for part in event.payload["transactions"]]
    return any(
        output.received_output.is_live and (output.txid, output.vout) not in parts for output in outputs
    )


def is_as_old(output: Output, replaced: Output) -> bool:
    """Return whether an output has inherited the age of the output that it replaced.

    The mempool's time is in whole seconds. An output that the feed did not bring may seem that much older.
    """
    difference: timedelta = replaced.present_since - output.present_since
    return timedelta(0) <= difference < timedelta(seconds=1)


def keep_state(request: TrackedRequest, chain: ChainState, view: View) -> None:
    """Keep the stored state, from which the next `settle` compares."""
    row = request.row()
    request.last_known_state = row.last_known_state
    request.event_count = len(events_of(row))
    request.was_closed |= row.closed_at is not None
    request.seen_at = {(o.txid, o.vout): o.first_seen_at for o in outputs_at(row.address_id)}
    request.since = {(o.txid, o.vout): o.present_since for o in outputs_at(row.address_id)}
    request.steady, request.buried = set(request.seen_at), set(request.seen_at)
    remove_absent(request, chain, view)
    request.live = set(request.steady)


@dataclass(slots=True)
class _EventState:
    """The state of a request according to its events."""

    is_covered: bool = False
    is_confirmed: bool = False
    is_expired: bool = False
    revision: int = 0

    def can_follow(self, event: Event) -> bool:
        """Return whether `event` can follow the earlier events, as a reversal follows only a payment."""
        kind, status, document = EventType(event.type), event.payload["status"], event.payload
        is_deep = document["confirmations"] >= document["confirmations_required"]
        rules = {
            EventType.RECEIVED: not self.is_covered and status in COVERED,
            EventType.CONFIRMED: self.is_covered
            and not self.is_confirmed
            and status == "confirmed"
            and is_deep,
            EventType.REVERTED: self.is_covered and status != "confirmed",
            EventType.EXPIRED: not self.is_expired and status == "expired",
            EventType.UNDERPAID: not self.is_covered and status == "underpaid",
            EventType.LATE: document["late"],
        }
        return event.revision >= self.revision and bool(rules.get(kind, True))

    def apply(self, event: Event) -> None:
        kind = EventType(event.type)
        self.revision = event.revision
        self.is_expired = kind is EventType.EXPIRED or (self.is_expired and kind is not EventType.RECEIVED)
        if kind is EventType.REVERTED:
            self.is_covered, self.is_confirmed = event.payload["status"] in COVERED, False
        self.is_covered |= kind is EventType.RECEIVED
        self.is_confirmed |= kind is EventType.CONFIRMED


def _order_faults(events: list[Event]) -> Iterator[str]:
    state = _EventState()
    for event in events:
        if not state.can_follow(event):
            yield f"{event.type} at revision {event.revision}, {event.payload['status']}, after {state}"
        state.apply(event)


def email_faults(request: TrackedRequest, taken: list[str], mail_from: str) -> list[str]:
    """Return the events whose email is missing, or was stored or delivered more than once."""
    events = events_of(request.row())
    messages: list[Message] = messages_of(events)
    faults = []
    for event in events:
        count = sum(message.event_id == event.id for message in messages)
        sent = taken.count(message_id(event.reference, mail_from))
        wanted = int(should_email_operator(EventType(event.type), event.payload))
        if not count == sent == wanted:
            faults.append(f"{event.type}: {wanted} emails expected, {count} stored, {sent} sent")
    return faults
