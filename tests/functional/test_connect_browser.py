"""A merchant connects a shop on another site in a real browser, by the steps of the plug-ins."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from models.api_key import ApiKey
from tests.conftest import NewDatabase
from tests.functional.test_checkout_browser import AA_CONTRAST, CONTRASTS, SCHEMES, WIDTHS
from tests.support.operator_client import PASSWORD
from tests.support.shop_site import Received, ShopSite
from tests.support.web_server import WebServer, open_shop

PERMISSIONS = ("canviewinvoices", "cancreateinvoice", "canviewstoresettings", "canmodifyinvoices")
REFUNDS = "cancreatenonapprovedpullpayments"
LONG = "Donaudampfschifffahrtsgesellschaftskapitänskajüte " * 4


@pytest.fixture(scope="module")
def shop(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    directory = tmp_path_factory.mktemp("shop")
    settings = {"OPERATOR_PASSWORD": PASSWORD}
    with open_shop(directory, new_database(directory), settings, addresses=0) as opened:
        yield opened


@pytest.fixture
def site() -> Iterator[ShopSite]:
    with ShopSite() as opened:
        yield opened


@pytest.fixture(scope="module")
def login(shop: WebServer, browser: Browser) -> Any:
    """Return the cookies of a browser in which the operator has logged in."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{shop.port}/operator/login")
    log_in(page)
    page.wait_for_url("**/")
    cookies = context.cookies()
    context.close()
    return cookies


def log_in(page: Page) -> None:
    page.get_by_label("Operator password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()


def address_of(shop: WebServer, site: ShopSite, *permissions: str, **parameters: str) -> str:
    """Return the address to which a plug-in sends the merchant."""
    pairs = [("permissions", f"btcpay.store.{each}") for each in permissions or PERMISSIONS]
    others = {"applicationName": "Alpaca Socks", "redirect": f"{site.origin}/connected?step=2", **parameters}
    return f"http://127.0.0.1:{shop.port}/api-keys/authorize?{urlencode([*pairs, *others.items()])}"


def come_from_shop(page: Page, site: ShopSite, address: str) -> None:
    """Follow the link on the shop's page, as the merchant does."""
    site.pages["/admin"] = f'<a href="{address.replace("&", "&amp;")}">Connect</a>'
    page.goto(f"{site.origin}/admin")
    page.get_by_role("link", name="Connect").click()


def check_sent(form: Received, seller: str = "company1") -> None:
    """Check that the shop has a key of this seller with the permissions that it asked for."""
    fields = dict(form.fields)
    assert form.path == "/connected?step=2"
    assert fields["apiKey"].startswith("nt_")
    assert [value for name, value in form.fields if name == "permissions[]"] == [
        f"btcpay.store.{each}:{seller}" for each in PERMISSIONS
    ]
    assert form.headers["content-type"] == "application/x-www-form-urlencoded"


@pytest.mark.parametrize("has_script", [True, False], ids=["with a script", "without one"])
def test_a_merchant_connects_a_shop(
    shop: WebServer, site: ShopSite, browser: Browser, has_script: bool
) -> None:
    """The login leads back to the page. The browser then sends the key to the shop, and opens its page."""
    context = browser.new_context(java_script_enabled=has_script)
    page = context.new_page()
    come_from_shop(page, site, address_of(shop, site, *PERMISSIONS, REFUNDS, strict="true"))
    log_in(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Connect a shop")
    expect(page.get_by_text("Alpaca Socks")).to_be_visible()
    expect(page.locator(".host")).to_have_text(site.origin.removeprefix("http://"))
    expect(page.get_by_text("Make refunds by hand")).to_be_visible()
    assert site.forms == []
    page.get_by_role("radio", name="company1").check()
    page.get_by_role("button", name="Approve and send the key").click()
    if not has_script:
        page.get_by_role("button", name="Send the key to localhost").click()
    page.wait_for_url(f"{site.origin}/connected?step=2")
    expect(page.get_by_text("connected")).to_be_visible()
    (form,) = site.forms
    check_sent(form)
    assert form.headers["origin"] == f"http://127.0.0.1:{shop.port}"
    assert form.headers.get("referer", "") in ("", f"http://127.0.0.1:{shop.port}/")
    context.close()


def test_an_operator_with_a_session_needs_no_second_login(
    shop: WebServer, site: ShopSite, browser: Browser, login: Any
) -> None:
    """The cookies are SameSite=Strict, and the shop is another site."""
    context = browser.new_context()
    context.add_cookies(login)
    page = context.new_page()
    come_from_shop(page, site, address_of(shop, site))
    expect(page.get_by_role("heading", level=1)).to_have_text("Connect a shop")
    page.get_by_text("A new seller", exact=True).click()
    page.get_by_label("Id of the new seller").fill("socks")
    page.get_by_role("button", name="Approve").click()
    page.wait_for_url(f"{site.origin}/connected?step=2")
    check_sent(site.forms[0], "socks")
    context.close()


def test_no_frame_of_a_shop_shows_the_page(
    shop: WebServer, site: ShopSite, browser: Browser, login: Any
) -> None:
    """Otherwise a shop could place the button under its own button (clickjacking)."""
    context = browser.new_context()
    context.add_cookies(login)
    page = context.new_page()
    address = address_of(shop, site).replace("&", "&amp;")
    site.pages["/"] = f'<iframe name="inner" src="{address}"></iframe>'
    page.goto(site.origin)
    frame = next(each for each in page.frames if each.name == "inner")
    frame.wait_for_load_state()
    assert frame.url.startswith("chrome-error://")
    context.close()


def test_a_form_of_a_shop_approves_nothing(
    shop: WebServer, site: ShopSite, browser: Browser, login: Any
) -> None:
    """Even if a shop guesses the form's fields, it has no cookies and no token."""
    context = browser.new_context()
    context.add_cookies(login)
    page = context.new_page()
    query = address_of(shop, site).partition("?")[2].replace("&", "&amp;")
    site.pages["/"] = f"""<form method="post" action="http://127.0.0.1:{shop.port}/api-keys/authorize">
        <input name="query" value="{query}"><input name="seller" value="company1">
        <input name="token" value="x"><button>Win</button></form>"""
    page.goto(site.origin)
    before = ApiKey.select().count()
    page.get_by_role("button", name="Win").click()
    page.wait_for_url(f"http://127.0.0.1:{shop.port}/")
    assert (ApiKey.select().count(), site.forms) == (before, [])
    context.close()


def open_pages(context: BrowserContext, shop: WebServer, site: ShopSite) -> Iterator[Page]:
    """Yield the page with long texts, with a bad address, and without an address."""
    for parameters in (
        {"applicationName": LONG, "redirect": f"http://{'a' * 60}.{'b' * 60}.localhost/{'x' * 300}"},
        {"redirect": "javascript:alert(1)"},
        {"redirect": "", "strict": "false"},
        {"redirect": "http://umbrel.local/"},
    ):
        page = context.new_page()
        page.goto(address_of(shop, site, *PERMISSIONS, REFUNDS, "x" * 200, **parameters))
        page.get_by_text("Connect the shop by hand instead").click()
        yield page
        page.close()


def test_the_page_is_readable_everywhere(
    shop: WebServer, site: ShopSite, browser: Browser, login: Any
) -> None:
    """Contrast, width and names of controls are as on the operator's other pages."""
    context = browser.new_context()
    context.add_cookies(login)
    for page in open_pages(context, shop, site):
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            weak = [each for each in page.evaluate(CONTRASTS) if each[1] < AA_CONTRAST]
            assert weak == []
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 740})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        expect(page.get_by_role("heading", level=1)).to_have_count(1)
        nameless = """[...document.querySelectorAll("a, button, input:not([type=hidden])")].filter((e) =>
            !(e.getAttribute("aria-label") ?? e.labels?.[0]?.textContent ?? e.textContent).trim()).length"""
        assert page.evaluate(nameless) == 0
    context.close()
