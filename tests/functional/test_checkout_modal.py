"""BTCPay's checkout in a frame of another site, in a real browser that blocks third-party cookies."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, FrameLocator, Page, expect

from tests.conftest import NewDatabase
from tests.support.checkout_scenes import DUE_SATS, change, create_in_scene
from tests.support.needs import cases
from tests.support.operator_client import PASSWORD
from tests.support.shop_site import ShopSite, page_without_third_party_cookies
from tests.support.web_server import WebServer, open_shop
from web.html.languages import languages

RECEIVED = {"status": "received", "received_sats": DUE_SATS, "due_sats": 0}
CONFIRMED = {**RECEIVED, "status": "confirmed"}
UNKNOWN = "PR-" + "A" * 22

# A shop's page, as the plug-ins write it. The plug-ins use different queries in the script's address.
SHOP_PAGE = """<!doctype html><title>Shop</title><button id="pay">Pay</button><a id="other" href="#x">x</a>
<script src="{script}"></script>
<script>
  window.log = [];
  btcpay.mine = "an own property";
  {prefix}
  btcpay.onModalWillEnter(() => log.push("enter"));
  btcpay.onModalWillLeave(() => log.push("leave"));
  btcpay.onModalReceiveMessage((event) => log.push([event.origin, event.data]));
  document.getElementById("pay").onclick = () => btcpay.showInvoice({arguments});
</script>"""


@pytest.fixture(scope="module")
def shop(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    directory = tmp_path_factory.mktemp("shop")
    settings = {"OPERATOR_PASSWORD": PASSWORD}
    with open_shop(directory, new_database(directory), settings, addresses=100) as opened:
        yield opened


@pytest.fixture(scope="module")
def site() -> Iterator[ShopSite]:
    with ShopSite() as opened:
        yield opened


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Yield a page that blocks third-party cookies. No page may set a cookie or have an error."""
    context = browser.new_context(locale="en-GB")
    opened = page_without_third_party_cookies(context)
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    cookies = context.cookies()
    context.close()
    assert cookies == []
    assert errors == []


def nodetill(shop: WebServer) -> str:
    return f"http://127.0.0.1:{shop.port}"


def open_shop_page(page: Page, site: ShopSite, shop: WebServer, arguments: str, prefix: str = "") -> None:
    script = f"{nodetill(shop)}/modal/btcpay.js?ver=2.8.0"
    site.pages["/"] = SHOP_PAGE.format(script=script, prefix=prefix, arguments=arguments)
    page.goto(site.origin)


def frame_of(page: Page) -> FrameLocator:
    return page.frame_locator("iframe[name=btcpay]")


def id_of(document: dict[str, Any]) -> str:
    return str(document["payment_request_id"])


def wait_for_log(page: Page, entry: str) -> None:
    page.wait_for_function(f"log.some((each) => JSON.stringify(each) === {entry!r})")


def test_a_shop_shows_the_checkout_in_a_frame(page: Page, site: ShopSite, shop: WebServer) -> None:
    """The frame appears after it has loaded, reports both names of each status, and has a close button."""
    document = create_in_scene(shop, "new")
    open_shop_page(page, site, shop, f'"{id_of(document)}"')
    page.get_by_role("button", name="Pay").click()
    frame = page.locator("iframe[name=btcpay]")
    expect(frame).to_be_visible()
    expect(frame_of(page).get_by_role("heading", level=1)).to_have_text("Waiting for your payment")
    assert frame.get_attribute("src") == f"{nodetill(shop)}/invoice?id={id_of(document)}&view=modal"
    size = page.viewport_size
    assert size is not None
    assert frame.bounding_box() == {"x": 0, "y": 0, "width": size["width"], "height": size["height"]}
    change(document, **RECEIVED)
    expect(frame_of(page).get_by_role("heading", level=1)).to_have_text("Payment received")
    change(document, **CONFIRMED)
    expect(frame_of(page).get_by_role("heading", level=1)).to_have_text("Payment confirmed")
    frame_of(page).get_by_role("button", name="Close").click()
    expect(frame).to_have_count(0)
    statuses = [
        [nodetill(shop), {"invoiceId": id_of(document), "status": status}]
        for status in ("Processing", "paid", "Settled", "complete")
    ]
    loaded, closed = [nodetill(shop), "loaded"], [nodetill(shop), "close"]
    assert page.evaluate("log") == ["enter", loaded, *statuses, "leave", closed]
    assert page.evaluate("btcpay.mine") == "an own property"
    expect(page.get_by_role("button", name="Pay")).to_be_focused()


@pytest.mark.parametrize(
    "arguments", ['"{id}", "BTC_CHAIN"', '"{id}", {{animateEntrance: false}}'], ids=["method", "parameters"]
)
def test_the_second_argument_is_a_method_or_parameters(
    page: Page, site: ShopSite, shop: WebServer, arguments: str
) -> None:
    """Two calls in a row show the frame twice. Escape closes it, as its button does."""
    document = create_in_scene(shop, "new")
    # Plug-ins set the server's address with a slash at its end.
    prefix = f'btcpay.setApiUrlPrefix("{nodetill(shop)}//");'
    open_shop_page(page, site, shop, arguments.format(id=id_of(document)), prefix)
    for _ in range(2):
        page.get_by_role("button", name="Pay").click()
        expect(frame_of(page).get_by_role("heading", level=1)).to_have_text("Waiting for your payment")
        frame_of(page).get_by_role("button", name="Copy amount").focus()
        page.keyboard.press("Escape")
        expect(page.locator("iframe")).to_have_count(0)
    page.evaluate(f'btcpay.showInvoice("{id_of(document)}"); btcpay.showInvoice("{id_of(document)}")')
    expect(page.locator("iframe")).to_have_count(1)
    expect(page.locator("iframe")).to_be_visible()


def test_an_expired_invoice_is_reported(page: Page, site: ShopSite, shop: WebServer) -> None:
    document = create_in_scene(shop, "new")
    open_shop_page(page, site, shop, f'"{id_of(document)}"')
    page.get_by_role("button", name="Pay").click()
    expect(page.locator("iframe")).to_be_visible()
    change(document, status="expired", closed_at=shop.now)
    expect(frame_of(page).get_by_role("heading", level=1)).to_have_text("Expired")
    statuses = page.evaluate("log.map((each) => each[1]?.status).filter(Boolean)")
    assert statuses == ["Expired", "expired"]


def test_an_unknown_invoice_can_be_closed(page: Page, site: ShopSite, shop: WebServer) -> None:
    """The frame shows the reason. Otherwise the shop's button would seem to do nothing."""
    open_shop_page(page, site, shop, f'"{UNKNOWN}"')
    page.get_by_role("button", name="Pay").click()
    expect(frame_of(page).get_by_role("heading", level=1)).to_have_text("There is no such payment")
    frame_of(page).get_by_role("button", name="Close").click()
    expect(page.locator("iframe")).to_have_count(0)


def test_the_language_changes_inside_the_frame(page: Page, site: ShopSite, shop: WebServer) -> None:
    """The page in the other language has the same invoice and the close button."""
    document = create_in_scene(shop, "new")
    open_shop_page(page, site, shop, f'"{id_of(document)}"')
    page.get_by_role("button", name="Pay").click()
    for code, name in (("de", "Schließen"), ("fr", "Fermer"), ("es", "Cerrar"), ("en", "Close")):
        frame_of(page).get_by_role("link", name=languages()[code].name, exact=True).click()
        expect(frame_of(page).get_by_role("button", name=name, exact=True)).to_be_visible()
    frame_of(page).get_by_role("button", name="Close").click()
    expect(page.locator("iframe")).to_have_count(0)


def test_the_return_link_leaves_the_frame(page: Page, site: ShopSite, shop: WebServer) -> None:
    """The link of the frame opens the shop's page in the whole window."""
    document = create_in_scene(shop, "confirmed", redirect_url=f"{site.origin}/thanks")
    open_shop_page(page, site, shop, f'"{id_of(document)}"')
    page.get_by_role("button", name="Pay").click()
    frame_of(page).get_by_role("link", name="Back to the shop").click()
    page.wait_for_url(f"{site.origin}/thanks")
    assert len(page.frames) == 1


def automatic(site: ShopSite, document: dict[str, Any]) -> None:
    url = f"{site.origin}/thanks?i={{InvoiceId}}&s={{Status}}"
    change(document, checkout={"redirectURL": url, "redirectAutomatically": True})


def test_after_the_payment_the_page_redirects_to_the_shop(
    page: Page, site: ShopSite, shop: WebServer
) -> None:
    """If the customer then goes back, the page does not redirect again."""
    document = create_in_scene(shop, "new")
    automatic(site, document)
    page.goto(f"{nodetill(shop)}/i/{id_of(document)}")
    change(document, **RECEIVED)
    expect(page.get_by_text("opens in a moment")).to_be_visible()
    page.wait_for_url(f"{site.origin}/thanks?i={id_of(document)}&s=Processing")
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Payment received")
    page.clock.install()
    page.clock.run_for(10_000)
    expect(page.get_by_role("heading", level=1)).to_have_text("Payment received")


def test_after_the_payment_a_frame_redirects_the_whole_window(
    page: Page, site: ShopSite, shop: WebServer
) -> None:
    """The shop's page is replaced. The browser may require a click in the frame before that."""
    document = create_in_scene(shop, "new")
    automatic(site, document)
    open_shop_page(page, site, shop, f'"{id_of(document)}"')
    page.get_by_role("button", name="Pay").click()
    change(document, **RECEIVED)
    expect(frame_of(page).get_by_text("opens in a moment")).to_be_visible()
    frame_of(page).get_by_role("heading", level=1).click()
    page.wait_for_url(f"{site.origin}/thanks?i={id_of(document)}&s=Processing")


def test_a_payment_that_is_gone_again_does_not_redirect(page: Page, site: ShopSite, shop: WebServer) -> None:
    document = create_in_scene(shop, "received")
    automatic(site, document)
    page.clock.install()
    page.goto(f"{nodetill(shop)}/i/{id_of(document)}")
    expect(page.get_by_text("opens in a moment")).to_be_visible()
    change(document, status="new", received_sats=0, due_sats=DUE_SATS)
    page.clock.run_for(2_000)
    expect(page.get_by_role("heading", level=1)).not_to_have_text("Payment received")
    page.clock.run_for(10_000)
    assert page.url == f"{nodetill(shop)}/i/{id_of(document)}"


@pytest.mark.broad
def test_without_javascript_the_page_redirects_too(site: ShopSite, shop: WebServer, browser: Browser) -> None:
    document = create_in_scene(shop, "confirmed")
    automatic(site, document)
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{nodetill(shop)}/i/{id_of(document)}")
    page.wait_for_url(f"{site.origin}/thanks?i={id_of(document)}&s=Settled")
    context.close()


def test_the_script_accepts_messages_only_from_its_own_server(
    page: Page, site: ShopSite, shop: WebServer
) -> None:
    """It opens only addresses of wallets, and a second load changes nothing."""
    document = create_in_scene(shop, "new")
    open_shop_page(page, site, shop, f'"{id_of(document)}"')
    page.get_by_role("button", name="Pay").click()
    expect(page.locator("iframe")).to_be_visible()
    page.evaluate("log.length = 0; window.postMessage('close', '*')")
    page.evaluate("window.postMessage({open: 'javascript:log.push(1)'}, '*')")
    frame = next(each for each in page.frames if each.name == "btcpay")
    for message in ("{open: 'javascript:log.push(1)'}", "{open: 'https://127.0.0.1/'}", "null", "{open: 1}"):
        frame.evaluate(f"window.parent.postMessage({message}, '*')")
    wait_for_log(page, f'["{nodetill(shop)}",{{"open":1}}]')
    expect(page.locator("iframe")).to_be_visible()
    assert page.evaluate("log.every((each) => each[0].startsWith('http://127'))")
    before = page.evaluate("window.first = btcpay; btcpay.mine")
    page.add_script_tag(url=f"{nodetill(shop)}/modal/btcpay.js")
    assert page.evaluate("btcpay === first")
    assert page.evaluate("btcpay.mine") == before


PATHS = ("/pay/{id}", "/operator/login", "/", "/operator/money", "/docs", "/invoices/{id}")


@pytest.mark.parametrize("path", cases(PATHS, PATHS[:2]))
def test_no_other_page_may_be_in_a_frame(page: Page, site: ShopSite, shop: WebServer, path: str) -> None:
    """Otherwise a shop could place such a page under its own buttons (clickjacking)."""
    document = create_in_scene(shop, "new")
    address = f"{nodetill(shop)}{path.format(id=id_of(document))}"
    site.pages["/"] = f'<iframe name="btcpay" src="{address}"></iframe>'
    page.goto(site.origin)
    expect(page.locator("iframe")).to_be_visible()
    frame = next(each for each in page.frames if each.name == "btcpay")
    frame.wait_for_load_state()
    assert frame.url.startswith("chrome-error://")


def test_the_script_works_in_an_operators_browser_too(browser: Browser, shop: WebServer) -> None:
    """Without a frame, the close button leads back to the previous page."""
    document = create_in_scene(shop, "new")
    context = browser.new_context(locale="en-GB")
    page = context.new_page()
    page.goto(f"{nodetill(shop)}/docs")
    page.goto(f"{nodetill(shop)}/i/{id_of(document)}?view=modal")
    page.get_by_role("button", name="Close").click()
    page.wait_for_url("**/docs")
    context.close()
