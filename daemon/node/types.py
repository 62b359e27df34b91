"""Values that bitcoind returns."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class NodeTip:
    """The tip of the node's active chain.

    `chainwork` has 64 hex digits, which compare as text. `headers` is the height of the best header,
    `pruned_below` that of the lowest block kept. `signet_challenge` is in hex, and None on another chain and
    before Bitcoin Core 29. `median_time` is the median time past (BIP 113).
    """

    chain: str
    hash: str
    height: int
    headers: int
    chainwork: str
    median_time: datetime
    pruned_below: int
    is_initial_download: bool
    signet_challenge: str | None = None


@dataclass(frozen=True, slots=True)
class Publication:
    """A topic that bitcoind publishes over ZMQ: "rawtx" at "tcp://…". A mark of 0 means no limit."""

    topic: str
    address: str
    high_water_mark: int


@dataclass(frozen=True, slots=True)
class MempoolEntry:
    """A transaction in the mempool. `ancestors` counts its unconfirmed ancestors without itself."""

    entered_at: datetime
    ancestors: int
