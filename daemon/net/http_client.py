"""HTTP to machines that are not ours: no redirects, no proxy of the environment, and an end to everything."""

import http.client
import socket
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from daemon.net.deadline import Deadline
from daemon.net.errors import reason
from daemon.net.tls import tls_context

USER_AGENT = "Nodetill"


class HttpError(Exception):
    """No answer, or none that can be read. The text is for the operator; it never has the address in it,
    which may be a secret."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is cut at the limit; `is_whole` says whether that was all. `date` is that header's text."""

    status: int
    body: bytes
    is_whole: bool
    date: str | None = None


def exchange(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes | None = None,
    deadline_seconds: float,
    most_bytes: int,
) -> Answer:
    """Ask once, on a connection of its own, and read no more than `most_bytes` of the answer.

    All of it, from looking up the name to the last byte, is over in `deadline_seconds`. Raises HttpError.
    """
    with Deadline(deadline_seconds) as deadline:
        try:
            return _exchange(deadline, method, url, headers, body, most_bytes)
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            # ValueError: an address or an answer that http.client can't work with.
            raise HttpError("timed out" if deadline.is_over else _explain(error)) from error


def _exchange(
    deadline: Deadline, method: str, url: str, headers: Mapping[str, str], body: bytes | None, most_bytes: int
) -> Answer:
    address = urllib3.util.parse_url(url)
    with closing(_pool(deadline, address)) as pool:
        response = pool.urlopen(
            method,
            address.request_uri,
            body=body,
            headers={"User-Agent": USER_AGENT, **headers},
            redirect=False,
            retries=False,
            timeout=deadline.remaining_seconds,
            preload_content=False,
            decode_content=False,
        )
        with closing(response):
            content = _read(response, most_bytes + 1)
    if deadline.is_over:
        # A socket that was cut looks like the end of an answer that has no length.
        raise TimeoutError
    is_whole = len(content) <= most_bytes
    return Answer(response.status, content[:most_bytes], is_whole, response.headers.get("Date"))


def _read(response: urllib3.BaseHTTPResponse, most_bytes: int) -> bytes:
    """Until there is no more: only then urllib3 finds that an answer was cut short."""
    content = b""
    while len(content) < most_bytes:
        piece = response.read(most_bytes - len(content))
        if not piece:
            break
        content += piece
    return content


def _pool(deadline: Deadline, address: urllib3.util.Url) -> HTTPConnectionPool:
    host = (address.host or "").strip("[]")

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return deadline.open_socket(host, self.port)

    class Encrypted(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return deadline.open_socket(host, self.port)

    pool: HTTPConnectionPool
    if address.scheme == "https":
        pool = HTTPSConnectionPool(host, address.port, ssl_context=tls_context())
        pool.ConnectionCls = Encrypted
    elif address.scheme == "http":
        pool = HTTPConnectionPool(host, address.port)
        pool.ConnectionCls = Plain
    else:
        raise HttpError("the address starts with neither http:// nor https://")
    return pool


def _explain(error: Exception) -> str:
    """What went wrong, in the words of the innermost cause: the outer ones name the address."""
    cause: BaseException = error
    while True:
        inner = cause.__cause__ or cause.__context__
        wrapped = cause.args[-1] if cause.args and isinstance(cause.args[-1], Exception) else None
        if wrapped is None and inner is None:
            break
        cause = wrapped or inner or cause
    if isinstance(cause, urllib3.exceptions.LocationParseError):
        return "the address can't be read"
    if isinstance(cause, OSError) and cause.strerror:
        return reason(cause.strerror)
    return reason(f"{type(cause).__name__}: {cause}")
