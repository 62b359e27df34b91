"""The operator's pages need the password, which cannot be guessed by trying."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from pathlib import Path

import pytest

from config import load_settings
from models.db.connection import disconnect
from models.db.schema import open_database
from models.operator_session import (
    MAX_PAUSE,
    LoginAttempt,
    OperatorSession,
    failed_logins,
    pause_after,
)
from tests.conftest import NewDatabase
from tests.support.operator_client import PASSWORD, OperatorClient, OperatorResponse
from tests.support.web_server import WebServer, open_shop, serving
from web.app import OPERATOR
from web.auth.cookies import SESSION_SECONDS

PAGES = ["/", "/operator/money", "/operator/payments.csv", "/operator/payments/PR-" + "x" * 22]


@pytest.fixture
def shop(tmp_path: Path, database_url: str) -> Iterator[WebServer]:
    """Serve a web server with a password, on each kind of database."""
    with open_shop(tmp_path, database_url, {"OPERATOR_PASSWORD": PASSWORD}) as opened:
        yield opened


@pytest.fixture
def client(shop: WebServer) -> OperatorClient:
    """Return a client without cookies."""
    return OperatorClient(shop)


def test_without_a_password_the_operators_pages_are_404(new_database: NewDatabase, tmp_path: Path) -> None:
    """The login page is 404, too."""
    with open_shop(tmp_path, new_database(tmp_path)) as shop:
        client = OperatorClient(shop)
        for method, path, _access, _handler in OPERATOR:
            assert client.call(method, path.replace("<", "").replace(">", "")).status == 404, path
        assert client.cookies == {}


def test_without_a_password_the_first_page_names_the_setting_on_this_machine(
    new_database: NewDatabase, tmp_path: Path
) -> None:
    """From elsewhere it reveals nothing."""
    with open_shop(tmp_path, new_database(tmp_path)) as shop:
        client = OperatorClient(shop)
        page = client.get("/")
        assert page.status == 200
        for words in ("Nodetill runs", "OPERATOR_PASSWORD", "/docs", "/health"):
            assert words in page.words
        assert_neutral(client.get("/", **{"X-Forwarded-For": "203.0.113.7"}))
        assert client.cookies == {}


def test_a_visitor_of_the_first_page_meets_no_password(client: OperatorClient) -> None:
    """A customer may shorten the address of a payment. The operator finds a link to the login."""
    page = client.get("/")
    assert_neutral(page)
    assert '<a href="operator/login">Operator login</a>' in page.text
    assert 'http-equiv="refresh"' not in page.text
    # The browser withholds the cookies after a click on a link in webmail, and sends them after a reload.
    assert 'http-equiv="refresh"' in client.get("/", **{"Sec-Fetch-Site": "cross-site"}).text


def assert_neutral(page: OperatorResponse) -> None:
    assert page.status == 200
    assert "To pay, open the link that the shop gave you." in page.words
    for words in ("password", "PASSWORD", "Nodetill runs", "/docs"):
        assert words not in page.words


def test_a_page_redirects_to_the_login_and_back(client: OperatorClient) -> None:
    """It shows nothing before the login."""
    for path in PAGES:
        client.cookies.pop("nodetill-session", None)
        target = f"{path}?days=7&q=%C3%A9"
        refused = client.get(target)
        assert (refused.status, refused.body) == (303, b"")
        form = client.get(refused.leads_to)
        assert form.status == 200
        to = unescape(form.text.partition('name="to" value="')[2].partition('"')[0])
        assert client.log_in(to=to).leads_to == target


def test_a_typed_operator_leads_to_the_login_and_to_the_first_page(client: OperatorClient) -> None:
    """A person may add a slash."""
    assert client.log_in(to=client.get("/operator").leads_to.partition("?to=")[2]).leads_to == "/"
    assert client.get("/operator").leads_to == "/"
    assert client.get("/operator/").leads_to == "/operator"


def test_each_operator_route_redirects_a_stranger_to_the_login(client: OperatorClient) -> None:
    """Only the login page itself is open."""
    for method, path, _access, _handler in OPERATOR:
        if path == "/operator/login":
            continue
        page = client.call(method, path.replace("<", "").replace(">", ""), "x=x")
        assert (page.status, page.body) == (303, b""), path
        assert page.leads_to.startswith("/operator/login")


def test_the_cookies_are_hidden_from_scripts_and_other_sites(client: OperatorClient) -> None:
    """They are HttpOnly, SameSite=Strict, and expire."""
    entered = client.log_in()
    assert entered.status == 303
    lines = entered.headers.get_all("Set-Cookie", [])
    assert len(lines) == 2
    for line in lines:
        attributes = {part.strip() for part in line.split(";")[1:]}
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} < attributes
        assert "Secure" not in attributes
    assert f"Max-Age={SESSION_SECONDS}" in lines[0]
    assert client.get("/operator/money").status == 200


def test_behind_tls_the_cookies_are_secure(new_database: NewDatabase, tmp_path: Path) -> None:
    """Their names bind them to this host."""
    settings = {"OPERATOR_PASSWORD": PASSWORD, "PUBLIC_URL": "https://pay.example.com"}
    with open_shop(tmp_path, new_database(tmp_path), settings) as shop:
        client = OperatorClient(shop)
        lines = client.log_in().headers.get_all("Set-Cookie", [])
        assert all(line.startswith("__Host-nodetill-") and line.endswith("; Secure") for line in lines)
        assert client.get("/operator/money").status == 200


def test_a_forged_or_changed_cookie_is_ignored(client: OperatorClient) -> None:
    client.log_in()
    good = client.cookies["nodetill-session"]
    name, _, seal = good.partition(".")
    browser = client.cookies["nodetill-browser"]
    for value in (
        f"{name}.{'0' * 64}",
        f"{name[:-1]}_.{seal}",
        f"{name}.{seal.upper()}",
        browser,
        name,
        "",
        "." * 500,
        '"',
        "é",
    ):
        client.cookies["nodetill-session"] = value.encode().decode("latin-1")
        assert client.get("/operator/money").status == 303, value
    client.cookies["nodetill-session"] = good
    assert client.get("/operator/money").status == 200


def test_a_session_expires(shop: WebServer, client: OperatorClient) -> None:
    """The server's clock decides, whatever the browser keeps. The next login deletes its row."""
    client.log_in()
    shop.wait(seconds=SESSION_SECONDS - 1)
    assert client.get("/operator/money").status == 200
    shop.wait(seconds=1)
    assert client.get("/operator/money").status == 303
    client.log_in()
    assert OperatorSession.select().count() == 1


def test_a_logout_ends_the_session_for_copies_of_the_cookie(client: OperatorClient) -> None:
    """Another browser's session lasts."""
    client.log_in()
    other = OperatorClient(client.shop)
    other.log_in()
    copied = dict(client.cookies)
    left = client.post("/operator/logout")
    assert left.leads_to == "/operator/login"
    assert "nodetill-session" not in client.cookies
    client.cookies = copied
    assert client.get("/operator/money").status == 303
    assert other.get("/operator/money").status == 200


def test_sessions_survive_a_restart_but_not_a_new_password(tmp_path: Path, database_url: str) -> None:
    with open_shop(tmp_path, database_url, {"OPERATOR_PASSWORD": PASSWORD}) as shop:
        client = OperatorClient(shop)
        client.log_in()
        port = shop.port
    for password, status in ((PASSWORD, 200), ("another", 303)):
        settings = {"DATABASE_URL": database_url, "OPERATOR_PASSWORD": password}
        open_database(database_url)
        with serving(load_settings(settings, tmp_path)) as shop:
            assert shop.port != port
            client.shop = shop
            assert client.get("/operator/money").status == status
        disconnect()


def test_no_page_may_be_cached_or_load_foreign_content(client: OperatorClient) -> None:
    """This holds for pages, exports and redirections."""
    client.log_in()
    for path in ("/", "/operator/money", "/operator/payments.csv", "/operator/login"):
        page = client.get(path)
        assert page.status == (303 if path == "/operator/login" else 200)
        assert page.headers["Cache-Control"] == "no-store"
        policy = str(page.headers["Content-Security-Policy"])
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy


# Forms


OUR_FORMS: list[dict[str, str]] = [
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "null"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "http://pay.example.com", "Host": "pay.example.com"},
    {"Origin": "http://127.0.0.1:8080"},
    {"User-Agent": "curl/8.0"},
    {},
]
FOREIGN_FORMS: list[dict[str, str]] = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "odd"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://pay.example.com", "Host": "pay.example.com"},
    {"Origin": "http://evil.example"},
    {"Origin": "http://evil.example", "Host": "pay.example.com"},
    {"Origin": "http://pay.example.com.evil.example", "Host": "pay.example.com"},
    {"Origin": "http://pay.example.com:81", "Host": "pay.example.com"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://[", "Host": "pay.example.com"},
    {"Origin": "null", "Host": "null"},
    {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:52.0) Gecko/20100101 Firefox/52.0"},
    {"User-Agent": "Opera/9.80 (X11; Linux i686) Presto/2.12.388 Version/12.16"},
]


def post_form(client: OperatorClient, headers: dict[str, str], path: str, body: str) -> int:
    """Post a form with only these headers and the client's cookies, and return the status."""
    cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    sent = {"Authorization": None, "Cookie": cookies or None, **headers}
    return client.shop.post(path, body.encode(), sent).status


@pytest.mark.parametrize("headers", FOREIGN_FORMS, ids=repr)
def test_a_form_of_another_site_is_refused(client: OperatorClient, headers: dict[str, str]) -> None:
    """Another site's form, or an old browser's form without an origin, is 403 and changes nothing."""
    client.log_in()
    assert post_form(client, headers, "/operator/logout", "") == 403
    assert client.get("/operator/money").status == 200
    assert post_form(client, headers, "/operator/login", f"password={PASSWORD}") == 403
    assert LoginAttempt.select().count() == 0


@pytest.mark.parametrize("headers", OUR_FORMS, ids=repr)
def test_a_form_of_our_own_is_accepted(client: OperatorClient, headers: dict[str, str]) -> None:
    """The browser's headers decide. A program that is no browser sends only its own cookies."""
    client.log_in()
    assert post_form(client, headers, "/operator/logout", "") == 303
    assert client.get("/operator/money").status == 303


def test_a_browser_sends_its_origin_with_our_forms(client: OperatorClient) -> None:
    """With the policy no-referrer a browser sends Origin: null, and is refused."""
    for page in (client.get("/operator/login"), client.log_in("wrong")):
        assert page.headers["Referrer-Policy"] == "same-origin"


def test_a_form_needs_the_session(client: OperatorClient) -> None:
    """A right origin alone is not enough."""
    client.log_in()
    stranger = OperatorClient(client.shop)
    assert stranger.post("/operator/logout").leads_to == "/operator/login"
    assert client.get("/operator/money").status == 200


def test_an_unreadable_form_is_refused_with_a_page(client: OperatorClient) -> None:
    for body, status in (
        ("%ff=1", 400),
        ("x=%ed%a0%80", 400),
        ("a=1&a=2", 422),
        ("&".join(f"a{n}=1" for n in range(300)), 400),
        ("a=" + "b" * 17_000, 413),
    ):
        page = client.call("POST", "/operator/login", body)
        assert page.status == status
        assert page.headers["Content-Type"].startswith("text/html")


def test_the_login_redirects_to_no_other_site(client: OperatorClient) -> None:
    """Any other target is replaced by the first page."""
    for to in (
        "//evil.example",
        "https://evil.example",
        "\\\\evil.example",
        "operator/../../x",
        "operator//x",
        "\r\nX: y",
    ):
        client.cookies.pop("nodetill-session", None)
        assert client.log_in(to=to).leads_to == "/", to


def test_a_link_from_another_site_works_after_a_reload(client: OperatorClient) -> None:
    """A browser sends no SameSite=Strict cookie with such a link, so the page reloads itself once."""
    page = client.call("GET", "/operator/login?to=operator/money", headers={"Sec-Fetch-Site": "cross-site"})
    assert '<meta http-equiv="refresh" content="0">' in page.text
    page = client.call("GET", "/operator/login?to=operator/money", headers={"Sec-Fetch-Site": "same-origin"})
    assert "refresh" not in page.text
    client.log_in()
    assert client.get("/operator/login?to=operator/money").leads_to == "/operator/money"


# Wrong passwords


def test_a_wrong_password_is_refused_with_a_message(client: OperatorClient) -> None:
    """It is 403 with the form. The right one is accepted a second later."""
    page = client.log_in("open barley")
    assert page.status == 403
    assert "The password is wrong." in page.words
    assert "open barley" not in page.text
    client.shop.wait(seconds=1)
    assert client.log_in().status == 303


def test_pauses_grow_up_to_a_limit(client: OperatorClient) -> None:
    """They are 1, 2, 4, 8, 16 and then 30 seconds. During a pause even the right password is refused."""
    seconds = [pause_after(failures).seconds for failures in (1, 2, 3, 4, 5, 6, 7, 10_000)]
    assert seconds == [1, 2, 4, 8, 16, 30, 30, 30]
    for pause in seconds:
        assert client.log_in("wrong").status == 403
        client.shop.wait(seconds=pause - 0.5)
        early = client.log_in()
        assert (early.status, early.headers["Retry-After"]) == (429, "1")
        assert "Wait 1 second," in early.words
        client.shop.wait(seconds=0.5)
    assert client.log_in().status == 303
    assert LoginAttempt.select().count() == 0


def test_a_pause_holds_for_all_browsers_of_an_address(client: OperatorClient) -> None:
    client.log_in("wrong")
    assert OperatorClient(client.shop).log_in().status == 429


def test_of_several_tries_at_once_one_is_checked(shop: WebServer) -> None:
    """The number of threads does not matter."""
    clients = [OperatorClient(shop) for _ in range(8)]
    together = threading.Barrier(len(clients))
    statuses = []

    def guess(client: OperatorClient) -> None:
        together.wait(10)
        statuses.append(client.post("/operator/login", password="guess").status)

    threads = [threading.Thread(target=guess, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [403] + [429] * 7


def test_guesses_do_not_delay_a_browser_that_has_logged_in_before(client: OperatorClient) -> None:
    """Such a browser has a pause of its own."""
    client.log_in()
    client.post("/operator/logout")
    assert OperatorClient(client.shop).log_in("guess").status == 403
    assert client.log_in().status == 303
    client.post("/operator/logout")
    assert [client.log_in("wrong").status, client.log_in().status] == [403, 429]


def via_proxy(shop: WebServer, forwarded_for: str) -> OperatorClient:
    """Return a client behind a proxy on this machine, which reports its address."""
    return OperatorClient(shop, headers={"X-Forwarded-For": forwarded_for})


def test_guesses_do_not_delay_other_addresses(client: OperatorClient) -> None:
    """The operator may use another address through the proxy, or SSH."""
    guesser = via_proxy(client.shop, "203.0.113.7")
    for pause in (1, 2, 4, 8, 16, 30, 30):
        assert [guesser.log_in("guess").status, guesser.log_in().status] == [403, 429]
        assert via_proxy(client.shop, "198.51.100.1").log_in().status == 303
        assert OperatorClient(client.shop).log_in().status == 303
        client.shop.wait(seconds=pause)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("203.0.113.7", "198.51.100.1, 203.0.113.7"),
        ("203.0.113.7", "203.0.113.7:4711"),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2"),
        ("2001:db8:0:1::1", "[2001:db8:0:1::9]:443"),
        ("203.0.113.7", "::ffff:203.0.113.7"),
        ("nonsense", "127.0.0.1"),
    ],
)
def test_spellings_of_one_client_share_a_pause(shop: WebServer, first: str, second: str) -> None:
    """Only the proxy's own hop counts. An IPv6 client has a whole network."""
    assert via_proxy(shop, first).log_in("guess").status == 403
    assert via_proxy(shop, second).log_in().status == 429


def test_invented_addresses_do_not_avoid_the_pause(
    client: OperatorClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client of a TCP forwarder chooses the header. A browser that has logged in before does not wait."""
    monkeypatch.setattr("models.operator_session.MAX_CLIENTS_A_MINUTE", 20)
    assert client.log_in().status == 303
    statuses = [via_proxy(client.shop, f"203.0.113.{n}").log_in("guess").status for n in range(30)]
    assert statuses == [403] * 20 + [429] * 10
    client.cookies.pop("nodetill-session")
    client.headers["X-Forwarded-For"] = "198.51.100.1"
    assert client.log_in().status == 303
    client.shop.wait(minutes=1, seconds=1)
    assert via_proxy(client.shop, "203.0.113.99").log_in().status == 303


def test_wrong_passwords_are_listed_after_the_login(client: OperatorClient) -> None:
    """They have their addresses until the login after the next. The log has them, too."""
    for address in ("203.0.113.7", "203.0.113.7", "198.51.100.1"):
        via_proxy(client.shop, f"10.0.0.1, {address}").log_in("guess")
        client.shop.wait(minutes=1)
    client.log_in()
    page = client.get("/")
    assert "3 wrong passwords since your previous login" in page.words
    assert "203.0.113.7: 2, the last at" in page.words
    assert "198.51.100.1: 1, the last at" in page.words
    assert "10.0.0.1" not in page.words
    via_proxy(client.shop, "192.0.2.1").log_in("guess")
    assert "192.0.2.1: 1" in client.get("/").words
    del client.cookies["nodetill-session"]
    client.log_in()
    words = client.get("/").words
    assert "192.0.2.1: 1" in words
    assert "203.0.113.7" not in words
    del client.cookies["nodetill-session"]
    client.log_in()
    assert "Failed logins" not in client.get("/").words


def test_the_list_of_wrong_passwords_is_limited(shop: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.operator_session.MAX_LISTED_ADDRESSES", 3)
    for number in range(6):
        via_proxy(shop, f"203.0.113.{number}").log_in("guess")
    tries = {each.address: each.tries for each in failed_logins()}
    assert len(tries) == 4
    assert tries["other addresses"] == 3


def test_a_wrong_password_is_logged_with_the_client_s_address(
    shop: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy's address is the same for all clients."""
    lines: list[dict[str, object]] = []

    class Log:
        def warning(self, event: str, **fields: object) -> None:
            lines.append({"event": event, **fields})

    monkeypatch.setattr("web.auth.access.log", Log())
    via_proxy(shop, "203.0.113.7").log_in("guess")
    assert lines == [{"event": "operator not let in", "reason": "wrong password", "address": "203.0.113.7"}]


def test_the_operator_can_log_out_everywhere(client: OperatorClient) -> None:
    """One button ends all sessions."""
    other = OperatorClient(client.shop)
    other.log_in()
    client.log_in()
    page = client.get("/")
    assert "Log out everywhere" in page.words
    away = {"Origin": "https://elsewhere.example"}
    assert client.call("POST", "/operator/logout/everywhere", "", away).status == 403
    assert other.get("/operator/money").status == 200
    left = client.post("/operator/logout/everywhere")
    assert left.leads_to == "/operator/login"
    assert "nodetill-session" not in client.cookies
    assert [client.get("/operator/money").status, other.get("/operator/money").status] == [303, 303]


def test_a_pause_from_a_wrong_clock_is_ignored(client: OperatorClient) -> None:
    """The clock was a day ahead at the wrong password, and nobody should wait for a day."""
    client.shop.wait(days=1)
    client.log_in("wrong")
    client.shop.wait(days=-1)
    assert client.log_in().status == 303


def test_wrong_passwords_are_forgotten_after_an_hour(client: OperatorClient) -> None:
    for _ in range(6):
        client.log_in("wrong")
        client.shop.wait(seconds=MAX_PAUSE.seconds)
    client.shop.wait(hours=1, seconds=1)
    client.log_in("wrong")
    row = LoginAttempt.get()
    assert (row.failures, row.next_at - client.shop.now) == (1, timedelta(seconds=1))
