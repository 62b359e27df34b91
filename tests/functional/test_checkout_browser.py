"""The checkout page in a real browser: every scene can be read, reached and used by everybody."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from tests.conftest import NewDatabase
from tests.support.checkout_scenes import DUE_SATS, SCENES, change, create_in_scene
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

# What is shown and reaches out of the card.
OUTSIDE = """() => {
  const card = document.querySelector("main").getBoundingClientRect();
  return [...document.querySelectorAll("main *")].filter((each) => {
    const box = each.getBoundingClientRect();
    return each.checkVisibility() && (box.right > card.right + .5 || box.left < card.left - .5);
  }).map((each) => each.outerHTML);
}"""


@pytest.fixture(scope="module")
def shop(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """A shop with a label on everything, and a way back."""
    directory = tmp_path_factory.mktemp("shop")
    with open_shop(directory, new_database(directory), addresses=200) as opened:
        yield opened


@pytest.fixture
def open_page(shop: WebServer, browser: Browser) -> Iterator[OpenPage]:
    """Opens a request's page in a browser of these properties. No page may have had a fault."""
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


def staged(shop: WebServer, scene: str, label: str = "Alpaca Direct") -> dict[str, Any]:
    return create_in_scene(shop, scene, label=label, redirect_url="https://shop.example/thanks")


@pytest.mark.parametrize("scene", SCENES)
def test_all_text_can_be_read(shop: WebServer, open_page: OpenPage, scene: str) -> None:
    """Contrast of at least 4.5 to 1 (WCAG AA), in light and in dark."""
    page = open_page(staged(shop, scene))
    grounds = set()
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        contrasts = page.evaluate(CONTRASTS)
        assert len(contrasts) > 8
        assert [(text, ratio) for text, ratio in contrasts if ratio < AA_CONTRAST] == []
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2


@pytest.mark.parametrize("scene", SCENES)
def test_nothing_is_cut_off(shop: WebServer, open_page: OpenPage, scene: str) -> None:
    """From the smallest phone to a desktop, in every language, with the longest of words in it."""
    page = open_page(staged(shop, scene, LONG_LABEL))
    for code in languages():
        page.goto(f"{page.url.partition('?')[0]}?lang={code}")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 740})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate(OUTSIDE) == []


@pytest.mark.parametrize("scene", SCENES)
def test_a_screen_reader_finds_its_way(shop: WebServer, open_page: OpenPage, scene: str) -> None:
    """One headline, news that is announced when it changes, a name for whatever can be used or seen."""
    page = open_page(staged(shop, scene))
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


def test_all_can_be_done_by_keyboard(shop: WebServer, open_page: OpenPage) -> None:
    """In the order in which it is read; Enter copies."""
    page = open_page(staged(shop, "new"), permissions=["clipboard-read", "clipboard-write"])
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


@pytest.mark.parametrize("is_secure", [True, False], ids=["with TLS or here", "without TLS"])
def test_what_is_copied_is_what_a_wallet_takes(shop: WebServer, open_page: OpenPage, is_secure: bool) -> None:
    """The bare amount and the bare address; it is said, and the button goes back to what it was."""
    document = staged(shop, "new")
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


def test_it_changes_without_being_loaded_anew(shop: WebServer, open_page: OpenPage) -> None:
    """And who was about to copy something finds the focus at the news, not at the top of the page."""
    document = staged(shop, "new")
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


@pytest.mark.parametrize(("scene", "is_asking"), [("confirmed", False), ("confirming", True)])
def test_it_asks_no_more_once_all_is_done(
    shop: WebServer, open_page: OpenPage, scene: str, is_asking: bool
) -> None:
    """The page of a confirmed payment sends nothing, however long it is open; another's does."""
    page = open_page(staged(shop, scene))
    page.clock.install()
    page.reload()
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    page.on("request", note)
    page.clock.run_for(60_000)
    assert any("/pay/" in url for url in asked) is is_asking


def test_a_hidden_page_asks_seldom_and_catches_up_when_it_is_seen(
    shop: WebServer, open_page: OpenPage
) -> None:
    """A page in the background costs the till little."""
    document = staged(shop, "new")
    page = open_page(document)
    hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true})"
    page.evaluate(hide % "true")
    with page.expect_response("**/status"):
        pass
    change(document, status="received", received_sats=DUE_SATS, due_sats=0)
    page.evaluate(f"{hide % 'false'}; document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.get_by_role("heading", level=1)).to_have_text("Payment received")


def test_a_lost_connection_is_told_and_found_again(shop: WebServer, browser: Browser) -> None:
    """What happened meanwhile is shown when it is back."""
    document = staged(shop, "new")
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


def test_it_works_without_a_script(shop: WebServer, open_page: OpenPage) -> None:
    """All is there but what needs one, and the page reloads itself."""
    document = staged(shop, "new")
    page = open_page(document, java_script_enabled=False)
    # Playwright finds no text in <noscript>.
    expect(page.locator("footer noscript p")).to_be_visible()
    expect(page.get_by_role("link", name="Open in wallet")).to_be_visible()
    expect(page.get_by_role("img", name="QR code")).to_be_visible()
    expect(page.get_by_role("button")).to_have_count(0)
    change(document, status="received", received_sats=DUE_SATS, due_sats=0)
    expect(page.get_by_role("heading", level=1)).to_have_text("Payment received", timeout=30_000)


def test_everything_comes_from_the_till(shop: WebServer, open_page: OpenPage) -> None:
    """No third party learns that somebody pays."""
    document = staged(shop, "new")
    page = open_page(document)
    loaded = page.evaluate("performance.getEntriesByType('resource').map((each) => each.name)")
    assert loaded
    assert all(url.startswith(f"http://127.0.0.1:{shop.port}/") for url in loaded)
    assert page.evaluate("document.querySelector('.qr').naturalWidth") > 0
    assert page.evaluate("document.fonts.size") == 0


# Each page at a large text, on paper, and on a wide screen


@pytest.mark.parametrize("scene", SCENES)
def test_text_of_double_size_fits(shop: WebServer, open_page: OpenPage, scene: str) -> None:
    """Nothing reaches out of the card of a small phone, and the copy button is below the address."""
    page = open_page(staged(shop, scene, LONG_LABEL))
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


def test_on_a_wide_screen_the_qr_code_leads(shop: WebServer, open_page: OpenPage) -> None:
    """A click may find no wallet on a desktop. On a phone, the wallet's button is filled."""
    page = open_page(staged(shop, "new"), viewport={"width": 360, "height": 740})
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


def test_a_receipt_is_whole_and_has_no_button(shop: WebServer, open_page: OpenPage) -> None:
    """Paper has the whole transaction and address, and a screen has neither."""
    document = staged(shop, "confirmed")
    change(document, confirmed_at=shop.now)
    page = open_page(document)
    txid = str(stored(document).txid)
    whole = [page.get_by_text(text, exact=True) for text in (txid, document["address"])]
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
def test_paying_again_after_a_drop_takes_a_decision(
    shop: WebServer, open_page: OpenPage, has_script: bool
) -> None:
    """The QR code, the amount and the wallet's button appear only after a click on the summary."""
    page = open_page(staged(shop, "dropped"), java_script_enabled=has_script)
    hidden = [page.locator(".qr"), page.locator(".amount"), page.locator(".open a"), page.locator("#clock")]
    for each in hidden:
        expect(each).to_be_hidden()
    expect(page.get_by_role("link", name="Look it up in a block explorer")).to_be_visible()
    page.get_by_text("I have cancelled the old transaction: pay again").click()
    for each in hidden:
        expect(each).to_be_visible()
    expect(page.get_by_role("link", name="Keep this part open")).to_have_count(0 if has_script else 1)


def test_an_unfolded_part_stays_so_when_the_page_changes(shop: WebServer, open_page: OpenPage) -> None:
    """The script renews the part, and leaves it as the customer has it."""
    document = staged(shop, "dropped")
    page = open_page(document)
    page.locator("summary").click()
    change(document, due_sats=DUE_SATS - 5)
    expect(page.locator(".amount")).to_contain_text("0.00222397")
    expect(page.locator(".qr")).to_be_visible()


def test_the_last_minute_is_announced_once(shop: WebServer, open_page: OpenPage) -> None:
    """A screen reader gets it from a polite live region. The timer itself has a name and is silent."""
    document = staged(shop, "new")
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
def test_a_lost_connection_is_on_the_screen(shop: WebServer, browser: Browser, width: int) -> None:
    """The notice is at the bottom edge of the screen, however long the page is."""
    context = browser.new_context(locale="en", viewport={"width": width, "height": 480})
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{shop.port}/pay/{staged(shop, 'new')['payment_request_id']}")
    context.set_offline(True)
    notice = page.get_by_text("No connection")
    expect(notice).to_be_visible(timeout=20_000)
    expect(notice).to_be_in_viewport(ratio=1)
    box = notice.bounding_box()
    assert box is not None
    assert round(box["y"] + box["height"]) == 480
    context.close()
