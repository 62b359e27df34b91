"""A daemon with PROXY reaches rates, a shop and a mail server by their names, and looks up none of them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from admin.seller.command import add_seller
from models.db.connection import disconnect
from regtest.node import RegtestNode
from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.doctor import Installation
from tests.support.endpoint import Endpoint, answers
from tests.support.mail_server import MailServer
from tests.support.merchant import SELLER
from tests.support.socks_server import NAME, SocksServer, replies

COINBASE = b'{"data":{"currency":"BTC","rates":{"EUR":"50000"}}}'
LOGIN = ("till", "hunter2")

# Python imports this module at its start, if it is on the path.
SPY = """
import socket

real = socket.getaddrinfo


def getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):
    if not flags & socket.AI_NUMERICHOST and host not in ("127.0.0.1", "::1", "localhost"):
        with open({path!r}, "a") as file:
            print(host, file=file)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return real(host, port, family, type, proto, flags)


socket.getaddrinfo = getaddrinfo
"""


@pytest.fixture
def spy(tmp_path: Path) -> Path:
    """Return the directory of a module that refuses and lists each look-up of a name."""
    directory = tmp_path / "spy"
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(SPY.format(path=str(tmp_path / "looked-up")))
    return directory


def test_a_daemon_with_a_proxy_looks_up_no_name(
    make_merchant: MerchantMaker, customer: Customer, spy: Path, tmp_path: Path
) -> None:
    """The names exist only for the proxy. bitcoind and the database are reached without it."""
    with (
        SocksServer(login=LOGIN) as socks,
        Endpoint(answers(200, COINBASE)) as source,
        Endpoint(answers(200)) as shop,
        MailServer() as mail,
    ):
        smtp = mail.address()
        merchant = make_merchant(
            PYTHONPATH=str(spy),
            PROXY=f"socks5h://{LOGIN[0]}:{LOGIN[1]}@127.0.0.1:{socks.port}",
            RATE_SOURCES="coinbase",
            RATE_URL_COINBASE=f"http://rates.example:{source.port}/",
            SMTP_URL=f"smtp://mail.example:{smtp.port}?starttls=never",
        ).open()
        webhook = f"http://shop.example:{shop.port}/hook"
        merchant.installation.manage_json("seller", "set", SELLER, "--webhook-url", webhook)
        order = merchant.request(confirmations=0)
        customer.pay(order.address, order.amount_sats)
        order.wait("confirmed")
        merchant.wait(order.is_all_delivered, "deliver all")
        merchant.close()
    assert order.document["price_source"] == "coinbase"
    assert len(shop.requests) == len(mail.taken) == 2
    reached = {(target.kind, target.host, target.port) for target in socks.targets}
    assert reached == {
        (NAME, "rates.example", source.port),
        (NAME, "shop.example", shop.port),
        (NAME, "mail.example", smtp.port),
    }
    assert set(socks.logins) == {LOGIN}
    assert not (tmp_path / "looked-up").exists()
    assert LOGIN[1] not in "\n".join(merchant.daemon.lines())


@pytest.fixture
def installation(regtest_node: RegtestNode, tmp_path: Path, short_listening: None) -> Iterator[Installation]:
    """Yield an installation that has no database yet."""
    yield Installation(regtest_node, tmp_path)
    disconnect()


def test_the_doctor_checks_the_proxy_and_the_rates_through_it(installation: Installation) -> None:
    with SocksServer(login=LOGIN) as socks, Endpoint(answers(200, COINBASE)) as source:
        rates = {
            "RATE_SOURCES": "coinbase",
            "RATE_URL_COINBASE": f"http://rates.example:{source.port}/",
        }
        good = installation.diagnose(**rates, PROXY=f"socks5h://till:hunter2@127.0.0.1:{socks.port}")
        refused = installation.diagnose(**rates, PROXY=f"socks5h://till:wrong@127.0.0.1:{socks.port}")
    with installation.database():
        add_seller("company1", {"webhook_url": "http://shop.example/"}, restore=False, now=datetime.now(UTC))
    mail = {"SMTP_URL": "smtp://mail.example:25?starttls=never"}
    trial = ("--test-webhook", "company1")
    down = installation.diagnose(*trial, **rates, **mail, PROXY=f"socks5h://127.0.0.1:{socks.port}")
    with SocksServer(refusal=2) as strict:
        refuses = installation.diagnose(*trial, **rates, **mail, PROXY=strict.url)
    assert good.text("proxy").startswith(f"127.0.0.1:{socks.port} is a SOCKS5 proxy")
    assert (good.state("proxy"), good.state("rates: coinbase")) == ("ok", "ok")
    assert refused.wrong["proxy"].startswith("the proxy refuses the user or the password of PROXY")
    assert "wrong" not in str(refused.found).replace("'wrong'", "")
    assert down.wrong["proxy"].startswith("the proxy cannot be reached: Connection refused")
    cure = "the proxy cannot be reached: Connection refused: start the proxy, or correct PROXY"
    assert down.wrong["rates: coinbase"] == cure
    assert down.wrong["test webhook"].endswith("start the proxy, or correct PROXY")
    assert down.wrong["mail"].startswith(cure)
    assert "the proxy (some sources refuse Tor) can reach it" in refuses.wrong["rates: coinbase"]
    assert "the proxy does not allow this address: correct PROXY, or the host" in refuses.wrong["mail"]
    assert "correct the address: " in refuses.wrong["test webhook"]


def test_the_doctor_names_a_server_that_is_no_proxy(installation: Installation) -> None:
    with SocksServer(greeting=replies(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        found = installation.diagnose(PROXY=server.url)
    assert found.wrong["proxy"].startswith("PROXY names a server that is no SOCKS5 proxy")


def test_without_a_proxy_the_doctor_has_no_line_for_it(installation: Installation) -> None:
    assert "proxy" not in [part for part, _, _ in installation.diagnose().found]
