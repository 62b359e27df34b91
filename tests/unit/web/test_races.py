"""Many calls at once make no two of anything, and an outage of the database takes nothing."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from models.address import free_count
from models.db.connection import bind, database, disconnect
from models.payment import PaymentRequest
from tests.support.network_cut import NetworkLink
from tests.support.postgres import PostgresServer
from tests.support.web_server import BODY, WebServer, open_shop

CALLERS = 32


@pytest.fixture
def shop(tmp_path: Path, database_url: str) -> Iterator[WebServer]:
    """A shop on each kind of database, with a pool of a hundred addresses."""
    with open_shop(tmp_path, database_url, addresses=100) as opened:
        yield opened


def test_no_address_is_given_twice(shop: WebServer) -> None:
    """A hundred and twenty requests from thirty-two callers for a hundred addresses: each is given once."""
    with ThreadPoolExecutor(CALLERS) as pool:
        replies = list(pool.map(lambda number: shop.create(note=str(number)), range(120)))
    made = [reply.json for reply in replies if reply.status == 201]
    refused = [reply for reply in replies if reply.status != 201]
    assert len({document["address"] for document in made}) == len(made) == 100
    assert len({document["payment_request_id"] for document in made}) == 100
    assert [reply.status for reply in refused] == [503] * 20
    assert PaymentRequest.select().count() == 100
    assert free_count() == 0


def test_one_key_makes_one_request(shop: WebServer) -> None:
    """Thirty-two callers with one Idempotency-Key: one 201, the others 200, all with the same request."""
    with ThreadPoolExecutor(CALLERS) as pool:
        replies = list(pool.map(lambda _: shop.create(key="order 17"), range(CALLERS)))
    assert sorted(reply.status for reply in replies) == [200] * (CALLERS - 1) + [201]
    assert len({reply.json["payment_request_id"] for reply in replies}) == 1
    assert free_count() == 99


def test_many_repeats_of_an_expired_request_make_no_request(shop: WebServer) -> None:
    """Thirty-two callers with its key: 422 for each. With a new key they create one request."""
    shop.create(key="order 17")
    PaymentRequest.update(status="expired").execute()
    with ThreadPoolExecutor(CALLERS) as pool:
        refused = list(pool.map(lambda _: shop.create(key="order 17"), range(CALLERS)))
        replies = list(pool.map(lambda _: shop.create(key="order 17-2"), range(CALLERS)))
    assert {reply.status for reply in refused} == {422}
    assert sorted(reply.status for reply in replies) == [200] * (CALLERS - 1) + [201]
    assert PaymentRequest.select().count() == 2
    assert free_count() == 98


def test_one_key_with_two_bodies_makes_one_request(shop: WebServer) -> None:
    """Whoever comes first has it; the other body is 422."""
    with ThreadPoolExecutor(CALLERS) as pool:
        replies = list(pool.map(lambda n: shop.create(key="k", note=str(n % 2)), range(CALLERS)))
    statuses = [reply.status for reply in replies]
    assert statuses.count(201) == 1
    assert statuses.count(422) == CALLERS // 2
    assert PaymentRequest.select().count() == 1


def test_a_number_and_its_text_are_two_bodies(shop: WebServer) -> None:
    """The same key with another body is 422, though both mean the same amount or look the same."""
    assert shop.create(key="k", amount_fiat=5.5, metadata={"a": 1.5}).status == 201
    assert shop.create(key="k", amount_fiat=5.5, metadata={"a": 1.5}).status == 200
    assert shop.create(key="k", amount_fiat="5.5", metadata={"a": 1.5}).status == 422
    assert shop.create(key="k", amount_fiat=5.5, metadata={"a": "1.5"}).status == 422
    assert PaymentRequest.select().count() == 1


def test_a_locked_database_is_503_and_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another process holds the lock nothing is made and reading goes on; the log tells of it once."""
    log = Log()
    monkeypatch.setattr("web.http.database.log", log)
    monkeypatch.setattr("models.db.connection.LOCK_TIMEOUT_SECONDS", 0.05)
    url = f"sqlite:///{tmp_path / 'nodetill.db'}"
    with open_shop(tmp_path, url) as shop:
        path = f"/api/v1/payments/{shop.created()['payment_request_id']}"
        with database.atomic("EXCLUSIVE"):
            assert shop.create().status == 503
            reply = shop.create(key="k")
            assert reply.status == 503
            assert int(reply.headers["retry-after"]) > 0
            assert reply.json["type"].endswith("no-database")
            assert shop.get(path).status == 200
            assert shop.get("/health").status == 200
            assert shop.create().status == 503
        assert shop.create(key="k").status == 201
        assert free_count() == 48
    assert [event for event, _ in log.lines] == ["database unavailable", "database available again"]


def test_a_database_that_is_gone_is_503(tmp_path: Path) -> None:
    """Without its tables nothing can be told, and /health says why."""
    url = f"sqlite:///{tmp_path / 'nodetill.db'}"
    with open_shop(tmp_path, url) as shop:
        bind(f"sqlite:///{tmp_path / 'empty.db'}")
        assert shop.create().status == 503
        reply = shop.get("/health")
        assert reply.status == 503
        assert "database" in reply.json["problems"][0]
        assert reply.json["chain"]["height"] is None


def test_a_restart_of_postgresql_is_not_noticed(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Connections that were cut while idle are opened again; no call fails for it."""
    url = request.getfixturevalue("postgres").new_database()
    with open_shop(tmp_path, url) as shop:
        with ThreadPoolExecutor(CALLERS) as pool:
            list(pool.map(lambda _: shop.get("/health"), range(100)))
        disconnect()
        with psycopg.connect(url, autocommit=True) as operator:
            operator.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "  # waits until it has
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert [shop.create().status for _ in range(CALLERS)] == [201] * CALLERS


def test_a_cable_that_is_pulled_out_is_503_and_passes(tmp_path: Path, postgres: PostgresServer) -> None:
    """Nobody says that the server is gone; the callers hear of it after some seconds, not a quarter hour."""
    with NetworkLink(postgres.new_database()) as cable, open_shop(tmp_path, cable.url) as shop:
        assert shop.create(key="a").status == 201
        cable.cut()
        reply = shop.create(key="b")
        assert reply.status == 503
        assert reply.json["type"].endswith("no-database")
        cable.restore()
        assert shop.create(key="b").status == 201
        disconnect()
        assert PaymentRequest.select().count() == 2
        assert free_count() == 48


def test_a_fault_of_ours_is_500_without_details(shop: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client learns nothing of our insides; the log has the traceback, and no key."""
    log = Log()

    def fail(*_: object) -> None:
        raise RuntimeError("the inside")

    monkeypatch.setattr("web.app.log", log)
    monkeypatch.setattr("web.api.create_payment.price_now", fail)
    reply = shop.post("/api/v1/payments", BODY)
    assert reply.status == 500
    assert reply.headers["content-type"] == "application/problem+json"
    assert b"inside" not in reply.body
    assert free_count() == 100
    assert log.lines == [("call failed", {"method": "POST", "path": "/api/v1/payments"})]


class Log:
    """Remembers what is logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def write(self, event: str, **fields: Any) -> None:
        """A line."""
        self.lines.append((event, fields))

    info = error = exception = write
