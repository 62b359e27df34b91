"""The keys of the demo: one key pays, mines, double-spends, or makes a request."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import urllib3

from admin.terminal import GREEN, YELLOW
from daemon.node.errors import NodeError, RpcError
from models.output import MEMPOOL, MINED
from payments.money import format_btc
from regtest import demo_wallet
from regtest.client import ApiResponse, Client
from regtest.console import Console
from regtest.demo_commands import show_commands
from regtest.demo_login import OneTimeLogin
from regtest.demo_payment import ORDER, DemoFailed
from regtest.installation import Installation

SOON_SECONDS = 60  # the shortest time of a request (docs/spec.md 4)
HALF = 2
QUIT = "q"

MENU = f"""\
  p  pay it            n  make a new request
  h  pay half of it    e  make a request that expires in {SOON_SECONDS} s
  m  mine a block      o  open the operator's page
  d  double-spend      c  show commands for another terminal
  q  end"""

Document = dict[str, Any]


class Keys:
    """Does what a key orders. `payment` is the newest request that a key has made."""

    def __init__(
        self, installation: Installation, screen: Console, client: Client, login: OneTimeLogin
    ) -> None:
        self.payment: Document = {}
        self._installation = installation
        self._node = installation.node
        self._screen = screen
        self._client = client
        self._login = login
        self._reported: dict[str, str] = {}
        self._actions: dict[str, Callable[[], str]] = {
            "p": self._pay,
            "h": self._pay_half,
            "m": self._mine,
            "d": self._double_spend,
            "e": self._let_expire,
            "n": self._create,
            "o": self._open_page,
        }

    def invite(self) -> None:
        """Make a request and print its page and the keys. Raise DemoFailed where the API refuses."""
        created = self._request()
        self._changes()  # the first payment's story has been shown
        self._screen.title("Your turn. Open this page in a browser:")
        self._screen.plain(f"  {created['checkout_url']}")
        self._screen.title("Then press a key:")
        self._screen.plain(f"{MENU}\n")

    def press(self, key: str) -> None:
        """Do what the key orders, and print one line with the result."""
        if key == "c":
            show_commands(self._installation, self._screen, self._client.api_key or "")
            return
        action = self._actions.get(key)
        if action is None:
            self._screen.plain(MENU)
            return
        try:
            self._screen.step(action())
        except RpcError as refusal:
            self._screen.step(f"bitcoind refuses: {refusal}", YELLOW)
        except (DemoFailed, NodeError, OSError, urllib3.exceptions.HTTPError) as failure:
            self._screen.step(f"It did not work: {failure}", YELLOW)

    def report_changes(self) -> None:
        """Print each status that has changed since the last call."""
        for reference, words in self._changes():
            self._screen.step(f"Nodetill reports for {reference}: {words}", GREEN)

    def _changes(self) -> list[tuple[str, str]]:
        """Return the reference and the status of each request that has changed since the last call."""
        present = {it["payment_request_id"]: status_words(it) for it in self._payments()}
        changed = [each for each in present.items() if self._reported.get(each[0]) != each[1]]
        self._reported |= present
        return changed

    def _payments(self) -> list[Document]:
        """Return the newest payment requests, or none where the web server does not answer."""
        answer = self._client.try_get("/api/v1/payments")
        return [] if answer is None or answer.status != HTTPStatus.OK else answer.document["data"]

    def _request(self, **fields: object) -> Document:
        answer = self._client.post("/api/v1/payments", ORDER | fields)
        if answer.status != HTTPStatus.CREATED:
            raise _refusal(answer)
        self.payment = answer.document
        self._reported[self.payment["payment_request_id"]] = status_words(self.payment)
        return self.payment

    def _missing_sats(self) -> int:
        """Return how much of the newest request is not paid."""
        answer = self._client.get(f"/api/v1/payments/{self.payment['payment_request_id']}")
        if answer.status != HTTPStatus.OK:
            raise _refusal(answer)
        self.payment = answer.document
        return int(self.payment["amount_sats"]) - int(self.payment["received_sats"])

    def _pay(self) -> str:
        return self._send(self._missing_sats())

    def _pay_half(self) -> str:
        return self._send(self._missing_sats() // HALF)

    def _send(self, amount_sats: int) -> str:
        if amount_sats <= 0:
            return "The newest request is paid. Press n for a new one."
        txid = demo_wallet.pay(self._node, self.payment["address"], amount_sats)
        return f"The customer pays {format_btc(amount_sats)} BTC: transaction {_short(txid)}"

    def _mine(self) -> str:
        self._node.mine()
        return f"Block {self._node.rpc('getblockcount')} is mined"

    def _double_spend(self) -> str:
        addresses = {payment["address"] for payment in self._payments()}
        old = demo_wallet.newest_unconfirmed(self._node, addresses)
        if old is None:
            return "No payment is unconfirmed, so none can be double-spent."
        new = demo_wallet.double_spend(self._node, old)
        return (
            f"The customer replaces transaction {_short(old)} by {_short(new)}, which pays the shop nothing"
        )

    def _let_expire(self) -> str:
        page = self._request(expires_in=SOON_SECONDS)["checkout_url"]
        return f"A new request expires in {SOON_SECONDS} s. Wait, then press p to pay late: {page}"

    def _create(self) -> str:
        return f"A new request: {self._request()['checkout_url']}"

    def _open_page(self) -> str:
        return f"The operator's page (this link logs you in, once): {self._login.link()}"


def status_words(payment: Document) -> str:
    """Describe a request's status in a few words."""
    words = str(payment["status"])
    if payment["status"] == "confirming":
        words += f", {payment['confirmations']} of {payment['confirmations_required']}"
    if payment["status"] == "underpaid":
        words += f", {format_btc(payment['received_sats'])} of {payment['amount_btc']} BTC"
    if payment["late"]:
        words += ", and money came late"
    states = {part["state"] for part in payment["transactions"]}
    if states and not states & {MEMPOOL, MINED}:
        words += f" (transaction {' or '.join(sorted(states))})"
    return words


def _short(txid: str) -> str:
    return f"{txid[:8]}…"


def _refusal(answer: ApiResponse) -> DemoFailed:
    return DemoFailed(f"the API returned {answer.status}: {answer.body.decode(errors='replace')}")
