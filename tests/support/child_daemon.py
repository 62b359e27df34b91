"""The daemon as a process that is born quickly, and killed as often as a test likes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from email import message_from_bytes
from pathlib import Path
from threading import Timer
from types import TracebackType
from typing import Self

from daemon.failpoint import VARIABLE
from models.block import BLOCKS_KEPT
from regtest.child import end_with_parent
from regtest.installation import environment
from tests.support.hand_daemon import Postbox
from tests.support.waiting import wait_until

LOOKS_A_QUESTION = 4
ROOT = Path(__file__).parent.parent.parent


class ChildDaemon:
    """One at a time, with `settings` of docs/spec.md 2, at work in `directory`. Ends with the `with` block.

    `blocks_kept` is how far back those that are started later can find a common ancestor.
    """

    def __init__(self, settings: Mapping[str, str], directory: Path) -> None:
        self.postbox = Postbox()
        self.kills = 0
        self.blocks_kept = BLOCKS_KEPT
        self.log_file = directory / "daemon.log"
        self._settings = dict(settings)
        self._directory = directory
        self._read: set[str] = set()
        self._pid: int | None = None
        self._timers: list[Timer] = []
        self._nursery = subprocess.Popen(
            [sys.executable, "-m", "tests.support.prefork"],
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=end_with_parent(),
        )

    @property
    def is_up(self) -> bool:
        """Whether it was started, and neither stopped nor killed; it may have died all the same."""
        return self._pid is not None

    @property
    def is_dead(self) -> bool:
        """Whether it has ended by itself."""
        return self._pid is not None and not _exists(self._pid)

    def start(self, failpoint: str | None = None, **settings: str) -> None:
        """With these settings in the place of the usual ones; it dies at `failpoint`."""
        assert not self.is_up or self.is_dead
        environ = environment(self._settings | settings)
        if failpoint is not None:
            environ[VARIABLE] = failpoint
        order = {
            "environ": environ,
            "directory": str(self._directory),
            "log": str(self.log_file),
            "blocks_kept": self.blocks_kept,
        }
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        self._nursery.stdin.write(json.dumps(order) + "\n")
        self._nursery.stdin.flush()
        self._pid = int(self._nursery.stdout.readline())

    def work_until(self, is_done: Callable[[], bool], seconds: float) -> bool:
        """Wait until then, while it works; False if that takes too long, or it ends by itself."""
        is_settled, looks = False, 0

        def look() -> bool:
            nonlocal is_settled, looks
            looks += 1
            # It asks bitcoind and the database, and the machine has other things to do.
            is_settled = looks % LOOKS_A_QUESTION == 1 and is_done()
            return is_settled or self.is_dead

        with suppress(AssertionError):
            wait_until(look, seconds)
        self.read_post()
        return is_settled

    def stop(self) -> None:
        """End it as systemd would."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._end(signal.SIGKILL)
        self.kills += 1

    def be_killed_within(self, seconds: float) -> None:
        """Whatever it is at then; one that has died is started again."""
        if self.is_dead:
            self.start()
        assert self._pid is not None
        timer = Timer(seconds, self._kill, [self._pid])
        timer.start()
        self._timers.append(timer)

    def await_kills(self) -> None:
        """Until all of them are over: who is alive then lives on."""
        while self._timers:
            self._timers.pop().join()

    def read_post(self) -> None:
        """Take over what has come into the Maildir since."""
        new = self._directory / "mail" / "new"
        for path in sorted(new.glob("*"), key=lambda path: path.stat().st_mtime_ns):
            if path.name not in self._read:
                self._read.add(path.name)
                self.postbox.taken.append(message_from_bytes(path.read_bytes())["Message-ID"].strip())

    def words(self, count: int = 30) -> str:
        """The end of its log."""
        return "\n".join(self.log_file.read_text().splitlines()[-count:]) if self.log_file.exists() else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pid is not None:
            self.kill()
        self._nursery.communicate()

    def _kill(self, pid: int) -> None:
        """One that has ended meanwhile is no kill."""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self.kills += 1

    def _end(self, number: signal.Signals) -> None:
        assert self._pid is not None
        if _exists(self._pid):
            os.kill(self._pid, number)
        wait_until(lambda: self.is_dead, what="the daemon to end")
        self._pid = None


def _exists(pid: int) -> bool:
    """Our nursery's children are nobody's zombies, so what is not there has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
