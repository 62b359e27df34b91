"""Limit on the commands of one seller that wait for the daemon."""

from http import HTTPStatus

from models.command import pending_count
from web.http.responses import RETRY_AFTER_SECONDS, Problem

MOST_PENDING = 100


def check_room(seller_id: str) -> None:
    """Raise Problem 429 if MOST_PENDING commands of this seller already wait."""
    if pending_count(seller_id, MOST_PENDING) >= MOST_PENDING:
        detail = f"{MOST_PENDING} requests of this seller wait for the daemon already; try again later"
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "too-many-requests", detail, headers=headers)
