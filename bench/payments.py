"""Live payments: from bitcoind's rawtx message to the committed status, and to the webhook."""

import http.client
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from socket import socket
from statistics import median

from bitcoinrpc.authproxy import AuthServiceProxy

from bench.ledger import Ledger
from bench.load import Load
from bench.observer import MAX_WAIT_SECONDS, Subscriber, Watcher
from bench.process import DAEMON_MEBIBYTES, memory_rows, peak_memory, wait_until_quiet
from bench.report import Row, spread, within
from bench.site import AMOUNT_SATS, Request, Site
from payments.transaction import parse_transaction
from tests.support.endpoint import Endpoint, answers
from tests.support.endpoint import Request as Call

STATUS_REACH, POLLER_REACH, WEBHOOK_REACH = 2.5, 100, 3.5
POLLER_SECONDS = 0.5
STATUS = "SELECT status = 'received' FROM payment_request WHERE reference = ?"
PENDING = "SELECT count(*) FROM message WHERE next_attempt_at IS NOT NULL"
PAUSE_SECONDS = 0.02
BODY_BYTES = 1_400
"""About the size of a webhook."""

REMARKS = """\
- Live payment: from bitcoind's rawtx message, which a bare subscriber in another process receives too, to the
  committed status `received`, and to the webhook at the seller's server.
- The bare subscriber calls `getmempoolentry` on an open connection. Then it stores, by the driver alone, the
  rows that Nodetill stores: output, outpoint, status, event, and a message for each recipient. Then it posts
  1,400 bytes for the webhook. Both are measured in turns.
- A poller that asks once a second finds a payment after half a second on the average.
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of the address table, and the number of payments."""

    addresses: int = 1_000_000
    payments: int = 200


QUICK = Plan(addresses=2_000, payments=3)


@dataclass(slots=True)
class Figures:
    """Seconds from each message to status and webhook: of Nodetill, and of the bare subscriber."""

    stored: list[float] = field(default_factory=list)
    called: list[float] = field(default_factory=list)
    bare_stored: list[float] = field(default_factory=list)
    bare_called: list[float] = field(default_factory=list)


class Seller(Endpoint):
    """A shop's server for webhooks, and the times, as of time.perf_counter, at which it has read calls."""

    def __init__(self) -> None:
        self.times: SimpleQueue[float] = SimpleQueue()
        super().__init__(self._note)

    def call(self, body: bytes) -> None:
        """Post a webhook without a signature."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port)) as connection:
            connection.request("POST", "/hook", body)
            connection.getresponse().read()

    def _note(self, endpoint: Endpoint, connection: socket, call: Call) -> None:
        self.times.put(time.perf_counter())
        answers(204)(endpoint, connection, call)


def rows(directory: Path, *, is_quick: bool) -> Iterator[Row]:
    """Yield the rows of the status, of the webhook, and of the daemon's memory."""
    plan = QUICK if is_quick else Plan()
    found, seller = Figures(), Seller()
    with seller, closing(Load.start(directory / "node", 2 * plan.payments)) as load:
        site = Site(load, directory / "site", plan.addresses, plan.payments, webhook_url=seller.url)
        with (
            closing(Ledger(directory / "ledger.db", plan.payments)) as ledger,
            site.running() as daemon,
        ):
            requests = site.requests(plan.payments)
            wait_until_quiet(daemon.pid)
            _measure(load, site, ledger, requests, seller, found)
            memory = peak_memory(daemon.pid)
    size = f"{plan.addresses:,} addresses"
    bare = "a bare subscriber that asks bitcoind and stores the same rows"
    yield within(f"live payment, {size}", found.bare_stored, bare, found.stored, STATUS_REACH)
    yield _poller_row(f"live payment beside a poller, {size}", found.stored)
    bare = "such a subscriber that posts"
    yield within(f"webhook of a live payment, {size}", found.bare_called, bare, found.called, WEBHOOK_REACH)
    yield from memory_rows(f"daemon's memory after live payments, {size}", [memory], DAEMON_MEBIBYTES)


def _measure(
    load: Load, site: Site, ledger: Ledger, requests: list[Request], seller: Seller, found: Figures
) -> None:
    """Pay the requests one after another; between two of them, measure the bare subscriber."""
    rpc = AuthServiceProxy(load.node.admin_url)
    with (
        closing(Subscriber("rawtx", load.node.zmq_rawtx)) as subscriber,
        closing(Watcher(site.database)) as watcher,
    ):
        for request in requests:
            came = _send(load, subscriber, load.payment(request.script, AMOUNT_SATS))
            found.stored.append(watcher.wait_for(STATUS, request.reference) - came)
            found.called.append(seller.times.get(timeout=MAX_WAIT_SECONDS) - came)
            load.finish()
            watcher.wait_for(PENDING, is_it=lambda count: count == 0)
            time.sleep(PAUSE_SECONDS)
            _measure_bare(load, subscriber, rpc, ledger, seller, found)
            time.sleep(PAUSE_SECONDS)


def _measure_bare(
    load: Load, subscriber: Subscriber, rpc: AuthServiceProxy, ledger: Ledger, seller: Seller, found: Figures
) -> None:
    raw = load.foreign()
    rpc.uptime()
    came = _send(load, subscriber, raw)
    transaction = parse_transaction(raw)
    rpc.getmempoolentry(transaction.txid)
    ledger.store(transaction)
    found.bare_stored.append(time.perf_counter() - came)
    seller.call(bytes(BODY_BYTES))
    found.bare_called.append(seller.times.get(timeout=MAX_WAIT_SECONDS) - came)
    load.finish()


def _send(load: Load, subscriber: Subscriber, raw: bytes) -> float:
    """Put a transaction into the mempool, and return the time at which its message came."""
    load.begin_submit(raw)
    return subscriber.wait_for(raw)


def _poller_row(what: str, ours: list[float]) -> Row:
    faster = POLLER_SECONDS / median(ours)
    return Row(
        what,
        f"{1000 * POLLER_SECONDS:.0f} ms, a poller that asks once a second",
        spread(ours),
        f"{faster:.0f} times faster",
        f"{POLLER_REACH} times faster",
        faster >= POLLER_REACH,
    )
