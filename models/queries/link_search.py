"""The search for payment links: their lists for a seller and for the operator."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import reduce
from operator import and_
from typing import Any

from peewee import SQL

from models.db.connection import database
from models.link import Link
from models.queries.payment_search import LETTERS_OF_IDS, contains
from models.seller import Seller


class LinkState(StrEnum):
    """A state that can be searched for, because the table of links alone shows it.

    An unpaid or overdue link is neither paid nor closed. Its whole amount may have come, but unconfirmed.
    """

    UNPAID = "unpaid"
    OVERDUE = "overdue"
    PAID = "paid"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSearch:
    """The filters of a list. A link has to match all of them, and None matches any link.

    `text` is an id or its beginning, or a part of a title, an order id or a note.
    """

    seller_id: str | None = None
    state: LinkState | None = None
    text: str | None = None


def newest_links(search: LinkSearch, now: datetime, limit: int, older_than: Link | None = None) -> list[Link]:
    """Return the matching links, newest first, after this one."""
    query = Link.select().where(_is_match(search, now)).order_by(Link.id.desc()).limit(limit)
    return list(query if older_than is None else query.where(Link.id < older_than.id))


def link_count(search: LinkSearch, now: datetime, limit: int | None = None) -> int:
    """Return the number of matching links, at most `limit`."""
    return int(Link.select(Link.id).where(_is_match(search, now)).limit(limit).count(database))


def _is_match(search: LinkSearch, now: datetime) -> Any:
    conditions = []
    if search.seller_id is not None:
        conditions.append(Link.seller == search.seller_id)
    if search.state is not None:
        conditions.append(_has_state(search.state, now))
    if search.text is not None:
        conditions.append(_has_text(search.text))
    return reduce(and_, conditions, SQL("TRUE"))


def _has_state(state: LinkState, now: datetime) -> Any:
    of_removed_seller = Link.seller.in_(Seller.select(Seller.id).where(Seller.removed_at.is_null(False)))
    is_closed = Link.closed_at.is_null(False) | of_removed_seller
    is_unpaid = ~is_closed & Link.paid_at.is_null()
    match state:
        case LinkState.UNPAID:
            return is_unpaid
        case LinkState.OVERDUE:
            return is_unpaid & (Link.due_at < now)
        case LinkState.PAID:
            return Link.paid_at.is_null(False)
        case LinkState.CLOSED:
            return is_closed & Link.paid_at.is_null()


def _has_text(text: str) -> Any:
    condition = contains(text, Link.title, Link.order_id, Link.note)
    if LETTERS_OF_IDS.fullmatch(text) and "LK-".startswith(text[:3].upper()):
        condition |= Link.reference.startswith(text)
    return condition
