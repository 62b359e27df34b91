"""The pages of payment links in a real browser: on a small phone, without scripts, and on paper."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from models.payment import PaymentRequest
from models.rate import store_rates
from models.seller import Seller
from tests.conftest import NewDatabase
from tests.functional.test_checkout_browser import AA_CONTRAST, CONTRASTS, OUTSIDE, SCHEMES
from tests.support.links import LinkShop, link_settings
from tests.support.needs import cases
from tests.support.operator_client import PASSWORD
from tests.support.web_server import open_shop

OpenPage = Callable[..., Page]
LONG = "W" * 90
FORMS = {"open": 1, "choose": 2, "part": 1, "overdue": 1, "earlier": 1, "dropped": 1}
"""The number of forms of a link's page in these states. Others have none."""


@pytest.fixture(scope="module")
def shop(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LinkShop]:
    directory = tmp_path_factory.mktemp("links")
    url = new_database(directory)
    environ = {"OPERATOR_PASSWORD": PASSWORD, "ADDRESS_POOL": "20"}
    with open_shop(directory, url, environ, addresses=100) as opened:
        yield LinkShop(opened, link_settings(directory, url, environ))


@pytest.fixture
def open_page(shop: LinkShop, browser: Browser) -> Iterator[OpenPage]:
    """Return a function that opens a page on a phone."""
    contexts = []

    def open_(path: str, **properties: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 320, "height": 600}, **properties})
        contexts.append(context)
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{shop.server.port}{path}")
        return page

    yield open_
    for context in contexts:
        context.close()


def scenes(shop: LinkShop) -> dict[str, str]:
    """Make a link in each of its states."""
    links = {
        "open": shop.link(title=LONG, description=LONG, order_id=LONG, due_at="2026-12-24T23:59:59Z"),
        "choose": shop.donation(suggested=[3, 5, 10, 20], minimum="1", maximum="100000"),
        "part": shop.link(),
        "processing": shop.link(thanks="Thanks\nand bye"),
        "paid": shop.link(),
        "late": shop.link(),
        "closed": shop.link(),
        "overdue": shop.link(due_at="2026-11-23T11:00:00Z"),
        "earlier": shop.link(),
        "dropped": shop.link(),
    }
    part, late = shop.request(links["part"]), shop.request(links["late"])
    shop.pay(part, part.amount_sats // 2)
    shop.pay(shop.request(links["processing"]))
    shop.pay(shop.request(links["paid"]), depth=6)
    dropped = shop.request(links["dropped"])
    shop.drop(shop.pay(dropped))
    shop.request(links["earlier"])
    shop.expire(late)
    shop.assess(part, dropped)
    shop.pay(late)
    for source in ("kraken", "bitpay"):
        store_rates(source, {"EUR": late.link_part.price}, shop.server.now)
    shop.server.post(f"/api/v1/links/{links['closed']}/close")
    return links


@pytest.mark.parametrize("language", cases(("en", "de", "fr", "es"), ("de",)))
def test_each_state_fits_each_screen(shop: LinkShop, open_page: OpenPage, language: str) -> None:
    """Nothing is cut off, also with text of double size, all text has contrast, and no text is missing."""
    page = open_page("/")
    for name, link_id in scenes(shop).items():
        page.goto(f"http://127.0.0.1:{shop.server.port}/l/{link_id}?lang={language}")
        assert page.locator("html").get_attribute("lang") == language
        assert page.locator("form").count() == FORMS.get(name, 0)
        for details in page.locator("details").all():
            details.locator("summary").click()
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            assert [each for each in page.evaluate(CONTRASTS) if each[1] < AA_CONTRAST] == []
        for width in (320, 1280):
            page.set_viewport_size({"width": width, "height": 740})
            for size in ("100%", "200%"):
                page.evaluate("size => { document.documentElement.style.fontSize = size }", size)
                assert page.evaluate("document.documentElement.scrollWidth") <= width, name
                assert page.evaluate(OUTSIDE) == []


@pytest.mark.parametrize("has_script", [True, False])
def test_a_payer_pays_an_invoice(shop: LinkShop, open_page: OpenPage, has_script: bool) -> None:
    """The page has no script, so it works in the same way without JavaScript."""
    link_id = shop.link()
    page = open_page(f"/l/{link_id}?lang=de", java_script_enabled=has_script)
    page.get_by_role("button", name="Mit Bitcoin bezahlen").click()
    page.wait_for_url("**/pay/PR-*")
    expect(page.locator("html")).to_have_attribute("lang", "de")
    request = PaymentRequest.get(PaymentRequest.link == shop.row(link_id))
    shop.pay(request)
    page.goto(f"http://127.0.0.1:{shop.server.port}/l/{link_id}")
    expect(page.get_by_role("heading", name="Payment received")).to_be_visible()
    expect(page.get_by_role("button")).to_have_count(0)


@pytest.mark.parametrize("has_script", [True, False])
def test_a_payer_whose_transaction_was_dropped_does_not_pay_twice(
    shop: LinkShop, open_page: OpenPage, has_script: bool
) -> None:
    link_id = shop.link()
    request = shop.request(link_id)
    shop.drop(shop.pay(request))
    page = open_page(f"/l/{link_id}", java_script_enabled=has_script)
    expect(page.get_by_role("heading", name="Have you paid already?")).to_be_visible()
    expect(page.get_by_role("button")).to_be_hidden()
    page.get_by_text("I have cancelled the old transaction: pay again").click()
    expect(page.get_by_role("button", name="Pay with bitcoin")).to_be_visible()
    page.get_by_role("link", name="Look at your earlier payment").click()
    page.wait_for_url(f"**/pay/{request.reference}**")


def test_a_paid_invoice_on_paper_is_a_receipt(shop: LinkShop, open_page: OpenPage) -> None:
    """The print has the whole numbers, the transaction, the times and the shop's support."""
    Seller.update(support="help@alpaca.example").execute()
    link_id = shop.link()
    request = shop.request(link_id)
    shop.pay(request, depth=6)
    page = open_page(f"/l/{link_id}")
    row = PaymentRequest.get_by_id(request.id)
    whole = [
        page.get_by_text(text, exact=True) for text in (row.reference, str(row.txid), "help@alpaca.example")
    ]
    whole += [page.get_by_text(name, exact=True) for name in ("Confirmed", "Received at")]
    for each in whole:
        expect(each).to_be_hidden()
    page.emulate_media(media="print")
    for each in whole:
        expect(each).to_be_visible()
    expect(page.get_by_text(f"{shop.row(link_id).paid_at:%Y-%m-%d %H:%M} UTC").first).to_be_visible()
    Seller.update(support=None).execute()


def test_a_payer_chooses_an_amount(shop: LinkShop, open_page: OpenPage) -> None:
    """Enter in the field sends the typed amount, not the first button. After an error the text stays."""
    link_id = shop.donation(suggested=[3, 5], minimum="2")
    page = open_page(f"/l/{link_id}")
    field = page.get_by_label("Another amount")
    field.fill("1")
    field.press("Enter")
    expect(page.get_by_text("Please enter at least 2 EUR.")).to_be_visible()
    expect(field).to_have_value("1")
    field.fill("7.50")
    field.press("Enter")
    page.wait_for_url("**/pay/PR-*")
    assert PaymentRequest.select().order_by(PaymentRequest.id.desc()).get().amount_fiat == "7.50"
    page.goto(f"http://127.0.0.1:{shop.server.port}/l/{link_id}")
    page.get_by_role("button", name="5 EUR").click()
    page.wait_for_url("**/pay/PR-*")
    assert PaymentRequest.select().order_by(PaymentRequest.id.desc()).get().amount_fiat == "5"


def test_a_busy_link_leads_back(shop: LinkShop, open_page: OpenPage) -> None:
    """If the payer reloads the page with the waiting time, no request is made."""
    link_id = shop.donation()
    for _ in range(10):
        assert shop.press(link_id, "amount=5").status == 303
    page = open_page(f"/l/{link_id}?lang=fr")
    page.get_by_label("Choisissez un montant").fill("5")
    page.get_by_role("button", name="Payer en bitcoin").click()
    expect(page.get_by_text("Réessayez dans environ 60 secondes.")).to_be_visible()
    page.get_by_role("link", name="Revenir et réessayer").click()
    expect(page.get_by_role("button", name="Payer en bitcoin")).to_be_visible()


def test_an_invoice_on_paper_has_its_qr_code(shop: LinkShop, open_page: OpenPage) -> None:
    link_id = shop.link()
    page = open_page(f"/l/{link_id}")
    code = page.locator("figure img")
    expect(code).to_be_hidden()
    page.emulate_media(media="print")
    expect(code).to_be_visible()
    assert code.evaluate("image => image.naturalWidth") > 0
    expect(page.get_by_text(f"/l/{link_id}")).to_be_visible()
    expect(page.get_by_role("button")).to_be_hidden()


def test_the_operator_makes_a_link_on_a_phone(shop: LinkShop, open_page: OpenPage) -> None:
    page = open_page("/operator/links/new", viewport={"width": 360, "height": 740})
    page.get_by_label("Operator password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_label("Title").fill("Invoice 17")
    page.get_by_label("Amount").first.fill("0,01")
    page.get_by_role("button", name="Make the link").click()
    expect(page.locator("#amount_fiat-error")).to_be_visible()
    page.get_by_label("Amount").first.fill("12,50")
    page.get_by_role("button", name="Make the link").click()
    page.wait_for_url("**/operator/links/LK-*")
    expect(page.get_by_role("button", name="Copy the link")).to_be_visible()
    for path in ("", "/new"):
        page.goto(f"http://127.0.0.1:{shop.server.port}/operator/links{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
