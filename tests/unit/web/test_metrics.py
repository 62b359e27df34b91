"""GET /metrics as Prometheus reads it, and what monitoring/ makes of it; promtool is Prometheus's own."""

import json
import re
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from daemon.counters import Counters
from models.block import Block
from models.daemon_status import beat
from models.db.connection import bind, database, is_sqlite
from models.payment import PaymentRequest
from models.queries import metrics as statistics
from models.seller import Seller
from payments.status import EventType
from tests.conftest import sqlite_in
from tests.support.debian_program import find_program
from tests.support.operator_client import OperatorClient
from tests.support.rows import new_event, new_message, new_payment
from tests.support.web_server import NOW, TIP, WebServer, open_shop, stored

MONITORING = Path(__file__).parent.parent.parent.parent / "monitoring"
PASSWORD = "correct horse: battery"
TOKEN = "7c1f-of-the-monitor"
OF_PROMETHEUS = {"up"}


@pytest.fixture
def shop(tmp_path: Path, database_url: str) -> Iterator[WebServer]:
    """A shop whose operator has a password; nobody has a key."""
    with open_shop(tmp_path, database_url, {"OPERATOR_PASSWORD": PASSWORD, "METRICS_TOKEN": TOKEN}) as opened:
        opened.common_headers.clear()
        yield opened


@pytest.fixture(scope="module")
def promtool() -> list[str]:
    """The command that runs it."""
    return find_program("promtool", "promtool")


def run(command: list[str], *arguments: str, said: str = "") -> str:
    """What it prints; it must find no fault."""
    done = subprocess.run([*command, *arguments], input=said, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def scrape(shop: WebServer) -> str:
    reply = shop.get("/metrics")
    assert reply.status == 200, reply.body
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return reply.body.decode()


def values(text: str, name: str) -> dict[str, float]:
    """A metric's samples, each by the values of its labels."""
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {" ".join(s.labels.values()): s.value for s in samples if s.name == f"nodetill_{name}"}


def fill(shop: WebServer) -> None:
    """Something of everything that can be counted."""
    key = {"Authorization": "Bearer nt_company1"}
    first, second, third = (
        stored(
            shop.post(
                "/api/v1/payments", {"seller_id": "company1", "amount_fiat": 10, "currency": "EUR"}, key
            ).json
        )
        for _ in range(3)
    )
    for payment, status in ((second, "received"), (third, "confirmed")):
        payment.status = status
        payment.save()
    sent = {"next_attempt_at": None, "delivered_at": NOW}
    new_message(new_event(first), created_at=NOW - timedelta(seconds=90))
    new_message(new_event(second), **sent)
    new_message(new_event(third), next_attempt_at=None, failed_at=NOW)
    Block.create(height=TIP, hash="00" * 32, chainwork="ff" * 32, mined_at=NOW - timedelta(minutes=8))
    counters = Counters()
    counters.add("feed_messages", "rawtx", 7)
    counters.add("feed_messages_lost", by=3)
    counters.add("events", "payment.received")
    counters.add("deliveries", "webhook given up", 2)
    for seconds in (0.2, 0.2, 7, 90_000):
        counters.time("email", seconds)
    beat(NOW, TIP + 2, ["one thing"], counters.document())


def test_what_is_open_and_what_waits_is_counted(shop: WebServer) -> None:
    """By status, by channel; what is done is not read again."""
    fill(shop)
    text = scrape(shop)
    assert values(text, "payment_requests") == {"new": 1, "underpaid": 0, "received": 1, "confirming": 0}
    assert values(text, "payment_requests_created_total") == {"": 3}
    assert values(text, "outbox_pending_messages") == {"email": 1, "webhook": 0}
    assert values(text, "outbox_oldest_timestamp_seconds") == {"email": NOW.timestamp() - 90}
    assert values(text, "outbox_undeliverable_messages") == {"": 1}
    assert values(text, "free_addresses") == {"": 47}
    assert values(text, "problems") == {"": 1}


def test_the_node_the_prices_and_the_build_are_shown(shop: WebServer) -> None:
    """Moments and not ages: they stay right when nobody writes them any more."""
    fill(shop)
    text = scrape(shop)
    heights = [values(text, name)[""] for name in ("chain_height", "node_height", "chain_lag_blocks")]
    assert heights == [TIP, TIP + 2, 2]
    assert values(text, "last_block_timestamp_seconds") == {"": NOW.timestamp() - 480}
    assert values(text, "daemon_heartbeat_timestamp_seconds") == {"": NOW.timestamp()}
    assert values(text, "rate_timestamp_seconds") == {"kraken": NOW.timestamp(), "bitpay": NOW.timestamp()}
    assert values(text, "price_timestamp_seconds").keys() == {"EUR", "JPY"}
    (build,) = (f for f in text_string_to_metric_families(text) if f.name == "nodetill_build_info")
    assert build.samples[0].labels["database"] == ("sqlite" if is_sqlite() else "postgresql")
    assert build.samples[0].labels["schema"].startswith("00")


def test_what_the_daemon_counted_is_passed_on(shop: WebServer) -> None:
    """A counter that has not counted yet is 0, so that its first step is a step."""
    assert values(scrape(shop), "feed_gaps_total") == {"": 0}
    fill(shop)
    text = scrape(shop)
    assert values(text, "feed_messages_total") == {"rawtx": 7, "hashblock": 0}
    assert values(text, "feed_messages_lost_total") == {"": 3}
    assert values(text, "events_total").keys() == {event_type.value for event_type in EventType}
    assert values(text, "events_total")["payment.received"] == 1
    assert values(text, "deliveries_total")["webhook given up"] == 2
    told = values(text, "received_told_seconds_bucket")
    assert (told["email 0.1"], told["email 0.25"], told["email 10"], told["email 7200"]) == (0, 2, 3, 3)
    assert values(text, "received_told_seconds_count") == {"email": 4, "webhook": 0}
    assert told["email +Inf"] == 4


def test_a_daemon_that_never_ran_leaves_out_what_nobody_knows(shop: WebServer) -> None:
    """And no answer is a fault."""
    database.execute_sql("DELETE FROM daemon_report")
    text = scrape(shop)
    assert values(text, "daemon_heartbeat_timestamp_seconds") == {}
    assert values(text, "problems") == {"": 1}


def basic(password: str, user: str = "prometheus") -> dict[str, str | None]:
    return {"Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}


def bearer(token: str) -> dict[str, str | None]:
    return {"Authorization": f"Bearer {token}"}


FROM_OUTSIDE: list[dict[str, str | None]] = [
    {"X-Forwarded-For": "203.0.113.7"},
    {"X-Forwarded": "for=203.0.113.7"},
    {"CF-Connecting-IP": "203.0.113.7"},
    {"Forwarded": "for=203.0.113.7"},
    {"Host": "pay.example.com"},
    {"Origin": "https://evil.example"},
]


@pytest.mark.parametrize("headers", FROM_OUTSIDE)
def test_figures_are_for_this_machine_the_token_and_the_operator(
    shop: WebServer, headers: dict[str, str | None]
) -> None:
    """What came through a proxy on this machine did not come from it. The password is no monitor's."""
    refused = shop.get("/metrics", headers)
    assert refused.status == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    assert b"nodetill_" not in refused.body
    assert shop.get("/metrics", {**headers, **bearer(TOKEN)}).status == 200
    for useless in (basic(PASSWORD), basic(TOKEN), bearer(TOKEN[:-1]), bearer("nt_company1"), bearer("")):
        assert shop.get("/metrics", {**headers, **useless}).status == 401
    client = OperatorClient(shop)
    client.log_in(PASSWORD)
    sent = {name: value for name, value in headers.items() if value is not None}
    assert client.call("GET", "/metrics", headers=sent).status == 200


PUBLIC = [
    "https://pay.example.com",
    "http://till3xampleonion.onion",
    "http://192.168.1.2:8080",
    "http://localhost.example.com",
]
SPOOFED: list[dict[str, str | None]] = [
    {},
    {"Host": "localhost"},
    {"Host": "127.0.0.1"},
    {"Host": "[::1]"},
    {"Host": "localhost", "X-Forwarded-For": "127.0.0.1"},
    {"Host": "localhost", "Forwarded": "for=127.0.0.1"},
]


@pytest.mark.parametrize("public_url", PUBLIC)
def test_with_a_public_address_nobody_is_taken_for_this_machine(tmp_path: Path, public_url: str) -> None:
    """A forwarder of bytes connects from loopback, and its client writes every header."""
    settings = {"PUBLIC_URL": public_url, "METRICS_TOKEN": TOKEN, "SPELLBOOK_TRIGGERS": "on"}
    body = {"seller_id": "new", "amount_fiat": 10, "currency": "EUR"}
    with open_shop(tmp_path, sqlite_in(tmp_path), settings) as opened:
        opened.common_headers.clear()
        for headers in SPOOFED:
            assert opened.get("/metrics", headers).status == 401
            trigger = "/spellbook/triggers/PaymentProcessorNewPayment/post"
            assert opened.post(trigger, body, headers).status == 401
        assert opened.get("/metrics", bearer(TOKEN)).status == 200
        assert Seller.select().count() == 1
        assert PaymentRequest.select().count() == 0


def test_without_a_token_no_token_opens(tmp_path: Path) -> None:
    """No token is not the empty one."""
    with open_shop(tmp_path, sqlite_in(tmp_path)) as opened:
        opened.common_headers.clear()
        assert opened.get("/metrics").status == 200
        for sent in (bearer(""), bearer("None"), basic("")):
            assert opened.get("/metrics", {**FROM_OUTSIDE[0], **sent}).status == 401


# Health


def test_health_tells_the_public_which_part_is_ill_and_no_more(tmp_path: Path, database_url: str) -> None:
    """The lines, which may name hosts and wallets, are for the token, the operator and this machine."""
    settings = {
        "PUBLIC_URL": "https://pay.example.com",
        "METRICS_TOKEN": TOKEN,
        "OPERATOR_PASSWORD": PASSWORD,
    }
    with open_shop(tmp_path, database_url, settings, addresses=0) as opened:
        opened.common_headers.clear()
        beat(NOW, TIP + 9, ["bitcoind at 10.1.2.3 refuses", "wallet secret is locked"])
        database.execute_sql("DELETE FROM rate")
        new_message(new_event(new_payment()), created_at=NOW - timedelta(hours=1))
        public = opened.get("/health")
        assert public.status == 503
        assert public.json["problems"] == ["daemon", "addresses", "rates", "messages"]
        assert b"10.1.2.3" not in public.body
        assert opened.get("/health", {"Host": "localhost"}).json == public.json
        assert opened.get("/health", bearer("wrong")).json == public.json
        full = opened.get("/health", bearer(TOKEN)).json
        assert "bitcoind at 10.1.2.3 refuses" in full["problems"]
        assert len(full["problems"]) == 6
        assert {**full, "problems": public.json["problems"]} == public.json
        client = OperatorClient(opened)
        client.log_in(PASSWORD)
        assert json.loads(client.get("/health").body) == full


def test_health_is_red_where_a_currency_in_use_has_no_price(shop: WebServer) -> None:
    """In use is what a request was made in within seven days; the others harm nobody."""
    assert shop.get("/health").json["problems"] == []
    for number, currency in enumerate(("ISK", "BTC", "EUR", "CHF"), start=1000):
        new_payment(number, currency=currency, created_at=NOW - timedelta(days=6))
    new_payment(999, currency="SEK", created_at=NOW - timedelta(days=8))
    reply = shop.get("/health")
    assert reply.status == 503
    (line,) = reply.json["problems"]
    assert line.startswith("there is no fresh price for CHF, ISK: ")
    assert shop.get("/health", FROM_OUTSIDE[0]).json["problems"] == ["rates"]


def test_health_tells_this_machine_all(shop: WebServer) -> None:
    """Unless the call was passed on."""
    beat(NOW, TIP, ["wallet secret is locked"])
    assert shop.get("/health").json["problems"] == ["wallet secret is locked"]
    for headers in FROM_OUTSIDE:
        assert shop.get("/health", headers).json["problems"] == ["daemon"]


def test_health_without_a_database_tells_the_public_no_more(tmp_path: Path) -> None:
    """Nor does it fail."""
    settings = {"PUBLIC_URL": "https://pay.example.com", "METRICS_TOKEN": TOKEN}
    with open_shop(tmp_path, sqlite_in(tmp_path), settings) as opened:
        bind(sqlite_in(tmp_path / "empty"))
        assert opened.get("/health", {"Authorization": None}).json["problems"] == ["database"]
        (line,) = opened.get("/health", bearer(TOKEN)).json["problems"]
        assert line.startswith("the database is not available")


def test_prometheus_finds_no_fault_with_a_scrape(shop: WebServer, promtool: list[str]) -> None:
    """Names, types, help and units as it wants them."""
    fill(shop)
    assert run(promtool, "check", "metrics", said=scrape(shop)) == ""


def test_a_scrape_reads_no_table_whole(shop: WebServer) -> None:
    """A million requests that are done cost it nothing."""
    fill(shop)
    if not is_sqlite():
        # PostgreSQL reads a small table whole, whatever indexes there are.
        database.execute_sql("SET enable_seqscan = off")
    asked: list[str] = []
    execute = database.obj.execute_sql

    def note(sql: str, *arguments: Any, **options: Any) -> Any:
        asked.append(sql)
        return execute(sql, *arguments, **options)

    database.obj.execute_sql = note
    try:
        statistics.underway_by_status()
        statistics.created_count()
        statistics.queues()
        statistics.undeliverable_count()
    finally:
        del database.obj.execute_sql
    for query in asked:
        plan = execute(f"{'EXPLAIN QUERY PLAN' if is_sqlite() else 'EXPLAIN'} {query}").fetchall()
        lines = [str(row[-1]) for row in plan]
        whole = [line for line in lines if re.search(r"SCAN \w+$|Seq Scan", line)]
        assert not whole, (query, lines)


# monitoring/


def expressions() -> Iterator[str]:
    """All that the dashboard and the alerts ask for."""
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    yield from re.findall(r"expr: (?:>\n\s+)?(.+)", (MONITORING / "alerts.yml").read_text())


def test_what_is_asked_for_is_there(shop: WebServer) -> None:
    """Each figure of the dashboard and of the alerts is in a scrape, with the labels it is chosen by."""
    fill(shop)
    text = scrape(shop)
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    there = {sample.name for sample in samples}
    for expression in expressions():
        asked = set(re.findall(r"nodetill_\w+", expression))
        assert asked <= there, (expression, asked - there)
        for name, label, value in re.findall(r'(nodetill_\w+)\{(\w+)="([^"]*)"\}', expression):
            channel = (name, label, value) == (
                "nodetill_outbox_oldest_timestamp_seconds",
                "channel",
                "webhook",
            )
            assert channel or any(s.name == name and s.labels.get(label) == value for s in samples), (
                expression
            )


def test_prometheus_understands_the_alerts_and_the_dashboard(promtool: list[str], tmp_path: Path) -> None:
    """It reads each expression."""
    run(promtool, "check", "rules", "--lint=all", "--lint-fatal", str(MONITORING / "alerts.yml"))
    rules = [{"record": f"panel:{n}", "expr": expr} for n, expr in enumerate(expressions())]
    written = tmp_path / "rules.yml"
    written.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in run(promtool, "check", "rules", str(written))


def test_each_alert_fires_when_it_should_and_not_before(promtool: list[str]) -> None:
    """monitoring/alerts_test.yml has a case for each, and one of a day on which all is well."""
    run(promtool, "test", "rules", str(MONITORING / "alerts_test.yml"))
    alerts = set(re.findall(r"alert: (\w+)", (MONITORING / "alerts.yml").read_text()))
    cases = (MONITORING / "alerts_test.yml").read_text()
    quiet = set(re.findall(r"\{eval_time: 2h, alertname: (\w+), exp_alerts: \[\]\}", cases))
    loud = set(re.findall(r"alertname: (\w+)\n\s+exp_alerts:\n", cases))
    assert quiet == loud == alerts
