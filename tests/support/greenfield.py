"""Calls of BTCPay's Greenfield API, as a shop's plug-in makes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from models.payment import PaymentRequest
from tests.support.web_server import KEY, Reply, WebServer

STORE = "company1"
NOBODY: dict[str, str | None] = {"Authorization": None}
ORDER: Mapping[str, Any] = {
    "amount": "135.99",
    "currency": "EUR",
    "metadata": {"orderId": "000000001"},
    "checkout": {"redirectURL": "https://shop.example/thanks"},
}


@dataclass(frozen=True)
class Plugin:
    """A plug-in of a shop with a key of a store."""

    shop: WebServer
    key: str = KEY
    store: str = STORE
    headers: Mapping[str, str | None] = field(default_factory=dict)

    def call(self, method: str, path: str, body: Any = None, **headers: str | None) -> Reply:
        """Call a path after /api/v1, or a full path."""
        full = path if path.lower().lstrip("/").startswith("api/") else f"/api/v1{path}"
        return self.shop.call(
            method, full, body, {"Authorization": f"token {self.key}", **self.headers, **headers}
        )

    def of_store(self, method: str, path: str, body: Any = None) -> Reply:
        """Call a path after the store's own path."""
        return self.call(method, f"/stores/{self.store}{path}", body)

    def get(self, path: str) -> Any:
        """Return the document at a path after the store's own path."""
        return good(self.of_store("GET", path))

    def create(self, **members: Any) -> dict[str, Any]:
        """Create an invoice from ORDER and these members. Return its document."""
        invoice: dict[str, Any] = good(self.of_store("POST", "/invoices", {**ORDER, **members}))
        return invoice

    def refused(self, **members: Any) -> list[str]:
        """Create an invoice that is refused. Return the paths of its wrong members."""
        return paths(self.of_store("POST", "/invoices", {**ORDER, **members}))


def good(reply: Reply) -> Any:
    """Check that the status is 200, and return the document."""
    assert reply.status == 200, (reply.status, reply.body)
    assert reply.headers["content-type"] == "application/json"
    return reply.json


def paths(reply: Reply) -> list[str]:
    """Check that the response is a 422, and return the paths of the wrong members."""
    assert reply.status == 422, (reply.status, reply.body)
    assert reply.headers["content-type"] == "application/json"
    errors = reply.json
    assert isinstance(errors, list)
    assert errors
    for error in errors:
        assert set(error) == {"path", "message"}
        assert isinstance(error["message"], str)
        assert error["message"]
    return [error["path"] for error in errors]


def code(reply: Reply, status: int) -> str:
    """Check that the response is an error with this status, and return its code."""
    assert reply.status == status, (reply.status, reply.body)
    assert reply.headers["content-type"] == "application/json"
    assert {"code", "message"} <= set(reply.json) <= {"code", "message", "missingPermission"}
    assert reply.json["message"]
    return str(reply.json["code"])


def row_of(invoice: Mapping[str, Any]) -> PaymentRequest:
    """Return the payment request of an invoice."""
    row: PaymentRequest = PaymentRequest.get(PaymentRequest.reference == invoice["id"])
    return row
