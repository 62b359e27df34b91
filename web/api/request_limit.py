"""Limits on the requests of one seller. A stolen key or a loop in a shop then harms no other seller."""

from datetime import datetime, timedelta
from http import HTTPStatus

from config import Settings
from models.queries.request_counts import open_requests, requests_since
from web.http.responses import Problem

_MINUTE = timedelta(minutes=1)


def check_request_limits(settings: Settings, now: datetime, seller_id: str) -> None:
    """Raise Problem 429 if this seller has too many open requests, or created too many within a minute."""
    most_open, most_made = settings.max_open_requests, settings.max_requests_per_minute
    if most_made and requests_since(seller_id, now - _MINUTE, most_made) >= most_made:
        raise _too_many(f"a seller may make {most_made} requests within a minute (MAX_REQUESTS_PER_MINUTE)")
    if most_open and open_requests(seller_id, most_open) >= most_open:
        raise _too_many(f"a seller may have {most_open} open requests at a time (MAX_OPEN_REQUESTS)")


def _too_many(rule: str) -> Problem:
    headers = {"Retry-After": str(int(_MINUTE.total_seconds()))}
    detail = f"{rule}; nothing was used up, try again later"
    return Problem(HTTPStatus.TOO_MANY_REQUESTS, "too-many-requests", detail, headers=headers)
