"""BTCPay's addresses of the checkout over HTTP: the pages, their headers, and the script for shops."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin

import pytest

from tests.conftest import NewDatabase
from tests.support.checkout_scenes import change, create_in_scene
from tests.support.html_document import Document
from tests.support.operator_client import PASSWORD, OperatorClient
from tests.support.web_server import Reply, WebServer, open_shop

pytestmark = pytest.mark.one_database

UNKNOWN = "PR-" + "A" * 22
PAGES = ("/i/{id}", "/i/{id}/BTC", "/i/{id}/BTC_CHAIN", "/i/{id}/receipt", "/invoice?id={id}")


@pytest.fixture(scope="module")
def shop(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    directory = tmp_path_factory.mktemp("shop")
    settings = {"OPERATOR_PASSWORD": PASSWORD}
    with open_shop(directory, new_database(directory), settings, addresses=100) as opened:
        yield opened


def visit(shop: WebServer, path: str, language: str | None = None) -> Reply:
    return shop.get(path, {"Authorization": None, "Accept-Language": language, "Accept": "text/html"})


def created(shop: WebServer) -> str:
    return str(create_in_scene(shop, "new", label="Socks")["payment_request_id"])


@pytest.mark.parametrize("page", PAGES)
def test_each_address_has_the_checkout_page(shop: WebServer, page: str) -> None:
    """With any number of parts in its path, the page's links lead to the same files and the same request."""
    reference = created(shop)
    path = page.format(id=reference)
    reply = visit(shop, path)
    assert reply.status == 200
    found = Document(reply.body.decode())
    assert "Socks" in found.text
    (main,) = found.of("main")
    assert (main["data-invoice"], main["data-state"]) == (reference, "New")
    for relative in (main["data-status"], *(each["src"] for each in (*found.of("script"), *found.of("img")))):
        assert visit(shop, urljoin(path, relative)).status == 200, relative
    german = next(link for link in found.links() if "lang=de" in link)
    assert visit(shop, urljoin(path, german)).headers["content-language"] == "de"


@pytest.mark.parametrize("page", PAGES)
def test_a_shop_may_show_the_page_in_a_frame(shop: WebServer, page: str) -> None:
    """The page still runs no foreign script, and sets no cookie. An unknown invoice gets 404."""
    for reference, status in ((created(shop), 200), (UNKNOWN, 404)):
        reply = visit(shop, page.format(id=reference))
        assert reply.status == status
        assert "x-frame-options" not in reply.headers
        assert "cross-origin-opener-policy" not in reply.headers
        policy = reply.headers["content-security-policy"]
        assert "frame-ancestors" not in policy
        assert {"default-src 'none'", "script-src 'self'", "form-action 'none'"} <= {*policy.split("; ")}
        assert reply.headers["cross-origin-resource-policy"] == "cross-origin"
        assert reply.headers["cache-control"] == "no-store"
        assert "set-cookie" not in reply.headers
        assert not Document(reply.body.decode()).of("form")


@pytest.mark.parametrize("page", PAGES)
def test_only_a_modal_has_a_button_that_closes_it(shop: WebServer, page: str) -> None:
    """The button also appears in other languages."""
    path = page.format(id=created(shop))
    modal = f"{path}{'&' if '?' in path else '?'}view=modal"
    assert 'id="close"' not in visit(shop, path).body.decode()
    found = Document(visit(shop, modal).body.decode())
    assert [each for each in found.of("button") if each.get("id") == "close"]
    link = next(each for each in found.links() if "lang=fr" in each)
    french = visit(shop, urljoin(modal, link)).body.decode()
    assert 'lang="fr"' in french
    assert 'aria-label="Fermer"' in french


def test_a_missing_invoice_is_404(shop: WebServer) -> None:
    for path in ("/invoice", "/invoice?id=", "/invoice?id=%00", f"/invoice?id={UNKNOWN}&id=x", "/i/x"):
        reply = visit(shop, path)
        assert reply.status == 404, path
        assert b"There is no such payment" in reply.body


def test_a_path_in_another_case_leads_to_the_page(shop: WebServer) -> None:
    """BTCPay's server accepts any case and more slashes. The id keeps its case."""
    reference = created(shop)
    for wrong, right in (
        (f"/I/{reference}", f"/i/{reference}"),
        (f"//i/{reference}/", f"/i/{reference}"),
        (f"/I/{reference}/BTC?lang=de", f"/i/{reference}/BTC?lang=de"),
        (f"/Invoice?id={reference}", f"/invoice?id={reference}"),
        (f"/Invoices/{reference}", f"/invoices/{reference}"),
    ):
        reply = visit(shop, wrong)
        assert reply.status == 303, wrong
        assert urljoin(f"http://x{wrong}", reply.headers["location"]) == f"http://x{right}"
    assert visit(shop, f"/invoice?ID={reference}&View=modal").status == 200
    assert visit(shop, f"/PAY/{reference}").status == 404


def test_the_region_of_a_language_is_ignored(shop: WebServer) -> None:
    """Magento sends a region, such as de-DE."""
    path = f"/i/{created(shop)}"
    for tag, code in (("de-DE", "de"), ("FR", "fr"), ("es_MX", "es"), ("tlh-KX", "en"), ("", "en")):
        assert visit(shop, f"{path}?lang={tag}").headers["content-language"] == code


def test_an_admin_link_leads_to_the_operators_page(shop: WebServer) -> None:
    """The operator logs in there."""
    reference = created(shop)
    client = OperatorClient(shop)
    page = client.get(f"/invoices/{reference}")
    assert (page.status, page.leads_to) == (303, f"/operator/payments/{reference}")
    assert client.get(page.leads_to).leads_to.startswith("/operator/login?to=")
    client.log_in()
    assert client.get(page.leads_to).status == 200
    assert client.get(client.get(f"/invoices/{UNKNOWN}").leads_to).status == 404


@pytest.mark.parametrize("query", ["", "?ver=2.8.0", "?v=%22%3E&x"])
def test_any_shop_may_load_the_script(shop: WebServer, query: str) -> None:
    """A browser caches it for only an hour, because its name has no version."""
    reply = visit(shop, f"/modal/btcpay.js{query}")
    assert reply.status == 200
    assert reply.headers["content-type"] == "text/javascript; charset=utf-8"
    assert reply.headers["cross-origin-resource-policy"] == "cross-origin"
    assert reply.headers["access-control-allow-origin"] == "*"
    assert reply.headers["cache-control"] == "public, max-age=3600"


REDIRECT = "https://shop.example/?wc=a|b&amp;i={InvoiceId}&o={orderid}&s={STATUS}&x={Other}#{status}"


def invoice(shop: WebServer, scene: str, **columns: Any) -> str:
    """Store an invoice with these columns, as the Greenfield API does, and return its id."""
    document = create_in_scene(shop, scene)
    change(document, **{"order_id": "4711/ä", **columns})
    return str(document["payment_request_id"])


@pytest.mark.parametrize(
    ("scene", "status"),
    [
        ("new", "New"),
        ("underpaid", "New"),
        ("received", "Processing"),
        ("confirmed", "Settled"),
        ("late", "Expired"),
    ],
)
def test_the_return_link_has_the_invoice_the_order_and_the_status(
    shop: WebServer, scene: str, status: str
) -> None:
    """Characters that no address may have are encoded. All others stay, even a wrong `&amp;`."""
    reference = invoice(shop, scene, checkout={"redirectURL": REDIRECT})
    expected = (
        f"https://shop.example/?wc=a%7Cb&amp;i={reference}&o=4711%2F%C3%A4&s={status}&x=%7BOther%7D#{status}"
    )
    found = Document(visit(shop, f"/i/{reference}").body.decode())
    assert (expected in found.links()) is (status != "Expired" or scene == "late")
    assert found.of("main")[0]["data-state"] == status
    assert visit(shop, f"/pay/{reference}/status").json["redirect_url"] == expected


@pytest.mark.parametrize("url", ["javascript:alert(1)//{Status}", "data:text/html,x", "{Status}javascript:x"])
def test_no_return_link_runs_a_script(shop: WebServer, url: str) -> None:
    """The API refuses such an address. This is a second defence."""
    options = {"redirectURL": url, "redirectAutomatically": True}
    found = Document(visit(shop, f"/i/{invoice(shop, 'confirmed', checkout=options)}").body.decode())
    assert "data-back" not in found.of("main")[0]
    assert not [link for link in found.links() if "javascript" in link or "data:" in link]


def test_a_paid_page_redirects_only_if_the_shop_wants_it(shop: WebServer) -> None:
    """The page at /pay and the receipt do not redirect. Without JavaScript, a meta element redirects."""
    url = 'https://shop.example/"><b>'
    target = "https://shop.example/%22%3E%3Cb%3E"
    for is_wanted in (True, False, None):
        options = {"redirectURL": url, "redirectAutomatically": is_wanted}
        for scene, path, is_expected in (
            ("new", "/i/{}", False),
            ("expired", "/i/{}", False),
            ("received", "/i/{}", True),
            ("confirmed", "/i/{}/BTC", True),
            ("confirmed", "/invoice?id={}", True),
            ("confirmed", "/i/{}/receipt", False),
            ("confirmed", "/pay/{}", False),
        ):
            body = visit(shop, path.format(invoice(shop, scene, checkout=options))).body.decode()
            main, refresh = Document(body).of("main")[0], Document(body).of("meta")
            is_returning = bool(is_wanted) and is_expected
            assert (main.get("data-back") == target) is is_returning, (path, scene, is_wanted)
            assert ({"http-equiv": "refresh", "content": f"5; url={target}"} in refresh) is is_returning
            assert ("in a moment" in body) is is_returning


@pytest.mark.parametrize(
    ("wanted", "query", "browser", "code"),
    [
        ("de-DE", "", "fr", "de"),
        ("de-DE", "?lang=es", "fr", "es"),
        ("de-DE", "?lang=xx", "fr", "de"),
        ("ja-JP", "", "fr", "fr"),
        (None, "", "fr", "fr"),
        ("", "", None, "en"),
    ],
)
def test_the_language_of_the_shop_precedes_that_of_the_browser(
    shop: WebServer, wanted: str | None, query: str, browser: str | None, code: str
) -> None:
    """The customer's own choice on the page precedes both."""
    reference = invoice(shop, "new", checkout={"defaultLanguage": wanted})
    assert visit(shop, f"/i/{reference}{query}", browser).headers["content-language"] == code


@pytest.mark.parametrize(
    ("scene", "mark", "headline", "state"),
    [
        ("new", "settled", "Paid", "Settled"),
        ("expired", "settled", "Paid", "Settled"),
        ("received", "settled", "Payment received", "Settled"),
        ("new", "invalid", "Payment no longer valid", "Invalid"),
        ("received", "invalid", "Payment no longer valid", "Invalid"),
        ("confirmed", "invalid", "Payment no longer valid", "Invalid"),
    ],
)
def test_a_marked_invoice_asks_for_no_money(
    shop: WebServer, scene: str, mark: str, headline: str, state: str
) -> None:
    """The page shows the shop's decision, and has no QR code to pay."""
    reference = invoice(shop, scene)
    before = visit(shop, f"/pay/{reference}/status").headers["etag"]
    change({"payment_request_id": reference}, marked=mark, marked_at=shop.now)
    found = Document(visit(shop, f"/i/{reference}").body.decode())
    assert f"{headline}\n" in found.text
    assert found.of("main")[0]["data-state"] == state
    assert not [link for link in found.links() if link.startswith("bitcoin:")]
    assert visit(shop, f"/pay/{reference}/qr.svg").status == 410
    status = visit(shop, f"/pay/{reference}/status")
    assert (status.json["marked"], status.json["payment_uri"]) == (mark, None)
    assert status.headers["etag"] != before


def test_an_invoice_that_lost_its_money_is_invalid(shop: WebServer) -> None:
    """The frame reports this to the shop's page."""
    lost = invoice(shop, "expired", first_covered_at=shop.now)
    assert Document(visit(shop, f"/i/{lost}").body.decode()).of("main")[0]["data-state"] == "Invalid"
