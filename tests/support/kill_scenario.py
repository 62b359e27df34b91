"""One tale with everything in it, told to a daemon that may die at any word of it.

At its end the daemon is started once more; the database must be what the oracle says, and everything told.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from daemon.node.client import LABEL
from models.address import unknown_addresses
from models.command import add_redelivery, pending_commands
from models.outbox import EMAIL, WEBHOOK, Event, Message, events_of
from payments.notifications import message_id
from tests.support.child_daemon import ChildDaemon
from tests.support.endpoint import Endpoint
from tests.support.expected_state import Account, faults_of_telling
from tests.support.scenario import Stage
from tests.support.tx_builder import Forged
from tests.support.zmq_forwarder import ZmqForwarder

GARBAGE = b"\x02\x00\x00\x00\x00\x01\xff"
STEP_SECONDS, PATIENCE_SECONDS = 10.0, 60.0
TALES_A_STAGE = 8
SHORT = timedelta(seconds=0.4)


@dataclass(slots=True)
class Tale:
    """`stage` plays it, `feed` is what the daemon hears, `shop` is the seller's endpoint."""

    stage: Stage
    daemon: ChildDaemon
    feed: ZmqForwarder
    shop: Endpoint
    late: Account | None = None
    paid: Forged | None = None
    tales: int = 0

    def begin(self) -> None:
        """With a daemon that lives; now and then all that was is buried."""
        if not self.daemon.is_up or self.daemon.is_dead:
            self.daemon.start()
        if self.tales % TALES_A_STAGE == 0:
            self.stage.begin()
        self.tales += 1

    def tell(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Until the end, also without the daemon if that dies. `meanwhile` is called before each step."""
        self.stage.is_rough = True
        for step in self._steps():
            meanwhile()
            step()
            if self.daemon.is_up and not self.daemon.is_dead:
                self.daemon.work_until(self._is_quiet, STEP_SECONDS)

    def _steps(self) -> Iterator[Callable[[], None]]:
        yield self._order_and_pay
        yield self._bump_the_fee_and_pay_on
        yield self._say_what_is_no_transaction
        yield self._ask_for_things
        yield self._mine_nothing
        yield self._mine_all
        yield lambda: self._rewrite(2)
        yield self._mine_all
        yield self._pay_late
        yield self._accept
        yield lambda: self._rewrite(8)
        yield self._mine_all

    def _order_and_pay(self) -> None:
        """The first one is paid by what only a miner has, so that it is first met in a block."""
        stage = self.stage
        hidden = stage.request(2_000)
        orders = [stage.request(2_000), stage.request(3_000, confirmations=2)]
        self.late = stage.request(2_000, expiry=SHORT)
        self.paid = stage.pay([(orders[0], 2_000)])
        stage.pay([(orders[1], 1_500)])
        stage.pay([(hidden, 2_000)], is_public=False)

    def _bump_the_fee_and_pay_on(self) -> None:
        assert self.paid is not None
        bumped = self.stage.replace(self.paid, self.paid.outputs[:-1])
        self.stage.pay([(self.stage.accounts[-2], 1_500)], bumped.coin(-1))

    def _say_what_is_no_transaction(self) -> None:
        self.feed.say(b"rawtx", GARBAGE)

    def _ask_for_things(self) -> None:
        assert self.paid is not None
        self.stage.name(self.stage.accounts[-1], self.paid.txid)
        for message in Message.select().where(Message.delivered_at.is_null(False)).limit(1):
            add_redelivery(message, datetime.now(UTC))

    def _mine_nothing(self) -> None:
        self.stage.world.mine()

    def _mine_all(self) -> None:
        self.stage.world.mine(self.stage.sent)

    def _rewrite(self, depth: int) -> None:
        """The payments come again, some in other blocks."""
        sent = self.stage.sent
        self.stage.world.reorg(depth, [sent[:1], [], sent[1:2]])

    def _pay_late(self) -> None:
        assert self.late is not None
        expires_at = self.late.row().expires_at
        self.daemon.work_until(lambda: datetime.now(UTC) > expires_at, STEP_SECONDS)
        self.stage.pay([(self.late, 2_000)])

    def _accept(self) -> None:
        assert self.late is not None
        self.stage.accept(self.late)

    def _is_quiet(self) -> bool:
        """Nothing is left to be done for now."""
        return not (pending_commands() or self.stage.faults() or undelivered())

    def _strays(self) -> list[str]:
        """Addresses that the wallet made for us, and the table lacks."""
        wallet = self.stage.settings.bitcoind_wallet
        return unknown_addresses(self.stage.world.node.rpc("getaddressesbylabel", LABEL, wallet=wallet))

    def finish(self) -> None:
        """With a daemon that lives: what is stored is true, and all of it was told."""
        stage, daemon = self.stage, self.daemon
        daemon.await_kills()
        if not daemon.is_up or daemon.is_dead:
            daemon.start()
        stage.is_rough = True
        stage.settle()
        is_all_delivered = daemon.work_until(lambda: not undelivered(), PATIENCE_SECONDS)
        assert is_all_delivered, f"after {daemon.kills} kills {_late()}; the log:\n{daemon.words()}"
        are_all_in = daemon.work_until(lambda: not self._strays(), STEP_SECONDS)
        assert are_all_in, f"not in the table: {self._strays()}; the log:\n{daemon.words()}"
        view, now = stage.world.view(), datetime.now(UTC)
        faults = [f for a in stage.accounts for f in faults_of_telling(a, view, now, is_exact=False)]
        faults += [f for a in stage.accounts for f in faults_of_delivery(a, self)]
        assert not faults, stage.report(faults)


def undelivered() -> int:
    """Messages on their way."""
    return int(Message.select().where(Message.delivered_at.is_null()).count())


def _late() -> list[tuple[str, str, int, str | None]]:
    """What is on its way, by whom it goes to, how often it was tried, and what came of it."""
    rows = Message.select(Message, Event).join(Event).where(Message.delivered_at.is_null())
    return [(row.event.type, row.queue, row.attempts, row.last_error) for row in rows]


def faults_of_delivery(account: Account, tale: Tale) -> list[str]:
    """Each message came, under its event's id, and those of one payment in the order of its events."""
    told = events_of(account.row())
    mailed = [message_id(event.reference, tale.stage.settings.mail_from) for event in told]
    hooked = [event.reference for event in told]
    hooks = [request.headers["webhook-id"] for request in tale.shop.requests]
    arrived = {EMAIL: tale.daemon.postbox.taken, WEBHOOK: hooks}
    wanted = {
        EMAIL: [name for name, event in zip(mailed, told, strict=True) if _has(event, EMAIL)],
        WEBHOOK: hooked,
    }
    faults = []
    for channel, names in wanted.items():
        first_arrivals = list(dict.fromkeys(name for name in arrived[channel] if name in set(names)))
        if first_arrivals != names:
            faults.append(f"{channel}: of {names} came {first_arrivals}")
    return faults


def repeats(tale: Tale) -> int:
    """How many messages came more than once."""
    ids = [*tale.daemon.postbox.taken, *(r.headers["webhook-id"] for r in tale.shop.requests)]
    return sum(count - 1 for count in Counter(ids).values())


def _has(event: Event, channel: str) -> bool:
    return bool(Message.select().where((Message.event == event) & (Message.channel == channel)).count())


def as_hand_daemon(daemon: ChildDaemon) -> Any:
    """What `Stage` is given: it asks for nothing that the two don't share."""
    return cast(Any, daemon)
