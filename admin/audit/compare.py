"""The comparison of one stored request with bitcoind's data."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from admin.audit.node import FoundOutput, NodeReader, NodeState, WalletPayment
from admin.audit.stored import StoredPayment, Unrequested
from models.output import MEMPOOL, MINED, REPLACED, Output
from models.payment import ANY_HEIGHT
from payments.notifications import read_event_type, should_email_operator
from payments.status import EventType, ReceivedOutput, Status, assess

BLOCK_CLOCK = timedelta(hours=2)
"""The most that a block's time may be ahead: MAX_FUTURE_BLOCK_TIME of Bitcoin Core's chain.h."""
FEED_DELAY = timedelta(minutes=2)
"""The longest time between a payment's entry into the mempool and its arrival over the feed."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A stored fact that differs from bitcoind's. `payment` is None where the fact belongs to no request.

    The text has no part that changes by itself, so two comparisons can find the same difference.
    """

    payment: str | None
    text: str

    def __str__(self) -> str:
        return f"{self.payment}: {self.text}" if self.payment else self.text


@dataclass(slots=True)
class Auditor:
    """Compares stored requests with one state of bitcoind. `not_checked` collects what could not be read."""

    node: NodeReader
    node_state: NodeState
    now: datetime
    not_checked: set[str] = field(default_factory=set)

    def differences(self, entry: StoredPayment) -> Iterator[Difference]:
        """Yield all differences of one request."""
        texts = (*self._of_outputs(entry), *self._of_status(entry), *_of_events(entry))
        return (Difference(entry.payment.reference, text) for text in texts)

    def _of_outputs(self, entry: StoredPayment) -> Iterator[str]:
        # An older version stored outputs of 0 satoshis too.
        stored = {(output.txid, output.vout): output for output in entry.outputs if output.amount_sats}
        for found in self._found(entry).values():
            output = stored.pop((found.txid, found.vout), None)
            name = f"{found.txid}:{found.vout}"
            if output is None:
                yield f"output {name} of {found.amount_sats} sats is {_where(found)}, and is not stored"
                continue
            if output.amount_sats != found.amount_sats:
                yield f"output {name} has {found.amount_sats} sats, the database has {output.amount_sats}"
            if _stored_where(output) != _where(found):
                yield f"output {name} is {_where(found)}, but is stored as {_stored_where(output)}"
            yield from self._of_age(entry, output, found)
        for output in stored.values():
            yield from self._of_absent(output)

    def _of_age(self, entry: StoredPayment, output: Output, found: FoundOutput) -> Iterator[str]:
        name, seen_at = f"output {output.txid}:{output.vout}", output.first_seen_at
        slack = BLOCK_CLOCK if found.block else FEED_DELAY
        if seen_at > min(found.seen_at + slack, self.now):
            yield (
                f"{name} was first seen by {_time_text(found.seen_at)}, "
                f"the database has {_time_text(seen_at)}"
            )
        if seen_at < entry.payment.created_at - BLOCK_CLOCK:
            yield f"{name} is stored as first seen at {_time_text(seen_at)}, before its request was made"
        if output.is_coinbase != found.is_coinbase:
            kind = "a coinbase output" if found.is_coinbase else "no coinbase output"
            yield f"{name} is {kind}, the database has the contrary"

    def _of_absent(self, output: Output) -> Iterator[str]:
        """Yield the difference of a stored output that bitcoind does not have."""
        name = f"output {output.txid}:{output.vout}"
        if output.state == MINED:
            if self._is_out_of_sight(output):
                self.not_checked.add(f"{name}: block {output.block_height} is pruned")
            else:
                yield f"{name} is not in the chain, but is stored as {_stored_where(output)}"
        elif output.state == MEMPOOL:
            yield f"{name} is not in the mempool, but is stored as {_stored_where(output)}"
        elif output.state == REPLACED and not self._is_there(str(output.replaced_by), output.replaced_in):
            yield f"{name} is stored as replaced by {output.replaced_by}, which bitcoind does not have"

    def _is_out_of_sight(self, output: Output) -> bool:
        """Return whether the output's block is in the active chain and bitcoind has pruned it."""
        block_hash = str(output.block_hash)
        is_pruned = output.block_height in self.node_state.pruned or (
            (output.block_height or 0) < self.node_state.first_height
            and self.node.txids_in(block_hash) is None
        )
        return is_pruned and self.node.is_in_chain(block_hash)

    def _is_there(self, txid: str, block_hash: str | None) -> bool:
        if block_hash is None:
            return txid in self.node_state.mempool
        txids = self.node.txids_in(block_hash)
        return self.node.is_in_chain(block_hash) and (txids is None or txid in txids)

    def _of_status(self, entry: StoredPayment) -> Iterator[str]:
        payment = entry.payment
        true = assess(
            payment.terms,
            [*self._receipts(entry)],
            tip_height=self.node_state.height,
            as_of=self.now,
            was_confirmed=_Reported(entry).is_confirmed,
        )
        pairs: dict[str, tuple[object, object]] = {
            "the status": (true.status.value, payment.status),
            "the height of cover": (true.covered_height, payment.covered_height),
            "the depth required": (
                true.confirmations_required,
                payment.required_depth or payment.confirmations_required,
            ),
            "received_sats": (true.received_sats, payment.received_sats),
            "due_sats": (true.due_sats, payment.due_sats),
            "overpaid_sats": (true.overpaid_sats, payment.overpaid_sats),
            "late": (true.is_late, bool(payment.is_late)),
            "the txid": (true.txid, payment.txid),
            "received_at": (true.received_at, payment.received_at),
            "closed": (true.is_closed, False),
            "the next height to look": (true.reassess_at_height, _unless_due(payment.reassess_at_height)),
            "the next time to look": (true.reassess_at, payment.reassess_at),
        }
        if payment.link_id is not None and payment.counted_sats is not None:
            pairs["counted_sats"] = (true.counted_sats, payment.counted_sats)
        for name, (is_true, is_stored) in pairs.items():
            if is_true != is_stored:
                yield f"{name} is {_text(is_true)}, the database has {_text(is_stored)}"

    def _receipts(self, entry: StoredPayment) -> Iterator[ReceivedOutput]:
        """Yield bitcoind's outputs. The first-seen time of a stored output comes from the database."""
        stored = {(output.txid, output.vout): output for output in entry.outputs}
        for (txid, vout), found in self._found(entry).items():
            output = stored.pop((txid, vout), None)
            seen_at = output.first_seen_at if output else min(found.seen_at, self.now)
            height = found.block.height if found.block else None
            since = output.present_since if output else seen_at
            yield ReceivedOutput(
                txid, vout, found.amount_sats, seen_at, since, height, is_coinbase=found.is_coinbase
            )
        for output in stored.values():
            if output.state == MINED and self._is_out_of_sight(output):
                yield output.received_output

    def _found(self, entry: StoredPayment) -> dict[tuple[str, int], FoundOutput]:
        found = self.node_state.found.get(entry.payment.address.script, ())
        return {(each.txid, each.vout): each for each in found}


def unrequested_differences(
    row: Unrequested, payments: Sequence[WalletPayment], mempool: Collection[str]
) -> Iterator[Difference]:
    """Yield the money at an address that has no request, and each output of it that is not stored."""
    live = [each for each in payments if each.height is not None or each.txid in mempool]
    stored = {(output.txid, output.vout) for output in row.outputs}
    received = {(each.txid, each.vout): each.amount_sats for each in live}
    received |= {(o.txid, o.vout): o.amount_sats for o in row.outputs if o.state in (MEMPOOL, MINED)}
    if received:
        names = ", ".join(f"{txid}:{vout}" for txid, vout in sorted(received))
        yield Difference(
            None,
            f"address {row.address.address} belongs to no request, and {sum(received.values())} sats came to "
            f"it ({names}): its request may be lost with a restored database",
        )
    for each in live:
        if (each.txid, each.vout) not in stored:
            where = "in the mempool" if each.height is None else f"in block {each.height}"
            text = f"output {each.txid}:{each.vout} of {each.amount_sats} sats is {where}, and is not stored"
            yield Difference(None, text)


class _Reported:
    """The state of a request that its events have reported, taken in their order."""

    def __init__(self, entry: StoredPayment) -> None:
        self.is_covered = self.is_confirmed = self.is_expired = self.has_late_money = False
        for event in entry.events:
            kind = read_event_type(event.type)
            if kind is EventType.RECEIVED:
                self.is_covered, self.is_expired = True, False
            elif kind is EventType.CONFIRMED:
                self.is_confirmed = True
            elif kind is EventType.REVERTED:
                self.is_covered, self.is_confirmed = Status(event.payload["status"]).is_covered, False
            elif kind is EventType.EXPIRED:
                self.is_expired = True
            # The event for late money to a closed request is EXTRA.
            self.has_late_money |= kind in (EventType.LATE, EventType.EXTRA)


def _of_events(entry: StoredPayment) -> Iterator[str]:
    payment, reported = entry.payment, _Reported(entry)
    status = Status(payment.status)
    missing = {
        EventType.RECEIVED: status.is_covered and not reported.is_covered,
        EventType.CONFIRMED: status is Status.CONFIRMED and not reported.is_confirmed,
        EventType.EXPIRED: status is Status.EXPIRED and not reported.is_expired,
        EventType.LATE: bool(payment.is_late) and not reported.has_late_money,
        EventType.REVERTED: (reported.is_covered and not status.is_covered)
        or (reported.is_confirmed and status is not Status.CONFIRMED),
        EventType.UNDERPAID: status is Status.UNDERPAID
        and not any(event.type == EventType.UNDERPAID.value for event in entry.events),
    }
    yield from (f"event {kind.value} is missing" for kind, is_missing in missing.items() if is_missing)
    for event in entry.events:
        if event.id not in entry.mailed_ids and should_email_operator(
            read_event_type(event.type), event.payload
        ):
            yield f"event {event.type} {event.reference} has no email"


def _where(found: FoundOutput) -> str:
    return f"in block {found.block.height} ({found.block.block_hash})" if found.block else "in the mempool"


def _stored_where(output: Output) -> str:
    if output.state == MINED:
        return f"in block {output.block_height} ({output.block_hash})"
    return "in the mempool" if output.state == MEMPOOL else str(output.state)


def _unless_due(reassess_at_height: int | None) -> int | str | None:
    return "waiting for the daemon" if reassess_at_height == ANY_HEIGHT else reassess_at_height


def _text(value: object) -> str:
    return _time_text(value) if isinstance(value, datetime) else "none" if value is None else str(value)


def _time_text(time: datetime) -> str:
    return time.isoformat(timespec="microseconds")
