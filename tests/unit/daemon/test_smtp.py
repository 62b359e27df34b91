"""An email is delivered whole or not at all, and the mailer decides whether to try again."""

import base64
import mailbox
import os
import smtplib
import socketserver
import ssl
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import daemon.delivery.smtp
from config import Maildir, Secret, SmtpServer
from daemon.delivery.email_layout import EmailContent
from daemon.delivery.emails import render_email
from daemon.delivery.smtp import Mailer
from daemon.net.errors import PermanentFailure, TemporaryFailure
from payments.status import EventType
from tests.support.dead_address import NAME, dead_address, resolve
from tests.support.email_documents import CONTEXT, TXID, document
from tests.support.endpoint import CERTIFICATE
from tests.support.mail_server import PASSWORD, USER, MailServer
from tests.support.needs import examples
from tests.support.scripted_mail_server import Reply, ScriptedMailServer

# The test's mail server has no TLS in some of the tests that log in.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")

NOW = datetime(2026, 12, 10, 9, 3, tzinfo=UTC)
FROM, OPERATOR, MESSAGE_ID = "till@shop.example", "operator@shop.example", "<evt_1@shop.example>"


def received_email(**changes: Any) -> EmailContent:
    """Return the email of a received payment."""
    return render_email(EventType.RECEIVED, document(**changes), CONTEXT)


def send(
    mail: SmtpServer | Maildir, text: EmailContent | None = None, *, seconds: float = 10, **changes: Any
) -> None:
    """Send one email."""
    envelope = {"recipient": OPERATOR, "message_id": MESSAGE_ID, "is_urgent": False, "now": NOW, **changes}
    Mailer(mail, FROM, seconds).send(email=text or received_email(), **envelope)


@pytest.fixture
def server() -> Iterator[MailServer]:
    """Start a mail server without TLS."""
    with MailServer() as running:
        yield running


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the tests' certificate."""
    context = ssl.create_default_context(cafile=str(CERTIFICATE))
    monkeypatch.setattr(daemon.delivery.smtp, "tls_context", lambda: context)


def test_an_email_arrives_unchanged(server: MailServer) -> None:
    """It has plain text and HTML, and the headers that identify a repeat."""
    text = received_email(note="Brötchen für 3 €\nund 1 ☕")
    send(server.address(), text)
    mail = server.taken[0]
    assert mail["From"] == FROM
    assert mail["To"] == OPERATOR
    assert server.recipients == [OPERATOR]
    assert mail["Subject"] == text.subject
    assert mail["Message-ID"] == MESSAGE_ID
    assert mail["Date"] == "Thu, 10 Dec 2026 09:03:00 +0000"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["X-Priority"] is None
    parts = {part.get_content_type(): part.get_content() for part in mail.iter_parts()}
    assert {kind: _lines(content) for kind, content in parts.items()} == {
        "text/plain": _lines(text.text),
        "text/html": _lines(text.html),
    }


def test_a_txid_is_on_one_line_of_the_source(server: MailServer) -> None:
    """Simple tools can then find it."""
    send(server.address())
    assert f"\r\n              {TXID}\r\n".encode() in server.raw[0]


def test_an_urgent_email_is_marked(server: MailServer) -> None:
    """Mail programs use these headers."""
    send(server.address(), is_urgent=True)
    assert (server.taken[0]["Importance"], server.taken[0]["X-Priority"]) == ("high", "1")


def test_each_email_has_a_connection_of_its_own(server: MailServer) -> None:
    mailer = Mailer(server.address(), FROM)
    for number in range(3):
        mailer.send(OPERATOR, received_email(), f"<evt_{number}@shop.example>", is_urgent=False, now=NOW)
    assert [mail["Message-ID"] for mail in server.taken] == [f"<evt_{n}@shop.example>" for n in range(3)]


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
def test_4xx_is_tried_again(server: MailServer, command: str) -> None:
    """Examples are greylisting, a full disk, and too many connections."""
    server.answers[command] = "450 4.2.0 Greylisted, try again"
    with pytest.raises(TemporaryFailure, match=r"450 4\.2\.0 Greylisted"):
        send(server.address())
    assert not server.taken


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
def test_5xx_is_final(server: MailServer, command: str) -> None:
    """The next try would have the same result."""
    server.answers[command] = "550 5.1.1 No such user"
    with pytest.raises(PermanentFailure, match=r"550 5\.1\.1 No such user"):
        send(server.address())


def test_a_lost_connection_after_data_is_tried_again(server: MailServer) -> None:
    """The server may have accepted the message, and the Message-ID identifies the repeat."""
    server.is_cut_after_data = True
    with pytest.raises(TemporaryFailure):
        send(server.address())


def test_a_server_s_reply_is_reported_in_one_short_line(server: MailServer) -> None:
    """The log and the operator's screen show it."""
    server.answers["RCPT"] = "450 " + "\x1b[2J\x07" + "x" * 400
    with pytest.raises(TemporaryFailure) as caught:
        send(server.address())
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= 200


def test_an_unreachable_server_is_tried_again() -> None:
    """The server is down, or its name is wrong."""
    with MailServer() as gone:
        address = gone.address()
    for server in (address, SmtpServer("no-such-host.invalid", 25, None, None, "none")):
        with pytest.raises(TemporaryFailure):
            send(server)


@pytest.mark.parametrize("greeting", [b"", b"220 ", b"220-hello\r\n", b"nonsense "])
def test_a_server_that_trickles_is_cut_off(greeting: bytes) -> None:
    """Each byte comes in time, but the whole reply never does."""
    is_over = threading.Event()

    class Trickle(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(greeting)
            while greeting and not is_over.wait(0.05):
                self.request.sendall(b"2")
            is_over.wait(60)

    with serving(Trickle) as address:
        with pytest.raises(TemporaryFailure, match="too slow"):
            send(address, seconds=0.3)
        is_over.set()


def test_a_greeting_of_5xx_is_tried_again() -> None:
    """The server refuses the client and not the message, and the operator can correct that."""
    refusing = _greets_with(b"554 5.7.1 Go away\r\n")
    with pytest.raises(TemporaryFailure, match=r"554 5\.7\.1 Go away"):
        send(refusing)


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_an_email_is_sent_by_tls_with_a_login(security: Any) -> None:
    """TLS begins with the first byte, or after STARTTLS."""
    with MailServer(security, wants_login=True) as server:
        send(server.address())
        assert server.taken[0]["Message-ID"] == MESSAGE_ID


@pytest.mark.usefixtures("trusting")
def test_starttls_needs_no_private_part_of_smtplib(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.14's `starttls` reads an attribute that only its own `connect` sets."""
    monkeypatch.delattr(smtplib.SMTP, "starttls")
    with MailServer("starttls", wants_login=True) as server:
        send(server.address())
        assert server.taken[0]["Message-ID"] == MESSAGE_ID


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_an_untrusted_certificate_is_refused(security: Any) -> None:
    """It is refused before the password is sent. The operator can correct it, so the message waits."""
    with (
        MailServer(security, wants_login=True) as server,
        pytest.raises(TemporaryFailure, match="certificate"),
    ):
        send(server.address())


@pytest.mark.usefixtures("trusting")
def test_a_certificate_for_another_name_is_refused() -> None:
    with MailServer("tls") as server, pytest.raises(TemporaryFailure, match="certificate"):
        send(server.address(host="127.1"))


def test_starttls_is_required(server: MailServer) -> None:
    """An attacker could have removed it from the server's reply."""
    with pytest.raises(TemporaryFailure, match="STARTTLS"):
        send(server.address(security="starttls"))
    assert not server.taken


@pytest.mark.parametrize("password", ["wrong-password", "pässwörd"])
def test_a_wrong_login_is_tried_again_and_the_password_not_shown(password: str) -> None:
    """The operator can correct the login."""
    with MailServer(wants_login=True) as server, pytest.raises(TemporaryFailure) as caught:
        send(server.address(password=Secret(password)))
    shown = f"{caught.value} {caught.value!r} {caught.value.__cause__}"
    assert password not in shown
    assert PASSWORD not in shown


def test_a_server_that_requires_a_login_is_tried_again() -> None:
    """Reply 530 refuses the client and not the message."""
    with MailServer(wants_login=True) as server, pytest.raises(TemporaryFailure, match="530"):
        send(server.address(username=None, password=None))


@pytest.mark.parametrize("subject", ["a\nBcc: x@y.example", "a\rb", "a\x0bb", "a\u2028b"])
def test_an_email_that_cannot_be_written_is_final(server: MailServer, subject: str) -> None:
    """No header can be injected, and later messages are not stopped."""
    with pytest.raises(PermanentFailure, match="can't be written"):
        send(server.address(), EmailContent(subject, "text", "<p>text</p>"))
    assert not server.taken


def test_a_missing_maildir_is_created(tmp_path: Path) -> None:
    """Python's own reader can read it."""
    send(Maildir(tmp_path / "a" / "mail"), is_urgent=True)
    box = mailbox.Maildir(tmp_path / "a" / "mail", create=False)
    [(_, stored)] = box.items()
    mail = message_from_bytes(stored.as_bytes(), policy=policy.default)
    assert mail["Message-ID"] == MESSAGE_ID
    assert mail["To"] == OPERATOR
    plain = mail.get_body(("plain",))
    assert plain is not None
    assert f"\n              {TXID}\n" in plain.get_content()
    assert not list((tmp_path / "a" / "mail" / "tmp").iterdir())


def test_only_the_owner_can_read_a_maildir(tmp_path: Path) -> None:
    """The daemon's umask and the directory's mode both ensure it."""
    before = os.umask(0o077)
    send(Maildir(tmp_path / "mail"))
    os.umask(before)
    places = [tmp_path / "mail", *(tmp_path / "mail").rglob("*")]
    assert len(places) == 5
    assert all(stat.S_IMODE(place.stat().st_mode) & 0o077 == 0 for place in places)


def test_each_email_is_a_file_of_its_own(tmp_path: Path) -> None:
    """This holds for a repeated email, too."""
    for _ in range(3):
        send(Maildir(tmp_path / "mail"))
    assert len(list((tmp_path / "mail" / "new").iterdir())) == 3


def test_a_maildir_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    """The disk may be full."""
    (tmp_path / "mail").write_text("in the way")
    with pytest.raises(TemporaryFailure, match="Maildir"):
        send(Maildir(tmp_path / "mail"))


@given(
    note=st.text(st.characters(codec=None), max_size=600),
    seller=st.text(st.characters(codec=None), max_size=64),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(50))
def test_an_email_with_any_note_and_seller_can_be_written(tmp_path: Path, note: str, seller: str) -> None:
    """Lines may be too long for SMTP, and text may have emoji, control characters and lone surrogates."""
    text = received_email(note=note, seller_id=seller)
    send(Maildir(tmp_path / "mail"), text)
    [file] = (tmp_path / "mail" / "new").iterdir()
    raw = file.read_bytes()
    file.unlink()
    assert max(map(len, raw.split(b"\n"))) <= 998
    mail = message_from_bytes(raw, policy=policy.default)
    assert mail["To"] == OPERATOR
    assert mail["Message-ID"] == MESSAGE_ID


def base64_of(text: str) -> str:
    """Return the text as a login encodes it."""
    return base64.b64encode(text.encode()).decode()


def login_server(mechanisms: str, **replies: Reply) -> ScriptedMailServer:
    """Return a server that follows RFC 4954 and refuses an initial response to LOGIN."""

    def auth(line: str) -> bytes:
        _, mechanism, *initial = line.split(" ")
        if mechanism == "PLAIN":
            is_right = initial == [base64_of(f"\0{USER}\0{PASSWORD}")]
            return b"235 welcome\r\n" if is_right else b"535 no\r\n"
        return b"501 5.5.4 LOGIN takes no initial response\r\n" if initial else b"334 VXNlcm5hbWU6\r\n"

    def next_line(line: str) -> bytes:
        answers = {base64_of(USER): b"334 UGFzc3dvcmQ6\r\n", base64_of(PASSWORD): b"235 welcome\r\n"}
        return answers.get(line, b"535 no\r\n")

    offer = f"250-host\r\n250 {mechanisms}\r\n".encode()
    return ScriptedMailServer({"EHLO": offer, "AUTH": auth, "…": next_line, **replies})


@pytest.mark.parametrize(
    "offer", ["AUTH LOGIN", "AUTH PLAIN", "AUTH LOGIN PLAIN", "AUTH=LOGIN", "auth login"]
)
def test_a_login_follows_the_standard(offer: str) -> None:
    """LOGIN begins with the server's challenge, so the command does not contain the user's name."""
    with login_server(offer) as server:
        send(server.address(username=USER, password=Secret(PASSWORD)))
        assert len(server.messages) == 1


def test_a_login_mechanism_that_fails_is_followed_by_the_next() -> None:
    with login_server("AUTH CRAM-MD5 PLAIN") as server:
        server.replies["AUTH"] = lambda line: b"504 not here\r\n" if "CRAM" in line else b"235 welcome\r\n"
        send(server.address(username=USER, password=Secret(PASSWORD)))
        assert len(server.messages) == 1


@pytest.mark.parametrize("offer", ["AUTH XOAUTH2", "SIZE 1000"])
def test_a_server_without_a_supported_login_is_tried_again(offer: str) -> None:
    """The operator can correct it."""
    with login_server(offer) as server, pytest.raises(TemporaryFailure, match="offers no login"):
        send(server.address(username=USER, password=Secret(PASSWORD)))


@pytest.mark.parametrize("reply", ["AUTH", "…"])
def test_a_server_that_repeats_the_password_is_not_quoted(reply: str) -> None:
    """Its reply goes into the log, the database and the operator's screen."""
    plain, hidden = PASSWORD, base64_of(PASSWORD)
    repeats = f"535 wrong: {plain} {hidden} {base64_of(f'{chr(0)}{USER}{chr(0)}{PASSWORD}')}\r\n".encode()
    with login_server("AUTH PLAIN LOGIN", **{reply: repeats}) as server:
        if reply == "…":
            server.replies["EHLO"] = b"250-host\r\n250 AUTH LOGIN\r\n"
        with pytest.raises(TemporaryFailure) as caught:
            send(server.address(username=USER, password=Secret(PASSWORD)))
    assert str(caught.value) == "the mail server: it refuses the login (535)"


@pytest.mark.parametrize(
    "reply",
    [
        b"250 " + b"x" * 20_000 + b"\r\n",
        b"250-" + b"x" * 20_000 + b"\r\n" * 1 + b"250 ok\r\n",
        b"".join(b"250-%d\r\n" % number for number in range(2000)) + b"250 ok\r\n",
        b"200 ok\r\n",
        b"252 ok\r\n",
        b"250\r\n",
        b"250 ok\n",
        b"250 \xff\x00\r\n",
    ],
)
def test_an_email_is_delivered_with_any_reply_of_2xx(reply: bytes) -> None:
    """A library's limit on the length of a line must not undo the server's acceptance."""
    with ScriptedMailServer({".": reply}) as server:
        send(server.address())
        assert len(server.messages) == 1


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("", b"220 " + b"x" * 20_000 + b"\r\n"),
        ("EHLO", b"250-" + b"x" * 20_000 + b"\r\n250 ok\r\n"),
        ("MAIL", b"251 " + b"x" * 20_000 + b"\r\n"),
        ("RCPT", b"252 cannot say\r\n"),
    ],
)
def test_long_and_unusual_replies_before_the_end_stop_nothing(command: str, reply: bytes) -> None:
    """The first digit decides (RFC 5321 4.2)."""
    with ScriptedMailServer({command: reply}) as server:
        send(server.address())
        assert len(server.messages) == 1


@pytest.mark.parametrize("command", ["", "EHLO", "MAIL", "RCPT", "DATA", "."])
@pytest.mark.parametrize("reply", [b"nonsense\r\n", b"99\r\n", b"", b"-1 x\r\n"])
def test_an_invalid_reply_is_tried_again(command: str, reply: bytes) -> None:
    """Only a server's own 5xx to this message is final."""
    replies: dict[str, Reply] = {command: reply}
    if command == "EHLO":
        replies["HELO"] = reply
    with ScriptedMailServer(replies) as server, pytest.raises(TemporaryFailure):
        send(server.address(), seconds=10 if reply else 0.3)


@pytest.mark.parametrize(
    ("command", "is_final"), [("", False), ("EHLO", False), ("MAIL", True), ("RCPT", True), (".", True)]
)
def test_only_a_reply_to_the_message_can_be_final(command: str, is_final: bool) -> None:
    """A server that refuses the greeting may accept the message tomorrow."""
    kind = PermanentFailure if is_final else TemporaryFailure
    replies: dict[str, Reply] = {command: b"554 5.7.1 Go away\r\n", "HELO": b"554 5.7.1 Go away\r\n"}
    with ScriptedMailServer(replies) as server, pytest.raises(kind, match=r"554 5\.7\.1 Go away") as caught:
        send(server.address())
    assert type(caught.value) is kind


def test_a_reply_without_end_is_cut_off() -> None:
    """Every line of the reply is valid."""

    class Endless(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                while True:
                    self.request.sendall(b"220-hello\r\n")

    with serving(Endless) as address, pytest.raises(TemporaryFailure, match=r"no end|too slow"):
        send(address)


def test_a_mail_server_is_reached_by_a_live_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first address of its name drops every packet."""
    resolve(monkeypatch, "::1", "127.0.0.1")
    with ScriptedMailServer({}) as server, dead_address("::1", server.port):
        send(server.address(host=NAME), seconds=30)
        assert len(server.messages) == 1


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_is_checked_against_the_name(security: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not checked against the address."""
    resolve(monkeypatch, "127.0.0.1")
    with MailServer(security) as server, pytest.raises(TemporaryFailure, match="another name"):
        send(server.address(host=NAME))


@contextmanager
def serving(handler: type[socketserver.BaseRequestHandler]) -> Iterator[SmtpServer]:
    """Run a server that handles each client in a thread."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield SmtpServer("127.0.0.1", int(server.server_address[1]), None, None, "none")
        server.shutdown()
        thread.join()


def _greets_with(answer: bytes) -> SmtpServer:
    """Return the address of a server that sends `answer` to its first client and ends."""

    class Once(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(answer)
            self.request.recv(1000)

    server = socketserver.TCPServer(("127.0.0.1", 0), Once)

    def serve() -> None:
        with server:
            server.handle_request()

    threading.Thread(target=serve, daemon=True).start()
    return SmtpServer("127.0.0.1", int(server.server_address[1]), None, None, "none")


def _lines(text: str) -> list[str]:
    return text.rstrip().splitlines()


@pytest.mark.parametrize("length", [60, 70, 77, 100, 120])
def test_a_subject_of_any_length_is_read_back_unchanged(tmp_path: Path, length: int) -> None:
    """It is not folded before its first word."""
    subject = ("Payment received: 135.99 EUR for company1 " * 4)[:length].rstrip()
    send(Maildir(tmp_path / "mail"), EmailContent(subject, "text", "<p>text</p>"))
    [file] = (tmp_path / "mail" / "new").iterdir()
    assert message_from_bytes(file.read_bytes())["Subject"] == subject
