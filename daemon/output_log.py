"""What a database transaction changes of outputs, told to the log: once it is committed, else not at all."""

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
    what: str
    address_id: int
    facts: dict[str, Any]


class _Untold(local):
    """Of each thread its own, as its database transaction is."""

    def __init__(self) -> None:
        self.lines: list[_Line] = []


_untold = _Untold()


def tell(what: str, address_id: int, **facts: Any) -> None:
    """A line about an output to this address. Only inside a transaction."""
    _untold.lines.append(_Line(what, address_id, facts))


@contextmanager
def told_when_done() -> Iterator[None]:
    """Around a database transaction."""
    _untold.lines = []
    yield
    lines, _untold.lines = _untold.lines, []
    if lines:
        _write(lines)


def _write(lines: list[_Line]) -> None:
    known = references_for({line.address_id for line in lines})
    for line in lines:
        address, payment = known[line.address_id]
        # Money to an address that nobody was given by us, or whose request a restored backup doesn't have.
        write = log.info if payment is not None else log.warning
        write(line.what, payment=payment, address=address, **line.facts)
