"""The RPC client and the feed that connect the daemon to an InMemoryNode."""

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from config import Settings
from daemon.node.calls import RPC_CALLS
from daemon.node.feed import BATCH_SIZE, Batch
from daemon.node.feed_places import Source, Sources
from daemon.node.rpc import Rpc
from tests.support.in_memory_node import InMemoryNode

POLL_SECONDS = 0.002


class InMemoryRpc(Rpc):
    """The daemon's RPC client, which calls an InMemoryNode."""

    def __init__(self, settings: Settings, node: InMemoryNode) -> None:
        super().__init__(settings.rpc_url_without_credentials, lambda: "")
        self._memory = node

    def call(self, method: str, *parameters: Any, wallet: str | None = None) -> Any:
        assert method in RPC_CALLS, method
        return self._memory.rpc(method, *parameters, wallet=wallet)

    def batch(
        self,
        method: str,
        calls: Sequence[Sequence[Any]],
        *,
        none_on_code: int | None = None,
        wallet: str | None = None,
    ) -> list[Any]:
        if none_on_code is None:
            return [self.call(method, *call, wallet=wallet) for call in calls]
        return [self.call_or_none(method, *call, none_on_code=none_on_code, wallet=wallet) for call in calls]


class InMemoryFeed:
    """The feed of an InMemoryNode for one subscriber, which is connected from the start."""

    def __init__(self, node: InMemoryNode) -> None:
        self._node = node
        self._raws: deque[bytes] = deque()
        self._tips = 0
        self._has_connected = False
        node.feeds.append(self)

    def publish(self, raw: bytes) -> None:
        """Queue a transaction."""
        self._raws.append(raw)

    def publish_tip(self) -> None:
        """Queue the message of a new tip."""
        self._tips += 1

    def reconnect(self) -> None:
        """Lose what is queued, as a subscriber does when bitcoind restarts."""
        self._raws.clear()
        self._tips, self._has_connected = 0, True

    def poll(self, timeout_seconds: float) -> Batch:
        """Return the queued messages, tips first, as daemon.node.feed.Feed does."""
        if not (self._raws or self._tips or self._has_connected):
            time.sleep(min(max(timeout_seconds, 0), POLL_SECONDS))
        batch = Batch(has_connected=self._has_connected, is_incomplete=self._has_connected, tips=self._tips)
        self._tips, self._has_connected = 0, False
        if not batch.has_new_tip:
            batch.transactions = [self._raws.popleft() for _ in range(min(len(self._raws), BATCH_SIZE))]
        return batch

    @property
    def is_whole(self) -> bool:
        """Return True: both topics are connected."""
        return True

    def subscribe(self, sources: Sources) -> None:
        """Do nothing, because this feed has no addresses."""

    def silent_sources(self) -> list[Source]:
        """Return none: both topics are connected."""
        return []

    def close(self) -> None:
        """End the subscription."""
        self._node.feeds.remove(self)
