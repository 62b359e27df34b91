"""Word to systemd of how we are, by the protocol of sd_notify(3); where nobody listens, nothing is said."""

import socket
from collections.abc import Mapping

START_EXTENSION_MICROSECONDS = 60 * 10**6
"""For so long each sign of life before READY=1 puts off the end of the time to start."""


class ServiceManager:
    """Whoever listens on the socket that $NOTIFY_SOCKET names: a path, or with @ an abstract name.

    A listener that has stopped reading is not waited for: what it has no room for is dropped.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._status = ""
        self.is_told_ready = False

    def ready(self, status: str) -> None:
        """We work, or know what keeps us from it and try again. Said once; call it again if it was lost."""
        if not self.is_told_ready:
            self.is_told_ready = self._say("READY=1", status)

    def alive(self, status: str) -> None:
        """We have got on: feeds the watchdog, or before we are ready gives us longer to start.

        `status` is a line for `systemctl status`; said when it changes.
        """
        extension = f"EXTEND_TIMEOUT_USEC={START_EXTENSION_MICROSECONDS}"
        self._say("WATCHDOG=1" if self.is_told_ready else extension, status)

    def stopping(self) -> None:
        """We were told to stop, and do."""
        self._say("STOPPING=1", "stopping")

    def _say(self, assignment: str, status: str) -> bool:
        """Whether it was sent, or need not be."""
        if not self._address:
            return True
        lines = [assignment] if status == self._status else [assignment, f"STATUS={' '.join(status.split())}"]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            out.setblocking(False)
            try:
                out.sendto("\n".join(lines).encode(), self._address)
            except OSError:
                return False
        self._status = status
        return True
