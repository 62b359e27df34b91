"""waitress, set up for the open: slow clients are cut off, errors are problems, a stop loses nothing."""

import errno
import os
import resource
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from waitress import create_server, wasyncore
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import BaseWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher, WSGITask
from waitress.utilities import RequestEntityTooLarge

from web.answer import refused
from web.strict_json import BODY_LIMIT_BYTES, too_large

THREADS = 16
"""Each keeps a connection to the database: PostgreSQL has 100 for all, SQLite takes 0.3 MB for each."""
CONNECTIONS = 2000
IDLE_SECONDS = 20
"""How long a connection may idle, and how long a request may take to arrive."""
CLEANUP_SECONDS = 5
"""How often connections are looked at for that."""
STOP_SECONDS = 4.0
"""How long requests under way get to finish: less than the 5 seconds of SPEC.md 1."""
PULSE_SECONDS = 1.0
_HEADER_LIMIT_BYTES = 16 * 1024
_LARGEST_BODY_READ = 8 * 1024 * 1024


class Parser(HTTPRequestParser):  # type: ignore[misc]  # waitress comes without types
    """Reads a body that is too large to its end, keeping none of it.

    Closing on a client that still sends would reset the connection, and the answer would be lost with it.
    """

    expect_continue: bool
    to_discard = 0

    def parse_header(self, header_plus: bytes) -> None:
        """Refuse a body whose end a proxy before us may see elsewhere, and so what comes behind it
        (request smuggling; RFC 9112, 6.1)."""
        super().parse_header(header_plus)
        is_coded = self.chunked or "TRANSFER_ENCODING" in self.headers
        if is_coded and (self.version != "1.1" or "CONTENT_LENGTH" in self.headers):
            raise ParsingError("Transfer-Encoding with a Content-Length, or before HTTP/1.1")

    def received(self, data: bytes) -> int:
        """Take bytes off the connection; how many were this request's."""
        if self.to_discard:
            taken = min(len(data), self.to_discard)
            self.to_discard -= taken
            self.completed = self.to_discard == 0
            return taken
        consumed: int = super().received(data)
        if isinstance(self.error, RequestEntityTooLarge):
            self._begin_to_discard()
        return consumed

    def _begin_to_discard(self) -> None:
        is_waiting_for_us, self.expect_continue = self.expect_continue, False
        # The end of a chunked body is not known.
        if not self.chunked and not is_waiting_for_us and self.content_length <= _LARGEST_BODY_READ:
            self.to_discard = self.content_length
            self.completed = False


class ProblemTask(ErrorTask):  # type: ignore[misc]  # waitress comes without types
    """What waitress refuses by itself is answered as all the rest is."""

    def execute(self) -> None:
        """Write the answer and close."""
        error = self.request.error
        is_large = isinstance(error, RequestEntityTooLarge)
        problem = too_large() if is_large else refused(HTTPStatus(error.code), str(error.body))
        answer = problem.answer
        self.status = f"{answer.status} {problem.status.phrase}"
        self.response_headers.extend(answer.all_headers.items())
        self.set_close_on_finish()
        self.content_length = len(answer.body)
        self.write(answer.body)


class Task(WSGITask):  # type: ignore[misc]  # waitress comes without types
    """A call of the application."""

    def set_close_on_finish(self) -> None:
        """Close behind the answer, but not because it has no body: waitress would behind each 304, and a
        checkout page that asks how it stands gets little else."""
        is_asked_to = self.version == "1.0" or self.request.headers.get("CONNECTION", "").lower() == "close"
        if self.has_body or is_asked_to:
            super().set_close_on_finish()


class Channel(HTTPChannel):  # type: ignore[misc]  # waitress comes without types
    """A connection. A request that trickles in is no activity: it must be complete within IDLE_SECONDS."""

    last_activity: float
    parser_class = Parser
    task_class = Task
    error_task_class = ProblemTask

    def handle_read(self) -> None:
        """Read what is there."""
        begun, since = self.request, self.last_activity
        super().handle_read()
        if begun is not None and begun is self.request:
            self.last_activity = since

    def writable(self) -> bool:
        """Whether to send what is there. Not while the thread that answers sends it: to ask again and again
        until it has done takes Python's lock from it, and it pulls the trigger behind its answer."""
        if not super().writable():
            return False
        # That thread waits for us to make room.
        if self.total_outbufs_len > self.adj.outbuf_high_watermark:
            return True
        is_free: bool = self.outbuf_lock.acquire(blocking=False)
        if is_free:
            self.outbuf_lock.release()
        return is_free

    def readable(self) -> bool:
        """Whether to read on. A server that stops finishes what it has, and takes nothing new."""
        return self.server.accepting_requests and bool(super().readable())


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


NO_SUCH_ADDRESS = "set WEB_HOST to an address of this machine, such as 127.0.0.1"
_CURES = {
    errno.EADDRINUSE: "end the program that has this port, or set WEB_PORT to another",
    errno.EACCES: "ports below 1024 are root's; set WEB_PORT=8080, and put a web server before it",
}


class CannotListenError(Exception):
    """The address is taken, or none of this machine's."""


class Server:
    """The web server on one address; port 0 is any that is free. Raises CannotListenError.

    `at_thread_end` is called in each thread that `app` was called in, when it ends. `pulse` is called about
    once a second as long as calls are answered: not while all threads are stuck in theirs and others wait.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        host: str,
        port: int,
        at_thread_end: Callable[[], None] = lambda: None,
        threads: int = THREADS,
        pulse: Callable[[], None] = lambda: None,
    ) -> None:
        self._threads = threads
        _allow_files(CONNECTIONS + 100)
        self._map: dict[int, Any] = {}
        self._dispatcher = Dispatcher(at_thread_end)
        self._pulse = pulse
        self._pulse_at = 0.0
        self.is_stuck = False
        self._is_stopping = False
        # `stop` writes to what `run` closes then; it may interrupt `run` as a signal handler, in its thread.
        self._closing = threading.RLock()
        try:
            self._listen(app, host, port)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no host of that name"
            cure = (
                _CURES.get(error.errno or 0, NO_SUCH_ADDRESS)
                if isinstance(error, OSError)
                else NO_SUCH_ADDRESS
            )
            raise CannotListenError(
                f"cannot listen on {host}:{port} (WEB_HOST, WEB_PORT): {reason}: {cure}"
            ) from error
        self._listeners = [each for each in self._map.values() if isinstance(each, BaseWSGIServer)]
        for listener in self._listeners:
            listener.channel_class = Channel
            listener.accepting_requests = True

    def _listen(self, app: Callable[..., Any], host: str, port: int) -> None:
        create_server(
            app,
            map=self._map,
            _dispatcher=self._dispatcher,
            host=host,
            port=port,
            threads=self._threads,
            connection_limit=CONNECTIONS,
            channel_timeout=IDLE_SECONDS,
            cleanup_interval=CLEANUP_SECONDS,
            # select() knows no file descriptor above 1023.
            asyncore_use_poll=True,
            max_request_header_size=_HEADER_LIMIT_BYTES,
            # Twice, for what chunks need besides; the application counts to the byte.
            max_request_body_size=2 * BODY_LIMIT_BYTES,
            ident="nodetill",
            # They are never trusted, but tell what came through a proxy from what came from this machine.
            clear_untrusted_proxy_headers=False,
        )

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens."""
        return [(each.effective_host, int(each.effective_port)) for each in self._listeners]

    def run(self) -> None:
        """Serve until `stop`; then take no more connections, and finish the requests under way.

        The thread that this is called in stays on one core from then on, and so do those that it starts.
        """
        _stay_on_one_core()
        self._dispatcher.set_thread_count(self._threads)
        while not self._is_stopping:
            self._turn(PULSE_SECONDS)
            self._beat()
        deadline = time.monotonic() + STOP_SECONDS
        with self._closing:
            for listener in self._listeners:
                wasyncore.dispatcher.close(listener)
        self._turn(0)
        for listener in self._listeners:
            listener.accepting_requests = False
        while self._is_busy() and time.monotonic() < deadline:
            self._turn(0.1)
        self._dispatcher.end(deadline)
        wasyncore.close_all(self._map, ignore_all=True)

    def stop(self) -> None:
        """May be called from a signal handler, or another thread; again does nothing."""
        with self._closing:
            if not self._is_stopping:
                self._is_stopping = True
                for listener in self._listeners:
                    listener.pull_trigger()

    def _turn(self, timeout: float) -> None:
        wasyncore.loop(timeout=timeout, use_poll=True, map=self._map, count=1)

    def _beat(self) -> None:
        if time.monotonic() >= self._pulse_at:
            self._pulse_at = time.monotonic() + PULSE_SECONDS
            self.is_stuck = not self._dispatcher.has_got_on()
            if not self.is_stuck:
                self._pulse()

    def _is_busy(self) -> bool:
        channels = (each for each in list(self._map.values()) if isinstance(each, HTTPChannel))
        return any(channel.requests or channel.total_outbufs_len for channel in channels)


def _stay_on_one_core() -> None:
    """Python runs one thread at a time. To wake the next one on another core, as each query of the database
    does twice, takes longer than the query."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        # Where it is not allowed, all goes on as it would without. Of several servers on one machine, those
        # that are started together get cores of their own.
        with suppress(PermissionError):
            os.sched_setaffinity(0, {cores[os.getpid() % len(cores)]})


def _allow_files(wanted: int) -> None:
    """As many open files as connections, as far as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
