"""A shop chooses the order id, and every view of a payment request shows it."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.payment import PaymentRequest
from tests.support.checkout_scenes import change, create_in_scene
from tests.support.operator_client import PASSWORD, OperatorClient
from tests.support.web_server import WebServer, open_shop, stored
from web.operator import csv_export as export

MARKUP = '<b>"4711"</b>'


@pytest.fixture
def shop(tmp_path: Path, database_url: str) -> Iterator[WebServer]:
    with open_shop(tmp_path, database_url, {"OPERATOR_PASSWORD": PASSWORD}) as opened:
        yield opened


def test_an_order_id_is_returned_unchanged(shop: WebServer) -> None:
    """Two requests may have the same order id, and a request may have none."""
    first, second, without = shop.create(order_id="Ä 4711"), shop.create(order_id="Ä 4711"), shop.create()
    assert [each.json["order_id"] for each in (first, second, without)] == ["Ä 4711", "Ä 4711", None]
    assert stored(first.json).order_id == "Ä 4711"
    reference = first.json["payment_request_id"]
    assert shop.get(f"/api/v1/payments/{reference}").json["order_id"] == "Ä 4711"


@pytest.mark.parametrize(
    ("order_id", "message"),
    [
        ("", "must have 1 to 100 characters"),
        ("4" * 101, "must have 1 to 100 characters"),
        ("47\n11", "must be one line without control characters"),
        (4711, "must be text"),
    ],
)
def test_an_order_id_that_is_no_line_of_text_is_refused(
    shop: WebServer, order_id: object, message: str
) -> None:
    reply = shop.create(order_id=order_id)
    assert (reply.status, reply.json["errors"]) == (422, [{"field": "order_id", "message": message}])
    assert not PaymentRequest.select().exists()


@pytest.mark.parametrize("text", ["INV-2026", "inv-2026-17", "17"])
def test_a_search_finds_an_order_id_by_a_part_of_it(shop: WebServer, text: str) -> None:
    """The search ignores case."""
    wanted = shop.create(order_id="Inv-2026-17").json["payment_request_id"]
    shop.create(order_id="other")
    shop.create()
    found = shop.get(f"/api/v1/payments?q={text}").json["data"]
    assert [each["payment_request_id"] for each in found] == [wanted]


def test_the_order_id_is_escaped_for_the_operator(shop: WebServer) -> None:
    """The list, the page of the request and the CSV have it. In the CSV it is no formula."""
    reference = shop.create(order_id=MARKUP).json["payment_request_id"]
    shop.create(order_id="=1+1")
    operator = OperatorClient(shop)
    operator.log_in()
    for path in ("/", f"/operator/payments/{reference}"):
        page = operator.get(path)
        assert MARKUP in page.words
        assert MARKUP not in page.text
    rows = list(csv.DictReader(io.StringIO(operator.get("/operator/payments.csv").body.decode("utf-8-sig"))))
    assert [row["order_id"] for row in rows] == ["'=1+1", MARKUP]
    assert export.COLUMNS[-2:] == ("order_id", "link_id")


def test_the_receipt_has_the_order_and_both_times(shop: WebServer) -> None:
    document = create_in_scene(shop, "confirmed", order_id=MARKUP)
    change(document, received_at=shop.now, confirmed_at=shop.now)
    page = shop.get(f"/pay/{document['payment_request_id']}").body.decode()
    assert "&lt;b&gt;&quot;4711&quot;&lt;/b&gt;" in page
    assert "Received at" in page
    assert "Confirmed" in page
