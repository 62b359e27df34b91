"""Webhooks are signed as Standard Webhooks says, and no endpoint holds the sender beyond its deadline."""

import ssl
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

import daemon.net.http_client
from daemon.delivery.webhook import MOST_BYTES, WebhookSender
from daemon.net.errors import PermanentFailure, TemporaryFailure
from tests.support.endpoint import CERTIFICATE, Behaviour, Endpoint, answers, hangs, sends, trickles

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
BODY = b'{"type":"payment.received","data":{"note":"Br\\u00f6tchen"}}'


def send(endpoint: Endpoint, *secrets: str, seconds: float = 5) -> None:
    """One delivery, signed at the real time: the library's verification goes by it."""
    now = datetime.now(UTC)
    WebhookSender(seconds).send(endpoint.url, secrets or (SECRET,), "evt_1", BODY, now)


def failure(behave: Behaviour, seconds: float = 5) -> str:
    """What is said of an endpoint that does this; it must be a temporary failure."""
    with Endpoint(behave) as endpoint, pytest.raises(TemporaryFailure) as caught:
        send(endpoint, seconds=seconds)
    return str(caught.value)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_2xx_is_a_delivery(status: int) -> None:
    """One request, with the body as it was given."""
    with Endpoint(answers(status)) as endpoint:
        send(endpoint)
    assert [request.body for request in endpoint.requests] == [BODY]
    assert endpoint.requests[0].line == "POST /hook?key=secret HTTP/1.1"
    assert endpoint.requests[0].headers["content-type"] == "application/json"
    assert endpoint.requests[0].headers["webhook-id"] == "evt_1"


def test_the_signature_is_what_the_standards_own_library_verifies() -> None:
    """With the seller's secret, and with no other."""
    with Endpoint(answers(200)) as endpoint:
        send(endpoint)
    request = endpoint.requests[0]
    assert Webhook(SECRET).verify(request.body, request.headers)["type"] == "payment.received"
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD_SECRET).verify(request.body, request.headers)


def test_while_a_secret_is_being_changed_both_verify() -> None:
    """So that the merchant can change it without missing a message."""
    with Endpoint(answers(200)) as endpoint:
        send(endpoint, SECRET, OLD_SECRET)
    request = endpoint.requests[0]
    for secret in (SECRET, OLD_SECRET):
        assert Webhook(secret).verify(request.body, request.headers)


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 404, 429, 500, 503])
def test_any_other_status_is_tried_again(status: int) -> None:
    """Redirects are not followed: the operator has set the address."""
    with (
        Endpoint(answers(200)) as target,
        Endpoint(answers(status, b"", f"Location: {target.url}")) as endpoint,
        pytest.raises(TemporaryFailure, match=f"HTTP {status}"),
    ):
        send(endpoint)
    assert not target.requests


def test_410_is_final() -> None:
    """The merchant has said that the address is gone."""
    with Endpoint(answers(410)) as endpoint, pytest.raises(PermanentFailure, match="410"):
        send(endpoint)


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"HTTP/1.1 2",
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
)
def test_an_answer_that_trickles_is_cut_off_at_the_deadline(start: bytes) -> None:
    """Each byte comes in time; all of them never do."""
    assert failure(trickles(start), seconds=0.3) == "timed out"


def test_silence_is_cut_off_at_the_deadline() -> None:
    """Before an answer has begun."""
    assert failure(hangs, seconds=0.3) == "timed out"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00\xff garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
    ],
)
def test_an_answer_that_cannot_be_read_is_tried_again(raw: bytes) -> None:
    """Whatever it is, it is one line for the log, and does not have the address in it."""
    said = failure(sends(raw))
    assert said
    assert said.isprintable()
    assert "secret" not in said


def test_no_more_of_an_answer_is_read_than_64_kib() -> None:
    """An endless 200 is a delivery none the less."""

    def floods(endpoint: Endpoint, connection: object, _request: object) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * MOST_BYTES * 4)  # type: ignore[attr-defined]
        endpoint.hang()

    with Endpoint(floods) as endpoint:
        send(endpoint, seconds=30)


def test_nobody_there_is_tried_again() -> None:
    """And so is a name that nobody has, or that the DNS can't hold."""
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
    """Or who sets it would see every payment."""
    with Endpoint(answers(200)) as proxy, Endpoint(answers(200)) as endpoint:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        send(endpoint)
    assert len(endpoint.requests) == 1
    assert not proxy.requests


def test_a_certificate_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that nobody vouches for is refused; one that an authority does is taken."""
    with Endpoint(answers(200), is_tls=True) as endpoint:
        with pytest.raises(TemporaryFailure, match="certificate"):
            send(endpoint)
        assert not endpoint.requests
        trusting = ssl.create_default_context(cafile=str(CERTIFICATE))
        monkeypatch.setattr(daemon.net.http_client, "tls_context", lambda: trusting)
        send(endpoint)
    assert len(endpoint.requests) == 1


def test_a_tls_handshake_that_never_ends_is_cut_off() -> None:
    """A server that does not speak TLS waits for the rest of a request."""
    with Endpoint(answers(200)) as endpoint:
        url = endpoint.url.replace("http:", "https:")
        with pytest.raises(TemporaryFailure, match="timed out"):
            WebhookSender(0.3).send(url, [SECRET], "evt_1", BODY, datetime.now(UTC))


@pytest.mark.parametrize("secret", ["whsec_", "whsec_ä", "whsec_!!!", ""])
def test_a_secret_that_cannot_be_read_sends_nothing(secret: str) -> None:
    """A message without its signature would be worth nothing; the operator can give a new secret."""
    with Endpoint(answers(200)) as endpoint, pytest.raises(TemporaryFailure, match="secret"):
        WebhookSender(5).send(endpoint.url, [secret], "evt_1", BODY, datetime.now(UTC))
    assert not endpoint.requests
