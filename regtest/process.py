"""The daemon or the web server as a child process, for the demo and the functional tests."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self, TypeVar

from regtest.child import end_with_parent
from regtest.node import PROJECT

T = TypeVar("T")

POLL_SECONDS = 0.02
READY_SECONDS = 60.0
STOP_SECONDS = 15.0


class ProcessError(RuntimeError):
    """A server ended by itself, or did not reach a state in time. The message has the end of its log."""


class Child(Protocol):
    """The members of subprocess.Popen that this package uses."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, number: int, /) -> None: ...

    def kill(self) -> None: ...


class StartPython(Protocol):
    """A function that starts a script of the project. `environ` is its whole environment."""

    def __call__(
        self,
        script: str,
        arguments: Sequence[str],
        environ: Mapping[str, str],
        directory: Path,
        output: IO[bytes],
        errors: IO[bytes],
    ) -> Child: ...


def start_python(
    script: str,
    arguments: Sequence[str],
    environ: Mapping[str, str],
    directory: Path,
    output: IO[bytes] | int,
    errors: IO[bytes] | int,
) -> Child:
    """Start `script` in a new Python interpreter, which ends together with the calling thread."""
    return subprocess.Popen(
        [sys.executable, str(PROJECT / script), *arguments],
        cwd=directory,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=errors,
        # Ctrl-C must reach only this process, which then stops the server in order.
        start_new_session=True,
        preexec_fn=end_with_parent(),
    )


class Process:
    """A server that runs `script` in `directory`. `environ` is its whole environment.

    Both output streams go to `log_file`, which grows over restarts. The kernel kills the server when the
    thread that started it ends.
    """

    def __init__(
        self,
        script: str,
        environ: Mapping[str, str],
        directory: Path,
        name: str = "",
        start: StartPython = start_python,
    ) -> None:
        self.name = name or Path(script).stem
        self.environ = dict(environ)
        self.directory = directory
        self.log_file = directory / f"{self.name}.log"
        self.output: int | None = None
        """A file descriptor that gets both streams instead of `log_file`."""
        self._script = script
        self._start_python = start
        self._child: Child | None = None
        self._log_start = 0

    @property
    def pid(self) -> int:
        assert self._child is not None, f"{self.name} was not started"
        return self._child.pid

    @property
    def is_running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self) -> Self:
        """Start the server, and don't wait until it is ready."""
        assert not self.is_running, f"{self.name} runs already"
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.log_file.touch(mode=0o600)
        with self.log_file.open("ab") as log:
            self._log_start = log.tell()
            if self.output is None:
                self._child = self._start_python(self._script, [], self.environ, self.directory, log, log)
            else:
                streams = (self.output, self.output)
                self._child = start_python(self._script, [], self.environ, self.directory, *streams)
        return self

    def stop(self, seconds: float = STOP_SECONDS) -> int:
        """End the server by SIGTERM, as systemd does. Return the exit status, negative after a signal."""
        return self._end(signal.SIGTERM, seconds)

    def kill(self) -> int:
        """End the server by SIGKILL, which has the effect of a power cut. Return the exit status."""
        return self._end(signal.SIGKILL, STOP_SECONDS)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait until the server ends by itself, and return its exit status. Raise ProcessError."""
        assert self._child is not None, f"{self.name} was not started"
        try:
            return self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise self._trouble(f"did not end within {seconds:g} s") from None

    def restart(self) -> Self:
        self.stop()
        return self.start()

    def lines(self) -> list[str]:
        """Return the complete lines of output since the last start."""
        if not self.log_file.exists():
            return []
        with self.log_file.open("rb") as log:
            log.seek(self._log_start)
            text = log.read().decode(errors="replace")
        return text[: text.rfind("\n") + 1].splitlines()

    def wait_for_line(self, *parts: str, seconds: float = READY_SECONDS) -> str:
        """Wait for a line with all of `parts` since the last start, and return it. Raise ProcessError."""
        return self.wait_until(lambda: self._line_with(parts), f"log {' … '.join(parts)}", seconds)

    def wait_until(self, look: Callable[[], T | None], what: str, seconds: float = READY_SECONDS) -> T:
        """Call `look` until its result is true, and return the result.

        Raise ProcessError where the server ends first, or after `seconds`. `what` is a verb phrase: in the
        error's text it follows "did not".
        """
        assert self._child is not None, f"{self.name} was not started"
        deadline = time.monotonic() + seconds
        while True:
            # The check for the end comes before look(), so the last actions of a server still count.
            status = self._child.poll()
            if found := look():
                return found
            if status is not None:
                raise self._trouble(f"ended with exit status {status}: did not {what}")
            if time.monotonic() > deadline:
                raise self._trouble(f"did not {what} within {seconds:g} s")
            time.sleep(POLL_SECONDS)

    def __enter__(self) -> Self:
        return self if self.is_running else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _line_with(self, parts: Sequence[str]) -> str | None:
        return next((line for line in self.lines() if all(part in line for part in parts)), None)

    def _trouble(self, what: str) -> ProcessError:
        words = "\n  ".join(self.lines()[-15:]) or "(nothing)"
        return ProcessError(f"{self.name} {what}; the end of its log:\n  {words}")

    def _end(self, number: signal.Signals, seconds: float) -> int:
        if self._child is None:
            return 0
        self._child.send_signal(number)
        try:
            return self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            self._child.kill()
            return self._child.wait()
