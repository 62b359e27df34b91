"""Keeps fresh addresses of the wallet in the table, so that a new request needs nothing but the database."""

import threading
from collections.abc import Callable
from datetime import datetime

import peewee
import structlog

from config import Settings
from daemon.bitcoind import Bitcoind, NodeError, RpcError
from models.address import add_addresses, free_count
from models.database import disconnect

log = structlog.get_logger(__name__)

BATCH = 25
LOOK_SECONDS = 0.2
RETRY_SECONDS = 2.0


class AddressPool:
    """A thread with a connection to bitcoind of its own."""

    def __init__(self, settings: Settings, node: Bitcoind, clock: Callable[[], datetime]) -> None:
        self._settings = settings
        self._node = node
        self._clock = clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="address-pool", daemon=True)
        self.problem: str | None = None
        """Why the pool can't be filled, as one line that says what to do; None where it can."""

    def start(self) -> None:
        """Begin to fill it."""
        self._thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """End after the address being asked for."""
        self._stopping.set()
        self._thread.join(timeout_seconds)

    def fill(self) -> None:
        """Bring the pool up to its size. Raises NodeError or RpcError where the wallet gives no address."""
        while not self._stopping.is_set():
            missing = self._settings.address_pool - free_count()
            if missing <= 0:
                return
            pairs = [self._node.new_address() for _ in range(min(missing, BATCH))]
            add_addresses(pairs, self._settings.bitcoind_wallet, self._clock())

    def _run(self) -> None:
        wait = 0.0
        while not self._stopping.wait(wait):
            try:
                self.fill()
                self._note(None)
                wait = LOOK_SECONDS
            except (NodeError, RpcError) as error:
                self._note(f"no new addresses from wallet {self._settings.bitcoind_wallet}: {error}")
                wait = RETRY_SECONDS
            except (peewee.OperationalError, peewee.InterfaceError) as error:
                self._note(f"no new addresses: the database: {error}")
                disconnect()
                wait = RETRY_SECONDS
        self._node.close()
        disconnect()

    def _note(self, problem: str | None) -> None:
        """Log the start and the end of an outage, not each try."""
        if problem and not self.problem:
            log.warning("address pool not filled", reason=problem)
        elif self.problem and not problem:
            log.info("address pool filled again", free=free_count())
        self.problem = problem
