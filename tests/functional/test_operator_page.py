"""The operator's pages update themselves and send commands while customers pay."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.endpoint import Endpoint, answers
from tests.support.merchant import PATIENCE_SECONDS, SELLER, Merchant, Order

PASSWORD = "open sesame"
PATIENCE_MS = PATIENCE_SECONDS * 1000

Visit = Callable[[Merchant], Page]


@pytest.fixture(scope="module")
def merchant(make_merchant: MerchantMaker) -> Merchant:
    """Open a merchant with an operator. Its requests expire after six seconds."""
    return make_merchant(OPERATOR_PASSWORD=PASSWORD, PAYMENT_EXPIRY="6").open()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Return a function that opens a merchant's first page in a new browser, and logs in.

    The test fails if a page logs a message or an error.
    """
    context = browser.new_context(locale="en-GB")
    faults: list[str] = []

    def open_page(merchant: Merchant) -> Page:
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{merchant.installation.url}/operator/login")
        page.get_by_label("Operator password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/")
        page.evaluate("window.isTheSamePage = true")
        return page

    yield open_page
    context.close()
    assert faults == []


def row_of(page: Page, order: Order, need: str = "") -> Locator:
    return page.locator(f"[id='{need}{order.id}']")


def see(place: Locator, words: str) -> None:
    expect(place).to_contain_text(words, timeout=PATIENCE_MS)


def test_the_page_follows_a_payment(merchant: Merchant, customer: Customer, visit: Visit) -> None:
    """The open page shows the request, the payment and each confirmation without a reload."""
    page = visit(merchant)
    expect(page.get_by_text("Something needs your attention")).to_have_count(0)
    order = merchant.request(confirmations=2, expires_in=600, note="Alpaca socks")
    row = row_of(page, order)
    see(row, "Alpaca socks")
    see(row, "new")
    customer.pay(order.address, order.amount_sats)
    see(row, "received")
    merchant.node.mine()
    see(row, "confirming 1/2")
    merchant.node.mine()
    see(row, "confirmed")
    assert page.evaluate("window.isTheSamePage")
    row.get_by_role("link").click()
    see(page.locator("#transactions"), "2 deep")
    see(page.locator("#timeline"), "Confirmed")
    see(page.locator("#timeline"), "email, delivered")
    page.get_by_role("link", name="Money").click()
    see(
        page.get_by_role("region", name="EUR", exact=True).first,
        "10.00\xa0EUR 0.00020000\xa0BTC in 1 payment",
    )


def test_a_key_of_the_page_takes_payments(merchant: Merchant, customer: Customer, visit: Visit) -> None:
    """The key works at once on the running servers, and stops at once when it is revoked."""
    page = visit(merchant)
    page.get_by_role("link", name="Sellers").click()
    page.get_by_role("link", name=SELLER).click()
    page.get_by_label("Label, for you (optional)").fill("WooCommerce")
    page.get_by_role("button", name="Make the key").click()
    shop = merchant.installation.client(page.get_by_text("nt_").inner_text())
    body = {"amount_fiat": "10.00", "currency": "EUR", "expires_in": 600}
    made = shop.post("/api/v1/payments", body).document
    customer.pay(made["address"], made["amount_sats"])
    path = f"/api/v1/payments/{made['payment_request_id']}"
    merchant.wait(lambda: shop.get(path).document["status"] == "received", "see the payment")
    page.get_by_role("link", name=f"Back to {SELLER}").click()
    row = page.get_by_role("row").filter(has_text="WooCommerce")
    see(row, "Create payment requests")
    expect(row).not_to_contain_text("never")
    row.get_by_text("Revoke…").click()
    row.get_by_role("button", name="Revoke the key").click()
    see(page.get_by_role("status").filter(has_text="The key"), "is revoked")
    assert shop.get(path).status == 401


def test_late_money_is_accepted_on_the_page(merchant: Merchant, customer: Customer, visit: Visit) -> None:
    """Late money appears at the top of the open page. After a click, the daemon counts it."""
    order = merchant.request()
    order.wait("expired")
    page = visit(merchant)
    customer.pay(order.address, order.amount_sats)
    question = row_of(page, order, "late-")
    see(question, "late")
    see(question, "late. Worth")
    question.get_by_text("Accept…").click()
    question.get_by_role("button", name="Accept at the old price").click()
    see(page.get_by_role("status").filter(has_text="Accepted"), "This cannot be undone.")
    row_of(page, order).get_by_role("link").click()
    see(page.locator("#facts"), "received")
    see(page.locator("#timeline"), "Late money accepted")
    order.wait("received", late=True)
    page.get_by_role("link", name="Payments").click()
    expect(question).to_have_count(0)


def test_a_double_spend_is_listed_until_it_is_marked_as_done(
    merchant: Merchant, customer: Customer, visit: Visit
) -> None:
    order = merchant.request(expires_in=600)
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received")
    page = visit(merchant)
    customer.double_spend(sent)
    question = row_of(page, order, "reverted-")
    see(question, order.id[:11])
    question.get_by_role("button", name="Mark as done").click()
    see(page.get_by_role("status").filter(has_text="Done."), "Undo")
    row_of(page, order).get_by_role("link").click()
    see(page.locator("#timeline"), "Taken back")
    see(page.locator("#timeline"), "Marked as done on the operator's page")
    page.get_by_role("link", name="Payments").click()
    see(row_of(page, order), "PR-")
    expect(question).to_have_count(0)


def test_a_webhook_that_was_given_up_is_sent_again(
    merchant: Merchant, customer: Customer, visit: Visit
) -> None:
    """The endpoint answers 410 and later 204. The page shows both results."""
    page = visit(merchant)
    with Endpoint(answers(410)) as endpoint:
        merchant.installation.manage_json("seller", "set", SELLER, "--webhook-url", endpoint.url)
        order = merchant.request(expires_in=600)
        customer.pay(order.address, order.amount_sats)
        question = row_of(page, order, "undelivered-")
        see(question, order.id[:11])
        endpoint.behave = answers(204)
        question.get_by_role("link").click()
        see(page.locator("#timeline"), "webhook, given up")
        page.get_by_role("button", name="Send again the webhook of Received").click()
        see(page.locator("#timeline"), "webhook, delivered")
        expect(page.get_by_role("heading", name="Undeliverable messages")).to_have_count(0)
        assert len(endpoint.requests) == 2
        merchant.installation.manage_json("seller", "set", SELLER, "--no-webhook")
