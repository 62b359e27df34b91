"""What bitcoind answers, as values."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class NodeTip:
    """The node's active chain. `chainwork` is 64 hex digits, which compare as text; `median_time` is always
    past (BIP 113); `headers` is the best header's height, `pruned_below` that of the lowest block kept."""

    chain: str
    hash: str
    height: int
    headers: int
    chainwork: str
    median_time: datetime
    pruned_below: int
    is_initial_download: bool


@dataclass(frozen=True, slots=True)
class Publication:
    """A topic that bitcoind publishes over ZMQ: "rawtx" at "tcp://…"; a mark of 0 is none."""

    topic: str
    address: str
    high_water_mark: int


@dataclass(frozen=True, slots=True)
class MempoolEntry:
    """A transaction in the mempool; `ancestors` counts its unconfirmed ones without itself."""

    entered_at: datetime
    ancestors: int
