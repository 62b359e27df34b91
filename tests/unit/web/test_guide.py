"""The guide on /docs is true: its examples are real responses, and it explains each value."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from models.output import Output, outputs_at
from payments.document import payment_document
from payments.link import LinkEvent, LinkStatus
from payments.network import MAIN
from payments.notifications import webhook_body
from payments.status import EventType, Status
from tests.conftest import sqlite_in
from tests.support.checkout_scenes import change
from tests.support.web_server import NOW, TIP, WebServer, open_shop, pay, stored
from web.description.meanings import (
    EVENT_MEANINGS,
    LINK_EVENT_MEANINGS,
    LINK_STATUS_MEANINGS,
    STATUS_MEANINGS,
)
from web.description.openapi import description
from web.http.problem_types import PROBLEM_TYPES

pytestmark = pytest.mark.one_database

README = Path(__file__).parent.parent.parent.parent / "README.md"
URL = "https://pay.example.com"
OWN = ("payment_request_id", "address", "payment_uri", "checkout_url")
"""The fields that differ from request to request."""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[WebServer]:
    """A shop at the time of the examples."""
    with open_shop(tmp_path, sqlite_in(tmp_path), {"PUBLIC_URL": URL}) as opened:
        yield opened


@pytest.fixture
def page(shop: WebServer) -> str:
    """The page, as anybody gets it."""
    return shop.get("/docs", {"Authorization": None}).body.decode()


def code(page: str, name: str) -> str:
    """Return the text of the example with this id."""
    match = re.search(rf'<pre tabindex="0" id="{name}"><code>(.*?)</code></pre>', page, re.DOTALL)
    assert match, name
    return unescape(match[1])


def with_own(example: Mapping[str, Any], real: Mapping[str, Any]) -> dict[str, Any]:
    """Return the example with the fields of the real request that differ each time."""
    return {**example, **{name: real[name] for name in OWN}}


def first_call(shop: WebServer, page: str) -> dict[str, Any]:
    """Make the call of the page, and return the new request."""
    call = code(page, "create-call")
    assert call.startswith(f"curl {URL}/api/v1/payments ")
    body = re.search(r"-d '(.*)'$", call, re.DOTALL)
    assert body
    headers = dict(re.findall(r'-H "([\w-]+): ([^"$]+)"', call))
    reply = shop.post("/api/v1/payments", body[1].encode(), headers)
    assert reply.status == 201
    assert reply.json["payment_request_id"] != stored(reply.json).idempotency_key == "order-4711"
    created: dict[str, Any] = reply.json
    return created


def test_the_first_call_returns_the_example(shop: WebServer, page: str) -> None:
    """All fields are equal, except those that differ from request to request."""
    real, example = first_call(shop, page), json.loads(code(page, "created"))
    assert real == with_own(example, real)
    assert list(real) == list(example)
    assert len(example["payment_request_id"]) == len(real["payment_request_id"])
    assert example["payment_uri"] == real["payment_uri"].replace(
        real["address"].upper(), example["address"].upper()
    )
    reference = example["payment_request_id"]
    assert example["checkout_url"] == real["checkout_url"].replace(real["payment_request_id"], reference)
    assert f"curl {URL}/api/v1/payments/{reference} " in code(page, "read-call")


def test_the_call_that_creates_a_link_works(shop: WebServer, page: str) -> None:
    body = re.search(r"-d '(.*)'$", code(page, "link-call"), re.DOTALL)
    assert body
    assert shop.post("/api/v1/links", body[1].encode()).status == 201


def test_the_webhook_is_the_example(shop: WebServer, page: str) -> None:
    """The same request, paid and confirmed: the body that the daemon would send."""
    made, example = first_call(shop, page), json.loads(code(page, "event"))
    (part,) = example["data"]["transactions"]
    times = {name: datetime.fromisoformat(example["data"][name]) for name in ("received_at", "confirmed_at")}
    change(
        made,
        status="confirmed",
        covered_height=TIP - 5,
        received_sats=made["amount_sats"],
        due_sats=0,
        txid=part["txid"],
        **times,
    )
    mined = {name: part[name] for name in ("amount_sats", "state", "block_hash", "block_height")}
    pay(made, part["txid"], **mined)
    Output.update(first_seen_at=times["received_at"], vout=part["vout"]).execute()
    row = stored(made)
    document = payment_document(
        row, row.address.address, outputs_at(row.address_id), tip_height=TIP, public_url=URL, network=MAIN
    )
    real = json.loads(webhook_body(EventType.CONFIRMED, times["confirmed_at"], document))
    assert real == {**example, "data": with_own(example["data"], real["data"])}


def test_the_headers_of_the_webhook_have_their_form(page: str) -> None:
    """OpenAPI describes the same headers. The timestamp is that of the event."""
    headers = dict(line.split(": ") for line in code(page, "webhook-headers").splitlines())
    for parameter in description(URL)["webhooks"]["payment"]["post"]["parameters"]:
        value: Any = headers.pop(parameter["name"])
        value = int(value) if parameter["schema"]["type"] == "integer" else value
        jsonschema_rs.validate(parameter["schema"], value)
        if parameter["name"] == "webhook-timestamp":
            moment = datetime.fromtimestamp(value, UTC)
            assert moment == datetime.fromisoformat(json.loads(code(page, "event"))["timestamp"])
    assert headers == {}


def test_the_error_is_a_real_one(shop: WebServer, page: str) -> None:
    """The same body gets the same problem."""
    example = json.loads(code(page, "problem"))
    reply = shop.create(currency="eur", confirmations=1000)
    assert (reply.status, reply.json) == (422, example)


def test_the_examples_are_of_one_moment() -> None:
    """The shop of this test has the prices of the example, so that the test can compare them."""
    document = description(URL)["paths"]["/api/v1/payments"]["post"]["responses"]["201"]
    created_at = document["content"]["application/json"]["example"]["created_at"]
    assert datetime.fromisoformat(created_at) == NOW.replace(microsecond=0)


def examples_of(part: Any) -> Iterator[tuple[Mapping[str, Any], Any]]:
    """Yield each schema of the description that has an example, and the example."""
    if isinstance(part, list):
        for each in part:
            yield from examples_of(each)
    if isinstance(part, dict):
        if "example" in part:
            yield part["schema"], part["example"]
        for example in part["examples"] if isinstance(part.get("examples"), list) else ():
            yield part, example
        for name, each in part.items():
            if name not in ("example", "examples"):
                yield from examples_of(each)


def test_each_example_in_openapi_is_valid() -> None:
    """This holds for fields and for whole bodies."""
    document = json.loads(json.dumps(description(URL)))
    found = list(examples_of(document))
    assert len(found) > 30
    for schema, example in found:
        jsonschema_rs.validate(
            {**schema, "components": document["components"]}, example, validate_formats=True
        )


def test_a_price_is_the_price_of_a_bitcoin() -> None:
    """The example is not the amount of an order."""
    schemas = description(URL)["components"]["schemas"]
    for schema, name in (("Payment", "price_btc"), ("RateRecord", "price")):
        field = schemas[schema]["properties"][name]
        assert float(field["examples"][0]) > 10_000
        assert field["description"] == "The price of one bitcoin"


def test_each_value_has_a_description_in_openapi() -> None:
    """This holds for statuses and events."""
    schemas = description(URL)["components"]["schemas"]
    for name, values in (("Status", Status), ("EventType", EventType)):
        described = {each["const"]: each["description"] for each in schemas[name]["oneOf"]}
        assert list(described) == [value.value for value in values] == schemas[name]["enum"]
        assert all(described.values())


def test_each_value_is_explained_on_the_page_and_in_the_readme(page: str) -> None:
    """README and /docs have the same words."""
    readme = README.read_text(encoding="utf-8")
    for value in (*LinkStatus, *LinkEvent):
        assert f"<code>{value.value}</code>" in page
    assert (set(LINK_STATUS_MEANINGS), set(LINK_EVENT_MEANINGS)) == (set(LinkStatus), set(LinkEvent))
    for value, each in [*STATUS_MEANINGS.items(), *EVENT_MEANINGS.items()]:
        assert f"<code>{value.value}</code>" in page
        assert f"| `{value.value}` | {each.meaning} | {each.action} |" in readme
    assert set(STATUS_MEANINGS) == set(Status)
    assert set(EVENT_MEANINGS) == set(EventType)


def test_the_guide_delivers_an_invoice_on_the_event_of_its_link(page: str) -> None:
    """A confirmed request of an invoice may be a part."""
    words = " ".join(re.sub(r"<[^>]+>", "", page).split())
    assert "For an invoice, deliver on link.paid, not on payment.confirmed." in words
    for meanings in (STATUS_MEANINGS[Status.CONFIRMED], EVENT_MEANINGS[EventType.CONFIRMED]):
        assert "wait for `link.paid`" in meanings.action


def test_each_type_of_problem_has_its_place_on_the_page(page: str) -> None:
    """A link can lead to the type, and its title is there."""
    for name, kind in PROBLEM_TYPES.items():
        row = re.search(rf'<tr id="problem-{name}">(.*?)</tr>', page, re.DOTALL)
        assert row
        assert f"<b>{kind.title}.</b>" in row[1]


def test_each_field_of_the_contents_leads_to_a_heading(page: str) -> None:
    """The guide comes before the reference."""
    contents, _, main = page.partition("<main>")
    anchors = re.findall(r'<a href="#([\w-]+)">', contents)
    places = [main.index(f'id="{anchor}"') for anchor in anchors]
    assert anchors[0] == "first-call"
    assert places == sorted(places)


def test_the_key_of_the_example_expires_as_the_page_describes(shop: WebServer, page: str) -> None:
    """The guide names the problem, and the new key."""
    made = first_call(shop, page)
    shop.wait(hours=1)
    change(made, status="expired", expires_at=shop.now - timedelta(minutes=1))
    body = {name: made[name] for name in ("amount_fiat", "currency", "label", "note", "metadata")}
    body["redirect_url"] = made["redirect_url"]
    reply = shop.post("/api/v1/payments", body, {"Idempotency-Key": "order-4711"})
    assert reply.status == 422
    name = reply.json["type"].removeprefix("urn:nodetill:problem:")
    assert f'<a href="#problem-{name}">' in page
    assert "<code>order-4711-2</code>" in page
