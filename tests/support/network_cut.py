"""A network cable between a machine and its PostgreSQL server, which can be pulled out.

What is on its way is lost then, and neither side is told: no FIN, no RST, no ACK. A socket filter of Linux's
(socket(7), SO_ATTACH_FILTER) drops what arrives before TCP sees it, and needs no privilege.
"""

import ctypes
import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27
# One instruction of classic BPF: BPF_RET | BPF_K, keep 0 bytes (linux/filter.h).
_DROP_ALL = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0), 8)


class Cable:
    """From a port of its own to the server of `database_url`."""

    def __init__(self, database_url: str) -> None:
        self._parts = urlsplit(database_url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._is_pulled = threading.Event()

    @property
    def url(self) -> str:
        """The database at the other end."""
        port = self._listener.getsockname()[1]
        place = self._parts.netloc.replace(f":{self._parts.port}", f":{port}")
        return urlunsplit(self._parts._replace(netloc=place))

    def pull(self) -> None:
        """From now on nothing arrives, on either side; nor does a new connection."""
        self._is_pulled.set()
        for each in (self._listener, *self._sockets):
            with suppress(OSError):
                _drop_all(each)

    def plug_in(self) -> None:
        """New connections can be made again; both sides have given up the old ones."""
        self._is_pulled.clear()
        self._listener.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in (self._listener, *self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection((self._parts.hostname, self._parts.port))
                self._sockets += [near, far]
                if self._is_pulled.is_set():
                    self.pull()
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while (data := source.recv(65536)) and not self._is_pulled.is_set():
                target.sendall(data)
        # The end of a connection is no news either that gets through.
        if not self._is_pulled.is_set():
            with suppress(OSError):
                target.shutdown(socket.SHUT_RDWR)


def _drop_all(each: socket.socket) -> None:
    program = struct.pack("HL", 1, ctypes.addressof(_DROP_ALL))
    each.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
