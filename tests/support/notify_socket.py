"""systemd's end of sd_notify(3): a socket that receives the notifications of a service."""

import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.waiting import wait_until


class NotifySocket:
    """A socket that is open inside the `with` block.

    `environ` has the variables that systemd sets for a service.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "notify"
        self.environ = {"NOTIFY_SOCKET": str(self.path)}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._received: list[str] = []

    def __enter__(self) -> Self:
        self._socket.bind(str(self.path))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def received(self) -> list[str]:
        """Return every assignment so far, such as READY=1, in order."""
        try:
            while True:
                self._received += self._socket.recv(4096).decode().splitlines()
        except BlockingIOError:
            return self._received

    def forget(self) -> None:
        """Forget the assignments received so far."""
        self.received()
        self._received.clear()

    def wait(self, *assignments: str) -> None:
        """Wait until each of these has arrived since the last `forget`."""
        wait_until(lambda: set(assignments) <= set(self.received()), what=f"the assignments {assignments}")

    def wait_status(self, part: str) -> str:
        """Wait for a STATUS that contains `part`, and return it."""
        found = wait_until(
            lambda: [s for s in self.received() if s.startswith("STATUS=") and part in s],
            what=f"a status with {part!r}",
        )
        return found[0].removeprefix("STATUS=")
