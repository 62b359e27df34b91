"""The threads that answer: waitress's, but which of them is woken, and what is known of them."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from waitress.task import ThreadedTaskDispatcher


class NewestFirst:
    """What waitress has a threading.Condition for, but who waits shortest is woken: of many threads the same
    few answer, and their connections to SQLite still know the pages that they wrote last."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock
        self._sleepers: list[threading.Lock] = []

    def wait(self) -> None:
        """Let go of the lock until woken."""
        sleeper = threading.Lock()
        sleeper.acquire()
        self._sleepers.append(sleeper)
        self._lock.release()
        sleeper.acquire()
        self._lock.acquire()

    def notify(self) -> None:
        """Wake one, if any waits."""
        if self._sleepers:
            self._sleepers.pop().release()

    def notify_all(self) -> None:
        """Wake them all."""
        while self._sleepers:
            self.notify()


class Dispatcher(ThreadedTaskDispatcher):  # type: ignore[misc]  # waitress comes without types
    """The threads that answer; each calls `at_thread_end` when it ends."""

    queue: deque[Any]

    def __init__(self, at_thread_end: Callable[[], None]) -> None:
        super().__init__()
        self.queue_cv = NewestFirst(self.lock)
        self._at_thread_end = at_thread_end
        self._started: list[threading.Thread] = []
        self._waiting: Any = None

    def has_got_on(self) -> bool:
        """Whether what had waited longest when this was last asked has its thread by now, or nothing had."""
        before = self._waiting
        with self.lock:
            self._waiting = self.queue[0] if self.queue else None
        return self._waiting is None or self._waiting is not before

    def start_new_thread(self, target: Callable[[int], None], thread_no: int) -> None:
        """Start one. It doesn't keep the process from ending."""
        thread = threading.Thread(target=target, name=f"web-{thread_no}", args=(thread_no,), daemon=True)
        self._started.append(thread)
        thread.start()

    def handler_thread(self, thread_no: int) -> None:
        """Answer calls until told to end."""
        super().handler_thread(thread_no)
        self._at_thread_end()

    def end(self, deadline: float) -> None:
        """Let the threads end, until `deadline` by the monotonic clock."""
        self.shutdown(timeout=max(deadline - time.monotonic(), 0))
        for thread in self._started:
            thread.join(max(deadline - time.monotonic(), 0))
