"""One payment at a time: from bitcoind's rawtx message to the committed status, and to the webhook."""

import http.client
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue
from socket import socket

from bench.floor import Commits
from bench.load import Load, Rpc
from bench.observer import LONGEST_SECONDS, Subscriber, Watcher
from bench.site import AMOUNT_SATS, Request, Site
from payments.transaction import parse_transaction
from tests.endpoint import Endpoint, answers
from tests.endpoint import Request as Call

STATUS = "SELECT status = 'received' FROM payment_request WHERE reference = ?"
PENDING = "SELECT count(*) FROM message WHERE next_attempt_at IS NOT NULL"
PAUSE_SECONDS = 0.02
BODY_BYTES = 1_400
"""About a webhook's."""


@dataclass(slots=True)
class LiveSeconds:
    """Measured times of payments, and of foreign transactions that a bare subscriber takes.

    `stored` and `called` are a payment's status and its webhook. `floor` is a subscriber that stores one row
    at each message; `asked` is one that has asked bitcoind for the mempool's entry before, and
    `asked_and_called` until what it then posts is received.
    """

    stored: list[float] = field(default_factory=list)
    called: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)
    asked: list[float] = field(default_factory=list)
    asked_and_called: list[float] = field(default_factory=list)


class Seller:
    """A shop's server for webhooks."""

    def __init__(self) -> None:
        self._moments: SimpleQueue[float] = SimpleQueue()
        self._endpoint = Endpoint(self._note)
        self.url, self._port = self._endpoint.url, self._endpoint.port

    def wait_for(self) -> float:
        """The moment, as of time.perf_counter, at which the next call has been read."""
        return self._moments.get(timeout=LONGEST_SECONDS)

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
    load: Load, site: Site, requests: list[Request], seller: Seller, seconds: LiveSeconds
) -> None:
    """Pay these requests one after another; between two of them, foreign transactions for the floors."""
    with (
        Subscriber("rawtx", load.node.zmq_rawtx) as subscriber,
        Watcher(site.database) as watcher,
        Commits(site.database) as commits,
    ):
        rpc = Rpc(load.node.admin_url)
        for request in requests:
            _pay(load, request, subscriber, watcher, seller, seconds)
            watcher.wait_for(PENDING, is_it=lambda count: count == 0)
            time.sleep(PAUSE_SECONDS)
            _store(load, subscriber, commits, seconds)
            time.sleep(PAUSE_SECONDS)
            _ask(load, subscriber, rpc, commits, seller, seconds)
            time.sleep(PAUSE_SECONDS)


def _pay(
    load: Load,
    request: Request,
    subscriber: Subscriber,
    watcher: Watcher,
    seller: Seller,
    seconds: LiveSeconds,
) -> None:
    raw = load.payment(request.script, AMOUNT_SATS)
    load.begin_submit(raw)
    came = subscriber.wait_for(raw)
    seconds.stored.append(watcher.wait_for(STATUS, request.reference) - came)
    seconds.called.append(seller.wait_for() - came)
    load.finish()


def _store(load: Load, subscriber: Subscriber, commits: Commits, seconds: LiveSeconds) -> None:
    raw = load.foreign()
    load.begin_submit(raw)
    came = subscriber.wait_for(raw)
    commits.store(raw)
    seconds.floor.append(time.perf_counter() - came)
    load.finish()


def _ask(
    load: Load, subscriber: Subscriber, rpc: Rpc, commits: Commits, seller: Seller, seconds: LiveSeconds
) -> None:
    raw = load.foreign()
    txid = parse_transaction(raw).txid
    rpc.call("uptime")
    load.begin_submit(raw)
    came = subscriber.wait_for(raw)
    rpc.call_again("getmempoolentry", txid)
    commits.store(raw)
    seconds.asked.append(time.perf_counter() - came)
    seller.call(bytes(BODY_BYTES))
    seconds.asked_and_called.append(seller.wait_for() - came)
    load.finish()
