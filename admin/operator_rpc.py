"""bitcoind's RPC with the operator's rights, for calls that Nodetill's own user may not make."""

import base64
import http.client
import json
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import quote

import urllib3

from admin.cli import CommandError
from config import Settings
from daemon.node.rpc import METHOD_NOT_FOUND, NO_CREDENTIALS

# Creating a wallet is fast, but loading an old one may need a rescan from its birthday.
CONNECT_SECONDS, READ_SECONDS = 3.0, 600.0
RPC_IN_WARMUP = -28
TOO_MANY_PARAMETERS = 50


class Access(Enum):
    """A user's access to an RPC call. ABSENT means that this bitcoind does not have the call."""

    ALLOWED = "allowed"
    FORBIDDEN = "forbidden"
    ABSENT = "absent"


class Forbidden(Exception):
    """No user whose credentials we have may make this call."""


class RpcFault(Exception):
    """An error that bitcoind returned, with its code from Core's rpc/protocol.h."""

    def __init__(self, method: str, code: int, message: str) -> None:
        super().__init__(message)
        self.method = method
        self.code = code


class OperatorRpc:
    """Calls bitcoind as the user of BITCOIND_RPC_URL, or as the cookie's user where the first may not."""

    def __init__(self, settings: Settings) -> None:
        self.wallet = settings.bitcoind_wallet
        self._settings = settings
        self._address = settings.rpc_url_without_credentials
        self._pool = urllib3.PoolManager(maxsize=2, timeout=_timeout(READ_SECONDS), retries=False)

    def call(
        self, method: str, *parameters: Any, in_wallet: bool = False, seconds: float = READ_SECONDS
    ) -> Any:
        """Return the result. Wait for it for so many seconds.

        Raise RpcFault or Forbidden, or CommandError where bitcoind can't be reached.
        """
        return self._call(_wallet_path(self.wallet) if in_wallet else "/", method, parameters, seconds)

    def _call(self, path: str, method: str, parameters: Sequence[Any], seconds: float = READ_SECONDS) -> Any:
        call = {"method": method, "params": parameters, "id": method}
        for credentials in self._users():
            answer = self._post(path, credentials, call, seconds)
            if answer.status not in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
                return self._result(method, answer)
        cookie = self._settings.bitcoind_cookie_file
        reason = "no cookie file is set" if cookie is None else f"the cookie file {cookie} does not help"
        raise Forbidden(
            f"the user of BITCOIND_RPC_URL may not call {method}, and {reason}: run this command as a user "
            "who can read bitcoind's cookie, with BITCOIND_COOKIE_FILE set to it."
        )

    def close(self) -> None:
        self._pool.clear()

    def access_to(self, method: str) -> Access:
        """Return whether the daemon's user may make this call. The call has no effect. Raise CommandError.

        bitcoind first checks its whitelist, and then the number of parameters (Core's
        RPCHelpMan::HandleRequest). The number here is above every call's limit.
        """
        too_many = [None] * TOO_MANY_PARAMETERS
        answer = self._post("/", self._users()[0], {"method": method, "params": too_many, "id": method})
        if answer.status in (http.client.UNAUTHORIZED, http.client.FORBIDDEN):
            return Access.FORBIDDEN
        try:
            self._result(method, answer)
        except RpcFault as fault:
            return Access.ABSENT if fault.code == METHOD_NOT_FOUND else Access.ALLOWED
        return Access.ALLOWED

    def wallets_with_keys(self) -> list[str]:
        """Return the wallets that are loaded and can spend. Raise CommandError, RpcFault or Forbidden."""
        if self.access_to("listwallets") is Access.ABSENT:
            return []
        names: list[str] = self.call("listwallets")
        return [name for name in names if self._wallet_info(name)["private_keys_enabled"]]

    def serves_rest(self) -> bool:
        """Return whether bitcoind has rest=1. Raise CommandError."""
        return self._get("/rest/chaininfo.json").status == http.client.OK

    def time_of_day(self) -> str | None:
        """Return the Date header of bitcoind's HTTP server (RFC 9110). Raise CommandError."""
        return self._get("/rest/chaininfo.json").headers.get("Date")

    def _wallet_info(self, name: str) -> Any:
        return self._call(_wallet_path(name), "getwalletinfo", ())

    def _users(self) -> list[str]:
        """Return the credentials to try, the daemon's first. Raise CommandError where there are none."""
        settings = self._settings
        users = []
        if settings.rpc_username is not None and settings.rpc_password is not None:
            users.append(f"{settings.rpc_username}:{settings.rpc_password.reveal()}")
        cookie = settings.bitcoind_cookie_file
        if cookie is None and not users:
            raise CommandError(NO_CREDENTIALS)
        if cookie is not None:
            users += self._cookie(cookie, is_needed=not users)
        return users

    def _cookie(self, path: Path, *, is_needed: bool) -> list[str]:
        """Return the cookie if it can be read. Raise CommandError where it cannot be read but is needed."""
        try:
            return [path.read_text(encoding="utf-8").strip()]
        except (OSError, ValueError) as error:
            if not is_needed:
                return []
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise CommandError(
                f"the cookie file {path} cannot be read ({reason}): "
                "is bitcoind running, and is BITCOIND_COOKIE_FILE right?"
            ) from error

    def _post(
        self, path: str, credentials: str, call: dict[str, Any], seconds: float = READ_SECONDS
    ) -> urllib3.BaseHTTPResponse:
        headers = {"Authorization": f"Basic {base64.b64encode(credentials.encode()).decode()}"}
        body = json.dumps(call)
        return self._request("POST", path, body=body, headers=headers, timeout=_timeout(seconds))

    def _get(self, path: str) -> urllib3.BaseHTTPResponse:
        return self._request("GET", path)

    def _request(self, verb: str, path: str, **more: Any) -> urllib3.BaseHTTPResponse:
        try:
            return self._pool.request(verb, self._address + path, redirect=False, **more)
        except urllib3.exceptions.HTTPError as error:
            raise CommandError(
                f"bitcoind at {self._address} cannot be reached: "
                "is it running, and is BITCOIND_RPC_URL right?"
            ) from error

    def _result(self, method: str, answer: urllib3.BaseHTTPResponse) -> Any:
        try:
            document = json.loads(answer.data)
            fault = document["error"]
        except (ValueError, KeyError, TypeError) as error:
            raise CommandError(
                f"bitcoind at {self._address} did not answer {method} (HTTP {answer.status}); try again"
            ) from error
        if fault is None:
            return document["result"]
        if fault["code"] == RPC_IN_WARMUP:
            raise CommandError(f"bitcoind is starting ({fault['message']}); try again")
        raise RpcFault(method, fault["code"], fault["message"])


def _timeout(seconds: float) -> urllib3.Timeout:
    # urllib3 tries a name's addresses in turn, and `connect` is the limit for each of them.
    return urllib3.Timeout(connect=CONNECT_SECONDS, read=seconds)


def _wallet_path(name: str) -> str:
    return f"/wallet/{quote(name, safe='')}"
