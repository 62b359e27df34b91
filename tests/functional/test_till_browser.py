"""The till and the form "New request" in a real browser: by touch, by keyboard, and without scripts."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from models.payment import PaymentRequest
from tests.conftest import NewDatabase
from tests.support.checkout_scenes import change
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


@pytest.mark.parametrize("path", ["/operator/new", "/operator/till"])
def test_a_narrow_phone_shows_the_whole_width(open_page: OpenPage, path: str) -> None:
    page = open_page(path, viewport={"width": 320, "height": 640})
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
