"""waitress, set up for the open: slow clients are cut off, errors are problems, a stop loses nothing."""

import errno
import os
import resource
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from waitress import create_server, wasyncore
from waitress.server import BaseWSGIServer

from web.http.channel import IDLE_SECONDS, Channel
from web.http.dispatcher import Dispatcher
from web.http.strict_json import BODY_LIMIT_BYTES

THREADS = 16
"""Each keeps a connection to the database: PostgreSQL has 100 for all, SQLite takes 0.3 MB for each."""
CONNECTIONS = 2000
CLEANUP_SECONDS = 5
"""How often connections are looked at for that."""
STOP_SECONDS = 4.0
"""How long requests under way get to finish: less than the 5 seconds of docs/spec.md 1."""
PULSE_SECONDS = 1.0
_HEADER_LIMIT_BYTES = 16 * 1024


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
        _, port = self.addresses[0]
        _stay_on_one_core(port)
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
        channels = (each for each in list(self._map.values()) if isinstance(each, Channel))
        return any(channel.requests or channel.total_outbufs_len for channel in channels)


def _stay_on_one_core(port: int) -> None:
    """Python runs one thread at a time. To wake the next one on another core, as each query of the database
    does twice, takes longer than the query.

    Servers on consecutive ports of one machine get cores of their own.
    """
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        # Where it is not allowed, all goes on as it would without.
        with suppress(PermissionError):
            os.sched_setaffinity(0, {cores[port % len(cores)]})


def _allow_files(wanted: int) -> None:
    """As many open files as connections, as far as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
