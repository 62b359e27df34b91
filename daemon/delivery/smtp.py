"""Emails: to a mail server by SMTP, or into a local Maildir."""

import os
import secrets
import smtplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from email.errors import MessageError
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy, default
from email.utils import format_datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import Literal

from config import Maildir, SmtpServer
from daemon.delivery.cures import CORRECT_ADDRESS, CORRECT_LOGIN, cure_for
from daemon.delivery.emails import LONGEST_SUBJECT, Letter
from daemon.failpoint import reach
from daemon.net.deadline import Deadline
from daemon.net.errors import PermanentFailure, TemporaryFailure, reason
from daemon.net.tls import tls_context

DEADLINE_SECONDS = 20.0
LONGEST_LINE = 998  # RFC 5322 2.1.1

# The login is what is wrong, not the message, and the operator can mend it. RFC 4954 6.
_LOGIN_CODES = frozenset({530, 534, 535, 538})


class NotReady(Exception):
    """Emails would not be taken; the text says why, and what to do."""


class Mailer:
    """Sends from one address, by one way."""

    def __init__(
        self, mail: SmtpServer | Maildir, mail_from: str, deadline_seconds: float = DEADLINE_SECONDS
    ) -> None:
        self._mail = mail
        self._mail_from = mail_from
        self._deadline_seconds = deadline_seconds

    def send(
        self, recipient: str, letter: Letter, message_id: str, *, is_urgent: bool, now: datetime
    ) -> None:
        """Hand one email over; when this returns, it is the other side's. Within `deadline_seconds`.

        Raises TemporaryFailure or PermanentFailure.
        """
        try:
            message = _message(self._mail_from, recipient, letter, message_id, is_urgent, now)
            line_ends = SMTP if isinstance(self._mail, SmtpServer) else default
            content = message.as_bytes(policy=_unfolded(line_ends, letter.subject))
        except (ValueError, LookupError, TypeError, AttributeError, MessageError) as error:
            # Whatever the email package can't write, it never will; this one may not stop those behind it.
            raise PermanentFailure(reason(f"the email can't be written: {error}")) from error
        if isinstance(self._mail, Maildir):
            self._store(self._mail.path, content)
        else:
            self._submit(self._mail, recipient, content)

    def check(self, recipient: str) -> None:
        """Do all but hand an email over: log in, and ask whether this sender and recipient would be taken.

        Raises NotReady.
        """
        if isinstance(self._mail, Maildir):
            _check_maildir(self._mail.path)
            return
        cure = CORRECT_ADDRESS
        with Deadline(self._deadline_seconds) as deadline:
            connection = _Connection(self._mail, deadline, self._mail_from.rpartition("@")[2])
            try:
                connection.open()
                cure = CORRECT_LOGIN
                connection.authenticate()
                cure = "correct MAIL_FROM, or the user in SMTP_URL"
                _check_taken(*connection.mail(self._mail_from))
                cure = "correct OPERATOR_EMAIL"
                _check_taken(*connection.rcpt(recipient))
            except (smtplib.SMTPException, OSError, ValueError) as error:
                raise NotReady(f"{_failure(error, deadline)}: {cure_for(error, cure)}") from error
            else:
                with suppress(smtplib.SMTPException, OSError):
                    connection.rset()
                    connection.quit()
            finally:
                connection.close()

    def _submit(self, server: SmtpServer, recipient: str, content: bytes) -> None:
        with Deadline(self._deadline_seconds) as deadline:
            connection = _Connection(server, deadline, self._mail_from.rpartition("@")[2])
            try:
                connection.log_in()
                connection.sendmail(self._mail_from, [recipient], content)
            except (smtplib.SMTPException, OSError, ValueError) as error:
                # ValueError: an answer that smtplib can't read.
                raise _failure(error, deadline) from error
            else:
                # It has been taken: what the server says to goodbye changes nothing.
                with suppress(smtplib.SMTPException, OSError):
                    connection.quit()
            finally:
                connection.close()

    def _store(self, directory: Path, content: bytes) -> None:
        """Deliver as https://cr.yp.to/proto/maildir.html says, readable to the owner alone."""
        name = f"{secrets.token_hex(16)}.{socket.gethostname().replace('/', '_').replace(':', '_')}"
        try:
            for place in (directory, *(directory / part for part in ("tmp", "new", "cur"))):
                place.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(directory / "tmp" / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            reach("email.written")
            (directory / "tmp" / name).rename(directory / "new" / name)
            _sync(directory / "new")
        except OSError as error:
            raise TemporaryFailure(f"the Maildir can't be written: {error.strerror}") from error


class _Connection(smtplib.SMTP):
    """A connection to the operator's mail server, over at the deadline."""

    def __init__(self, server: SmtpServer, deadline: Deadline, own_name: str) -> None:
        self._server = server
        self._deadline = deadline
        # Without a name of our own smtplib asks the DNS for one, which can take long.
        super().__init__(local_hostname=own_name, timeout=deadline.remaining_seconds)

    def log_in(self) -> None:
        """Connect, encrypt and authenticate, as the settings say. Raises SMTPException or OSError."""
        self.open()
        self.authenticate()

    def open(self) -> None:
        """Connect and encrypt. Raises SMTPException or OSError."""
        with _no_verdict():
            # STARTTLS checks the certificate against this.
            self._host = self._server.host
            code, answer = self.connect(self._server.host, self._server.port)
            if code != 220:
                raise smtplib.SMTPConnectError(code, answer)
            self.ehlo_or_helo_if_needed()
            if self._server.security == "starttls":
                self.starttls(context=tls_context())

    def authenticate(self) -> None:
        """Say who we are, where SMTP_URL does. Raises SMTPException or OSError."""
        if self._server.username is None or self._server.password is None:
            return
        with _no_verdict():
            try:
                self.login(self._server.username, self._server.password.reveal())
            except UnicodeEncodeError:
                # Without its cause, which has the password in it.
                raise smtplib.SMTPException("AUTH takes no user or password but in ASCII") from None

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:  # noqa: ARG002
        """As smtplib.SMTP_SSL overrides it; the deadline is the time-out."""
        connection = self._deadline.open_socket(host, port)
        if self._server.security != "tls":
            return connection
        return tls_context().wrap_socket(connection, server_hostname=host)


@contextmanager
def _no_verdict() -> Iterator[None]:
    """Nothing of the message has been seen yet, so what is refused is not the message."""
    try:
        yield
    except smtplib.SMTPResponseException as error:
        raise smtplib.SMTPException(f"{error.smtp_code} {_said(error.smtp_error)}") from error


def _check_taken(code: int, answer: bytes) -> None:
    if code not in (250, 251):
        raise smtplib.SMTPResponseException(code, answer)


def _check_maildir(directory: Path) -> None:
    """Without making it: what is there has to be a directory that can be written. Raises NotReady."""
    there = next(place for place in (directory, *directory.absolute().parents) if place.exists())
    places = [directory / part for part in ("tmp", "new") if (directory / part).exists()] or [there]
    for place in places:
        try:
            with TemporaryFile(dir=place):
                continue
        except OSError as error:
            raise NotReady(
                f"{place} can't be written ({error.strerror}): "
                "give it to the daemon's user, or set SMTP_URL=maildir:PATH to another directory"
            ) from error


def _unfolded(policy: "EmailPolicy[EmailMessage]", subject: str) -> "EmailPolicy[EmailMessage]":
    """Keeps a subject on its line: folded before its first word, it is read back with a space in front.

    One that has to be encoded is folded, since an encoded word has at most 75 characters (RFC 2047 2).
    """
    return policy.clone(max_line_length=len("Subject: ") + LONGEST_SUBJECT) if subject.isascii() else policy


def _message(
    mail_from: str, recipient: str, letter: Letter, message_id: str, is_urgent: bool, now: datetime
) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"] = mail_from
    message["To"] = recipient
    message["Subject"] = letter.subject
    message["Date"] = format_datetime(now)
    message["Message-ID"] = message_id
    # No holiday replies, please. RFC 3834 5.
    message["Auto-Submitted"] = "auto-generated"
    if is_urgent:
        message["Importance"] = "high"  # RFC 2156 5.3.4
        message["X-Priority"] = "1"
    message.set_content(letter.text, cte=_encoding(letter.text))
    message.add_alternative(letter.html, subtype="html", cte=_encoding(letter.html))
    return message


def _encoding(text: str) -> Literal["7bit", "quoted-printable"]:
    """As it is where that can be: a txid stays whole for those who read the source."""
    is_plain = text.isascii() and all(len(line) <= LONGEST_LINE for line in text.splitlines())
    return "7bit" if is_plain else "quoted-printable"


def _failure(error: Exception, deadline: Deadline) -> TemporaryFailure | PermanentFailure:
    if deadline.is_over:
        return TemporaryFailure("the mail server was too slow")
    match error:
        case smtplib.SMTPRecipientsRefused():
            return _refusal(*next(iter(error.recipients.values())))
        case smtplib.SMTPResponseException():
            return _refusal(error.smtp_code, error.smtp_error)
        case ssl.SSLCertVerificationError():
            return TemporaryFailure(reason(f"the mail server's certificate: {error.verify_message}"))
        case smtplib.SMTPException() | OSError():
            return TemporaryFailure(reason(f"the mail server: {error.strerror or error}"))
    return TemporaryFailure("the mail server gave an answer that can't be read")


def _refusal(code: int, answer: bytes | str) -> TemporaryFailure | PermanentFailure:
    said = reason(f"the mail server said {code} {_said(answer)}")
    is_final = 500 <= code < 600 and code not in _LOGIN_CODES
    return PermanentFailure(said) if is_final else TemporaryFailure(said)


def _said(answer: bytes | str) -> str:
    return answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer


def _sync(directory: Path) -> None:
    """Make what was moved into it survive a power loss."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
