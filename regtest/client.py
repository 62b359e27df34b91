"""A client of the HTTP API, for the demo and the functional tests."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import urllib3

TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """An HTTP response. `document` is the body's JSON or None. `headers` ignores the case of its keys."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    document: Any


class Client:
    """Calls the server at `url`, with a seller's API key or without one."""

    def __init__(self, url: str, api_key: str | None = None) -> None:
        self.url = url
        self.api_key = api_key
        self._pool = urllib3.PoolManager(timeout=TIMEOUT_SECONDS, retries=False)

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> ApiResponse:
        """Send a GET. Raise urllib3's HTTPError where there is no response."""
        return self.request("GET", path, headers=headers)

    def post(self, path: str, document: Any = None, headers: Mapping[str, str] | None = None) -> ApiResponse:
        """Send a POST with a JSON document. Raise urllib3's HTTPError where there is no response."""
        return self.request("POST", path, document, headers)

    def try_get(self, path: str) -> ApiResponse | None:
        """Return the response to a GET, or None where there is none."""
        try:
            return self.get(path)
        except urllib3.exceptions.HTTPError:
            return None

    def request(
        self, method: str, path: str, document: Any = None, headers: Mapping[str, str] | None = None
    ) -> ApiResponse:
        """Send a request. Raise urllib3's HTTPError where there is no response."""
        sent = dict(headers or {})
        if self.api_key is not None:
            sent["Authorization"] = f"Bearer {self.api_key}"
        body = None
        if document is not None:
            sent["Content-Type"] = "application/json"
            body = json.dumps(document).encode()
        answer = self._pool.request(method, self.url + path, body=body, headers=sent, redirect=False)
        return ApiResponse(answer.status, answer.headers, answer.data, _document(answer))


def _document(answer: urllib3.BaseHTTPResponse) -> Any:
    is_json = answer.headers.get("Content-Type", "").split(";")[0].endswith("json")
    return json.loads(answer.data) if is_json and answer.data else None
