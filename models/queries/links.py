"""Queries about the requests of payment links: their money, and the requests that wait for money."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from models.db.connection import (
    chunked,
    execute,
    fetch_all,
    statement,
)
from models.link import OPEN, Link, links_by_id
from models.output import outputs_by_address
from models.payment import PaymentRequest
from payments.link import (
    MAX_WAITING,
    LinkBalance,
    LinkStatus,
    PartFacts,
    balance,
    late_sats,
    link_status,
)
from payments.link_document import LinkDocument, link_document
from payments.money import from_units
from payments.status import Status

MAX_LISTED_PAYMENTS = 20

# Each condition has that of a partial index of PaymentRequest.
_WITH_MONEY = "link_id = ? AND received_sats > 0"
_WAITING = "link_id = ? AND status = 'new'"
_ALL = "link_id = ? AND id > 0"


@dataclass(frozen=True, slots=True)
class LinkFacts:
    """A link with the money of its requests.

    `is_closed` includes a link whose seller is removed. `payments` are its newest requests to which money
    came, at most MAX_LISTED_PAYMENTS. `payment_count` is the number of all such requests. `late_sats` is the
    money that came too late and waits for a decision.
    """

    link: Link
    is_closed: bool
    balance: LinkBalance
    payments: tuple[PaymentRequest, ...]
    payment_count: int
    late_sats: int

    def status(self, now: datetime) -> LinkStatus:
        return link_status(
            is_covered=self.balance.is_covered,
            is_paid=self.link.paid_at is not None,
            is_closed=self.is_closed,
            due_at=None if self.link.is_reusable else self.link.due_at,
            now=now,
        )

    def document(self, now: datetime, *, network: str | None, public_url: str) -> LinkDocument:
        return link_document(
            self.link,
            self.balance,
            self.payments,
            status=self.status(now),
            payment_count=self.payment_count,
            late_sats=self.late_sats,
            network=network,
            public_url=public_url,
        )


def link_facts(link: Link) -> LinkFacts:
    """Return the link with the money of its requests. Must run in the snapshot that read the link."""
    return _reusable_facts(link) if link.is_reusable else _single_use_facts(link)


def _single_use_facts(link: Link) -> LinkFacts:
    rows = requests_with_money(link)
    parts = [row.link_part for row in rows]
    found = balance(link.amount, link.currency, parts, is_reusable=False)
    newest = tuple(rows[::-1][:MAX_LISTED_PAYMENTS])
    return LinkFacts(link, _is_closed(link), found, newest, len(rows), sum(map(late_sats_of, rows)))


def _reusable_facts(link: Link) -> LinkFacts:
    query = statement(
        "SELECT count(*), sum(link_units) FROM payment_request WHERE {where}", where=_WITH_MONEY
    )
    count, units = execute(query, link.id).fetchone()
    paid = from_units(int(units or 0), link.currency)
    newest = requests_with_money(link, MAX_LISTED_PAYMENTS)
    found = LinkBalance(paid, None, is_covered=False)
    return LinkFacts(link, _is_closed(link), found, tuple(newest), int(count), sum(map(late_sats_of, newest)))


def _is_closed(link: Link) -> bool:
    if link.closed_at is not None:
        return True
    query = "SELECT 1 FROM seller WHERE id = ? AND removed_at IS NOT NULL"
    return execute(query, link.seller_id).fetchone() is not None


def requests_with_money(link: Link, newest: int | None = None) -> list[PaymentRequest]:
    """Return the link's requests to which money came, oldest first.

    With `newest`, return only that many of the newest requests, newest first.
    """
    query = statement("SELECT * FROM payment_request WHERE {where} ORDER BY id", where=_WITH_MONEY)
    if newest is None:
        return fetch_all(PaymentRequest, query, link.id)
    return fetch_all(PaymentRequest, f"{query} DESC LIMIT ?", link.id, newest)


def requests_with_late_money(link: Link) -> list[PaymentRequest]:
    """Return the link's requests with late money about which nobody has decided, oldest first.

    For a reusable link, read only its newest requests.
    """
    newest = MAX_LISTED_PAYMENTS if link.is_reusable else None
    rows = requests_with_money(link, newest)
    return [row for row in (rows[::-1] if link.is_reusable else rows) if late_sats_of(row)]


def late_sats_of(payment: PaymentRequest) -> int:
    """Return the money of a request that came too late and waits for a decision."""
    counted = payment.counted_sats or 0
    return late_sats(Status(payment.status), payment.received_sats, counted, payment.acknowledged_sats)


def part_facts(link: Link) -> list[PartFacts]:
    """Return the requests of a single-use link to which money came, with all their outputs, oldest first."""
    rows = requests_with_money(link)
    outputs = outputs_by_address([row.address_id for row in rows])
    return [
        PartFacts(
            Decimal(row.amount_fiat),
            row.currency,
            Decimal(row.price),
            row.terms,
            tuple(output.received_output for output in outputs.get(row.address_id, ())),
            is_confirmed=row.status == Status.CONFIRMED,
            chosen_before=row.chosen_before,
        )
        for row in rows
    ]


def addresses_of_parts_beside(address_ids: Iterable[int]) -> set[int]:
    """Return the addresses with money whose requests count together with the requests at these addresses.

    All requests of one single-use link count together.
    """
    query = """SELECT p.address_id FROM payment_request p WHERE p.received_sats > 0 AND p.link_id IN (
        SELECT l.id FROM payment_request q JOIN link l ON l.id = q.link_id
        WHERE q.address_id IN ? AND NOT l.is_reusable)"""
    return {address_id for batch in chunked(address_ids) for (address_id,) in execute(query, batch)}


def txids_beside_new_money(txids: Iterable[str]) -> set[str]:
    """Return those of the transactions whose money counts together with new money.

    Their request has new money, or another request of its single-use link has. The live outputs of a request
    with new money are worth more than its last assessment counted.
    """
    query = statement(
        """WITH paid AS (
            SELECT o.txid, p.id, CASE WHEN l.is_reusable THEN NULL ELSE l.id END AS link_id FROM output o
            JOIN payment_request p ON p.address_id = o.address_id LEFT JOIN link l ON l.id = p.link_id
            WHERE o.txid IN ?
        )
        SELECT paid.txid FROM paid JOIN payment_request r ON r.id = paid.id WHERE {has_new}
        UNION
        SELECT paid.txid FROM paid JOIN payment_request r ON r.link_id = paid.link_id WHERE {has_new}
            AND r.id > 0""",
        has_new="""r.received_sats < (SELECT sum(n.amount_sats) FROM output n
            WHERE n.address_id = r.address_id AND n.state IN ('mempool', 'mined'))""",
    )
    return {txid for batch in chunked(txids) for (txid,) in execute(query, batch)}


def newest_requests(link: Link, limit: int) -> list[PaymentRequest]:
    """Return the link's newest requests, the newest first."""
    query = statement("SELECT * FROM payment_request WHERE {where} ORDER BY id DESC LIMIT ?", where=_ALL)
    return fetch_all(PaymentRequest, query, link.id, limit)


def waiting_requests(link: Link) -> list[PaymentRequest]:
    """Return the link's requests to which nothing came and that have not expired, the oldest first.

    There are at most MAX_WAITING.
    """
    query = statement(
        "SELECT * FROM payment_request WHERE {where} ORDER BY expires_at LIMIT ?", where=_WAITING
    )
    return fetch_all(PaymentRequest, query, link.id, MAX_WAITING)


def newest_times(link: Link, limit: int) -> list[datetime]:
    """Return the times at which the link's newest requests were made, the newest first."""
    query = statement(
        "SELECT created_at FROM payment_request WHERE {where} ORDER BY id DESC LIMIT ?", where=_ALL
    )
    rows = execute(query, link.id, limit).fetchall()
    times = (PaymentRequest.created_at.python_value(created_at) for (created_at,) in rows)
    return [time for time in times if time is not None]


def link_references(payments: Sequence[PaymentRequest]) -> dict[int, str]:
    """Return the public ids of the links of these requests, by the id of the link's row."""
    ids = {payment.link_id for payment in payments if payment.link_id is not None}
    return {link_id: link.reference for link_id, link in links_by_id(ids).items()} if ids else {}


def open_link_counts() -> dict[bool, int]:
    """Return the number of links that are neither closed nor paid, by `is_reusable`."""
    query = statement("SELECT is_reusable, count(*) FROM link WHERE {open} GROUP BY is_reusable", open=OPEN)
    counts = {bool(is_reusable): int(count) for is_reusable, count in execute(query).fetchall()}
    return {False: 0, True: 0} | counts


def created_link_count() -> int:
    """Return the number of links that were ever created, which is the newest link's row id."""
    (newest,) = execute("SELECT MAX(id) FROM link").fetchone()
    return int(newest or 0)


def single_use_links(link_ids: Sequence[int]) -> list[Link]:
    """Return the single-use links among these, in the order of their ids."""
    found: list[Link] = []
    for batch in chunked(link_ids):
        query = "SELECT * FROM link WHERE id IN ? AND NOT is_reusable ORDER BY id"
        found += fetch_all(Link, query, batch)
    return found
