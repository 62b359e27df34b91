"""Limit how many commands of one seller wait for the daemon."""

from http import HTTPStatus

from models.command import Hint
from models.payment import PaymentRequest
from web.http.responses import RETRY_AFTER_SECONDS, Problem

MOST_PENDING = 100


def check_room(seller_id: str) -> None:
    """One seller can't keep the daemon busy for all: Problem 429 while a hundred wishes wait."""
    waiting = Hint.select().join(PaymentRequest).where(PaymentRequest.seller == seller_id).count()
    if waiting >= MOST_PENDING:
        detail = f"{waiting} requests of this seller wait for the daemon already; try again later"
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "too-many-requests", detail, headers=headers)
