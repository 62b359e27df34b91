"""A seller finds each of its requests, newest first, page by page, and no other seller's requests."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from models.payment import PaymentRequest
from tests.support.web_server import NOW, Reply, WebServer, add_seller, open_shop, pay

TXID = "cd" * 32


@pytest.fixture
def shop(tmp_path: Path, database_url: str) -> Iterator[WebServer]:
    """Serve a web server on each kind of database."""
    with open_shop(tmp_path, database_url) as opened:
        yield opened


def listed(shop: WebServer, **parameters: object) -> Reply:
    """Return the list with these filters."""
    return shop.get(f"/api/v1/payments?{urlencode(parameters)}")


def notes(shop: WebServer, **parameters: object) -> list[str]:
    """Return the notes of the listed requests."""
    reply = listed(shop, **parameters)
    assert reply.status == 200, reply.body
    return [document["note"] for document in reply.json["data"]]


def test_each_request_is_on_one_page(shop: WebServer) -> None:
    """The pages by next_cursor have all requests, newest first, also if another is created meanwhile."""
    made = [shop.created(note=str(number)) for number in range(5)]
    first = listed(shop, limit=2).json
    shop.created(note="new")
    second = listed(shop, limit=2, cursor=first["next_cursor"]).json
    third = listed(shop, limit=2, cursor=second["next_cursor"]).json
    assert first["data"] + second["data"] + third["data"] == made[::-1]
    assert third["next_cursor"] is None
    assert listed(shop, limit=6).json["next_cursor"] is None


def test_a_cursor_of_another_seller_is_refused(shop: WebServer) -> None:
    """It is 422, as for an invented one."""
    cursor = shop.created()["payment_request_id"]
    add_seller("company2", "nt_company2")
    for name in (cursor, "PR-" + "x" * 22):
        reply = shop.get(f"/api/v1/payments?cursor={name}", {"Authorization": "Bearer nt_company2"})
        assert reply.status == 422


def test_a_request_must_match_all_filters(shop: WebServer) -> None:
    shop.created(note="a")
    shop.wait(minutes=1)
    shop.created(note="b", currency="JPY", amount_fiat=9000)
    shop.wait(minutes=1)
    shop.created(note="c")
    PaymentRequest.update(status="confirmed").where(PaymentRequest.note == "a").execute()

    assert notes(shop, status="confirmed") == ["a"]
    assert notes(shop, currency="EUR") == ["c", "a"]
    assert notes(shop, currency="EUR", status="new") == ["c"]
    second = (NOW + timedelta(minutes=1)).isoformat()
    assert notes(shop, created_after=second) == ["c", "b"]
    assert notes(shop, created_before=second) == ["a"]
    assert notes(shop, created_after="2026-11-23T14:00:00+02:00", created_before=second) == ["a"]
    assert notes(shop, created_after="9999-12-31T23:59:59Z") == []
    assert notes(shop, created_after="0001-01-01T00:00:00+14:00") == ["c", "b", "a"]


def test_a_search_finds_id_note_address_and_txid(shop: WebServer) -> None:
    """It matches the begin of the id, a part of the note, or the whole address or txid."""
    first = shop.created(note="100% wool_socks")
    shop.created(note="100 sheep")
    pay(first, TXID, state="replaced", replaced_by="ee" * 32)
    wool = ["100% wool_socks"]
    assert notes(shop, q=first["payment_request_id"]) == wool
    assert notes(shop, q=first["payment_request_id"][:12]) == wool
    assert notes(shop, q="WOOL") == wool
    assert notes(shop, q="0%") == wool
    assert notes(shop, q="l_s") == wool
    assert notes(shop, q="100_sheep") == []
    assert notes(shop, q=first["address"].upper()) == wool
    assert notes(shop, q=TXID.upper()) == wool
    assert notes(shop, q="ff" * 32) == []
    assert notes(shop, q="\\ ' \" ; -- \U0001f9e6") == []


@pytest.mark.parametrize("text", ["ÄPFEL", "äpfel", "Äpfel"])
def test_a_note_is_found_in_any_case(shop: WebServer, text: str) -> None:
    """This holds for each alphabet and each database."""
    assert shop.created(note="Äpfel aus Tirol")
    assert shop.created(note="ÄPFEL")
    assert notes(shop, q=text) == ["ÄPFEL", "Äpfel aus Tirol"]


@pytest.mark.parametrize("text", ["müller ölhandel", "MÜLLER ÖLHANDEL", "müller öl"])
def test_a_text_of_several_words_is_found_in_any_case(shop: WebServer, text: str) -> None:
    """Each letter may have another case than in the note."""
    assert shop.created(note="Müller Ölhandel")
    assert notes(shop, q=text) == ["Müller Ölhandel"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"status": "paid"},
        {"currency": "eur"},
        {"created_after": "yesterday"},
        {"created_after": "2026-11-23"},
        {"created_after": "2026-11-23T10:00:00"},
        {"created_after": "2026-13-23T10:00:00Z"},
        {"created_before": "٢٠٢٦-11-23T10:00:00Z"},
        {"limit": "0"},
        {"limit": "201"},
        {"limit": "-1"},
        {"limit": "1e1"},
        {"limit": "٣"},
        {"limit": "9" * 5000},
        {"cursor": "x"},
        {"cursor": "PR-" + "x" * 22},
        {"q": ""},
        {"q": "x" * 101},
        {"q": "a\0b"},
        {"statsu": "new"},
    ],
)
def test_a_wrong_filter_is_refused_by_name(shop: WebServer, parameters: dict[str, Any]) -> None:
    """An unfiltered list would mislead the client."""
    reply = listed(shop, **parameters)
    assert reply.status == 422
    assert [error["field"] for error in reply.json["errors"]] == list(parameters)


@pytest.mark.parametrize("query", ["q=%ff", "%ed%a0%80=1", "&".join(f"a{n}=1" for n in range(30))])
def test_an_unreadable_query_is_refused(shop: WebServer, query: str) -> None:
    assert shop.get(f"/api/v1/payments?{query}").status == 400


def test_a_repeated_filter_is_refused(shop: WebServer) -> None:
    """The meaning of two values would be unclear."""
    assert shop.get("/api/v1/payments?limit=1&limit=2").status == 422
