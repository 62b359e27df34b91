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
from models.db.connection import database, is_sqlite
from models.queries import metrics as statistics
from payments.status import EventType
from tests.support.debian_program import find_program
from tests.support.rows import new_event, new_message
from tests.support.web_server import NOW, TIP, Shop, open_shop, stored

MONITORING = Path(__file__).parent.parent.parent.parent / "monitoring"
PASSWORD = "correct horse: battery"
OF_PROMETHEUS = {"up"}


@pytest.fixture
def shop(tmp_path: Path, database_url: str) -> Iterator[Shop]:
    """A shop whose operator has a password; nobody has a key."""
    with open_shop(tmp_path, database_url, {"OPERATOR_PASSWORD": PASSWORD}) as opened:
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


def scrape(shop: Shop) -> str:
    reply = shop.get("/metrics")
    assert reply.status == 200, reply.body
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return reply.body.decode()


def values(text: str, name: str) -> dict[str, float]:
    """A metric's samples, each by the values of its labels."""
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {" ".join(s.labels.values()): s.value for s in samples if s.name == f"nodetill_{name}"}


def fill(shop: Shop) -> None:
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


def test_what_is_open_and_what_waits_is_counted(shop: Shop) -> None:
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


def test_the_node_the_prices_and_the_build_are_shown(shop: Shop) -> None:
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
    assert build.samples[0].labels["schema"].startswith("000")


def test_what_the_daemon_counted_is_passed_on(shop: Shop) -> None:
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


def test_a_daemon_that_never_ran_leaves_out_what_nobody_knows(shop: Shop) -> None:
    """And no answer is a fault."""
    database.execute_sql("DELETE FROM daemon_report")
    text = scrape(shop)
    assert values(text, "daemon_heartbeat_timestamp_seconds") == {}
    assert values(text, "problems") == {"": 1}


def basic(password: str, user: str = "prometheus") -> dict[str, str | None]:
    return {"Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}


FROM_OUTSIDE: list[dict[str, str | None]] = [
    {"X-Forwarded-For": "203.0.113.7"},
    {"Forwarded": "for=203.0.113.7"},
    {"Host": "pay.example.com"},
    {"Origin": "https://evil.example"},
]


@pytest.mark.parametrize("headers", FROM_OUTSIDE)
def test_it_is_for_this_machine_and_the_operator(shop: Shop, headers: dict[str, str | None]) -> None:
    """What came through a proxy on this machine did not come from it."""
    refused = shop.get("/metrics", headers)
    assert refused.status == 401
    assert refused.headers["www-authenticate"].startswith("Basic")
    assert b"nodetill_" not in refused.body
    assert shop.get("/metrics", {**headers, **basic(PASSWORD)}).status == 200
    for unreadable in ("Basic !", "Basic YQ=", "Bearer nt_company1"):
        assert shop.get("/metrics", {**headers, "Authorization": unreadable}).status == 401


@pytest.mark.parametrize("guess", ["guess", "", "\x00", "ü"])
def test_a_guessed_password_has_to_wait(shop: Shop, guess: str) -> None:
    """As at the operator's own door: then even the right one has to."""
    outside = FROM_OUTSIDE[0]
    assert shop.get("/metrics", {**outside, **basic(guess)}).status == 403
    soon = shop.get("/metrics", {**outside, **basic(PASSWORD)})
    assert (soon.status, soon.headers["retry-after"]) == (429, "1")
    assert shop.get("/metrics").status == 200
    shop.wait(seconds=2)
    assert shop.get("/metrics", {**outside, **basic(PASSWORD)}).status == 200


def test_without_a_password_it_is_for_this_machine_alone(tmp_path: Path) -> None:
    """No password is not the empty one."""
    with open_shop(tmp_path, f"sqlite:///{tmp_path / 'nodetill.db'}") as opened:
        opened.common_headers.clear()
        assert opened.get("/metrics").status == 200
        assert opened.get("/metrics", {**FROM_OUTSIDE[0], **basic("")}).status == 401


def test_prometheus_finds_no_fault_with_a_scrape(shop: Shop, promtool: list[str]) -> None:
    """Names, types, help and units as it wants them."""
    fill(shop)
    assert run(promtool, "check", "metrics", said=scrape(shop)) == ""


def test_a_scrape_reads_no_table_whole(shop: Shop) -> None:
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


def test_what_is_asked_for_is_there(shop: Shop) -> None:
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
