"""The checkout page during real payments. The customer never reloads the page."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect

from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.merchant import PATIENCE_SECONDS, Merchant, Order

Visit = Callable[[Order], Page]
EXPIRY = "5"
"""The seconds are enough to see a page before its request expires, on a busy machine too."""


@pytest.fixture(scope="module")
def hasty(make_merchant: MerchantMaker) -> Merchant:
    """Return a merchant whose requests expire after a few seconds."""
    return make_merchant(PAYMENT_EXPIRY=EXPIRY).open()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Yield a function that opens an order's page.

    At the end, the page may have had no fault, no request to another server, and no reload.
    """
    context = browser.new_context(locale="en-GB", viewport={"width": 360, "height": 740})
    faults: list[str] = []
    loads: list[str] = []
    foreign: list[str] = []

    def open_page(order: Order) -> Page:
        url = f"{order.merchant.installation.url}/pay/{order.id}"

        def note(request: Request) -> None:
            if request.is_navigation_request():
                loads.append(request.url)
            if not request.url.startswith(order.merchant.installation.url):
                foreign.append(request.url)

        def note_fault(message: ConsoleMessage) -> None:
            # The request of the page may expire while the browser loads the QR code.
            if "(Gone)" not in message.text:
                faults.append(message.text)

        page = context.new_page()
        page.set_default_timeout(PATIENCE_SECONDS * 1000)
        page.on("console", note_fault)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", note)
        page.goto(url)
        return page

    yield open_page
    context.close()
    assert (faults, foreign) == ([], [])
    assert len(loads) == len(set(loads))


def wait_for_page(page: Page, headline: str, *words: str) -> None:
    """Wait until the page has this headline and these words."""
    patience = PATIENCE_SECONDS * 1000
    expect(page.get_by_role("heading", level=1)).to_have_text(headline, timeout=patience)
    for each in words:
        expect(page.get_by_role("main")).to_contain_text(each, timeout=patience)


def test_the_page_follows_a_payment_to_its_last_confirmation(
    merchant: Merchant, customer: Customer, visit: Visit
) -> None:
    """The page shows a part, the receipt, each confirmation, and the link back to the shop."""
    order = merchant.request(confirmations=3, redirect_url="https://shop.example/thanks", label="Socks")
    page = visit(order)
    wait_for_page(page, "Waiting for your payment", "0.00020000", "10.00\xa0EUR", "Socks")
    wallet = page.get_by_role("link", name="Open in wallet")
    expect(wallet).to_have_attribute("href", order.document["payment_uri"])

    customer.pay(order.address, 5_000)
    wait_for_page(
        page, "Part of the payment has arrived", "0.00005000\xa0BTC has arrived", "0.00015000\xa0BTC is still"
    )
    rest = order.document["payment_uri"].replace("0.00020000", "0.00015000")
    expect(wallet).to_have_attribute("href", rest)

    customer.pay(order.address, 15_000)
    wait_for_page(page, "Payment received", "0 of 3")
    expect(page.get_by_role("img", name="QR code")).to_have_count(0)
    for number in (1, 2):
        merchant.node.mine()
        wait_for_page(page, f"Confirmation {number} of 3", f"{number} of 3")
    merchant.node.mine()
    wait_for_page(page, "Payment confirmed", "3 of 3")
    back = page.get_by_role("link", name="Back to the shop")
    expect(back).to_have_attribute("href", "https://shop.example/thanks")


def test_the_page_shows_expiry_and_late_money(hasty: Merchant, customer: Customer, visit: Visit) -> None:
    """An expired page requests no money. Late money waits until the seller accepts it."""
    order = hasty.request()
    page = visit(order)
    expect(page.get_by_role("timer")).to_have_text(re.compile(r"0:0\d"))
    wait_for_page(page, "Expired", "do not send money")
    expect(page.get_by_role("link", name="Open in wallet")).to_have_count(0)
    customer.pay(order.address, order.amount_sats)
    wait_for_page(page, "Your payment came late", "0.00020000\xa0BTC has arrived", order.id)
    hasty.client.post(f"{order.path}/accept")
    wait_for_page(page, "Payment received")


def test_an_expired_part_is_shown_with_advice(hasty: Merchant, customer: Customer, visit: Visit) -> None:
    """The page advises the customer not to send the rest."""
    order = hasty.request()
    page = visit(order)
    customer.pay(order.address, 5_000)
    wait_for_page(page, "Expired with a part paid", "0.00005000\xa0BTC has arrived", "do not send the rest")


def test_a_double_spend_is_shown_and_can_be_paid_again(
    merchant: Merchant, customer: Customer, visit: Visit
) -> None:
    order = merchant.request()
    page = visit(order)
    sent = customer.pay(order.address, order.amount_sats)
    wait_for_page(page, "Payment received")
    customer.double_spend(sent)
    wait_for_page(page, "Your payment was taken back", "double-spend", "has not got the money")
    expect(page.get_by_role("link", name="Open in wallet")).to_be_visible()
    customer.pay(order.address, order.amount_sats)
    wait_for_page(page, "Payment received")


def test_a_fee_bump_changes_only_the_transaction(
    merchant: Merchant, customer: Customer, visit: Visit
) -> None:
    """The payment is still received, and the page shows the new txid."""
    order = merchant.request()
    page = visit(order)
    sent = customer.pay(order.address, order.amount_sats)
    wait_for_page(page, "Payment received", sent.txid[:8])
    bumped = customer.bump_fee(sent)
    wait_for_page(page, "Payment received", bumped.txid[:8])


def test_an_overpayment_is_shown(merchant: Merchant, customer: Customer, visit: Visit) -> None:
    order = merchant.request()
    page = visit(order)
    customer.pay(order.address, order.amount_sats + 1_000)
    wait_for_page(page, "Payment received", "0.00001000\xa0BTC more than was due")
