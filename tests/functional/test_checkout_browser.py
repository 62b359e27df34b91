"""The checkout page in a real browser: contrast, width, keyboard, screen reader, script and print."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from models.seller import Seller
from tests.conftest import NewDatabase
from tests.support.checkout_scenes import DUE_SATS, SCENES, change, create_in_scene
from tests.support.needs import cases
from tests.support.web_server import WebServer, open_shop, stored
from web.html.languages import languages

OpenPage = Callable[..., Page]
LONG_LABEL = "Donaudampfschifffahrtsgesellschaftskapitänskajüte 123456789012345678901234567890"
AA_CONTRAST = 4.5
WIDTHS = (320, 360, 768, 1280)
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")

# WCAG 2.2, "contrast ratio" and "relative luminance".
CONTRASTS = """() => {
  const channel = (c) => (c /= 255) <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
  const numbers = (color) => color.match(/[0-9.]+/g).map(Number);
  const luminance = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const color = numbers(getComputedStyle(each).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    const [dark, light] = [numbers(getComputedStyle(element).color), ground(element)].map(luminance).sort();
    found.push([walker.currentNode.data.trim(), (light + .05) / (dark + .05)]);
  }
  return found;
}"""

# The visible elements that reach out of the card.
OUTSIDE = """() => {
  const card = document.querySelector("main").getBoundingClientRect();
  return [...document.querySelectorAll("main *")].filter((each) => {
    const box = each.getBoundingClientRect();
    return each.checkVisibility() && (box.right > card.right + .5 || box.left < card.left - .5);
  }).map((each) => each.outerHTML);
}"""


@pytest.fixture(scope="module")
def shop(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """Yield a web server with addresses for many requests."""
    directory = tmp_path_factory.mktemp("shop")
    with open_shop(directory, new_database(directory), addresses=200) as opened:
        Seller.update(name="Alpaca Direct", support="help@alpaca.example").execute()
        yield opened


@pytest.fixture
def open_page(shop: WebServer, browser: Browser) -> Iterator[OpenPage]:
    """Yield a function that opens a request's page in a browser with these properties.

    At the end, no page may have had a fault.
    """
    faults: list[str] = []
    contexts = []

    def open_it(document: dict[str, Any], query: str = "", **properties: Any) -> Page:
        contexts.append(browser.new_context(**{"locale": "en-GB", **properties}))
        page: Page = contexts[-1].new_page()
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"http://127.0.0.1:{shop.port}/pay/{document['payment_request_id']}{query}")
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert faults == []


def create_staged(shop: WebServer, scene: str, label: str = "Alpaca Direct") -> dict[str, Any]:
    """Create a request whose order has the same text as its label."""
    fields = {"label": label, "order_id": label, "redirect_url": "https://shop.example/thanks"}
    return create_in_scene(shop, scene, **fields)


@pytest.mark.parametrize("scene", cases(SCENES, ("new", "confirming", "late")))
def test_all_text_has_enough_contrast(shop: WebServer, open_page: OpenPage, scene: str) -> None:
    """WCAG AA requires 4.5 to 1, in light and in dark."""
    page = open_page(create_staged(shop, scene))
    grounds = set()
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        contrasts = page.evaluate(CONTRASTS)
        assert len(contrasts) > 8
        assert [(text, ratio) for text, ratio in contrasts if ratio < AA_CONTRAST] == []
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2


@pytest.mark.parametrize("scene", cases(SCENES, ("new", "confirming", "late")))
def test_nothing_on_the_page_is_cut_off(shop: WebServer, open_page: OpenPage, scene: str) -> None:
    """The test uses all widths from a small phone to a desktop, all languages, and a very long word."""
    page = open_page(create_staged(shop, scene, LONG_LABEL))
    for code in languages():
        page.goto(f"{page.url.partition('?')[0]}?lang={code}")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 740})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate(OUTSIDE) == []


@pytest.mark.parametrize("scene", cases(SCENES, ("new", "confirming", "late")))
def test_a_screen_reader_can_use_the_page(shop: WebServer, open_page: OpenPage, scene: str) -> None:
    """The page has one headline, a live region for changes, and a name for each link, button and image."""
    page = open_page(create_staged(shop, scene))
    expect(page.get_by_role("main")).to_have_count(1)
    expect(page.get_by_role("heading", level=1)).to_have_count(1)
    news = page.locator("[aria-live=polite]").first
    expect(news.get_by_role("heading", level=1)).to_be_visible()
    expect(page.get_by_role("navigation", name="Language")).to_be_visible()
    nameless = """[...document.querySelectorAll("a, button, img")].filter((e) =>
        !(e.getAttribute("aria-label") ?? e.getAttribute("alt") ?? e.textContent).trim()).length"""
    assert page.evaluate(nameless) == 0
    assert page.evaluate("document.querySelectorAll('[lang=de], html[lang]').length") == 2
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))


def test_a_keyboard_reaches_all_controls(shop: WebServer, open_page: OpenPage) -> None:
    """The order is that of the text. Enter copies."""
    page = open_page(create_staged(shop, "new"), permissions=["clipboard-read", "clipboard-write"])
    reached = []
    for _ in range(6):
        page.keyboard.press("Tab")
        named = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent"
        reached.append(page.evaluate(named))
    back = "Pay another way: back to the shop"
    last = ["Copy address", back, "Copy payment number", "English"]
    assert reached == ["Copy amount", "Open in wallet", *last]
    for _ in last[1:]:
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Copy address")).to_have_text("Copied")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


@pytest.mark.parametrize("is_secure", [True, False], ids=["with TLS or on localhost", "without TLS"])
def test_copied_text_fits_a_wallet(shop: WebServer, open_page: OpenPage, is_secure: bool) -> None:
    """The text is the bare amount or address. A live region announces the copy."""
    document = create_staged(shop, "new")
    permissions = ["clipboard-read", "clipboard-write"]
    page = open_page(document, permissions=permissions)
    if not is_secure:
        page.add_init_script("navigator.clipboard.writeText = () => Promise.reject()")
        page.reload()
    for name, copied in (
        ("Copy amount", document["amount_btc"]),
        ("Copy address", document["address"]),
        ("Copy payment number", document["payment_request_id"]),
    ):
        button = page.get_by_role("button", name=name)
        expect(button).to_have_text("Copy")
        button.click()
        expect(button).to_have_text("Copied")
        expect(page.locator("#said")).to_have_text("Copied")
        assert page.evaluate("navigator.clipboard.readText()") == copied
        expect(button).to_have_text("Copy")


def test_the_page_changes_without_a_reload(shop: WebServer, open_page: OpenPage) -> None:
    """The focus moves from a button that is gone to the headline, not to the top of the page."""
    document = create_staged(shop, "new")
    page = open_page(document, "?lang=de")
    page.evaluate("window.isTheSamePage = true")
    page.get_by_role("button", name="Betrag kopieren").focus()
    change(document, status="received", received_sats=DUE_SATS, due_sats=0)
    expect(page.get_by_role("heading", level=1)).to_have_text("Zahlung eingegangen")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    expect(page).to_have_title("Zahlung eingegangen · 0.00222402\xa0BTC")
    expect(page.get_by_role("button")).to_have_count(1)
    expect(page.get_by_role("button", name="Zahlungsnummer kopieren")).to_be_visible()
    assert page.evaluate("window.isTheSamePage")


@pytest.mark.parametrize(("scene", "is_requesting"), [("confirmed", False), ("confirming", True)])
def test_a_confirmed_page_sends_no_requests(
    shop: WebServer, open_page: OpenPage, scene: str, is_requesting: bool
) -> None:
    """Any other page sends requests for its status."""
    page = open_page(create_staged(shop, scene))
    page.clock.install()
    page.reload()
    requested: list[str] = []

    def note(request: Request) -> None:
        requested.append(request.url)

    page.on("request", note)
    page.clock.run_for(60_000)
    assert any("/pay/" in url for url in requested) is is_requesting


def test_a_hidden_page_is_up_to_date_when_it_is_visible_again(shop: WebServer, open_page: OpenPage) -> None:
    """A page in the background sends few requests."""
    document = create_staged(shop, "new")
    page = open_page(document)
    hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true})"
    page.evaluate(hide % "true")
    with page.expect_response("**/status"):
        pass
    change(document, status="received", received_sats=DUE_SATS, due_sats=0)
    page.evaluate(f"{hide % 'false'}; document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.get_by_role("heading", level=1)).to_have_text("Payment received")


def test_a_page_without_connection_shows_it_and_recovers(shop: WebServer, browser: Browser) -> None:
    """After the connection is back, the page shows the new status."""
    document = create_staged(shop, "new")
    context = browser.new_context(locale="en")
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{shop.port}/pay/{document['payment_request_id']}")
    context.set_offline(True)
    expect(page.get_by_text("No connection")).to_be_visible(timeout=20_000)
    change(document, status="received", received_sats=DUE_SATS, due_sats=0)
    context.set_offline(False)
    expect(page.get_by_role("heading", level=1)).to_have_text("Payment received", timeout=20_000)
    expect(page.get_by_text("No connection")).to_have_count(0)
    context.close()


def test_the_page_works_without_a_script(shop: WebServer, open_page: OpenPage) -> None:
    """Only the copy buttons are missing. The page reloads by itself."""
    document = create_staged(shop, "new")
    page = open_page(document, java_script_enabled=False)
    # Playwright finds no text in <noscript>.
    expect(page.locator("footer noscript p")).to_be_visible()
    expect(page.get_by_role("link", name="Open in wallet")).to_be_visible()
    expect(page.get_by_role("img", name="QR code")).to_be_visible()
    expect(page.get_by_role("button")).to_have_count(0)
    change(document, status="received", received_sats=DUE_SATS, due_sats=0)
    expect(page.get_by_role("heading", level=1)).to_have_text("Payment received", timeout=30_000)


def test_the_page_loads_nothing_from_others(shop: WebServer, open_page: OpenPage) -> None:
    """No third party receives a request from the customer's browser."""
    document = create_staged(shop, "new")
    page = open_page(document)
    loaded = page.evaluate("performance.getEntriesByType('resource').map((each) => each.name)")
    assert loaded
    assert all(url.startswith(f"http://127.0.0.1:{shop.port}/") for url in loaded)
    assert page.evaluate("document.querySelector('.qr').naturalWidth") > 0
    assert page.evaluate("document.fonts.size") == 0


# Each page at a large text, on paper, and on a wide screen


@pytest.mark.parametrize("scene", cases(SCENES, ("new", "confirming", "late")))
def test_text_of_double_size_fits(shop: WebServer, open_page: OpenPage, scene: str) -> None:
    """Nothing reaches out of the card of a small phone, and the copy button is below the address."""
    page = open_page(create_staged(shop, scene, LONG_LABEL))
    for code in languages():
        page.goto(f"{page.url.partition('?')[0]}?lang={code}")
        page.evaluate("document.documentElement.style.fontSize = '200%'")
        for details in page.locator("details").all():
            details.locator("summary").click()
        for width in (320, 360):
            page.set_viewport_size({"width": width, "height": 740})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate(OUTSIDE) == []
            for row in page.locator(".to").all():
                address, button = row.locator(".address").bounding_box(), row.locator("button").bounding_box()
                assert address is not None
                assert button is not None
                assert button["y"] >= address["y"] + address["height"]
                assert address["width"] > width / 2


def test_the_qr_code_comes_first_on_a_wide_screen(shop: WebServer, open_page: OpenPage) -> None:
    """A click may find no wallet on a desktop. On a phone, the wallet's button is filled."""
    page = open_page(create_staged(shop, "new"), viewport={"width": 360, "height": 740})
    wallet = page.get_by_role("link", name="Open in wallet")
    background = "(element) => getComputedStyle(element).backgroundColor"
    assert wallet.evaluate(background) == "rgb(21, 94, 72)"
    page.set_viewport_size({"width": 1280, "height": 740})
    assert wallet.evaluate(background) == "rgba(0, 0, 0, 0)"
    code, button = page.locator(".qr").bounding_box(), wallet.bounding_box()
    assert code is not None
    assert button is not None
    assert code["x"] + code["width"] < button["x"]
    assert code["y"] < button["y"]
    assert code["height"] > 4 * button["height"]


def test_a_printed_receipt_is_complete_and_has_no_button(shop: WebServer, open_page: OpenPage) -> None:
    """The print has the full txid, the full address and the support. The screen has none of them."""
    document = create_staged(shop, "confirmed")
    change(document, confirmed_at=shop.now)
    page = open_page(document)
    txid = str(stored(document).txid)
    texts = (txid, document["address"], "help@alpaca.example")
    whole = [page.get_by_text(text, exact=True) for text in texts]
    for each in whole:
        expect(each).to_be_hidden()
    page.emulate_media(media="print")
    for each in whole:
        expect(each).to_be_visible()
    expect(page.get_by_text("2026-11-23 12:00 UTC")).to_be_visible()
    expect(page.get_by_text("Price of 1 BTC")).to_be_visible()
    expect(page.locator("button, a").locator("visible=true")).to_have_count(0)


# A dropped transaction, the time, and a lost connection


@pytest.mark.parametrize("has_script", [True, False], ids=["with a script", "without a script"])
def test_paying_again_after_a_drop_needs_a_click(
    shop: WebServer, open_page: OpenPage, has_script: bool
) -> None:
    """The QR code, the amount and the wallet's button appear only after a click on the summary."""
    page = open_page(create_staged(shop, "dropped"), java_script_enabled=has_script)
    hidden = [page.locator(".qr"), page.locator(".amount"), page.locator(".open a"), page.locator("#clock")]
    for each in hidden:
        expect(each).to_be_hidden()
    expect(page.get_by_role("link", name="Look it up in a block explorer")).to_be_visible()
    page.get_by_text("I have cancelled the old transaction: pay again").click()
    for each in hidden:
        expect(each).to_be_visible()
    expect(page.get_by_role("link", name="Keep this part open")).to_have_count(0 if has_script else 1)


def test_an_open_part_stays_open_when_the_page_changes(shop: WebServer, open_page: OpenPage) -> None:
    """The script renews the part, and does not close it."""
    document = create_staged(shop, "dropped")
    page = open_page(document)
    page.locator("summary").click()
    change(document, due_sats=DUE_SATS - 5)
    expect(page.locator(".amount")).to_contain_text("0.00222397")
    expect(page.locator(".qr")).to_be_visible()


def test_the_last_minute_is_announced_once(shop: WebServer, open_page: OpenPage) -> None:
    """A polite live region announces the minute. The timer itself has a name and is silent."""
    document = create_staged(shop, "new")
    page = open_page(document)
    timer = page.get_by_role("timer", name="Time left")
    expect(timer).to_have_attribute("aria-live", "off")
    page.route("**/status", lambda route: route.fulfill(status=304))
    page.clock.install()
    page.reload()
    page.evaluate(
        """window.said = [];
        const region = document.getElementById("said");
        new MutationObserver(() => region.textContent && window.said.push(region.textContent))
            .observe(region, { childList: true })"""
    )
    page.clock.run_for(13 * 60_000)
    assert page.evaluate("window.said") == []
    page.clock.run_for(90_000)
    assert page.evaluate("window.said") == ["One minute left to pay"]
    expect(page.locator("#said")).to_have_text("")


@pytest.mark.parametrize("width", [320, 1280])
def test_the_notice_of_a_lost_connection_is_visible(shop: WebServer, browser: Browser, width: int) -> None:
    """The notice is at the bottom edge of the screen, however long the page is."""
    context = browser.new_context(locale="en", viewport={"width": width, "height": 480})
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{shop.port}/pay/{create_staged(shop, 'new')['payment_request_id']}")
    context.set_offline(True)
    notice = page.get_by_text("No connection")
    expect(notice).to_be_visible(timeout=20_000)
    expect(notice).to_be_in_viewport(ratio=1)
    box = notice.bounding_box()
    assert box is not None
    assert round(box["y"] + box["height"]) == 480
    context.close()
