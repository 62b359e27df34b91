"""The client of bitcoind's JSON-RPC for all programs: the daemon, manage.py, the demo and the tests.

python-bitcoinrpc makes the calls. It takes credentials from the URL without decoding them, and refuses a
response whose Content-Type a proxy has changed. So the connection that it gets sets the credentials and reads
the response. Its batches need a JSON-RPC version in which bitcoind leaves out fields that it requires, so a
batch uses the connection directly.
"""

import base64
import http.client
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus
from socket import socket
from typing import Any
from urllib.parse import quote, urlsplit

from bitcoinrpc.authproxy import AuthServiceProxy, JSONRPCException

from daemon.failpoint import reach
from daemon.node.errors import IN_WARMUP, MISC_ERROR, BitcoindError, NodeError, NodeRefused, RpcError
from daemon.node.http import ANSWER_SECONDS, PollingHTTPConnection, SecureConnection

# The statuses of JSON-RPC responses in Bitcoin Core's httprpc.cpp. A refusal has another status.
_RPC_STATUSES = frozenset(
    {HTTPStatus.OK, HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.INTERNAL_SERVER_ERROR}
)

NO_RESULT = -343
"""python-bitcoinrpc's own code for a response without a result."""


class Rpc:
    """A client for one thread and one user, with one connection, opened on demand.

    Every call raises NodeError where bitcoind returns no result now, and RpcError for bitcoind's errors.
    """

    def __init__(
        self,
        url: str,
        credentials: Callable[[], str],
        answer_seconds: float = ANSWER_SECONDS,
        calls: frozenset[str] | None = None,
    ) -> None:
        """Call bitcoind at `url`, which has no credentials. Allow the methods `calls` alone, or all methods.

        `credentials` returns "user:password" for each new connection, because a cookie does not last.
        """
        self._url = url
        self._credentials = credentials
        self._answer_seconds = answer_seconds
        self._calls = calls
        self._channel: _Channel | None = None
        self._on_wait: Callable[[str | None], None] | None = None
        self.last_call = ""
        """The name of the current or last call."""

    def on_wait(self, callback: Callable[[str | None], None]) -> None:
        """Set the callback that runs every SLICE_SECONDS while a call waits.

        The argument is a problem line for a slow call, else None. An exception of the callback ends the call.
        """
        self._on_wait = callback

    def call(self, method: str, *parameters: Any, wallet: str | None = None) -> Any:
        """Return the result of one call, of the node or of its wallet with this name."""
        url = self._url.replace("://", "://user:password@", 1) + _path(wallet)

        def post(channel: _Channel) -> Any:
            return AuthServiceProxy(url, method, channel.timeout, channel)(*parameters)

        return self._post(method, post)

    def call_or_none(
        self, method: str, *parameters: Any, none_on_code: int, wallet: str | None = None
    ) -> Any:
        """Return the result of one call, or None for the error code `none_on_code`."""
        try:
            return self.call(method, *parameters, wallet=wallet)
        except RpcError as error:
            if error.code == none_on_code:
                return None
            raise

    def batch(
        self,
        method: str,
        calls: Sequence[Sequence[Any]],
        *,
        none_on_code: int | None = None,
        wallet: str | None = None,
    ) -> list[Any]:
        """Return the results of one batch of calls. A result is None for the error code `none_on_code`."""
        if not calls:
            return []
        body = json.dumps([{"method": method, "params": each, "id": n} for n, each in enumerate(calls)])

        def post(channel: _Channel) -> list[Any]:
            channel.request("POST", _path(wallet), body, {"Content-Type": "application/json"})
            answers = json.loads(channel.getresponse().read(), parse_float=Decimal)
            if isinstance(answers, dict):
                raise JSONRPCException(answers["error"])
            by_number = {answer["id"]: answer for answer in answers}
            return [_result(by_number[number], none_on_code) for number in range(len(calls))]

        results: list[Any] = self._post(method, post)
        return results

    def connection(self) -> http.client.HTTPConnection:
        """Return a new connection to bitcoind's RPC port, which serves REST, too."""
        parts = urlsplit(self._url)
        host = parts.hostname or ""
        if parts.scheme == "https":
            return SecureConnection(host, parts.port, self._answer_seconds)
        return PollingHTTPConnection(host, parts.port or 80, self._report_wait, self._answer_seconds)

    def unreachable(self, error: Exception) -> NodeError:
        reason = getattr(error, "strerror", None) or error or type(error).__name__
        return NodeError(
            f"bitcoind at {self._url} cannot be reached ({reason}): "
            "is it running, and is BITCOIND_RPC_URL right?"
        )

    def close(self) -> None:
        """Close the connection. The next call opens a new one."""
        if self._channel is not None:
            self._channel.close()
        self._channel = None

    def _post(self, method: str, post: Callable[["_Channel"], Any]) -> Any:
        """Return what `post` returns. Post once more where bitcoind has closed an old connection.

        bitcoind closes a connection after 30 idle seconds.
        """
        assert self._calls is None or method in self._calls, method
        self.last_call = method
        is_old = self._channel is not None and self._channel.sock is not None
        try:
            result = post(self._open_channel())
        except JSONRPCException as error:
            reach(f"rpc.{method}")
            raise self._problem(error, method) from error
        except _NotRpc as error:
            self.close()
            raise self._refusal(error.status, method) from error
        except (http.client.HTTPException, OSError) as error:
            self.close()
            if not is_old or not isinstance(error, http.client.HTTPException | ConnectionError):
                raise self.unreachable(error) from error
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            self.close()
            raise self._no_bitcoind(type(error).__name__) from error
        else:
            reach(f"rpc.{method}")
            return result
        return self._post(method, post)

    def _open_channel(self) -> "_Channel":
        if self._channel is None or self._channel.sock is None:
            self._channel = _Channel(self.connection(), self._credentials())
        return self._channel

    def _problem(self, error: JSONRPCException, method: str) -> BitcoindError:
        """Return the exception for an error in a JSON-RPC response."""
        message = " ".join(str(error.message).split())
        if error.code == IN_WARMUP:
            return NodeError(f"bitcoind is starting ({message.rstrip('.…')}): wait until it is done")
        if error.code == NO_RESULT:
            return self._no_bitcoind(message)
        return RpcError(error.code or MISC_ERROR, message, method)

    def _refusal(self, status: int, method: str) -> NodeError:
        """Return the exception for a response whose HTTP status is none of JSON-RPC's."""
        if status == HTTPStatus.UNAUTHORIZED:
            return NodeRefused(
                f"bitcoind at {self._url} refuses our password: "
                "correct BITCOIND_RPC_URL or BITCOIND_COOKIE_FILE"
            )
        if status == HTTPStatus.FORBIDDEN and not self._is_address_allowed():
            return NodeRefused(
                f"bitcoind at {self._url} refuses this machine's address, as its rpcallowip decides"
            )
        if status == HTTPStatus.FORBIDDEN:
            return NodeRefused(
                f"bitcoind does not let this user call {method}: add it to rpcwhitelist in bitcoin.conf"
            )
        cure = "" if status == HTTPStatus.SERVICE_UNAVAILABLE else "; is BITCOIND_RPC_URL right?"
        return NodeError(f"bitcoind at {self._url} gave no answer to {method} (HTTP {status}){cure}")

    def _is_address_allowed(self) -> bool:
        """Return whether bitcoind accepts requests from this machine's address.

        bitcoind checks the address first, then the user and the call (Bitcoin Core's http_request_cb).
        """
        with closing(self.connection()) as connection:
            try:
                connection.request("POST", "/", "{}")
                return connection.getresponse().status != HTTPStatus.FORBIDDEN
            except (http.client.HTTPException, OSError):
                return True

    def _no_bitcoind(self, reason: str) -> NodeError:
        return NodeError(f"the server at {self._url} is not bitcoind ({reason}): is BITCOIND_RPC_URL right?")

    def _report_wait(self, seconds: float | None) -> None:
        if self._on_wait is not None:
            silence = f"bitcoind at {self._url} has not answered {self.last_call} for {seconds or 0:.0f} s"
            self._on_wait(silence if seconds else None)


class _NotRpc(Exception):
    """The response is not JSON-RPC, as its HTTP status shows."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class _Channel:
    """A connection with one user's credentials. python-bitcoinrpc uses it like one of http.client."""

    def __init__(self, connection: http.client.HTTPConnection, credentials: str) -> None:
        self._connection = connection
        self._authorization = f"Basic {base64.b64encode(credentials.encode()).decode()}"

    @property
    def timeout(self) -> float | None:
        return self._connection.timeout

    @property
    def sock(self) -> socket | None:
        """The open socket, or None before the first request and after the end of the connection."""
        return self._connection.sock

    def request(self, verb: str, path: str, body: str, headers: Mapping[str, Any]) -> None:
        self._connection.request(verb, path, body, {**headers, "Authorization": self._authorization})

    def getresponse(self) -> "_Response":
        """Return the response with its body. Raise _NotRpc for a status that no JSON-RPC response has."""
        response = self._connection.getresponse()
        body = response.read()
        if response.status not in _RPC_STATUSES:
            raise _NotRpc(response.status)
        return _Response(body)

    def close(self) -> None:
        self._connection.close()


@dataclass(frozen=True, slots=True)
class _Response:
    """A response that passes for JSON, whatever Content-Type an HTTP proxy has given it."""

    body: bytes

    def getheader(self, _name: str) -> str:
        return "application/json"

    def read(self) -> bytes:
        return self.body


def _path(wallet: str | None) -> str:
    return "/" if wallet is None else f"/wallet/{quote(wallet, safe='')}"


def _result(answer: dict[str, Any], none_on_code: int | None) -> Any:
    error = answer.get("error")
    if error is None:
        return answer["result"]
    if error["code"] == none_on_code:
        return None
    raise JSONRPCException(error)
