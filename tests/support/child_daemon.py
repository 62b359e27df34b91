"""The daemon as a process that starts quickly, and that a test kills as often as it likes."""

import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from email import message_from_bytes
from functools import partial
from pathlib import Path
from threading import Timer
from types import TracebackType
from typing import Self

from daemon import health, schedule
from daemon.chain import mempool
from daemon.failpoint import VARIABLE
from models import block
from regtest.installation import environment
from tests.support.fork_server import ForkedChild, fork_python
from tests.support.in_process_daemon import RecordingMailer
from tests.support.waiting import wait_until

LOOKS_UNTIL_CHECK = 4


class ChildDaemon:
    """Runs one daemon at a time in `directory`, with `settings` of docs/spec.md 2, inside the `with` block.

    `blocks_kept` is the BLOCKS_KEPT of the daemons that start later.
    """

    def __init__(self, settings: Mapping[str, str], directory: Path) -> None:
        self.mailer = RecordingMailer()
        self.kills = 0
        self.blocks_kept = block.BLOCKS_KEPT
        self.log_file = directory / "daemon.log"
        self._settings = dict(settings)
        self._directory = directory
        self._read: set[str] = set()
        self._child: ForkedChild | None = None
        self._timers: list[Timer] = []

    @property
    def is_up(self) -> bool:
        """True after a start, until a stop or kill.

        It may have ended by itself.
        """
        return self._child is not None

    @property
    def is_dead(self) -> bool:
        """True if the daemon has ended by itself."""
        return self._child is not None and self._child.poll() is not None

    def start(self, failpoint: str | None = None, **settings: str) -> None:
        """Start the daemon with these settings besides the usual ones. It is killed at `failpoint`."""
        assert not self.is_up or self.is_dead
        environ = environment(self._settings | settings)
        if failpoint is not None:
            environ[VARIABLE] = failpoint
        with self.log_file.open("ab") as log:
            self._child = fork_python(
                "run_daemon.py",
                [],
                environ,
                self._directory,
                log,
                log,
                prepare=partial(_shorten_waits, self.blocks_kept),
            )

    def work_until(self, is_done: Callable[[], bool], seconds: float) -> bool:
        """Wait until `is_done`. Return False after a timeout, or if the daemon ends by itself."""
        is_finished, looks = False, 0

        def look() -> bool:
            nonlocal is_finished, looks
            looks += 1
            # `is_done` queries bitcoind and the database, which is too much work for each look.
            is_finished = looks % LOOKS_UNTIL_CHECK == 1 and is_done()
            return is_finished or self.is_dead

        with suppress(AssertionError):
            wait_until(look, seconds)
        self.read_mail()
        return is_finished

    def stop(self) -> None:
        """Stop the daemon as systemd does."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the daemon, which ends as in a power cut."""
        self._end(signal.SIGKILL)
        self.kills += 1

    def be_killed_within(self, seconds: float) -> None:
        """Kill the daemon after `seconds`. A daemon that has ended is started first."""
        if self.is_dead:
            self.start()
        assert self._child is not None
        timer = Timer(seconds, self._kill, [self._child])
        timer.start()
        self._timers.append(timer)

    def await_kills(self) -> None:
        """Wait until all planned kills are over."""
        while self._timers:
            self._timers.pop().join()

    def read_mail(self) -> None:
        """Read the new emails of the Maildir."""
        new = self._directory / "mail" / "new"
        for path in sorted(new.glob("*"), key=lambda path: path.stat().st_mtime_ns):
            if path.name not in self._read:
                self._read.add(path.name)
                self.mailer.taken.append(message_from_bytes(path.read_bytes())["Message-ID"].strip())

    def words(self, count: int = 30) -> str:
        """Return the last lines of the daemon's log."""
        return "\n".join(self.log_file.read_text().splitlines()[-count:]) if self.log_file.exists() else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is not None:
            self.kill()

    def _kill(self, child: ForkedChild) -> None:
        """Kill a process, and count the kill if the process still runs."""
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
            self.kills += 1

    def _end(self, number: signal.Signals) -> None:
        assert self._child is not None
        self._child.send_signal(number)
        self._child.wait()
        self._child = None


def _shorten_waits(blocks_kept: int) -> None:
    """Shorten the waits of the calling daemon, which a test then has in tenths of a second."""
    mempool.DROP_GRACE = timedelta(seconds=0.3)
    schedule.RETRY_SECONDS, health.FIRST_RETRY_SECONDS = 0.1, 0.05
    block.BLOCKS_KEPT = blocks_kept
