"""The checkout page while somebody really pays: what a customer sees, without ever touching it."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.merchant import PATIENCE_SECONDS, Merchant, Order

Visit = Callable[[Order], Page]
EXPIRY = "5"
"""Seconds: enough to see a page before its request expires, on a busy machine too."""


@pytest.fixture(scope="module")
def hasty(make_till: MerchantMaker) -> Merchant:
    """A till whose prices hold for a moment."""
    return make_till(PAYMENT_EXPIRY=EXPIRY).open()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Opens an order's page. It may have no fault, go nowhere else, and never be loaded anew."""
    context = browser.new_context(locale="en-GB", viewport={"width": 360, "height": 740})
    faults: list[str] = []
    loads: list[str] = []
    strangers: list[str] = []

    def open_page(order: Order) -> Page:
        url = f"{order.till.installation.url}/pay/{order.id}"

        def note(request: Request) -> None:
            if request.is_navigation_request():
                loads.append(request.url)
            if not request.url.startswith(order.till.installation.url):
                strangers.append(request.url)

        page = context.new_page()
        page.set_default_timeout(PATIENCE_SECONDS * 1000)
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", note)
        page.goto(url)
        return page

    yield open_page
    context.close()
    assert (faults, strangers) == ([], [])
    assert len(loads) == len(set(loads))


def see(page: Page, headline: str, *words: str) -> None:
    """Wait until the page says so."""
    patience = PATIENCE_SECONDS * 1000
    expect(page.get_by_role("heading", level=1)).to_have_text(headline, timeout=patience)
    for each in words:
        expect(page.get_by_role("main")).to_contain_text(each, timeout=patience)


def test_a_payment_from_its_request_to_its_last_confirmation(
    till: Merchant, customer: Customer, visit: Visit
) -> None:
    """New, paid in part, received, each confirmation, confirmed, and the way back to the shop."""
    order = till.request(confirmations=3, redirect_url="https://shop.example/thanks", label="Socks")
    page = visit(order)
    see(page, "Waiting for your payment", "0.00020000", "10.00\xa0EUR", "Socks")
    wallet = page.get_by_role("link", name="Open in wallet")
    expect(wallet).to_have_attribute("href", order.document["payment_uri"])

    customer.pay(order.address, 5_000)
    see(
        page, "Part of the payment has arrived", "0.00005000\xa0BTC has arrived", "0.00015000\xa0BTC is still"
    )
    rest = order.document["payment_uri"].replace("0.00020000", "0.00015000")
    expect(wallet).to_have_attribute("href", rest)

    customer.pay(order.address, 15_000)
    see(page, "Payment received", "0 of 3")
    expect(page.get_by_role("img", name="QR code")).to_have_count(0)
    for number in (1, 2):
        till.node.mine()
        see(page, f"Confirmation {number} of 3", f"{number} of 3")
    till.node.mine()
    see(page, "Payment confirmed", "3 of 3")
    back = page.get_by_role("link", name="Back to the shop")
    expect(back).to_have_attribute("href", "https://shop.example/thanks")


def test_the_time_runs_out_and_money_comes_late(hasty: Merchant, customer: Customer, visit: Visit) -> None:
    """Nobody is asked for money any more; what comes all the same waits for the shop, which accepts it."""
    order = hasty.request()
    page = visit(order)
    expect(page.get_by_role("timer")).to_have_text(re.compile(r"0:0\d"))
    see(page, "Expired", "do not send money")
    expect(page.get_by_role("link", name="Open in wallet")).to_have_count(0)
    customer.pay(order.address, order.amount_sats)
    see(page, "Your payment came late", "0.00020000\xa0BTC has arrived", order.id)
    hasty.client.post(f"{order.path}/accept")
    see(page, "Payment received")


def test_a_part_is_there_when_the_time_runs_out(hasty: Merchant, customer: Customer, visit: Visit) -> None:
    """The customer is told not to send the rest."""
    order = hasty.request()
    page = visit(order)
    customer.pay(order.address, 5_000)
    see(page, "Expired with a part paid", "0.00005000\xa0BTC has arrived", "do not send the rest")


def test_a_double_spend_is_told_and_can_be_made_good(
    till: Merchant, customer: Customer, visit: Visit
) -> None:
    """Taken back, said plainly; paid again, received."""
    order = till.request()
    page = visit(order)
    sent = customer.pay(order.address, order.amount_sats)
    see(page, "Payment received")
    customer.double_spend(sent)
    see(page, "Your payment was taken back", "double-spend", "has not got the money")
    expect(page.get_by_role("link", name="Open in wallet")).to_be_visible()
    customer.pay(order.address, order.amount_sats)
    see(page, "Payment received")


def test_a_fee_bump_changes_the_transaction_and_nothing_else(
    till: Merchant, customer: Customer, visit: Visit
) -> None:
    """It is still received; the link leads to the new one."""
    order = till.request()
    page = visit(order)
    sent = customer.pay(order.address, order.amount_sats)
    see(page, "Payment received", sent.txid[:8])
    bumped = customer.bump_fee(sent)
    see(page, "Payment received", bumped.txid[:8])


def test_too_much_is_told(till: Merchant, customer: Customer, visit: Visit) -> None:
    """With whom to ask for it."""
    order = till.request()
    page = visit(order)
    customer.pay(order.address, order.amount_sats + 1_000)
    see(page, "Payment received", "0.00001000\xa0BTC more than was due")
