"""HTTP requests to other machines, with one deadline and without redirects."""

import errno
import re
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from socket import socket
from urllib.parse import quote, urlsplit

import h11

from config.proxy import Proxy
from daemon.net.connection import MayConnect
from daemon.net.errors import HttpError, explain
from daemon.net.outbound import open_outbound
from daemon.net.tls import tls_context

USER_AGENT = "Nodetill"
MAX_HEAD_BYTES = 1024 * 1024
PIECE_BYTES = 16 * 1024

_DEFAULT_PORTS = {"http": 80, "https": 443}
_UNESCAPED = "!#$%&'()*+,/:;=?@[]~"
_STATUS_LINE = re.compile(rb"[\r\n]*HTTP/[0-9.]+[ \t]+([2-9][0-9][0-9])[^0-9]")
_BLANK_LINE = re.compile(rb"\n\r?\n")


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """The final response. `date` is its Date header.

    `defect` is the reason why `body` is not complete, or None if `body` is complete.
    """

    status: int
    body: bytes
    defect: str | None
    date: str | None = None


@dataclass(frozen=True, slots=True)
class _Target:
    """The parts of an address, in the form of the HTTP request."""

    is_tls: bool
    host: str
    port: int
    host_header: str
    path: str


def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes | None = None,
    deadline_seconds: float,
    max_bytes: int,
    proxy: Proxy | None,
    body_seconds: float | None = None,
    may_connect: MayConnect | None = None,
) -> HttpResponse:
    """Send one request on a new connection. Return the response with at most `max_bytes` of its body.

    `deadline_seconds` is the limit for everything, from the look-up of the name to the last byte. The proxy
    of the environment is not used.
    `body_seconds` is the limit for the body, from the end of the head. Raise HttpError.
    """
    ends_at = time.monotonic() + deadline_seconds
    try:
        target = _target(url)
        protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        request = _request(protocol, method, target, headers, body)
        with closing(_open(target, ends_at, proxy, may_connect)) as connection:
            # A server may respond and close the connection before it has read the whole request.
            with suppress(ConnectionError):
                _send(connection, request, ends_at)
            return _Reader(protocol, connection, ends_at).answer(max_bytes, body_seconds)
    except (OSError, ValueError, h11.ProtocolError) as error:
        raise HttpError(explain(error)) from error


class _Reader:
    """Reads one response. After the head is read, the status is final, and an error affects only the body."""

    def __init__(self, protocol: h11.Connection, connection: socket, ends_at: float) -> None:
        self._protocol = protocol
        self._connection = connection
        self._ends_at = ends_at
        self._head = b""

    def answer(self, max_bytes: int, body_seconds: float | None) -> HttpResponse:
        """Return the first response that is not informational (1xx). Raise OSError or ProtocolError."""
        try:
            response = self._response()
        except h11.RemoteProtocolError as error:
            if not self._head:
                raise ConnectionResetError(errno.ECONNRESET, "closed without an answer") from error
            # h11 refuses some headers that real servers send.
            if (line := _STATUS_LINE.match(self._head)) and _BLANK_LINE.search(self._head):
                return HttpResponse(int(line[1]), b"", "an answer with malformed headers")
            raise
        if body_seconds is not None:
            self._ends_at = min(self._ends_at, time.monotonic() + body_seconds)
        body, defect = self._body(max_bytes)
        dates = [value.decode("latin-1") for name, value in response.headers if name == b"date"]
        return HttpResponse(response.status_code, body, defect, dates[0] if dates else None)

    def _response(self) -> h11.Response:
        while not isinstance(event := self._next_event(), h11.Response):
            assert isinstance(event, h11.InformationalResponse), event
            self._head = self._protocol.trailing_data[0]
        return event

    def _body(self, max_bytes: int) -> tuple[bytes, str | None]:
        body = bytearray()
        try:
            while not isinstance(event := self._next_event(), h11.EndOfMessage):
                if not isinstance(event, h11.Data):
                    return bytes(body), "an answer that was cut short"
                body += event.data
                if len(body) > max_bytes:
                    return bytes(body[:max_bytes]), f"an answer of more than {max_bytes} bytes"
        except TimeoutError:
            return bytes(body), "timed out"
        except (OSError, h11.RemoteProtocolError):
            return bytes(body), "an answer that was cut short"
        return bytes(body), None

    def _next_event(self) -> object:
        while (event := self._protocol.next_event()) is h11.NEED_DATA:
            self._connection.settimeout(_seconds_until(self._ends_at))
            data = self._connection.recv(PIECE_BYTES)
            if len(self._head) < MAX_HEAD_BYTES:
                self._head += data
            self._protocol.receive_data(data)
        return event


def _target(url: str) -> _Target:
    parts = urlsplit(url)
    host, default_port = parts.hostname or "", _DEFAULT_PORTS.get(parts.scheme)
    if default_port is None:
        raise HttpError("the address starts with neither http:// nor https://")
    port = parts.port or default_port
    name = _ascii(host)
    path = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    return _Target(
        is_tls=parts.scheme == "https",
        host=name.strip("[]"),
        port=port,
        host_header=name if port == default_port else f"{name}:{port}",
        path=quote(path, safe=_UNESCAPED),
    )


def _ascii(host: str) -> str:
    """Return the host in the form of the Host header."""
    try:
        is_ipv6 = isinstance(ip_address(host), IPv6Address)
    except ValueError:
        return host.encode("idna").decode()
    # The zone of an address has a meaning only on this machine (RFC 6874).
    return f"[{host.partition('%')[0]}]" if is_ipv6 else host


def _request(
    protocol: h11.Connection, method: str, target: _Target, headers: Mapping[str, str], body: bytes | None
) -> bytes:
    all_headers = {
        "Host": target.host_header,
        "User-Agent": USER_AGENT,
        "Accept-Encoding": "identity",
        "Connection": "close",
        **({} if body is None else {"Content-Length": str(len(body))}),
        **headers,
    }
    events: tuple[h11.Event, ...] = (
        h11.Request(method=method, target=target.path, headers=list(all_headers.items())),
        h11.Data(data=body or b""),
        h11.EndOfMessage(),
    )
    # h11's `send` sends nothing. It returns the bytes of an event.
    to_bytes = protocol.send
    return b"".join(to_bytes(event) or b"" for event in events)


def _open(target: _Target, ends_at: float, proxy: Proxy | None, may_connect: MayConnect | None) -> socket:
    connection = open_outbound(target.host, target.port, _seconds_until(ends_at), proxy, may_connect)
    if not target.is_tls:
        return connection
    connection.settimeout(_seconds_until(ends_at))
    try:
        # A certificate never contains the final dot of a fully qualified name.
        return tls_context().wrap_socket(connection, server_hostname=target.host.rstrip("."))
    except BaseException:
        connection.close()
        raise


def _send(connection: socket, request: bytes, ends_at: float) -> None:
    # One piece is one TLS record, so that the timeout applies to each piece.
    for start in range(0, len(request), PIECE_BYTES):
        connection.settimeout(_seconds_until(ends_at))
        connection.sendall(request[start : start + PIECE_BYTES])


def _seconds_until(ends_at: float) -> float:
    """Return the seconds until `ends_at`, on the monotonic clock. Raise TimeoutError if it has passed."""
    seconds = ends_at - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("timed out")
    return seconds
