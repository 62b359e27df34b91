"""The operator makes and revokes API keys on a seller's page. A key is shown once."""

import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from pathlib import Path

import pytest

from models.api_key import BY_PAGE, ApiKey, hash_of, keys_of
from payments.greenfield.permissions import POLICIES, PRESETS, VIEW_INVOICES
from tests.support.operator_client import PASSWORD, OperatorClient, OperatorResponse
from tests.support.web_server import NOW, WebServer, add_seller, give_key, open_shop

PATH = "/operator/sellers/company1"


@pytest.fixture
def shop(tmp_path: Path, database_url: str) -> Iterator[WebServer]:
    """Serve a web server with an operator, on each kind of database."""
    with open_shop(tmp_path, database_url, {"OPERATOR_PASSWORD": PASSWORD}) as opened:
        yield opened


@pytest.fixture
def operator(shop: WebServer) -> OperatorClient:
    client = OperatorClient(shop)
    client.log_in()
    return client


def form_of(page: OperatorResponse) -> dict[str, str]:
    """Return the hidden field of the form for a new key."""
    found = re.search(r'name="key_id" value="([^"]+)"', page.text)
    assert found is not None
    return {"key_id": found[1]}


def made(operator: OperatorClient, **fields: str) -> OperatorResponse:
    return operator.post(f"{PATH}/keys", **{**form_of(operator.get(PATH)), **fields})


def key_in(page: OperatorResponse) -> str:
    (key,) = re.findall(r"nt_[A-Za-z0-9_-]{43}", page.text)
    return str(key)


def row_of(page: OperatorResponse, key: ApiKey) -> str:
    """Return the text of a key's row in the table."""
    row = re.search(rf'<tr id="{key.reference}">(.*?)</tr>', page.text, re.DOTALL)
    assert row is not None
    return re.sub(r"\s+", " ", unescape(re.sub("<[^>]*>", " ", row[1])))


def test_a_new_key_is_shown_once_with_address_and_store_id(shop: WebServer, operator: OperatorClient) -> None:
    page = made(operator, label="  WooCommerce ", allow="shop")
    assert page.status == 200
    key = key_in(page)
    for words in ("WooCommerce", "http://127.0.0.1:8080", "Store id company1", "Create payment requests"):
        assert words in page.words
    row = ApiKey.get(ApiKey.key_hash == hash_of(key))
    assert (row.label, row.created_by, row.created_at) == ("WooCommerce", BY_PAGE, NOW)
    assert row.permissions == [*PRESETS["shop"]]
    shop_key = {"Authorization": f"token {key}"}
    body = {"amount_fiat": "1", "currency": "EUR"}
    assert shop.call("POST", "/api/v1/payments", body, shop_key).status == 201
    listed = operator.get(PATH)
    assert key not in listed.text
    assert "2026-11-23 12:00 created on this page" in row_of(listed, row)
    assert "Add, change and remove webhooks" in row_of(listed, row)


@pytest.mark.parametrize(
    ("fields", "permissions"),
    [
        ({"allow": "everything"}, None),
        ({"allow": "prestashop"}, [*POLICIES]),
        ({"allow": "chosen", VIEW_INVOICES: "on"}, [VIEW_INVOICES]),
        ({"allow": "chosen", **dict.fromkeys(reversed(POLICIES), "on")}, [*POLICIES]),
    ],
)
def test_a_key_has_the_chosen_permissions(
    operator: OperatorClient, fields: dict[str, str], permissions: list[str] | None
) -> None:
    assert made(operator, **fields).status == 200
    assert keys_of("company1")[-1].permissions == permissions


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"allow": "chosen"}, "tick at least one"),
        ({"allow": "shop", VIEW_INVOICES: "on"}, "or tick none"),
        ({"allow": "chosen", "btcpay.store.canpay": "on"}, f"is no permission; allowed: {POLICIES[0]}"),
        ({}, "must be one of shop, prestashop, everything, chosen"),
        ({"allow": "shop", "label": "x" * 101}, "one line of at most 100 characters"),
        ({"allow": "shop", "label": "a\x00b"}, "without control characters"),
        ({"allow": "shop", "label": "a\nb"}, "without control characters"),
        ({"allow": "shop", "key_id": "key_x"}, "is no id of a key"),
        ({"allow": "shop", "key_id": "key_" + "\u00e4" * 16}, "is no id of a key"),
    ],
)
def test_a_wrong_form_stores_nothing(operator: OperatorClient, fields: dict[str, str], words: str) -> None:
    """The page names the fault and the allowed values."""
    page = made(operator, **fields)
    assert page.status == 422
    assert words in page.words
    assert len(keys_of("company1")) == 1


def test_a_form_that_is_sent_twice_makes_one_key(operator: OperatorClient) -> None:
    """The second response shows no key, and names the cure."""
    form = {**form_of(operator.get(PATH)), "allow": "shop"}
    assert operator.post(f"{PATH}/keys", **form).status == 200
    again = operator.post(f"{PATH}/keys", **form)
    assert again.status == 409
    assert f"the key {form['key_id']} exists already" in again.words
    assert "revoke it and make another key" in again.words
    assert "nt_" not in again.text
    assert len(keys_of("company1")) == 2


def test_a_revoked_key_stops_at_once(shop: WebServer, operator: OperatorClient) -> None:
    """A second click changes nothing. The page lists the key among the keys that do not work."""
    (key,) = keys_of("company1")
    answer = operator.post(f"{PATH}/keys/{key.reference}/revoke")
    assert (answer.status, answer.leads_to) == (303, f"{PATH}?revoked={key.reference}")
    assert shop.get("/api/v1/rates").status == 401
    page = operator.get(answer.leads_to)
    assert f"The key {key.reference} is revoked. It never works again." in page.words
    assert "There is no working key." in page.words
    assert "revoked 2026-11-23 12:00 UTC" in page.words
    shop.wait(hours=1)
    assert operator.post(f"{PATH}/keys/{key.reference}/revoke").status == 303
    assert keys_of("company1")[0].revoked_at == NOW


def test_a_page_cannot_revoke_the_key_of_another_seller(operator: OperatorClient) -> None:
    """An unknown key or an unknown seller gets 404."""
    add_seller("company2", "nt_company2")
    (key,) = keys_of("company2")
    for path in (
        f"{PATH}/keys/{key.reference}/revoke",
        f"{PATH}/keys/key_{'x' * 16}/revoke",
        f"{PATH}/keys/x/revoke",
        "/operator/sellers/nobody/keys",
    ):
        assert operator.post(path, allow="shop").status == 404
    assert operator.get("/operator/sellers/nobody").status == 404
    assert keys_of("company2")[0].revoked_at is None
    assert "is revoked" not in operator.get(f"{PATH}?revoked={key.reference}").words


@pytest.mark.parametrize("query", ["revoked=%00", "webhook=%00&now=removed"])
def test_a_nul_in_the_query_is_no_fault(operator: OperatorClient, query: str) -> None:
    """PostgreSQL refuses a query with a NUL."""
    assert operator.get(f"{PATH}?{query}").status == 200


def test_the_page_shows_how_each_key_is_used(shop: WebServer, operator: OperatorClient) -> None:
    """The label is escaped. An expired key is in a separate list."""
    label = "<script>alert(1)</script>{{7*7}}"
    strange = give_key("company1", "nt_strange", label=label, permissions=["other"])
    give_key("company1", "nt_old", label="Old", expires_at=NOW)
    next_ = give_key("company1", "nt_next", expires_at=NOW + timedelta(hours=1))
    shop.get("/api/v1/rates", {"Authorization": "Bearer nt_strange"})
    page = operator.get(PATH)
    assert "<script>alert" not in page.text
    assert row_of(page, strange).strip().startswith(f"{label} {strange.reference} other 2026-11-23 12:00")
    assert "by command 2026-11-23 12:00 last used" in row_of(page, strange)
    assert "works until 2026-11-23 13:00:00 UTC" in row_of(page, next_)
    assert "never last used" in row_of(page, next_)
    assert re.search(r"Old key_\w{16} expired 2026-11-23 12:00 UTC", page.words)
    assert 'href="../operator/sellers/company1"' in operator.get("/operator/sellers").text


def test_a_removed_seller_has_a_page_without_a_form(operator: OperatorClient) -> None:
    """Its keys do not work, and it gets no new key."""
    add_seller("gone", "nt_gone", removed_at=NOW)
    page = operator.get("/operator/sellers/gone")
    assert "Removed 2026-11-23 12:00:00 UTC" in page.words
    assert "There is no working key." in page.words
    assert "New key" not in page.words
    refused = operator.post("/operator/sellers/gone/keys", allow="shop", key_id=f"key_{'x' * 16}")
    assert refused.status == 409
    assert "seller add gone --restore" in refused.words


def test_the_login_leads_back_to_any_seller(shop: WebServer) -> None:
    """A seller's id may have dots and underscores."""
    add_seller("my_shop.example-2.", "nt_other")
    client = OperatorClient(shop)
    path = "/operator/sellers/my_shop.example-2."
    assert client.get(path).status == 303
    assert client.log_in(to=path[1:]).leads_to == path
    assert client.get(path).status == 200


def test_changes_of_keys_are_logged_without_the_key(
    operator: OperatorClient, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    key = key_in(made(operator, allow="chosen", **{VIEW_INVOICES: "on"}))
    row = keys_of("company1")[-1]
    operator.post(f"{PATH}/keys/{row.reference}/revoke")
    text = "".join(capfd.readouterr())
    assert "key added" in text
    assert "key revoked" in text
    assert text.count(row.reference) >= 2
    assert VIEW_INVOICES in text
    assert key not in text
