"""Payment links for tests: press "Pay", pay the request, and let the daemon assess it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from config import Settings, load_settings
from daemon.chain.statuses import Assessor
from daemon.counters import Counters
from models.db.connection import get_row
from models.link import Link, link_by_reference
from models.output import Output
from models.payment import PaymentRequest, mark_for_reassessment, payment_by_reference
from tests.support.web_server import TIP, Reply, WebServer

INVOICE = {"title": "Invoice 17", "currency": "EUR", "amount_fiat": "100.00"}
BLOCK = "cd" * 32
NOBODY: dict[str, str | None] = {"Authorization": None}


@dataclass
class LinkShop:
    """A web server with links, and a daemon that assesses when the test calls it."""

    server: WebServer
    settings: Settings
    tip: int = TIP
    _paid: int = field(default=0)

    def link(self, **fields: Any) -> str:
        """Create a link, and return its id."""
        reply = self.server.post("/api/v1/links", {**INVOICE, **fields})
        assert reply.status == 201, reply.body
        link_id: str = reply.json["link_id"]
        return link_id

    def donation(self, **fields: Any) -> str:
        """Create a reusable link whose payer chooses the amount, and return its id."""
        return self.link(title="Donation", amount_fiat=None, is_reusable=True, **fields)

    def document(self, link_id: str) -> dict[str, Any]:
        reply = self.server.get(f"/api/v1/links/{link_id}")
        assert reply.status == 200, reply.body
        document: dict[str, Any] = reply.json
        return document

    def money(self, link_id: str) -> tuple[str, str, str | None]:
        """Return the status of a link, the paid amount and the remaining amount."""
        document = self.document(link_id)
        return document["status"], document["paid_fiat"], document["remaining_fiat"]

    def page(self, link_id: str, query: str = "") -> str:
        reply = self.server.get(f"/l/{link_id}{query}", NOBODY)
        assert reply.status == 200
        return reply.body.decode()

    def press(self, link_id: str, form: str = "", headers: Mapping[str, str | None] | None = None) -> Reply:
        """Press "Pay", and return the response."""
        return self.server.post(f"/l/{link_id}/pay", form.encode(), {**NOBODY, **(headers or {})})

    def request(self, link_id: str, form: str = "") -> PaymentRequest:
        """Press "Pay", and return the request to which the response redirects."""
        reply = self.press(link_id, form)
        assert reply.status == 303, reply.body
        return request_of(reply)

    def pay(self, request: PaymentRequest, amount_sats: int | None = None, depth: int = 0) -> Output:
        """Pay a request, and assess it. By default pay its whole amount."""
        self._paid += 1
        mined = {"state": "mined", "block_hash": BLOCK, "block_height": self.tip - depth + 1}
        row: Output = Output.create(
            address=request.address_id,
            txid=sha256(str(self._paid).encode()).hexdigest(),
            vout=0,
            amount_sats=request.amount_sats if amount_sats is None else amount_sats,
            first_seen_at=self.server.now,
            present_since=self.server.now,
            **(mined if depth else {"state": "mempool"}),
        )
        self.assess(request)
        return row

    def change(self, output: Output, **columns: Any) -> None:
        """Change the columns of an output, as a block, a reorg or a double-spend does. Assess its request."""
        Output.update(**columns).where(Output.id == output.id).execute()
        self.assess(PaymentRequest.get(PaymentRequest.address == output.address_id))

    def mine(self, output: Output, depth: int = 6) -> None:
        self.change(output, state="mined", block_hash=BLOCK, block_height=self.tip - depth + 1)

    def drop(self, output: Output) -> None:
        self.change(output, state="dropped", block_hash=None, block_height=None)

    def expire(self, request: PaymentRequest) -> None:
        """Let the time of the request pass."""
        fresh = get_row(PaymentRequest, request.id)
        self.server.now = max(self.server.now, fresh.expires_at + timedelta(seconds=1))
        self.assess(request)

    def assess(self, *requests: PaymentRequest) -> None:
        mark_for_reassessment(request.address_id for request in requests)
        self.assess_due()

    def assess_due(self) -> None:
        """Assess the requests that are due, as the daemon does."""
        now: datetime = self.server.now
        assessor = Assessor(self.settings, lambda: None, Counters())
        assessor.assess_due(self.tip, now, now)

    def row(self, link_id: str) -> Link:
        link = link_by_reference(link_id)
        assert link is not None
        return link


def request_of(reply: Reply) -> PaymentRequest:
    """Return the request to whose checkout page the response redirects."""
    _, _, rest = reply.headers["location"].partition("pay/")
    request = payment_by_reference(rest.partition("?")[0])
    assert request is not None, reply.headers["location"]
    return request


def link_settings(directory: Path, database_url: str, environ: Mapping[str, str]) -> Settings:
    return load_settings({"DATABASE_URL": database_url, **environ}, directory)
