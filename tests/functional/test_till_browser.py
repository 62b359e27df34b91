"""The till and the form "New request" in a real browser: by touch, by keyboard, and without scripts."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from models.output import Output
from models.payment import PaymentRequest
from tests.conftest import NewDatabase
from tests.functional.test_checkout_browser import AA_CONTRAST, CONTRASTS, OUTSIDE, SCHEMES
from tests.support.checkout_scenes import DUE_SATS, SCENES, THIEF, change, create_in_scene
from tests.support.needs import cases
from tests.support.operator_client import PASSWORD
from tests.support.web_server import WebServer, open_shop

OpenPage = Callable[..., Page]
PATIENCE = 30_000


@pytest.fixture(scope="module")
def shop(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    directory = tmp_path_factory.mktemp("till")
    settings = {"OPERATOR_PASSWORD": PASSWORD}
    with open_shop(directory, new_database(directory), settings, addresses=50) as opened:
        yield opened


@pytest.fixture(scope="module")
def key(shop: WebServer, browser: Browser) -> Any:
    """Return the cookies of a browser that has logged in once, because a login takes time."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{shop.port}/operator/login")
    page.get_by_label("Operator password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/")
    cookies = context.cookies()
    context.close()
    return cookies


@pytest.fixture
def open_page(shop: WebServer, browser: Browser, key: Any) -> Iterator[OpenPage]:
    """Return a function that opens a page as the operator, on a phone."""
    contexts = []

    def open_(path: str, **properties: Any) -> Page:
        phone: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "has_touch": True}
        context = browser.new_context(**phone | properties)
        contexts.append(context)
        context.add_cookies(key)
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{shop.port}{path}")
        return page

    yield open_
    for context in contexts:
        context.close()


def newest() -> PaymentRequest:
    found: PaymentRequest = PaymentRequest.select().order_by(PaymentRequest.id.desc()).get()
    return found


def tap(page: Page, keys: str) -> None:
    for each in keys:
        page.locator(f'[data-key="{each}"]').tap()


def pays(payment: PaymentRequest, status: str, sats: int) -> None:
    document = {"payment_request_id": payment.reference}
    change(document, status=status, received_sats=sats, due_sats=payment.amount_sats - sats)


def test_a_sale_by_touch(open_page: OpenPage) -> None:
    """The page follows the payment by itself until the tick, and "Next" begins the next sale."""
    page = open_page("/operator/till")
    tap(page, "12.349")
    amount = page.get_by_label("Amount")
    expect(amount).to_have_value("12.34")
    page.get_by_label("Delete the last digit").tap()
    expect(amount).to_have_value("12.3")
    page.get_by_role("button", name="Pay").tap()
    expect(page.get_by_alt_text("QR code of the payment")).to_be_visible(timeout=PATIENCE)
    payment = newest()
    assert payment.amount_fiat == "12.3"
    pays(payment, "underpaid", 1000)
    expect(page.get_by_text("is still missing")).to_be_visible(timeout=PATIENCE)
    pays(payment, "received", payment.amount_sats)
    expect(page.get_by_role("heading", name="Received")).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_alt_text("QR code of the payment")).to_have_count(0)
    page.get_by_role("link", name="Next").tap()
    expect(page.get_by_label("Amount")).to_have_value("")


def test_a_sale_by_keyboard(open_page: OpenPage) -> None:
    page = open_page("/operator/till", viewport={"width": 1280, "height": 800})
    page.keyboard.type("7.5")
    page.keyboard.press("Enter")
    expect(page.get_by_alt_text("QR code of the payment")).to_be_visible(timeout=PATIENCE)
    assert newest().amount_fiat == "7.5"


def test_the_device_remembers_the_currency(open_page: OpenPage) -> None:
    """A sale in satoshis has no decimal point."""
    page = open_page("/operator/till")
    page.get_by_label("Currency").select_option("SAT")
    page.reload()
    expect(page.get_by_label("Currency")).to_have_value("SAT")
    tap(page, "50.00")
    expect(page.get_by_label("Amount")).to_have_value("5000")


def test_a_sale_without_scripts(open_page: OpenPage) -> None:
    page = open_page("/operator/till", java_script_enabled=False)
    expect(page.locator(".keys")).to_be_hidden()
    page.get_by_label("Amount").fill("3,20")
    page.get_by_role("button", name="Pay").click()
    expect(page.get_by_alt_text("QR code of the payment")).to_be_visible(timeout=PATIENCE)
    payment = newest()
    pays(payment, "received", payment.amount_sats)
    page.reload()
    expect(page.get_by_role("heading", name="Received")).to_be_visible()


def test_a_received_payment_that_is_taken_back_loses_its_tick(shop: WebServer, open_page: OpenPage) -> None:
    """The page follows the payment after the tick, because a double-spend can come later."""
    document = create_in_scene(shop, "received")
    page = open_page(f"/operator/till/{document['payment_request_id']}")
    expect(page.get_by_text("Not final: a double-spend can still take it back.")).to_be_visible()
    expect(page.locator(".tick")).to_be_visible()
    Output.update(state="replaced", replaced_by=THIEF).execute()
    change(document, status="new", received_sats=0, due_sats=DUE_SATS)
    heading = page.get_by_role("heading", name="Taken back")
    expect(heading).to_be_visible(timeout=PATIENCE)
    expect(heading).to_have_css("color", "rgb(155, 36, 32)")
    expect(page.locator(".tick")).to_have_count(0)


@pytest.mark.parametrize("has_script", [True, False], ids=["with a script", "without a script"])
@pytest.mark.parametrize("scene", ["dropped", "underpaid_dropped"])
def test_a_second_payment_after_a_drop_needs_a_click(
    shop: WebServer, open_page: OpenPage, scene: str, has_script: bool
) -> None:
    document = create_in_scene(shop, scene)
    path = f"/operator/till/{document['payment_request_id']}"
    page = open_page(path, java_script_enabled=has_script)
    code = page.get_by_alt_text("QR code of the payment")
    expect(page.get_by_text("Do not take a second payment")).to_be_visible()
    expect(code).to_be_hidden()
    page.get_by_text("The wallet shows the first as cancelled: pay again").click()
    expect(code).to_be_visible()
    if has_script:
        change(document, due_sats=DUE_SATS - 5)
        expect(code).to_have_attribute("src", re.compile(f"sats={DUE_SATS - 5}$"), timeout=PATIENCE)
        expect(code).to_be_visible()
    else:
        page.get_by_role("link", name="Keep this part open").click()
        expect(code).to_be_visible()
        page.reload()
        expect(code).to_be_visible()


@pytest.mark.parametrize("scene", cases(SCENES, ("new", "underpaid_dropped", "late")))
def test_a_sale_fits_each_screen(shop: WebServer, open_page: OpenPage, scene: str) -> None:
    """Nothing is cut off on a small phone, with text of double size, and in dark."""
    document = create_in_scene(shop, scene)
    page = open_page(f"/operator/till/{document['payment_request_id']}", reduced_motion="reduce")
    for details in page.locator("details").all():
        details.locator("summary").click()
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        assert [(text, ratio) for text, ratio in page.evaluate(CONTRASTS) if ratio < AA_CONTRAST] == []
    for size in ("100%", "200%"):
        page.evaluate("size => { document.documentElement.style.fontSize = size }", size)
        for width in (320, 360, 1280):
            page.set_viewport_size({"width": width, "height": 740})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate(OUTSIDE) == []


def test_a_paid_sale_leads_to_the_receipt(shop: WebServer, open_page: OpenPage) -> None:
    document = create_in_scene(shop, "received")
    page = open_page(f"/operator/till/{document['payment_request_id']}")
    page.get_by_role("link", name="Receipt").tap()
    expect(page.get_by_role("heading", name="Payment received")).to_be_visible()


def test_the_time_left_runs(shop: WebServer, open_page: OpenPage) -> None:
    document = create_in_scene(shop, "new")
    page = open_page("/operator/till")
    page.clock.install(time=shop.now)
    page.route("**/status", lambda route: route.fulfill(status=304))
    page.goto(f"http://127.0.0.1:{shop.port}/operator/till/{document['payment_request_id']}")
    clock = page.get_by_role("timer", name="Time left")
    expect(clock).to_have_text("14:59")
    page.clock.run_for(60_000)
    expect(clock).to_have_text("13:59")


@pytest.mark.parametrize("size", ["100%", "200%"])
@pytest.mark.parametrize("path", ["/operator/new", "/operator/till"])
def test_a_narrow_phone_shows_the_whole_width(open_page: OpenPage, path: str, size: str) -> None:
    page = open_page(path, viewport={"width": 320, "height": 640})
    page.evaluate("size => { document.documentElement.style.fontSize = size }", size)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_a_new_request_is_copied(open_page: OpenPage, shop: WebServer) -> None:
    page = open_page("/operator/new", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_label("Amount").fill("12,50")
    page.get_by_label("Order or invoice").fill("Invoice 17")
    page.get_by_role("button", name="Ask for it").tap()
    page.wait_for_url("**/payments/**")
    page.get_by_role("button", name="Copy the link").tap()
    expect(page.get_by_text("Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == f"http://127.0.0.1:8080/pay/{newest().reference}"
    expect(page.get_by_alt_text("QR code of the payment, for a wallet")).to_be_visible()
