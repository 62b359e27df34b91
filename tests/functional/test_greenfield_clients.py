"""Foreign clients of BTCPay's Greenfield API use Nodetill in the same way as a BTCPay Server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import NewDatabase
from tests.support.foreign_clients import run_client
from tests.support.greenfield import STORE
from tests.support.web_server import KEY, WebServer, open_shop

pytestmark = [pytest.mark.one_database, pytest.mark.timeout(600)]

BITCOIN = {"paymentMethodId": "BTC-CHAIN", "enabled": True}


@pytest.fixture
def shop(new_database: NewDatabase, tmp_path: Path) -> Iterator[WebServer]:
    with open_shop(tmp_path, new_database(tmp_path)) as opened:
        yield opened


def base(shop: WebServer) -> str:
    return f"http://127.0.0.1:{shop.port}"


def test_a_client_of_btcpay_1_6_reads_every_response(shop: WebServer) -> None:
    """pygreenfield checks enums and types, and has only the names of BTCPay before version 2."""
    found = run_client("with_pygreenfield.py", base(shop), KEY, STORE)
    created = found["created"]
    assert (created["amount"], created["currency"], created["status"]) == ("135.99", "EUR", "New")
    assert created["checkout"]["speedPolicy"] == "MediumSpeed"
    assert created["checkout"]["redirectURL"] == "https://shop.example/{InvoiceId}"
    assert found["read"] == created
    assert [each["id"] for each in found["listed"]] == [created["id"]]
    assert found["payments"][0]["paymentMethod"] == "BTC-CHAIN"
    assert found["payments"][0]["networkFee"] == "0"
    assert found["marked"]["status"] == "Invalid"
    assert found["updated"]["metadata"] == {"orderId": "4712"}
    assert found["unarchived"]["archived"] is False
    assert found["webhook"]["url"] == "https://shop.example/|x"
    assert found["webhook"]["authorizedEvents"]["specificEvents"] == ["InvoiceSettled"]
    assert found["deliveries"] == []
    assert found["health"] == {"synchronized": True}
    assert found["server"]["fullySynched"] is True
    assert found["key"]["apiKey"] == KEY
    assert found["store"]["id"] == found["stores"][0]["id"] == STORE


def test_a_client_of_btcpay_2_reads_every_response(shop: WebServer) -> None:
    """A refund fails with a sentence for the merchant."""
    found = run_client("with_btcpay_mcp.py", base(shop), KEY, STORE)
    created = found["created"]
    assert (created["amount"], created["currency"]) == ("0.00100000", "BTC")
    assert created["metadata"] == {"orderId": "4713", "itemDesc": "Socks"}
    assert found["read"] == created
    assert found["listed"] == [created]
    assert found["methods"] == [BITCOIN]
    assert found["payments"][0]["amount"] == "0.00100000"
    secret = found["webhook"].pop("secret")
    assert len(secret) > 20
    assert found["webhooks"] == [found["webhook"]]
    assert "403" in found["refund"]
    assert found["server"]["version"].startswith("2.")


def test_a_client_in_javascript_reads_every_response(shop: WebServer) -> None:
    """btcpay-greenfield-node-client sends the key as Bearer, and parses each body whose type is JSON."""
    found = run_client("with_node_client.js", base(shop), KEY, STORE)
    created = found["created"]
    assert found["read"] == created
    assert [each["id"] for each in found["listed"]] == [created["id"]]
    assert found["marked"]["additionalStatus"] == "Marked"
    assert found["unarchived"] == found["updated"]
    assert found["updated"]["metadata"] == {"a": 1}
    assert [each["url"] for each in found["webhooks"]] == ["https://shop.example/node"]
    assert (found["changed"]["enabled"], found["changed"]["url"]) == (False, "https://shop.example/node/2")
    assert found["left"] == []
    assert found["refused"]["status"] == 422
    assert [each["path"] for each in found["refused"]["body"]] == ["amount"]
    assert found["key"]["apiKey"] == KEY
