"""The states of the daemon's loop."""

from enum import Enum


class LoopState(Enum):
    """A state of the daemon's loop. A look is one attempt to read chain and mempool completely.

    | state        | begins when                            | ends with          | feed      | decides  |
    | ------------ | -------------------------------------- | ------------------ | --------- | -------- |
    | STARTING     | the process starts                     | the first look     | waits     | nothing  |
    | READING      | a look begins                          | the look's result  | waits     | nothing  |
    | SCANNING     | a look has read the chain, but no look | a look, or trouble | is read   | nothing  |
    |              | has read the whole mempool so far      |                    |           |          |
    | WORKING      | a look has found all, up to a tip      | a look, or trouble | is read   | statuses |
    | WAITING      | bitcoind works, but a look is not done | a look             | is unread | nothing  |
    | OUT_OF_TOUCH | bitcoind or the database is away       | a look             | is unread | nothing  |

    An unread message does no harm, because the next look reads the chain and the mempool. In WAITING the
    next look comes after RETRY_SECONDS, and in OUT_OF_TOUCH after a growing delay. /health and systemd show
    the reason of these two states, until a look ends with another result.

    The daemon waits for three reasons. Each of them ends:

    - The node's chain has less work than ours. The node catches up, or the operator orders to follow it.
    - The node is in initial block download, or loads its mempool. The node finishes.
    - The tip has moved between two calls. A later look finds the same tip from start to end.
    """

    STARTING = "starting"
    READING = "reading the chain"
    SCANNING = "reading the mempool"
    WORKING = "working"
    WAITING = "waiting"
    OUT_OF_TOUCH = "out of touch"

    @property
    def has_tip(self) -> bool:
        """Return whether the stored facts are those of a tip, so that the feed can add to them."""
        return self in (LoopState.SCANNING, LoopState.WORKING)
