"""bitcoind's JSON-RPC as one thread asks it: connections, credentials, errors of our own.

python-bitcoinrpc's connection is one thread's, and of no use any more after an answer that is not JSON-RPC.
"""

import http.client
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit

from bitcoinrpc.authproxy import JSONRPCException

from config import Settings
from daemon.failpoint import reach
from daemon.node.http import PollingHTTPConnection, SecureConnection
from daemon.node.rpc_proxy import NOT_JSON, RpcProxy

# From Bitcoin Core's rpc/protocol.h.
MISC_ERROR, NOT_FOUND, OUT_OF_RANGE, NO_SUCH_LABEL = -1, -5, -8, -11
WALLET_NOT_FOUND, WALLET_LOADED, IN_WARMUP, METHOD_NOT_FOUND = -18, -35, -28, -32601

RPC_CALLS = frozenset(
    "getblockchaininfo getblockhash getblockheader getblock getmempoolinfo getmempoolentry "
    "getmempoolancestors getrawmempool getrawtransaction gettxspendingprevout decoderawtransaction "
    "getzmqnotifications getnetworkinfo getnewaddress getaddressesbylabel validateaddress getaddressinfo "
    "getwalletinfo loadwallet listwallets listsinceblock gettransaction".split()
)
"""All that the daemon asks of bitcoind: bitcoin.conf.example's rpcwhitelist is held to it by a test."""

NO_CREDENTIALS = (
    "BITCOIND_RPC_URL names another machine and has no password; this machine's cookie is not sent there: "
    "set BITCOIND_RPC_URL=http://USER:PASSWORD@HOST:PORT, or BITCOIND_COOKIE_FILE to that bitcoind's cookie"
)


class NodeError(Exception):
    """bitcoind has no answer now; ask again later. The message is one line that says what to do."""


class NodeRefused(NodeError):
    """bitcoind does not let us in, or not make this call."""


class RpcError(Exception):
    """bitcoind answered with an error, by its code in rpc/protocol.h."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Rpc:
    """A connection to the node and one to its wallet, made when they are needed.

    Every question raises NodeError where there is no answer now, and RpcError where the answer is an error.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._address = settings.rpc_url_without_credentials
        self._node: RpcProxy | None = None
        self._wallet: RpcProxy | None = None
        self._live_on: Callable[[str | None], None] | None = None
        self.asked = ""
        """What bitcoind is asked at the moment, if it takes its time."""

    def while_waiting(self, live_on: Callable[[str | None], None]) -> None:
        """Have `live_on` called five times a second while bitcoind takes its time, with what is to be told of
        it, if anything; what it raises ends the call."""
        self._live_on = live_on

    def call(self, method: str, *parameters: Any, wallet: bool = False) -> Any:
        """The result of one call."""
        return self._twice(method, lambda proxy: proxy.one(method, parameters), wallet)

    def call_or_none(self, method: str, *parameters: Any, absent: int, wallet: bool = False) -> Any:
        """The same; None for the error `absent`."""
        try:
            return self.call(method, *parameters, wallet=wallet)
        except RpcError as error:
            if error.code == absent:
                return None
            raise

    def batch(
        self, method: str, calls: Sequence[Sequence[Any]], *, absent: int | None = None, wallet: bool = False
    ) -> list[Any]:
        """The results of calls with these parameters each, asked all at once; None for the error `absent`."""
        if not calls:
            return []
        found: list[Any] = self._twice(method, lambda proxy: proxy.each(method, calls, absent), wallet)
        return found

    def connection(self) -> http.client.HTTPConnection:
        """A new one, to be used for anything that bitcoind serves on its RPC port."""
        parts = urlsplit(self._address)
        if parts.scheme == "https":
            return SecureConnection(parts.hostname or "", parts.port)
        return PollingHTTPConnection(parts.hostname or "", parts.port or 80, self._meanwhile)

    def close(self) -> None:
        """Let the connections go; the next call makes new ones."""
        for proxy in (self._node, self._wallet):
            if proxy is not None:
                proxy.close()
        self._node = self._wallet = None

    def _twice(self, method: str, question: Callable[[RpcProxy], Any], wallet: bool) -> Any:
        """Ask once more where the connection was lost: bitcoind closes one that is idle for 30 seconds."""
        assert method in RPC_CALLS, method
        self.asked = method
        is_new = (self._wallet if wallet else self._node) is None
        ask = partial(self._once, method, question, wallet)
        try:
            return ask()
        except (http.client.HTTPException, ConnectionError) as error:
            self.close()
            if is_new:
                raise self._unreachable(error) from error
        try:
            return ask()
        except (http.client.HTTPException, OSError, ValueError) as error:
            self.close()
            raise self._unreachable(error) from error

    def _once(self, method: str, question: Callable[[RpcProxy], Any], wallet: bool) -> Any:
        try:
            answer = question(self._proxy(wallet))
        except JSONRPCException as error:
            reach(f"rpc.{method}")
            raise self._translated(error, method) from error
        except (http.client.HTTPException, ConnectionError):
            raise
        except OSError as error:
            self.close()
            raise self._unreachable(error) from error
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            self.close()
            raise NodeError(
                f"what answers at {self._address} is not bitcoind ({type(error).__name__}): "
                "is BITCOIND_RPC_URL right?"
            ) from error
        reach(f"rpc.{method}")
        return answer

    def _translated(self, error: JSONRPCException, method: str) -> Exception:
        code, message = error.code, " ".join(str(error.message).split())
        if code == IN_WARMUP:
            return NodeError(f"bitcoind is starting ({message.rstrip('.…')}): wait until it is done")
        if code not in (NOT_JSON, -343):
            return RpcError(code or MISC_ERROR, message)
        # python-bitcoinrpc's connection has an answer left in it, and is of no use any more.
        self.close()
        if "'401" in message:
            return NodeRefused(
                f"bitcoind at {self._address} refuses our password: "
                "correct BITCOIND_RPC_URL or BITCOIND_COOKIE_FILE"
            )
        if "'403" in message and not self._is_let_in():
            return NodeRefused(
                f"bitcoind at {self._address} refuses this machine's address: see rpcallowip in bitcoin.conf"
            )
        if "'403" in message:
            return NodeRefused(
                f"bitcoind does not let this user call {method}: add it to rpcwhitelist in bitcoin.conf"
            )
        cure = "" if "'503" in message else "; is BITCOIND_RPC_URL right?"
        return NodeError(f"bitcoind at {self._address} gave no answer: {message}{cure}")

    def _is_let_in(self) -> bool:
        """Return whether bitcoind answers this machine's address at all.

        bitcoind looks at the address first, and only then at user and call (Core's http_request_cb).
        """
        with closing(self.connection()) as connection:
            try:
                connection.request("POST", "/", "{}")
                return connection.getresponse().status != http.client.FORBIDDEN
            except (http.client.HTTPException, OSError):
                return True

    def _unreachable(self, error: Exception) -> NodeError:
        reason = getattr(error, "strerror", None) or error or type(error).__name__
        return NodeError(
            f"bitcoind at {self._address} cannot be reached ({reason}): "
            "is it running, and is BITCOIND_RPC_URL right?"
        )

    def _proxy(self, wallet: bool) -> RpcProxy:
        if wallet:
            if self._wallet is None:
                self._wallet = self._connect(f"/wallet/{quote(self._settings.bitcoind_wallet, safe='')}")
            return self._wallet
        if self._node is None:
            self._node = self._connect("/")
        return self._node

    def _connect(self, path: str) -> RpcProxy:
        return RpcProxy(self._address + path, self._credentials(), self.connection())

    def _meanwhile(self, seconds: float | None) -> None:
        if self._live_on is not None:
            silence = f"bitcoind at {self._address} has not answered {self.asked} for {seconds or 0:.0f} s"
            self._live_on(silence if seconds else None)

    def _credentials(self) -> str:
        """Return those of the URL, or else the cookie, which bitcoind writes anew at each start."""
        settings = self._settings
        if settings.rpc_username is not None:
            password = settings.rpc_password
            return f"{settings.rpc_username}:{password.reveal() if password else ''}"
        cookie = settings.bitcoind_cookie_file
        if cookie is None:
            raise NodeRefused(NO_CREDENTIALS)
        try:
            return cookie.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise NodeRefused(
                f"the cookie file {cookie} cannot be read ({reason}): is bitcoind running, "
                "and is BITCOIND_COOKIE_FILE right?"
            ) from error
