"""bitcoind's RPC with the operator's rights, for calls that Nodetill's own user may not make."""

import http.client
from collections.abc import Callable
from contextlib import closing
from enum import Enum
from functools import partial
from typing import Any, Self

from config import Settings
from daemon.node.credentials import cookie_credentials, credentials, url_credentials
from daemon.node.errors import METHOD_NOT_FOUND, NoCredentials, NodeRefused, RpcError
from daemon.node.rpc import Rpc

ANSWER_SECONDS = 600.0
"""The longest wait for a response. bitcoind may rescan an old wallet from its birthday before it responds."""

TOO_MANY_PARAMETERS = 50


class Access(Enum):
    """A user's access to an RPC call. ABSENT means that this bitcoind does not have the call."""

    ALLOWED = "allowed"
    FORBIDDEN = "forbidden"
    ABSENT = "absent"


class OperatorRpc:
    """Calls bitcoind as the user of BITCOIND_RPC_URL, or as the cookie's user where the first may not.

    An object belongs to one thread.
    """

    def __init__(self, settings: Settings, answer_seconds: float = ANSWER_SECONDS) -> None:
        self.wallet = settings.bitcoind_wallet
        self._settings = settings

        def client(user: Callable[[Settings], str]) -> Rpc:
            return Rpc(settings.rpc_url_without_credentials, partial(user, settings), answer_seconds)

        self._first = client(credentials)
        self._clients = [self._first]
        if url_credentials(settings) is not None:
            self._clients.append(client(cookie_credentials))

    def another(self, answer_seconds: float = ANSWER_SECONDS) -> Self:
        """Return an object for another thread, or for a call that takes longer."""
        return type(self)(self._settings, answer_seconds)

    def call(self, method: str, *parameters: Any, in_wallet: bool = False) -> Any:
        """Return the result. Raise RpcError, NodeRefused where no user may call, or another NodeError."""
        return self._call(self.wallet if in_wallet else None, method, parameters)

    def _call(self, wallet: str | None, method: str, parameters: tuple[Any, ...]) -> Any:
        for client in self._clients:
            try:
                return client.call(method, *parameters, wallet=wallet)
            except NodeRefused:
                continue
            except NoCredentials:
                if client is self._first:
                    raise
        cookie = self._settings.bitcoind_cookie_file
        reason = "no cookie file is set" if cookie is None else f"the cookie file {cookie} does not help"
        raise NodeRefused(
            f"the user of BITCOIND_RPC_URL may not call {method}, and {reason}: run this command as a user "
            "who can read bitcoind's cookie, with BITCOIND_COOKIE_FILE set to it."
        )

    def close(self) -> None:
        for client in self._clients:
            client.close()

    def access_to(self, method: str) -> Access:
        """Return whether the daemon's user may make this call. The call has no effect. Raise NodeError.

        bitcoind first checks its whitelist, and then the number of parameters (Core's
        RPCHelpMan::HandleRequest). The number here is above every call's limit.
        """
        try:
            self._first.call(method, *[None] * TOO_MANY_PARAMETERS)
        except NodeRefused:
            return Access.FORBIDDEN
        except RpcError as error:
            return Access.ABSENT if error.code == METHOD_NOT_FOUND else Access.ALLOWED
        return Access.ALLOWED

    def wallets_with_keys(self) -> list[str]:
        """Return the wallets that are loaded and can spend. Raise NodeError or RpcError."""
        if self.access_to("listwallets") is Access.ABSENT:
            return []
        names: list[str] = self.call("listwallets")
        return [name for name in names if self._call(name, "getwalletinfo", ())["private_keys_enabled"]]

    def serves_rest(self) -> bool:
        """Return whether bitcoind has rest=1. Raise NodeError."""
        return self._get_chain_info().status == http.client.OK

    def time_of_day(self) -> str | None:
        """Return the Date header of bitcoind's HTTP server (RFC 9110). Raise NodeError."""
        return self._get_chain_info().headers.get("Date")

    def _get_chain_info(self) -> http.client.HTTPResponse:
        """Return the response to a request by REST."""
        with closing(self._first.connection()) as connection:
            try:
                connection.request("GET", "/rest/chaininfo.json")
                return connection.getresponse()
            except (http.client.HTTPException, OSError) as error:
                raise self._first.unreachable(error) from error
