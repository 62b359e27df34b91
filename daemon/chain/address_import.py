"""Import of addresses that the wallet made and the database lacks, after a restore or a kill.

The import runs before the daemon reads blocks, because the daemon ignores a payment to an unknown address.
If the wallet is available only later, the import disconnects the blocks that paid such addresses.
"""

from datetime import datetime

import structlog

from daemon.chain.block_handler import BlockHandler
from daemon.node.client import Bitcoind
from daemon.node.errors import NodeRefused, RpcError
from daemon.node.types import NodeTip
from daemon.unit_of_work import unit_of_work
from models.address import add_addresses, retire_bitcoinds, unknown_addresses
from models.block import oldest_block, stored_tip
from models.daemon_status import daemon_report, update_report
from models.db.connection import chunked

log = structlog.get_logger(__name__)


class AddressImport:
    """Imports the addresses with our label once, as soon as the wallet is available."""

    def __init__(self, node: Bitcoind, blocks: BlockHandler, wallet: str) -> None:
        self._node = node
        self._blocks = blocks
        self._wallet = wallet
        self._is_done = False

    def run(self, tip: NodeTip, now: datetime) -> bool:
        """Import the missing addresses once, and return whether that is done.

        Wait while the wallet or the node's chain is not complete.
        The addresses are watched only. If the database is an older copy, a customer may have any of them.
        """
        stored = stored_tip()
        if self._is_done or (stored is not None and tip.chainwork < stored.chainwork):
            return self._is_done
        try:
            unknown = unknown_addresses(self._node.addresses())
            # An interrupted order explains so many. No request has them, and the pool imports them.
            if len(unknown) > daemon_report().addresses_ordered:
                if self._node.is_wallet_scanning():
                    return False
                self._import(unknown, tip, now)
        except NodeRefused as refusal:
            log.warning("check for addresses missing from the database skipped", reason=str(refusal))
        except RpcError:
            # The wallet is not loaded, and wallet_problems returns the reason.
            return False
        self._is_done = True
        return True

    def _import(self, unknown: list[str], tip: NodeTip, now: datetime) -> None:
        scripts = [script for batch in chunked(unknown) for script in self._node.scripts_of(batch)]
        # Blocks come first. After a kill in between, the next start imports before it reads blocks again.
        self._disconnect_paying_blocks(set(unknown), tip)
        with unit_of_work("addresses-added"):
            retired = retire_bitcoinds(now)
            update_report(addresses_ordered=0)
            for batch in chunked(list(zip(unknown, scripts, strict=True))):
                add_addresses(batch, self._wallet, now, are_free=False)
        log.warning(
            "addresses of the wallet taken in, to be watched only", count=len(unknown), free_retired=retired
        )

    def _disconnect_paying_blocks(self, unknown: set[str], tip: NodeTip) -> None:
        """Disconnect the stored blocks from the first block that pays one of these addresses.

        A pruned block stays, because the daemon could not read that block again.
        """
        oldest = oldest_block()
        if oldest is None:
            # No request has an address before the daemon joins the chain.
            return
        heights = self._node.paid_heights(oldest.hash)
        paid = sorted(heights[address] for address in unknown & heights.keys())
        if paid and paid[0] < tip.pruned_below:
            log.warning("payments in pruned blocks are not recorded: run manage.py audit", height=paid[0])
        readable = [height for height in paid if height >= max(tip.pruned_below, oldest.height + 1)]
        if readable:
            self._blocks.disconnect_from(readable[0])
