"""The daemon as a process that starts quickly, and that a test kills as often as it likes."""

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
from tests.support.in_process_daemon import RecordingMailer
from tests.support.waiting import wait_until

LOOKS_UNTIL_CHECK = 4
ROOT = Path(__file__).parent.parent.parent


class ChildDaemon:
    """Runs one daemon at a time in `directory`, with `settings` of docs/spec.md 2, inside the `with` block.

    `blocks_kept` is the BLOCKS_KEPT of the daemons that start later.
    """

    def __init__(self, settings: Mapping[str, str], directory: Path) -> None:
        self.mailer = RecordingMailer()
        self.kills = 0
        self.blocks_kept = BLOCKS_KEPT
        self.log_file = directory / "daemon.log"
        self._settings = dict(settings)
        self._directory = directory
        self._read: set[str] = set()
        self._pid: int | None = None
        self._timers: list[Timer] = []
        self._fork_server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.prefork"],
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=end_with_parent(),
        )

    @property
    def is_up(self) -> bool:
        """True after a start, until a stop or kill.

        It may have ended by itself.
        """
        return self._pid is not None

    @property
    def is_dead(self) -> bool:
        """True if the daemon has ended by itself."""
        return self._pid is not None and not _exists(self._pid)

    def start(self, failpoint: str | None = None, **settings: str) -> None:
        """Start the daemon with these settings besides the usual ones. It is killed at `failpoint`."""
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
        assert self._fork_server.stdin is not None
        assert self._fork_server.stdout is not None
        self._fork_server.stdin.write(json.dumps(order) + "\n")
        self._fork_server.stdin.flush()
        self._pid = int(self._fork_server.stdout.readline())

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
        assert self._pid is not None
        timer = Timer(seconds, self._kill, [self._pid])
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
        if self._pid is not None:
            self.kill()
        self._fork_server.communicate()

    def _kill(self, pid: int) -> None:
        """Kill a process, and count the kill if the process still runs."""
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
    """Return whether a process runs. The fork server ignores SIGCHLD, so its children become no zombies."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
