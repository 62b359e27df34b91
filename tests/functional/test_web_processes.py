"""Several web processes on one PostgreSQL database keep the promises of one process."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest

from models.address import Address, free_count
from models.command import DaemonCommand
from models.db.connection import disconnect
from models.db.schema import open_database
from models.outbox import WEBHOOK
from models.payment import PaymentRequest
from regtest.child import free_ports
from regtest.client import ApiResponse, Client
from regtest.installation import environment
from regtest.process import Process
from tests.support.postgres import PostgresServer
from tests.support.rows import new_event, new_message
from tests.support.waiting import wait_until
from tests.support.web_server import KEY, NOW, stock

PROCESSES, CALLERS_OF_EACH = 4, 8
POOL = 100
CREATE = "/api/v1/payments"
# An amount in satoshis needs no rate, and so no daemon.
BODY = {"seller_id": "company1", "amount_fiat": "20000", "currency": "SAT"}


class Fleet:
    """The web processes, and threads that call each of them in turn."""

    def __init__(self, clients: list[Client]) -> None:
        self._clients = clients
        self._callers = ThreadPoolExecutor(PROCESSES * CALLERS_OF_EACH)

    def post(self, path: str, bodies: list[Any], key: str | None = None) -> list[ApiResponse]:
        """Send all bodies at once, and return the answers."""
        headers = {"Idempotency-Key": key} if key else {}

        def call(number: int) -> ApiResponse:
            return self._clients[number % PROCESSES].post(path, bodies[number], headers)

        return list(self._callers.map(call, range(len(bodies))))


@pytest.fixture(scope="module")
def fleet(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Start the processes on one database, which is open in the test too."""
    url, directory = postgres.new_database(), tmp_path_factory.mktemp("fleet")
    open_database(url)
    stock(POOL)
    ports = free_ports(PROCESSES)
    with ExitStack() as stack:
        for port in ports:
            environ = environment({"DATABASE_URL": url, "WEB_PORT": str(port)})
            stack.enter_context(Process("run_web.py", environ, directory, f"web{port}"))
        clients = [Client(f"http://127.0.0.1:{port}", KEY) for port in ports]
        for client in clients:
            wait_until(partial(client.try_get, "/health"), what="a web server")
        yield Fleet(clients)
    disconnect()


def statuses(answers: list[ApiResponse]) -> Counter[int]:
    return Counter(answer.status for answer in answers)


def test_one_idempotency_key_creates_one_request_in_all_processes(fleet: Fleet) -> None:
    """A repeat may reach any process. Another body with the same key is refused."""
    free, made = free_count(), PaymentRequest.select().count()
    answers = fleet.post(CREATE, [BODY] * 32, key="order 17")
    assert statuses(answers) == {201: 1, 200: 31}
    assert len({answer.document["address"] for answer in answers}) == 1
    others = fleet.post(CREATE, [{**BODY, "note": str(number % 2)} for number in range(32)], key="order 18")
    assert statuses(others) == {201: 1, 200: 15, 422: 16}
    assert (free_count(), PaymentRequest.select().count()) == (free - 2, made + 2)


def test_a_command_that_many_send_at_once_is_stored_once(fleet: Fleet) -> None:
    """The commands accept late money, send a webhook again, and check a transaction."""
    (created,) = fleet.post(CREATE, [BODY])
    path = f"{CREATE}/{created.document['payment_request_id']}"
    row = PaymentRequest.get(PaymentRequest.reference == created.document["payment_request_id"])
    PaymentRequest.update(is_late=True).where(PaymentRequest.id == row.id).execute()
    event = new_event(row)
    new_message(event, channel=WEBHOOK, recipient="company1", delivered_at=NOW, next_attempt_at=None)
    assert statuses(fleet.post(f"{path}/accept", [None] * 32)) == {200: 32}
    assert statuses(fleet.post(f"{path}/events/{event.reference}/redeliver", [None] * 32)) == {202: 32}
    assert statuses(fleet.post(f"{path}/transactions", [{"txid": "ab" * 32}] * 32)) == {202: 32}
    assert Counter(command.kind for command in DaemonCommand.select()) == {
        "accept": 1,
        "redeliver": 1,
        "transaction": 1,
    }


def test_each_address_is_assigned_once_and_none_is_lost(fleet: Fleet) -> None:
    """There are more calls than addresses. The other calls get 503."""
    free, made = free_count(), PaymentRequest.select().count()
    answers = fleet.post(CREATE, [BODY] * (free + 60))
    assert statuses(answers) == {201: free, 503: 60}
    assert len({answer.document["address"] for answer in answers if answer.status == 201}) == free
    refused = [answer for answer in answers if answer.status == 503]
    assert {answer.document["type"].rpartition(":")[2] for answer in refused} == {"no-address"}
    assert all(answer.headers["Retry-After"].isdigit() for answer in refused)
    assert free_count() == 0
    assert PaymentRequest.select().count() == made + free == Address.select().count()
