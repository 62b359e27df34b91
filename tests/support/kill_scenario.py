"""A scenario with each kind of change, during which a test kills the daemon anywhere.

At the end the daemon starts once more. The database must then agree with the oracle, and all messages must be
delivered.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from daemon.node.client import LABEL
from models.address import unknown_addresses
from models.command import pending_commands, request_redelivery
from models.db.connection import database
from models.outbox import EMAIL, WEBHOOK, Event, Message, events_of
from payments.notifications import message_id
from tests.support.child_daemon import ChildDaemon
from tests.support.endpoint import Endpoint
from tests.support.expected_state import TrackedRequest, event_faults
from tests.support.scenario import Scenario
from tests.support.tx_builder import BuiltTransaction
from tests.support.zmq_forwarder import ZmqForwarder

GARBAGE = b"\x02\x00\x00\x00\x00\x01\xff"
STEP_SECONDS, PATIENCE_SECONDS = 10.0, 60.0
RUNS_UNTIL_CLEARED = 8
SHORT = timedelta(seconds=0.4)


@dataclass(slots=True)
class KillScenario:
    """`feed` is the daemon's ZMQ feed, and `shop` the seller's webhook endpoint."""

    scenario: Scenario
    daemon: ChildDaemon
    feed: ZmqForwarder
    shop: Endpoint
    late: TrackedRequest | None = None
    paid: BuiltTransaction | None = None
    runs: int = 0

    def begin(self) -> None:
        """Start the daemon if it does not run, and clear the requests after some runs."""
        if not self.daemon.is_up or self.daemon.is_dead:
            self.daemon.start()
        if self.runs % RUNS_UNTIL_CLEARED == 0:
            self.scenario.begin()
        self.runs += 1

    def run(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Do all steps, even if the daemon ends. `meanwhile` is called before each step."""
        self.scenario.is_rough = True
        for step in self._steps():
            meanwhile()
            step()
            if self.daemon.is_up and not self.daemon.is_dead:
                self.daemon.work_until(self._is_quiet, STEP_SECONDS)

    def _steps(self) -> Iterator[Callable[[], None]]:
        yield self._order_and_pay
        yield self._bump_the_fee_and_pay_on
        yield self._publish_garbage
        yield self._store_commands
        yield self._mine_nothing
        yield self._mine_all
        yield lambda: self._reorg(2)
        yield self._mine_all
        yield self._pay_late
        yield self._accept
        yield lambda: self._reorg(8)
        yield self._mine_all

    def _order_and_pay(self) -> None:
        """Create requests and payments.

        The first payment is not published, so the daemon first reads it in a block.
        """
        scenario = self.scenario
        hidden = scenario.request(2_000)
        orders = [scenario.request(2_000), scenario.request(3_000, confirmations=2)]
        self.late = scenario.request(2_000, expiry=SHORT)
        self.paid = scenario.pay([(orders[0], 2_000)])
        scenario.pay([(orders[1], 1_500)])
        scenario.pay([(hidden, 2_000)], is_public=False)

    def _bump_the_fee_and_pay_on(self) -> None:
        assert self.paid is not None
        bumped = self.scenario.replace(self.paid, self.paid.outputs[:-1])
        self.scenario.pay([(self.scenario.requests[-2], 1_500)], bumped.coin(-1))

    def _publish_garbage(self) -> None:
        self.feed.say(b"rawtx", GARBAGE)

    def _store_commands(self) -> None:
        assert self.paid is not None
        self.scenario.name(self.scenario.requests[-1], self.paid.txid)
        self.scenario.cancel(self.scenario.request(2_000))
        for message in Message.select().where(Message.delivered_at.is_null(False)).limit(1):
            request_redelivery(message, datetime.now(UTC), database.atomic)

    def _mine_nothing(self) -> None:
        self.scenario.chain.mine()

    def _mine_all(self) -> None:
        self.scenario.chain.mine(self.scenario.sent)

    def _reorg(self, depth: int) -> None:
        """Replace blocks; the payments come again, some in other blocks."""
        sent = self.scenario.sent
        self.scenario.chain.reorg(depth, [sent[:1], [], sent[1:2]])

    def _pay_late(self) -> None:
        assert self.late is not None
        expires_at = self.late.row().expires_at
        self.daemon.work_until(lambda: datetime.now(UTC) > expires_at, STEP_SECONDS)
        self.scenario.pay([(self.late, 2_000)])

    def _accept(self) -> None:
        assert self.late is not None
        self.scenario.accept(self.late)

    def _is_quiet(self) -> bool:
        """Return whether the daemon has nothing left to do for now."""
        return not (pending_commands() or self.scenario.faults() or undelivered())

    def _missing_addresses(self) -> list[str]:
        """Return the wallet's addresses with our label that the table lacks."""
        wallet = self.scenario.settings.bitcoind_wallet
        return unknown_addresses(self.scenario.chain.node.rpc("getaddressesbylabel", LABEL, wallet=wallet))

    def finish(self) -> None:
        """Start the daemon if it does not run, and check the stored state, the events and their delivery."""
        scenario, daemon = self.scenario, self.daemon
        daemon.await_kills()
        if not daemon.is_up or daemon.is_dead:
            daemon.start()
        scenario.is_rough = True
        scenario.settle()
        is_all_delivered = daemon.work_until(lambda: not undelivered(), PATIENCE_SECONDS)
        assert is_all_delivered, (
            f"after {daemon.kills} kills {_undelivered_rows()}; the log:\n{daemon.words()}"
        )
        are_all_stored = daemon.work_until(lambda: not self._missing_addresses(), STEP_SECONDS)
        assert are_all_stored, f"not in the table: {self._missing_addresses()}; the log:\n{daemon.words()}"
        view, now = scenario.chain.view(), datetime.now(UTC)
        faults = [
            f for a in scenario.requests for f in event_faults(a, scenario.chain, view, now, is_exact=False)
        ]
        faults += [f for a in scenario.requests for f in delivery_faults(a, self)]
        assert not faults, scenario.report(faults)


def undelivered() -> int:
    """Return the number of messages that are not delivered yet."""
    return int(Message.select().where(Message.delivered_at.is_null()).count())


def _undelivered_rows() -> list[tuple[str, str, int, str | None]]:
    """Return the event type, queue, attempts and last error of each message that is not delivered yet."""
    rows = Message.select(Message, Event).join(Event).where(Message.delivered_at.is_null())
    return [(row.event.type, row.queue, row.attempts, row.last_error) for row in rows]


def delivery_faults(request: TrackedRequest, kill_scenario: KillScenario) -> list[str]:
    """Return the channels whose messages are missing, or did not first arrive in the order of the events."""
    events = events_of(request.row())
    mailed = [message_id(event.reference, kill_scenario.scenario.settings.mail_from) for event in events]
    hooked = [event.reference for event in events]
    hooks = [hook.headers["webhook-id"] for hook in kill_scenario.shop.requests]
    arrived = {EMAIL: kill_scenario.daemon.mailer.taken, WEBHOOK: hooks}
    wanted = {
        EMAIL: [name for name, event in zip(mailed, events, strict=True) if _has(event, EMAIL)],
        WEBHOOK: hooked,
    }
    faults = []
    for channel, names in wanted.items():
        first_arrivals = list(dict.fromkeys(name for name in arrived[channel] if name in set(names)))
        if first_arrivals != names:
            faults.append(f"{channel}: expected {names}, arrived {first_arrivals}")
    return faults


def repeats(kill_scenario: KillScenario) -> int:
    """Return how many deliveries repeated an earlier one."""
    ids = [
        *kill_scenario.daemon.mailer.taken,
        *(r.headers["webhook-id"] for r in kill_scenario.shop.requests),
    ]
    return sum(count - 1 for count in Counter(ids).values())


def _has(event: Event, channel: str) -> bool:
    return bool(Message.select().where((Message.event == event) & (Message.channel == channel)).count())


def as_in_process_daemon(daemon: ChildDaemon) -> Any:
    """Return the daemon for `Scenario`, which uses only methods that both classes have."""
    return cast(Any, daemon)
