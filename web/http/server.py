"""The web server. uvicorn reads and writes, and threads run the application."""

import asyncio
import contextlib
import errno
import logging
import resource
import socket
import time
from collections.abc import Callable
from typing import Any

import uvicorn

from web.http.asgi import MAX_HEAD_BYTES, Refusal, WsgiAdapter
from web.http.connections import IDLE_SECONDS, Connections, Listener, listener
from web.http.responses import Problem, Response
from web.http.threads import Threads

CONNECTIONS = 2000
STOP_SECONDS = 4
"""The longest time that requests under way may take after a stop. docs/spec.md 1 allows 5 seconds."""
PULSE_SECONDS = 1.0
_BACKLOG = 1024

NO_SUCH_ADDRESS = "set WEB_HOST to an address of this machine, such as 127.0.0.1"
_CURES = {
    errno.EADDRINUSE: "end the program that uses this port, or set WEB_PORT to another port",
    errno.EACCES: "only root may use ports below 1024; set WEB_PORT=8080, and put a web server in front",
}


class CannotListenError(Exception):
    """The address is in use, or does not belong to this machine."""


def problem_document(problem: Problem, _path: str) -> Response:
    """Return the problem as RFC 9457 defines it, on each path."""
    return problem.response


class Server:
    """The web server on one address. Port 0 is any free port.

    `threads` call `app`, and end with `run`. `refusal` returns the response to a request that does not reach
    `app`. The server calls `pulse` about once a second while it makes progress. It makes none if requests
    wait and no thread takes one.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        host: str,
        port: int,
        threads: Threads,
        pulse: Callable[[], None] = lambda: None,
        refusal: Refusal = problem_document,
    ) -> None:
        _allow_files(CONNECTIONS + 100)
        self._pulse = pulse
        self.is_stuck = False
        self._sockets = _listen(host, port)
        self.addresses: list[tuple[str, int]] = [each.getsockname()[:2] for each in self._sockets]
        self._connections = Connections()
        for each in self._sockets:
            each.connections = self._connections
        self._threads = threads
        # uvicorn would log each malformed request.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._adapter = WsgiAdapter(app, threads, self._connections, refusal)
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._adapter,
                interface="asgi3",
                # h11 needs bounded memory, because it parses a request only after the previous response.
                http="h11",
                loop="asyncio",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                # The application itself decides which headers of a proxy to trust.
                proxy_headers=False,
                server_header=False,
                headers=[("Server", "nodetill")],
                backlog=_BACKLOG,
                limit_concurrency=CONNECTIONS,
                timeout_keep_alive=IDLE_SECONDS,
                timeout_graceful_shutdown=STOP_SECONDS,
                h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            )
        )

    def run(self) -> None:
        """Serve until `stop`. Then accept no more connections, and finish the requests under way."""
        asyncio.run(self._serve())
        self._threads.end(time.monotonic() + 0.5)

    def stop(self) -> None:
        """Stop `run`. Signal handlers and other threads may call this method, and more than once."""
        self._server.should_exit = True
        if self._loop is not None:
            # The loop may have ended meanwhile.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._adapter.stop_reading)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        heartbeat = asyncio.create_task(self._beat())
        try:
            await self._server.serve(sockets=[*self._sockets])
        finally:
            heartbeat.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await heartbeat

    async def _beat(self) -> None:
        while True:
            self._connections.end_late()
            self.is_stuck = not self._threads.made_progress()
            if not self.is_stuck:
                self._pulse()
            await asyncio.sleep(PULSE_SECONDS)


def _listen(host: str, port: int) -> list[Listener]:
    """Listen on each address that `host` names. Raise CannotListenError."""
    sockets: list[Listener] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, address in dict.fromkeys((each[0], each[4][:2]) for each in found):
            sockets.append(listener(address, family, _BACKLOG))
    except (OSError, UnicodeError) as error:
        for each in sockets:
            each.close()
        raise _cannot_listen(host, port, error) from error
    return sockets


def _cannot_listen(host: str, port: int, error: Exception) -> CannotListenError:
    if isinstance(error, OSError) and not isinstance(error, socket.gaierror):
        reason, cure = error.strerror, _CURES.get(error.errno or 0, NO_SUCH_ADDRESS)
    else:
        reason, cure = "no host of that name", NO_SUCH_ADDRESS
    return CannotListenError(f"cannot listen on {host}:{port} (WEB_HOST, WEB_PORT): {reason}: {cure}")


def _allow_files(wanted: int) -> None:
    """Raise the limit of open files to `wanted`, as far as the system permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
