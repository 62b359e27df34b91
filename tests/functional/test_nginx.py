"""nginx/nodetill.conf, with a real nginx and a real web server behind it."""

import html
import http.client
import json
import re
import socket
import ssl
import subprocess
import threading
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv6Address
from pathlib import Path
from random import Random
from typing import Any

import pytest
from playwright.sync_api import Browser

from config import load_settings
from models.db.connection import disconnect
from regtest.child import end_with_parent, free_ports
from tests.support.debian_program import find_program
from tests.support.waiting import wait_until
from tests.support.web_server import KEY, Reply, WebServer, open_shop
from web.app import create_app
from web.http.server import Server
from web.http.threads import Threads

ROOT = Path(__file__).parent.parent.parent
CERTIFICATE = ROOT / "tests" / "support" / "localhost.pem"
NAME = "pay.example.com"
KEYED = {"Authorization": f"Bearer {KEY}"}
BODY = {"seller_id": "company1", "amount_fiat": "135.99", "currency": "EUR"}
TRIGGER = "/spellbook/triggers/PaymentProcessorNewPayment/post"

MAIN = """\
daemon off;
master_process off;
pid {directory}/pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include {directory}/site.conf;
}}
"""


@dataclass(frozen=True)
class Front:
    """A running nginx, by its two ports."""

    http_port: int
    https_port: int

    def connect(self, address: str = "127.0.0.1") -> http.client.HTTPSConnection:
        """Open a TLS connection from a client with this address."""
        return http.client.HTTPSConnection(
            "127.0.0.1", self.https_port, timeout=30, context=_context(), source_address=(address, 0)
        )

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        address: str = "127.0.0.1",
    ) -> Reply:
        """Send one request over TLS, with the shop's public name as its Host."""
        connection = self.connect(address)
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        return _reply(connection, method, path, raw, {"Host": NAME, **(headers or {})})

    def plain(self, path: str) -> Reply:
        """Send one request without TLS."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=30)
        return _reply(connection, "GET", path, None, {"Host": NAME})


@cache
def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    # The certificate is for localhost, and no authority has signed it.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _reply(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    raw: bytes | None,
    headers: Mapping[str, str],
) -> Reply:
    try:
        connection.request(method, path, raw, dict(headers))
        answer = connection.getresponse()
        return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


@pytest.fixture(scope="module")
def nginx() -> list[str]:
    """Return the command that runs nginx."""
    return find_program("nginx", "nginx")


@contextmanager
def serving(
    nginx: list[str], directory: Path, upstream_port: int, changes: Mapping[str, str] | None = None
) -> Iterator[Front]:
    """Run nginx with our configuration. Only ports, upstream, certificate and `changes` differ."""
    http_port, https_port = free_ports(2)
    site = (ROOT / "nginx" / "nodetill.conf").read_text()
    for original, replacement in {
        "listen 80;": f"listen 127.0.0.1:{http_port};",
        "listen [::]:80;": "",
        "listen 443 ssl;": f"listen 127.0.0.1:{https_port} ssl;",
        "listen [::]:443 ssl;": "",
        "127.0.0.1:8080": f"127.0.0.1:{upstream_port}",
        f"/etc/letsencrypt/live/{NAME}/fullchain.pem": str(CERTIFICATE),
        f"/etc/letsencrypt/live/{NAME}/privkey.pem": str(CERTIFICATE),
        **(changes or {}),
    }.items():
        assert original in site, original
        site = site.replace(original, replacement)
    (directory / "site.conf").write_text(site)
    (directory / "nginx.conf").write_text(MAIN.format(directory=directory))
    command = [*nginx, "-p", str(directory), "-e", "stderr", "-c", str(directory / "nginx.conf")]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stderr
    assert "[warn]" not in checked.stderr
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, preexec_fn=end_with_parent())
    try:
        wait_until(lambda: _is_open(http_port) and _is_open(https_port), what="nginx to listen")
        yield Front(http_port, https_port)
    finally:
        process.terminate()
        process.wait(30)


def _is_open(port: int) -> bool:
    with socket.socket() as candidate:
        return candidate.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """Open a shop that also serves the triggers and the operator's pages."""
    directory = tmp_path_factory.mktemp("shop")
    settings = {
        "SPELLBOOK_TRIGGERS": "on",
        "PUBLIC_URL": f"https://{NAME}",
        "OPERATOR_PASSWORD": "open sesame",
    }
    with open_shop(directory, f"sqlite:///{directory / 'nodetill.db'}", settings) as opened:
        yield opened


@pytest.fixture(scope="module")
def front(nginx: list[str], shop: WebServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """Run nginx in front of the shop."""
    with serving(nginx, tmp_path_factory.mktemp("nginx"), shop.port) as opened:
        yield opened


def test_pages_and_api_are_served_only_over_tls(front: Front) -> None:
    """A plain request is redirected. Browsers use TLS from then on (Strict-Transport-Security)."""
    assert front.call("GET", "/health").status == 200
    made = front.call("POST", "/api/v1/payments", BODY, KEYED)
    assert made.status == 201, made.body
    page = front.call("GET", made.json["checkout_url"].removeprefix(f"https://{NAME}"))
    assert page.status == 200
    assert page.headers["strict-transport-security"] == "max-age=31536000"
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    plain = front.plain("/pay/PR-1?lang=de")
    assert (plain.status, plain.headers["location"]) == (301, f"https://{NAME}/pay/PR-1?lang=de")


HEADERS: list[dict[str, str]] = [
    {},
    {"X-Forwarded-For": "127.0.0.1"},
    {"Forwarded": "for=127.0.0.1"},
    {"X-Real-IP": "127.0.0.1"},
    {"Host": "localhost"},
    {"Host": "127.0.0.1"},
]


@pytest.mark.parametrize("headers", HEADERS)
def test_no_client_of_nginx_counts_as_this_machine(front: Front, headers: dict[str, str]) -> None:
    """nginx connects from this machine. A trigger still needs a key, whatever headers the client sends."""
    body = {"seller_id": "nobody-yet", "amount_fiat": 10, "currency": "EUR", "note": ""}
    assert front.call("POST", TRIGGER, body, headers).status == 401
    assert front.call("POST", TRIGGER, {**body, "seller_id": "company1"}, {**headers, **KEYED}).status == 200


def test_metrics_are_not_public(front: Front) -> None:
    """A guessed password and other spellings of the path do not help."""
    assert front.call("GET", "/metrics").status == 404
    assert front.call("GET", "/metrics?x", headers={"Authorization": "Basic eDp5"}).status == 404
    assert front.call("GET", "//metrics").status == 404
    assert front.call("GET", "/%6detrics").status == 404
    for path in ("/metrics%ff", "/metrics/", "/metrics%00", "/./metrics", "/x/../metrics", "/metrics;x"):
        assert front.call("GET", path).status in (400, 404), path


def test_a_body_that_is_too_large_is_refused(front: Front) -> None:
    """Nodetill itself answers a body that is too large, and nginx refuses a much larger one."""
    refused = front.call("POST", "/api/v1/payments", b"x" * 20_000, KEYED)
    assert refused.status == 413
    assert refused.json["type"] == "urn:nodetill:problem:request-entity-too-large"
    assert front.call("POST", "/api/v1/payments", b"x" * 100_000, KEYED).status == 413


SPELLINGS = [
    *(
        "/metrics%ff",
        "/%6detrics",
        "/%6Detrics",
        "//metrics",
        "/./metrics",
        "/x/../metrics",
        "/x/..%2fmetrics",
    ),
    *(
        "/metrics/",
        "/metrics//",
        "/METRICS",
        "/metrics;x",
        "/metrics%3b",
        "/metrics%00",
        "/metrics%20",
        "/metrics\\",
    ),
    *(
        "/metrics%2f",
        "/%2fmetrics",
        "/metrics%c0%af",
        "/metrics?x",
        "/%ffmetrics",
        "/metrics%E2%82%AC",
        "/metrics.",
    ),
    *(
        "/%256detrics",
        "/metrics%0d%0a",
        "/.%2fmetrics",
        "/x%2f..%2fmetrics",
        "/metrics%23",
        "http://pay.example.com/metrics",
    ),
]


@pytest.mark.parametrize("target", SPELLINGS)
def test_no_spelling_of_a_path_avoids_a_rule_of_the_proxy(front: Front, target: str) -> None:
    """nginx and Nodetill read each path in the same way."""
    assert front.call("GET", target, headers={"Authorization": "Bearer x"}).status in (400, 404)


GUARD = """\
    location /operator {
        return 403;
    }
    # Prometheus reads"""
OPERATOR_SPELLINGS = [
    *(
        "/operator/login",
        "/%ffoperator/login",
        "//operator/login",
        "/%6fperator/login",
        "/x/../operator/login",
    ),
    *("/Operator/login", "/./operator/login", "/%2foperator/login", "/;/operator/login", "/\\operator/login"),
    *(
        "/operator%2flogin",
        "/operator%ff/login",
        "/operato%72/login",
        "/x%2f..%2foperator/login",
        "/operator;/login",
    ),
]


def test_no_spelling_avoids_a_rule_for_the_operators_pages(
    nginx: list[str], shop: WebServer, tmp_path: Path
) -> None:
    """An operator may limit these pages to one network."""
    with serving(nginx, tmp_path, shop.port, {"    # Prometheus reads": GUARD}) as guarded:
        for target in OPERATOR_SPELLINGS:
            assert guarded.call("GET", target).status in (400, 403, 404), target
    assert shop.get("/operator/login").status == 200


def test_a_request_with_two_lengths_is_refused(front: Front) -> None:
    """Neither nginx nor Nodetill reads a second request in the body of the first."""
    two = {"Transfer-Encoding": "chunked", "Content-Length": "5"}
    answer = front.call(
        "POST", "/api/v1/payments", b"0\r\n\r\nGET /health HTTP/1.1\r\n\r\n", {**KEYED, **two}
    )
    assert answer.status == 400


def test_each_call_gets_its_own_answer(front: Front) -> None:
    """nginx sends many requests over one connection."""
    for number in range(20):
        made = front.call("POST", "/api/v1/payments", {**BODY, "note": f"order {number}"}, KEYED)
        assert made.json["note"] == f"order {number}"


def test_a_program_gets_503_while_nodetill_is_down(nginx: list[str], tmp_path: Path) -> None:
    """The answer is JSON, and has Retry-After."""
    with serving(nginx, tmp_path, free_ports(1)[0]) as front:
        answer = front.call("POST", "/api/v1/payments", BODY, KEYED)
    assert answer.status == 503
    assert answer.json["status"] == 503
    assert answer.headers["retry-after"] == "10"
    assert answer.headers["strict-transport-security"] == "max-age=31536000"


def test_a_customer_gets_a_page_while_nodetill_is_down(nginx: list[str], tmp_path: Path) -> None:
    """The page is small, and has the checkout page's own sentence in each of its languages."""
    reference = "PR-3kTMd0Zk6bW1vJrXq2nVhA"
    with serving(nginx, tmp_path, free_ports(1)[0]) as front:
        paths = (f"/pay/{reference}", f"/i/{reference}", f"/i/{reference}/BTC", f"/invoice?id={reference}")
        more = ("/l/LK-1", "/operator/till", f"/operator/till/{reference}", "/api-keys/authorize?strict=true")
        answer, *others = [front.call("GET", path) for path in (*paths, *more)]
    assert {(each.status, each.body) for each in others} == {(answer.status, answer.body)}
    assert answer.status == 503
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["retry-after"] == "10"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    # A shop may show this page in a frame, as the checkout page.
    assert "frame" not in answer.headers["content-security-policy"]
    page = html.unescape(answer.body.decode())
    assert '<meta http-equiv="refresh" content="10">' in page
    translations = (ROOT / "web" / "translations").glob("*.toml")
    for texts in (tomllib.loads(path.read_text(encoding="utf-8")) for path in translations):
        assert texts["unavailable"]["lead"] in page
    assert len(answer.body) < 2000


def test_the_customers_page_reloads_itself_without_javascript(
    nginx: list[str], shop: WebServer, browser: Browser, tmp_path: Path
) -> None:
    """A browser that opens the page while Nodetill is down shows the payment later."""
    reference = shop.created()["payment_request_id"]
    (upstream_port,) = free_ports(1)
    faster = {'http-equiv="refresh" content="10"': 'http-equiv="refresh" content="1"'}
    context = browser.new_context(java_script_enabled=False, ignore_https_errors=True)
    with serving(nginx, tmp_path, upstream_port, faster) as front, closing(context):
        page = context.new_page()
        page.goto(f"https://127.0.0.1:{front.https_port}/pay/{reference}")
        assert "A payment you have sent is not lost." in page.inner_text("body")
        with _serving_at(upstream_port, shop):
            page.wait_for_selector(f"text={reference}")


@contextmanager
def _serving_at(port: int, shop: WebServer) -> Iterator[None]:
    """Run a second web server on the shop's database."""
    server = Server(
        create_app(load_settings({}, Path.cwd()), lambda: shop.now), "127.0.0.1", port, Threads(disconnect)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield
    finally:
        server.stop()
        thread.join()


def test_too_many_requests_for_checkout_pages_are_refused(front: Front) -> None:
    """A person gets a page that reloads itself. The limits are those of the other pages."""
    with ThreadPoolExecutor(4) as pool:
        each = pool.map(lambda _: send_often(front, CUSTOMERS, "/pay/PR-1", 250), range(4))
        replies = [reply for of_one in each for reply in of_one]
    refused = next(reply for reply in replies if reply.status == 429)
    assert refused.headers["content-type"] == "text/html; charset=utf-8"
    assert refused.headers["retry-after"] == "10"
    assert b'<meta http-equiv="refresh" content="10">' in refused.body


CUSTOMER, FLOOD, SHOP, HOLDER, CUSTOMERS = "127.0.0.4", "127.0.0.5", "127.0.0.6", "127.0.0.7", "127.0.0.8"
"""Clients, each with an address of its own. nginx counts only 127.0.0.1 as this machine."""


def send_often(
    front: Front, address: str, path: str, count: int, headers: Mapping[str, str] | None = None
) -> list[Reply]:
    """Send `count` requests one after another over one connection, and return the answers."""
    replies = []
    connection = front.connect(address)
    for _ in range(count):
        connection.request("GET", path, headers={"Host": NAME, **(headers or {})})
        answer = connection.getresponse()
        replies.append(Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()))
    connection.close()
    return replies


def test_too_many_requests_are_refused_without_delaying_others(front: Front) -> None:
    """The client that floods nginx gets 429. A customer at another address is served."""
    with ThreadPoolExecutor(4) as pool:
        each = pool.map(lambda _: send_often(front, FLOOD, "/docs", 250), range(4))
        replies = [reply for of_one in each for reply in of_one]
    assert {reply.status for reply in replies} == {200, 429}
    refused = next(reply for reply in replies if reply.status == 429)
    assert refused.json["status"] == 429
    assert refused.json["type"] == "urn:nodetill:problem:too-many-requests"
    assert refused.headers["retry-after"] == "5"
    assert refused.headers["strict-transport-security"] == "max-age=31536000"
    assert front.call("GET", "/docs", address=CUSTOMER).status == 200
    assert front.call("GET", "/docs").status == 200


def test_a_shops_server_can_send_many_requests(front: Front) -> None:
    """Hundreds of requests at once from one address are all answered."""
    with ThreadPoolExecutor(8) as pool:
        each = pool.map(lambda _: send_often(front, SHOP, "/api/v1/rates", 100, KEYED), range(8))
        assert Counter(reply.status for of_one in each for reply in of_one) == {200: 800}


def test_many_customers_can_share_one_address(front: Front) -> None:
    """Twenty people in one office open a checkout page at the same time."""
    made = front.call("POST", "/api/v1/payments", BODY, KEYED).json
    page = f"/pay/{made['payment_request_id']}"
    paths = (page, f"{page}/status", f"{page}/qr.svg", f"{page}/status")
    with ThreadPoolExecutor(20) as pool:
        each = list(pool.map(lambda path: front.call("GET", path, address=CUSTOMER).status, paths * 20))
    assert Counter(each) == {200: 80}


def test_connections_of_one_address_are_limited(front: Front) -> None:
    """nginx refuses more than 64 open requests of one address, and serves others."""
    opened = []
    try:
        for _ in range(70):
            connection = front.connect(HOLDER)
            connection.putrequest("POST", "/operator/login")
            connection.putheader("Content-Length", "10")
            connection.endheaders()
            opened.append(connection)
        assert opened[-1].getresponse().status == 429
        assert front.call("GET", "/health", address=CUSTOMER).status == 200
    finally:
        for connection in opened:
            connection.close()


def test_the_addresses_of_an_ipv6_network_are_one_client_or_two() -> None:
    """nginx writes an address as RFC 5952 does, so a network that ends in zeros has two forms."""
    [pattern] = re.findall(r'"~(\S+)" \$prefix;', (ROOT / "nginx" / "nodetill.conf").read_text())
    form, random = re.compile(pattern.replace("?<prefix>", "?P<prefix>")), Random(0)
    for network, count in (("2001:db8:1:2::", 1), ("2001:db8:1::", 2), ("2001:db8::", 1)):
        hosts = [random.getrandbits(bits) for bits in (64, 48, 32, 16) for _ in range(100)]
        found = [form.match(str(IPv6Address(int(IPv6Address(network)) + host))) for host in hosts]
        assert None not in found
        assert len({match["prefix"] for match in found if match}) == count
