"""Places at which a test can have the daemon die as by a power cut: between any two of its steps.

Nothing happens at them unless the environment variable NODETILL_FAILPOINT names one:
`block-connected.written`, or `block-connected.written:3` for the third arrival there. It is for tests alone,
and no setting: the `.env` file is not asked, and a daemon that starts with it says so in its log.
"""

import os
import signal
from collections.abc import Mapping
from itertools import count

VARIABLE = "NODETILL_FAILPOINT"

TRANSACTIONS = (
    "acceptance",
    "addresses-added",
    "addresses-ordered",
    "assessed",
    "block-connected",
    "block-disconnected",
    "chain-joined",
    "chain-named",
    "chain-read-again",
    "heartbeat",
    "hint-done",
    "mempool-recorded",
    "message-marked",
    "messages-brought-forward",
    "messages-pruned",
    "pool-checked",
    "rates-forgotten",
    "rates-stored",
)
"""Each is reached twice: NAME.written when all is written and not committed, and NAME.committed."""

SENDS = ("email", "webhook")
"""Each is reached twice: NAME.to-be-sent, and NAME.sent, when the other side has it."""

OTHERS = ("outcome.to-be-marked",)
"""A message is sent, and the database does not know it yet."""


class UnknownFailpoint(ValueError):
    """There is no such place."""


def names(rpc_calls: frozenset[str]) -> tuple[str, ...]:
    """Every place there is; after the answer to each call to bitcoind there is one."""
    return (
        *(f"{name}.{step}" for name in TRANSACTIONS for step in ("written", "committed")),
        *(f"{name}.{step}" for name in SENDS for step in ("to-be-sent", "sent")),
        *OTHERS,
        "rest.block",
        "rest.headers",
        *sorted(f"rpc.{method}" for method in rpc_calls),
    )


_armed: str | None = None
_arrivals = count(1)
_fatal_arrival = 1


def arm(environ: Mapping[str, str], known: tuple[str, ...]) -> str | None:
    """Die at the place that the environment names; its name, None where it names none.

    Raises UnknownFailpoint.
    """
    global _armed, _arrivals, _fatal_arrival
    value = environ.get(VARIABLE)
    if not value:
        return None
    name, _, number = value.partition(":")
    if name not in known or not (number or "1").isdecimal() or number == "0":
        raise UnknownFailpoint(f"{VARIABLE} names no place: {value!a}. It is for tests alone: unset it")
    _armed, _arrivals, _fatal_arrival = name, count(1), int(number or 1)
    return value


def reach(name: str) -> None:
    """We are at the place `name`."""
    if _armed is not None and name == _armed and next(_arrivals) == _fatal_arrival:
        os.kill(os.getpid(), signal.SIGKILL)
