"""An HTTP client for tests of the operator's pages: it keeps cookies and sends forms."""

import http.client
import re
from dataclasses import dataclass, field
from html import unescape
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urljoin

from tests.support.html_document import Document
from tests.support.web_server import WebServer

PASSWORD = "open sesame"


@dataclass(frozen=True)
class OperatorResponse:
    """A response."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes
    path: str

    @property
    def text(self) -> str:
        """The body with its markup."""
        return self.body.decode()

    @property
    def words(self) -> str:
        """The body without its markup."""
        return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", self.text)))

    @property
    def fields(self) -> dict[str, str]:
        """The fields of its forms, with the values that a browser sends if the operator changes nothing."""
        return {
            str(each["name"]): str(each.get("value") or "")
            for each in Document(self.text).of("input")
            if each.get("type") not in ("radio", "checkbox") or "checked" in each
        }

    @property
    def leads_to(self) -> str:
        """The path of the redirection's Location."""
        return urljoin(self.path, str(self.headers["Location"]))


@dataclass
class OperatorClient:
    """A client with its own cookies."""

    shop: WebServer
    cookies: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    def call(
        self, method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None
    ) -> OperatorResponse:
        """Send one request with the stored cookies, and store the new ones. Follow no redirect."""
        sent = {"Content-Type": "application/x-www-form-urlencoded", **self.headers, **(headers or {})}
        if method == "POST":
            sent = {"Origin": f"http://127.0.0.1:{self.shop.port}", "User-Agent": "Mozilla/5.0", **sent}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection = http.client.HTTPConnection("127.0.0.1", self.shop.port, timeout=30)
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            page = OperatorResponse(answer.status, answer.headers, answer.read(), path)
        finally:
            connection.close()
        for line in page.headers.get_all("Set-Cookie", []):
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value
        return page

    def get(self, path: str, **headers: str) -> OperatorResponse:
        return self.call("GET", path, headers=headers)

    def post(self, path: str, **fields: str) -> OperatorResponse:
        """Send a form by POST."""
        return self.call("POST", path, urlencode(fields))

    def log_in(self, password: str = PASSWORD, to: str = "") -> OperatorResponse:
        """Log in by the form of the login page."""
        self.get("/operator/login")
        return self.post("/operator/login", password=password, to=to)
