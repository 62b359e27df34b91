"""bitcoind's REST interface: a block's bytes as they are (Bitcoin Core's doc/REST-interface.md)."""

import http.client
from collections.abc import Callable

from daemon.failpoint import reach


class Rest:
    """One connection, made when it is needed."""

    def __init__(self, connect: Callable[[], http.client.HTTPConnection]) -> None:
        self._connect = connect
        self._connection: http.client.HTTPConnection | None = None

    def get(self, path: str, failpoint: str) -> bytes | None:
        """The answer; None where it does not serve that."""
        if self._connection is None:
            self._connection = self._connect()
        is_new = self._connection.sock is None
        try:
            self._connection.request("GET", path)
            answer = self._connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            # bitcoind closes one that is idle for 30 seconds, as most are between two blocks.
            is_closed = isinstance(error, ConnectionError) and not is_new
            return self.get(path, failpoint) if is_closed else None
        reach(failpoint)
        return body if answer.status == http.client.OK else None

    def close(self) -> None:
        """Let the connection go; the next call makes a new one."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
