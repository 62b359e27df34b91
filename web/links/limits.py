"""Limits on the requests of payment links, so that nobody can use up the addresses of the sellers."""

from datetime import datetime, timedelta
from http import HTTPStatus
from math import ceil

from config import Settings
from models.address import free_count_for
from models.link import Link
from models.queries.links import newest_times, waiting_requests
from models.queries.request_counts import open_requests, requests_since
from payments.link import MAX_WAITING
from web.http.responses import Problem, unavailable

MAX_A_MINUTE = 10
"""The maximum number of requests that a reusable link makes in a minute."""

_MINUTE = timedelta(minutes=1)
_MIN_WAIT = timedelta(seconds=5)
_REFILL_SECONDS = 30


def check_link_limits(link: Link, settings: Settings, now: datetime) -> None:
    """Raise Problem 429 or 503 if this link may make no request now.

    A single-use link has one request at a time, so it needs no limit of its own.
    """
    if link.is_reusable:
        _check_reusable(link, now)
    _check_seller(link.seller_id, settings, now)
    # The other half of the addresses is for the sellers' own calls.
    reserved = settings.address_pool // 2
    if free_count_for(link.seller_id, reserved + 1) <= reserved:
        detail = "the free addresses are reserved for the sellers now; nothing was used up, try again"
        raise unavailable("no-address", detail, _REFILL_SECONDS)


def _check_reusable(link: Link, now: datetime) -> None:
    times = newest_times(link, MAX_A_MINUTE)
    if len(times) == MAX_A_MINUTE and times[-1] > now - _MINUTE:
        raise _too_many(f"a link makes {MAX_A_MINUTE} requests within a minute", times[-1] + _MINUTE - now)
    waiting = waiting_requests(link)
    if len(waiting) == MAX_WAITING:
        raise _too_many(f"{MAX_WAITING} requests of this link wait for money", waiting[0].expires_at - now)


def _check_seller(seller_id: str, settings: Settings, now: datetime) -> None:
    """Raise Problem 429 at half of the seller's limits. The rest is for the seller's own calls."""
    most_open, most_made = (
        (limit + 1) // 2 for limit in (settings.max_open_requests, settings.max_requests_per_minute)
    )
    if most_made and requests_since(seller_id, now - _MINUTE, most_made) >= most_made:
        raise _too_many("the seller makes many requests at the moment", _MINUTE)
    if most_open and open_requests(seller_id, most_open) >= most_open:
        raise _too_many("the seller has many open requests", _MINUTE)


def _too_many(rule: str, wait: timedelta) -> Problem:
    seconds = ceil(max(wait, _MIN_WAIT).total_seconds())
    detail = f"{rule}; nothing was used up, try again later"
    headers = {"Retry-After": str(seconds)}
    return Problem(HTTPStatus.TOO_MANY_REQUESTS, "too-many-requests", detail, headers=headers)
