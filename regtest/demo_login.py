"""One-time links that log a browser in to the demo's operator's page.

Browsers send the cookies of 127.0.0.1 to each port. So a small server of the demo can log in with the demo's
password, and pass the cookies on to the browser that opens a link.
"""

import secrets
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from types import TracebackType
from typing import Self

import urllib3

LOOPBACK = "127.0.0.1"
SECONDS = 10.0


class OneTimeLogin:
    """Serves the links on a free port of 127.0.0.1, until the context ends.

    `url` is the web server's address on 127.0.0.1. Each link works once, and only the newest one works.
    """

    def __init__(self, url: str, password: str) -> None:
        self.url = url
        self._password = password
        self._token: str | None = None
        self._lock = Lock()
        self._server = _Server(self)

    def link(self) -> str:
        """Return a new link. It ends the link before it."""
        with self._lock:
            self._token = secrets.token_urlsafe(16)
            return f"http://{LOOPBACK}:{self._server.server_port}/{self._token}"

    def takes(self, path: str) -> bool:
        """Return whether this is the path of the newest link, and end the link."""
        with self._lock:
            is_valid = self._token is not None and secrets.compare_digest(
                path.encode(), f"/{self._token}".encode()
            )
            if is_valid:
                self._token = None
            return is_valid

    def cookies(self) -> list[str]:
        """Log in, and return the values of Set-Cookie. They are empty where the web server refuses."""
        with urllib3.PoolManager(timeout=SECONDS, retries=False) as pool:
            form = {"password": self._password}
            url = f"{self.url}/operator/login"
            answer = pool.request("POST", url, fields=form, encode_multipart=False, redirect=False)
        return answer.headers.getlist("Set-Cookie")

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    """Passes its OneTimeLogin to the handlers."""

    daemon_threads = True
    block_on_close = False  # a browser may keep a connection open

    def __init__(self, login: OneTimeLogin) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.login = login


class _Handler(BaseHTTPRequestHandler):
    """Redirects to the operator's page, with the cookies where the link is valid."""

    timeout = SECONDS

    def do_GET(self) -> None:
        assert isinstance(self.server, _Server)
        login = self.server.login
        try:
            cookies = login.cookies() if login.takes(self.path) else []
        except urllib3.exceptions.HTTPError:
            cookies = []
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header("Location", f"{login.url}/")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        for cookie in cookies:
            self.send_header("Set-Cookie", cookie)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class has this name
        """Write no log, because it would be among the demo's lines."""
