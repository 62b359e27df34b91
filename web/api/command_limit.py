"""Limit on the commands of one seller that wait for the daemon."""

from http import HTTPStatus

from models.command import pending_count
from web.http.responses import RETRY_AFTER_SECONDS, Problem

MAX_PENDING = 100


def check_command_limit(seller_id: str) -> None:
    """Raise Problem 429 if MAX_PENDING commands of this seller already wait."""
    if pending_count(seller_id, MAX_PENDING) >= MAX_PENDING:
        detail = f"{MAX_PENDING} requests of this seller wait for the daemon already; try again later"
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "too-many-requests", detail, headers=headers)
