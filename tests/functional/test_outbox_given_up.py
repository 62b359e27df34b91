"""A message that was given up: the doctor reports the message, and `manage.py events retry` delivers it."""

import json
from typing import Any

import pytest

from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.mail_server import MailServer
from tests.support.merchant import Merchant

pytestmark = pytest.mark.bitcoind


def _run_doctor(merchant: Merchant) -> tuple[int, dict[str, tuple[str, str]]]:
    """Return the doctor's exit status, and the state and text of each part."""
    done = merchant.installation.manage("doctor", "--json")
    assert done.stderr == ""
    found = json.loads(done.stdout)["findings"]
    return done.returncode, {each["part"]: (each["state"], each["text"]) for each in found}


@pytest.mark.broad
def test_events_retry_delivers_an_email_that_was_given_up(
    make_merchant: MerchantMaker, customer: Customer
) -> None:
    """The mail server refuses the email, and the doctor reports that. After a retry the email comes once."""
    with MailServer() as server:
        merchant = make_merchant(SMTP_URL=f"smtp://127.0.0.1:{server.address().port}?starttls=never").open()
        status, before = _run_doctor(merchant)
        assert status == 0, before
        assert before["daemon"][0] == before["mail"][0] == "ok"

        server.answers["RCPT"] = "550 no such user"
        order = merchant.request()
        customer.pay(order.address, order.amount_sats)
        order.wait("received")
        merchant.wait(lambda: _deliveries(order.event_list())[0]["failed_at"], "give the email up")
        status, ill = _run_doctor(merchant)
        assert status == 1
        assert {part for part, (state, _) in ill.items() if state == "wrong"} == {"messages", "mail"}
        (listed,) = merchant.installation.manage_json("events", "list")
        assert listed["payment_request_id"] == order.id
        assert "550 no such user" in listed["last_error"]

        del server.answers["RCPT"]
        merchant.installation.manage_json("events", "retry", order.id)
        merchant.wait(lambda: server.taken, "deliver the email")
        merchant.wait(order.is_all_delivered, "mark the email as delivered")
        status, well = _run_doctor(merchant)
        assert status == 0, well
        assert merchant.installation.manage_json("events", "list") == []
        assert len(server.taken) == 1


def _deliveries(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for event in events for each in event["deliveries"]]
