"""python-bitcoinrpc's proxy, with credentials of any characters and a connection of ours."""

import base64
import http.client

from bitcoinrpc.authproxy import AuthServiceProxy


class RpcProxy(AuthServiceProxy):  # type: ignore[misc]
    """It would take the credentials from the URL, undecoded."""

    def __init__(
        self, url: str, credentials: str, connection: http.client.HTTPConnection, method: str | None = None
    ) -> None:
        super().__init__(_with_user(url), method, connection.timeout, connection)
        self._credentials = credentials
        self._connection = connection
        token = base64.b64encode(credentials.encode())
        self._AuthServiceProxy__auth_header = b"Basic " + token

    def __getattr__(self, name: str) -> "RpcProxy":
        if name.startswith("__"):
            raise AttributeError(name)
        return RpcProxy(self._AuthServiceProxy__service_url, self._credentials, self._connection, name)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _with_user(url: str) -> str:
    return url if "@" in url else url.replace("://", "://user:password@", 1)
