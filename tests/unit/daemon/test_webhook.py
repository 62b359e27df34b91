"""Webhooks are signed as Standard Webhooks specifies, and no endpoint delays the sender past its deadline."""

import logging
import socket
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

import daemon.net.http_client
from config import load_settings
from daemon.delivery.webhook import MAX_RESPONSE_BYTES, WebhookSender
from daemon.net.errors import PermanentFailure, TemporaryFailure
from tests.support.dead_address import NAME, dead_address, resolve
from tests.support.endpoint import CERTIFICATE, Behaviour, Endpoint, answers, hangs, sends, trickles

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
BODY = b'{"type":"payment.received","data":{"note":"Br\\u00f6tchen"}}'


def send(endpoint: Endpoint, *secrets: str, seconds: float = 5) -> None:
    """Send one webhook, signed at the real time, which the library's verification requires."""
    now = datetime.now(UTC)
    WebhookSender(seconds).send(endpoint.url, secrets or (SECRET,), "evt_1", BODY, now)


def failure_text(behave: Behaviour, seconds: float = 5) -> str:
    """Return the error of an endpoint with this behaviour, which must be a temporary failure."""
    with Endpoint(behave) as endpoint, pytest.raises(TemporaryFailure) as caught:
        send(endpoint, seconds=seconds)
    return str(caught.value)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_2xx_is_a_delivery(status: int) -> None:
    """The endpoint receives one request with the unchanged body."""
    with Endpoint(answers(status)) as endpoint:
        send(endpoint)
    assert [request.body for request in endpoint.requests] == [BODY]
    assert endpoint.requests[0].line == "POST /hook?key=secret HTTP/1.1"
    assert endpoint.requests[0].headers["content-type"] == "application/json"
    assert endpoint.requests[0].headers["webhook-id"] == "evt_1"


def test_the_standards_own_library_verifies_the_signature() -> None:
    """It accepts the seller's secret and no other."""
    with Endpoint(answers(200)) as endpoint:
        send(endpoint)
    request = endpoint.requests[0]
    assert Webhook(SECRET).verify(request.body, request.headers)["type"] == "payment.received"
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD_SECRET).verify(request.body, request.headers)


def test_both_secrets_verify_while_a_secret_is_changed() -> None:
    """The merchant can then change the secret without missing a message."""
    with Endpoint(answers(200)) as endpoint:
        send(endpoint, SECRET, OLD_SECRET)
    request = endpoint.requests[0]
    for secret in (SECRET, OLD_SECRET):
        assert Webhook(secret).verify(request.body, request.headers)


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 404, 429, 500, 503])
def test_any_other_status_is_tried_again(status: int) -> None:
    """Redirections are not followed, because the operator has set the address."""
    with (
        Endpoint(answers(200)) as target,
        Endpoint(answers(status, b"", f"Location: {target.url}")) as endpoint,
        pytest.raises(TemporaryFailure, match=f"HTTP {status}"),
    ):
        send(endpoint)
    assert not target.requests


def test_410_is_final() -> None:
    """The merchant's server has reported that the address is gone."""
    with Endpoint(answers(410)) as endpoint, pytest.raises(PermanentFailure, match="410"):
        send(endpoint)


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 103 A\r\n\r\n"])
def test_an_answer_that_trickles_is_cut_off_at_the_deadline(start: bytes) -> None:
    """Each byte comes in time, but the end of the headers never does."""
    assert failure_text(trickles(start), seconds=0.3) == "timed out"


def test_a_silent_endpoint_is_cut_off_at_the_deadline() -> None:
    assert failure_text(hangs, seconds=0.3) == "timed out"


INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize(
    "raw",
    [
        INTERIM + OK,
        b"HTTP/1.1 100 Continue\r\n\r\n" + INTERIM * 20 + b"HTTP/1.1 102 Processing\r\n\r\n" + OK,
        b"HTTP/1.1 199 Whatever\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    ],
)
def test_an_interim_answer_is_not_the_final_one(raw: bytes) -> None:
    """RFC 9110 15.2: a client must be able to parse any number of them, requested or not."""
    with Endpoint(sends(raw)) as endpoint:
        send(endpoint)
    assert len(endpoint.requests) == 1


def test_the_status_after_an_interim_answer_decides() -> None:
    raw = INTERIM + b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
    assert failure_text(sends(raw)) == "HTTP 500"


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 150 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno header at all\r\nX : y\r\nZ: \x00\r\n\r\n",
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.0 200 OK\n\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200  Two spaces\x00\r\n\r\n",
        INTERIM + b"HTTP/1.1 200 OK\r\n: \r\n\r\n",
    ],
)
def test_faults_after_a_2xx_do_not_undo_the_delivery(raw: bytes) -> None:
    """The shop has the event. A library's own limits are no reason to send it ten times."""
    with Endpoint(sends(raw)) as endpoint:
        send(endpoint)


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\n\r\n", OK[:-2]])
def test_an_endless_body_does_not_delay_a_2xx(start: bytes) -> None:
    """It is cut off long before the deadline."""
    with Endpoint(trickles(start)) as endpoint:
        send(endpoint, seconds=120)


def test_an_answer_before_the_request_is_read_counts() -> None:
    """The endpoint closes the connection without reading the request."""

    def hasty(_endpoint: Endpoint, connection: socket.socket, _request: object) -> None:
        connection.sendall(OK)
        connection.shutdown(socket.SHUT_RD)

    with Endpoint(hasty) as endpoint:
        WebhookSender(5).send(endpoint.url, [SECRET], "evt_1", b"x" * 2_000_000, datetime.now(UTC))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00\xff garbage secret\r\n\r\n",
        b"HTTP/1.1 abc secret\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: secret\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: sec",
        INTERIM,
        b"SSH-2.0-secret\r\n",
        b"HTTP/1.1 500 secret\r\nX-secret\r\n\r\nsecret",
    ],
)
def test_an_unreadable_answer_is_tried_again(raw: bytes) -> None:
    """The error is one line for the log, without text of the address or the answer."""
    reason = failure_text(sends(raw))
    assert reason
    assert reason.isprintable()
    assert "secret" not in reason


def test_at_most_64_kib_of_an_answer_are_read() -> None:
    """An endless 200 is still a delivery."""

    def floods(endpoint: Endpoint, connection: object, _request: object) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * MAX_RESPONSE_BYTES * 4)  # type: ignore[attr-defined]
        endpoint.hang()

    with Endpoint(floods) as endpoint:
        send(endpoint, seconds=30)


def test_an_unreachable_address_is_tried_again() -> None:
    """This includes an unknown name, and a name that the DNS cannot have."""
    with Endpoint(answers(200)) as endpoint:
        url = endpoint.url
    for address in (
        url,
        "http://no-such-host.invalid/",
        f"http://{'a' * 70}.example/",
        "ftp://x/",
        "http://[::/",
    ):
        with pytest.raises(TemporaryFailure) as caught:
            WebhookSender(5).send(address, [SECRET], "evt_1", BODY, datetime.now(UTC))
        assert "secret" not in str(caught.value)


def test_the_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner of such a proxy would see each payment."""
    with Endpoint(answers(200)) as proxy, Endpoint(answers(200)) as endpoint:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        send(endpoint)
    assert len(endpoint.requests) == 1
    assert not proxy.requests


def test_a_certificate_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """An untrusted certificate is refused, and a trusted one is accepted."""
    with Endpoint(answers(200), is_tls=True) as endpoint:
        with pytest.raises(TemporaryFailure, match="certificate"):
            send(endpoint)
        assert not endpoint.requests
        trusting = ssl.create_default_context(cafile=str(CERTIFICATE))
        monkeypatch.setattr(daemon.net.http_client, "tls_context", lambda: trusting)
        send(endpoint)
    assert len(endpoint.requests) == 1


def test_a_tls_handshake_that_never_ends_is_cut_off() -> None:
    """A server without TLS waits for the rest of a request."""
    with Endpoint(answers(200)) as endpoint:
        url = endpoint.url.replace("http:", "https:")
        with pytest.raises(TemporaryFailure, match="timed out"):
            WebhookSender(0.3).send(url, [SECRET], "evt_1", BODY, datetime.now(UTC))


@pytest.mark.parametrize("secret", ["whsec_", "whsec_ä", "whsec_!!!", ""])
def test_an_invalid_secret_sends_nothing(secret: str) -> None:
    """A message without its signature is worthless, and the operator can set a new secret."""
    with Endpoint(answers(200)) as endpoint, pytest.raises(TemporaryFailure, match="secret"):
        WebhookSender(5).send(endpoint.url, [secret], "evt_1", BODY, datetime.now(UTC))
    assert not endpoint.requests


def test_an_endpoint_is_reached_by_a_live_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first address of its name drops every packet."""
    resolve(monkeypatch, "::1", "127.0.0.1")
    with Endpoint(answers(200)) as endpoint, dead_address("::1", endpoint.port):
        url = f"http://{NAME}:{endpoint.port}/hook"
        WebhookSender(20).send(url, [SECRET], "evt_1", BODY, datetime.now(UTC))
    assert endpoint.requests[0].headers["host"] == f"{NAME}:{endpoint.port}"


def test_a_certificate_is_checked_against_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not checked against the address. The error leaves out the name, which may be secret."""
    trusting = ssl.create_default_context(cafile=str(CERTIFICATE))
    monkeypatch.setattr(daemon.net.http_client, "tls_context", lambda: trusting)
    resolve(monkeypatch, "127.0.0.1")
    with Endpoint(answers(200), is_tls=True) as endpoint:
        url = f"https://{NAME}:{endpoint.port}/hook"
        with pytest.raises(TemporaryFailure) as caught:
            WebhookSender(5).send(url, [SECRET], "evt_1", BODY, datetime.now(UTC))
    assert str(caught.value) == "the certificate is refused: it is for another name"


def test_an_address_with_letters_of_any_script_is_sent_in_ascii() -> None:
    """A browser does the same."""
    with Endpoint(answers(200)) as endpoint:
        url = f"http://127.0.0.1:{endpoint.port}/größe/a b?q=ü%20&x=[1]"
        WebhookSender(5).send(url, [SECRET], "evt_1", BODY, datetime.now(UTC))
    assert endpoint.requests[0].line == "POST /gr%C3%B6%C3%9Fe/a%20b?q=%C3%BC%20&x=[1] HTTP/1.1"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "http://127.1:{port}/",
        "http://2130706433:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://localhost:{port}/",
        f"http://{NAME}:{{port}}/",
    ],
)
def test_an_address_set_by_a_key_reaches_no_private_network(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This holds for each spelling, and for the present address of its name."""
    resolve(monkeypatch, "127.0.0.1")
    with Endpoint(answers(200)) as endpoint:
        sender, now = WebhookSender(5), datetime.now(UTC)
        with pytest.raises(TemporaryFailure, match="WEBHOOK_PRIVATE_HOSTS"):
            sender.send(url.format(port=endpoint.port), [SECRET], "evt_1", BODY, now, is_public_only=True)
        assert not endpoint.requests
        sender.send(url.format(port=endpoint.port), [SECRET], "evt_1", BODY, now)
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize("allowed", [NAME, f"{NAME.upper()}.", "127.0.0.1", "10.0.0.0/8,127.0.0.0/8"])
def test_a_private_host_that_the_operator_allows_is_called(
    allowed: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The operator names the host or its network."""
    resolve(monkeypatch, "127.0.0.1")
    hosts = load_settings({"WEBHOOK_PRIVATE_HOSTS": allowed}, tmp_path).webhook_private_hosts
    with Endpoint(answers(200)) as endpoint:
        url = f"http://{NAME}:{endpoint.port}/"
        sender = WebhookSender(5, hosts)
        sender.send(url, [SECRET], "evt_1", BODY, datetime.now(UTC), is_public_only=True)
        other = f"http://localhost:{endpoint.port}/"
        if allowed.lower().startswith(NAME):
            with pytest.raises(TemporaryFailure):
                sender.send(other, [SECRET], "evt_1", BODY, datetime.now(UTC), is_public_only=True)


def test_no_text_of_an_endpoint_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """This holds for address, header and body, on each level, for any answer."""
    caplog.set_level(logging.DEBUG)
    for raw in (
        b"HTTP/1.1 200 OK\r\nsecret\r\nX: secret\r\n\r\nsecret",
        b"HTTP/1.1 500 secret\r\nX: secret\r\n\r\nsecret",
        b"secret secret\r\n\r\n",
        b"",
    ):
        with Endpoint(sends(raw)) as endpoint, suppress(TemporaryFailure):
            send(endpoint)
    assert "secret" not in caplog.text
