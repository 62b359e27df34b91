"""python-bitcoinrpc's proxy, with arbitrary credentials and our own connection."""

import base64
import http.client
import json
from collections.abc import Sequence
from decimal import Decimal
from http import HTTPStatus
from typing import Any

from bitcoinrpc.authproxy import AuthServiceProxy, JSONRPCException

NOT_JSON = -342
"""python-bitcoinrpc's own code for a response that is not JSON-RPC."""

# The statuses of JSON-RPC responses in Bitcoin Core's httprpc.cpp. A refusal has another status.
_RPC_STATUSES = frozenset(
    {HTTPStatus.OK, HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.INTERNAL_SERVER_ERROR}
)


class RpcProxy(AuthServiceProxy):  # type: ignore[misc]
    """A proxy that replaces four parts of python-bitcoinrpc's.

    The original takes the credentials from the URL without decoding them. It makes a proxy for each call. It
    writes each response as JSON again for a log that nobody reads. Its batches need another JSON-RPC version.
    """

    def __init__(self, url: str, credentials: str, connection: http.client.HTTPConnection) -> None:
        super().__init__(_with_user(url), None, connection.timeout, connection)
        self._connection = connection
        token = base64.b64encode(credentials.encode())
        self._AuthServiceProxy__auth_header = b"Basic " + token

    def one(self, method: str, parameters: Sequence[Any]) -> Any:
        """Return the result of a call. Raise JSONRPCException with bitcoind's error."""
        self._AuthServiceProxy__service_name = method
        return self(*parameters)

    def each(self, method: str, calls: Sequence[Sequence[Any]], none_on_code: int | None = None) -> list[Any]:
        """Return the results of one batch of calls. A result is None for the error code `none_on_code`.

        Raise JSONRPCException with the first other error.
        """
        batch = [
            {"version": "1.1", "method": method, "params": parameters, "id": number}
            for number, parameters in enumerate(calls)
        ]
        headers: dict[str, str | bytes] = {
            "Authorization": self._AuthServiceProxy__auth_header,
            "Content-Type": "application/json",
        }
        self._connection.request("POST", self._AuthServiceProxy__url.path, json.dumps(batch), headers)
        answers = self._get_response()
        if isinstance(answers, dict):
            raise JSONRPCException(answers["error"])
        by_number = {answer["id"]: answer for answer in answers}
        return [_result(by_number[number], none_on_code) for number in range(len(batch))]

    def _get_response(self) -> Any:
        """Return the response, and ignore its Content-Type, because an HTTP proxy may change that header."""
        response = self._connection.getresponse()
        body = response.read()
        try:
            if response.status in _RPC_STATUSES:
                answer = json.loads(body, parse_float=Decimal)
                if isinstance(answer, dict | list):
                    return answer
        except ValueError:
            # The exception below reports the status.
            pass
        reason = f"non-JSON HTTP response with '{response.status}' from server"
        raise JSONRPCException({"code": NOT_JSON, "message": reason})

    def close(self) -> None:
        self._connection.close()


def _with_user(url: str) -> str:
    return url if "@" in url else url.replace("://", "://user:password@", 1)


def _result(answer: dict[str, Any], none_on_code: int | None) -> Any:
    error = answer.get("error")
    if error is None:
        return answer["result"]
    if error["code"] == none_on_code:
        return None
    raise JSONRPCException(error)
