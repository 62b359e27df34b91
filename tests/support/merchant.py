"""A complete Nodetill on a regtest node, with the calls of its merchant and its operator."""

import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from models.daemon_status import daemon_report
from models.db.connection import disconnect
from models.db.schema import open_database
from regtest.client import ApiResponse, Client
from regtest.installation import Installation
from regtest.node import RegtestNode
from regtest.process import ProcessError, StartPython
from tests.support.fork_server import fork_python

T = TypeVar("T")

SELLER = "company1"
PATIENCE_SECONDS = 30.0


class Merchant:
    """An installation with a wallet of its own, a seller, and the seller's key."""

    def __init__(
        self, node: RegtestNode, directory: Path, start: StartPython = fork_python, **settings: str
    ) -> None:
        self.node = node
        self.wallet = f"till-{directory.name}"
        ours = {"BITCOIND_WALLET": self.wallet, "LOG_LEVEL": "debug", **settings}
        self.installation = Installation(node, directory, start, **ours)
        self.daemon = self.installation.daemon
        self.web = self.installation.web
        self.client: Client = self.installation.client()
        self.webhook_secret = ""

    def open(self, *, is_well: bool = True, has_wallet: bool = True) -> "Merchant":
        """Create the wallet and the seller, and start both servers.

        With `is_well`, wait until /health is 200.
        """
        if has_wallet:
            # The last argument is load_on_startup: bitcoind loads the wallet again after a restart.
            self.node.rpc("createwallet", self.wallet, False, False, "", False, True, True)
        added = self.installation.manage_json("seller", "add", SELLER)
        self.client.api_key, self.webhook_secret = added["api_key"], added["webhook_secret"]
        self.daemon.start()
        self.web.start()
        self.web.wait_until(lambda: self.client.try_get("/health"), "answer")
        if is_well:
            self.installation.wait_ready()
        return self

    def close(self) -> None:
        self.installation.stop()

    # The merchant

    def request(self, amount_fiat: str = "10.00", currency: str = "EUR", **more: Any) -> "Order":
        """Create a payment request. The price is 50,000 EUR, so 10.00 EUR are 20,000 satoshis."""
        body = {"seller_id": SELLER, "amount_fiat": amount_fiat, "currency": currency, **more}
        answer = self.wait(lambda: self._created(body), "answer a request from the pool")
        return Order(self, answer.document)

    def request_addresses_of_the_wallet(self, count: int, *, but: Collection[str]) -> None:
        """Make requests, and check that each has an address of the wallet that is not in `but`."""
        given = [self.request().address for _ in range(count)]
        for address in given:
            assert self.node.rpc("getaddressinfo", address, wallet=self.wallet)["ismine"], address
        assert not set(given) & set(but)

    def _created(self, body: dict[str, Any]) -> ApiResponse | None:
        """Return None while the pool of addresses is empty, as after a start or after many tests."""
        answer = self.client.post("/api/v1/payments", body)
        if answer.status == 503:
            return None
        assert answer.status == 201, answer.body
        return answer

    def get(self, path: str) -> Any:
        answer = self.client.get(path)
        assert answer.status == 200, answer.body
        return answer.document

    # The operator

    def health(self) -> ApiResponse:
        return self.client.get("/health")

    def problems(self) -> list[str]:
        """Return the problems that /health lists."""
        found: list[str] = self.health().document["problems"]
        return found

    def wait_problem(self, *parts: str) -> str:
        """Wait until /health lists a problem that contains all of `parts`, and return this problem."""
        return self.wait(
            lambda: next((p for p in self.problems() if all(part in p for part in parts)), None),
            f"name in /health: {' … '.join(parts)}",
        )

    def wait_well(self) -> None:
        """Wait until /health is 200."""
        self.wait(lambda: self.health().status == 200, "answer /health with 200")

    def wait_tip(self) -> None:
        """Wait until every status is computed at the node's tip."""
        height = self.node.rpc("getblockcount")
        self.wait(lambda: self.health().document["chain"]["height"] == height, f"assess at the tip, {height}")

    def wait_heartbeat(self) -> None:
        """Wait until the daemon has stored another heartbeat."""
        before = self.heartbeat_at()
        self.wait(lambda: self.heartbeat_at() != before, "store another heartbeat")

    def wait_full(self) -> None:
        """Wait until the address pool is full."""
        size = int(self.installation.settings["ADDRESS_POOL"])
        self.wait(lambda: self.health().document["addresses"]["free"] == size, "fill the address pool")

    def put_back(self, copy: Path) -> None:
        """Stop both servers, and put the copy in the place of their SQLite database (docs/install.md)."""
        self.installation.stop()
        name = self.installation.settings["DATABASE_URL"].removeprefix("sqlite:///")
        for beside in ("", "-wal", "-shm"):
            Path(name + beside).unlink(missing_ok=True)
        shutil.copy(copy, name)

    def letters(self) -> list[EmailMessage]:
        return self.installation.letters()

    @contextmanager
    def database(self) -> Iterator[None]:
        """Open this installation's database for `models`, for values that no API call returns."""
        open_database(self.installation.settings["DATABASE_URL"])
        try:
            yield
        finally:
            disconnect()

    def heartbeat_at(self) -> datetime | None:
        """Return the time of the daemon's last heartbeat."""
        with self.database():
            moment: datetime | None = daemon_report().heartbeat_at
            return moment

    def wait(self, look: Callable[[], T | None], what: str, seconds: float = PATIENCE_SECONDS) -> T:
        """Return the first true result of `look`. The error of a timeout has the end of the daemon's log."""
        try:
            return self.web.wait_until(look, what, seconds)
        except ProcessError as error:
            words = "\n  ".join(self.daemon.lines()[-40:])
            raise AssertionError(f"{error}\nthe daemon's log:\n  {words}") from None


@dataclass(frozen=True, slots=True)
class Order:
    """A payment request at `till`; `document` is the answer that created it."""

    merchant: Merchant
    document: dict[str, Any]

    @property
    def id(self) -> str:
        reference: str = self.document["payment_request_id"]
        return reference

    @property
    def path(self) -> str:
        return f"/api/v1/payments/{self.id}"

    @property
    def address(self) -> str:
        address: str = self.document["address"]
        return address

    @property
    def amount_sats(self) -> int:
        amount_sats: int = self.document["amount_sats"]
        return amount_sats

    @property
    def expires_at(self) -> datetime:
        return datetime.fromisoformat(self.document["expires_at"])

    def now(self) -> dict[str, Any]:
        """Return the request's document as the API returns it now."""
        document: dict[str, Any] = self.merchant.get(self.path)
        return document

    def transactions(self) -> dict[str, dict[str, Any]]:
        """Return the document's outputs by txid. For a transaction with several outputs it has the last."""
        return {part["txid"]: part for part in self.now()["transactions"]}

    def wait(self, status: str, **facts: Any) -> dict[str, Any]:
        """Wait until the document has this status and these fields, and return it."""
        wanted = {"status": status, **facts}
        seen: dict[str, Any] = {}

        def look() -> dict[str, Any] | None:
            seen.update(self.now())
            return seen if wanted.items() <= seen.items() else None

        try:
            return self.merchant.wait(look, f"show {wanted} of {self.id}")
        except AssertionError as error:
            raise AssertionError(f"{error}\nthe request: {seen}\nits events: {self.events()}") from None

    def wait_state(self, txid: str, state: str) -> dict[str, Any]:
        """Wait until a transaction is in this state, and return its entry of the document."""
        look = partial(self._part, txid, state)
        return self.merchant.wait(look, f"show {txid} as {state}; it was {self.now()['transactions']}")

    def _part(self, txid: str, state: str) -> dict[str, Any] | None:
        part = self.transactions().get(txid)
        return part if part is not None and part["state"] == state else None

    def is_past_expiry(self) -> bool:
        """Return whether the request has expired, with a second of margin, as the API truncates its times."""
        return (datetime.now(UTC) - self.expires_at).total_seconds() > 1

    # Events and their messages

    def event_list(self) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = self.merchant.get(f"{self.path}/events")["data"]
        return events

    def events(self) -> list[str]:
        """Return the types of all events so far, in order: "received" for payment.received."""
        return [event["type"].removeprefix("payment.") for event in self.event_list()]

    def wait_told(self, *events: str) -> list[EmailMessage]:
        """Wait until exactly these events are stored and all their messages are delivered.

        Return the emails in the order of the events: exactly one for each event that is mailed.
        """
        self.merchant.wait(lambda: self.events()[: len(events)] == list(events), f"store the events {events}")
        self.merchant.wait(self.is_all_delivered, f"deliver all of {self.id}")
        assert self.events() == list(events), self._log_lines()
        letters = self.letters()
        assert len(letters) == len(self.mailed()), [letter["Subject"] for letter in letters]
        return letters

    def mailed(self) -> list[str]:
        """Return the Message-IDs of the events that have an email, in the order of the events."""
        return [f"<{event['event_id']}@localhost>" for event in self.event_list() if _has_email(event)]

    def letters(self) -> list[EmailMessage]:
        """Return the delivered emails about this request, in the order of their events."""
        order = self.mailed()
        found = [letter for letter in self.merchant.letters() if self.id in letter["Subject"]]
        return sorted(found, key=lambda letter: order.index(letter["Message-ID"]))

    def _log_lines(self) -> str:
        lines = [line for line in self.merchant.daemon.lines() if self.id in line]
        return "\n".join([f"the daemon's log lines about {self.id}:", *lines])

    def is_all_delivered(self) -> bool:
        deliveries = [each for event in self.event_list() for each in event["deliveries"]]
        return all(each["delivered_at"] is not None for each in deliveries)


def _has_email(event: dict[str, Any]) -> bool:
    return any(each["channel"] == "email" for each in event["deliveries"])


def body(letter: EmailMessage) -> str:
    """Return the plain text of an email."""
    part = letter.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


def is_urgent(letter: EmailMessage) -> bool:
    return bool(letter["Importance"] == "high")


def subjects(letters: Sequence[EmailMessage]) -> list[str]:
    """Return the part of each subject that names the event, between the network's mark and the colon."""
    mark = "[regtest] "
    assert all(letter["Subject"].startswith(mark) for letter in letters)
    return [str(letter["Subject"]).removeprefix(mark).partition(":")[0].strip() for letter in letters]
