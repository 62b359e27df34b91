"""The demo's payment, from the shop's request to the email that reports the confirmation."""

import json
import time
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

from admin.terminal import BOLD, GREEN
from regtest.client import Client
from regtest.console import Console
from regtest.installation import Installation
from regtest.node import CUSTOMER

SELLER = "company1"
ORDER = {
    "seller_id": SELLER,
    "amount_fiat": "135.99",
    "currency": "EUR",
    "note": "Alpaca socks",
    "label": "Demo shop",
}
CONFIRMATIONS = 6
PATIENCE_SECONDS = 30.0

Document = dict[str, Any]


class DemoFailed(Exception):
    """A step of the demo had an unexpected result."""


class Purchase:
    """One payment. `payment` is the request as last read from the API. `letters` has the emails so far."""

    def __init__(self, installation: Installation, screen: Console, client: Client) -> None:
        self.payment: Document = {}
        self.letters: list[EmailMessage] = []
        self._installation = installation
        self._node = installation.node
        self._screen = screen
        self._client = client

    def run(self) -> None:
        """Make the payment. Raise DemoFailed or ProcessError at the first step that fails."""
        self._create()
        self._pay()
        self._expect_letter("first")
        for depth in range(1, CONFIRMATIONS + 1):
            self._mine(depth)
        self._expect_letter("second")
        self._screen.step("All steps worked.", GREEN)

    def _create(self) -> None:
        screen = self._screen
        screen.step("The shop creates a payment request: POST /api/v1/payments", BOLD)
        screen.detail(json.dumps(ORDER))
        answer = self._client.post("/api/v1/payments", ORDER)
        if answer.status != 201:
            raise DemoFailed(f"the shop got no payment request: HTTP {answer.status}, {answer.body!r}")
        self.payment = answer.document
        screen.step(f"Nodetill returns: {self.payment['amount_btc']} BTC to {self.payment['address']}")
        screen.block(json.dumps(self.payment, indent=2))
        screen.detail(f"the checkout page: {self.payment['checkout_url']}")

    def _pay(self) -> None:
        amount, address = self.payment["amount_btc"], self.payment["address"]
        txid = self._node.rpc("sendtoaddress", address, amount, wallet=CUSTOMER)
        sent = time.monotonic()
        self._screen.step(f"The customer pays {amount} BTC", BOLD)
        self._screen.detail(f"transaction {txid}")
        self._wait("report received", lambda now: now["status"] == "received" and now["txid"] == txid)
        seconds = time.monotonic() - sent
        self._screen.step(f"Nodetill reports: received ({seconds:.2f} s after the payment)", GREEN)

    def _mine(self, depth: int) -> None:
        """Mine a block, and wait until the payment has this depth."""
        self._node.mine()
        status = "confirmed" if depth == CONFIRMATIONS else "confirming"
        self._wait(
            f"report {status} with {depth} confirmations",
            lambda now: now["status"] == status and now["confirmations"] == depth,
        )
        block = self._node.rpc("getblockcount")
        colour = GREEN if depth == CONFIRMATIONS else ""
        self._screen.step(f"Block {block} is mined: {status}, {depth} of {CONFIRMATIONS}", colour)

    def _expect_letter(self, which: str) -> None:
        """Wait for the next email, and show it. Raise DemoFailed where it is not the expected one."""
        number = len(self.letters)

        def look() -> list[EmailMessage]:
            return self._installation.letters()[number:]

        new = self._installation.daemon.wait_until(look, f"deliver the {which} email", PATIENCE_SECONDS)
        self.letters += new
        letter, text = new[0], plain_text(new[0])
        if len(new) > 1 or self.payment["payment_request_id"] not in text:
            raise DemoFailed(f"the {which} email is not the expected one: {letter['Subject']}")
        self._screen.step(f"The {which} email: {letter['Subject']}", GREEN)
        headers = "\n".join(f"{name}: {letter[name]}" for name in ("From", "To", "Subject"))
        self._screen.block(f"{headers}\n\n{text}")

    def _wait(self, what: str, is_reached: Callable[[Document], bool]) -> None:
        """Wait until `is_reached` accepts the API's document of the payment.

        Raise ProcessError, which has the text that the daemon did not `what`.
        """
        path = f"/api/v1/payments/{self.payment['payment_request_id']}"

        def look() -> bool:
            answer = self._client.try_get(path)
            if answer is not None and answer.status == 200:
                self.payment = answer.document
            return is_reached(self.payment)

        self._installation.daemon.wait_until(look, what, PATIENCE_SECONDS)


def plain_text(letter: EmailMessage) -> str:
    """Return the email's plain text part."""
    part = letter.get_body(("plain",))
    return "" if part is None else str(part.get_content())
