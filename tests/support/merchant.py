"""A whole Nodetill on a regtest node, as its merchant, its operator and the customers see it."""

from collections.abc import Callable, Iterator, Sequence
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
from regtest.client import Answer, Client
from regtest.installation import Installation
from regtest.node import RegtestNode
from regtest.process import ProcessError

T = TypeVar("T")

SELLER = "company1"
PATIENCE_SECONDS = 30.0


class Merchant:
    """An installation with a wallet of its own, a seller, and the seller's key."""

    def __init__(self, node: RegtestNode, directory: Path, **settings: str) -> None:
        self.node = node
        self.wallet = f"till-{directory.name}"
        ours = {"BITCOIND_WALLET": self.wallet, "LOG_LEVEL": "debug", **settings}
        self.installation = Installation(node, directory, **ours)
        self.daemon = self.installation.daemon
        self.web = self.installation.web
        self.client: Client = self.installation.client()
        self.webhook_secret = ""

    def open(self, *, is_well: bool = True, has_wallet: bool = True) -> "Merchant":
        """Make the wallet and the seller, and start; `is_well` where /health is to be waited for."""
        if has_wallet:
            # …, load_on_startup: it is there again after a restart.
            self.node.rpc("createwallet", self.wallet, False, False, "", False, True, True)
        added = self.installation.managed("seller", "add", SELLER)
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
        """A new payment request; the price is 50,000 EUR, so 10.00 EUR are 20,000 satoshis."""
        body = {"seller_id": SELLER, "amount_fiat": amount_fiat, "currency": currency, **more}
        answer = self.wait(lambda: self._created(body), "answer a request from the pool")
        return Order(self, answer.document)

    def _created(self, body: dict[str, Any]) -> Answer | None:
        """None while the pool is empty: a till that has just started, or one that many tests share."""
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

    def health(self) -> Answer:
        return self.client.get("/health")

    def problems(self) -> list[str]:
        """What /health finds fault with."""
        found: list[str] = self.health().document["problems"]
        return found

    def wait_problem(self, *parts: str) -> str:
        """The problem of /health that has all of `parts` in it; health is 503 then."""
        return self.wait(
            lambda: next((p for p in self.problems() if all(part in p for part in parts)), None),
            f"name in /health: {' … '.join(parts)}",
        )

    def wait_well(self) -> None:
        """Until /health is 200."""
        self.wait(lambda: self.health().status == 200, "find all well")

    def wait_tip(self) -> None:
        """Until every status has been worked out at the node's tip."""
        height = self.node.rpc("getblockcount")
        self.wait(lambda: self.health().document["chain"]["height"] == height, f"assess at the tip, {height}")

    def letters(self) -> list[EmailMessage]:
        return self.installation.letters()

    @contextmanager
    def database(self) -> Iterator[None]:
        """With the till's database open to `models`: for what no call tells."""
        open_database(self.installation.settings["DATABASE_URL"])
        try:
            yield
        finally:
            disconnect()

    def heartbeat_at(self) -> datetime | None:
        """When the daemon last said that it lives."""
        with self.database():
            moment: datetime | None = daemon_report().heartbeat_at
            return moment

    def wait(self, look: Callable[[], T | None], what: str, seconds: float = PATIENCE_SECONDS) -> T:
        """What `look` gives as soon as that is true; an error has the end of the daemon's log."""
        try:
            return self.web.wait_until(look, what, seconds)
        except ProcessError as error:
            words = "\n  ".join(self.daemon.lines()[-40:])
            raise AssertionError(f"{error}\nthe daemon's log:\n  {words}") from None


@dataclass(frozen=True, slots=True)
class Order:
    """A payment request of a till's; `document` is as it was when it was made."""

    till: Merchant
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
        """The request as the API has it."""
        document: dict[str, Any] = self.till.get(self.path)
        return document

    def transactions(self) -> dict[str, dict[str, Any]]:
        """By txid; of a transaction with several outputs, the last."""
        return {part["txid"]: part for part in self.now()["transactions"]}

    def wait(self, status: str, **facts: Any) -> dict[str, Any]:
        """The document once it has this status and these fields."""
        wanted = {"status": status, **facts}
        said: dict[str, Any] = {}

        def look() -> dict[str, Any] | None:
            said.update(self.now())
            return said if wanted.items() <= said.items() else None

        try:
            return self.till.wait(look, f"show {wanted} of {self.id}")
        except AssertionError as error:
            raise AssertionError(f"{error}\nthe request: {said}\nits events: {self.events()}") from None

    def wait_state(self, txid: str, state: str) -> dict[str, Any]:
        """A transaction's entry, once it is in this state."""
        look = partial(self._part, txid, state)
        return self.till.wait(look, f"show {txid} as {state}; it was {self.now()['transactions']}")

    def _part(self, txid: str, state: str) -> dict[str, Any] | None:
        part = self.transactions().get(txid)
        return part if part is not None and part["state"] == state else None

    def is_past_expiry(self) -> bool:
        """The API's times are to the second, and rounded down."""
        return (datetime.now(UTC) - self.expires_at).total_seconds() > 1

    # What is told

    def event_list(self) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = self.till.get(f"{self.path}/events")["data"]
        return events

    def events(self) -> list[str]:
        """What happened so far, in its order: "received" for payment.received."""
        return [event["type"].removeprefix("payment.") for event in self.event_list()]

    def wait_told(self, *events: str) -> list[EmailMessage]:
        """Wait until exactly these things have happened and all is delivered that they are told by.

        The emails of them, in the order of the events: exactly one for each that is mailed.
        """
        self.till.wait(lambda: self.events()[: len(events)] == list(events), f"tell of {events}")
        self.till.wait(self.is_all_delivered, f"deliver all of {self.id}")
        assert self.events() == list(events), self._story()
        letters = self.letters()
        assert len(letters) == len(self.mailed()), [letter["Subject"] for letter in letters]
        return letters

    def mailed(self) -> list[str]:
        """The Message-IDs of the events that have an email, in the order of the events."""
        return [f"<{event['event_id']}@localhost>" for event in self.event_list() if _has_email(event)]

    def letters(self) -> list[EmailMessage]:
        """The emails about this request that were delivered, in the order of their events."""
        order = self.mailed()
        found = [letter for letter in self.till.letters() if self.id in letter["Subject"]]
        return sorted(found, key=lambda letter: order.index(letter["Message-ID"]))

    def _story(self) -> str:
        lines = [line for line in self.till.daemon.lines() if self.id in line]
        return "\n".join(["what the daemon's log has of it:", *lines])

    def is_all_delivered(self) -> bool:
        deliveries = [each for event in self.event_list() for each in event["deliveries"]]
        return all(each["delivered_at"] is not None for each in deliveries)


def _has_email(event: dict[str, Any]) -> bool:
    return any(each["channel"] == "email" for each in event["deliveries"])


def body(letter: EmailMessage) -> str:
    """What a reader without HTML sees."""
    part = letter.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


def is_urgent(letter: EmailMessage) -> bool:
    return bool(letter["Importance"] == "high")


def subjects(letters: Sequence[EmailMessage]) -> list[str]:
    """What each says happened."""
    return [str(letter["Subject"]).partition(":")[0].strip() for letter in letters]
