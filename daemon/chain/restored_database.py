"""The first step of a daemon with descriptor wallets: it recognises an older copy of the database.

Since the copy was made, customers may have got addresses that are free in it, and later addresses. Only
bitcoind's own wallet could list them. So all free and watched addresses are retired, and the wallets continue
after them. The retired addresses stay watched. The step precedes the blocks, because the daemon ignores a
payment to an address that is not in the table.
"""

from datetime import datetime

import structlog

from daemon.descriptor_pool import DescriptorPool
from daemon.node.errors import NodeRefused, RpcError
from daemon.node.types import NodeTip
from daemon.unit_of_work import unit_of_work
from models.address import retire_free
from models.block import stored_tip
from models.daemon_status import daemon_report, update_report
from models.db.witness import is_original, renewed_mark
from models.payment import PaymentRequest
from models.wallet import descriptor_wallets

log = structlog.get_logger(__name__)

RATE_FACTOR = 2
"""The shop may have made more requests since the copy than in an equal time before it."""

MAX_SKIPPED = 100_000


class RestoredDatabase:
    """Checks once if the database is an older copy, and watches the addresses beyond the pools."""

    def __init__(self, pool: DescriptorPool) -> None:
        self._pool = pool
        self._is_done = False

    def check(self, tip: NodeTip, now: datetime) -> None:
        """Skip addresses that customers may have, once. Raise NodeError where bitcoind does not answer."""
        if self._is_done:
            return
        if descriptor_wallets() and not is_original(daemon_report().witness):
            self._skip(now)
        stored = stored_tip()
        if stored is not None and tip.chainwork < stored.chainwork:
            return
        for wallet in descriptor_wallets() if stored is not None else ():
            try:
                self._pool.watch_ahead(wallet)
            except (NodeRefused, RpcError, OSError) as error:
                # The address pool reports the same problem for as long as it lasts.
                log.warning("addresses not derived", wallet=wallet.name, reason=str(error))
        self._is_done = True

    def _skip(self, now: datetime) -> None:
        report = daemon_report()
        copied_at = report.heartbeat_at or now
        as_long_before = PaymentRequest.created_at >= copied_at - (now - copied_at)
        skipped = min(RATE_FACTOR * PaymentRequest.select().where(as_long_before).count(), MAX_SKIPPED)
        with unit_of_work("addresses-skipped"):
            retired = retire_free(now, skipped)
            update_report(witness=renewed_mark(report.witness))
        log.warning(
            "older copy of the database",
            reason="customers may have its free addresses and later ones, so these are only watched",
            free_retired=retired,
            skipped=skipped,
        )
