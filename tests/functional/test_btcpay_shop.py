"""The example shop with a client of BTCPay's API: it connects, sells, and follows its payments."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from regtest.child import free_ports
from tests.functional.conftest import MerchantMaker
from tests.functional.test_examples import EXAMPLES, call, running
from tests.support.customer import Customer
from tests.support.foreign_clients import python_command
from tests.support.merchant import PATIENCE_SECONDS, SELLER, Merchant
from tests.support.waiting import wait_until

PASSWORD = "open sesame"
PATIENCE_MS = PATIENCE_SECONDS * 1000
SATS = 271_980
"""135.99 EUR at 50,000 EUR for a bitcoin."""


@pytest.fixture(scope="module")
def merchant(make_merchant: MerchantMaker) -> Merchant:
    """Open a merchant with an operator. WEBHOOK_PRIVATE_HOSTS allows webhooks to a shop on this machine."""
    return make_merchant(
        OPERATOR_PASSWORD=PASSWORD, WEBHOOK_PRIVATE_HOSTS="127.0.0.1", CONFIRMATIONS="1"
    ).open()


@pytest.fixture(scope="module")
def shop(merchant: Merchant, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run the shop, and yield its address."""
    (port,) = free_ports(1)
    environ = {
        "NODETILL_URL": f"{merchant.installation.url}/",
        "PORT": str(port),
        "PATH": os.environ["PATH"],
    }
    command = [*python_command(), str(EXAMPLES / "btcpay_shop.py")]
    with running(command, tmp_path_factory.mktemp("btcpay"), environ) as output:
        wait_until(lambda: is_open(port, output), what="the shop to open")
        yield f"http://127.0.0.1:{port}"


def is_open(port: int, output: Path) -> bool:
    try:
        return call(port, "GET", "/").status == 200
    except ConnectionError:
        assert "Error" not in output.read_text(), output.read_text()
        return False


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """Yield a page of the merchant, who is also the customer."""
    context = browser.new_context(locale="en-GB")
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE_MS)
    yield opened
    context.close()


@pytest.mark.broad
def test_the_shop_connects_and_sells(merchant: Merchant, shop: str, page: Page, customer: Customer) -> None:
    """One button connects the shop. The customer pays, and returns to the shop, which shows the payment."""
    page.goto(f"{shop}/admin")
    expect(page.get_by_text("Not connected yet.")).to_be_visible()
    page.get_by_role("button", name="Connect to Nodetill").click()
    page.get_by_label("Operator password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("Socks shop")).to_be_visible()
    page.get_by_role("button", name="Approve and send the key").click()
    expect(page.get_by_text(f"Connected as {SELLER}.")).to_be_visible()
    page.goto(shop)
    page.get_by_role("button", name="Pay with bitcoin").click()
    page.wait_for_url("**/i/PR-*")
    address = re.search(r"bitcoin:(\w+)\?amount=0\.00271980", page.content())
    assert address is not None
    sent = customer.pay(address[1].lower(), SATS)
    page.wait_for_url(f"{shop}/orders/*")
    shows(page, "Your payment is on its way.")
    merchant.node.mine()
    shows(page, "Paid. We are packing your socks!")
    assert sent.txid


def shows(page: Page, words: str) -> None:
    """Wait until the shop's page of the order has these words. It does not reload by itself."""

    def look() -> bool:
        page.reload()
        return words in page.content()

    wait_until(look, what=f"the shop to show {words!r}")


@pytest.mark.broad
def test_a_stranger_cannot_connect_the_shop(shop: str) -> None:
    """The key comes without the shop's nonce, so the shop refuses it."""
    port = int(shop.rpartition(":")[2])
    body = b"apiKey=nt_x&permissions%5B%5D=btcpay.store.canviewinvoices%3Ax"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert call(port, "POST", "/connected?nonce=", body, **form).status == 403
    assert call(port, "POST", "/webhook", b"{}", **{"BTCPay-Sig": "sha256=00"}).status == 400
