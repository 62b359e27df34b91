"""Each page has one address, which a proxy in front reads as the server does."""

import http.client
import socket
from collections.abc import Iterator, Mapping
from urllib.parse import urljoin

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.operator_session import LoginAttempt
from tests.support.needs import cases, examples
from tests.support.operator_client import PASSWORD, OperatorClient
from tests.support.web_server import BODY, WebServer, open_shop
from web.app import BTCPAY, OPERATOR, ROUTES, TRIGGERS

pytestmark = pytest.mark.one_database

ALL = [(method, path) for method, path, *_ in (*ROUTES, *BTCPAY, *OPERATOR, *TRIGGERS)]
EURO = "%E2%82%AC"
ODD_PARTS = [
    *(EURO, "%ff", "%00", "%0a", "%2e%2e", "%2F", "%5c", "%C0%AF", "%u20ac", "%", "%zz", "%25ff", "\\", ";x"),
    *("'", '"', "<", "~", "..", ".", "%F0%9F%92%A9", "%ED%A0%80", "x" * 3000, "€".encode().decode("latin-1")),
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """Serve all routes."""
    directory = tmp_path_factory.mktemp("shop")
    environ = {"SPELLBOOK_TRIGGERS": "on", "OPERATOR_PASSWORD": PASSWORD}
    with open_shop(directory, f"sqlite:///{directory / 'nodetill.db'}", environ) as opened:
        yield opened


def logged_in(shop: WebServer) -> OperatorClient:
    """Return a client that is logged in. Other tests have tried forms without a password."""
    LoginAttempt.delete().execute()
    client = OperatorClient(shop)
    assert client.log_in().status == 303
    return client


def status_of(shop: WebServer, method: str, target: str, headers: Mapping[str, str] | None = None) -> int:
    """Send a request target unchanged, and return the status of the response."""
    lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", "Content-Length: 0"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    with socket.create_connection(("127.0.0.1", shop.port), timeout=30) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        answer = http.client.HTTPResponse(connection, method=method)
        answer.begin()
        answer.read()
        return answer.status


def filled(path: str, part: str) -> str:
    """Replace each variable of a route by `part`."""
    for name in ("<reference>", "<event_reference>", "<channel>", "<name>", "<payment_method>"):
        path = path.replace(name, part)
    return path


def odd_paths(route: str, odd: str) -> list[str]:
    """Return a route's path with an odd part in its variables, behind it, and before it."""
    plain = filled(route, "x")
    return [filled(route, odd), f"{plain}{odd}", f"{plain}/{odd}", f"/{odd}{plain}", f"/{odd}{plain[1:]}"]


@pytest.mark.parametrize("odd", cases(ODD_PARTS, ("%ff",)), ids=lambda odd: odd[:20])
def test_no_odd_path_is_a_5xx(shop: WebServer, odd: str) -> None:
    """This holds for each route, for a stranger, and for a client with a login and an API key."""
    client = logged_in(shop)
    cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    for method, route in ALL:
        for target in dict.fromkeys(odd_paths(route, odd)):
            for headers in ({}, {"Cookie": cookies, **shop.common_headers}):
                assert status_of(shop, method, target, headers) < 500, target


@settings(max_examples=examples(300), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(ALL), st.binary(max_size=12), st.booleans())
def test_no_bytes_in_a_path_are_a_5xx(
    shop: WebServer, route: tuple[str, str], odd: bytes, escape_all: bool
) -> None:
    """They may be escaped or not."""
    method, path = route
    safe = b"" if escape_all else bytes(range(0x21, 0x7F))
    part = "".join(chr(byte) if byte in safe else f"%{byte:02x}" for byte in odd)
    for target in odd_paths(path, part):
        assert status_of(shop, method, target) < 500


def other_spellings(path: str) -> list[str]:
    """Return paths that one reader takes for this one, and another reader does not."""
    first, rest = path[1], path[2:]
    behind = "%ff %E2%82%AC %00 %20 \\ ; ;x %3b %2f %3f %23 %0a %0d%0a %c0%af . ~ .json /. /%ff".split()
    before = "%ff x/.. x/%2e%2e . %2e %5c x /x //.. http://127.0.0.1 http://x".split()
    return [
        *(f"{path}{odd}" for odd in behind),
        *(f"{odd}{path}" if odd.startswith("http") else f"/{odd}{path}" for odd in before),
        *(f"/{odd}{first}{rest}" for odd in ("%ff", "%2f", "\\", "%5c")),
        *(f"/%{ord(first):02x}{rest}", f"/%{ord(first):02X}{rest}", f"/%25{ord(first):02x}{rest}"),
        *(path.upper(), path.title(), path[1:], path.replace("e", "%65"), f"{path}/..%2f{first}{rest}"),
    ]


@pytest.mark.parametrize("path", ["/metrics", "/operator/login", "/operator/money", "/health", "/docs"])
def test_a_page_has_one_spelling_of_its_path(shop: WebServer, path: str) -> None:
    """Any other is 404, also for a client that may see the page."""
    client = logged_in(shop)
    cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    for target in other_spellings(path):
        if target != path:
            assert status_of(shop, "GET", target, {"Cookie": cookies}) in (400, 404), target
            assert status_of(shop, "DELETE", target) in (400, 404), target
    assert status_of(shop, "GET", path, {"Cookie": cookies}) != 404


BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.mark.parametrize(
    ("path", "headline", "root"),
    [
        ("/pay/", "There is no such payment", "../"),
        ("/pay/PR-x/y", "There is no such payment", "../../"),
        ("/docs/x", "Page not found", "../"),
        ("/nothing", "Page not found", ""),
        ("/nothing/%ff/<b>/", "Page not found", "../../../"),
    ],
)
def test_a_browser_gets_a_page_everywhere(shop: WebServer, path: str, headline: str, root: str) -> None:
    """The page has its style sheet at any depth of the path, and the browser's language."""
    reply = shop.get(path, BROWSER)
    assert (reply.status, reply.headers["content-type"]) == (404, "text/html; charset=utf-8")
    page = reply.body.decode()
    assert f"<h1>{headline}</h1>" in page
    assert f'href="{root}static/checkout.' in page
    assert path not in page
    german = shop.get(path, {**BROWSER, "Accept-Language": "de"}).body.decode()
    assert f"<h1>{headline}</h1>" not in german


@pytest.mark.parametrize("path", ["/nothing", "/pay/", "/docs/x"])
@pytest.mark.parametrize("accept", [None, "*/*", "application/json"])
def test_a_program_gets_json_at_an_unknown_path(shop: WebServer, path: str, accept: str | None) -> None:
    """The problem has the form of RFC 9457."""
    reply = shop.get(path, {"Accept": accept})
    assert reply.status == 404
    assert reply.json["type"] == "urn:nodetill:problem:not-found"


@pytest.mark.parametrize("path", ["/api/", "/api/v1/nothing", "/spellbook/nothing"])
def test_the_api_returns_json_to_everybody(shop: WebServer, path: str) -> None:
    """Some libraries of programs accept HTML too."""
    assert shop.get(path, BROWSER).json["status"] == 404


def test_search_engines_read_nothing(shop: WebServer) -> None:
    """A checkout page belongs to its customer."""
    reply = shop.get("/robots.txt", {"Authorization": None})
    assert (reply.status, reply.body) == (200, b"User-agent: *\nDisallow: /\n")
    assert reply.headers["content-type"].startswith("text/plain")


def test_a_document_without_an_icon_has_the_mark(shop: WebServer) -> None:
    """Browsers look for it at this path."""
    reply = shop.get("/favicon.ico", {"Authorization": None})
    assert (reply.status, reply.headers["content-type"]) == (200, "image/svg+xml")
    assert reply.body.startswith(b"<svg")


@pytest.mark.parametrize(
    "path", ["/metrics", "/health", "/openapi.json", "/api/v1/payments", "/static/x.css"]
)
def test_an_extra_slash_in_a_program_s_path_is_404(shop: WebServer, path: str) -> None:
    """The API is strict, and a page that a proxy guards by its path must have no other path."""
    for target in (f"{path}/", f"/{path}", f"{path}//", f"//{path}"):
        assert status_of(shop, "GET", target, shop.common_headers) == 404


def test_an_extra_slash_redirects_to_the_customers_page(shop: WebServer) -> None:
    """The query is kept."""
    page = f"/pay/{shop.created()['payment_request_id']}"
    for wrong in (f"{page}/", f"{page}//", f"/{page}", page.replace("/pay/", "/pay//"), f"//{page}//"):
        for query in ("", "?lang=de&utm_source=a"):
            reply = shop.get(f"{wrong}{query}", {"Authorization": None})
            assert reply.status == 303
            base = f"http://pay.example.com{wrong}{query}"
            assert urljoin(base, reply.headers["location"]) == f"http://pay.example.com{page}{query}"
    assert shop.get("/docs/").status == 303
    assert shop.call("POST", f"{page}/").status == 404
    strange = shop.get("/pay//evil.example/")
    assert urljoin("http://pay.example.com/pay//evil.example/", strange.headers["location"]) == (
        "http://pay.example.com/pay/evil.example"
    )


def test_only_a_trailing_slash_redirects_to_the_operators_page(shop: WebServer) -> None:
    """A leading one could deceive a proxy that guards the operator's pages."""
    for path in ("/operator/login", "/operator/money", "/operator/payments/PR-1"):
        reply = shop.get(f"{path}/?days=7")
        assert reply.status == 303
        assert urljoin(f"{path}/", reply.headers["location"]) == f"{path}?days=7"
        for wrong in (f"/{path}", path.replace("/operator/", "/operator//")):
            assert status_of(shop, "GET", wrong) == 404


FOREIGN = [
    "utm_source=a&utm_source=a",
    "fbclid=%ff",
    "=",
    "&&&",
    "a;b",
    "x=%zz",
    "&".join(f"a{n}=1" for n in range(300)),
]


@pytest.mark.parametrize("query", FOREIGN, ids=lambda query: query[:30])
def test_pages_for_people_ignore_foreign_parameters(shop: WebServer, query: str) -> None:
    """Other sites add parameters to a shared link."""
    client = logged_in(shop)
    reference = shop.created()["payment_request_id"]
    pages = [
        f"/pay/{reference}",
        f"/pay/{reference}/status",
        f"/pay/{reference}/qr.svg",
        "/docs",
        "/operator/money",
    ]
    pages += ["/", "/operator/payments.csv", f"/operator/payments/{reference}", "/operator/login"]
    for page in pages:
        expected = 303 if page == "/operator/login" else 200
        assert client.get(f"{page}?{query}").status == expected, page
    german = client.get(f"/pay/{reference}?{query}&lang=de").headers["Content-Language"]
    assert german == "de"


def test_the_api_refuses_unknown_parameters(shop: WebServer) -> None:
    """A program must notice its mistake."""
    for query in FOREIGN[:2]:
        assert shop.get(f"/api/v1/payments?{query}").status in (400, 422)


def test_the_location_of_a_new_request_has_the_public_path(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A proxy may serve Nodetill below a path of its own."""
    directory = tmp_path_factory.mktemp("below")
    url = f"sqlite:///{directory / 'nodetill.db'}"
    with open_shop(directory, url, {"PUBLIC_URL": "https://shop.example.com/pay/here"}) as below:
        first, again = (below.post("/api/v1/payments", BODY, {"Idempotency-Key": "1"}) for _ in range(2))
        reference = first.json["payment_request_id"]
        for reply in (first, again):
            assert reply.headers["location"] == f"/pay/here/api/v1/payments/{reference}"


def test_each_response_has_headers_against_other_sites(shop: WebServer) -> None:
    """No other site can frame, open or embed a page, and no page may use a device."""
    reference = shop.created()["payment_request_id"]
    targets = ["/", "/operator/login", "/docs", "/openapi.json", "/health", "/nowhere", "/metrics%ff"]
    targets += [f"/pay/{reference}", f"/pay/{reference}/status", "/pay/x", f"/api/v1/payments/{reference}"]
    for target in targets:
        headers = shop.get(target, {"Authorization": None}).headers
        assert headers["cross-origin-opener-policy"] == "same-origin", target
        assert headers["cross-origin-resource-policy"] == "same-origin", target
        assert headers["x-frame-options"] == "DENY", target
        assert "frame-ancestors 'none'" in headers["content-security-policy"], target
        assert "camera=()" in headers["permissions-policy"], target
    # A shop may show the code on a page of its own.
    code = shop.get(f"/pay/{reference}/qr.svg").headers
    assert code["cross-origin-resource-policy"] == "cross-origin"
