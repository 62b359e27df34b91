"""Limits on searches, so that one seller's searches do not slow down the others."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from threading import Lock

from models.queries.time_limit import QueryTooLong, limited_snapshot
from web.http.responses import Problem, unavailable

SELLER_SECONDS, OPERATOR_SECONDS = 3.0, 15.0
_RETRY_SECONDS = 1

_lock = Lock()
_searching: set[str] = set()


@contextmanager
def seller_search(seller_id: str) -> Iterator[None]:
    """Run a seller's search. A seller may run one search at a time. Raise Problem 429 or 503."""
    with _lock:
        if seller_id in _searching:
            raise _too_many()
        _searching.add(seller_id)
    try:
        with bounded_reading(SELLER_SECONDS):
            yield
    finally:
        with _lock:
            _searching.discard(seller_id)


@contextmanager
def bounded_reading(seconds: float) -> Iterator[None]:
    """Read in one transaction with a time limit. Raise Problem 503 after `seconds`."""
    try:
        with limited_snapshot(seconds):
            yield
    except QueryTooLong as error:
        detail = "this search takes too long; narrow it by time, status or currency, or try again later"
        raise unavailable("search-too-long", detail) from error


def _too_many() -> Problem:
    detail = "another search of this seller is still running; try again when it has ended"
    headers = {"Retry-After": str(_RETRY_SECONDS)}
    return Problem(HTTPStatus.TOO_MANY_REQUESTS, "too-many-requests", detail, headers=headers)
