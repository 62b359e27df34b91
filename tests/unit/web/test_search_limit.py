"""The searches of one seller do not delay other clients."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from urllib.parse import urlencode

import pytest

from models.address import Address
from models.db.connection import chunked, database, execute, is_sqlite
from models.payment import PaymentRequest
from tests.support.needs import examples
from tests.support.operator_client import PASSWORD, OperatorClient
from tests.support.rows import NOW, script
from tests.support.web_server import Reply, WebServer, add_seller, open_shop

NOTES = examples(10_000)
NOTE = "x" * 480
WORST = "x" * 99 + "y"
SEARCHERS = 16
OTHER = {"Authorization": "Bearer nt_company2"}


@pytest.fixture(scope="module")
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """Serve a web server with a seller who has thousands of long notes, and a seller with one request."""
    directory = tmp_path_factory.mktemp("shop")
    url = f"sqlite:///{directory / 'nodetill.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").new_database()
    with open_shop(directory, url, {"OPERATOR_PASSWORD": PASSWORD}) as opened:
        add_seller("company2", "nt_company2")
        add_notes()
        yield opened


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test on both kinds of database."""
    if "shop" in metafunc.fixturenames:
        metafunc.parametrize("shop", ["sqlite", "postgresql"], indirect=True, scope="module")


def add_notes() -> None:
    first = 1_000_000
    terms = {
        "seller": "company1",
        "amount_fiat": "1",
        "currency": "EUR",
        "price": "1",
        "price_at": NOW,
        "price_source": "kraken",
        "amount_sats": 1000,
        "due_sats": 1000,
        "tolerance_sats": 0,
        "confirmations_required": 6,
        "created_at": NOW,
        "expires_at": NOW,
        "monitored_until": NOW,
        "status": "expired",
        "note": NOTE,
    }
    with database.atomic():
        for numbers in chunked(range(first, first + NOTES)):
            Address.insert_many(
                {
                    "id": number,
                    "script": script(number),
                    "address": f"bcrt1q{number:038x}",
                    "wallet": "nodetill",
                    "created_at": NOW,
                    "claimed_at": NOW,
                }
                for number in numbers
            ).execute()
            PaymentRequest.insert_many(
                {**terms, "id": number, "reference": f"PR-{number:022}", "address": number}
                for number in numbers
            ).execute()


def search(shop: WebServer, text: str) -> Reply:
    return shop.get(f"/api/v1/payments?{urlencode({'q': text, 'limit': 1})}")


@contextmanager
def endless_searches() -> Iterator[None]:
    """Make each search wait for a lock, because PostgreSQL's shortest limit is 1 ms.

    SQLite needs no lock. With a limit of 0 s it ends each search at its first check.
    """
    if is_sqlite():
        yield
    else:
        with database.atomic():
            execute("LOCK TABLE payment_request")
            yield


def test_the_worst_search_is_answered(shop: WebServer) -> None:
    """The text is nearly in each note, or in each note."""
    assert search(shop, WORST).json["data"] == []
    assert len(search(shop, "X" * 100).json["data"]) == 1
    assert search(shop, "x" * 101).status == 422


@pytest.mark.broad
def test_others_are_served_while_a_seller_searches(shop: WebServer) -> None:
    """Each call of another seller is answered. Most searches at the same time get 429 with Retry-After."""
    made = shop.post(
        "/api/v1/payments", {"seller_id": "company2", "amount_fiat": 10, "currency": "EUR"}, OTHER
    )
    path = f"/api/v1/payments/{made.json['payment_request_id']}"
    is_done = Event()
    replies: list[Reply] = []

    def flood() -> None:
        while not is_done.is_set():
            replies.append(search(shop, WORST))

    with ThreadPoolExecutor(SEARCHERS) as pool:
        floods = [pool.submit(flood) for _ in range(SEARCHERS)]
        try:
            assert [shop.get(path, OTHER).status for _ in range(30)] == [200] * 30
            searched = shop.get(f"/api/v1/payments?{urlencode({'q': 'socks'})}", OTHER)
            assert searched.status == 200
        finally:
            is_done.set()
        for each in floods:
            each.result(60)
    assert {reply.status for reply in replies} == {200, 429}
    refused = [reply for reply in replies if reply.status == 429]
    assert all(reply.headers["retry-after"] == "1" for reply in refused)
    assert search(shop, WORST).status == 200


@pytest.mark.parametrize("query", [f"q={WORST}", "q=PR-zzz", "currency=ZMW"])
def test_a_search_has_a_time_limit(shop: WebServer, monkeypatch: pytest.MonkeyPatch, query: str) -> None:
    """The database itself ends a longer search, and the next search can begin."""
    with endless_searches(), monkeypatch.context() as then:
        then.setattr("web.api.search_limit.SELLER_SECONDS", 0.0)
        then.setattr("web.api.payment_list.SELLER_SECONDS", 0.0)
        for _ in range(2):
            reply = shop.get(f"/api/v1/payments?{query}")
            assert reply.status == 503, reply.body
            assert reply.json["type"] == "urn:nodetill:problem:search-too-long"
            assert int(reply.headers["retry-after"]) > 0
    assert shop.get(f"/api/v1/payments?{query}").status == 200
    assert shop.get("/health").json["status"]


def test_the_operator_s_search_has_a_time_limit(shop: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is a page."""
    client = OperatorClient(shop)
    client.log_in()
    assert client.get(f"/?q={WORST}").status == 200
    with endless_searches(), monkeypatch.context() as then:
        then.setattr("web.operator.payment_list.OPERATOR_SECONDS", 0.0)
        page = client.get(f"/?q={WORST}")
    assert page.status == 503
    assert "takes too long" in page.words
    assert client.get("/").status == 200
