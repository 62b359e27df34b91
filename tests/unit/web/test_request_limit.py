"""Limits of open requests and of requests per minute keep one key from using all resources."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from models.address import free_count
from models.db.connection import database, is_sqlite
from models.payment import PaymentRequest
from models.queries import request_counts
from tests.support.web_server import BODY, WebServer, add_seller, open_shop
from web.checkout import page as checkout

OTHER = {"Authorization": "Bearer nt_company2"}
LIMITS = {"MAX_OPEN_REQUESTS": "5", "MAX_REQUESTS_PER_MINUTE": "3", "SPELLBOOK_TRIGGERS": "on"}
TRIGGER = "/spellbook/triggers/PaymentProcessorNewPayment/post"


@pytest.fixture
def shop(tmp_path: Path, database_url: str) -> Iterator[WebServer]:
    """Serve a web server with two sellers and low limits."""
    with open_shop(tmp_path, database_url, LIMITS) as opened:
        add_seller("company2", "nt_company2")
        yield opened


def test_requests_per_minute_of_a_seller_are_limited(shop: WebServer) -> None:
    """Above the limit it is 429 with Retry-After, and no address is used. Another seller is not affected."""
    assert [shop.create(key=f"k{n}").status for n in range(4)] == [201, 201, 201, 429]
    refused = shop.create()
    assert refused.json["type"] == "urn:nodetill:problem:too-many-requests"
    assert "MAX_REQUESTS_PER_MINUTE" in refused.json["detail"]
    assert int(refused.headers["retry-after"]) > 0
    assert free_count() == 47
    assert shop.create(key="k0").status == 200
    trigger = shop.post(TRIGGER, BODY, {"Authorization": None})
    assert (trigger.status, list(trigger.json)) == (429, ["error"])
    assert shop.post("/api/v1/payments", {**BODY, "seller_id": "company2"}, OTHER).status == 201
    shop.wait(minutes=1, seconds=1)
    assert shop.create(key="k3").status == 201


def test_open_requests_of_a_seller_are_limited(shop: WebServer) -> None:
    """Confirmed and expired requests do not count."""
    for _ in range(5):
        shop.wait(minutes=1)
        assert shop.create().status == 201
    shop.wait(minutes=1)
    refused = shop.create()
    assert refused.status == 429
    assert "MAX_OPEN_REQUESTS" in refused.json["detail"]
    assert shop.post("/api/v1/payments", {**BODY, "seller_id": "company2"}, OTHER).status == 201
    PaymentRequest.update(status="expired").where(PaymentRequest.id == 1).execute()
    assert shop.create().status == 201
    assert shop.create().status == 429


def test_zero_is_no_limit(tmp_path: Path, database_url: str) -> None:
    limits = {"MAX_OPEN_REQUESTS": "0", "MAX_REQUESTS_PER_MINUTE": "0"}
    with open_shop(tmp_path, database_url, limits) as opened:
        assert [opened.create().status for _ in range(10)] == [201] * 10


def test_the_limits_count_by_indexes_of_open_and_new_requests(shop: WebServer) -> None:
    """A seller's finished requests must not slow the count down."""
    if not is_sqlite():
        # PostgreSQL reads a small table whole, whatever indexes there are.
        database.execute_sql("SET enable_seqscan = off")
    explain = "EXPLAIN QUERY PLAN" if is_sqlite() else "EXPLAIN"
    statements: list[str] = []

    def note(query: str, *_parameters: object) -> int:
        statements.append(query)
        return 0

    with pytest.MonkeyPatch.context() as then:
        then.setattr(request_counts, "_count", note)
        request_counts.open_requests("company1", 5)
        request_counts.requests_since("company1", shop.now, 5)
    for query, index in zip(
        statements, ("payment_underway_of_seller", "payment_newest_of_seller"), strict=True
    ):
        filled = query.replace("created_at > ?", "created_at > 1").replace("?", "'company1'", 1)
        plan = database.execute_sql(f"{explain} {filled.replace('?', '5')}").fetchall()
        assert any(index in str(row[-1]) for row in plan), plan


def test_the_currencies_in_use_are_found_by_their_index(
    shop: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each currency is one look-up, however many requests were made in it."""
    shop.created(currency="EUR")
    asked = {"EUR", "JPY", "CHF"}
    assert request_counts.used_since(asked, shop.now - timedelta(days=7)) == {"EUR"}
    assert request_counts.used_since(asked, shop.now) == set()
    assert request_counts.used_since(set(), shop.now - timedelta(days=7)) == set()
    if not is_sqlite():
        # PostgreSQL reads a small table whole, whatever indexes there are.
        database.execute_sql("SET enable_seqscan = off")
    execute = database.obj.execute_sql
    plans: list[str] = []

    def explained(sql: str, parameters: Any = None, *more: Any) -> Any:
        explain = "EXPLAIN QUERY PLAN" if is_sqlite() else "EXPLAIN"
        plans.extend(str(row[-1]) for row in execute(f"{explain} {sql}", parameters).fetchall())
        return execute(sql, parameters, *more)

    monkeypatch.setattr(database.obj, "execute_sql", explained)
    request_counts.used_since(asked, shop.now)
    monkeypatch.undo()
    about = [line for line in plans if "payment_" in line]
    assert about
    assert all("payment_currency" in line for line in about), plans


def test_a_qr_code_is_drawn_once(shop: WebServer) -> None:
    """A cache answers repeated calls. The description is written once, too."""
    made = shop.created()
    path = f"/pay/{made['payment_request_id']}/qr.svg"
    checkout.qr_svg.cache_clear()
    first = shop.get(path).body
    assert [shop.get(path).body for _ in range(5)] == [first] * 5
    assert checkout.qr_svg.cache_info().misses == 1
    for page in ("/docs", "/openapi.json"):
        assert shop.get(page).body == shop.get(page).body
