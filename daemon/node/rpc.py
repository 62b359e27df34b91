"""A client of bitcoind's JSON-RPC for one thread, with its connections, credentials and errors.

A python-bitcoinrpc connection belongs to one thread. It is unusable after a response that is not JSON-RPC.
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
    "getwalletinfo loadwallet listwallets listsinceblock gettransaction deriveaddresses".split()
)
"""All RPC methods that the daemon calls."""

WALLET_CALLS = frozenset(
    "getnewaddress getaddressesbylabel getaddressinfo getwalletinfo loadwallet listwallets "
    "listsinceblock gettransaction".split()
)
"""The calls of RPC_CALLS that bitcoind's own wallet needs. A bitcoind without wallets does not have them."""

DESCRIPTOR_CALLS = frozenset({"deriveaddresses"})
"""The calls of RPC_CALLS that wallets of descriptors need."""

ADDING_CALLS = frozenset({"getdescriptorinfo", "scantxoutset"})
"""Further calls of `manage.py wallet add`.

A test compares rpcwhitelist in bitcoin.conf.example with RPC_CALLS and these.
"""

NO_CREDENTIALS = (
    "BITCOIND_RPC_URL names another machine and has no password; this machine's cookie is not sent there: "
    "set BITCOIND_RPC_URL=http://USER:PASSWORD@HOST:PORT, or BITCOIND_COOKIE_FILE to that bitcoind's cookie"
)


class NodeError(Exception):
    """bitcoind returns no result now, but may later. The message is one line with the cure."""


class NodeRefused(NodeError):
    """bitcoind refuses our credentials, our address, or this call."""


class RpcError(Exception):
    """bitcoind has returned an error. `code` is one of Bitcoin Core's rpc/protocol.h."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Rpc:
    """A client with a connection to the node and one to its wallet, opened on demand.

    Every call raises NodeError where bitcoind returns no result now, and RpcError for bitcoind's errors.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._address = settings.rpc_url_without_credentials
        self._node: RpcProxy | None = None
        self._wallet: RpcProxy | None = None
        self._while_waiting: Callable[[str | None], None] | None = None
        self.asked = ""
        """The name of the current or last call."""

    def on_wait(self, callback: Callable[[str | None], None]) -> None:
        """Set the callback that runs every SLICE_SECONDS while a call waits.

        The argument is a problem line for a slow call, else None. An exception of the callback ends the call.
        """
        self._while_waiting = callback

    def call(self, method: str, *parameters: Any, wallet: bool = False) -> Any:
        """Return the result of one call."""
        return self._call_twice(method, lambda proxy: proxy.one(method, parameters), wallet)

    def call_or_none(self, method: str, *parameters: Any, none_on_code: int, wallet: bool = False) -> Any:
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
        wallet: bool = False,
    ) -> list[Any]:
        """Return the results of one batch of calls. A result is None for the error code `none_on_code`."""
        if not calls:
            return []
        found: list[Any] = self._call_twice(
            method, lambda proxy: proxy.each(method, calls, none_on_code), wallet
        )
        return found

    def connection(self) -> http.client.HTTPConnection:
        """Return a new connection to bitcoind's RPC port, which serves REST, too."""
        parts = urlsplit(self._address)
        if parts.scheme == "https":
            return SecureConnection(parts.hostname or "", parts.port)
        return PollingHTTPConnection(parts.hostname or "", parts.port or 80, self._report_wait)

    def close(self) -> None:
        """Close the connections. The next call opens new ones."""
        for proxy in (self._node, self._wallet):
            if proxy is not None:
                proxy.close()
        self._node = self._wallet = None

    def _call_twice(self, method: str, request: Callable[[RpcProxy], Any], wallet: bool) -> Any:
        """Repeat a call once after a lost connection. bitcoind closes a connection after 30 idle seconds."""
        assert method in RPC_CALLS, method
        self.asked = method
        is_new = (self._wallet if wallet else self._node) is None
        attempt = partial(self._call_once, method, request, wallet)
        try:
            return attempt()
        except (http.client.HTTPException, ConnectionError) as error:
            self.close()
            if is_new:
                raise self._unreachable(error) from error
        try:
            return attempt()
        except (http.client.HTTPException, OSError, ValueError) as error:
            self.close()
            raise self._unreachable(error) from error

    def _call_once(self, method: str, request: Callable[[RpcProxy], Any], wallet: bool) -> Any:
        try:
            result = request(self._proxy(wallet))
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
                f"the server at {self._address} is not bitcoind ({type(error).__name__}): "
                "is BITCOIND_RPC_URL right?"
            ) from error
        reach(f"rpc.{method}")
        return result

    def _translated(self, error: JSONRPCException, method: str) -> Exception:
        code, message = error.code, " ".join(str(error.message).split())
        if code == IN_WARMUP:
            return NodeError(f"bitcoind is starting ({message.rstrip('.…')}): wait until it is done")
        if code not in (NOT_JSON, -343):
            return RpcError(code or MISC_ERROR, message)
        # python-bitcoinrpc's connection still holds a response, so it is unusable.
        self.close()
        if "'401" in message:
            return NodeRefused(
                f"bitcoind at {self._address} refuses our password: "
                "correct BITCOIND_RPC_URL or BITCOIND_COOKIE_FILE"
            )
        if "'403" in message and not self._is_address_allowed():
            return NodeRefused(
                f"bitcoind at {self._address} refuses this machine's address, as its rpcallowip decides"
            )
        if "'403" in message:
            return NodeRefused(
                f"bitcoind does not let this user call {method}: add it to rpcwhitelist in bitcoin.conf"
            )
        cure = "" if "'503" in message else "; is BITCOIND_RPC_URL right?"
        return NodeError(f"bitcoind at {self._address} gave no answer: {message}{cure}")

    def _is_address_allowed(self) -> bool:
        """Return whether bitcoind accepts requests from this machine's address.

        bitcoind checks the address first, then the user and the call (Bitcoin Core's http_request_cb).
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

    def _report_wait(self, seconds: float | None) -> None:
        if self._while_waiting is not None:
            silence = f"bitcoind at {self._address} has not answered {self.asked} for {seconds or 0:.0f} s"
            self._while_waiting(silence if seconds else None)

    def _credentials(self) -> str:
        """Return the URL's credentials, else the cookie, which bitcoind replaces at each start."""
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
