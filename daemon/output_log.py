"""Log lines about outputs, written after the commit of the database transaction that changes them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import local
from typing import Any

import structlog

from models.address import references_for

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Line:
    event: str
    address_id: int
    facts: dict[str, Any]


class _Pending(local):
    """Lines that wait for a commit. Each thread has its own lines, like its own transaction."""

    def __init__(self) -> None:
        self.lines: list[_Line] = []


_pending = _Pending()


def log_output(event: str, address_id: int, **facts: Any) -> None:
    """Log an event of an output to this address after the commit. Call this inside a transaction."""
    _pending.lines.append(_Line(event, address_id, facts))


@contextmanager
def lines_after_commit() -> Iterator[None]:
    """Log the lines of the database transaction inside. A transaction that fails logs nothing."""
    _pending.lines = []
    yield
    lines, _pending.lines = _pending.lines, []
    if lines:
        _write(lines)


def _write(lines: list[_Line]) -> None:
    known = references_for({line.address_id for line in lines})
    for line in lines:
        address, payment = known[line.address_id]
        # The address has no request. Its request may be missing from a restored backup.
        write = log.info if payment is not None else log.warning
        write(line.event, payment=payment, address=address, **line.facts)
