"""systemd's end of sd_notify(3): a socket that hears what a service says of itself."""

import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.waiting import wait_until


class NotifySocket:
    """Bound from `with` on to its end; `environ` is what systemd would give the service."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "notify"
        self.environ = {"NOTIFY_SOCKET": str(self.path)}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._heard: list[str] = []

    def __enter__(self) -> Self:
        self._socket.bind(str(self.path))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def heard(self) -> list[str]:
        """Every assignment so far, such as READY=1, in their order."""
        try:
            while True:
                self._heard += self._socket.recv(4096).decode().splitlines()
        except BlockingIOError:
            return self._heard

    def forget(self) -> None:
        """Begin anew."""
        self.heard()
        self._heard.clear()

    def wait(self, *assignments: str) -> None:
        """Until each of these has been heard since the last `forget`."""
        wait_until(lambda: set(assignments) <= set(self.heard()), what=f"to hear {assignments}")

    def wait_status(self, part: str) -> str:
        """The first STATUS with this in it."""
        found = wait_until(
            lambda: [s for s in self.heard() if s.startswith("STATUS=") and part in s],
            what=f"to hear a status with {part!r}",
        )
        return found[0].removeprefix("STATUS=")
