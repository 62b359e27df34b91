"""The demo's payment, from the shop's request to the email that says it is confirmed."""

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
ORDER = {"seller_id": SELLER, "amount_fiat": "135.99", "currency": "EUR", "note": "Alpaca socks"}
CONFIRMATIONS = 6
PATIENCE_SECONDS = 30.0

Document = dict[str, Any]


class Mishap(Exception):
    """Something happened that was not to happen."""


class Purchase:
    """One payment. `payment` is the request as it was last seen, `letters` the emails that came."""

    def __init__(self, installation: Installation, screen: Console, client: Client) -> None:
        self.payment: Document = {}
        self.letters: list[EmailMessage] = []
        self._installation = installation
        self._node = installation.node
        self._screen = screen
        self._client = client

    def run(self) -> None:
        """Raises Mishap, or ProcessError with what did not happen."""
        self._ask()
        self._pay()
        self._expect_letter("first")
        for depth in range(1, CONFIRMATIONS + 1):
            self._mine(depth)
        self._expect_letter("second")
        self._screen.step("All of it happened.", GREEN)

    def _ask(self) -> None:
        screen = self._screen
        screen.step("The shop asks: POST /api/v1/payments", BOLD)
        screen.detail(json.dumps(ORDER))
        answer = self._client.post("/api/v1/payments", ORDER)
        if answer.status != 201:
            raise Mishap(f"the shop got no payment request: HTTP {answer.status}, {answer.body!r}")
        self.payment = answer.document
        screen.step(f"and is answered: {self.payment['amount_btc']} BTC to {self.payment['address']}")
        screen.block(json.dumps(self.payment, indent=2))
        screen.detail(f"the customer's page: {self.payment['checkout_url']}")

    def _pay(self) -> None:
        amount, address = self.payment["amount_btc"], self.payment["address"]
        txid = self._node.rpc("sendtoaddress", address, amount, wallet=CUSTOMER)
        sent = time.monotonic()
        self._screen.step(f"The customer pays {amount} BTC", BOLD)
        self._screen.detail(f"transaction {txid}")
        self._wait("say received", lambda now: now["status"] == "received" and now["txid"] == txid)
        seconds = time.monotonic() - sent
        self._screen.step(f"Nodetill says: received ({seconds:.2f} s after it was sent)", GREEN)

    def _mine(self, depth: int) -> None:
        """Mine a block, and wait until the payment is so deep."""
        self._node.mine()
        status = "confirmed" if depth == CONFIRMATIONS else "confirming"
        self._wait(
            f"say {status} with {depth} confirmations",
            lambda now: now["status"] == status and now["confirmations"] == depth,
        )
        block = self._node.rpc("getblockcount")
        colour = GREEN if depth == CONFIRMATIONS else ""
        self._screen.step(f"Block {block} is mined: {status}, {depth} of {CONFIRMATIONS}", colour)

    def _expect_letter(self, which: str) -> None:
        """Wait for the next email, and show it."""
        number = len(self.letters)

        def look() -> list[EmailMessage]:
            return self._installation.letters()[number:]

        new = self._installation.daemon.wait_until(look, f"deliver the {which} email", PATIENCE_SECONDS)
        self.letters += new
        letter, text = new[0], plain_text(new[0])
        if len(new) > 1 or self.payment["payment_request_id"] not in text:
            raise Mishap(f"the {which} email is not the one that was to come: {letter['Subject']}")
        self._screen.step(f"The {which} email: {letter['Subject']}", GREEN)
        headers = "\n".join(f"{name}: {letter[name]}" for name in ("From", "To", "Subject"))
        self._screen.block(f"{headers}\n\n{text}")

    def _wait(self, what: str, is_so: Callable[[Document], bool]) -> None:
        """Wait until the API tells so of the payment. Raises ProcessError: the daemon did not do `what`."""
        path = f"/api/v1/payments/{self.payment['payment_request_id']}"

        def look() -> bool:
            answer = self._client.try_get(path)
            if answer is not None and answer.status == 200:
                self.payment = answer.document
            return is_so(self.payment)

        self._installation.daemon.wait_until(look, what, PATIENCE_SECONDS)


def plain_text(letter: EmailMessage) -> str:
    """The email's text for a reader without HTML."""
    part = letter.get_body(("plain",))
    return "" if part is None else str(part.get_content())
