"""A thread that works beside the loop, in turns."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

import structlog

from models.db.connection import TRANSIENT_ERRORS, disconnect, one_line
from models.db.leadership import LockLost

log = structlog.get_logger(__name__)


class Stopping(Exception):
    """We were told to stop; what is not done yet goes on at the next start."""


def in_a_thread(work: Callable[[], None]) -> None:
    """Do it beside; the process doesn't wait for it when it ends."""
    threading.Thread(target=work, daemon=True).start()


class Worker(ABC):
    """Takes a turn when woken, and after each pause, until it is stopped and has nothing under way.

    Trouble with the database is waited out. Any other exception is a bug: it ends the thread, and is logged.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._is_in_trouble = False
        self.is_stopping = False

    @abstractmethod
    def _turn(self) -> None:
        """Do what is to be done now. Raise one of TRANSIENT_ERRORS to have it done again later."""

    @abstractmethod
    def _pause(self) -> float:
        """Return the seconds to the next turn, if nobody wakes the thread before."""

    def _is_idle(self) -> bool:
        """Return whether a thread that is stopping may end."""
        return True

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Have a turn taken now. Any thread may call this."""
        self._woken.set()

    def stop(self, timeout_seconds: float) -> bool:
        """Have the thread end, and wait so long for it. Return whether it has ended."""
        self.is_stopping = True
        self.wake()
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def is_alive(self) -> bool:
        """Return whether the thread runs. It ends by itself only because of a bug."""
        return self._thread.is_alive()

    def take_turn(self) -> None:
        """Take one turn in the calling thread."""
        try:
            self._turn()
            self._end_trouble()
        except (Stopping, LockLost):
            # Of a lost lock the loop will hear as well, and stop us.
            return
        except TRANSIENT_ERRORS as error:
            self._begin_trouble(error)
            disconnect()

    def _run(self) -> None:
        try:
            while not self._is_done():
                self._woken.clear()
                self.take_turn()
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
