"""A pool of a fixed number of threads, which reports its progress."""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

_Job = tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]


COUNT = 16
"""Each thread keeps a database connection, and PostgreSQL by default allows 100 in all."""


class Threads:
    """A pool of daemon threads, so that a stuck call does not keep the process from exiting.

    Each thread calls `at_thread_end` when it ends.
    """

    def __init__(self, at_thread_end: Callable[[], None] = lambda: None, count: int = COUNT) -> None:
        self._at_thread_end = at_thread_end
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._taken = self._taken_before = 0
        self._threads = [
            threading.Thread(target=self._work, name=f"web-{number}", daemon=True) for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Call the function in the next free thread."""
        future: Future[Any] = Future()
        self._jobs.put((future, function, arguments))
        return future

    def made_progress(self) -> bool:
        """Return whether a thread has taken a job since the last call, or no job waits."""
        has_taken = self._taken != self._taken_before
        self._taken_before = self._taken
        return has_taken or self._jobs.empty()

    def end(self, deadline: float) -> None:
        """End the threads. Wait for them until `deadline` by the monotonic clock."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._taken += 1
            future, function, arguments = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function(*arguments))
            except BaseException as error:  # noqa: BLE001  # The caller receives it.
                future.set_exception(error)
            # The next wait must not keep this call's objects alive.
            del job, future, function, arguments
        self._at_thread_end()
