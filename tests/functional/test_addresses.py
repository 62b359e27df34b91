"""Settings with network addresses: IPv6, Unix sockets, 0.0.0.0, and a password beyond ASCII."""

import http.server
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from regtest.child import free_ports
from regtest.client import Client
from regtest.node import RegtestNode, rpcauth
from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.mail_server import MailServer
from tests.support.merchant import Merchant
from tests.support.waiting import wait_until

# Only the feed finds the payments of these tests, because the first reconciliation is a day later.
FEED_ONLY = {"RECONCILE_INTERVAL": "86400"}
USER, PASSWORD = "kasse-ü", "pässwörd"


@pytest.fixture(scope="module")
def sockets() -> Iterator[Path]:
    """Yield a directory whose name is short enough for a socket's path."""
    directory = tempfile.mkdtemp(prefix="nt")
    yield Path(directory)
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def ipv6_ports() -> list[int]:
    return free_ports(2)


@pytest.fixture(scope="module")
def regtest_node(start_node: Callable[..., RegtestNode], sockets: Path, ipv6_ports: list[int]) -> RegtestNode:
    """Return a node that also listens on ::1, and publishes on Unix sockets and on ::1."""
    rawtx_port, hashblock_port = ipv6_ports
    node = start_node(
        f"-{rpcauth(USER, PASSWORD)}",
        *("-rpcbind=[::1]", "-rpcbind=127.0.0.1", "-rpcallowip=::1"),
        *(f"-zmqpubrawtx=unix:{sockets}/rawtx", f"-zmqpubhashblock=unix:{sockets}/hashblock"),
        *(f"-zmqpubrawtx=tcp://[::1]:{rawtx_port}", f"-zmqpubhashblock=tcp://[::1]:{hashblock_port}"),
    )
    node.fund_customer()
    return node


class Shop(http.server.BaseHTTPRequestHandler):
    """A seller's endpoint on ::1."""

    received: list[tuple[str, str]]

    def do_POST(self) -> None:
        self.received.append((self.headers["Host"], self.path))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class Ipv6Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6


@pytest.fixture
def shop() -> Iterator[Ipv6Server]:
    Shop.received = []
    with Ipv6Server(("::1", 0), Shop) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def assert_doctor_reaches_bitcoind(merchant: Merchant) -> None:
    """Assert that the doctor reaches bitcoind and its feed at these addresses."""
    findings = merchant.installation.manage("doctor").stdout.splitlines()
    reached = {line.split()[1] for line in findings if line.startswith("ok")}
    assert {"bitcoind", "rawtx", "hashblock"} <= reached, findings


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with MailServer(host="::1") as server:
        yield server


def test_ipv6_works_in_each_setting(
    make_merchant: MerchantMaker,
    regtest_node: RegtestNode,
    customer: Customer,
    ipv6_ports: list[int],
    mail: MailServer,
    shop: Ipv6Server,
) -> None:
    """A payment, its emails and its webhooks use only ::1."""
    rawtx_port, hashblock_port = ipv6_ports
    merchant = make_merchant(
        BITCOIND_RPC_URL=regtest_node.rpc_url.replace("127.0.0.1", "[::1]"),
        BITCOIND_ZMQ_RAWTX=f"tcp://[::1]:{rawtx_port}",
        BITCOIND_ZMQ_HASHBLOCK=f"tcp://[::1]:{hashblock_port}",
        SMTP_URL=f"smtp://[::1]:{mail.address().port}?starttls=never",
        WEB_HOST="::1",
        **FEED_ONLY,
    )
    url = f"http://[::1]:{merchant.installation.environ['WEB_PORT']}"
    merchant.client = Client(url)
    merchant.installation.client = lambda api_key=None: Client(url, api_key)  # type: ignore[method-assign]
    webhook = f"http://[::1]:{shop.server_port}/paid?shop=1"
    merchant.open()
    merchant.installation.manage_json("seller", "set", "company1", "--webhook-url", webhook)
    order = merchant.request(confirmations=1)
    assert order.document["checkout_url"].startswith(url)
    customer.pay(order.address, order.amount_sats)
    order.wait("received")
    merchant.node.mine()
    order.wait("confirmed")
    merchant.wait(order.is_all_delivered, "deliver all events")
    assert len(mail.taken) == 2
    assert_doctor_reaches_bitcoind(merchant)
    assert Shop.received == [(f"[::1]:{shop.server_port}", "/paid?shop=1")] * 2
    assert merchant.daemon.stop() == 0


@pytest.mark.parametrize("scheme", ["unix:", "unix://", "ipc://"])
def test_the_feed_works_over_a_unix_socket(
    make_merchant: MerchantMaker, customer: Customer, sockets: Path, scheme: str
) -> None:
    """The tests use the spellings of bitcoin.conf and of libzmq."""
    addresses = {
        "BITCOIND_ZMQ_RAWTX": f"{scheme}{sockets}/rawtx",
        "BITCOIND_ZMQ_HASHBLOCK": f"{scheme}{sockets}/hashblock",
    }
    merchant = make_merchant(**addresses, **FEED_ONLY).open()
    order = merchant.request(confirmations=1)
    customer.pay(order.address, order.amount_sats)
    order.wait("received")
    merchant.node.mine()
    order.wait_told("received", "confirmed")
    assert_doctor_reaches_bitcoind(merchant)
    merchant.close()


def test_an_rpc_password_beyond_ascii_works(make_merchant: MerchantMaker, regtest_node: RegtestNode) -> None:
    """bitcoind compares the bytes of UTF-8."""
    url = f"http://{USER}:{PASSWORD}@localhost:{regtest_node.rpc_port}"
    done = make_merchant(BITCOIND_RPC_URL=url).installation.manage("doctor")
    assert f"answers at http://localhost:{regtest_node.rpc_port}" in done.stdout


def test_a_wildcard_web_host_requires_a_public_url(make_merchant: MerchantMaker) -> None:
    """The web server would give customers links to 0.0.0.0, so it exits. With PUBLIC_URL it starts."""
    merchant = make_merchant(WEB_HOST="0.0.0.0")
    merchant.web.start()
    assert merchant.web.wait() == 78
    (line,) = merchant.web.lines()
    assert line.startswith("nodetill: PUBLIC_URL: is unset")
    merchant = make_merchant(WEB_HOST="0.0.0.0", PUBLIC_URL="https://pay.example.com")
    merchant.web.start()
    wait_until(lambda: merchant.client.try_get("/health"))
    merchant.web.stop()
