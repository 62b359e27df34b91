"""A node, a database and a daemon, the requests of one scenario, and the list of its steps so far."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from secrets import token_hex

from config import Settings
from models.address import add_addresses, claim_address, free_count
from models.command import add_acceptance, add_cancellation, add_transaction_check, request_marking
from models.daemon_status import daemon_report
from models.db.connection import database
from models.decision import DecidedBy
from models.outbox import Event, Message
from models.output import outputs_at
from models.webhook import BTCPAY, add_webhook, webhooks_for
from payments.greenfield.facts import invoice_facts
from payments.greenfield.marking import MarkingError, read_marking
from tests.support.chain_state import ChainState
from tests.support.expected_state import (
    COVERED,
    TrackedRequest,
    differences,
    email_faults,
    event_faults,
    is_behind,
    keep_state,
    remove_absent,
)
from tests.support.in_process_daemon import InProcessDaemon
from tests.support.invoice_order import order_faults, stored_events, unreported
from tests.support.rows import new_payment
from tests.support.tx_builder import ANYONE_CAN_SPEND, BuiltTransaction, Coin
from tests.support.waiting import wait_until

CUSHION_BLOCKS = 13
COINS_PER_SCENARIO = 60
PATIENCE_SECONDS = 60.0
FEE_SATS = 2_000
SELLER = "company1"
LONG = timedelta(days=7)
SOON, HELD = timedelta(seconds=2), timedelta(seconds=0.5)


@dataclass(slots=True)
class Scenario:
    """The parts that all scenarios of a test share. `begin` clears them for the next scenario.

    `is_rough` is set where several things happened since the last `settle`, so that events cannot be compared
    exactly. `is_broken` is set after a failure.
    """

    chain: ChainState
    daemon: InProcessDaemon
    settings: Settings
    requests: list[TrackedRequest] = field(default_factory=list)
    sent: list[BuiltTransaction] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    is_rough: bool = False
    is_broken: bool = False
    compared_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    settled_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def begin(self) -> None:
        self.requests, self.sent, self.done = [], [], []
        self.is_rough = False
        self.chain.watcher = self._remove_absent
        self.chain.settle(COINS_PER_SCENARIO, CUSHION_BLOCKS)
        if not self.daemon.is_up:
            self.daemon.start()
        self.settle()

    def open_shop(self) -> None:
        """Give the seller an endpoint of BTCPay's kind, so that the daemon reports invoices."""
        if not webhooks_for([SELLER], BTCPAY):
            with database.atomic():
                add_webhook(SELLER, BTCPAY, "https://shop.example/btcpay", datetime.now(UTC))

    def note(self, what: str) -> None:
        """Add a step to the report of a failure."""
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
    ) -> TrackedRequest:
        """Store a payment request, as the web server does."""
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
        request = TrackedRequest(row.id, address.script)
        self.requests.append(request)
        self.note(f"request {len(self.requests) - 1}: {row.reference}, {amount_sats} sats")
        return request

    def _fill_pool(self) -> None:
        """Store an address of the wallet if none is free, as the daemon's address pool does."""
        if not free_count():
            rpc, wallet = self.chain.node.rpc, self.settings.bitcoind_wallet
            named = rpc("getnewaddress", "nodetill", "bech32", wallet=wallet)
            script = bytes.fromhex(rpc("validateaddress", named)["scriptPubKey"])
            add_addresses([(named, script)], wallet, datetime.now(UTC))

    def expire(self, request: TrackedRequest, *, monitoring: timedelta = LONG) -> None:
        """Set the request's expiry to now, and monitor it for `monitoring` from now on."""
        row, now = request.row(), datetime.now(UTC)
        row.expires_at, row.monitored_until = now, now + monitoring
        row.late_accepted_until = row.late_accepted_until and row.monitored_until
        # A daemon that has found it covered does not look again at its expiry.
        row.reassess_at = row.monitored_until if row.status in COVERED else now
        fields = type(row)
        row.save(
            only=[fields.expires_at, fields.monitored_until, fields.late_accepted_until, fields.reassess_at]
        )
        self.note(f"{row.reference} expires")

    def late(self) -> list[TrackedRequest]:
        """Return the requests with late money that the seller has not accepted yet."""
        rows = ((request, request.row()) for request in self.requests)
        return [request for request, row in rows if row.is_late and row.late_accepted_at is None]

    def accept(self, request: TrackedRequest) -> None:
        """Accept late money as the seller. A stopped daemon meets it together with other changes."""
        self.is_rough |= not self.daemon.is_up
        add_acceptance(request.row(), datetime.now(UTC))

    def mark(self, request: TrackedRequest, status: str) -> None:
        """Mark an invoice by hand as the shop, if that is possible."""
        row = request.row()
        received = [output.received_output for output in outputs_at(row.address_id)]
        facts = invoice_facts(row, "", received, tip_height=daemon_report().assessed_height)
        with suppress(MarkingError):
            marking = read_marking(facts, status)
            request_marking(row, marking, datetime.now(UTC), database.atomic, DecidedBy.API)
            self.is_rough = True
            self.note(f"{row.reference} is marked as {status}")

    def cancel(self, request: TrackedRequest) -> None:
        """Store the seller's command to cancel a request."""
        self.is_rough = True
        self.note(f"cancel {request.row().reference}")
        add_cancellation(request.row(), datetime.now(UTC))

    def name(self, request: TrackedRequest, txid: str) -> None:
        """Store the command that checks a posted txid, as the web server does."""
        add_transaction_check(request.row(), txid, datetime.now(UTC))

    # The customers

    def pay(
        self,
        outputs: Iterable[tuple[TrackedRequest, int]],
        coin: Coin | None = None,
        *,
        is_public: bool = True,
    ) -> BuiltTransaction:
        """Build a payment with these outputs.

        It is sent to bitcoind, or kept for a block if not `is_public`.
        """
        coins = [coin or self.chain.coin()]
        return self._made(coins, [(request.script, sats) for request, sats in outputs], FEE_SATS, is_public)

    def replace(
        self, old: BuiltTransaction, outputs: Iterable[tuple[bytes, int]], *, is_public: bool = True
    ) -> BuiltTransaction:
        """Spend the same coins to other outputs, with a fee high enough to replace `old`."""
        spent = sum(coin.amount_sats for coin in old.coins)
        fee_sats = 2 * (spent - sum(sats for _, sats in old.outputs)) + 20_000
        return self._made(old.coins, list(outputs), min(fee_sats, spent // 2), is_public)

    def replace_both(
        self, one: BuiltTransaction, other: BuiltTransaction, outputs: Iterable[tuple[bytes, int]]
    ) -> BuiltTransaction:
        """Spend the coins of two transactions to other outputs, with a fee high enough to replace both."""
        return self._made([*one.coins, *other.coins], list(outputs), 100_000, is_public=True)

    def free_by_detour(self, old: BuiltTransaction) -> None:
        """Take a transaction out of the mempool, and leave its coins unspent.

        A first replacement spends its coins and another coin. A second replacement spends only the other
        coin, and is mined.
        """
        other = self.chain.coin()
        first = self._made([*old.coins, other], [(ANYONE_CAN_SPEND, 1_000)], 60_000, is_public=True)
        self.settle()
        second = self._made([other], [(ANYONE_CAN_SPEND, 1_000)], 400_000, is_public=True)
        self.note(f"{first.txid} replaces {old.txid}, {second.txid} replaces {first.txid}")
        self.chain.mine([second])
        self.settle()

    def _made(
        self,
        coins: Iterable[Coin],
        outputs: list[tuple[bytes, int]],
        fee_sats: int,
        is_public: bool,
    ) -> BuiltTransaction:
        made = self.chain.build_transaction(list(coins), outputs, fee_sats)
        self.sent.append(made)
        is_taken = is_public and self.chain.publish(made)
        where = "in the mempool" if is_taken else "refused" if is_public else "hidden"
        self.note(f"transaction {len(self.sent) - 1}: {made.txid}, {where}")
        return made

    # The machine

    def wait_for_a_deadline(self) -> None:
        """Wait until the next request expires or its monitoring ends, if that is soon."""
        now = datetime.now(UTC)
        rows = [request.row() for request in self.requests]
        coming = [m for row in rows for m in (row.expires_at, row.monitored_until) if m > now]
        if coming and (soonest := min(coming)) < now + SOON:
            wait = self.daemon.work_until if self.daemon.is_up else wait_until
            wait(lambda: datetime.now(UTC) > soonest, PATIENCE_SECONDS)

    def restart_bitcoind(self, *, is_clean: bool) -> None:
        """Stop or kill bitcoind, and start it again. After a kill it has lost blocks and its mempool.

        The daemon may store no event until bitcoind has received the blocks again.
        """
        self.note(f"bitcoind {'restarts' if is_clean else 'is killed'}")
        self.is_rough = True
        if is_clean:
            self.chain.node.restart()
            self._remove_absent()
            if self.daemon.is_up:
                with self.daemon.loading():
                    self.hold("an event follows from a node that has yet to load its mempool")
            return
        self.chain.node.kill()
        self.chain.node.launch()
        if self.daemon.is_up and self.chain.is_behind():
            self.hold("an event follows from a node that has lost its blocks")
        self.chain.hand_over_blocks()

    def hold(self, fault: str) -> None:
        """Let the daemon work for a while. It may store no event meanwhile."""
        event_count, end = self._event_count(), datetime.now(UTC) + HELD
        self.daemon.work_until(lambda: datetime.now(UTC) > end, PATIENCE_SECONDS)
        assert self._event_count() == event_count, self.report([fault])

    def _remove_absent(self) -> None:
        """Compare the outputs with bitcoind after each change of its chain or mempool."""
        if self.requests:
            view = self.chain.view()
            for request in self.requests:
                remove_absent(request, self.chain, view)

    def meanwhile(self, happen: Callable[[], None], calls: int) -> None:
        """Call `happen` just before one of the daemon's next calls to bitcoind."""

        def happen_now() -> None:
            self.is_rough = True
            happen()

        self.daemon.meanwhile(happen_now, calls)

    def _event_count(self) -> int:
        return int(Event.select().count())

    # The comparison with the expected state

    def settle(self) -> None:
        """Wait until the database has the expected state, and compare the events since the last call."""
        if not self.daemon.is_up:
            return
        self.chain.node.rpc("syncwithvalidationinterfacequeue")
        if not self.daemon.work_until(lambda: not self.faults(), PATIENCE_SECONDS):
            raise AssertionError(self.report(self.faults()))
        view, now = self.chain.view(), self.compared_at
        faults = [
            fault
            for request in self.requests
            for fault in event_faults(request, self.chain, view, now, is_exact=self._is_exact(request, now))
        ]
        faults += [fault for request in self.requests for fault in order_faults(stored_events(request.row()))]
        if faults:
            raise AssertionError(self.report(faults))
        for request in self.requests:
            keep_state(request, self.chain, view)
        self.is_rough, self.settled_at = False, now

    def end(self) -> None:
        """Check that a restart changes nothing, and that each message has arrived."""
        if self.is_broken:
            return
        if self.daemon.is_up:
            self.daemon.stop()
        self.daemon.start()
        self.settle()
        if not self.daemon.look(PATIENCE_SECONDS):
            raise AssertionError(self.report(["the daemon does not reconcile after its start"]))
        self.settle()
        if not self.daemon.work_until(lambda: not self._undelivered(), PATIENCE_SECONDS):
            raise AssertionError(self.report(["emails are not delivered"]))
        taken, mail_from = self.daemon.mailer.taken, self.settings.mail_from
        faults = [f for request in self.requests for f in email_faults(request, taken, mail_from)]
        if faults:
            raise AssertionError(self.report(faults))

    def faults(self) -> list[str]:
        """Return the differences between the database and the expected state."""
        view, now = self.chain.view(), datetime.now(UTC)
        self.compared_at = now
        behind = is_behind(view)
        if behind is not None:
            return [behind]
        found = [fault for request in self.requests for fault in differences(request, self.chain, view, now)]
        return found or [
            f"{request.row().reference}: {event} is not reported"
            for request in self.requests
            for event in unreported(request.row(), view.tip.height, now)
        ]

    def _is_exact(self, request: TrackedRequest, now: datetime) -> bool:
        """Return whether only one thing happened since the last `settle`."""
        row = request.row()
        is_crossed = any(self.settled_at < m <= now for m in (row.expires_at, row.monitored_until))
        return not (self.is_rough or is_crossed)

    def _undelivered(self) -> int:
        ours = Message.payment.in_([request.payment_id for request in self.requests])
        return int(Message.select().where(ours & Message.delivered_at.is_null()).count())

    def report(self, faults: list[str]) -> str:
        """Return the text of an error: the faults, and the steps that led to them."""
        self.is_broken = True
        return "\n".join(["", *faults, "the steps so far:", *self.done])
