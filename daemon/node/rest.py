"""bitcoind's REST interface for raw blocks (Bitcoin Core's doc/REST-interface.md)."""

import http.client
from collections.abc import Callable

from daemon.failpoint import reach


class Rest:
    """A REST client with one connection, opened on demand."""

    def __init__(self, connect: Callable[[], http.client.HTTPConnection]) -> None:
        self._connect = connect
        self._connection: http.client.HTTPConnection | None = None

    def block(self, block_hash: str) -> bytes | None:
        """Return a block's bytes, or None where bitcoind does not serve this block."""
        if self._connection is None:
            self._connection = self._connect()
        is_new = self._connection.sock is None
        try:
            self._connection.request("GET", f"/rest/block/{block_hash}.bin")
            response = self._connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            # bitcoind closes a connection after 30 idle seconds, and most blocks are further apart.
            is_closed = isinstance(error, ConnectionError) and not is_new
            return self.block(block_hash) if is_closed else None
        reach("rest.block")
        return body if response.status == http.client.OK else None

    def close(self) -> None:
        """Close the connection. The next call opens a new one."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
