"""Where a story plays: a node, a database, a daemon, the requests of the story, and what was done so far."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from secrets import token_hex

from config import Settings
from models.address import add_addresses, claim_address, free_count
from models.command import add_acceptance, add_transaction_check
from models.db.connection import database
from models.outbox import Event, Message
from tests.support.chain_state import World
from tests.support.expected_state import (
    COVERED,
    Account,
    close,
    differences,
    faults_of_post,
    faults_of_telling,
    is_behind,
    look_on,
)
from tests.support.hand_daemon import HandDaemon
from tests.support.rows import new_payment
from tests.support.tx_builder import ANYBODY, Coin, Forged
from tests.support.waiting import wait_until

CUSHION_BLOCKS = 13
COINS_A_STORY = 60
PATIENCE_SECONDS = 60.0
FEE_SATS = 2_000
LONG = timedelta(days=7)
SOON, HELD = timedelta(seconds=2), timedelta(seconds=0.5)


@dataclass(slots=True)
class Stage:
    """One for all stories; `begin` clears it for the next."""

    world: World
    daemon: HandDaemon
    settings: Settings
    accounts: list[Account] = field(default_factory=list)
    sent: list[Forged] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    is_rough: bool = False
    is_broken: bool = False
    looked_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    acknowledged_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def begin(self) -> None:
        self.accounts, self.sent, self.done = [], [], []
        self.is_rough = False
        self.world.watcher = self._look_on
        self.world.settle(COINS_A_STORY, CUSHION_BLOCKS)
        if not self.daemon.is_up:
            self.daemon.start()
        self.settle()

    def note(self, what: str) -> None:
        """For the report, where the story ends badly."""
        self.done.append(f"{datetime.now(UTC):%H:%M:%S.%f}  {what}")

    # The merchant

    def request(
        self,
        amount_sats: int,
        *,
        tolerance_sats: int = 0,
        confirmations: int = 1,
        expiry: timedelta = LONG,
        monitoring: timedelta = LONG,
        is_late_counted: bool = False,
    ) -> Account:
        """A new one, as the web server stores it."""
        self._fill_pool()
        now = datetime.now(UTC)
        with database.atomic():
            address = claim_address(now)
            assert address is not None
            row = new_payment(
                reference=f"PR-{token_hex(8)}",
                address=address,
                amount_sats=amount_sats,
                due_sats=amount_sats,
                tolerance_sats=tolerance_sats,
                confirmations_required=confirmations,
                created_at=now,
                expires_at=now + expiry,
                monitored_until=now + expiry + monitoring,
                late_accepted_until=now + expiry + monitoring if is_late_counted else None,
                reassess_at=now + expiry,
            )
        account = Account(row.id, address.script)
        self.accounts.append(account)
        self.note(f"request {len(self.accounts) - 1}: {row.reference}, {amount_sats} sats")
        return account

    def _fill_pool(self) -> None:
        """As the daemon does where it has an address pool."""
        if not free_count():
            rpc, wallet = self.world.node.rpc, self.settings.bitcoind_wallet
            named = rpc("getnewaddress", "nodetill", "bech32", wallet=wallet)
            script = bytes.fromhex(rpc("validateaddress", named)["scriptPubKey"])
            add_addresses([(named, script)], wallet, datetime.now(UTC))

    def expire(self, account: Account, *, monitoring: timedelta = LONG) -> None:
        """Let its price hold until now, and watch it for so long from now on."""
        row, now = account.row(), datetime.now(UTC)
        row.expires_at, row.monitored_until = now, now + monitoring
        row.late_accepted_until = row.late_accepted_until and row.monitored_until
        # A daemon that has found it covered does not look again at its expiry.
        row.reassess_at = row.monitored_until if row.status in COVERED else now
        fields = type(row)
        row.save(
            only=[fields.expires_at, fields.monitored_until, fields.late_accepted_until, fields.reassess_at]
        )
        self.note(f"{row.reference} expires")

    def late(self) -> list[Account]:
        """Those with money that waits for the seller's word."""
        rows = ((account, account.row()) for account in self.accounts)
        return [account for account, row in rows if row.is_late and row.late_accepted_at is None]

    def accept(self, account: Account) -> None:
        """The seller counts late money. To a daemon that is down it is one of several things at once."""
        self.is_rough |= not self.daemon.is_up
        add_acceptance(account.row(), datetime.now(UTC))

    def name(self, account: Account, txid: str) -> None:
        """Somebody posts a transaction."""
        add_transaction_check(account.row(), txid, datetime.now(UTC))

    # The customers

    def pay(
        self, outputs: Iterable[tuple[Account, int]], coin: Coin | None = None, *, is_public: bool = True
    ) -> Forged:
        """A transaction with these outputs, sent to bitcoind or kept for a block."""
        coins = [coin or self.world.coin()]
        return self._made(coins, [(account.script, sats) for account, sats in outputs], FEE_SATS, is_public)

    def replace(self, old: Forged, outputs: Iterable[tuple[bytes, int]], *, is_public: bool = True) -> Forged:
        """Spend the same otherwise, with fee enough to take its place."""
        spent = sum(coin.amount_sats for coin in old.coins)
        fee_sats = 2 * (spent - sum(sats for _, sats in old.outputs)) + 20_000
        return self._made(old.coins, list(outputs), min(fee_sats, spent // 2), is_public)

    def replace_both(self, one: Forged, other: Forged, outputs: Iterable[tuple[bytes, int]]) -> Forged:
        """Spend the coins of two transactions otherwise, with fee enough to replace both."""
        return self._made([*one.coins, *other.coins], list(outputs), 100_000, is_public=True)

    def free_by_detour(self, old: Forged) -> None:
        """Take a transaction out of the mempool, and leave its coins unspent: two replacements, one mined.

        The first spends its coins and another one, the second only that other one.
        """
        other = self.world.coin()
        first = self._made([*old.coins, other], [(ANYBODY, 1_000)], 60_000, is_public=True)
        self.settle()
        second = self._made([other], [(ANYBODY, 1_000)], 400_000, is_public=True)
        self.note(f"{first.txid} takes the place of {old.txid}, {second.txid} that of the first")
        self.world.mine([second])
        self.settle()

    def _made(
        self,
        coins: Iterable[Coin],
        outputs: list[tuple[bytes, int]],
        fee_sats: int,
        is_public: bool,
    ) -> Forged:
        made = self.world.forge(list(coins), outputs, fee_sats)
        self.sent.append(made)
        is_taken = is_public and self.world.publish(made)
        where = "in the mempool" if is_taken else "refused" if is_public else "hidden"
        self.note(f"transaction {len(self.sent) - 1}: {made.txid}, {where}")
        return made

    # The machine

    def wait_for_a_deadline(self) -> None:
        """Until the next request expires, or is not watched any more, if that is soon."""
        now = datetime.now(UTC)
        rows = [account.row() for account in self.accounts]
        coming = [m for row in rows for m in (row.expires_at, row.monitored_until) if m > now]
        if coming and (soonest := min(coming)) < now + SOON:
            wait = self.daemon.work_until if self.daemon.is_up else wait_until
            wait(lambda: datetime.now(UTC) > soonest, PATIENCE_SECONDS)

    def restart_bitcoind(self, *, is_clean: bool) -> None:
        """Where it was not stopped it has lost blocks and its mempool, and gets the blocks from others.

        Until it has them nobody may be told anything.
        """
        self.note(f"bitcoind {'restarts' if is_clean else 'is killed'}")
        self.is_rough = True
        if is_clean:
            self.world.node.restart()
            self._look_on()
            if self.daemon.is_up:
                with self.daemon.loading():
                    self.hold("told what a node says that has yet to read its mempool")
            return
        self.world.node.kill()
        self.world.node.launch()
        if self.daemon.is_up and self.world.is_behind():
            self.hold("told what a node says that has lost its blocks")
        self.world.hand_over_blocks()

    def hold(self, fault: str) -> None:
        """Let the daemon work for a while, in which it may tell nothing."""
        told, end = self._told(), datetime.now(UTC) + HELD
        self.daemon.work_until(lambda: datetime.now(UTC) > end, PATIENCE_SECONDS)
        assert self._told() == told, self.report([fault])

    def _look_on(self) -> None:
        """After each thing that happens."""
        if self.accounts:
            view = self.world.view()
            for account in self.accounts:
                look_on(account, self.world, view)

    def meanwhile(self, happen: Callable[[], None], calls: int) -> None:
        """Something happens in the midst of what the daemon does next, or later."""

        def happen_now() -> None:
            self.is_rough = True
            happen()

        self.daemon.meanwhile(happen_now, calls)

    def _told(self) -> int:
        return int(Event.select().count())

    # The truth

    def settle(self) -> None:
        """Wait until the daemon has come to rest, which must be at the truth."""
        if not self.daemon.is_up:
            return
        self.world.node.rpc("syncwithvalidationinterfacequeue")
        if not self.daemon.work_until(lambda: not self.faults(), PATIENCE_SECONDS):
            raise AssertionError(self.report(self.faults()))
        view, now = self.world.view(), self.looked_at
        faults = [
            fault
            for account in self.accounts
            for fault in faults_of_telling(account, view, now, is_exact=self._is_exact(account, now))
        ]
        if faults:
            raise AssertionError(self.report(faults))
        for account in self.accounts:
            close(account, self.world, view)
        self.is_rough, self.acknowledged_at = False, now

    def end(self) -> None:
        """A fresh look finds nothing new, and everything that was told has arrived."""
        if self.is_broken:
            return
        if self.daemon.is_up:
            self.daemon.stop()
        self.daemon.start()
        self.settle()
        if not self.daemon.look(PATIENCE_SECONDS):
            raise AssertionError(self.report(["the daemon does not look at everything"]))
        self.settle()
        if not self.daemon.work_until(lambda: not self._undelivered(), PATIENCE_SECONDS):
            raise AssertionError(self.report(["emails are not delivered"]))
        taken, mail_from = self.daemon.postbox.taken, self.settings.mail_from
        faults = [f for account in self.accounts for f in faults_of_post(account, taken, mail_from)]
        if faults:
            raise AssertionError(self.report(faults))

    def faults(self) -> list[str]:
        """Where the database differs from the truth."""
        view, now = self.world.view(), datetime.now(UTC)
        self.looked_at = now
        behind = is_behind(view)
        if behind is not None:
            return [behind]
        return [fault for account in self.accounts for fault in differences(account, self.world, view, now)]

    def _is_exact(self, account: Account, now: datetime) -> bool:
        """Whether all that happened since the last settling was one thing."""
        row = account.row()
        is_crossed = any(self.acknowledged_at < m <= now for m in (row.expires_at, row.monitored_until))
        return not (self.is_rough or is_crossed)

    def _undelivered(self) -> int:
        ours = Message.payment.in_([account.payment_id for account in self.accounts])
        return int(Message.select().where(ours & Message.delivered_at.is_null()).count())

    def report(self, faults: list[str]) -> str:
        """For an error: what is wrong, and how it came to it."""
        self.is_broken = True
        return "\n".join(["", *faults, "what was done:", *self.done])
