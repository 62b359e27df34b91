"""A thread beside the loop that works in steps."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

import structlog

from models.db.connection import TRANSIENT_ERRORS, disconnect, one_line
from models.db.leadership import LockLost

log = structlog.get_logger(__name__)


class Stopping(Exception):
    """The process must stop. Unfinished work continues at the next start."""


def start_daemon_thread(work: Callable[[], None]) -> None:
    """Run `work` in a thread. The process does not wait for the thread at its end."""
    threading.Thread(target=work, daemon=True).start()


class Worker(ABC):
    """A thread that runs a step when another thread wakes it, and after each pause.

    The thread ends once it is stopped and idle. After a transient database error, the next step tries again.
    Any other exception is a bug, which is logged and ends the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._is_in_trouble = False
        self.is_stopping = False

    @abstractmethod
    def _step(self) -> None:
        """Do the work that is due. Raise one of TRANSIENT_ERRORS to repeat the step later."""

    @abstractmethod
    def _pause(self) -> float:
        """Return the seconds to the next step, unless another thread wakes this thread before."""

    def _is_idle(self) -> bool:
        """Return whether a thread that is stopping may end."""
        return True

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Start a step now. Any thread may call this."""
        self._woken.set()

    def stop(self, timeout_seconds: float) -> bool:
        """Stop the thread, and wait up to `timeout_seconds`. Return whether the thread has ended."""
        self.is_stopping = True
        self.wake()
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def is_alive(self) -> bool:
        """Return whether the thread runs. It ends by itself only because of a bug."""
        return self._thread.is_alive()

    def run_once(self) -> None:
        """Run one step in the calling thread."""
        try:
            self._step()
            self._end_trouble()
        except (Stopping, LockLost):
            # The loop detects a lost lock, too, and stops the workers.
            return
        except TRANSIENT_ERRORS as error:
            self._begin_trouble(error)
            disconnect()

    def _run(self) -> None:
        try:
            while not self._is_done():
                self._woken.clear()
                self.run_once()
                if not self._is_done():
                    self._woken.wait(self._pause())
        finally:
            disconnect()

    def _is_done(self) -> bool:
        return self.is_stopping and self._is_idle()

    def _begin_trouble(self, error: Exception) -> None:
        if not self._is_in_trouble:
            log.error("database unavailable", thread=self._name, reason=one_line(error))
        self._is_in_trouble = True

    def _end_trouble(self) -> None:
        if self._is_in_trouble:
            log.info("database available again", thread=self._name)
        self._is_in_trouble = False
