"""The web site of a shop, on another origin than Nodetill: its pages, and the forms that it receives."""

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl

from playwright.sync_api import BrowserContext, Page


@dataclass(frozen=True)
class Received:
    """A form that a browser has sent to the shop."""

    path: str
    fields: list[tuple[str, str]]
    headers: dict[str, str]


@dataclass
class ShopSite:
    """Serves `pages` by their paths inside its `with` block. Any other page is a short text.

    Its host is localhost, so for a browser it is another site than 127.0.0.1.
    """

    pages: dict[str, str] = field(default_factory=dict)
    forms: list[Received] = field(default_factory=list)

    def __post_init__(self) -> None:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._respond(site.pages.get(self.path, f"<title>Shop</title>shop page {self.path}"))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                fields = parse_qsl(body, keep_blank_values=True)
                headers = {name.lower(): value for name, value in self.headers.items()}
                site.forms.append(Received(self.path, fields, headers))
                self._respond("<title>Shop</title>connected")

            def _respond(self, text: str) -> None:
                body = text.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def origin(self) -> str:
        return f"http://localhost:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def page_without_third_party_cookies(context: BrowserContext) -> Page:
    """Return a page of a browser that blocks the cookies of frames from other sites."""
    page = context.new_page()
    controls = context.new_cdp_session(page)
    controls.send("Network.enable")
    controls.send(
        "Network.setCookieControls",
        {
            "enableThirdPartyCookieRestriction": True,
            "disableThirdPartyCookieMetadata": True,
            "disableThirdPartyCookieHeuristics": True,
        },
    )
    return page
