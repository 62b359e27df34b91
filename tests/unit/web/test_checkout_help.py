"""The checkout page over HTTP: whom the customer pays, who helps, and how nobody pays twice."""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from models.output import Output
from models.seller import Seller
from payments.money import format_btc
from tests.conftest import NewDatabase
from tests.support.checkout_scenes import DUE_SATS, PART_SATS, SCENES, change, create_in_scene
from tests.support.html_document import Document
from tests.support.web_server import NOW, Reply, WebServer, open_shop, pay, stored
from web.html.languages import languages

pytestmark = pytest.mark.one_database

FOLDED = ("dropped", "underpaid_dropped")
NEEDS_NO_SHOP = ("new", "underpaid", "ending", "received", "confirming", "confirmed", "expired_part")
OTHER = "e7" * 32


@pytest.fixture(scope="module")
def shop(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    directory = tmp_path_factory.mktemp("shop")
    with open_shop(directory, new_database(directory), addresses=200) as opened:
        yield opened


@pytest.fixture(autouse=True)
def seller(shop: WebServer) -> None:
    """Each test begins at the same time, with a seller that has no name and no support address."""
    shop.now = NOW
    change_seller(name="", support=None)


def change_seller(**columns: Any) -> None:
    Seller.update(**columns).execute()


def visit(shop: WebServer, document: dict[str, Any], suffix: str = "", language: str = "en") -> Reply:
    path = f"/pay/{document['payment_request_id']}{suffix}"
    return shop.get(path, {"Authorization": None, "Accept-Language": language})


def read(shop: WebServer, document: dict[str, Any], language: str = "en") -> Document:
    return Document(visit(shop, document, language=language).body.decode())


def wallet_links(page: Document) -> list[str]:
    return [link for link in page.links() if link.startswith("bitcoin:")]


def contacts(page: Document) -> list[str]:
    return [link for link in page.links() if link.startswith(("mailto:", "https://alpaca.example"))]


# Whom the customer pays


@pytest.mark.parametrize(
    ("label", "name", "lines"),
    [
        ("Order 17", "Alpaca Direct", ["Alpaca Direct", "Order 17"]),
        ("ALPACA DIRECT, order 17", "Alpaca Direct", ["ALPACA DIRECT, order 17"]),
        ("Order 17", "", ["Order 17"]),
        (None, "Alpaca Direct", ["Alpaca Direct"]),
        (None, "", ["company1"]),
    ],
)
def test_the_page_names_whom_one_pays(
    shop: WebServer, label: str | None, name: str, lines: list[str]
) -> None:
    """The shop comes first, and the label of the request below it, unless the label names the shop."""
    change_seller(name=name)
    body = visit(shop, shop.created(label=label)).body.decode()
    _, _, rest = body.partition('<div class="label">')
    assert re.findall(r'<p[^>]* dir="auto">([^<]*)</p>', rest.partition("</div>")[0]) == lines


def test_a_wallet_gets_the_shop_and_the_label(shop: WebServer) -> None:
    """The wallet keeps the label, so that the customer finds the payment there years later."""
    change_seller(name="Alpaca Direct")
    document = shop.created(label="Order 17")
    assert wallet_links(read(shop, document)) == [
        document["payment_uri"].replace("label=Order%2017", "label=Alpaca%20Direct%2C%20Order%2017")
    ]
    with_both = visit(shop, document, "/qr.svg").body
    change_seller(name="A" * 200)
    with_label = visit(shop, document, "/qr.svg").body
    assert with_both != with_label
    change_seller(name="")
    assert visit(shop, document, "/qr.svg").body == with_label


@pytest.mark.parametrize("scene", ["new", "underpaid", "dropped", "received", "expired"])
def test_the_customer_sees_the_order(shop: WebServer, scene: str) -> None:
    """The form "New request" promises it."""
    page = read(shop, create_in_scene(shop, scene, order_id="Invoice 17"))
    assert "Invoice 17" in page.text


@pytest.mark.parametrize(("name", "shown"), [("Alpaca Direct", "Alpaca Direct"), ("", "company1")])
def test_a_receipt_names_the_shop_and_its_support(shop: WebServer, name: str, shown: str) -> None:
    change_seller(name=name, support="help@alpaca.example")
    body = visit(shop, create_in_scene(shop, "confirmed")).body.decode()
    assert f'<div class="paper"><dt>Shop</dt> <dd dir="auto">{shown}</dd></div>' in body
    assert '<div class="paper"><dt>Contact</dt> <dd>help@alpaca.example</dd></div>' in body


def test_a_wallet_gets_the_sellers_name_where_there_is_no_label(shop: WebServer) -> None:
    """The page's link and the QR code have it. The documents of the API stay as they are stored."""
    change_seller(name="Alpaca Direct")
    document = shop.created()
    assert wallet_links(read(shop, document)) == [f"{document['payment_uri']}&label=Alpaca%20Direct"]
    assert document["label"] is None
    assert "label" not in document["payment_uri"]
    public = visit(shop, document, "/status").json
    assert (public["label"], public["payment_uri"]) == (None, document["payment_uri"])
    with_name = visit(shop, document, "/qr.svg").body
    change_seller(name="A" * 200)
    without_label = visit(shop, document, "/qr.svg").body
    assert with_name != without_label
    change_seller(name="")
    assert visit(shop, document, "/qr.svg").body == without_label
    assert wallet_links(read(shop, document)) == [document["payment_uri"]]


# Who helps


@pytest.mark.parametrize("scene", SCENES)
def test_a_page_in_trouble_links_to_the_shops_support(shop: WebServer, scene: str) -> None:
    """The subject of an email has the payment number. Other pages have no such link."""
    document = create_in_scene(shop, scene)
    assert contacts(read(shop, document)) == []
    change_seller(support="help+till@alpaca.example")
    is_there = scene not in NEEDS_NO_SHOP
    subject = f"Payment%20number%20{document['payment_request_id']}"
    mail = f"mailto:help%2Btill@alpaca.example?subject={subject}"
    assert contacts(read(shop, document)) == [mail] * is_there
    change_seller(support="https://alpaca.example/help?a=1&b=2")
    assert contacts(read(shop, document)) == ["https://alpaca.example/help?a=1&b=2"] * is_there


def test_who_has_paid_too_much_finds_the_support(shop: WebServer) -> None:
    """The page does not add that nothing is left to do."""
    change_seller(support="help@alpaca.example")
    document = create_in_scene(shop, "received")
    assert "There is nothing more to do" in read(shop, document).text
    change(document, received_sats=DUE_SATS + 1000, overpaid_sats=1000)
    page = read(shop, document)
    assert len(contacts(page)) == 1
    assert "You have sent 0.00001000\xa0BTC more than was due" in page.text
    assert "There is nothing more to do" not in page.text


def test_a_support_address_is_a_web_address_or_an_email_or_none(shop: WebServer) -> None:
    """The page makes no other link, even if the database has another text."""
    change_seller(support="javascript://x/%0aalert(1)")
    page = read(shop, create_in_scene(shop, "late"))
    assert not [link for link in page.links() if link.startswith("javascript")]
    change_seller(support="javascript:alert(1)")
    assert not [
        link for link in read(shop, create_in_scene(shop, "late")).links() if link.startswith("javascript")
    ]


# Nobody pays twice


@pytest.mark.parametrize("scene", ["new", "underpaid", "replaced", *FOLDED])
def test_paying_again_is_folded_up_while_the_old_money_may_come(shop: WebServer, scene: str) -> None:
    """A dropped transaction stands open, with a link. A replaced one cannot come, so the QR code stays."""
    document = create_in_scene(shop, scene)
    before, details, folded = visit(shop, document).body.decode().partition("<details")
    assert bool(details) is (scene in FOLDED)
    for wanted in ("bitcoin:", "/qr.svg", document["address"]):
        assert (wanted in folded) is (scene in FOLDED)
        assert (wanted in before) is not (scene in FOLDED)
    if details:
        lost = Output.get((Output.address == stored(document).address) & (Output.state == "dropped")).txid
        assert f">{lost}</p>" in before
        assert f'href="https://mempool.space/tx/{lost}"' in before


def test_the_folded_part_can_stay_open_without_a_script(shop: WebServer) -> None:
    """The page reloads without a script, so a link leads to a page that begins unfolded."""
    document = create_in_scene(shop, "dropped")
    closed = Document(visit(shop, document, language="de").body.decode())
    assert closed.of("details") == [{"id": "again"}]
    assert "?lang=de&again=1" in closed.links()
    unfolded = Document(visit(shop, document, "?lang=de&again=1").body.decode())
    assert unfolded.of("details") == [{"id": "again", "open": None}]
    assert unfolded.of("html") == [{"lang": "de"}]
    assert "?lang=de&again=1" not in unfolded.links()


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("code", languages())
def test_who_has_just_sent_is_asked_not_to_pay_again(shop: WebServer, scene: str, code: str) -> None:
    """The page of an expired request has this notice, and no other page."""
    notice = languages()[code].say("notice.sent_already")
    assert (notice in read(shop, create_in_scene(shop, scene), code).text) is (scene == "expired")


# A payment in parts


def test_the_rest_has_its_price(shop: WebServer) -> None:
    """The price of the request is fixed, so the rest has a value in the shop's currency."""
    document = create_in_scene(shop, "underpaid")
    rest = Decimal(DUE_SATS - PART_SATS) * Decimal(stored(document).price) / 10**8
    page = read(shop, document, "de")
    assert languages()["de"].amount(f"{rest:.2f}", "EUR") in page.text
    assert "Preis für 1 BTC" in page.text


def test_the_rest_of_a_price_in_bitcoin_is_there_once(shop: WebServer) -> None:
    document = shop.created(amount_fiat="0.01", currency="BTC")
    change(document, status="underpaid", received_sats=400_000, due_sats=600_000)
    assert read(shop, document).text.count("0.00600000") == 2


def test_each_part_has_its_transaction(shop: WebServer) -> None:
    """Two rows with their amounts. A single transaction needs no amount beside its link."""
    document = create_in_scene(shop, "received")
    first = str(stored(document).txid)
    assert "0.00222402 BTC" in read(shop, document).text
    Output.update(amount_sats=PART_SATS).where(Output.txid == first).execute()
    pay(document, OTHER, DUE_SATS - PART_SATS)
    page = read(shop, document)
    for txid, sats in ((first, PART_SATS), (OTHER, DUE_SATS - PART_SATS)):
        (link,) = [each for each in page.of("a") if each["href"] == f"https://mempool.space/tx/{txid}"]
        name = f"Look up transaction {txid[:8]}…{txid[-8:]} in a block explorer"
        assert link["aria-label"] == name
        assert f"{format_btc(sats)}\xa0BTC" in page.text
    assert visit(shop, document, "/status").json["txids"] == [first, OTHER]


def test_a_fee_bump_of_a_part_is_a_change(shop: WebServer) -> None:
    """An open page loads the new transaction, although status and amounts stay as they are."""
    document = create_in_scene(shop, "received")
    pay(document, "a1" * 32, PART_SATS)
    tag = visit(shop, document, "/status").headers["etag"]
    Output.update(state="replaced", replaced_by="a2" * 32).where(Output.txid == "a1" * 32).execute()
    pay(document, "a2" * 32, PART_SATS)
    assert visit(shop, document, "/status").headers["etag"] != tag
    assert "https://mempool.space/tx/" + "a2" * 32 in read(shop, document).links()


# The receipt


def test_a_receipt_has_all_that_a_screen_shortens(shop: WebServer) -> None:
    """The printed page has the time, the shop, the whole transaction, the address and the price."""
    change_seller(name="Alpaca Direct")
    document = create_in_scene(shop, "confirmed", label="Order 17")
    change(document, confirmed_at=NOW)
    page = read(shop, document)
    txid = str(stored(document).txid)
    for text in ("Confirmed 2026-11-23 12:00 UTC", "Shop Alpaca Direct", "Order 17", txid):
        assert text in page.text
    assert f"Address {document['address']}" in page.text
    assert "Price of 1 BTC 61,146.30\xa0EUR" in page.text
