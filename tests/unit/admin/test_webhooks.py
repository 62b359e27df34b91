"""`manage.py webhook` adds, lists, changes, removes and tests endpoints."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from admin.webhook import command as webhooks
from manage import manage
from models.command import DaemonCommand
from models.daemon_status import beat
from models.db.connection import disconnect
from models.delivery import add_delivery
from models.outbox import Message, add_test_message
from models.webhook import API_KEY, BTCPAY, OPERATOR, Webhook
from tests.support.prepared_database import open_prepared
from tests.support.rows import new_seller

URL = "https://shop.example/paid?x=a|b"
WHSEC = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

Run = Callable[..., Result]


@pytest.fixture
def run(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Return a function that runs `manage.py webhook`, on a database with a seller."""
    monkeypatch.chdir(tmp_path)
    runner = CliRunner(env={"DATABASE_URL": database_url})

    def invoke(*arguments: str) -> Result:
        disconnect()
        result = runner.invoke(manage, ["webhook", *arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    open_prepared(database_url)
    new_seller("company1")
    yield invoke
    disconnect()


def document(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def added(run: Run, *options: str) -> Any:
    return document(run("add", "company1", URL, *options, "--json"))


def test_an_endpoint_is_added_with_its_secret(run: Run) -> None:
    """The address is stored byte for byte."""
    found = added(run, "--kind", "btcpay", "--event", "InvoiceSettled", "--no-redelivery")
    row = Webhook.get()
    assert (row.url, row.kind, row.btcpay_secret, row.set_by) == (URL, BTCPAY, found["secret"], OPERATOR)
    assert (found["webhook_id"], found["url"], found["events"]) == (row.reference, URL, ["InvoiceSettled"])
    assert (found["enabled"], found["automatic_redelivery"], found["last_delivery"]) == (True, False, None)
    assert added(run, "--secret", WHSEC)["secret"] == WHSEC
    assert "Save the secret now" in run("add", "company1", URL).stdout
    assert len(document(run("list", "company1", "--json"))) == 3
    assert run("list").stdout.count(URL) == 3


def test_only_the_secret_of_a_btcpay_endpoint_is_shown_again(run: Run) -> None:
    own = added(run, "--kind", "btcpay", "--secret", "geheim ☃")
    assert own["secret"] == "geheim ☃"
    assert "secret" not in document(run("show", own["webhook_id"], "--json"))
    assert document(run("show", own["webhook_id"], "--secret", "--json"))["secret"] == "geheim ☃"
    standard = added(run)
    refused = run("show", standard["webhook_id"], "--secret")
    assert refused.exit_code == 1
    assert "--new-secret" in refused.stderr


def test_an_endpoint_is_changed(run: Run) -> None:
    """A standard endpoint then signs with both secrets. An address that the operator sets may be private."""
    found = added(run)
    Webhook.update(set_by=API_KEY).execute()
    changed = document(
        run("set", found["webhook_id"], "--new-secret", "--disable", "--event", "payment.confirmed", "--json")
    )
    row = Webhook.get()
    assert row.signing_secrets == [changed["secret"], found["secret"]]
    assert (row.is_enabled, row.event_types, row.set_by) == (False, ["payment.confirmed"], API_KEY)
    document(
        run("set", found["webhook_id"], "--url", "http://10.0.0.1/", "--all-events", "--enable", "--json")
    )
    row = Webhook.get()
    assert (row.url, row.is_enabled, row.event_types, row.set_by) == (
        "http://10.0.0.1/",
        True,
        None,
        OPERATOR,
    )


def test_a_removed_endpoint_is_gone(run: Run) -> None:
    found = added(run)
    assert run("remove", found["webhook_id"], "--yes").exit_code == 0
    assert document(run("list", "--json")) == []
    assert "no webhook endpoint" in run("show", found["webhook_id"]).stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["add", "company1", "ftp://x"], "starts with http"),
        (["add", "company1", "http://abc.onion/"], "PROXY"),
        (["add", "nobody", URL], "no seller nobody"),
        (["add", "company1", URL, "--event", "InvoiceSettled"], "payment.confirmed"),
        (["add", "company1", URL, "--kind", "btcpay", "--event", "payment.late"], "InvoiceSettled"),
        (["add", "company1", URL, "--secret", "abc"], "whsec_"),
        (["show", "wh_1"], "all endpoints: webhook list"),
        (["show", "\0"], "all endpoints: webhook list"),
        (["set", "wh_1"], "nothing to set"),
        (["set", "wh_1", "--event", "x", "--all-events"], "contradict"),
        (["set", "wh_1", "--secret", "x", "--new-secret"], "contradict"),
    ],
)
def test_wrong_arguments_are_refused(run: Run, arguments: list[str], reason: str) -> None:
    result = run(*arguments)
    assert result.exit_code in (1, 2)
    assert reason in result.stderr
    assert not Webhook.select().exists()


@pytest.mark.parametrize(("code", "exit_code"), [(200, 0), (500, 1)])
def test_a_test_waits_for_the_response(
    run: Run, monkeypatch: pytest.MonkeyPatch, code: int, exit_code: int
) -> None:
    """The daemon sends the test."""
    found = added(run, "--kind", "btcpay")
    beat(datetime.now(UTC), 100, [])

    def answer(_seconds: float) -> None:
        assert DaemonCommand.get().webhook_id == Webhook.get().id
        now = datetime.now(UTC)
        add_test_message(Webhook.get(), {"type": "InvoiceCreated"}, "__test__1__test__", now)
        add_delivery(Message.get(), now, code, None if code == 200 else f"HTTP {code}")

    monkeypatch.setattr("admin.webhook.command.time.sleep", answer)
    result = run("test", found["webhook_id"], "--json")
    assert result.exit_code == exit_code
    assert json.loads(result.stdout)["http_code"] == code


def test_a_test_needs_a_daemon(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command does not wait for a daemon that is down, or for long if the daemon does not send."""
    found = added(run)
    assert "start the daemon" in run("test", found["webhook_id"]).stderr
    assert not DaemonCommand.select().exists()
    beat(datetime.now(UTC), 100, [])
    monkeypatch.setattr(webhooks, "MAX_WAIT_SECONDS", 0)
    assert "no test was sent" in run("test", found["webhook_id"]).stderr
