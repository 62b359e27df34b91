"""The states of the daemon, for its loop, its log, /health and systemd."""

from enum import Enum


class LoopState(Enum):
    """A state of the daemon's loop. A look is one attempt to read chain and mempool completely.

    | state        | begins when                             | ends with                | decides  |
    | ------------ | --------------------------------------- | ------------------------ | -------- |
    | STARTING     | the process starts                      | the first look           | nothing  |
    | READING      | a look begins                           | the look's result        | nothing  |
    | WORKING      | a look has found all, up to a tip       | a look, or trouble       | statuses |
    | WAITING      | bitcoind works, but a look is not done  | a look that finds all    | nothing  |
    | OUT_OF_TOUCH | bitcoind or the database can't be used  | a look that reaches both | nothing  |

    WAITING and OUT_OF_TOUCH have a reason, which /health and systemd show. The result of a look ends these
    states, but not its beginning. In WAITING the next look comes after RETRY_SECONDS. In OUT_OF_TOUCH the
    next look comes after a growing delay.

    The daemon waits for three reasons. Each of them ends:

    - The node's chain has less work than ours. The node catches up, or the operator orders to follow it.
    - The node is in initial block download, or loads its mempool. The node finishes.
    - The tip has moved between two calls. A later look finds the same tip from start to end.
    """

    STARTING = "starting"
    READING = "reading the chain"
    WORKING = "working"
    WAITING = "waiting"
    OUT_OF_TOUCH = "out of touch"
