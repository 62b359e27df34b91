"""nginx/nodetill.conf, with a real nginx and a real web server behind it."""

import http.client
import json
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from regtest.child import end_with_parent, free_ports
from tests.support.debian_program import find_program
from tests.support.waiting import wait_until
from tests.support.web_server import KEY, Reply, open_shop

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
    """nginx, by its two ports; `upstream_port` is where it looks for Nodetill."""

    http_port: int
    https_port: int

    def call(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """One request by TLS, to the shop's public name."""
        context = ssl.create_default_context()
        # The certificate is localhost's, and nobody's.
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", self.https_port, timeout=30, context=context)
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        return _reply(connection, method, path, raw, {"Host": NAME, **(headers or {})})

    def plain(self, path: str) -> Reply:
        """One request without TLS."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=30)
        return _reply(connection, "GET", path, None, {"Host": NAME})


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
    """The command that runs it."""
    return find_program("nginx", "nginx")


@contextmanager
def serving(nginx: list[str], directory: Path, upstream_port: int) -> Iterator[Front]:
    """nginx with our configuration, but for the ports, the upstream and the certificate."""
    http_port, https_port = free_ports(2)
    site = (ROOT / "nginx" / "nodetill.conf").read_text()
    for written, meant in {
        "listen 80;": f"listen 127.0.0.1:{http_port};",
        "listen [::]:80;": "",
        "listen 443 ssl;": f"listen 127.0.0.1:{https_port} ssl;",
        "listen [::]:443 ssl;": "",
        "127.0.0.1:8080": f"127.0.0.1:{upstream_port}",
        f"/etc/letsencrypt/live/{NAME}/fullchain.pem": str(CERTIFICATE),
        f"/etc/letsencrypt/live/{NAME}/privkey.pem": str(CERTIFICATE),
    }.items():
        assert written in site, written
        site = site.replace(written, meant)
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
def front(nginx: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """Before a shop that serves the triggers too."""
    directory = tmp_path_factory.mktemp("nginx")
    url = f"sqlite:///{directory / 'nodetill.db'}"
    settings = {"SPELLBOOK_TRIGGERS": "on", "PUBLIC_URL": f"https://{NAME}"}
    with open_shop(directory, url, settings) as shop, serving(nginx, directory, shop.port) as opened:
        yield opened


def test_customers_and_shops_are_served_by_tls(front: Front) -> None:
    """And by nothing else; a browser remembers that."""
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
def test_nobody_outside_is_taken_for_a_program_on_this_machine(front: Front, headers: dict[str, str]) -> None:
    """Though nginx is one: a trigger needs a key, whatever a client says of itself."""
    body = {"seller_id": "nobody-yet", "amount_fiat": 10, "currency": "EUR", "note": ""}
    assert front.call("POST", TRIGGER, body, headers).status == 401
    assert front.call("POST", TRIGGER, {**body, "seller_id": "company1"}, {**headers, **KEYED}).status == 200


def test_metrics_are_not_public(front: Front) -> None:
    """Not even with a password to guess."""
    assert front.call("GET", "/metrics").status == 404
    assert front.call("GET", "/metrics?x", headers={"Authorization": "Basic eDp5"}).status == 404
    assert front.call("GET", "//metrics").status == 404
    assert front.call("GET", "/%6detrics").status == 404


def test_a_body_that_is_too_large_is_refused(front: Front) -> None:
    """By Nodetill, in its own words; what is larger still does not get so far."""
    refused = front.call("POST", "/api/v1/payments", b"x" * 20_000, KEYED)
    assert refused.status == 413
    assert refused.json["type"] == "urn:nodetill:problem:request-entity-too-large"
    assert front.call("POST", "/api/v1/payments", b"x" * 100_000, KEYED).status == 413


def test_each_call_gets_its_own_answer(front: Front) -> None:
    """nginx sends many over one connection."""
    for number in range(20):
        made = front.call("POST", "/api/v1/payments", {**BODY, "note": f"order {number}"}, KEYED)
        assert made.json["note"] == f"order {number}"


def test_while_nodetill_is_away_there_is_an_answer(nginx: list[str], tmp_path: Path) -> None:
    """That a program can read, and that says to try again."""
    with serving(nginx, tmp_path, free_ports(1)[0]) as front:
        answer = front.call("POST", "/api/v1/payments", BODY, KEYED)
    assert answer.status == 503
    assert answer.json["status"] == 503
    assert answer.headers["retry-after"] == "10"
