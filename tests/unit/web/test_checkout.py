"""The checkout page over HTTP: what it says in each scene, what it keeps to itself, and how it is sent."""

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

HOSTILE = "\"'><script>alert(1)</script>{{7*7}}<!-- &amp; </title>"
FOLDED = ("dropped", "underpaid_dropped")
UNKNOWN = "PR-" + "A" * 22
TOTAL_BYTES = 50 * 1024


@pytest.fixture(scope="module")
def shop(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """A shop whose customers have no key."""
    directory = tmp_path_factory.mktemp("shop")
    with open_shop(directory, new_database(directory), addresses=200) as opened:
        yield opened


@pytest.fixture(autouse=True)
def present(shop: WebServer) -> None:
    """Each test begins at the same time."""
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
def test_each_scene_is_told_in_each_language(shop: WebServer, scene: str, code: str) -> None:
    """What has happened, what it means, and the number to name to the shop."""
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
def test_money_is_asked_for_only_while_it_counts(shop: WebServer, scene: str) -> None:
    """Address, QR code and wallet link are there to pay what is due, and gone once nothing is."""
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


def test_the_status_has_these_fields_and_no_others(shop: WebServer) -> None:
    """A list of what the page needs. Seller, note and metadata are nobody's business."""
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
        "final": False,
    }
    for body in (reply.body, visit(shop, path_of(document)).body):
        assert b"geheim" not in body
        assert b"company1" not in body


def test_who_has_the_status_is_told_so(shop: WebServer) -> None:
    """304 until something changes; the page names the tag of what it shows, in every language."""
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


def test_the_end_of_the_time_is_a_change(shop: WebServer) -> None:
    """Nobody is invited to pay while the daemon still looks whether a payment came in time."""
    document = shop.created()
    tag = visit(shop, f"{path_of(document)}/status").headers["etag"]
    shop.now = NOW + timedelta(minutes=15)
    assert visit(shop, f"{path_of(document)}/status", **{"If-None-Match": tag}).status == 200
    assert status(shop, document)["status"] == "new"
    assert read(shop, document).of("main")[0]["data-scene"] == "ending"


@pytest.mark.parametrize("suffix", ["", "/status", "/qr.svg"])
@pytest.mark.parametrize("reference", [UNKNOWN, "PR-", "x" * 3000, "%00", "PR-%F0%9F%92%A9", "'--"])
def test_what_is_not_there_is_the_same_for_all(shop: WebServer, reference: str, suffix: str) -> None:
    """404, and not a byte tells one wrong address from another."""
    reply, other = (visit(shop, f"/pay/{name}{suffix}") for name in (reference, UNKNOWN))
    assert reply.status == 404
    assert reply.body == other.body
    assert {**reply.headers, "date": ""} == {**other.headers, "date": ""}


def test_a_page_that_is_not_there_is_a_page(shop: WebServer) -> None:
    """In the visitor's language."""
    reply = visit(shop, f"/pay/{UNKNOWN}", "de")
    page = Document(reply.body.decode())
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert page.of("html") == [{"lang": "de"}]
    assert "Diese Zahlung gibt es nicht" in page.text


def test_without_a_database_the_page_tries_again(shop: WebServer) -> None:
    """503 as a page that reloads itself, and says that no money is lost."""
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


def test_the_page_runs_and_loads_nothing_but_its_own(shop: WebServer) -> None:
    """The policy allows it nothing else, and nothing in it would need more. It is kept nowhere."""
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


def test_what_a_shop_types_is_text_on_the_page(shop: WebServer) -> None:
    """No label becomes markup, whatever stands in it; nor does a redirect address break out of its link."""
    url = "https://shop.example/?a='onmouseover=alert(1)&b=%22%3E"
    document = create_in_scene(shop, "confirmed", label=HOSTILE, redirect_url=url)
    page = read(shop, document)
    assert HOSTILE in page.text
    assert len(page.of("script")) == 1
    assert url in page.links()


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "//evil.example", "", "JavaScript://%0aalert(1)"]
)
def test_the_way_back_is_a_web_address_or_none(shop: WebServer, url: str) -> None:
    """Even if the database should hold another."""
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
def test_without_script_the_page_reloads_until_all_is_done(shop: WebServer, scene: str) -> None:
    """Only for those who have no script; a confirmed payment has come to its end."""
    document = create_in_scene(shop, scene)
    body = visit(shop, path_of(document)).body.decode()
    reloads = '<noscript><meta http-equiv="refresh" content="10"></noscript>' in body
    assert reloads is (scene != "confirmed")
    assert status(shop, document)["final"] is (scene == "confirmed")
    assert ("data-final" in body) is (scene == "confirmed")


def test_a_closed_request_is_final(shop: WebServer) -> None:
    """No page asks after it any more."""
    document = create_in_scene(shop, "expired")
    change(document, closed_at=NOW)
    assert status(shop, document)["final"]


def test_a_language_can_be_chosen(shop: WebServer) -> None:
    """By a link on the page, against the browser's; one that there is not changes nothing."""
    document = shop.created()
    for query, code in (("?lang=fr", "fr"), ("?lang=xx", "de"), ("?lang=", "de"), ("?utm=1", "de")):
        reply = visit(shop, path_of(document) + query, "de")
        assert reply.headers["content-language"] == code
    links = [link for link in read(shop, document).links() if link.startswith("?")]
    assert links == [f"?lang={code}" for code in languages()]


def test_the_price_of_a_bitcoin_is_told(shop: WebServer) -> None:
    """As people write it, so that they can compare it with what they know; in cents, whatever the spread."""
    document = shop.created()
    change(document, price="60993.434250")
    assert "Preis für 1 BTC 60.993,43\xa0EUR" in read(shop, document, "de").text
    for bitcoin in ({"currency": "BTC", "amount_fiat": "0.001"}, {"currency": "SAT", "amount_fiat": "1000"}):
        assert "Price of" not in read(shop, shop.created(**bitcoin)).text


def test_a_price_in_bitcoin_is_not_said_twice(shop: WebServer) -> None:
    """There is no other currency to name then: once in the title, once on the page."""
    document = shop.created(amount_fiat="0.01", currency="BTC")
    assert read(shop, document).text.count("BTC") == 2


def test_too_much_is_told_with_what_to_do(shop: WebServer) -> None:
    """The customer may ask for it back."""
    document = create_in_scene(shop, "received")
    change(document, received_sats=DUE_SATS + 1000, overpaid_sats=1000)
    assert "You have sent 0.00001000\xa0BTC more than was due" in read(shop, document).text


def test_a_rest_that_no_wallet_can_send_is_rounded_up(shop: WebServer) -> None:
    """Below the dust limit the network relays no payment: a little more is asked for than is missing."""
    document = create_in_scene(shop, "underpaid")
    change(document, received_sats=DUE_SATS - 1, due_sats=1)
    assert status(shop, document)["due_sats"] == 1
    assert str(status(shop, document)["payment_uri"]).endswith("?amount=0.00000546")


# Double-spends


def replace(document: dict[str, Any], heir: str | None, **values: Any) -> None:
    """Let `heir` have replaced the request's transaction."""
    change = {"state": "replaced", "replaced_by": heir, **values}
    Output.update(**change).where(Output.address == stored(document).address).execute()


def test_a_fee_bump_is_no_double_spend(shop: WebServer) -> None:
    """However often it is bumped, as long as the last one pays here."""
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


def test_a_part_that_is_gone_is_told_beside_what_is_there(shop: WebServer) -> None:
    """What has arrived comes first."""
    document = create_in_scene(shop, "underpaid")
    pay(document, "e" * 64, state="dropped")
    page = read(shop, document)
    assert page.of("main")[0]["data-scene"] == "underpaid_dropped"
    assert "0.00100000\xa0BTC has arrived. The Bitcoin network has dropped another transaction" in page.text
    change(document, status="expired")
    assert "no longer has an earlier transaction" in read(shop, document).text


# The QR code, the files, and their size


def test_the_qr_code_is_a_picture_that_runs_nothing(shop: WebServer) -> None:
    """SVG with a light ground of its own."""
    document = shop.created(label="x" * 100)
    reply = visit(shop, f"{path_of(document)}/qr.svg")
    picture = ElementTree.fromstring(reply.body)
    assert reply.headers["content-type"] == "image/svg+xml"
    assert reply.headers["content-security-policy"].startswith("default-src 'none'")
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    assert {each.tag.rpartition("}")[2] for each in picture} == {"path"}
    # A long label would make it 60 modules wide.
    assert picture.attrib["viewBox"] == "0 0 45 45"


def test_files_may_be_kept_for_ever(shop: WebServer) -> None:
    """Since their names change with their content; another content's name is not there."""
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
def test_it_is_small(shop: WebServer, scene: str) -> None:
    """The page and all that it loads, uncompressed."""
    document = create_in_scene(shop, scene)
    links = [path_of(document), *files_of(shop, document)]
    if scene not in OVER and status(shop, document)["payment_uri"]:
        links.append(f"{path_of(document)}/qr.svg")
    assert sum(len(visit(shop, link).body) for link in links) < TOTAL_BYTES


def files_of(shop: WebServer, document: dict[str, Any]) -> list[str]:
    """The paths of the style sheet, the script and the icon, as a browser works them out from the page's."""
    page = read(shop, document)
    relative = [each["href"] for each in page.of("link")] + [each["src"] for each in page.of("script")]
    return [urljoin(path_of(document), str(each)) for each in relative]
