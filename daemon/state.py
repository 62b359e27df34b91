"""What the daemon is doing: the one list of its states, for its loop, its log, /health and systemd."""

from enum import Enum


class State(Enum):
    """A state of the daemon's loop. One attempt to look at everything is a look.

    | state        | begins when                             | ends with                | decides  |
    | ------------ | --------------------------------------- | ------------------------ | -------- |
    | STARTING     | the process starts                      | the first look           | nothing  |
    | READING      | a look begins                           | the look's result        | nothing  |
    | WORKING      | a look has found all, up to a tip       | a look, or trouble       | statuses |
    | WAITING      | bitcoind answers, and something is open | a look that finds all    | nothing  |
    | OUT_OF_TOUCH | bitcoind or the database can't be used  | a look that reaches both | nothing  |

    WAITING and OUT_OF_TOUCH have a reason, which /health and systemd show. A look that begins in one of them
    doesn't end it, but its result does. In WAITING the next look comes after RETRY_SECONDS, in OUT_OF_TOUCH
    after a growing time.

    These are the reasons to wait, and what ends each of them:

    - The node's chain has less work than ours: it catches up, or the operator orders to follow it.
    - The node is in initial block download, or reads its mempool: it gets done.
    - The tip has moved between two questions: the chain is calm for as long as a look takes.
    """

    STARTING = "starting"
    READING = "reading the chain"
    WORKING = "working"
    WAITING = "waiting"
    OUT_OF_TOUCH = "out of touch"
