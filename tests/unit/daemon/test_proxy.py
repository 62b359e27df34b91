"""With PROXY, all that goes out goes through the proxy, and the proxy looks up the names."""

import ssl
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

import daemon.delivery.smtp
import daemon.net.http_client
from config import HostList, Proxy, Secret, load_settings
from daemon.delivery.email_layout import EmailContent
from daemon.delivery.smtp import Mailer
from daemon.delivery.webhook import WebhookSender
from daemon.net.addresses import is_public_name
from daemon.net.errors import MailUnusable, ProxyError, TemporaryFailure
from daemon.net.outbound import open_outbound
from daemon.net.socks import check_proxy
from daemon.rates.client import fetch_rates
from daemon.rates.sources import NoRates
from tests.support.dead_address import NAME as RESOLVED_NAME
from tests.support.dead_address import dead_address, resolve
from tests.support.endpoint import PUBLIC_CERTIFICATE, Endpoint, answers, hangs
from tests.support.mail_server import MailServer
from tests.support.name_lookups import forbid_lookups
from tests.support.socks_server import (
    IPV4,
    IPV6,
    NAME,
    Fault,
    SocksServer,
    Target,
    hangs_silently,
    replies,
    trickles_bytes,
    trickles_name,
)

NOW = datetime(2026, 12, 10, 9, 0, tzinfo=UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"type":"payment.received"}'
COINBASE = b'{"data":{"currency":"BTC","rates":{"EUR":"61142.3"}}}'
EMAIL = EmailContent("Paid", "It is paid.\n", "<p>It is paid.</p>\n")
ONION = "mempoolhqx4isw62xs7abwphsq7ldayuidyx2v2oethdhhj6mlo2r6ad.onion"


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let this machine look up no name, and return the names that it tried to look up."""
    return forbid_lookups(monkeypatch)


@pytest.fixture
def socks() -> Iterator[SocksServer]:
    with SocksServer() as server:
        yield server


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the tests' certificate."""
    context = ssl.create_default_context(cafile=str(PUBLIC_CERTIFICATE))
    monkeypatch.setattr(daemon.delivery.smtp, "tls_context", lambda: context)
    monkeypatch.setattr(daemon.net.http_client, "tls_context", lambda: context)


def post(url: str, proxy: Proxy | None, seconds: float = 20, *, is_public_only: bool = False) -> None:
    WebhookSender(seconds, proxy=proxy).send(url, [SECRET], "evt_1", BODY, NOW, is_public_only=is_public_only)


def failure(url: str, proxy: Proxy | None, seconds: float = 20, *, is_public_only: bool = False) -> str:
    """Return the reason why a webhook was not delivered."""
    with pytest.raises(TemporaryFailure) as caught:
        post(url, proxy, seconds, is_public_only=is_public_only)
    return str(caught.value)


# What goes through the proxy


def test_a_webhook_goes_through_the_proxy_with_its_name(
    socks: SocksServer, looked_up: list[str], trusting: None
) -> None:
    """TLS is between Nodetill and the shop, and the certificate is for the shop's name."""
    with Endpoint(answers(200), is_tls=True, certificate=PUBLIC_CERTIFICATE) as shop:
        post(f"https://shop.example:{shop.port}/hook", socks.proxy)
        assert failure(f"https://other.example:{shop.port}/hook", socks.proxy) == (
            "the certificate is refused: it is for another name"
        )
    assert [request.body for request in shop.requests] == [BODY]
    assert socks.targets[0] == Target(NAME, "shop.example", shop.port)
    assert looked_up == []


@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
def test_an_email_goes_through_the_proxy_with_its_name(
    security: str, socks: SocksServer, looked_up: list[str], trusting: None
) -> None:
    with MailServer(security, certificate=PUBLIC_CERTIFICATE) as server:  # type: ignore[arg-type]
        address = replace(server.address(), host="mail.example")
        mailer = Mailer(address, "till@shop.example", proxy=socks.proxy)
        mailer.send("you@shop.example", EMAIL, "<1@shop.example>", is_urgent=False, now=NOW)
        mailer.check("you@shop.example")
    assert [mail["Subject"] for mail in server.taken] == ["Paid"]
    assert set(socks.targets) == {Target(NAME, "mail.example", address.port)}
    assert looked_up == []


def test_rates_go_through_the_proxy_with_their_names(
    socks: SocksServer, looked_up: list[str], tmp_path: Path
) -> None:
    with Endpoint(answers(200, COINBASE)) as source:
        environ = {"PROXY": socks.url, "RATE_URL_COINBASE": f"http://rates.example:{source.port}/"}
        rates = fetch_rates("coinbase", load_settings(environ, tmp_path), lambda: NOW)
    assert rates.prices == {"EUR": Decimal("61142.3")}
    assert socks.targets == [Target(NAME, "rates.example", source.port)]
    assert looked_up == []


@pytest.mark.parametrize(
    ("host", "target"),
    [
        ("192.0.2.7", (IPV4, "192.0.2.7")),
        ("[2001:db8::7]", (IPV6, "2001:db8::7")),
        ("SHOP.example.", (NAME, "shop.example")),
        ("bücher.example", (NAME, "xn--bcher-kva.example")),
        (ONION, (NAME, ONION)),
    ],
)
def test_the_proxy_receives_a_name_or_an_address(
    host: str, target: tuple[int, str], socks: SocksServer, looked_up: list[str]
) -> None:
    with Endpoint(answers(200)) as shop:
        post(f"http://{host}:{shop.port}/hook", socks.proxy)
    assert socks.targets == [Target(*target, shop.port)]
    assert looked_up == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "LOCALHOST", "127.1", "2130706433"])
def test_this_machine_is_reached_without_the_proxy(host: str, socks: SocksServer) -> None:
    """A proxy such as Tor cannot reach this machine, and nothing goes out."""
    with Endpoint(answers(200)) as shop:
        if host == "127.9.9.9":
            assert "refused" in failure(f"http://{host}:{shop.port}/hook", socks.proxy)
        else:
            post(f"http://{host}:{shop.port}/hook", socks.proxy)
    assert socks.connection_count == 0


def test_mail_to_this_machine_needs_no_proxy(socks: SocksServer) -> None:
    with MailServer() as server:
        mailer = Mailer(server.address(), "till@shop.example", proxy=socks.proxy)
        mailer.send("you@shop.example", EMAIL, "<1@shop.example>", is_urgent=False, now=NOW)
    assert len(server.taken) == 1
    assert socks.connection_count == 0


# A proxy that does not work


def test_nothing_goes_around_a_proxy_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name's own address works, and would show the difference."""
    resolve(monkeypatch, "127.0.0.1")
    with SocksServer() as socks:
        proxy = socks.proxy
    with Endpoint(answers(200)) as shop:
        url = f"http://{RESOLVED_NAME}:{shop.port}/hook"
        assert failure(url, proxy) == "the proxy cannot be reached: Connection refused"
        assert not shop.requests
        post(url, None)
    assert len(shop.requests) == 1


def test_an_email_names_the_proxy_that_is_down() -> None:
    """The mail server is not the cause."""
    with SocksServer() as socks:
        proxy = socks.proxy
    with MailServer() as server:
        mailer = Mailer(replace(server.address(), host="mail.example"), "till@shop.example", proxy=proxy)
        with pytest.raises(TemporaryFailure) as caught:
            mailer.send("you@shop.example", EMAIL, "<1@shop.example>", is_urgent=False, now=NOW)
        with pytest.raises(MailUnusable, match="Connection refused: start the proxy, or correct PROXY"):
            mailer.check("you@shop.example")
    assert str(caught.value) == "the proxy cannot be reached: Connection refused"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1, "the proxy reports a general failure"),
        (2, "the proxy does not allow this address"),
        (3, "the proxy cannot reach that network"),
        (4, "the proxy cannot reach the host, or does not find its name"),
        (5, "the host refuses the connection, by the proxy's report"),
        (6, "the proxy's connection to the host timed out"),
        (7, "the proxy makes no connections to hosts"),
        (8, "the proxy does not support this kind of address"),
        (99, "the proxy refuses with code 99"),
        (0xF0, "the proxy cannot reach the onion service (Tor's code F0)"),
    ],
)
def test_each_refusal_of_the_proxy_has_its_words(code: int, reason: str) -> None:
    with SocksServer(refusal=code) as socks:
        assert failure("http://shop.example/hook", socks.proxy) == reason


def test_a_login_is_sent() -> None:
    with SocksServer(login=("till", "pass/wörd")) as socks, Endpoint(answers(200)) as shop:
        post(f"http://shop.example:{shop.port}/hook", socks.proxy)
        check_proxy(socks.proxy, 20)
    assert socks.logins == [("till", "pass/wörd")] * 2
    assert len(shop.requests) == 1


def test_a_login_is_not_sent_to_a_proxy_that_needs_none(socks: SocksServer) -> None:
    with Endpoint(answers(200)) as shop:
        proxy = replace(socks.proxy, username="till", password=Secret("hunter2"))
        post(f"http://shop.example:{shop.port}/hook", proxy)
    assert socks.logins == []


def test_a_refused_login_has_its_words() -> None:
    with SocksServer(login=("till", "hunter2")) as socks:
        wrong = replace(socks.proxy, password=Secret("secret"))
        assert failure("http://shop.example/", wrong) == "the proxy refuses the user or the password of PROXY"
        without = Proxy("127.0.0.1", socks.port)
        assert failure("http://shop.example/", without) == (
            "the proxy requires a login: write PROXY=socks5h://USER:PASSWORD@HOST:PORT"
        )
        with pytest.raises(ProxyError):
            check_proxy(without, 20)
    assert socks.targets == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the proxy closed the connection"),
        (b"\x05", "the proxy closed the connection"),
        (b"HTTP/1.1 400 secret\r\n\r\n", "PROXY names a server that is no SOCKS5 proxy"),
        (b"\x04\x5a", "PROXY names a server that is no SOCKS5 proxy"),
        (b"\x05\x01", "the proxy requires a login: write PROXY=socks5h://USER:PASSWORD@HOST:PORT"),
        (b"\x05\xff", "the proxy requires a login: write PROXY=socks5h://USER:PASSWORD@HOST:PORT"),
    ],
)
def test_an_odd_greeting_has_its_words(data: bytes, reason: str) -> None:
    with SocksServer(greeting=replies(data)) as socks:
        assert failure("http://shop.example/", socks.proxy) == reason


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the proxy closed the connection"),
        (b"\x05\x00\x00", "the proxy closed the connection"),
        (b"\x05\x00\x00\x01\x7f\x00", "the proxy closed the connection"),
        (b"\x05\x00\x00\x03\x09proxy", "the proxy closed the connection"),
        (b"\x05\x00\x00\x09\x7f\x00\x00\x01\x00\x00", "the proxy's reply is no SOCKS5 reply"),
        (b"SSH-2.0-secret\r\n", "the proxy's reply is no SOCKS5 reply"),
    ],
)
def test_an_odd_reply_has_its_words(data: bytes, reason: str) -> None:
    with SocksServer(reply=replies(data)) as socks:
        assert failure("http://shop.example/", socks.proxy) == reason


@pytest.mark.parametrize(
    "address", [b"\x01\x7f\x00\x00\x01", b"\x03\x00", b"\x03\xff" + b"x" * 255, b"\x04" + bytes(16)]
)
def test_the_proxys_own_address_is_read_and_not_used(address: bytes) -> None:
    """The bytes after it are the host's."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    with SocksServer(reply=replies(b"\x05\x00\x00" + address + b"\x00\x00" + answer)) as socks:
        post("http://shop.example/", socks.proxy)


@pytest.mark.parametrize("fault", [hangs_silently, trickles_bytes, trickles_name])
def test_the_deadline_holds_through_a_slow_proxy(fault: Fault) -> None:
    """Each byte alone would be in time."""
    with SocksServer(reply=fault) as socks:
        assert failure("http://shop.example/", socks.proxy, 0.3) == "the proxy made no connection in time"


def test_the_deadline_holds_for_a_proxy_that_does_not_greet() -> None:
    with SocksServer(greeting=hangs_silently) as socks:
        assert failure("http://shop.example/", socks.proxy, 0.3) == "the proxy made no connection in time"
        with pytest.raises(ProxyError):
            check_proxy(socks.proxy, 0.3)


def test_a_proxy_that_accepts_no_connection_times_out(socks: SocksServer) -> None:
    with dead_address("127.0.0.3", socks.port):
        proxy = Proxy("127.0.0.3", socks.port)
        assert failure("http://shop.example/", proxy, 0.3) == "the proxy cannot be reached: timed out"


def test_the_deadline_holds_for_a_slow_host_behind_the_proxy(socks: SocksServer) -> None:
    with Endpoint(hangs) as shop:
        assert failure(f"http://shop.example:{shop.port}/", socks.proxy, 0.5) == "timed out"
        url = f"https://shop.example:{shop.port}/"
        assert failure(url, socks.proxy, 0.5) == "timed out"


def test_a_proxy_that_drops_the_connection_is_tried_again() -> None:
    """The first bytes of an answer are no delivery."""
    with SocksServer(cut_after=10) as socks, Endpoint(answers(200)) as shop:
        assert failure(f"http://shop.example:{shop.port}/", socks.proxy)


def test_the_answer_of_a_source_that_is_cut_off_gives_no_prices(tmp_path: Path) -> None:
    with SocksServer(cut_after=80) as socks, Endpoint(answers(200, COINBASE)) as source:
        environ = {"PROXY": socks.url, "RATE_URL_COINBASE": f"http://rates.example:{source.port}/"}
        with pytest.raises(NoRates, match="cut short"):
            fetch_rates("coinbase", load_settings(environ, tmp_path), lambda: NOW)


@pytest.mark.parametrize("host", ["a" * 256 + ".example", "", "ü" * 300])
def test_a_name_that_no_proxy_can_read_is_an_error(host: str, socks: SocksServer) -> None:
    with pytest.raises(ProxyError, match="cannot be looked up"):
        open_outbound(host, 80, 20, socks.proxy)
    assert socks.connection_count == 0


# Onion services


def test_without_a_proxy_an_onion_service_is_refused_and_not_looked_up(looked_up: list[str]) -> None:
    """A name server must never get such a name (RFC 7686)."""
    for url in (f"http://{ONION}/hook", f"http://shop.{ONION.upper()}./hook"):
        assert failure(url, None) == (
            "the address is an onion service, which only Tor can reach: "
            "set PROXY, such as PROXY=socks5h://127.0.0.1:9050"
        )
    assert looked_up == []


# Webhooks that an API key has set


@pytest.mark.parametrize(
    "host",
    [
        *("10.0.0.1", "[fd00::1]", "169.254.169.254", "0x0a.1", "167772161", "[::ffff:10.0.0.1]", "0.0.0.0"),
        *("shop", "shop.internal", "shop.local", "db.LAN.", "x.localhost", "nas.home.arpa", "box.home"),
    ],
)
def test_through_a_proxy_an_address_set_by_a_key_reaches_no_private_name_or_address(
    host: str, socks: SocksServer, looked_up: list[str]
) -> None:
    """The operator's own addresses are not checked."""
    with Endpoint(answers(200)) as shop:
        url = f"http://{host}:{shop.port}/hook"
        assert "WEBHOOK_PRIVATE_HOSTS" in failure(url, socks.proxy, is_public_only=True)
        assert socks.connection_count == 0
        post(url, socks.proxy)
    assert looked_up == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_through_a_proxy_an_address_set_by_a_key_does_not_reach_this_machine(
    host: str, socks: SocksServer
) -> None:
    """The connection to this machine is direct, so the usual check applies."""
    with Endpoint(answers(200)) as shop:
        url = f"http://{host}:{shop.port}/hook"
        assert "WEBHOOK_PRIVATE_HOSTS" in failure(url, socks.proxy, is_public_only=True)
    assert not shop.requests


@pytest.mark.parametrize("host", ["shop.example", ONION, "192.0.43.7"])
def test_through_a_proxy_an_address_set_by_a_key_reaches_public_hosts(host: str, socks: SocksServer) -> None:
    with Endpoint(answers(200)) as shop:
        post(f"http://{host}:{shop.port}/hook", socks.proxy, is_public_only=True)
    assert socks.hosts == [host]


@pytest.mark.parametrize(
    ("allowed", "host"), [("shop.internal", "shop.internal"), ("10.0.0.0/8", "10.1.2.3")]
)
def test_a_private_host_that_the_operator_allows_goes_through_the_proxy(
    allowed: str, host: str, socks: SocksServer, tmp_path: Path
) -> None:
    """The proxy has to allow the host, too."""
    hosts: HostList = load_settings({"WEBHOOK_PRIVATE_HOSTS": allowed}, tmp_path).webhook_private_hosts
    with Endpoint(answers(200)) as shop:
        sender = WebhookSender(20, hosts, socks.proxy)
        sender.send(f"http://{host}:{shop.port}/", [SECRET], "evt_1", BODY, NOW, is_public_only=True)
    assert socks.hosts == [host]


def test_names_of_several_public_parts_are_public() -> None:
    assert all(map(is_public_name, ["shop.example", "a.b.co.uk", "internal.example", "local.de.", ONION]))
