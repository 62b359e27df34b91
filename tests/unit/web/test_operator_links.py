"""The operator makes, finds and closes payment links on pages."""

import csv
import io
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

import pytest

from models.link import Link
from models.payment import PaymentRequest
from models.queries.attention import ActionNeeded, action_counts
from models.seller import Seller
from tests.support.links import LinkShop, link_settings
from tests.support.operator_client import PASSWORD, OperatorClient, OperatorResponse
from tests.support.web_server import add_seller, open_shop

MARKUP = "<script>alert(1)</script>\"' {{7*7777}}"
FORMULA = "=HYPERLINK(1)"


@pytest.fixture
def shop(tmp_path: Path, database_url: str) -> Iterator[LinkShop]:
    environ = {"OPERATOR_PASSWORD": PASSWORD, "ADDRESS_POOL": "20"}
    with open_shop(tmp_path, database_url, environ) as opened:
        yield LinkShop(opened, link_settings(tmp_path, database_url, environ))


@pytest.fixture
def operator(shop: LinkShop) -> OperatorClient:
    client = OperatorClient(shop.server)
    assert client.log_in().status == 303
    return client


def send(operator: OperatorClient, **fields: str) -> OperatorResponse:
    """Send the form "New link"."""
    body = {"title": "Invoice 17", "currency": "EUR", "seller_id": "company1", "kind": "invoice", **fields}
    return operator.call("POST", "/operator/links/new", urlencode(body))


def test_a_link_is_made_by_a_form(operator: OperatorClient) -> None:
    sent = send(operator, amount_fiat="12,50", due_at="2026-12-24", order_id="17", thanks="a\r\nb")
    assert sent.status == 303
    link = Link.get()
    assert sent.leads_to == f"/operator/links/{link.reference}"
    assert (link.amount_fiat, link.order_id, link.thanks) == ("12.50", "17", "a\nb")
    assert f"{link.due_at:%Y-%m-%d %H:%M:%S}" == "2026-12-24 23:59:59"
    page = operator.call("GET", sent.leads_to)
    assert f"http://127.0.0.1:8080/l/{link.reference}" in page.text
    assert f'src="../../l/{link.reference}/qr.svg"' in page.text


def test_a_form_that_is_sent_twice_makes_one_link(operator: OperatorClient) -> None:
    """Each form has a token. A form with other values makes another link, once."""
    add_seller("company2", "nt_company2")
    shown = re.search(r'name="token" value="([0-9a-f]{32})"', operator.get("/operator/links/new").text)
    assert shown is not None
    for changed in ({}, {"amount_fiat": "20"}, {"seller_id": "company2"}, {"title": "Invoice 18"}):
        fields = {"amount_fiat": "5", "token": shown[1], **changed}
        first, second = (send(operator, **fields) for _ in range(2))
        assert first.status == 303
        assert first.leads_to == second.leads_to
    made = [(link.seller_id, link.amount_fiat, link.title) for link in Link.select().order_by(Link.id)]
    assert made == [
        ("company1", "5", "Invoice 17"),
        ("company1", "20", "Invoice 17"),
        ("company2", "5", "Invoice 17"),
        ("company1", "5", "Invoice 18"),
    ]
    assert send(operator, amount_fiat="5", token="x").status == 303
    assert Link.select().count() == 5


def test_a_donation_is_made_by_a_form(operator: OperatorClient) -> None:
    assert send(operator, kind="reusable", suggested="5, 10; 2,50", minimum="1").status == 303
    link = Link.get()
    assert (link.is_reusable, link.amount_fiat, link.suggested) == (True, None, ["5", "10", "2.50"])


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"title": ""}, "title", "Must have 1 to 100 characters"),
        ({"amount_fiat": "much"}, "amount_fiat", "Must be a plain decimal number"),
        ({"suggested": "5 a"}, "suggested", "Must be a plain decimal number"),
        ({"minimum": "1,000"}, "minimum", "Is ambiguous"),
        ({"kind": "reusable", "suggested": "5; 1,000"}, "suggested", "Is ambiguous"),
        ({"due_at": "9999-12-31T23:59:59-01:00"}, "due_at", "Must be a time in the years 1 to 9999"),
        ({"due_at": "soon"}, "due_at", "Must be a time such as"),
        ({"seller_id": "nobody"}, "seller_id", "Must be one of your sellers"),
        ({"confirmations": "x"}, "confirmations", "Must be a whole number from 0 to 144"),
    ],
)
def test_an_error_is_at_its_field(
    operator: OperatorClient, fields: dict[str, str], field: str, message: str
) -> None:
    page = send(operator, note=MARKUP, **fields)
    assert page.status == 422
    assert f'id="{field}-error">{message}' in page.text
    assert "<script>alert" not in page.text
    assert "{{7*7777}}" in page.text
    assert Link.select().count() == 0


def test_the_tab_shows_the_money_of_each_link(shop: LinkShop, operator: OperatorClient) -> None:
    invoice, donation = shop.link(title=MARKUP, order_id=MARKUP), shop.donation()
    shop.pay(shop.request(invoice), depth=6)
    shop.pay(shop.request(donation, "amount=5"))
    page = operator.call("GET", "/operator/links")
    assert page.status == 200
    assert "100.00 EUR" in page.words.replace("\N{NO-BREAK SPACE}", " ")
    assert "5.00 EUR" in page.words.replace("\N{NO-BREAK SPACE}", " ")
    assert "<script>alert" not in page.text
    one = operator.call("GET", f"/operator/links/{invoice}")
    assert "paid" in one.words
    assert "<script>alert" not in one.text


def test_the_links_of_a_removed_seller_are_closed(shop: LinkShop, operator: OperatorClient) -> None:
    open_link, paid = shop.link(), shop.link()
    shop.pay(shop.request(paid), depth=6)
    Seller.update(removed_at=shop.server.now).execute()
    assert " closed " in operator.get(f"/operator/links/{open_link}").words
    for state, link in (("closed", open_link), ("paid", paid), ("unpaid", None)):
        page = operator.get(f"/operator/links?state={state}").text
        assert [each for each in (open_link, paid) if each in page] == ([] if link is None else [link])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=ALPACA", ["closed", "overdue"]),
        ("q=2026-17", ["paid"]),
        ("q=for+the+fair", ["open"]),
        ("q=50%25", []),
        ("state=unpaid", ["open", "overdue"]),
        ("state=overdue", ["overdue"]),
        ("state=paid", ["paid"]),
        ("state=closed", ["closed"]),
        ("seller=company1", ["open", "paid", "closed", "overdue"]),
        ("seller=nobody", []),
        ("q=alpaca&state=closed&seller=company1", ["closed"]),
        ("q=&state=&seller=", ["open", "paid", "closed", "overdue"]),
    ],
)
def test_links_are_found(shop: LinkShop, operator: OperatorClient, query: str, found: list[str]) -> None:
    """An unpaid link is neither paid nor closed."""
    ids = {
        "overdue": shop.link(title="Two alpacas", due_at="2026-11-22T00:00:00Z"),
        "closed": shop.link(title="An Alpaca"),
        "paid": shop.link(order_id="2026-17"),
        "open": shop.link(note="50 brochures for the fair"),
    }
    shop.server.post(f"/api/v1/links/{ids['closed']}/close")
    shop.pay(shop.request(ids["paid"]), depth=6)
    page = operator.call("GET", f"/operator/links?{query}")
    assert re.findall(r'<tr id="(LK-\w{22})">', page.text) == [ids[name] for name in found]
    assert ("No links found." in page.words) is (not found)
    one = operator.call("GET", f"/operator/links?q={ids['paid'][:12]}")
    assert re.findall(r'<tr id="(LK-\w{22})">', one.text) == [ids["paid"]]


def test_a_page_of_found_links_leads_to_the_next(shop: LinkShop, operator: OperatorClient) -> None:
    """The filters go along, and the page has the number of links."""
    made = [shop.link(title=f"Alpaca {number}") for number in range(3)]
    shop.link(title="Socks")
    page = operator.call("GET", "/operator/links?q=alpaca&limit=2")
    assert "2 of 3" in page.words
    older = re.search(r'href="[./]*operator/links\?([^"]*)" rel="next"', page.text)
    assert older is not None
    query = unescape(older[1])
    assert query == f"limit=2&q=alpaca&cursor={made[1]}"
    page = operator.call("GET", f"/operator/links?{query}")
    assert re.findall(r'<tr id="(LK-\w{22})">', page.text) == [made[0]]
    assert "?limit=2&amp;q=alpaca" in page.text


@pytest.mark.parametrize("query", ["state=x", "seller=/", f"q={'a' * 101}", "cursor=x"])
def test_a_wrong_filter_is_refused(operator: OperatorClient, query: str) -> None:
    assert operator.call("GET", f"/operator/links?{query}").status == 422


@pytest.mark.parametrize("is_reusable", [False, True])
def test_late_money_has_its_worth_and_its_page(
    shop: LinkShop, operator: OperatorClient, is_reusable: bool
) -> None:
    """The operator accepts it there. It holds up the rest of an invoice alone."""
    link_id = shop.link(is_reusable=is_reusable)
    request = shop.request(link_id)
    shop.expire(request)
    shop.pay(request)
    shop.server.now = request.created_at
    page = operator.call("GET", f"/operator/links/{link_id}")
    assert f'<a href="../../operator/payments/{request.reference}">PR-' in page.text
    words = page.words.replace("\N{NO-BREAK SPACE}", " ")
    assert "Came 1 s late. Worth 100.00 EUR today (asked for: 100.00 EUR, " in words, words
    assert ("Until then nobody can pay the rest." in words) is not is_reusable


def test_late_money_below_the_amount_has_its_page(shop: LinkShop, operator: OperatorClient) -> None:
    request = shop.request(link_id := shop.link())
    shop.expire(request)
    shop.pay(request, 50_000)
    page = operator.call("GET", f"/operator/links/{link_id}")
    assert f'<a href="../../operator/payments/{request.reference}">PR-' in page.text
    assert "It is less than the whole amount." in page.words


def test_a_link_is_closed_by_a_form(shop: LinkShop, operator: OperatorClient) -> None:
    link_id = shop.link()
    path = f"/operator/links/{link_id}"
    assert "Close the link" in operator.call("GET", path).words
    assert "The link is closed." not in operator.call("GET", f"{path}?closed=1").words
    sent = operator.call("POST", f"{path}/close", "")
    assert sent.leads_to == f"{path}?closed=1"
    page = operator.call("GET", sent.leads_to)
    assert "The link is closed. Nobody can pay it any more." in page.words
    assert "Close the link" not in page.words
    assert operator.call("GET", "/operator/links/LK-x").status == 404


def test_pages_need_the_login(shop: LinkShop) -> None:
    link_id = shop.link()
    stranger = OperatorClient(shop.server)
    for method, path in (
        ("GET", ""),
        ("GET", "/new"),
        ("POST", "/new"),
        ("GET", f"/{link_id}"),
        ("POST", f"/{link_id}/close"),
    ):
        page = stranger.call(method, f"/operator/links{path}", "" if method == "POST" else None)
        assert page.leads_to.startswith("/operator/login")
    assert shop.document(link_id)["status"] == "open"


def test_requests_are_found_by_their_link(shop: LinkShop, operator: OperatorClient) -> None:
    """The API, the list and the CSV include the link."""
    link_id = shop.link(title=FORMULA)
    request = shop.request(link_id)
    other = shop.server.created()
    found = shop.server.get(f"/api/v1/payments?link_id={link_id}").json["data"]
    assert [each["payment_request_id"] for each in found] == [request.reference]
    assert shop.server.get("/api/v1/payments?link_id=x").status == 422
    page = operator.call("GET", f"/?link_id={link_id}")
    assert request.reference in page.text
    assert other["payment_request_id"] not in page.text
    text = operator.call("GET", "/operator/payments.csv").body.decode("utf-8-sig")
    rows = {row["payment_request_id"]: row for row in csv.DictReader(io.StringIO(text))}
    assert rows[request.reference]["link_id"] == link_id
    assert rows[request.reference]["label"] == f"'{FORMULA}"
    assert rows[other["payment_request_id"]]["link_id"] == ""
    assert link_id in operator.call("GET", f"/operator/payments/{request.reference}").text


def test_a_part_of_a_single_use_link_needs_no_decision(shop: LinkShop) -> None:
    """Its page asks for the rest.

    A part for a reusable link needs one, and so does a part of a link that is closed unpaid, because nobody
    asks for the rest.
    """
    single_use = shop.link()
    for link_id, count in ((single_use, 0), (shop.link(is_reusable=True), 1)):
        request = shop.request(link_id)
        shop.pay(request, 50_000, depth=6)
        shop.expire(request)
        shop.server.now = request.created_at
        assert action_counts().get(ActionNeeded.PART, 0) == count
    assert shop.server.post(f"/api/v1/links/{single_use}/close").status == 200
    assert action_counts().get(ActionNeeded.PART, 0) == 2
    add_seller("other", "nt_other")
    assert PaymentRequest.select().count() == 2
