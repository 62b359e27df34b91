"""Invented transaction ids of one seller do not delay the payments of others."""

import secrets
from threading import Event, Thread

import pytest

from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.merchant import Merchant

LOUD = "loud"
PAYMENTS = 5
CONNECTIONS = 3


@pytest.fixture(scope="module")
def merchant(make_merchant: MerchantMaker) -> Merchant:
    """Return a merchant whose daemon reconciles only after an hour."""
    return make_merchant(RECONCILE_INTERVAL="3600").open()


def test_invented_transaction_ids_delay_no_other_payment(merchant: Merchant, customer: Customer) -> None:
    """During the flood, the daemon sees payments of others and accepts another seller's hints."""
    loud = merchant.installation.client(merchant.installation.manage_json("seller", "add", LOUD)["api_key"])
    body = {"seller_id": LOUD, "amount_fiat": "10.00", "currency": "EUR"}
    made = merchant.wait(lambda: _created(loud.post("/api/v1/payments", body)), "answer the loud seller")
    path = f"/api/v1/payments/{made}/transactions"
    is_done, statuses = Event(), list[int]()

    def flood() -> None:
        while not is_done.is_set():
            statuses.append(loud.post(path, {"txid": secrets.token_hex(32)}).status)

    flooding = [Thread(target=flood) for _ in range(CONNECTIONS)]
    for each in flooding:
        each.start()
    try:
        merchant.wait(lambda: len(statuses) > 100, "answer the flood")
        for _ in range(PAYMENTS):
            before = len(statuses)
            order = merchant.request(confirmations=1)
            sent = customer.pay(order.address, order.amount_sats)
            answer = merchant.client.post(f"{order.path}/transactions", {"txid": sent.txid})
            assert answer.status == 202
            order.wait("received")
            assert len(statuses) > before, "the flood has ended"
    finally:
        is_done.set()
        for each in flooding:
            each.join(30)
    assert set(statuses) <= {202, 429}
    assert not [line for line in merchant.daemon.lines() if "cannot be used" in line]


def _created(answer: object) -> str | None:
    document = getattr(answer, "document", None)
    return document["payment_request_id"] if getattr(answer, "status", 0) == 201 and document else None
