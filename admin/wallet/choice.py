"""The choice of a wallet by its name, as the default or for a seller."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from admin.cli import CommandError
from models.address import hold_unclaimed, unclaimed_addresses
from models.wallet import Wallet, is_bitcoind_used, wallet_named


def chosen_wallet(name: str) -> Wallet:
    """Return the wallet with this name. Raise CommandError where there is none."""
    found = wallet_named(name)
    if found is None:
        raise CommandError("there is no wallet of this name; all wallets: wallet list; a new one: wallet add")
    return found


@contextmanager
def wallets_change(now: datetime) -> Iterator[None]:
    """Hold the free addresses of bitcoind's wallet if the change inside begins to use that wallet.

    Another wallet may have its name by now. The daemon releases the addresses that the wallet has. Must run
    inside a transaction.
    """
    was_used = is_bitcoind_used()
    yield
    if not was_used and is_bitcoind_used():
        hold_unclaimed([row.id for row in unclaimed_addresses()], now)
