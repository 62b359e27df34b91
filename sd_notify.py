"""Reports of this process's state to systemd, by the protocol of sd_notify(3)."""

import socket
from collections.abc import Mapping

START_EXTENSION_MICROSECONDS = 60 * 10**6
"""Each report before READY=1 extends the time to start by this much."""


class ServiceManager:
    """The program that listens on the socket of $NOTIFY_SOCKET, for example systemd.

    The variable holds a path, or an abstract name after @. Without the variable, no message is sent. A report
    never blocks. If the listener does not read, messages are lost.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._status = ""
        self.has_sent_ready = False

    def ready(self, status: str) -> None:
        """Report that the start is over. Call this again, because a message may have been lost."""
        if not self.has_sent_ready:
            self.has_sent_ready = self._send("READY=1", status)

    def alive(self, status: str) -> None:
        """Report progress. The message feeds the watchdog, or extends the time to start.

        `status` is a line for `systemctl status`. A message contains only a changed status.
        """
        extension = f"EXTEND_TIMEOUT_USEC={START_EXTENSION_MICROSECONDS}"
        self._send("WATCHDOG=1" if self.has_sent_ready else extension, status)

    def stopping(self) -> None:
        self._send("STOPPING=1", "stopping")

    def _send(self, assignment: str, status: str) -> bool:
        """Send a message. Return False where it is lost."""
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
