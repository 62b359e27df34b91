"""Word to systemd of how we are, by the protocol of sd_notify(3); where nobody listens, nothing is said."""

import socket
from collections.abc import Mapping
from contextlib import suppress

START_EXTENSION_MICROSECONDS = 60 * 10**6
"""For so long each sign of life before READY=1 puts off the end of the time to start."""


class ServiceManager:
    """Whoever listens on the socket that $NOTIFY_SOCKET names: a path, or with @ an abstract name.

    A datagram that can't be sent is dropped: we live on without it, and one of the next will arrive.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._status = ""
        self.is_told_ready = False

    def ready(self, status: str) -> None:
        """We work, or know what keeps us from it and try again. Said once."""
        if not self.is_told_ready:
            self.is_told_ready = True
            self._say("READY=1", *self._news(status))

    def alive(self, status: str) -> None:
        """We have got on: feeds the watchdog, or before we are ready gives us longer to start.

        `status` is a line for `systemctl status`; said when it changes.
        """
        sign = "WATCHDOG=1" if self.is_told_ready else f"EXTEND_TIMEOUT_USEC={START_EXTENSION_MICROSECONDS}"
        self._say(sign, *self._news(status))

    def stopping(self) -> None:
        """We were told to stop, and do."""
        self._say("STOPPING=1", *self._news("stopping"))

    def _news(self, status: str) -> list[str]:
        if status == self._status:
            return []
        self._status = status
        return [f"STATUS={' '.join(status.split())}"]

    def _say(self, *lines: str) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            # A listener that has stopped reading must not keep us waiting.
            out.setblocking(False)
            out.sendto("\n".join(lines).encode(), self._address)
