"""Failpoints, where a test can kill the daemon as by a power cut, between any two of its steps.

A failpoint has no effect unless the environment variable NODETILL_FAILPOINT names it. Examples are
`block-connected.written`, and `block-connected.written:3` for the third arrival. The variable is for tests
alone. It is no setting, so the daemon ignores it in the `.env` file. A daemon that starts with it logs that.
"""

import os
import signal
from collections.abc import Mapping
from itertools import count

VARIABLE = "NODETILL_FAILPOINT"

TRANSACTIONS = (
    "acceptance",
    "addresses-added",
    "addresses-derived",
    "addresses-ordered",
    "addresses-skipped",
    "assessed",
    "block-connected",
    "block-disconnected",
    "cancellation",
    "chain-joined",
    "chain-named",
    "chain-read-again",
    "command-done",
    "heartbeat",
    "mempool-recorded",
    "message-marked",
    "messages-brought-forward",
    "messages-pruned",
    "pool-checked",
    "rates-forgotten",
    "rates-stored",
)
"""Transactions with two failpoints each, NAME.written before the commit and NAME.committed after it."""

SENDS = ("email", "webhook")
"""Channels with two failpoints each, NAME.to-be-sent, and NAME.sent once the recipient has the message."""

OTHERS = ("outcome.to-be-marked",)
"""A message is sent, but the database has no record of that yet."""


class UnknownFailpoint(ValueError):
    """NODETILL_FAILPOINT names no failpoint."""


def names(rpc_calls: frozenset[str]) -> tuple[str, ...]:
    """Return the names of all failpoints. Each call to bitcoind has one after its response."""
    return (
        *(f"{name}.{step}" for name in TRANSACTIONS for step in ("written", "committed")),
        *(f"{name}.{step}" for name in SENDS for step in ("to-be-sent", "sent")),
        *OTHERS,
        "rest.block",
        *sorted(f"rpc.{method}" for method in rpc_calls),
    )


_armed: str | None = None
_arrivals = count(1)
_fatal_arrival = 1


def arm(environ: Mapping[str, str], known: tuple[str, ...]) -> str | None:
    """Arm the failpoint that the environment names, and return the value. Return None without a value.

    Raise UnknownFailpoint.
    """
    global _armed, _arrivals, _fatal_arrival
    value = environ.get(VARIABLE)
    if not value:
        return None
    name, _, number = value.partition(":")
    if name not in known or not (number or "1").isdecimal() or number == "0":
        raise UnknownFailpoint(f"{VARIABLE} names no failpoint: {value!a}. It is for tests alone: unset it")
    _armed, _arrivals, _fatal_arrival = name, count(1), int(number or 1)
    return value


def reach(name: str) -> None:
    """Kill the process if the failpoint `name` is armed and this is its fatal arrival."""
    if _armed is not None and name == _armed and next(_arrivals) == _fatal_arrival:
        os.kill(os.getpid(), signal.SIGKILL)
