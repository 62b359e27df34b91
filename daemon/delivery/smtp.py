"""The mailer, which sends emails to a mail server by SMTP, or stores them in a local Maildir."""

import mailbox
import smtplib
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from email.errors import MessageError
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy, default
from email.utils import format_datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Literal

from config import Maildir, Proxy, SmtpServer
from daemon.delivery.cures import CORRECT_ADDRESS, CORRECT_LOGIN, cure_for
from daemon.delivery.email_layout import MAX_SUBJECT_CHARACTERS, EmailContent
from daemon.net.errors import (
    MailUnusable,
    NeedsProxy,
    PermanentFailure,
    ProxyError,
    TemporaryFailure,
    explain,
    printable_line,
)
from daemon.net.outbound import open_outbound
from daemon.net.tls import tls_context

DEADLINE_SECONDS = 20.0
MAX_LINE_LENGTH = 998  # RFC 5322 2.1.1
MAX_REPLY_BYTES = 1024 * 1024
ENDLESS = "its reply has no end"

# With these codes the login is wrong, not the message, and the operator can correct the login. RFC 4954 6.
_LOGIN_CODES = frozenset({530, 534, 535, 538})


class Mailer:
    """Sends emails from one address to one mail server or Maildir."""

    def __init__(
        self,
        mail: SmtpServer | Maildir,
        mail_from: str,
        deadline_seconds: float = DEADLINE_SECONDS,
        proxy: Proxy | None = None,
    ) -> None:
        self._mail = mail
        self._mail_from = mail_from
        self._proxy = proxy
        self._deadline_seconds = deadline_seconds

    def send(
        self, recipient: str, email: EmailContent, message_id: str, *, is_urgent: bool, now: datetime
    ) -> None:
        """Send one email within `deadline_seconds`. Return when the server or the Maildir has accepted it.

        Raise TemporaryFailure or PermanentFailure.
        """
        try:
            message = _message(self._mail_from, recipient, email, message_id, is_urgent, now)
            line_ends = SMTP if isinstance(self._mail, SmtpServer) else default
            content = message.as_bytes(policy=_unfolded(line_ends, email.subject))
        except (ValueError, LookupError, TypeError, AttributeError, MessageError) as error:
            # The email package can never encode this email, so the email must not stop the emails after it.
            raise PermanentFailure(f"the email can't be written: {type(error).__name__}") from error
        if isinstance(self._mail, Maildir):
            _store(self._mail.path, content)
            return
        with self._connected(self._mail) as connection:
            try:
                connection.log_in()
                connection.hand_over(self._mail_from, recipient, content)
            except (smtplib.SMTPException, OSError, ValueError) as error:
                raise _failure(error) from error

    def check(self, recipient: str) -> None:
        """Log in, and check the sender and this recipient, but send no email. Raise MailUnusable."""
        if isinstance(self._mail, Maildir):
            _check_maildir(self._mail.path)
            return
        cure = CORRECT_ADDRESS
        try:
            with self._connected(self._mail) as connection:
                cure = CORRECT_LOGIN
                connection.log_in()
                cure = "correct MAIL_FROM, or the user in SMTP_URL"
                _check_taken(*connection.mail(self._mail_from))
                cure = "correct OPERATOR_EMAIL"
                _check_taken(*connection.rcpt(recipient))
                connection.rset()
        except (TemporaryFailure, PermanentFailure, smtplib.SMTPException, OSError, ValueError) as error:
            raise MailUnusable(f"{_failure(error)}: {cure_for(error, cure)}") from error

    @contextmanager
    def _connected(self, server: SmtpServer) -> Iterator["_Connection"]:
        own_name = self._mail_from.rpartition("@")[2]
        try:
            connection = _Connection(server, self._deadline_seconds, own_name, self._proxy)
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise _failure(error) from error
        with closing(connection):
            yield connection
            # The server has accepted the email already, so its reply to QUIT does not matter.
            with suppress(smtplib.SMTPException, OSError, ValueError):
                connection.quit()


class _Refused(smtplib.SMTPException):
    """The server refuses this sender, this recipient or this message."""

    def __init__(self, code: int, answer: bytes) -> None:
        super().__init__(f"the mail server answered {code} {answer.decode('utf-8', 'replace')}")
        self.code = code


class _LoginRefused(smtplib.SMTPException):
    """The server refuses the login. Its reply may contain the password, so only the code is kept."""

    def __init__(self, code: int) -> None:
        super().__init__(f"it refuses the login ({code})")
        self.code = code


def _expect(code: int, reply: tuple[int, bytes]) -> None:
    if reply[0] != code:
        raise smtplib.SMTPResponseException(*reply)


class _Connection(smtplib.SMTP):
    """An encrypted connection to the operator's mail server, with a deadline.

    It overrides two public methods, `connect` (as smtplib's LMTP does) and `getreply`. The library's own
    `getreply` turns a long line into a reply with code 500. It also waits without end for a slow reply.
    """

    def __init__(self, server: SmtpServer, seconds: float, own_name: str, proxy: Proxy | None) -> None:
        self._server = server
        self._proxy = proxy
        self._ends_at = time.monotonic() + seconds
        self._received = bytearray()
        # Without a name, smtplib looks up the name of this machine in the DNS, which can take long.
        super().__init__(server.host, server.port, local_hostname=own_name, timeout=seconds)
        try:
            self._encrypt()
            self.ehlo_or_helo_if_needed()
        except BaseException:
            self.close()
            raise

    def connect(self, host: str = "", port: int = 0, source_address: object = None) -> tuple[int, bytes]:  # noqa: ARG002
        """Connect to any address of `host`, and return its greeting. Raise SMTPException or OSError."""
        connection = open_outbound(host, port, self._seconds_left(), self._proxy)
        try:
            if self._server.security == "tls":
                connection = tls_context().wrap_socket(connection, server_hostname=host)
            self.sock = connection
            return self.getreply()
        except BaseException:
            connection.close()
            raise

    def getreply(self) -> tuple[int, bytes]:
        """Return the code and the text of the next reply. Raise SMTPServerDisconnected or TimeoutError."""
        texts = []
        is_last, size = False, 0
        while not is_last:
            line = self._read_line()
            texts.append(line[4:].strip())
            is_last = line[3:4] != b"-"
            size += len(line)
            if size > MAX_REPLY_BYTES:
                raise smtplib.SMTPServerDisconnected(ENDLESS)
        code = int(line[:3]) if line[:3].isdigit() else -1
        return code, b"\n".join(texts)

    def log_in(self) -> None:
        """Authenticate if SMTP_URL has a user. Raise SMTPException or OSError."""
        if self._server.username is None or self._server.password is None:
            return
        self.user, self.password = self._server.username, self._server.password.reveal()
        offered = self.esmtp_features.get("auth", "").upper().split()
        refusal: smtplib.SMTPException
        refusal = smtplib.SMTPNotSupportedError("it offers no login by CRAM-MD5, PLAIN or LOGIN")
        for mechanism in ("CRAM-MD5", "PLAIN", "LOGIN"):
            if mechanism in offered:
                try:
                    self._authenticate(mechanism)
                except smtplib.SMTPAuthenticationError as error:
                    # Some servers offer mechanisms that they do not support.
                    refusal = _LoginRefused(error.smtp_code)
                else:
                    return
        raise refusal

    def hand_over(self, sender: str, recipient: str, content: bytes) -> None:
        """Send one email. Raise _Refused if the server refuses it, or SMTPException or OSError."""
        options = [f"size={len(content)}"] if self.has_extn("size") else []
        _check_taken(*self.mail(sender, options))
        _check_taken(*self.rcpt(recipient))
        try:
            _check_taken(*self.data(content))
        except smtplib.SMTPDataError as error:
            # The server refuses before it has read the message.
            raise _Refused(error.smtp_code, _bytes(error.smtp_error)) from error

    def _encrypt(self) -> None:
        """Begin TLS where STARTTLS is set. In Python 3.14, `starttls` fails after a `connect` of our own."""
        if self._server.security != "starttls":
            return
        self.ehlo_or_helo_if_needed()
        if not self.has_extn("starttls"):
            raise smtplib.SMTPNotSupportedError("STARTTLS extension not supported by server.")
        _expect(220, self.docmd("STARTTLS"))
        assert self.sock is not None
        self.sock = tls_context().wrap_socket(self.sock, server_hostname=self._server.host)
        # An attacker on the network may have sent these bytes before the encryption began.
        self._received.clear()
        # RFC 3207 4.2: the client forgets the extensions that the server named before.
        _expect(250, self.ehlo())

    def _authenticate(self, mechanism: str) -> None:
        respond: dict[str, Any] = {
            "CRAM-MD5": self.auth_cram_md5,
            "PLAIN": self.auth_plain,
            "LOGIN": self.auth_login,
        }
        try:
            # By RFC 4954 4 a server refuses an initial response of a mechanism in which the server sends
            # first.
            self.auth(mechanism, respond[mechanism], initial_response_ok=mechanism == "PLAIN")
        except UnicodeEncodeError:
            # The cause is left out because it contains the password.
            raise smtplib.SMTPException("user and password of a login must be ASCII") from None

    def _read_line(self) -> bytes:
        while b"\n" not in self._received:
            assert self.sock is not None
            self.sock.settimeout(self._seconds_left())
            data = self.sock.recv(4096)
            if not data or len(self._received) > MAX_REPLY_BYTES:
                raise smtplib.SMTPServerDisconnected("it closes the connection" if not data else ENDLESS)
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return bytes(line)

    def _seconds_left(self) -> float:
        seconds = self._ends_at - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("timed out")
        return seconds


def _store(directory: Path, content: bytes) -> None:
    try:
        for folder in (directory, *(directory / name for name in ("tmp", "new", "cur"))):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mailbox.Maildir(directory, create=False).add(content)
    except OSError as error:
        raise TemporaryFailure(f"the Maildir can't be written: {error.strerror}") from error


def _check_taken(code: int, answer: bytes) -> None:
    # By RFC 5321 4.2 a client uses the first digit of a code that it does not expect.
    if not 200 <= code < 300:
        raise _Refused(code, answer)


def _check_maildir(directory: Path) -> None:
    """Check that the directory, or the first parent that exists, can be written. Raise MailUnusable."""
    existing = next(folder for folder in (directory, *directory.absolute().parents) if folder.exists())
    folders = [directory / name for name in ("tmp", "new") if (directory / name).exists()] or [existing]
    for folder in folders:
        try:
            with TemporaryFile(dir=folder):
                continue
        except OSError as error:
            raise MailUnusable(
                f"{folder} can't be written ({error.strerror}): "
                "make the daemon's user its owner, or set SMTP_URL=maildir:PATH to another directory"
            ) from error


def _unfolded(policy: "EmailPolicy[EmailMessage]", subject: str) -> "EmailPolicy[EmailMessage]":
    """Return a policy that keeps the subject on one line.

    If a subject is folded before its first word, a reader gets a space in front of it. A subject that must be
    encoded is still folded, because an encoded word has at most 75 characters (RFC 2047 2).
    """
    return (
        policy.clone(max_line_length=len("Subject: ") + MAX_SUBJECT_CHARACTERS)
        if subject.isascii()
        else policy
    )


def _message(
    mail_from: str, recipient: str, email: EmailContent, message_id: str, is_urgent: bool, now: datetime
) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"] = mail_from
    message["To"] = recipient
    message["Subject"] = email.subject
    message["Date"] = format_datetime(now)
    message["Message-ID"] = message_id
    # This header prevents automatic replies, such as holiday notices. RFC 3834 5.
    message["Auto-Submitted"] = "auto-generated"
    if is_urgent:
        message["Importance"] = "high"  # RFC 2156 5.3.4
        message["X-Priority"] = "1"
    message.set_content(email.text, cte=_encoding(email.text))
    message.add_alternative(email.html, subtype="html", cte=_encoding(email.html))
    return message


def _encoding(text: str) -> Literal["7bit", "quoted-printable"]:
    """Return an encoding that leaves plain text unchanged, so that a txid stays whole in the source."""
    is_plain = text.isascii() and all(len(line) <= MAX_LINE_LENGTH for line in text.splitlines())
    return "7bit" if is_plain else "quoted-printable"


def _failure(error: Exception) -> TemporaryFailure | PermanentFailure:
    """Return the failure of an attempt. Only a reply to the sender, recipient or message can be permanent."""
    match error:
        case TemporaryFailure() | PermanentFailure():
            return error
        case _Refused():
            is_final = 500 <= error.code < 600 and error.code not in _LOGIN_CODES
            return (PermanentFailure if is_final else TemporaryFailure)(printable_line(str(error)))
        case TimeoutError():
            return TemporaryFailure("the mail server was too slow")
        case smtplib.SMTPResponseException():
            return TemporaryFailure(printable_line(str(_Refused(error.smtp_code, _bytes(error.smtp_error)))))
        case smtplib.SMTPException():
            return TemporaryFailure(printable_line(f"the mail server: {error}"))
        case ProxyError() | NeedsProxy():
            return TemporaryFailure(explain(error))
        case OSError():
            return TemporaryFailure(f"the mail server: {explain(error)}")
    return TemporaryFailure("the reply of the mail server is not valid")


def _bytes(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode()
