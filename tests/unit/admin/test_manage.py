"""manage.py's sellers and payments, on both databases; and how it refuses."""

import base64
import hashlib
import json
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from admin.doctor.nodetill import _of_webhook_addresses
from manage import manage
from models.address import Address
from models.command import ACCEPT, REDELIVER, DaemonCommand
from models.daemon_status import beat
from models.db.connection import disconnect
from models.db.schema import open_database
from models.outbox import Event, Message
from models.output import MEMPOOL, Output
from models.payment import PaymentRequest
from models.seller import API_KEY, OPERATOR, Seller, seller_by_key_hash
from regtest.node import PROJECT
from tests.support.postgres import PostgresServer
from tests.support.rows import new_event, new_message

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TXID = "5e" * 32


@pytest.fixture
def run(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Result]]:
    """Runs manage.py with arguments, on a database of its own."""
    monkeypatch.chdir(tmp_path)
    runner = CliRunner(env={"DATABASE_URL": database_url})

    def invoke(*arguments: str) -> Result:
        disconnect()
        result = runner.invoke(manage, arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    open_database(database_url)
    yield invoke
    disconnect()


def document(result: Result) -> Any:
    """The one JSON document that was printed."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refusal(result: Result) -> str:
    """The one line that says why not; with --json standard output has it as well."""
    assert result.exit_code == 1, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("nodetill: ")
    assert not result.stdout or f"nodetill: {json.loads(result.stdout)['error']}" == line
    return line


def hashed(api_key: str) -> str:
    return hashlib.sha256(api_key.encode()).hexdigest()


def stored_seller(api_key: str) -> Seller | None:
    """Return the whole row, with the secrets that a web server never reads."""
    found: Seller | None = Seller.get_or_none(Seller.api_key_hash == hashed(api_key))
    return found


def make_payment(number: int = 1, **values: Any) -> str:
    """A request of seller company1 is stored; its reference."""
    address = Address.create(
        script=bytes([number]), address=f"bcrt1q{number}", wallet="nodetill", created_at=NOW, claimed_at=NOW
    )
    fields = {
        "reference": f"PR-{number}",
        "seller": "company1",
        "amount_fiat": "135.99",
        "currency": "EUR",
        "price": "50000",
        "price_at": NOW,
        "price_source": "fixed",
        "amount_sats": 271_980,
        "tolerance_sats": 0,
        "due_sats": 271_980,
        "confirmations_required": 6,
        "created_at": NOW,
        "expires_at": NOW + timedelta(minutes=15),
        "monitored_until": NOW + timedelta(days=7),
    }
    PaymentRequest.create(address=address, **(fields | values))
    return f"PR-{number}"


def test_a_new_sellers_key_and_secret_are_printed_and_only_a_hash_is_stored(
    run: Callable[..., Result],
) -> None:
    """The key opens the API by its SHA-256; the secret is one of Standard Webhooks."""
    added = document(
        run("seller", "add", "company1", "--name", "Söcke", "--webhook-url", "http://x/y", "--json")
    )
    assert added["seller_id"] == "company1"
    assert re.fullmatch(r"nt_[A-Za-z0-9_-]{43}", added["api_key"])
    assert len(base64.b64decode(added["webhook_secret"].removeprefix("whsec_"), validate=True)) == 32
    seller = stored_seller(added["api_key"])
    assert seller is not None
    assert (seller.id, seller.name, seller.webhook_url) == ("company1", "Söcke", "http://x/y")
    assert seller.webhook_secret == added["webhook_secret"]


def test_the_key_is_shown_once(run: Callable[..., Result]) -> None:
    """Neither the list nor a change shows a key or a secret again."""
    run("seller", "add", "company1")
    for arguments in (["list"], ["list", "--json"], ["set", "company1", "--name", "New", "--json"]):
        shown = run("seller", *arguments).output
        assert "company1" in shown
        assert "nt_" not in shown
        assert "whsec_" not in shown


def test_a_person_is_shown_the_same_key_as_is_stored(run: Callable[..., Result]) -> None:
    """Without --json the key stands in the text."""
    text = run("seller", "add", "company1").output
    (api_key,) = re.findall(r"nt_[A-Za-z0-9_-]{43}", text)
    assert seller_by_key_hash(hashed(api_key)) is not None


def test_an_id_is_taken_once(run: Callable[..., Result]) -> None:
    """The second add is refused, and the first one's key still works."""
    added = document(run("seller", "add", "company1", "--json"))
    assert "company1 already" in refusal(run("seller", "add", "company1", "--json"))
    assert seller_by_key_hash(hashed(added["api_key"])) is not None


@pytest.mark.parametrize(
    "arguments",
    [
        ["add", ""],
        ["add", "a b"],
        ["add", ".a"],
        ["add", "a\n"],
        ["add", "é"],
        ["add", "a" * 65],
        ["add", "a", "--webhook-url", "ftp://x"],
        ["add", "a", "--webhook-url", "x"],
        ["add", "a", "--webhook-url", "http://"],
        ["add", "a", "--webhook-url", "http://x/\n"],
        ["add", "a", "--email", "a@b\r\nBcc: c@d"],
        ["add", "a", "--email", "nobody"],
        ["add", "a", "--name", "a\x1b[31m"],
        ["add", "a", "--name", "a" * 201],
        ["set", "company1"],
        ["add", "a", "--support", "nobody"],
        ["add", "a", "--support", "javascript://x/%0aalert(1)"],
        ["add", "a", "--support", "mailto:help@shop.example"],
        ["add", "a", "--support", "https://user:secret@shop.example/"],
        ["set", "company1", "--no-webhook", "--webhook-url", "http://x"],
        ["set", "company1", "--no-support", "--support", "help@shop.example"],
        ["add"],
    ],
)
def test_values_that_cannot_be_right_are_usage_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """Exit status 2, and no database is as much as made."""
    monkeypatch.chdir(tmp_path)
    result = CliRunner(env={"DATABASE_URL": f"sqlite:///{tmp_path}/n.db"}).invoke(
        manage, ["seller", *arguments]
    )
    assert result.exit_code == 2, result.output
    assert list(tmp_path.iterdir()) == []


def test_what_is_known_of_a_seller_can_be_changed(run: Callable[..., Result]) -> None:
    """What is not named stays."""
    run("seller", "add", "company1", "--name", "Old", "--email", "a@b.c", "--webhook-url", "http://x")
    changed = document(run("seller", "set", "company1", "--name", "New", "--json"))
    assert (changed["name"], changed["email"], changed["webhook_url"]) == ("New", "a@b.c", "http://x")
    assert document(run("seller", "set", "company1", "--no-webhook", "--json"))["webhook_url"] is None


@pytest.mark.parametrize("support", ["help@shop.example", "https://shop.example/help?from=till#form"])
def test_a_seller_may_have_a_support_address(run: Callable[..., Result], support: str) -> None:
    """`seller add` stores none by default. `seller set` stores one, or removes it."""
    assert document(run("seller", "add", "company1", "--json"))["support"] is None
    assert document(run("seller", "set", "company1", "--support", support, "--json"))["support"] == support
    assert document(run("seller", "set", "company1", "--name", "New", "--json"))["support"] == support
    assert document(run("seller", "set", "company1", "--no-support", "--json"))["support"] is None
    assert document(run("seller", "add", "company2", "--support", support, "--json"))["support"] == support


def test_a_wrong_support_address_is_refused_with_the_allowed_ones(run: Callable[..., Result]) -> None:
    """The error names the fault and both allowed forms."""
    error = run("seller", "add", "company1", "--support", "shop.example/help").stderr
    assert "is not an email address" in error
    assert "allowed: one email address in ASCII, or an address that starts with http:// or https://" in error


def test_a_new_key_stops_the_old_one(run: Callable[..., Result]) -> None:
    """From the moment it is printed; the webhook secret stays."""
    added = document(run("seller", "add", "company1", "--json"))
    rotated = document(run("seller", "rotate-key", "company1", "--json"))
    assert seller_by_key_hash(hashed(added["api_key"])) is None
    seller = stored_seller(rotated["api_key"])
    assert seller is not None
    assert seller.webhook_secret == added["webhook_secret"]


def test_the_webhook_secret_before_the_new_one_is_kept(run: Callable[..., Result]) -> None:
    """So that webhooks can be signed with both; the API key stays."""
    added = document(run("seller", "add", "company1", "--json"))
    rotated = document(run("seller", "rotate-key", "company1", "--webhook-secret", "--json"))
    assert "api_key" not in rotated
    seller = stored_seller(added["api_key"])
    assert seller is not None
    assert seller.webhook_secret == rotated["webhook_secret"] != added["webhook_secret"]
    assert seller.previous_webhook_secret == added["webhook_secret"]


def test_a_removed_sellers_key_stops_and_its_payments_stay(run: Callable[..., Result]) -> None:
    """It is in no list but the whole one, and nothing can be set of it."""
    added = document(run("seller", "add", "company1", "--json"))
    make_payment()
    run("seller", "remove", "company1")
    assert seller_by_key_hash(hashed(added["api_key"])) is None
    assert len(document(run("payment", "list", "--json"))) == 1
    assert document(run("seller", "list", "--json")) == []
    assert [row["seller_id"] for row in document(run("seller", "list", "--all", "--json"))] == ["company1"]
    for arguments in (["set", "company1", "--name", "x"], ["rotate-key", "company1"], ["remove", "company1"]):
        assert "was removed" in refusal(run("seller", *arguments))


def test_a_removed_seller_comes_back_only_where_that_is_said(run: Callable[..., Result]) -> None:
    """The new key opens the old payments, which may have been another shop's of the same name."""
    old = document(run("seller", "add", "company1", "--name", "Old", "--json"))
    run("seller", "remove", "company1")
    assert "--restore" in refusal(run("seller", "add", "company1"))
    new = document(run("seller", "add", "company1", "--restore", "--json"))
    assert new["name"] == "Old"
    assert new["removed_at"] is None
    assert seller_by_key_hash(hashed(new["api_key"])) is not None
    assert seller_by_key_hash(hashed(old["api_key"])) is None


def test_an_address_that_the_operator_sets_is_his(run: Callable[..., Result]) -> None:
    """Whoever has set the one before. It may be in a private network."""
    run("seller", "add", "company1", "--json")
    Seller.update(webhook_url="http://old.example/", webhook_set_by=API_KEY).execute()
    run("seller", "set", "company1", "--name", "Alpaca", "--json")
    assert Seller.get().webhook_set_by == API_KEY
    run("seller", "set", "company1", "--webhook-url", "http://10.0.0.7/paid", "--json")
    assert Seller.get().webhook_set_by == OPERATOR


def test_a_seller_that_is_not_there_is_refused(run: Callable[..., Result]) -> None:
    """Whatever is asked of it."""
    for arguments in (["set", "nobody", "--name", "x"], ["rotate-key", "nobody"], ["remove", "nobody"]):
        assert "no seller nobody" in refusal(run("seller", *arguments))


def test_payments_are_listed_newest_first_by_status_and_seller(run: Callable[..., Result]) -> None:
    """And no more of them than asked for."""
    for seller in ("company1", "company2"):
        run("seller", "add", seller)
    make_payment(1)
    make_payment(2, status="confirmed")
    make_payment(3, seller="company2")
    listed = {
        "": ["PR-3", "PR-2", "PR-1"],
        "--limit 1": ["PR-3"],
        "--seller company1": ["PR-2", "PR-1"],
        "--status confirmed": ["PR-2"],
        "--status expired": [],
    }
    for arguments, references in listed.items():
        rows = document(run("payment", "list", *arguments.split(), "--json"))
        assert [row["payment_request_id"] for row in rows] == references
        text = run("payment", "list", *arguments.split())
        assert all(reference in text.output for reference in references)


def test_a_payment_is_shown_with_its_transactions(run: Callable[..., Result]) -> None:
    """To a program as the API has it, to a person line by line."""
    run("seller", "add", "company1")
    reference = make_payment(note="Alpaca socks", txid=TXID, status="received")
    address_id = PaymentRequest.get().address_id
    Output.create(
        address=address_id,
        txid=TXID,
        vout=1,
        amount_sats=271_980,
        first_seen_at=NOW,
        present_since=NOW,
        state=MEMPOOL,
    )
    shown = document(run("payment", "show", reference, "--json"))
    assert shown["payment_request_id"] == reference
    assert shown["transactions"][0]["txid"] == TXID
    text = run("payment", "show", reference).output
    assert f"{TXID}:1  271980 sats  mempool" in text
    assert "Alpaca socks" in text


def test_a_note_cannot_act_on_the_operators_terminal(run: Callable[..., Result]) -> None:
    """Escape sequences and line ends of a shop's customer are not printed as such."""
    run("seller", "add", "company1")
    reference = make_payment(note="\x1b[2Jgone\nPR-2  paid \x9b31m \u202e")
    for arguments in (["list"], ["show", reference], ["show", reference, "--json"]):
        output = run("payment", *arguments).output
        assert not re.search("[\x1b\x9b\u202e]|^PR-2", output, re.MULTILINE)


def test_late_money_is_accepted_by_leaving_word_for_the_daemon(run: Callable[..., Result]) -> None:
    """Once, however often it is asked; and where the daemon is silent, that is said."""
    run("seller", "add", "company1")
    reference = make_payment(status="expired", is_late=True)
    silent = run("payment", "accept", reference)
    assert silent.exit_code == 0
    assert "has never run" in silent.stderr
    beat(datetime.now(UTC), 100, [])
    assert run("payment", "accept", reference, "--json").stderr == ""
    hints = [(hint.kind, hint.payment_id) for hint in DaemonCommand.select()]
    assert hints == [(ACCEPT, PaymentRequest.get().id)]
    beat(NOW - timedelta(days=1), 100, [])
    assert "2026-11-22T12:00:00Z" in run("payment", "accept", reference).stderr


def test_money_that_is_not_late_cannot_be_accepted(run: Callable[..., Result]) -> None:
    """Nor can that of a payment that is not there."""
    run("seller", "add", "company1")
    assert "no late money" in refusal(run("payment", "accept", make_payment()))
    for reference in ("PR-nothing", "\x00", "é", ""):
        assert "no payment" in refusal(run("payment", "accept", reference))
        assert "no payment" in refusal(run("payment", "show", reference))
    assert DaemonCommand.select().count() == 0


def test_what_was_accepted_before_is_told_so(run: Callable[..., Result]) -> None:
    """It is no error, and nothing more is asked of the daemon."""
    run("seller", "add", "company1")
    reference = make_payment(status="confirmed", is_late=True, late_accepted_at=NOW)
    assert "already" in run("payment", "accept", reference).output
    assert DaemonCommand.select().count() == 0


def test_a_wrong_setting_ends_every_command_with_status_78(tmp_path: Path) -> None:
    """One line names the variable; nothing is made."""
    for arguments in (["seller", "list"], ["payment", "list"], ["wallet", "create"]):
        done = manage_py(tmp_path, *arguments, CONFIRMATIONS="many")
        assert done.returncode == 78
        assert done.stderr.startswith("nodetill: CONFIRMATIONS: ")
        assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    """And exit status 1, be it SQLite or PostgreSQL, with no password in it."""
    (tmp_path / "file").write_text("")
    (tmp_path / "garbage.db").write_text("no database at all, but text that is long enough" * 10)
    for url in (
        f"sqlite:///{tmp_path}/file/n.db",
        f"sqlite:///{tmp_path}/garbage.db",
        "postgresql://u:s3cret@127.0.0.1:1/n",
    ):
        done = manage_py(tmp_path, "seller", "list", DATABASE_URL=url)
        assert done.returncode == 1
        assert done.stderr.startswith("nodetill: ")
        assert done.stderr.count("\n") == 1, done.stderr
        assert "s3cret" not in done.stderr


def test_a_database_that_only_reads_is_one_line(postgres: PostgresServer, tmp_path: Path) -> None:
    """A standby of PostgreSQL lists the sellers, and refuses a new one."""
    url = postgres.new_database()
    assert manage_py(tmp_path, "seller", "add", "company1", DATABASE_URL=url).returncode == 0
    standby = f"{url}?options=-c%20default_transaction_read_only%3Don"
    assert "company1" in manage_py(tmp_path, "seller", "list", DATABASE_URL=standby).stdout
    done = manage_py(tmp_path, "seller", "add", "company2", DATABASE_URL=standby)
    assert done.returncode == 1
    assert done.stderr.startswith("nodetill: the database cannot be used now"), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def test_a_terminal_that_lacks_a_letter_shows_another(tmp_path: Path) -> None:
    """And not a traceback."""
    western = {"DATABASE_URL": "sqlite:///n.db", "PYTHONIOENCODING": "latin-1"}
    assert manage_py(tmp_path, "seller", "add", "company1", "--name", "日本", **western).returncode == 0
    done = manage_py(tmp_path, "seller", "list", **western)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u65e5\\u672c" in done.stdout


def test_what_it_makes_is_the_operators_alone(tmp_path: Path) -> None:
    """The database has the webhook secrets in it."""
    assert manage_py(tmp_path, "seller", "add", "company1", DATABASE_URL="sqlite:///var/n.db").returncode == 0
    for path in tmp_path.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def manage_py(directory: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """manage.py as the operator starts it."""
    command = [sys.executable, str(PROJECT / "manage.py"), *arguments]
    return subprocess.run(command, cwd=directory, env=environ, capture_output=True, text=True, timeout=60)


def test_every_command_explains_itself() -> None:
    """--help of each command and group ends well and says what it is for."""

    def walk(command: Any, path: list[str]) -> Iterator[list[str]]:
        yield path
        for name, child in getattr(command, "commands", {}).items():
            yield from walk(child, [*path, name])

    for path in walk(manage, []):
        result = CliRunner().invoke(manage, [*path, "--help"])
        assert result.exit_code == 0
        assert len(result.output.splitlines()) > 3, path


def test_sellers_are_listed_by_id(run: Callable[..., Result]) -> None:
    """As many as there are; and none is said to be none."""
    assert "no sellers" in run("seller", "list").output
    for seller in ("b", "a"):
        run("seller", "add", seller)
    assert [row["seller_id"] for row in document(run("seller", "list", "--json"))] == ["a", "b"]
    assert Seller.select().count() == 2


def make_message(number: int = 1, **values: Any) -> str:
    """An email of an event of a payment that is there; the event's reference."""
    payment = PaymentRequest.get(PaymentRequest.reference == f"PR-{number}")
    event = new_event(
        payment, reference=f"evt_{Event.select().count() + 1}", revision=Event.select().count() + 1
    )
    new_message(event, **values)
    return str(event.reference)


GIVEN_UP: dict[str, Any] = {"next_attempt_at": None, "failed_at": NOW, "last_error": "550 no", "attempts": 13}


def test_what_is_not_delivered_is_listed(run: Callable[..., Result]) -> None:
    """What waits and what was given up; never what has been delivered."""
    assert "Everything" in run("events", "list").output
    run("seller", "add", "company1")
    make_payment()
    waiting = make_message()
    given_up = make_message(**GIVEN_UP)
    make_message(next_attempt_at=None, delivered_at=NOW)
    listed = document(run("events", "list", "--json"))
    assert [(row["event_id"], row["attempts"], row["last_error"]) for row in listed] == [
        (waiting, 0, None),
        (given_up, 13, "550 no"),
    ]
    assert re.search(f"{given_up} .*given up +550 no", run("events", "list").output)


def test_another_try_is_asked_of_the_daemon_once(run: Callable[..., Result]) -> None:
    """Of one event, of a payment's, or of all that are not delivered; a wish that waits is not doubled."""
    run("seller", "add", "company1")
    for number in (1, 2):
        make_payment(number)
    first, second, third = make_message(1, **GIVEN_UP), make_message(1), make_message(2, **GIVEN_UP)
    beat(datetime.now(UTC), 100, [])

    def asked() -> list[str]:
        messages = (
            Message.select(Message, Event)
            .join(Event)
            .switch(Message)
            .join(DaemonCommand)
            .order_by(DaemonCommand.id)
        )
        return [message.event.reference for message in messages]

    assert [row["event_id"] for row in document(run("events", "retry", first, "--json"))] == [first]
    assert asked() == [first]
    run("events", "retry", "PR-1")
    assert asked() == [first, second]
    assert "all 3 again now" in run("events", "retry").output
    assert asked() == [first, second, third]
    assert {hint.kind for hint in DaemonCommand.select()} == {REDELIVER}


def test_what_has_been_delivered_can_not_be_retried(run: Callable[..., Result]) -> None:
    """Nor what is not there; nothing to do is no error. Without a daemon that is said."""
    run("seller", "add", "company1")
    make_payment()
    done = make_message(next_attempt_at=None, delivered_at=NOW)
    for reference in (done, "PR-1", "evt_nothing", "\x00", ""):
        assert "nothing of" in refusal(run("events", "retry", reference))
    assert document(run("events", "retry", "--json")) == []
    assert DaemonCommand.select().count() == 0
    make_message()
    assert "has never run" in run("events", "retry").stderr


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("http://user:hunter2@host/", "leave out all text before the @"),
        ("http://user:hun/ter2@host/", "%2F"),
        ("http://hunter2.münchen.example/", "begins with xn--"),
        ("http://::1:8000/hunter2", "[::1]"),
        ("http://[fe80::1%eth0]/hunter2", "an address without %"),
        ("http://host:0/hunter2", "port 0"),
        ("http://host:65536/hunter2", "an invalid port"),
        ("http://host./hunter2", "leave the dot out"),
        ("http://host/hunter2#part", "%23"),
        ("http://host/hunter2 x", "%20"),
        (" http://host/hunter2", "does not start with http://"),
        ("http://host/hunter2/ü", "%C3%BC"),
        ("unix:/run/hunter2", "does not start with http://"),
        ("http://127.1/hunter2", "four numbers"),
    ],
)
def test_a_webhook_address_that_can_not_work_is_refused(
    run: Callable[..., Result], url: str, advice: str
) -> None:
    """The error says what to write instead, and shows nothing of an address that may hold a password."""
    result = run("seller", "add", "company1", "--webhook-url", url)
    assert result.exit_code == 2
    assert advice in result.output
    assert "hunter2" not in result.output


def test_the_password_of_an_old_webhook_address_is_not_shown(run: Callable[..., Result]) -> None:
    """An older version accepted one. The doctor names the seller, and how to correct it."""
    run("seller", "add", "company1")
    Seller.update(webhook_url="http://user:hunter2@host/paid").execute()
    for arguments in (
        ["seller", "list"],
        ["seller", "list", "--json"],
        ["seller", "set", "company1", "--name", "x"],
    ):
        shown = run(*arguments).output
        assert "hunter2" not in shown
        assert "http://***@host/paid" in shown
    (finding,) = _of_webhook_addresses()
    assert "manage.py seller set company1 --webhook-url" in finding.text
    assert "hunter2" not in finding.text
