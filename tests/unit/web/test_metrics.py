"""GET /metrics as Prometheus reads it, and the rules of monitoring/.

Prometheus's own promtool checks both.
"""

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
from payments.link import LinkEvent
from payments.status import EventType
from tests.conftest import sqlite_in
from tests.support.debian_program import find_program
from tests.support.operator_client import OperatorClient
from tests.support.rows import new_event, new_link, new_message, new_payment
from tests.support.web_server import NOW, TIP, WebServer, open_shop, stored

MONITORING = Path(__file__).parent.parent.parent.parent / "monitoring"
PASSWORD = "correct horse: battery"
TOKEN = "7c1f-of-the-monitor"
OF_PROMETHEUS = {"up"}


@pytest.fixture
def shop(tmp_path: Path, database_url: str) -> Iterator[WebServer]:
    """Serve a web server whose operator has a password. The tests send no key."""
    with open_shop(tmp_path, database_url, {"OPERATOR_PASSWORD": PASSWORD, "METRICS_TOKEN": TOKEN}) as opened:
        opened.common_headers.clear()
        yield opened


@pytest.fixture(scope="module")
def promtool() -> list[str]:
    """Return the command that runs promtool."""
    return find_program("promtool", "promtool")


def run(command: list[str], *arguments: str, text: str = "") -> str:
    """Run a command, which must succeed, and return its output."""
    done = subprocess.run([*command, *arguments], input=text, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def scrape(shop: WebServer) -> str:
    reply = shop.get("/metrics")
    assert reply.status == 200, reply.body
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return reply.body.decode()


def values(text: str, name: str) -> dict[str, float]:
    """Return the samples of a metric by the values of their labels."""
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {" ".join(s.labels.values()): s.value for s in samples if s.name == f"nodetill_{name}"}


def fill(shop: WebServer) -> None:
    """Store an example of each thing that is counted."""
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


def test_open_requests_and_waiting_messages_are_counted(shop: WebServer) -> None:
    """Finished ones are not read again."""
    fill(shop)
    text = scrape(shop)
    assert values(text, "payment_requests") == {"new": 1, "underpaid": 0, "received": 1, "confirming": 0}
    assert values(text, "payment_requests_created_total") == {"": 3}
    assert values(text, "outbox_pending_messages") == {"email": 1, "webhook": 0}
    assert values(text, "outbox_oldest_timestamp_seconds") == {"email": NOW.timestamp() - 90}
    assert values(text, "outbox_undeliverable_messages") == {"": 1}
    assert values(text, "free_addresses") == {"bitcoind": 47}
    assert values(text, "problems") == {"": 1}


def test_open_links_are_counted(shop: WebServer) -> None:
    new_link(1)
    new_link(2, closed_at=NOW)
    new_link(3, paid_at=NOW)
    new_link(4, is_reusable=True)
    text = scrape(shop)
    assert values(text, "links") == {"single-use": 1, "reusable": 1}
    assert values(text, "links_created_total") == {"": 4}


def test_metrics_have_the_node_the_prices_and_the_build(shop: WebServer) -> None:
    """Times stay right when no process updates them, and ages would not."""
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


def test_the_daemon_s_counters_are_in_the_metrics(shop: WebServer) -> None:
    """A counter begins at 0, so that Prometheus notices its first step."""
    assert values(scrape(shop), "feed_gaps_total") == {"": 0}
    fill(shop)
    text = scrape(shop)
    assert values(text, "feed_messages_total") == {"rawtx": 7, "hashblock": 0}
    assert values(text, "feed_messages_lost_total") == {"": 3}
    assert values(text, "events_total").keys() == {each.value for each in (*EventType, *LinkEvent)}
    assert values(text, "events_total")["payment.received"] == 1
    assert values(text, "deliveries_total")["webhook given up"] == 2
    buckets = values(text, "received_told_seconds_bucket")
    counts = [buckets[f"email {limit}"] for limit in ("0.1", "0.25", "10", "7200")]
    assert counts == [0, 2, 3, 3]
    assert values(text, "received_told_seconds_count") == {"email": 4, "webhook": 0}
    assert buckets["email +Inf"] == 4


def test_metrics_of_a_daemon_that_never_ran_are_absent(shop: WebServer) -> None:
    """The absent report is a problem."""
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
def test_metrics_need_this_machine_the_token_or_a_session(
    shop: WebServer, headers: dict[str, str | None]
) -> None:
    """A call through a proxy on this machine does not come from this machine.

    The password alone is not enough.
    """
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
def test_with_a_public_url_no_client_counts_as_this_machine(tmp_path: Path, public_url: str) -> None:
    """A TCP forwarder connects from loopback, and its client chooses each header."""
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


def test_without_metrics_token_no_token_is_accepted(tmp_path: Path) -> None:
    """An unset token is not an empty one."""
    with open_shop(tmp_path, sqlite_in(tmp_path)) as opened:
        opened.common_headers.clear()
        assert opened.get("/metrics").status == 200
        for sent in (bearer(""), bearer("None"), basic("")):
            assert opened.get("/metrics", {**FROM_OUTSIDE[0], **sent}).status == 401


# Health


def test_health_names_only_the_failing_part_to_the_public(tmp_path: Path, database_url: str) -> None:
    """The details may name hosts and wallets, so they need the token, a session, or this machine."""
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


def test_health_fails_if_a_currency_in_use_has_no_price(shop: WebServer) -> None:
    """A currency is in use for seven days after a request."""
    assert shop.get("/health").json["problems"] == []
    for number, currency in enumerate(("ISK", "BTC", "EUR", "CHF"), start=1000):
        new_payment(number, currency=currency, created_at=NOW - timedelta(days=6))
    new_payment(999, currency="SEK", created_at=NOW - timedelta(days=8))
    reply = shop.get("/health")
    assert reply.status == 503
    (line,) = reply.json["problems"]
    assert line.startswith("there is no fresh price for CHF, ISK: ")
    assert shop.get("/health", FROM_OUTSIDE[0]).json["problems"] == ["rates"]


def test_health_has_all_details_for_this_machine(shop: WebServer) -> None:
    """A forwarded call gets only the failing parts."""
    beat(NOW, TIP, ["wallet secret is locked"])
    assert shop.get("/health").json["problems"] == ["wallet secret is locked"]
    for headers in FROM_OUTSIDE:
        assert shop.get("/health", headers).json["problems"] == ["daemon"]


def test_health_without_a_database_has_no_details_for_the_public(tmp_path: Path) -> None:
    settings = {"PUBLIC_URL": "https://pay.example.com", "METRICS_TOKEN": TOKEN}
    with open_shop(tmp_path, sqlite_in(tmp_path), settings) as opened:
        bind(sqlite_in(tmp_path / "empty"))
        assert opened.get("/health", {"Authorization": None}).json["problems"] == ["database"]
        (line,) = opened.get("/health", bearer(TOKEN)).json["problems"]
        assert line.startswith("the database is not available")


def test_promtool_accepts_the_metrics(shop: WebServer, promtool: list[str]) -> None:
    """It checks names, types, help texts and units."""
    fill(shop)
    assert run(promtool, "check", "metrics", text=scrape(shop)) == ""


def test_the_metrics_scan_no_whole_table(shop: WebServer) -> None:
    """A million finished requests must not slow them down."""
    fill(shop)
    if not is_sqlite():
        # PostgreSQL reads a small table whole, whatever indexes there are.
        database.execute_sql("SET enable_seqscan = off")
    statements: list[str] = []
    execute = database.obj.execute_sql

    def note(sql: str, *arguments: Any, **options: Any) -> Any:
        statements.append(sql)
        return execute(sql, *arguments, **options)

    database.obj.execute_sql = note
    try:
        statistics.underway_by_status()
        statistics.created_count()
        statistics.queues()
        statistics.undeliverable_count()
    finally:
        del database.obj.execute_sql
    for query in statements:
        plan = execute(f"{'EXPLAIN QUERY PLAN' if is_sqlite() else 'EXPLAIN'} {query}").fetchall()
        lines = [str(row[-1]) for row in plan]
        whole = [line for line in lines if re.search(r"SCAN \w+$|Seq Scan", line)]
        assert not whole, (query, lines)


# monitoring/


def expressions() -> Iterator[str]:
    """Yield each expression of the dashboard and the alerts."""
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    yield from re.findall(r"expr: (?:>\n\s+)?(.+)", (MONITORING / "alerts.yml").read_text())


def test_each_metric_of_the_dashboard_and_the_alerts_exists(shop: WebServer) -> None:
    """The labels in their selectors exist, too."""
    fill(shop)
    text = scrape(shop)
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    existing = {sample.name for sample in samples}
    for expression in expressions():
        metrics = set(re.findall(r"nodetill_\w+", expression))
        assert metrics <= existing, (expression, metrics - existing)
        for name, label, value in re.findall(r'(nodetill_\w+)\{(\w+)="([^"]*)"\}', expression):
            channel = (name, label, value) == (
                "nodetill_outbox_oldest_timestamp_seconds",
                "channel",
                "webhook",
            )
            assert channel or any(s.name == name and s.labels.get(label) == value for s in samples), (
                expression
            )


def test_promtool_accepts_the_alerts_and_the_dashboard(promtool: list[str], tmp_path: Path) -> None:
    run(promtool, "check", "rules", "--lint=all", "--lint-fatal", str(MONITORING / "alerts.yml"))
    rules = [{"record": f"panel:{n}", "expr": expr} for n, expr in enumerate(expressions())]
    written = tmp_path / "rules.yml"
    written.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in run(promtool, "check", "rules", str(written))


def test_each_alert_fires_in_its_test_case_and_not_before(promtool: list[str]) -> None:
    """monitoring/alerts_test.yml has a case for each alert, and a case without alerts."""
    run(promtool, "test", "rules", str(MONITORING / "alerts_test.yml"))
    alerts = set(re.findall(r"alert: (\w+)", (MONITORING / "alerts.yml").read_text()))
    cases = (MONITORING / "alerts_test.yml").read_text()
    quiet = set(re.findall(r"\{eval_time: 2h, alertname: (\w+), exp_alerts: \[\]\}", cases))
    loud = set(re.findall(r"alertname: (\w+)\n\s+exp_alerts:\n", cases))
    assert quiet == loud == alerts
