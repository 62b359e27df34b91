"""The changes of single-use links when their requests are assessed: paid, or no longer paid."""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import datetime

from config import Settings
from models.command import add_cancellation
from models.daemon_status import known_network
from models.link import Link, lock_links, mark_paid
from models.outbox import add_email, add_event, add_webhook_message
from models.payment import PaymentRequest
from models.queries.late_requests import late_requests
from models.queries.links import (
    link_facts,
    part_facts,
    single_use_links,
    waiting_requests,
)
from models.webhook import STANDARD, webhooks_for
from payments.link import LinkEvent, PartFacts, asks_too_much, balance, is_paid, link_event
from payments.link_document import LinkDocument
from payments.notifications import should_email_operator


@dataclass(frozen=True, slots=True)
class LinkChange:
    """A link that became paid or is no longer paid, and the request whose assessment changed it."""

    link: Link
    payment: PaymentRequest
    event: LinkEvent
    document: LinkDocument
    late_text: str | None


def store_link_changes(
    payments: Sequence[PaymentRequest],
    moved: Set[int],
    tip_height: int,
    now: datetime,
    settings: Settings,
) -> list[LinkChange]:
    """Store the changes of these requests' links, with events and messages. Return the changes.

    `moved` has the ids of the requests for which another sum counts than before. An event of a link belongs
    to the last of them, or else to the last of these requests with money. Must run in the transaction that
    stored the assessments.
    """
    in_order = sorted(payments, key=lambda payment: (payment.id in moved, bool(payment.counted_sats)))
    latest = {payment.link_id: payment for payment in in_order if payment.link_id is not None}
    links = single_use_links([*latest])
    if any(latest[link.id].id in moved for link in links):
        # A press of "Pay" that makes a request now either sees the new money, or its request is seen here. A
        # close of a link also takes the lock before it changes a link, so the two cannot wait for each other.
        lock_links()
    changes = []
    for link in links:
        facts, payment = part_facts(link), latest[link.id]
        if payment.id in moved:
            _cancel_excessive_requests(link, facts, now)
        change = _change(link, facts, payment, tip_height, now, settings)
        if change is not None:
            changes.append(change)
    webhooks = webhooks_for({change.link.seller_id for change in changes}, STANDARD) if changes else {}
    for change in changes:
        event_id = add_event(change.payment, change.event, change.document, now, change.late_text)
        if should_email_operator(change.event, change.document):
            add_email(event_id, change.payment.id, settings.operator_email, now)
        for webhook in webhooks.get(change.link.seller_id, ()):
            add_webhook_message(event_id, change.event.value, change.payment.id, webhook, now)
    return changes


def _cancel_excessive_requests(link: Link, facts: Sequence[PartFacts], now: datetime) -> None:
    """Cancel the requests that ask for more money than the link still needs.

    Late money of an earlier request may count meanwhile, for example because it was accepted.
    """
    found = balance(link.amount, link.currency, [each.all() for each in facts], is_reusable=False)
    for payment in waiting_requests(link):
        if asks_too_much(payment.link_part, found):
            add_cancellation(payment, now)


def _change(
    link: Link,
    facts: Sequence[PartFacts],
    payment: PaymentRequest,
    tip_height: int,
    now: datetime,
    settings: Settings,
) -> LinkChange | None:
    """Compute whether a link is paid. Store the change, or return None without a change."""
    was_paid = link.paid_at is not None
    is_paid_now = is_paid(link.amount, link.currency, facts, tip_height=tip_height, was_paid=was_paid)
    event = link_event(was_paid=was_paid, is_paid=is_paid_now)
    if event is None:
        return None
    mark_paid(link, now if is_paid_now else None)
    document = link_facts(link).document(now, network=known_network(), public_url=settings.public_url)
    return LinkChange(link, payment, event, document, _late_text(link, now, settings))


def _late_text(link: Link, now: datetime, settings: Settings) -> str | None:
    """Return a line on each request with late money, or None.

    The event stores it, so that each attempt sends the same email.
    """
    late = late_requests(link, now, settings.rate_max_age, settings.rate_spread)
    when = f"on {now:%Y-%m-%d} at {now:%H:%M} UTC"
    return "\n".join(f"{each.reference}: {each.sentences(when)}" for each in late) or None
