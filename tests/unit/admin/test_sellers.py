"""A seller's keys change without an interruption, and its page shows no secret."""

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from click.testing import CliRunner, Result

from manage import manage
from models.api_key import ApiKey, add_key, hash_of, key_holder, replace_own_keys
from models.db.connection import database, disconnect
from models.webhook import API_KEY, Webhook, first_standard_webhook
from tests.support.prepared_database import open_prepared
from tests.support.rows import NOW, new_event, new_message, new_payment, webhook_message

DAY = timedelta(days=1)

Run = Callable[..., Result]


@pytest.fixture
def run(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Return a function that runs manage.py with arguments, on a database of its own."""
    monkeypatch.chdir(tmp_path)
    runner = CliRunner(env={"DATABASE_URL": database_url})

    def invoke(*arguments: str, answer: str | None = None) -> Result:
        disconnect()
        result = runner.invoke(manage, ["seller", *arguments], input=answer)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    open_prepared(database_url)
    yield invoke
    disconnect()


@pytest.fixture
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the commands take their input for a terminal."""
    monkeypatch.setattr("admin.cli.is_interactive", lambda: True)


def document(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def opens(api_key: str, now: datetime) -> bool:
    """Return whether the API accepts this key then."""
    return key_holder(hash_of(api_key), now) is not None


def added(run: Run) -> str:
    return str(document(run("add", "company1", "--json"))["api_key"])


def rotated(run: Run, *options: str) -> str:
    return str(document(run("rotate-key", "company1", *options, "--json"))["api_key"])


# Keys


def test_both_keys_work_during_the_overlap(run: Run) -> None:
    """The old key stops at the time that the command and `seller show` name."""
    old, before = added(run), datetime.now(UTC)
    text = run("rotate-key", "company1", "--keep-old-for", "24").stdout
    after = datetime.now(UTC)
    (new,) = re.findall(r"nt_[A-Za-z0-9_-]{43}", text)
    for moment in (after, before + DAY - timedelta(seconds=1)):
        assert opens(old, moment)
        assert opens(new, moment)
    assert not opens(old, after + DAY)
    assert opens(new, after + DAY)
    until = document(run("show", "company1", "--json"))["previous_key_until"]
    assert before + DAY <= datetime.fromisoformat(until) + timedelta(seconds=1) <= after + DAY + DAY / 24
    assert f"the old key works until {until}" in text
    assert f"the previous key works until {until[:10]}" in run("show", "company1").stdout


def test_a_new_key_without_an_overlap_stops_every_other(run: Run) -> None:
    """A key may have leaked, so the key before it stops as well."""
    first = added(run)
    second = rotated(run, "--keep-old-for", "24")
    third = rotated(run)
    now = datetime.now(UTC)
    assert [opens(key, now) for key in (first, second, third)] == [False, False, True]
    assert document(run("show", "company1", "--json"))["previous_key_until"] is None


@pytest.mark.usefixtures("_terminal")
def test_a_second_overlap_stops_the_oldest_key_only_once_that_is_confirmed(run: Run) -> None:
    """The shop may still use that key."""
    first = added(run)
    second = rotated(run, "--keep-old-for", "24")
    refused = run("rotate-key", "company1", "--keep-old-for", "24", answer="n\n")
    assert refused.exit_code == 1
    assert "It stops at once if you make a new key." in refused.stderr
    now = datetime.now(UTC)
    assert [opens(key, now) for key in (first, second)] == [True, True]
    third = rotated(run, "--keep-old-for", "24", "--yes")
    now = datetime.now(UTC)
    assert [opens(key, now) for key in (first, second, third)] == [False, True, True]


def test_an_overlap_that_is_over_needs_no_confirmation(run: Run) -> None:
    """The old key has stopped by itself."""
    added(run)
    second = rotated(run, "--keep-old-for", "1")
    ApiKey.update(expires_at=NOW).where(ApiKey.expires_at.is_null(False)).execute()
    assert "previous" not in run("show", "company1").stdout
    rotated(run, "--keep-old-for", "1")
    assert opens(second, datetime.now(UTC))


def test_a_new_webhook_secret_leaves_the_keys_alone(run: Run) -> None:
    """The overlap of the API keys goes on."""
    first = added(run)
    second = rotated(run, "--keep-old-for", "24")
    document(run("rotate-key", "company1", "--webhook-secret", "--json"))
    now = datetime.now(UTC)
    assert [opens(key, now) for key in (first, second)] == [True, True]


def test_a_removed_sellers_old_key_never_works_again(run: Run) -> None:
    """It stays without effect after the seller has come back."""
    first = added(run)
    second = rotated(run, "--keep-old-for", "24")
    document(run("remove", "company1", "--yes", "--json"))
    assert [opens(key, datetime.now(UTC)) for key in (first, second)] == [False, False]
    third = document(run("add", "company1", "--restore", "--json"))["api_key"]
    assert [opens(key, datetime.now(UTC)) for key in (first, second, third)] == [False, False, True]


@pytest.mark.parametrize("options", [["-1"], ["721"], ["1.5"], ["day"], ["1", "--webhook-secret"]])
def test_an_overlap_that_cannot_be_is_a_usage_error(run: Run, options: list[str]) -> None:
    """The error names the allowed hours."""
    added(run)
    result = run("rotate-key", "company1", "--keep-old-for", *options)
    assert result.exit_code == 2, result.output
    assert ApiKey.get().expires_at is None


def test_keys_with_a_list_of_permissions_outlive_a_new_key(run: Run) -> None:
    """The command prints their number, and the command that lists them."""
    added(run)
    _, limited = add_key("company1", NOW, permissions=[])
    text = run("rotate-key", "company1").stdout
    assert "1 key with a list of permissions continues to work; to list them: " in text
    assert text.endswith(" key list company1\n")
    add_key("company1", NOW, permissions=[])
    assert "2 keys with a list of permissions continue to work" in run("rotate-key", "company1").stdout
    assert opens(limited, NOW)
    assert "list of permissions" not in run("rotate-key", "company1", "--webhook-secret").stdout
    assert "API keys        3 work" in run("show", "company1").stdout
    run("remove", "company1", "--yes")
    run("add", "company1", "--restore")
    assert not opens(limited, NOW)


def test_of_many_new_keys_at_once_the_last_one_works(run: Run) -> None:
    """Each one stops the others. Otherwise a key that the operator takes for stopped would still work."""
    added(run)
    together = Barrier(4)

    def rotate(_: int) -> str:
        together.wait()
        try:
            with database.atomic():
                return replace_own_keys("company1", timedelta(0), NOW)[1]
        finally:
            disconnect()

    with ThreadPoolExecutor(4) as pool:
        keys = list(pool.map(rotate, range(4)))
    assert sum(opens(key, NOW) for key in keys) == 1


# Removal


def test_a_script_removes_a_seller_without_a_question(run: Run) -> None:
    """A script has no terminal."""
    key = added(run)
    assert run("remove", "company1").exit_code == 0
    assert not opens(key, NOW)


@pytest.mark.usefixtures("_terminal")
def test_a_person_is_asked_before_a_seller_is_removed(run: Run) -> None:
    """The question names what stops. `n` changes nothing."""
    key = added(run)
    refused = run("remove", "company1", answer="n\n")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "The API keys of seller company1 stop at once" in refused.stderr
    assert opens(key, NOW)
    assert run("remove", "company1", answer="y\n").exit_code == 0
    assert not opens(key, NOW)
    assert "there is no seller nobody" in run("remove", "nobody", answer="y\n").stderr


# The page


def test_a_seller_is_shown_with_its_webhooks_and_requests(run: Run) -> None:
    """A program gets numbers, and a person gets lines."""
    added(run)
    run("set", "company1", "--name", "Alpaca", "--email", "a@b.c", "--webhook-url", "http://x/y")
    for number, status in enumerate(("new", "confirmed", "confirmed"), 1):
        new_payment(number, status=status)
    payment = new_payment(4, status="expired")
    webhook = first_standard_webhook("company1")
    assert webhook is not None
    states: list[dict[str, Any]] = [
        {"next_attempt_at": None, "delivered_at": NOW, "last_error": "HTTP 500"},
        {"last_error": "HTTP 502"},
        {"next_attempt_at": None, "failed_at": NOW, "last_error": "HTTP 503"},
        {},
    ]
    for number, state in enumerate(states):
        event = new_event(payment, reference=f"evt_{number}", revision=number)
        webhook_message(event, webhook, **state)
        new_message(event)
    shown = document(run("show", "company1", "--json"))
    assert (shown["name"], shown["email"], shown["webhook_url"]) == ("Alpaca", "a@b.c", "http://x/y")
    assert shown["webhook_set_by"] == "operator"
    assert shown["webhooks"] == {
        "delivered": 1,
        "waiting": 2,
        "failed": 1,
        "last_delivered_at": "2026-11-23T12:00:00Z",
        "last_error": "HTTP 503",
    }
    counts = {"new": 1, "underpaid": 0, "received": 0, "confirming": 0, "confirmed": 2, "expired": 1}
    assert shown["requests"] == {"total": 4, **counts}
    lines = run("show", "company1").stdout.splitlines()
    assert "Requests        4: 1 new, 2 confirmed, 1 expired" in lines
    assert "Webhook         http://x/y (set by the operator)" in lines
    last = "the last was delivered at 2026-11-23 12:00:00 UTC"
    assert f"Webhooks        1 delivered, 2 waiting, 1 failed; {last}" in lines
    assert "Last error      HTTP 503" in lines


def test_a_new_seller_is_shown_as_it_is(run: Run) -> None:
    """Nothing has been sent to it yet."""
    added(run)
    lines = run("show", "company1").stdout.splitlines()
    assert {"Name            none", "Webhook         none", "Requests        0"} <= {*lines}
    assert "API keys        1 works" in lines


def test_no_secret_is_shown(run: Run) -> None:
    """An old webhook address may hold a password, and a secret has its own command."""
    key = added(run)
    second = document(run("rotate-key", "company1", "--webhook-secret", "--json"))["webhook_secret"]
    Webhook.update(url="http://user:hunter2@host/paid", set_by=API_KEY).execute()
    webhook = Webhook.get()
    hidden = [key, second, webhook.previous_secret, hash_of(key), "hunter2", "whsec_", "nt_"]
    for options in ([], ["--json"]):
        shown = run("show", "company1", *options).stdout
        assert "http://***@host/paid" in shown
        assert [text for text in hidden if text in shown] == []
    assert "the previous secret signs, too" in run("show", "company1").stdout
    assert "set by an API key" in run("show", "company1").stdout


def test_a_removed_seller_is_shown_too(run: Run) -> None:
    """Its payments are still there. An unknown seller is an error."""
    added(run)
    run("remove", "company1", "--yes")
    assert document(run("show", "company1", "--json"))["removed_at"] is not None
    assert re.search(r"^API keys +stopped$", run("show", "company1").stdout, re.MULTILINE)
    assert "there is no seller nobody" in run("show", "nobody").stderr


# Onion services


ONION = "http://mempoolhqx4isw62xs7abwphsq7ldayuidyx2v2oethdhhj6mlo2r6ad.onion/hook"


def test_an_onion_service_as_a_webhook_address_needs_a_proxy(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without PROXY nothing is stored. The line names the setting and an example."""
    refused = run("add", "company1", "--webhook-url", ONION)
    assert refused.exit_code == 1
    assert (
        "is an onion service, which only Tor can reach: set PROXY, such as PROXY=socks5h://" in refused.stderr
    )
    assert document(run("list", "--json")) == []
    added(run)
    assert run("set", "company1", "--name", "Alpaca", "--webhook-url", ONION).exit_code == 1
    shown = document(run("show", "company1", "--json"))
    assert (shown["name"], shown["webhook_url"]) == ("", None)
    monkeypatch.setenv("PROXY", "socks5h://127.0.0.1:9050")
    assert document(run("set", "company1", "--webhook-url", ONION, "--json"))["webhook_url"] == ONION
