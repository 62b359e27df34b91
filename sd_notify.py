"""Report this process's state to systemd by the protocol of sd_notify(3), where there is a systemd."""

import socket
from collections.abc import Mapping

START_EXTENSION_MICROSECONDS = 60 * 10**6
"""Each sign of life before READY=1 extends the time to start by this much."""


class ServiceManager:
    """The program that listens on the socket of $NOTIFY_SOCKET: a path, or with @ an abstract name.

    Nobody waits for a listener that has stopped reading. A message that it has no room for is lost.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._status = ""
        self.is_told_ready = False

    def ready(self, status: str) -> None:
        """Report that the process works, or that it tries again. Call it again in case a message was lost."""
        if not self.is_told_ready:
            self.is_told_ready = self._say("READY=1", status)

    def alive(self, status: str) -> None:
        """Report progress: feed the watchdog, or get more time to start.

        `status` is a line for `systemctl status`. A message has it only where it has changed.
        """
        extension = f"EXTEND_TIMEOUT_USEC={START_EXTENSION_MICROSECONDS}"
        self._say("WATCHDOG=1" if self.is_told_ready else extension, status)

    def stopping(self) -> None:
        """Report that the process stops."""
        self._say("STOPPING=1", "stopping")

    def _say(self, assignment: str, status: str) -> bool:
        """Return whether the message was sent, or need not be."""
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
