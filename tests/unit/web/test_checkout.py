"""The checkout page over HTTP: its text in each scene, its public fields, and its headers."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urljoin
from xml.etree import ElementTree

import peewee
import pytest

from models.db.connection import database
from models.output import Output
from payments.money import format_btc
from tests.conftest import NewDatabase
from tests.support.checkout_scenes import DUE_SATS, OVER, PART_SATS, SCENES, change, create_in_scene
from tests.support.html_document import Document
from tests.support.web_server import NOW, Reply, WebServer, open_shop, pay, stored
from web.html.languages import languages

pytestmark = pytest.mark.one_database

HOSTILE = "\"'><script>alert(1)</script>{{7*7}}<!-- &amp; </title>"
FOLDED = ("dropped", "underpaid_dropped")
UNKNOWN = "PR-" + "A" * 22
TOTAL_BYTES = 50 * 1024


@pytest.fixture(scope="module")
def shop(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """Serve a web server; the tests send no key."""
    directory = tmp_path_factory.mktemp("shop")
    with open_shop(directory, new_database(directory), addresses=200) as opened:
        yield opened


@pytest.fixture(autouse=True)
def reset_clock(shop: WebServer) -> None:
    """Begin each test at the same time."""
    shop.now = NOW


def outputs(document: dict[str, Any]) -> list[Output]:
    return list(Output.select().where(Output.address == stored(document).address).order_by(Output.id))


def path_of(document: dict[str, Any]) -> str:
    return f"/pay/{document['payment_request_id']}"


def visit(shop: WebServer, path: str, language: str | None = None, **headers: str) -> Reply:
    return shop.get(path, {"Authorization": None, "Accept-Language": language, **headers})


def read(shop: WebServer, document: dict[str, Any], language: str | None = None) -> Document:
    return Document(visit(shop, path_of(document), language).body.decode())


def status(shop: WebServer, document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = visit(shop, f"{path_of(document)}/status").json
    return found


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("code", languages())
def test_each_scene_has_its_text_in_each_language(shop: WebServer, scene: str, code: str) -> None:
    """The page has the event, its meaning, and the number to give to the shop."""
    document = create_in_scene(shop, scene)
    page = read(shop, document, code)
    received_sats = PART_SATS if "part" in scene or "underpaid" in scene else DUE_SATS
    values = {
        "received": f"{format_btc(received_sats)}\xa0BTC",
        "due": f"{format_btc(DUE_SATS - PART_SATS)}\xa0BTC",
        "confirmations": 2,
        "required": 6,
    }
    language = languages()[code]
    assert page.of("html") == [{"lang": code}]
    assert language.say(f"{scene}.headline", **values) in page.text
    assert language.say(f"{scene}.lead", **values) in page.text
    assert document["payment_request_id"] in page.text
    assert language.amount("135.99", "EUR") in page.text or scene.startswith("underpaid")


@pytest.mark.parametrize("scene", SCENES)
def test_payment_details_are_shown_only_while_a_payment_counts(shop: WebServer, scene: str) -> None:
    """They are address, QR code and wallet link for the amount due."""
    document = create_in_scene(shop, scene)
    page = read(shop, document)
    is_payable = scene in ("new", "underpaid", "replaced", "dropped", "underpaid_dropped")
    due = DUE_SATS - PART_SATS if scene.startswith("underpaid") else DUE_SATS
    uri = f"bitcoin:{document['address'].upper()}?amount={format_btc(due)}"
    assert status(shop, document)["payment_uri"] == (uri if is_payable else None)
    assert [link for link in page.links() if link.startswith("bitcoin:")] == [uri] * is_payable
    assert len(page.of("img")) == is_payable
    lost = [each.txid for each in outputs(document) if scene in FOLDED and each.state == "dropped"]
    payable = [format_btc(due), document["address"]] * is_payable
    copied = [each["data-copy"] for each in page.of("button")]
    assert copied == [*lost, *payable, document["payment_request_id"]]
    # The receipt on paper has the address, too.
    is_covered = scene in ("received", "confirming", "confirmed")
    assert (document["address"] in page.text) is (is_payable or is_covered)
    assert visit(shop, f"{path_of(document)}/qr.svg").status == (200 if is_payable else 410)


def test_the_public_status_has_exactly_these_fields(shop: WebServer) -> None:
    """Note and metadata are not public. The receipt alone has the id of a seller without a name."""
    fields = {
        "note": "geheim",
        "metadata": {"geheim": 1},
        "label": "Socks",
        "redirect_url": "https://s.example",
    }
    document = create_in_scene(shop, "confirming", **fields)
    reply = visit(shop, f"{path_of(document)}/status")
    assert reply.json == {
        "payment_request_id": document["payment_request_id"],
        "status": "confirming",
        "confirmations": 2,
        "confirmations_required": 6,
        "amount_fiat": "135.99",
        "currency": "EUR",
        "amount_btc": "0.00222402",
        "amount_sats": 222_402,
        "received_sats": 222_402,
        "due_sats": 0,
        "overpaid_sats": 0,
        "late": False,
        "taken_back": None,
        "txid": stored(document).txid,
        "txids": [stored(document).txid],
        "address": document["address"],
        "payment_uri": None,
        "label": "Socks",
        "expires_at": document["expires_at"],
        "redirect_url": "https://s.example",
        "marked": None,
        "final": False,
    }
    for body in (reply.body, visit(shop, path_of(document)).body):
        assert b"geheim" not in body
    assert b"company1" not in reply.body


def test_an_unchanged_status_is_304(shop: WebServer) -> None:
    """The page has the ETag of its status, in each language."""
    document = shop.created()
    path = f"{path_of(document)}/status"
    tag = visit(shop, path).headers["etag"]
    assert read(shop, document, "fr").of("main")[0]["data-tag"] == tag
    unchanged = visit(shop, path, **{"If-None-Match": tag})
    assert (unchanged.status, unchanged.body) == (304, b"")
    shop.wait(seconds=5)
    assert visit(shop, path, **{"If-None-Match": tag}).status == 304
    change(document, status="received", received_sats=DUE_SATS, due_sats=0)
    assert visit(shop, path, **{"If-None-Match": tag}).status == 200


def test_the_expiry_changes_the_status(shop: WebServer) -> None:
    """The page must not invite a payment while the daemon still checks if one came in time."""
    document = shop.created()
    tag = visit(shop, f"{path_of(document)}/status").headers["etag"]
    shop.now = NOW + timedelta(minutes=15)
    assert visit(shop, f"{path_of(document)}/status", **{"If-None-Match": tag}).status == 200
    assert status(shop, document)["status"] == "new"
    assert read(shop, document).of("main")[0]["data-scene"] == "ending"


@pytest.mark.parametrize("suffix", ["", "/status", "/qr.svg"])
@pytest.mark.parametrize("reference", [UNKNOWN, "PR-", "x" * 3000, "%00", "PR-%F0%9F%92%A9", "'--"])
def test_each_unknown_page_has_the_same_404(shop: WebServer, reference: str, suffix: str) -> None:
    """Not a byte distinguishes one wrong address from another."""
    reply, other = (visit(shop, f"/pay/{name}{suffix}") for name in (reference, UNKNOWN))
    assert reply.status == 404
    assert reply.body == other.body
    assert {**reply.headers, "date": ""} == {**other.headers, "date": ""}


def test_a_404_is_a_page_in_the_visitor_s_language(shop: WebServer) -> None:
    reply = visit(shop, f"/pay/{UNKNOWN}", "de")
    page = Document(reply.body.decode())
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert page.of("html") == [{"lang": "de"}]
    assert "Diese Zahlung gibt es nicht" in page.text


def test_without_a_database_the_page_reloads_itself(shop: WebServer) -> None:
    """The page is 503, and its text assures that no money is lost."""
    document = shop.created()
    usual = database.obj
    database.initialize(peewee.SqliteDatabase("/nowhere/nodetill.db"))
    try:
        reply = visit(shop, path_of(document))
    finally:
        database.initialize(usual)
    page = Document(reply.body.decode())
    assert reply.status == 503
    assert reply.headers["retry-after"]
    assert "not lost" in page.text
    assert {"http-equiv": "refresh", "content": "10"} in page.of("meta")


def test_the_page_loads_only_its_own_files(shop: WebServer) -> None:
    """The policy allows nothing else, and no cache keeps the page."""
    reply = visit(shop, path_of(create_in_scene(shop, "underpaid", label=HOSTILE)))
    policy = dict(part.split(" ", 1) for part in reply.headers["content-security-policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self'",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["referrer-policy"] == "no-referrer"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["vary"] == "Accept-Language"
    page = Document(reply.body.decode())
    for tag, attributes in page.elements:
        assert tag != "style"
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
        for name in ("src", "href"):
            assert tag == "a" or not re.match("//|[a-z]+:", attributes.get(name) or "")
    assert [list(attributes) for attributes in page.of("script")] == [["src", "defer"]]


def test_a_shop_s_label_and_redirect_url_are_text_on_the_page(shop: WebServer) -> None:
    """No label becomes markup, and no redirect address breaks out of its link."""
    url = "https://shop.example/?a='onmouseover=alert(1)&b=%22%3E"
    document = create_in_scene(shop, "confirmed", label=HOSTILE, redirect_url=url)
    page = read(shop, document)
    assert HOSTILE in page.text
    assert len(page.of("script")) == 1
    assert url in page.links()


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "//evil.example", "", "JavaScript://%0aalert(1)"]
)
def test_the_link_to_the_shop_is_a_web_address_or_absent(shop: WebServer, url: str) -> None:
    """This holds even if the database had another address."""
    document = create_in_scene(shop, "confirmed")
    change(document, redirect_url=url)
    assert status(shop, document)["redirect_url"] is None
    assert all(
        link.startswith(("?lang=", "https://mempool.space/tx/")) for link in read(shop, document).links()
    )


@pytest.mark.parametrize("scene", SCENES)
def test_nobody_who_is_to_pay_is_sent_away(shop: WebServer, scene: str) -> None:
    """The button to the shop is there once there is nothing more to pay. Until then there is a quiet link.

    There is no link beside a dropped transaction, because that money can still arrive.
    """
    url = "https://shop.example/thanks"
    document = create_in_scene(shop, scene, redirect_url=url)
    page = read(shop, document)
    classes = [str(link["class"]).split()[0] for link in page.of("a") if link["href"] == url]
    if status(shop, document)["payment_uri"] is None:
        assert classes == ["button"]
    else:
        assert classes == ([] if scene in FOLDED else ["away"])
        assert ("Pay another way: back to the shop" in page.text) is (scene not in FOLDED)


@pytest.mark.parametrize("scene", SCENES)
def test_without_script_the_page_reloads_until_confirmed(shop: WebServer, scene: str) -> None:
    """Browsers with scripts do not need the reload."""
    document = create_in_scene(shop, scene)
    body = visit(shop, path_of(document)).body.decode()
    reloads = '<noscript><meta http-equiv="refresh" content="10"></noscript>' in body
    assert reloads is (scene != "confirmed")
    assert status(shop, document)["final"] is (scene == "confirmed")
    assert ("data-final" in body) is (scene == "confirmed")


def test_a_payment_without_confirmations_is_final_only_in_a_block(shop: WebServer) -> None:
    """It is confirmed at once. A double-spend can still take it back, so the page follows it."""
    document = create_in_scene(shop, "confirmed")
    change(document, covered_height=None)
    assert status(shop, document)["status"] == "confirmed"
    assert not status(shop, document)["final"]
    assert "data-final" not in visit(shop, path_of(document)).body.decode()


def test_a_closed_request_is_final(shop: WebServer) -> None:
    """No page needs its status again."""
    document = create_in_scene(shop, "expired")
    change(document, closed_at=NOW)
    assert status(shop, document)["final"]


def test_a_link_chooses_the_language(shop: WebServer) -> None:
    """An unknown language changes nothing."""
    document = shop.created()
    for query, code in (("?lang=fr", "fr"), ("?lang=xx", "de"), ("?lang=", "de"), ("?utm=1", "de")):
        reply = visit(shop, path_of(document) + query, "de")
        assert reply.headers["content-language"] == code
    links = [link for link in read(shop, document).links() if link.startswith("?")]
    assert links == [f"?lang={code}" for code in languages()]


def test_the_price_of_a_bitcoin_is_shown(shop: WebServer) -> None:
    """It is in cents, whatever the spread, so that customers can compare it."""
    document = shop.created()
    change(document, price="60993.434250")
    assert "Preis für 1 BTC 60.993,43\xa0EUR" in read(shop, document, "de").text
    for bitcoin in ({"currency": "BTC", "amount_fiat": "0.001"}, {"currency": "SAT", "amount_fiat": "1000"}):
        assert "Price of" not in read(shop, shop.created(**bitcoin)).text


def test_an_amount_in_bitcoin_is_shown_once(shop: WebServer) -> None:
    """There is no other currency to show. It is in the title, and once on the page."""
    document = shop.created(amount_fiat="0.01", currency="BTC")
    assert read(shop, document).text.count("BTC") == 2


def test_an_overpayment_is_shown_with_advice(shop: WebServer) -> None:
    """The customer may ask the shop for the extra money."""
    document = create_in_scene(shop, "received")
    change(document, received_sats=DUE_SATS + 1000, overpaid_sats=1000)
    assert "You have sent 0.00001000\xa0BTC more than was due" in read(shop, document).text


def test_a_rest_below_the_dust_limit_is_rounded_up(shop: WebServer) -> None:
    """The network relays no payment below it, so the page asks for a little more."""
    document = create_in_scene(shop, "underpaid")
    change(document, received_sats=DUE_SATS - 1, due_sats=1)
    assert status(shop, document)["due_sats"] == 1
    assert str(status(shop, document)["payment_uri"]).endswith("?amount=0.00000546")


# Double-spends


def set_replaced(document: dict[str, Any], heir: str | None, **values: Any) -> None:
    """Store that `heir` has replaced the request's transaction."""
    change = {"state": "replaced", "replaced_by": heir, **values}
    Output.update(**change).where(Output.address == stored(document).address).execute()


def test_a_fee_bump_is_no_double_spend(shop: WebServer) -> None:
    """Any number of bumps is allowed, as long as the last one pays this request."""
    document = shop.created()
    for old, new in (("a", "b"), ("b", "c")):
        pay(document, old * 64, state="replaced", replaced_by=new * 64)
    pay(document, "c" * 64)
    change(document, status="underpaid", received_sats=1000, due_sats=DUE_SATS - 1000)
    assert status(shop, document)["taken_back"] is None
    Output.update(state="replaced", replaced_by="d" * 64).where(Output.txid == "c" * 64).execute()
    change(document, status="new", received_sats=0, due_sats=DUE_SATS)
    assert status(shop, document)["taken_back"] == "replaced"
    change(document, status="received", received_sats=DUE_SATS, due_sats=0)
    assert status(shop, document)["taken_back"] is None


def test_a_dropped_part_is_shown_below_the_received_part(shop: WebServer) -> None:
    document = create_in_scene(shop, "underpaid")
    pay(document, "e" * 64, state="dropped")
    page = read(shop, document)
    assert page.of("main")[0]["data-scene"] == "underpaid_dropped"
    assert "0.00100000\xa0BTC has arrived. The Bitcoin network has dropped another transaction" in page.text
    change(document, status="expired")
    assert "no longer has an earlier transaction" in read(shop, document).text


# The QR code, the files, and their size


def test_the_qr_code_is_an_svg_without_script(shop: WebServer) -> None:
    """It has a light background of its own."""
    document = shop.created(label="x" * 100)
    reply = visit(shop, f"{path_of(document)}/qr.svg")
    picture = ElementTree.fromstring(reply.body)
    assert reply.headers["content-type"] == "image/svg+xml"
    assert reply.headers["content-security-policy"].startswith("default-src 'none'")
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    assert {each.tag.rpartition("}")[2] for each in picture} == {"path"}
    # A long label would make it 60 modules wide.
    assert picture.attrib["viewBox"] == "0 0 45 45"


def test_static_files_may_be_cached_for_ever(shop: WebServer) -> None:
    """Their names change with their content, and an old name is 404."""
    document = shop.created()
    for link in files_of(shop, document):
        reply = visit(shop, link)
        assert reply.status == 200
        assert reply.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert reply.headers["x-content-type-options"] == "nosniff"
        other = re.sub(r"\.[0-9a-f]{12}\.", ".000000000000.", link)
        assert other != link
        assert visit(shop, other).status == 404
    for name in ("checkout.css", "..%2Fapp.py", "%2e%2e"):
        assert visit(shop, f"/static/{name}").status == 404


@pytest.mark.parametrize("scene", SCENES)
def test_the_page_and_its_files_are_small(shop: WebServer, scene: str) -> None:
    """The sizes are uncompressed."""
    document = create_in_scene(shop, scene)
    links = [path_of(document), *files_of(shop, document)]
    if scene not in OVER and status(shop, document)["payment_uri"]:
        links.append(f"{path_of(document)}/qr.svg")
    assert sum(len(visit(shop, link).body) for link in links) < TOTAL_BYTES


def files_of(shop: WebServer, document: dict[str, Any]) -> list[str]:
    """Return the paths of the style sheet, the script and the icon, as a browser resolves them."""
    page = read(shop, document)
    relative = [each["href"] for each in page.of("link")] + [each["src"] for each in page.of("script")]
    return [urljoin(path_of(document), str(each)) for each in relative]
