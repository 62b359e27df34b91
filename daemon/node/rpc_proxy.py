"""python-bitcoinrpc's proxy, with credentials of any characters and a connection of ours."""

import base64
import http.client
import json
from collections.abc import Sequence
from decimal import Decimal
from http import HTTPStatus
from typing import Any

from bitcoinrpc.authproxy import AuthServiceProxy, JSONRPCException

NOT_JSON = -342
"""python-bitcoinrpc's own code, for an answer that is not JSON-RPC."""

# Core's httprpc.cpp: what it has no answer to, it refuses with another status.
_RPC_STATUSES = frozenset(
    {HTTPStatus.OK, HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.INTERNAL_SERVER_ERROR}
)


class RpcProxy(AuthServiceProxy):  # type: ignore[misc]
    """It would take the credentials from the URL, undecoded; make a proxy for each call; write each answer as
    JSON again, for a log that nobody reads; and its batches need another JSON-RPC."""

    def __init__(self, url: str, credentials: str, connection: http.client.HTTPConnection) -> None:
        super().__init__(_with_user(url), None, connection.timeout, connection)
        self._connection = connection
        token = base64.b64encode(credentials.encode())
        self._AuthServiceProxy__auth_header = b"Basic " + token

    def one(self, method: str, parameters: Sequence[Any]) -> Any:
        """The answer to a call. Raises JSONRPCException with its error."""
        self._AuthServiceProxy__service_name = method
        return self(*parameters)

    def each(self, method: str, calls: Sequence[Sequence[Any]], absent: int | None = None) -> list[Any]:
        """The answers to calls with these parameters each, asked all at once; None for the error `absent`.

        Raises JSONRPCException with the first other error.
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
        return [_result(by_number[number], absent) for number in range(len(batch))]

    def _get_response(self) -> Any:
        """Return the answer, whatever its Content-Type is: a proxy may add a charset to it, or change it."""
        response = self._connection.getresponse()
        body = response.read()
        try:
            if response.status in _RPC_STATUSES:
                answer = json.loads(body, parse_float=Decimal)
                if isinstance(answer, dict | list):
                    return answer
        except ValueError:
            # It is told below, by its status.
            pass
        reason = f"non-JSON HTTP response with '{response.status}' from server"
        raise JSONRPCException({"code": NOT_JSON, "message": reason})

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _with_user(url: str) -> str:
    return url if "@" in url else url.replace("://", "://user:password@", 1)


def _result(answer: dict[str, Any], absent: int | None) -> Any:
    error = answer.get("error")
    if error is None:
        return answer["result"]
    if error["code"] == absent:
        return None
    raise JSONRPCException(error)
