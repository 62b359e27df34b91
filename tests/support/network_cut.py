"""A network link between a machine and its PostgreSQL server, which a test can cut.

A cut link loses the packets on their way, and neither side receives a FIN, an RST or an ACK. A socket filter
of Linux (socket(7), SO_ATTACH_FILTER) drops the packets before TCP. Some kernels allow it to root alone.
"""

import ctypes
import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from tests.support.needs import cannot_run

SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27
# One instruction of classic BPF: BPF_RET | BPF_K, keep 0 bytes (linux/filter.h).
_DROP_ALL = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0), 8)


class NetworkLink:
    """Forwards a port of its own to the server of `database_url`."""

    def __init__(self, database_url: str) -> None:
        _check_right()
        self._parts = urlsplit(database_url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._is_cut = threading.Event()

    @property
    def url(self) -> str:
        """The URL of the database through this link."""
        port = self._listener.getsockname()[1]
        place = self._parts.netloc.replace(f":{self._parts.port}", f":{port}")
        return urlunsplit(self._parts._replace(netloc=place))

    def cut(self) -> None:
        """Drop all packets of both sides from now on, and those of new connections."""
        self._is_cut.set()
        for each in (self._listener, *self._sockets):
            with suppress(OSError):
                _drop_all(each)

    def restore(self) -> None:
        """Let new connections through again. Both sides must have given up the old ones."""
        self._is_cut.clear()
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
                if self._is_cut.is_set():
                    self.cut()
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._forward, args=(source, target), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while (data := source.recv(65536)) and not self._is_cut.is_set():
                target.sendall(data)
        # A cut link does not forward the end of a connection either.
        if not self._is_cut.is_set():
            with suppress(OSError):
                target.shutdown(socket.SHUT_RDWR)


def _check_right() -> None:
    """Skip the test where this user may not attach a filter to a socket."""
    with socket.socket() as candidate:
        try:
            _drop_all(candidate)
        except PermissionError:
            cannot_run("this kernel allows socket filters to root alone: run this test as root")


def _drop_all(each: socket.socket) -> None:
    program = struct.pack("HL", 1, ctypes.addressof(_DROP_ALL))
    each.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
