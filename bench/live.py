"""One payment at a time: from bitcoind's rawtx message to the committed status, and to the webhook."""

import http.client
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue
from socket import socket

from bench.floor import Commits
from bench.ledger import Ledger
from bench.load import Load, Rpc
from bench.observer import LONGEST_SECONDS, Subscriber, Watcher
from bench.site import AMOUNT_SATS, Request, Site
from payments.transaction import Transaction, parse_transaction
from tests.support.endpoint import Endpoint, answers
from tests.support.endpoint import Request as Call

STATUS = "SELECT status = 'received' FROM payment_request WHERE reference = ?"
PENDING = "SELECT count(*) FROM message WHERE next_attempt_at IS NOT NULL"
PAUSE_SECONDS = 0.02
BODY_BYTES = 1_400
"""About a webhook's."""


@dataclass(slots=True)
class LiveSeconds:
    """Measured times of payments, and of foreign transactions that a bare subscriber takes.

    `stored` and `called` are a payment's status and its webhook. `floor` is a subscriber that stores one row
    at each message; `asked` is one that has asked bitcoind for the mempool's entry before; `kept` is one that
    has asked, and then stores all that has to be kept, and `kept_and_called` until what it then posts is
    received.
    """

    stored: list[float] = field(default_factory=list)
    called: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)
    asked: list[float] = field(default_factory=list)
    kept: list[float] = field(default_factory=list)
    kept_and_called: list[float] = field(default_factory=list)


class Seller:
    """A shop's server for webhooks."""

    def __init__(self) -> None:
        self._moments: SimpleQueue[float] = SimpleQueue()
        self._endpoint = Endpoint(self._note)
        self.url, self._port = self._endpoint.url, self._endpoint.port

    def wait_for(self) -> float:
        """The moment, as of time.perf_counter, at which the next call has been read."""
        return self._moments.get(timeout=LONGEST_SECONDS)

    def forget(self) -> None:
        """The calls that nobody has waited for."""
        while not self._moments.empty():
            self._moments.get()

    def call(self, body: bytes) -> None:
        """As somebody does who calls it."""
        with closing(http.client.HTTPConnection("127.0.0.1", self._port)) as connection:
            connection.request("POST", "/hook", body)
            connection.getresponse().read()

    @contextmanager
    def open(self) -> Iterator[None]:
        """It answers."""
        with self._endpoint:
            yield

    def _note(self, endpoint: Endpoint, connection: socket, call: Call) -> None:
        self._moments.put(time.perf_counter())
        answers(204)(endpoint, connection, call)


def measure_live(
    load: Load, site: Site, ledger: Ledger, requests: list[Request], seller: Seller, seconds: LiveSeconds
) -> None:
    """Pay these requests one after another; between two of them, foreign transactions for the floors."""
    with (
        Subscriber("rawtx", load.node.zmq_rawtx) as subscriber,
        Watcher(site.database) as watcher,
        Commits(site.database) as commits,
    ):
        bare = Bare(load, subscriber, commits, ledger, seller)
        for request in requests:
            _pay(load, request, subscriber, watcher, seller, seconds)
            watcher.wait_for(PENDING, is_it=lambda count: count == 0)
            for measure in (bare.store, bare.ask_and_store, bare.ask_and_keep):
                time.sleep(PAUSE_SECONDS)
                measure(seconds)
            time.sleep(PAUSE_SECONDS)


def measure_stored(load: Load, site: Site, requests: list[Request], stored: list[float]) -> None:
    """Pay these requests one after another, and nothing between."""
    with Subscriber("rawtx", load.node.zmq_rawtx) as subscriber, Watcher(site.database) as watcher:
        for request in requests:
            came = _send(load, subscriber, load.payment(request.script, AMOUNT_SATS))
            stored.append(watcher.wait_for(STATUS, request.reference) - came)
            load.finish()
            time.sleep(PAUSE_SECONDS)


class Bare:
    """A subscriber that does the least, for a foreign transaction of its own each time."""

    def __init__(
        self, load: Load, subscriber: Subscriber, commits: Commits, ledger: Ledger, seller: Seller
    ) -> None:
        self._load = load
        self._subscriber = subscriber
        self._commits = commits
        self._ledger = ledger
        self._seller = seller
        self._rpc = Rpc(load.node.admin_url)

    def store(self, seconds: LiveSeconds) -> None:
        """One row, whatever the message is."""
        raw = self._load.foreign()
        came = _send(self._load, self._subscriber, raw)
        self._commits.store(raw)
        seconds.floor.append(time.perf_counter() - came)
        self._load.finish()

    def ask_and_store(self, seconds: LiveSeconds) -> None:
        """One row, once bitcoind says that it is so."""
        raw = self._load.foreign()
        came, _ = self._ask(raw)
        self._commits.store(raw)
        seconds.asked.append(time.perf_counter() - came)
        self._load.finish()

    def ask_and_keep(self, seconds: LiveSeconds) -> None:
        """All that has to be kept, once bitcoind says that it is so; then call the seller."""
        came, transaction = self._ask(self._load.foreign())
        self._ledger.keep(transaction)
        seconds.kept.append(time.perf_counter() - came)
        self._seller.call(bytes(BODY_BYTES))
        seconds.kept_and_called.append(self._seller.wait_for() - came)
        self._load.finish()

    def _ask(self, raw: bytes) -> tuple[float, Transaction]:
        """When the message came; and what is in it, once bitcoind has said that its mempool has it."""
        self._rpc.call("uptime")
        came = _send(self._load, self._subscriber, raw)
        transaction = parse_transaction(raw)
        self._rpc.call_again("getmempoolentry", transaction.txid)
        return came, transaction


def _pay(
    load: Load,
    request: Request,
    subscriber: Subscriber,
    watcher: Watcher,
    seller: Seller,
    seconds: LiveSeconds,
) -> None:
    came = _send(load, subscriber, load.payment(request.script, AMOUNT_SATS))
    seconds.stored.append(watcher.wait_for(STATUS, request.reference) - came)
    seconds.called.append(seller.wait_for() - came)
    load.finish()


def _send(load: Load, subscriber: Subscriber, raw: bytes) -> float:
    """Put it into the mempool; the moment at which its message came."""
    load.begin_submit(raw)
    return subscriber.wait_for(raw)
