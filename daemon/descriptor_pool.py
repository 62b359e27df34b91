"""The addresses of descriptors: bitcoind derives them, and needs no wallet for that.

The address table always has LOOKAHEAD addresses beyond those that requests can get. They are only watched. If
the database is an older copy, a customer may have one of them, and the daemon still sees the payment.

A derivation changes nothing in bitcoind. So a kill between the derivation and the commit loses no address.
"""

from collections.abc import Callable
from datetime import datetime

from config import Settings
from daemon.node.checks import refuse_other_chain
from daemon.node.client import Bitcoind
from daemon.unit_of_work import unit_of_work
from models.address import add_derived, free_count_of, release_derived
from models.daemon_status import daemon_report, update_report
from models.db.witness import renewed_mark
from models.wallet import LOOKAHEAD, Wallet, advance, wallet_named

BATCH_SIZE = 100
MAX_DERIVED = 1000


class DescriptorPool:
    """Keeps the pools of descriptors full. Each thread has an object of its own, as `node` belongs to it."""

    def __init__(
        self,
        settings: Settings,
        node: Bitcoind,
        clock: Callable[[], datetime],
        is_stopping: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._node = node
        self._clock = clock
        self._is_stopping = is_stopping

    def fill(self, wallet: Wallet) -> None:
        """Fill the wallet's pool to its size, and watch LOOKAHEAD addresses beyond.

        Raise NodeError or RpcError where bitcoind derives no address, WrongChain, and OSError where the file
        of models/db/witness.py cannot be written.
        """
        while not self._is_stopping():
            missing = max(self._settings.address_pool - free_count_of(wallet), 0)
            if not missing and wallet.watched_until >= wallet.next_index + LOOKAHEAD:
                return
            self._take(wallet, min(missing, BATCH_SIZE))
            wallet = _as_stored(wallet)

    def watch_ahead(self, wallet: Wallet) -> None:
        """Watch LOOKAHEAD addresses beyond the pool, before the daemon reads blocks. Raise as `fill` does."""
        while wallet.watched_until < wallet.next_index + LOOKAHEAD and not self._is_stopping():
            self._take(wallet, 0)
            wallet = _as_stored(wallet)

    def _take(self, wallet: Wallet, count: int) -> None:
        """Release the next `count` addresses, and derive further ones, MAX_DERIVED at most."""
        refuse_other_chain(self._node)
        begin = wallet.watched_until
        until = max(min(begin + MAX_DERIVED, wallet.next_index + count + LOOKAHEAD), begin)
        next_index = wallet.next_index + count
        if next_index > until:
            # First the addresses of the gap before the next index are derived, to be watched.
            next_index = wallet.next_index
        addresses = self._node.derive(str(wallet.descriptor), begin, until)
        pairs = list(zip(addresses, self._node.scripts_of(addresses), strict=True))
        with unit_of_work("addresses-derived"):
            # A restore or a payment may have moved the wallet on meanwhile. The next attempt begins there.
            if advance(wallet, next_index, until):
                add_derived(wallet, begin, pairs, self._clock())
                release_derived(wallet, next_index)
                update_report(witness=renewed_mark(daemon_report().witness))


def _as_stored(wallet: Wallet) -> Wallet:
    found = wallet_named(wallet.name)
    assert found is not None, "no command deletes a wallet"
    return found
