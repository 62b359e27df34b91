"""Many calls at once create nothing twice, and an outage of the database loses nothing."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from models.address import free_count
from models.api_key import keys_of
from models.db.connection import bind, database, disconnect
from models.payment import PaymentRequest
from tests.support.network_cut import NetworkLink
from tests.support.postgres import PostgresServer
from tests.support.web_server import BODY, NOW, WebServer, open_shop

CALLERS = 32


@pytest.fixture
def shop(tmp_path: Path, database_url: str) -> Iterator[WebServer]:
    """Serve a web server on each kind of database, with a pool of a hundred addresses."""
    with open_shop(tmp_path, database_url, addresses=100) as opened:
        yield opened


def test_no_address_is_assigned_twice(shop: WebServer) -> None:
    """Thirty-two callers make a hundred and twenty requests for a hundred addresses."""
    with ThreadPoolExecutor(CALLERS) as pool:
        replies = list(pool.map(lambda number: shop.create(note=str(number)), range(120)))
    made = [reply.json for reply in replies if reply.status == 201]
    refused = [reply for reply in replies if reply.status != 201]
    assert len({document["address"] for document in made}) == len(made) == 100
    assert len({document["payment_request_id"] for document in made}) == 100
    assert [reply.status for reply in refused] == [503] * 20
    assert PaymentRequest.select().count() == 100
    assert free_count() == 0


def test_calls_with_one_key_create_one_request(shop: WebServer) -> None:
    """One of thirty-two callers gets 201 and the others 200, all with the same request."""
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


def test_calls_with_one_key_and_two_bodies_create_one_request(shop: WebServer) -> None:
    """The first call wins, and the other body is 422."""
    with ThreadPoolExecutor(CALLERS) as pool:
        replies = list(pool.map(lambda n: shop.create(key="k", note=str(n % 2)), range(CALLERS)))
    statuses = [reply.status for reply in replies]
    assert statuses.count(201) == 1
    assert statuses.count(422) == CALLERS // 2
    assert PaymentRequest.select().count() == 1


def test_a_number_and_its_text_are_different_bodies(shop: WebServer) -> None:
    """The same key with another body is 422, even if both mean the same amount."""
    assert shop.create(key="k", amount_fiat=5.5, metadata={"a": 1.5}).status == 201
    assert shop.create(key="k", amount_fiat=5.5, metadata={"a": 1.5}).status == 200
    assert shop.create(key="k", amount_fiat="5.5", metadata={"a": 1.5}).status == 422
    assert shop.create(key="k", amount_fiat=5.5, metadata={"a": "1.5"}).status == 422
    assert PaymentRequest.select().count() == 1


def test_a_locked_database_is_503_for_writes_until_it_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads still work. The log has the outage once."""
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


def test_a_database_without_tables_is_503(tmp_path: Path) -> None:
    """/health has the reason."""
    url = f"sqlite:///{tmp_path / 'nodetill.db'}"
    with open_shop(tmp_path, url) as shop:
        bind(f"sqlite:///{tmp_path / 'empty.db'}")
        assert shop.create().status == 503
        reply = shop.get("/health")
        assert reply.status == 503
        assert "database" in reply.json["problems"][0]
        assert reply.json["chain"]["height"] is None


def test_a_restart_of_postgresql_fails_no_call(tmp_path: Path, postgres: PostgresServer) -> None:
    """Connections that were cut while idle are opened again."""
    url = postgres.new_database()
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


def test_on_postgresql_a_read_does_not_wait_to_note_the_use_of_its_key(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    """While another client holds the key's row or the table, the time of the last use stays."""
    url = postgres.new_database()
    with open_shop(tmp_path, url) as shop, psycopg.connect(url) as other:
        for held in ("SELECT * FROM api_key FOR UPDATE", "LOCK TABLE api_key IN EXCLUSIVE MODE"):
            other.execute(held)
            assert shop.get("/api/v1/rates").status == 200
            assert keys_of("company1")[0].last_used_at is None
            other.rollback()
        assert shop.get("/api/v1/rates").status == 200
        assert keys_of("company1")[0].last_used_at == NOW
        assert database.execute_sql("SHOW lock_timeout").fetchone()[0] == "5s"


def test_a_cut_network_link_is_503_until_it_is_restored(tmp_path: Path, postgres: PostgresServer) -> None:
    """No packet reports the loss, so a timeout of some seconds must end the call."""
    with NetworkLink(postgres.new_database()) as link, open_shop(tmp_path, link.url) as shop:
        assert shop.create(key="a").status == 201
        link.cut()
        reply = shop.create(key="b")
        assert reply.status == 503
        assert reply.json["type"].endswith("no-database")
        link.restore()
        assert shop.create(key="b").status == 201
        disconnect()
        assert PaymentRequest.select().count() == 2
        assert free_count() == 48


def test_an_internal_error_is_500_without_details(shop: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log has the traceback, and no key."""
    log = Log()

    def fail(*_: object) -> None:
        raise RuntimeError("the inside")

    monkeypatch.setattr("web.app.log", log)
    monkeypatch.setattr("web.api.new_request.price_now", fail)
    reply = shop.post("/api/v1/payments", BODY)
    assert reply.status == 500
    assert reply.headers["content-type"] == "application/problem+json"
    assert b"inside" not in reply.body
    assert free_count() == 100
    assert log.lines == [("call failed", {"method": "POST", "path": "/api/v1/payments"})]


class Log:
    """Keeps the log lines."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def write(self, event: str, **fields: Any) -> None:
        """Keep a line."""
        self.lines.append((event, fields))

    info = error = exception = write
