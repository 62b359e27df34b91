"""Findings: the doctor's lines, one for each part that it checks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """The result of a check. `ADVICE` means that the part works, but could work better."""

    OK = "ok"
    ADVICE = "advice"
    WRONG = "wrong"
    NOT_TRIED = "not tried"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result for one part. `text` describes the part's state, or the error and its correction."""

    part: str
    state: State
    text: str


def ok(part: str, text: str) -> Finding:
    return Finding(part, State.OK, text)


def advice(part: str, text: str) -> Finding:
    return Finding(part, State.ADVICE, text)


def wrong(part: str, text: str) -> Finding:
    return Finding(part, State.WRONG, text)


def not_tried(parts: Iterable[str], reason: str) -> Iterator[Finding]:
    """Yield a finding for each part that could not be checked."""
    for part in parts:
        yield Finding(part, State.NOT_TRIED, reason)


def from_problem(part: str, problem: str | None, text: str) -> Finding:
    """Return `wrong` with the problem, or `ok` with the text where there is no problem."""
    return ok(part, text) if problem is None else wrong(part, problem)
