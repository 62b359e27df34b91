"""What the doctor finds: one line for each part of Nodetill and of what it needs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """How it is with a part. `ADVICE` works as it is, and would be better otherwise."""

    OK = "ok"
    ADVICE = "advice"
    WRONG = "wrong"
    NOT_TRIED = "not tried"


@dataclass(frozen=True, slots=True)
class Finding:
    """`text` says how it is, or what is wrong and the cure."""

    part: str
    state: State
    text: str


def ok(part: str, text: str) -> Finding:
    """As it should be."""
    return Finding(part, State.OK, text)


def advice(part: str, text: str) -> Finding:
    """No fault, but worth a line."""
    return Finding(part, State.ADVICE, text)


def wrong(part: str, text: str) -> Finding:
    """To be mended."""
    return Finding(part, State.WRONG, text)


def not_tried(parts: Iterable[str], reason: str) -> Iterator[Finding]:
    """These could not be looked at, for this reason."""
    for part in parts:
        yield Finding(part, State.NOT_TRIED, reason)


def judged(part: str, problem: str | None, text: str) -> Finding:
    """Wrong where there is a problem, else as it should be."""
    return ok(part, text) if problem is None else wrong(part, problem)
