"""A message that was given up is told of by the doctor, and delivered once the operator asks for it."""

import json
from typing import Any

import pytest

from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.mail_server import MailServer
from tests.support.merchant import Merchant

pytestmark = pytest.mark.bitcoind


def _ask_doctor(till: Merchant) -> tuple[int, dict[str, tuple[str, str]]]:
    """The doctor's exit status, and what is said of each part; beside the daemon at work."""
    done = till.installation.manage("doctor", "--json")
    assert done.stderr == ""
    found = json.loads(done.stdout)["findings"]
    return done.returncode, {each["part"]: (each["state"], each["text"]) for each in found}


def test_an_email_that_was_refused_is_delivered_after_all(
    make_till: MerchantMaker, customer: Customer
) -> None:
    """Refused for good by the mail server; told by the doctor; mended; tried again, and taken once."""
    with MailServer() as server:
        till = make_till(SMTP_URL=f"smtp://127.0.0.1:{server.address().port}?starttls=never").open()
        status, before = _ask_doctor(till)
        assert status == 0, before
        assert before["daemon"][0] == before["mail"][0] == "ok"

        server.answers["RCPT"] = "550 no such user"
        order = till.request()
        customer.pay(order.address, order.amount_sats)
        order.wait("received")
        till.wait(lambda: _deliveries(order.event_list())[0]["failed_at"], "give the email up")
        status, ill = _ask_doctor(till)
        assert status == 1
        assert {part for part, (state, _) in ill.items() if state == "wrong"} == {"messages", "mail"}
        (listed,) = till.installation.managed("events", "list")
        assert listed["payment_request_id"] == order.id
        assert "550 no such user" in listed["last_error"]

        del server.answers["RCPT"]
        till.installation.managed("events", "retry", order.id)
        till.wait(lambda: server.taken, "deliver the email")
        till.wait(order.is_all_delivered, "mark it")
        status, well = _ask_doctor(till)
        assert status == 0, well
        assert till.installation.managed("events", "list") == []
        assert len(server.taken) == 1


def _deliveries(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for event in events for each in event["deliveries"]]
