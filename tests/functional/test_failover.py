"""Two daemons share one PostgreSQL server. One works, and the other stands by.

Each daemon has a bitcoind of its own. Both nodes watch the same descriptor, and are connected as README
describes.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Event, Thread

import psycopg
import pytest

from daemon.chain.mempool import DROP_GRACE
from regtest.child import free_ports
from regtest.installation import environment, settings_for
from regtest.node import RegtestNode
from regtest.process import Process
from tests.functional.test_wallet_commands import RECEIVING
from tests.support.customer import Customer
from tests.support.fork_server import fork_python
from tests.support.merchant import SELLER, Merchant, Order
from tests.support.network_cut import NetworkLink
from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_until

CONTRACT_SECONDS = 5.0
FEW, MANY = 3, 6
PACE_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Site:
    """Two machines. `merchant` has the web server and the second machine.

    The first machine reaches PostgreSQL through `network`.
    """

    merchant: Merchant
    customer: Customer
    network: NetworkLink
    first: Process
    first_node: RegtestNode
    peer: str

    def reconnect(self) -> None:
        """Connect the nodes after `setnetworkactive false`, because bitcoind itself waits for a minute."""
        second_node = self.merchant.node
        second_node.rpc("setnetworkactive", True)
        second_node.rpc("addnode", self.peer, "onetry")
        nodes = (self.first_node, second_node)
        wait_until(
            lambda: len({node.rpc("getbestblockhash") for node in nodes}) == 1,
            what="the nodes to have one tip",
        )

    @property
    def second(self) -> Process:
        return self.merchant.daemon

    def wait_active(self, daemon: Process, term: int) -> None:
        """Wait until this daemon takes over for the `term`-th time, within the limit of docs/spec.md 1."""
        daemon.wait_until(lambda: _times(daemon, "daemon started") >= term, "take over", CONTRACT_SECONDS)


def _times(daemon: Process, event: str) -> int:
    return sum(f'"{event}"' in line or f"event={event}" in line for line in daemon.lines())


@pytest.fixture(scope="module")
def site(
    start_node: Callable[..., RegtestNode],
    postgres: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """Start both machines. The first daemon works, and the second stands by."""
    (port,) = free_ports(1)
    # With noban, the nodes relay transactions at once, and not after a random delay.
    trust = "-whitelist=in,out,noban@127.0.0.1"
    first_node = start_node("-listen=1", f"-bind=127.0.0.1:{port}", trust)
    second_node = start_node(f"-addnode=127.0.0.1:{port}", trust)
    second_node.rpc("setmocktime", int(datetime.now(UTC).timestamp()) - 3600)
    second_node.fund_customer()
    second_node.rpc("setmocktime", 0)
    directory = tmp_path_factory.mktemp("till")
    url = postgres.new_database()
    with ExitStack() as stack:
        network = stack.enter_context(NetworkLink(url))
        merchant = Merchant(second_node, directory, DATABASE_URL=url)
        stack.callback(merchant.close)
        first_settings = settings_for(first_node, directory / "first") | {
            "DATABASE_URL": network.url,
            "BITCOIND_WALLET": merchant.wallet,
            "SMTP_URL": merchant.installation.settings["SMTP_URL"],
            "LOG_LEVEL": "debug",
        }
        merchant.installation.manage_json("wallet", "create", "--watch-only", RECEIVING)
        first = Process("run_daemon.py", environment(first_settings), directory / "first", "first")
        watched = Merchant(first_node, directory / "wallet", fork_python, **first_settings)
        watched.installation.manage_json("wallet", "create", "--watch-only", RECEIVING)
        stack.enter_context(first)
        first.wait_for_line("daemon started")
        merchant.open(has_wallet=False)
        merchant.daemon.wait_for_line("standby", "another daemon works on this database")
        yield Site(merchant, Customer(second_node), network, first, first_node, f"127.0.0.1:{port}")


class Trade:
    """Create, pay and mine requests without a pause, from `with` to its end."""

    def __init__(self, site: Site) -> None:
        self.orders: list[Order] = []
        self._site = site
        self._is_over = Event()
        self._thread = Thread(target=self._go_on)

    def __enter__(self) -> "Trade":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def wait_received(self, number: int) -> None:
        """Wait until `number` requests are paid, and the daemon has received the last payment."""
        self._site.merchant.wait(lambda: len(self.orders) >= number, "create enough requests")
        self._site.merchant.wait(
            lambda: self.orders[number - 1].now()["status"] != "new", "receive the payment"
        )

    def _go_on(self) -> None:
        merchant, coin = self._site.merchant, None
        # This thread needs a client of its own.
        client = merchant.installation.client(merchant.client.api_key)
        body = {"seller_id": SELLER, "amount_fiat": "10.00", "currency": "EUR", "confirmations": 1}
        while not self._is_over.wait(PACE_SECONDS):
            answer = client.post("/api/v1/payments", body)
            if answer.status == 503:  # The pool is empty until the next daemon fills it.
                continue
            assert answer.status == 201, answer.body
            order = Order(merchant, answer.document)
            coin = self._site.customer.pay(order.address, order.amount_sats, coin=coin).change
            self.orders.append(order)
            if len(self.orders) % 3 == 0:
                self._site.merchant.node.mine()


def check_delivered(merchant: Merchant, orders: list[Order], most_repeats: int) -> None:
    """Check that each payment is received and then confirmed, and that each email arrives.

    Emails are sent one at a time, so each takeover repeats at most one of them.
    """
    for order in orders:
        order.wait("confirmed")
        merchant.wait(order.is_all_delivered, "deliver all")
        assert order.events() == ["received", "confirmed"]
    wanted = {message_id for order in orders for message_id in order.mailed()}
    delivered = [letter["Message-ID"] for letter in merchant.letters() if letter["Message-ID"] in wanted]
    assert set(delivered) == wanted
    assert len(wanted) == 2 * len(orders)
    assert len(delivered) - len(wanted) <= most_repeats


def test_a_daemon_that_loses_its_lock_stands_by(site: Site) -> None:
    """PostgreSQL ends only the session with the lock. The other daemon takes over."""
    with Trade(site) as trade:
        trade.wait_received(FEW)
        with psycopg.connect(
            site.merchant.installation.settings["DATABASE_URL"], autocommit=True
        ) as operator:
            operator.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
        site.wait_active(site.second, 1)
        site.first.wait_for_line("lock lost")
        site.first.wait_for_line("standby", "another daemon works on this database")
        trade.wait_received(len(trade.orders) + FEW)
    site.merchant.node.mine()
    check_delivered(site.merchant, trade.orders, most_repeats=1)
    # The first daemon takes over again.
    site.second.kill()
    site.wait_active(site.first, 2)
    site.second.start()
    site.second.wait_for_line("standby")


def test_a_payment_seen_only_by_the_other_node_is_not_reverted(site: Site) -> None:
    """The node of the daemon that takes over receives the payment later."""
    order = site.merchant.request(confirmations=1)
    site.merchant.node.rpc("setnetworkactive", False)
    sent = site.customer.write({order.address: order.amount_sats})
    site.first_node.rpc("sendrawtransaction", sent.raw)
    order.wait("received")
    site.first.kill()
    site.wait_active(site.second, 1)
    begun = datetime.now(UTC)
    site.merchant.wait(
        lambda: datetime.now(UTC) > begun + DROP_GRACE * 1.5, "wait longer than the grace period"
    )
    assert sent.txid not in site.merchant.node.rpc("getrawmempool")
    assert order.now()["status"] == "received"
    site.customer.publish(sent)
    site.merchant.node.mine()
    check_delivered(site.merchant, [order], most_repeats=1)
    site.reconnect()
    site.first.start()
    site.first.wait_for_line("standby")
    site.second.stop()
    site.wait_active(site.first, 1)
    site.second.start()
    site.second.wait_for_line("standby")


def test_a_machine_that_is_cut_off_stands_by_and_comes_back(site: Site) -> None:
    """Its daemon and bitcoind continue without PostgreSQL, and the other daemon takes over."""
    started, lost = _times(site.first, "daemon started"), _times(site.first, "lock lost")
    with Trade(site) as trade:
        trade.wait_received(FEW)
        site.network.cut()
        site.wait_active(site.second, 1)
        trade.wait_received(len(trade.orders) + FEW)
        site.first.wait_until(lambda: _times(site.first, "lock lost") > lost, "log the lost lock")
    site.merchant.node.mine()
    check_delivered(site.merchant, trade.orders, most_repeats=1)
    site.network.restore()
    late = site.merchant.request(confirmations=1)
    site.second.kill()
    site.customer.pay(late.address, late.amount_sats)
    site.first.wait_until(lambda: _times(site.first, "daemon started") > started, "take over")
    site.merchant.node.mine()
    check_delivered(site.merchant, [late], most_repeats=0)
    site.second.start()
    site.second.wait_for_line("standby")


def test_a_machine_that_loses_its_power_is_replaced(site: Site) -> None:
    """Daemon and bitcoind end at once under load, and PostgreSQL gets no message. Nothing is lost."""
    with Trade(site) as trade:
        trade.wait_received(MANY)
        site.network.cut()
        site.first.kill()
        site.first_node.kill()
        site.wait_active(site.second, 1)
        trade.wait_received(len(trade.orders) + FEW)
    site.merchant.node.mine()
    check_delivered(site.merchant, trade.orders, most_repeats=1)
    assert "payment.reverted" not in site.second.log_file.read_text()
