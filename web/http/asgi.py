"""Adapter from ASGI to a WSGI application, which runs in threads.

The adapter reads a whole request before it uses a thread. A slow client therefore occupies no thread.
Threads wait neither for the request nor for the client that reads the response.
"""

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from io import BytesIO
from typing import Any
from urllib.parse import unquote_to_bytes

from web.http.connections import Connections
from web.http.responses import Problem, Response
from web.http.strict_json import MAX_BODY_BYTES, too_large
from web.http.threads import Threads

WsgiApp = Callable[..., Iterable[bytes]]
Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

MAX_HEAD_BYTES = 16 * 1024
BODY_SECONDS = 20
"""The longest time that a body may take to arrive."""
MAX_STORED_BYTES = 4 * MAX_BODY_BYTES
"""The application itself refuses a body above its own limit, in a form that its caller can parse."""
MAX_DISCARDED_BYTES = 1024 * 1024
"""The server refuses a larger body unread. A client that still sends may then see a broken connection."""
RAW_PATH = "nodetill.raw_path"
"""The key of WSGI's environment for the path as the client wrote it."""


_CLOSE = (b"connection", b"close")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


Refusal = Callable[[Problem, str], Response]
"""A function that returns the response to a request on a path that the server refuses with this problem."""


class Disconnected(Exception):
    """The client disconnected before its request was complete."""


def _do_nothing() -> None:
    """Replace `close` of a response that needs none."""


@dataclass(slots=True)
class _WsgiResponse:
    """The response of the application. `rest` computes and yields the further pieces of the body."""

    status: int = 0
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    rest: Iterator[bytes] | None = None
    close: Callable[[], None] = _do_nothing


class WsgiAdapter:
    """An ASGI application that calls a WSGI application in threads."""

    def __init__(self, app: WsgiApp, threads: Threads, connections: Connections, refusal: Refusal) -> None:
        self._app = app
        self._refusal = refusal
        self._threads = threads
        self._connections = connections
        self._reading: set[asyncio.Timeout] = set()
        self._is_stopping = False

    def stop_reading(self) -> None:
        """Refuse requests whose body has not arrived. Only the thread of the event loop may call this."""
        self._is_stopping = True
        for timeout in self._reading:
            timeout.reschedule(asyncio.get_running_loop().time())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one request."""
        if scope["type"] != "http":
            return
        may_stay_open = self._connections.begin_request(scope)
        try:
            _check_head(scope)
            body = await self._read_body(scope, receive)
        except Problem as problem:
            response = _refused(self._refusal(problem, scope["raw_path"].decode("latin-1")))
        except Disconnected:
            return
        else:
            response = await self._in_thread(_call, self._app, _environ(scope, body))
            if not may_stay_open:
                response.headers.append(_CLOSE)
        await self._send(response, scope, send)
        if response.rest is not None:
            try:
                await self._send_rest(response.rest, scope, receive, send)
            finally:
                self._threads.submit(response.close)
        self._connections.wait_for_client(scope)

    async def _send(self, response: _WsgiResponse, scope: Scope, send: Send) -> None:
        """Send a response, or the first piece of it.

        `send` waits until the client has taken most of what was sent before.
        """
        self._connections.wait_for_client(scope)
        start = {"type": "http.response.start", "status": response.status, "headers": response.headers}
        await send(start)
        is_complete = response.rest is None
        await send({"type": "http.response.body", "body": response.body, "more_body": not is_complete})

    async def _send_rest(self, rest: Iterator[bytes], scope: Scope, receive: Receive, send: Send) -> None:
        """Send piece by piece, until the client disconnects."""
        disconnect = asyncio.create_task(_disconnect(receive))
        try:
            while not disconnect.done():
                self._connections.wait_for_server(scope)
                piece = await self._in_thread(next, rest, None)
                self._connections.wait_for_client(scope)
                await send(
                    {"type": "http.response.body", "body": piece or b"", "more_body": piece is not None}
                )
                if piece is None:
                    break
        finally:
            disconnect.cancel()

    async def _read_body(self, scope: Scope, receive: Receive) -> bytes:
        """Return the body. Raise Problem 408 and 413, and Disconnected."""
        headers = dict(scope["headers"])
        length = int(headers.get(b"content-length", b"0"))
        if length == 0 and b"transfer-encoding" not in headers:
            return b""
        if length > MAX_DISCARDED_BYTES or (length > MAX_STORED_BYTES and b"expect" in headers):
            raise too_large()
        timeout = asyncio.timeout(0 if self._is_stopping else BODY_SECONDS)
        try:
            async with timeout:
                self._reading.add(timeout)
                return await _received(receive)
        except TimeoutError:
            detail = "the request took too long to arrive"
            raise Problem(HTTPStatus.REQUEST_TIMEOUT, "request-timeout", detail) from None
        finally:
            self._reading.discard(timeout)

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.wrap_future(self._threads.submit(function, *arguments))


def _check_head(scope: Scope) -> None:
    """Refuse a head that is too large, or that a proxy in front may parse differently.

    A proxy may misread a body with two lengths (RFC 9112, 6.1) or a control character (RFC 9110, 5.5).
    Raise Problem 400 and 431.
    """
    names = [name for name, _ in scope["headers"]]
    size = len(scope["raw_path"]) + len(scope["query_string"])
    if size + sum(len(name) + len(value) + 4 for name, value in scope["headers"]) > MAX_HEAD_BYTES:
        detail = f"the head of a request has at most {MAX_HEAD_BYTES} bytes"
        raise Problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "request-header-fields-too-large", detail)
    if any(_CONTROL.search(value) for _, value in scope["headers"]):
        raise Problem(HTTPStatus.BAD_REQUEST, "bad-request", "a header has a control character")
    is_coded = b"transfer-encoding" in names
    if is_coded and (scope["http_version"] != "1.1" or b"content-length" in names):
        detail = "Transfer-Encoding with a Content-Length, or before HTTP/1.1"
        raise Problem(HTTPStatus.BAD_REQUEST, "bad-request", detail)


async def _disconnect(receive: Receive) -> None:
    """Wait until the client disconnects."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _received(receive: Receive) -> bytes:
    """Read a body to its end, and store at most MAX_STORED_BYTES of it."""
    body, size, is_complete = b"", 0, False
    while not is_complete:
        message = await receive()
        if message["type"] != "http.request":
            raise Disconnected
        piece = message.get("body", b"")
        size += len(piece)
        if size > MAX_DISCARDED_BYTES:
            raise too_large()
        body = body + piece if size <= MAX_STORED_BYTES else b""
        is_complete = not message.get("more_body", False)
    if size > MAX_STORED_BYTES:
        raise too_large()
    return body


def _refused(refusal: Response) -> _WsgiResponse:
    """Return the response to a request that does not reach the application. The connection then closes."""
    body = refusal.body if isinstance(refusal.body, bytes) else b"".join(refusal.body)
    headers = {**refusal.all_headers, "Content-Length": str(len(body)), "Connection": "close"}
    return _WsgiResponse(refusal.status, _ascii(headers.items()), body)


def _call(app: WsgiApp, environ: dict[str, Any]) -> _WsgiResponse:
    response = _WsgiResponse()

    def start_response(status: str, headers: list[tuple[str, str]], _exc_info: object = None) -> None:
        response.status, response.headers = int(status[:3]), _ascii(headers)

    result = app(environ, start_response)
    if isinstance(result, list):
        response.body = b"".join(result)
    else:
        response.rest, response.close = iter(result), getattr(result, "close", _do_nothing)
        response.body = next(response.rest, b"")
    return response


def _ascii(headers: Iterable[tuple[str, str]]) -> Headers:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def _environ(scope: Scope, body: bytes) -> dict[str, Any]:
    """Return the environment of PEP 3333 for a request."""
    host, port = scope["server"] or ("", 0)
    peer, _ = scope["client"] or ("", 0)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(scope["raw_path"]).decode("latin-1"),
        RAW_PATH: scope["raw_path"].decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": peer,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        # The key can't distinguish "_" from "-", so such a name would imitate a header that a proxy sets.
        if b"_" not in name and name not in (b"content-length", b"transfer-encoding"):
            key = f"HTTP_{name.decode('latin-1').upper().replace('-', '_')}"
            text = value.decode("latin-1")
            separator = "; " if name == b"cookie" else ", "
            environ[key] = f"{environ[key]}{separator}{text}" if key in environ else text
    if body:
        environ["CONTENT_LENGTH"] = str(len(body))
    if "HTTP_CONTENT_TYPE" in environ:
        environ["CONTENT_TYPE"] = environ.pop("HTTP_CONTENT_TYPE")
    return environ
