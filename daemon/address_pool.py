"""Pools of fresh addresses in the database, so that a new request needs no call to bitcoind.

Each wallet in use has a pool of its own. daemon/descriptor_pool.py fills the pools of descriptors, and this
module the pool of the wallet in bitcoind, if that wallet is in use. Otherwise nothing calls that wallet.

The wallet's keys are its identity, not its name. The pool compares its free addresses with the wallet at the
start and after each failure. It also does so when the wallet no longer has the oldest or newest free
address. The pool holds an address that the wallet lacks. No request can claim a held address until the
wallet has that address again.

A wallet cannot delete an address that it has made. So the pool stores the size of an order first. Before it
orders more, the pool looks in the wallet for the addresses of an interrupted order.
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime

import structlog

from config import Settings
from daemon.descriptor_pool import DescriptorPool
from daemon.node.checks import WrongChain, check_chain, refuse_other_chain
from daemon.node.client import Bitcoind
from daemon.node.errors import WALLET_NOT_FOUND, NodeError, NodeRefused, RpcError
from daemon.unit_of_work import unit_of_work
from daemon.worker import Stopping, Worker
from models.address import (
    Address,
    add_addresses,
    free_count,
    held_count,
    hold_unclaimed,
    pool_ends,
    retire_bitcoinds,
    retire_others,
    unclaimed_addresses,
    unknown_addresses,
)
from models.block import stored_tip
from models.daemon_status import daemon_report, update_report
from models.db.connection import TRANSIENT_ERRORS, chunked
from models.wallet import BITCOIND_NAME, Wallet, wallets_in_use

log = structlog.get_logger(__name__)

BATCH_SIZE = 100
LOOK_SECONDS = 0.2
CHECK_SECONDS = 1.0
RETRY_SECONDS = 2.0


class AddressPool(Worker):
    """The thread that fills and checks the pools, with its own connection to bitcoind."""

    def __init__(
        self,
        settings: Settings,
        node: Bitcoind,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__("address-pool")
        self._settings = settings
        self._node = node
        node.on_wait(self._raise_if_stopping)
        self._clock = clock
        self._monotonic = monotonic
        self._may_fill = False
        self._may_have_unknown = True
        self._must_check_all = True
        self._check_at = monotonic()
        self._descriptors = DescriptorPool(settings, node, clock, lambda: self.is_stopping)
        self._is_bitcoind_used = True
        self._problems: dict[str, str] = {}
        self.problem: str | None = None
        """The reasons why pools can't be filled, as one line with the cures, or None."""

    def begin(self) -> None:
        """Start to fill the pool, because the loop has imported the addresses that the wallet lists."""
        if not self._may_fill:
            self._may_fill = True
            self.wake()

    def check_soon(self) -> None:
        """Compare the whole pool with the wallet at the next step. Any thread may call this."""
        self._must_check_all = True
        self.wake()

    def check(self) -> None:
        """Hold the free addresses that the wallet lacks, and release those that it has.

        Raise NodeError, RpcError or WrongChain where bitcoind returns no result.
        """
        if not self._must_check_all and self._monotonic() < self._check_at:
            return
        self._check_at = self._monotonic() + CHECK_SECONDS
        if self._must_check_all or self._unknown_ids(pool_ends()):
            # Another thread may request the next check while this check runs.
            self._must_check_all = False
            self._check_all()

    def import_unknown_addresses(self) -> None:
        """Store the addresses that the wallet made for us and that the table lacks.

        Such addresses are free after an interrupted order, because no request has them. Otherwise the
        database is an older copy, so a customer may have any address that looks free. Raise NodeError or
        RpcError.
        """
        ordered = daemon_report().addresses_ordered
        try:
            unknown = unknown_addresses(self._node.addresses())
        except NodeRefused as refusal:
            if ordered:
                raise
            log.warning("check for addresses missing from the database skipped", reason=str(refusal))
            return
        if 0 < len(unknown) <= ordered:
            self._add(self._with_scripts(unknown))
            log.info("addresses of an interrupted order taken in", count=len(unknown))
        elif unknown:
            self._watch_only(unknown)
        elif ordered:
            self._end_order()

    def fill(self) -> None:
        """Fill the pool to its size. Raise NodeError or RpcError where the wallet returns no address."""
        # No address is in use before the daemon joins the chain, because it reads no earlier block.
        while stored_tip() is not None and not self.is_stopping:
            missing = self._missing()
            if missing <= 0:
                return
            self._order(min(missing, BATCH_SIZE))

    def _missing(self) -> int:
        return self._settings.address_pool - free_count(self._settings.bitcoind_wallet)

    def _order(self, count: int) -> None:
        """Get `count` fresh addresses from the wallet. The database stores the order first."""
        refuse_other_chain(self._node)
        with unit_of_work("addresses-ordered"):
            update_report(addresses_ordered=count)
        self._may_have_unknown = True
        self._add(self._node.new_addresses(count))
        self._may_have_unknown = False

    def _add(self, pairs: list[tuple[str, bytes]]) -> None:
        """Add addresses to the pool, and retire free addresses of a wallet with another name."""
        wallet, now = self._settings.bitcoind_wallet, self._clock()
        with unit_of_work("addresses-added"):
            add_addresses(pairs, wallet, now)
            update_report(addresses_ordered=0)
            retired = retire_others(wallet, now)
        if retired:
            log.warning("free addresses of another wallet retired", count=retired, wallet=wallet)
        self._note(BITCOIND_NAME, None)

    def _end_order(self) -> None:
        with unit_of_work("addresses-added"):
            update_report(addresses_ordered=0)

    def _watch_only(self, unknown: Sequence[str]) -> None:
        """Watch these addresses, and retire all free addresses of this wallet."""
        retired = 0
        for batch in chunked(unknown):
            pairs = self._with_scripts(batch)
            with unit_of_work("addresses-added"):
                retired += retire_bitcoinds(self._clock())
                add_addresses(pairs, self._settings.bitcoind_wallet, self._clock(), are_free=False)
                update_report(addresses_ordered=0)
        log.warning(
            "addresses of the wallet taken in, to be watched only", count=len(unknown), free_retired=retired
        )

    def _with_scripts(self, addresses: Sequence[str]) -> list[tuple[str, bytes]]:
        return list(zip(addresses, self._node.scripts_of(addresses), strict=True))

    def _check_all(self) -> None:
        unclaimed = unclaimed_addresses()
        try:
            check_chain(self._node, self._node.tip())
            self._node.load_wallet()
            self._hold(self._unknown_ids(unclaimed), "the wallet lacks them")
        except (WrongChain, RpcError) as error:
            if isinstance(error, WrongChain) or error.code == WALLET_NOT_FOUND:
                self._hold([row.id for row in unclaimed], str(error))
            raise

    def _hold(self, unknown_ids: Sequence[int], reason: str) -> None:
        if not unknown_ids and not held_count():
            return
        with unit_of_work("pool-checked"):
            newly_held = hold_unclaimed(unknown_ids, self._clock())
        if newly_held:
            wallet = self._settings.bitcoind_wallet
            log.warning("free addresses held", count=newly_held, wallet=wallet, reason=reason)

    def _unknown_ids(self, addresses: Sequence[Address]) -> list[int]:
        """Return the ids of the addresses that the wallet lacks."""
        known = self._node.known_addresses([row.address for row in addresses])
        return [row.id for row in addresses if row.address not in known]

    def _step(self) -> None:
        used = wallets_in_use()
        for name in self._problems.keys() - {wallet.name for wallet in used}:
            self._note(name, None)
        self._is_bitcoind_used = any(wallet.is_bitcoind for wallet in used)
        if not self._is_bitcoind_used:
            # Once the wallet is used again, all its addresses are compared first.
            self._must_check_all = self._may_have_unknown = True
        for wallet in used:
            self._attend_to(wallet)

    def _attend_to(self, wallet: Wallet) -> None:
        try:
            if wallet.is_bitcoind:
                self._fill_from_bitcoind()
            elif self._may_fill and stored_tip() is not None:
                self._descriptors.fill(wallet)
            self._note(wallet.name, None)
        except (NodeError, RpcError, WrongChain, OSError) as error:
            name = self._settings.bitcoind_wallet if wallet.is_bitcoind else wallet.name
            self._note(wallet.name, f"no new addresses from wallet {name}: {error}")
            self._node.close()
        except TRANSIENT_ERRORS:
            self._must_check_all = True
            raise

    def _fill_from_bitcoind(self) -> None:
        self._check_if_possible()
        if self._may_fill:
            if self._may_have_unknown:
                self.import_unknown_addresses()
                self._may_have_unknown = False
            self.fill()

    def _check_if_possible(self) -> None:
        """Check the pool. While bitcoind returns no result, the pool stays unchanged."""
        try:
            self.check()
        except (NodeError, RpcError, WrongChain):
            self._must_check_all = True
            if self._missing() > 0:
                raise
            self._node.close()

    def _raise_if_stopping(self, _silence: str | None) -> None:
        if self.is_stopping:
            raise Stopping

    def _pause(self) -> float:
        is_open = self._is_bitcoind_used and (self._may_have_unknown or self._must_check_all)
        return RETRY_SECONDS if self._problems or is_open else LOOK_SECONDS

    def _note(self, wallet: str, problem: str | None) -> None:
        """Log the start and the end of an outage of a wallet, but not each attempt."""
        if problem is not None:
            if wallet not in self._problems:
                log.warning("address pool not filled", reason=problem)
            self._problems[wallet] = problem
        elif self._problems.pop(wallet, None) is not None:
            log.info("new addresses come again", wallet=wallet)
        self.problem = "; ".join(self._problems.values()) or None
