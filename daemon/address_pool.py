"""Keeps fresh addresses of the wallet in the table, so that a new request needs nothing but the database."""

from collections.abc import Callable
from datetime import datetime

import structlog

from config import Settings
from daemon.node.client import Bitcoind
from daemon.node.rpc import NodeError, RpcError
from daemon.unit_of_work import unit_of_work
from daemon.worker import Stopping, Worker
from models.address import add_addresses, free_count, retire_others
from models.block import stored_tip

log = structlog.get_logger(__name__)

BATCH = 100
LOOK_SECONDS = 0.2
RETRY_SECONDS = 2.0


class AddressPool:
    """A thread with a connection to bitcoind of its own."""

    def __init__(self, settings: Settings, node: Bitcoind, clock: Callable[[], datetime]) -> None:
        self._settings = settings
        self._node = node
        node.while_waiting(self._check_going_on)
        self._clock = clock
        self._worker = Worker("address-pool", self._turn, self._pause)
        self._may_fill = False
        self.problem: str | None = None
        """Why the pool can't be filled, as one line that says what to do; None where it can."""

    def start(self) -> None:
        """Begin to fill it."""
        self._worker.start()

    def stop(self, timeout_seconds: float) -> bool:
        """End after the addresses being asked for; whether it has."""
        return self._worker.stop(timeout_seconds)

    def is_alive(self) -> bool:
        """Whether it works; it stops by itself only because of a bug."""
        return self._worker.is_alive()

    def begin(self) -> None:
        """Let it fill: the wallet's earlier addresses are in the table, as far as the wallet names them."""
        self._may_fill = True

    def fill(self) -> None:
        """Bring the pool up to its size. Raises NodeError or RpcError where the wallet gives no address."""
        # Blocks are read from where the chain was joined: money that came before would not be found.
        while stored_tip() is not None and not self._worker.is_stopping:
            missing = self._settings.address_pool - free_count(self._settings.bitcoind_wallet)
            if missing <= 0:
                return
            self._add(self._node.new_addresses(min(missing, BATCH)))

    def _add(self, pairs: list[tuple[str, bytes]]) -> None:
        """Into the pool, from which those go out whose wallet is not the one that was set any more."""
        wallet, now = self._settings.bitcoind_wallet, self._clock()
        with unit_of_work("addresses-added"):
            add_addresses(pairs, wallet, now)
            retired = retire_others(wallet, now)
        if retired:
            log.warning("free addresses of another wallet retired", count=retired, wallet=wallet)
        self._note(None)

    def _turn(self) -> None:
        try:
            if self._may_fill:
                self.fill()
                self._note(None)
        except (NodeError, RpcError) as error:
            self._note(f"no new addresses from wallet {self._settings.bitcoind_wallet}: {error}")
            self._node.close()

    def _check_going_on(self, _silence: str | None) -> None:
        if self._worker.is_stopping:
            raise Stopping

    def _pause(self) -> float:
        return RETRY_SECONDS if self.problem else LOOK_SECONDS

    def _note(self, problem: str | None) -> None:
        """Log the start and the end of an outage, not each try."""
        if problem and not self.problem:
            log.warning("address pool not filled", reason=problem)
        elif self.problem and not problem:
            log.info("new addresses come again", wallet=self._settings.bitcoind_wallet)
        self.problem = problem
