"""A mail server on this machine that accepts, refuses or cuts off messages, as the test chooses."""

import asyncio
import ssl
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from config import Secret, SmtpServer
from regtest.child import free_ports
from tests.support.endpoint import CERTIFICATE

USER, PASSWORD = "till", "hunter2"


STOP_SECONDS = 10


class _Controller(Controller):
    """A thread with aiosmtpd's server. Its `stop` alone would leave open connections behind."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._protocols: list[SMTP] = []

    def factory(self) -> SMTP:
        """Return the protocol of a new connection, as aiosmtpd requires."""
        self._protocols.append(super().factory())  # type: ignore[no-untyped-call]
        return self._protocols[-1]

    def close_connections(self) -> None:
        """Close the port and all connections."""
        asyncio.run_coroutine_threadsafe(self._close(), self.loop).result(STOP_SECONDS)

    async def _close(self) -> None:
        assert isinstance(self.server, asyncio.Server)
        # asyncio would forget a connection that it has accepted just before the port is closed. So first it
        # accepts no more, and begins to serve the accepted ones.
        for listening in self.server.sockets:
            self.loop.remove_reader(listening.fileno())
        # Python 3.11 waits for the connections only if the wait begins before the port is closed.
        are_closed = asyncio.ensure_future(self.server.wait_closed())
        await asyncio.sleep(0)
        self.server.close()
        while not are_closed.done():
            # A connection gets its transport a moment after its protocol.
            for protocol in self._protocols:
                if isinstance(protocol.transport, asyncio.Transport):
                    protocol.transport.abort()
            await asyncio.sleep(0.001)


class MailServer:
    """Keeps the accepted messages in `taken`, and those after which it closes the connection in `cut`.

    `answers` has the replies other than 250, by command.
    """

    def __init__(
        self,
        security: Literal["none", "starttls", "tls"] = "none",
        *,
        wants_login: bool = False,
        host: str = "127.0.0.1",
        certificate: Path = CERTIFICATE,
    ) -> None:
        self.answers: dict[str, str] = {}
        self.is_cut_after_data = False
        self.taken: list[EmailMessage] = []
        self.cut: list[EmailMessage] = []
        self.raw: list[bytes] = []
        self.recipients: list[str] = []
        self._security = security
        self._wants_login = wants_login
        self._host = host
        self._certificate = certificate
        self._port = free_ports(1)[0]
        self._controller = _Controller(self, hostname=host, port=self._port, **self._options())

    def address(self, **changes: Any) -> SmtpServer:
        """Return the settings of this server."""
        login = (USER, Secret(PASSWORD)) if self._wants_login else (None, None)
        values = dict(zip(("username", "password"), login, strict=True))
        address = {"host": self._host, "port": self._port, "security": self._security}
        return SmtpServer(**{**address, **values, **changes})

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """aiosmtpd's hook."""
        envelope.mail_from = address
        return self.answers.get("MAIL", "250 OK")

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """aiosmtpd's hook."""
        envelope.rcpt_tos.append(address)
        return self.answers.get("RCPT", "250 OK")

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """aiosmtpd's hook."""
        assert isinstance(envelope.content, bytes)
        if self.is_cut_after_data:
            self.cut.append(message_from_bytes(envelope.content, policy=policy.default))
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
            return "250 never sent"
        if "DATA" in self.answers:
            return self.answers["DATA"]
        self.raw.append(envelope.content)
        self.taken.append(message_from_bytes(envelope.content, policy=policy.default))
        self.recipients += envelope.rcpt_tos
        return "250 OK"

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._controller.close_connections()
        self._controller.stop()

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {}
        if self._security != "none":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._certificate)
            options["ssl_context" if self._security == "tls" else "tls_context"] = context
        if self._wants_login:
            options |= {"authenticator": self._check_login, "auth_required": True, "auth_require_tls": False}
        return options

    def _check_login(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        is_right = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=is_right, handled=False)
