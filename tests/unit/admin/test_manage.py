"""manage.py's commands for sellers, payments and events on both databases, and their refusals."""

import base64
import json
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from admin.doctor.nodetill import _of_webhook_addresses
from config import load_settings
from manage import manage
from models.address import Address
from models.api_key import ApiKey, hash_of, key_holder
from models.command import ACCEPT_LATE, CANCEL, REDELIVER, DaemonCommand
from models.daemon_status import beat
from models.db.connection import disconnect
from models.outbox import Event, Message
from models.output import MEMPOOL, Output
from models.payment import PaymentRequest
from models.queries.attention import ActionNeeded, action_counts
from models.rate import store_rates
from models.seller import Seller
from models.webhook import API_KEY, OPERATOR, Webhook
from regtest.node import PROJECT
from tests.support.fork_server import run_python
from tests.support.postgres import PostgresServer
from tests.support.prepared_database import open_prepared
from tests.support.rows import new_event, new_message

pytestmark = pytest.mark.one_database

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TXID = "5e" * 32


@pytest.fixture
def run(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Result]]:
    """Return a function that runs manage.py with arguments, on a database of its own."""
    monkeypatch.chdir(tmp_path)
    runner = CliRunner(env={"DATABASE_URL": database_url})

    def invoke(*arguments: str, answer: str | None = None) -> Result:
        disconnect()
        result = runner.invoke(manage, arguments, input=answer)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    open_prepared(database_url)
    yield invoke
    disconnect()


def document(result: Result) -> Any:
    """Return the one JSON document that was printed."""
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refusal(result: Result) -> str:
    """Return the one line with the reason. With --json standard output has it, too."""
    assert result.exit_code == 1, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("nodetill: ")
    assert not result.stdout or f"nodetill: {json.loads(result.stdout)['error']}" == line
    return line


def stored_seller(api_key: str) -> Seller | None:
    """Return the whole row, with the secrets that a web server never reads."""
    key = ApiKey.get_or_none(ApiKey.key_hash == hash_of(api_key))
    return None if key is None else key.seller


def make_payment(number: int = 1, **values: Any) -> str:
    """Store a request of seller company1, and return its reference."""
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


def test_a_new_sellers_key_is_printed_and_only_its_hash_stored(
    run: Callable[..., Result],
) -> None:
    """The secret has the form of Standard Webhooks."""
    added = document(
        run("seller", "add", "company1", "--name", "Söcke", "--webhook-url", "http://x/y", "--json")
    )
    assert added["seller_id"] == "company1"
    assert re.fullmatch(r"nt_[A-Za-z0-9_-]{43}", added["api_key"])
    assert len(base64.b64decode(added["webhook_secret"].removeprefix("whsec_"), validate=True)) == 32
    seller = stored_seller(added["api_key"])
    assert seller is not None
    assert (seller.id, seller.name) == ("company1", "Söcke")
    webhook = Webhook.get()
    assert (webhook.url, webhook.signing_secret) == ("http://x/y", added["webhook_secret"])


def test_the_key_is_shown_once(run: Callable[..., Result]) -> None:
    """Neither the list nor a change shows a key or a secret again."""
    run("seller", "add", "company1")
    for arguments in (["list"], ["list", "--json"], ["set", "company1", "--name", "New", "--json"]):
        shown = run("seller", *arguments).output
        assert "company1" in shown
        assert "nt_" not in shown
        assert "whsec_" not in shown


def test_the_key_in_the_text_is_the_stored_one(run: Callable[..., Result]) -> None:
    text = run("seller", "add", "company1").output
    (api_key,) = re.findall(r"nt_[A-Za-z0-9_-]{43}", text)
    assert key_holder(hash_of(api_key), NOW) is not None


def test_an_id_can_be_used_once(run: Callable[..., Result]) -> None:
    """The second `add` is refused, and the first key still works."""
    added = document(run("seller", "add", "company1", "--json"))
    assert "company1 already" in refusal(run("seller", "add", "company1", "--json"))
    assert key_holder(hash_of(added["api_key"]), NOW) is not None


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
def test_invalid_values_are_usage_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """The exit status is 2, and no database is created."""
    monkeypatch.chdir(tmp_path)
    result = CliRunner(env={"DATABASE_URL": f"sqlite:///{tmp_path}/n.db"}).invoke(
        manage, ["seller", *arguments]
    )
    assert result.exit_code == 2, result.output
    assert list(tmp_path.iterdir()) == []


def test_a_seller_s_data_can_be_changed(run: Callable[..., Result]) -> None:
    """An option that is not given changes nothing."""
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


def test_a_new_key_disables_the_old_one_at_once(run: Callable[..., Result]) -> None:
    """The webhook secret stays."""
    added = document(run("seller", "add", "company1", "--json"))
    rotated = document(run("seller", "rotate-key", "company1", "--json"))
    assert key_holder(hash_of(added["api_key"]), NOW) is None
    seller = stored_seller(rotated["api_key"])
    assert seller is not None
    assert Webhook.get().signing_secret == added["webhook_secret"]


def test_the_previous_webhook_secret_is_kept(run: Callable[..., Result]) -> None:
    """Webhooks can then be signed with both. The API key stays."""
    added = document(run("seller", "add", "company1", "--json"))
    rotated = document(run("seller", "rotate-key", "company1", "--webhook-secret", "--json"))
    assert "api_key" not in rotated
    seller = stored_seller(added["api_key"])
    assert seller is not None
    webhook = Webhook.get()
    assert webhook.signing_secret == rotated["webhook_secret"] != added["webhook_secret"]
    assert webhook.previous_secret == added["webhook_secret"]


def test_a_removed_sellers_key_is_disabled_and_its_payments_stay(run: Callable[..., Result]) -> None:
    """Only `list --all` lists the seller, and no command can change it."""
    added = document(run("seller", "add", "company1", "--json"))
    make_payment()
    run("seller", "remove", "company1", "--yes")
    assert key_holder(hash_of(added["api_key"]), NOW) is None
    assert len(document(run("payment", "list", "--json"))) == 1
    assert document(run("seller", "list", "--json")) == []
    assert [row["seller_id"] for row in document(run("seller", "list", "--all", "--json"))] == ["company1"]
    for arguments in (
        ["set", "company1", "--name", "x"],
        ["rotate-key", "company1"],
        ["remove", "company1"],
    ):
        assert "was removed" in refusal(run("seller", *arguments))


def test_a_removed_seller_is_restored_only_with_the_option(run: Callable[..., Result]) -> None:
    """The new key gives access to the old payments, which may belong to another shop of the same name."""
    old = document(run("seller", "add", "company1", "--name", "Old", "--json"))
    run("seller", "remove", "company1", "--yes")
    assert "--restore" in refusal(run("seller", "add", "company1"))
    new = document(run("seller", "add", "company1", "--restore", "--json"))
    assert new["name"] == "Old"
    assert new["removed_at"] is None
    assert key_holder(hash_of(new["api_key"]), NOW) is not None
    assert key_holder(hash_of(old["api_key"]), NOW) is None


def test_a_webhook_address_that_the_operator_sets_may_be_private(run: Callable[..., Result]) -> None:
    """The earlier address may have been set by an API key."""
    run("seller", "add", "company1", "--json")
    Webhook.update(url="http://old.example/", set_by=API_KEY).execute()
    run("seller", "set", "company1", "--name", "Alpaca", "--json")
    assert Webhook.get().set_by == API_KEY
    run("seller", "set", "company1", "--webhook-url", "http://10.0.0.7/paid", "--json")
    assert Webhook.get().set_by == OPERATOR


def test_an_unknown_seller_is_refused(run: Callable[..., Result]) -> None:
    for arguments in (["set", "nobody", "--name", "x"], ["rotate-key", "nobody"], ["remove", "nobody"]):
        assert "no seller nobody" in refusal(run("seller", *arguments))


def test_payments_are_listed_newest_first_by_status_and_seller(run: Callable[..., Result]) -> None:
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
    """With --json it is the API's document, and otherwise lines of text."""
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


def test_a_payment_is_shown_to_a_person_in_words(run: Callable[..., Result]) -> None:
    """Times are text, events are in their order, and a fact without content has no line."""
    run("seller", "add", "company1")
    reference = make_payment(status="expired", cancelled_at=NOW, expires_at=NOW, note="Socks\x1b[2J")
    payment = PaymentRequest.get()
    later = NOW + timedelta(hours=1)
    new_event(payment, reference="evt_1", type="payment.expired", created_at=NOW)
    new_event(payment, reference="evt_2", revision=2, type="payment.late", created_at=later)
    assert run("payment", "show", reference).stdout.splitlines() == [
        "Payment         PR-1",
        "Status          expired",
        "Confirmations   0 of 6",
        "Seller          company1",
        "Amount          135.99 EUR, 0.00271980 BTC (271980 sats)",
        "Price of 1 BTC  50000 EUR by fixed, 2026-11-23 12:00:00 UTC",
        "Due             0.00271980 BTC (271980 sats)",
        "Address         bcrt1q1",
        "Page            http://127.0.0.1:8080/pay/PR-1",
        "Note            Socks [2J",
        "Created         2026-11-23 12:00:00 UTC",
        "Cancelled       2026-11-23 12:00:00 UTC",
        "Expired         2026-11-23 12:00:00 UTC",
        "",
        "Events",
        "  2026-11-23 12:00:00 UTC  expired",
        "  2026-11-23 13:00:00 UTC  late",
    ]


def test_a_paid_request_is_shown_with_all_its_facts(run: Callable[..., Result]) -> None:
    """The metadata often has the order's number."""
    run("seller", "add", "company1")
    reference = make_payment(
        status="confirmed",
        is_late=True,
        received_sats=271_981,
        due_sats=0,
        overpaid_sats=1,
        label="Alpaca",
        metadata={"order": "17 ä"},
        redirect_url="https://shop.example/",
        received_at=NOW,
        confirmed_at=NOW,
    )
    lines = run("payment", "show", reference).stdout.splitlines()
    assert {
        "Status          confirmed (late)",
        "Received        0.00271981 BTC (271981 sats)",
        "Overpaid        0.00000001 BTC (1 sats)",
        "Label           Alpaca",
        'Metadata        {"order": "17 ä"}',
        "Return link     https://shop.example/",
        "Expires         2026-11-23 12:15:00 UTC",
        "Received at     2026-11-23 12:00:00 UTC",
        "Confirmed at    2026-11-23 12:00:00 UTC",
    } <= {*lines}
    assert not any(line.startswith(("Due", "Note", "Cancelled", "Events", "Transactions")) for line in lines)


def test_a_note_cannot_control_the_operators_terminal(run: Callable[..., Result]) -> None:
    """Escape sequences and line ends of a customer's text are not printed."""
    run("seller", "add", "company1")
    reference = make_payment(note="\x1b[2Jgone\nPR-2  paid \x9b31m \u202e")
    for arguments in (["list"], ["show", reference], ["show", reference, "--json"]):
        output = run("payment", *arguments).output
        assert not re.search("[\x1b\x9b\u202e]|^PR-2", output, re.MULTILINE)


def test_an_acceptance_is_stored_as_one_command_for_the_daemon(run: Callable[..., Result]) -> None:
    """A warning is printed if the daemon does not run."""
    run("seller", "add", "company1")
    reference = make_payment(status="expired", is_late=True)
    silent = run("payment", "accept", reference)
    assert silent.exit_code == 0
    assert "has never run" in silent.stderr
    beat(datetime.now(UTC), 100, [])
    assert run("payment", "accept", reference, "--json").stderr == ""
    commands = [(command.kind, command.payment_id) for command in DaemonCommand.select()]
    assert commands == [(ACCEPT_LATE, PaymentRequest.get().id)]
    beat(NOW - timedelta(days=1), 100, [])
    assert "2026-11-22T12:00:00Z" in run("payment", "accept", reference).stderr


def test_money_that_is_not_late_cannot_be_accepted(run: Callable[..., Result]) -> None:
    """An unknown payment is refused, too."""
    run("seller", "add", "company1")
    assert "no late money" in refusal(run("payment", "accept", make_payment()))
    for reference in ("PR-nothing", "\x00", "é", ""):
        assert "no payment" in refusal(run("payment", "accept", reference))
        assert "no payment" in refusal(run("payment", "show", reference))
    assert DaemonCommand.select().count() == 0


def test_a_payment_is_marked_as_done_and_opened_again(run: Callable[..., Result]) -> None:
    """`payment show` lists the decisions with their comments. Its JSON stays the API's document."""
    run("seller", "add", "company1")
    reference = make_payment(status="expired", received_sats=1000)
    done = run("payment", "settle", reference, "--comment", " refunded in tx ")
    assert (done.exit_code, done.output) == (0, f"Payment {reference}: marked as done.\n")
    assert action_counts() == {}
    assert "needs no decision" in refusal(run("payment", "settle", reference))
    assert (
        document(run("payment", "settle", reference, "--undo", "--json"))["payment_request_id"] == reference
    )
    assert list(action_counts()) == [ActionNeeded.PART]
    assert "not a mark as done" in refusal(run("payment", "settle", reference, "--undo"))
    shown = run("payment", "show", reference).output
    assert "settled, by command: refunded in tx" in " ".join(shown.split())
    assert "UTC reopened, by command" in " ".join(shown.split())
    assert "decisions" not in document(run("payment", "show", reference, "--json"))


def test_a_wrong_comment_is_a_usage_error(run: Callable[..., Result]) -> None:
    run("seller", "add", "company1")
    reference = make_payment(status="expired", received_sats=1000)
    for arguments in (["--comment", "x" * 201], ["--comment", "a\nb"], ["--undo", "--comment", "x"]):
        assert run("payment", "settle", reference, *arguments).exit_code == 2
    assert "no payment" in refusal(run("payment", "settle", "PR-nothing"))
    assert list(action_counts()) == [ActionNeeded.PART]


def test_late_money_is_shown_with_its_worth(run: Callable[..., Result]) -> None:
    run("seller", "add", "company1")
    reference = make_payment(status="expired", is_late=True, received_sats=271_980)
    row = PaymentRequest.get()
    late = NOW + timedelta(minutes=57)
    Output.create(
        address=row.address,
        txid=TXID,
        vout=0,
        amount_sats=271_980,
        first_seen_at=late,
        present_since=late,
        state=MEMPOOL,
    )
    unknown = "Came 42 min late. Its worth today is unknown, because there is no fresh price for EUR."
    assert unknown in run("payment", "show", reference).output
    store_rates("kraken", {"EUR": Decimal(48_250)}, datetime.now(UTC))
    assert "Came 42 min late. Worth 131.23 EUR today (asked for: 135.99 EUR, 3.5 % less)." in (
        run("payment", "show", reference).output
    )


def test_a_second_acceptance_is_reported_as_already_accepted(run: Callable[..., Result]) -> None:
    """It is no error, and stores no command."""
    run("seller", "add", "company1")
    reference = make_payment(status="confirmed", is_late=True, late_accepted_at=NOW)
    assert "already" in run("payment", "accept", reference).output
    assert DaemonCommand.select().count() == 0


def test_a_step_that_cannot_be_undone_is_confirmed_at_a_terminal(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a change, no question is asked."""
    run("seller", "add", "company1")
    monkeypatch.setattr("admin.cli.is_interactive", lambda: True)
    unpaid = make_payment(expires_at=datetime.now(UTC) + timedelta(minutes=15))
    late = make_payment(2, status="expired", is_late=True)
    for words in (("payment", "cancel", unpaid), ("payment", "accept", late)):
        refused = run(*words, answer="n\n")
        assert (refused.exit_code, "cannot undo this" in refused.stderr) == (1, True)
        assert DaemonCommand.select().count() == 0
        assert run(*words, answer="y\n").exit_code == 0
        assert DaemonCommand.delete().execute() == 1
        assert run(*words, "--yes").exit_code == 0
        assert DaemonCommand.delete().execute() == 1
    done = make_payment(3, status="confirmed", is_late=True, late_accepted_at=NOW)
    assert "accepted already" in run("payment", "accept", done).stdout


def test_a_request_is_cancelled_by_a_command_for_the_daemon(run: Callable[..., Result]) -> None:
    """A silent daemon is named. A request that cannot be cancelled is an error with the reason."""
    run("seller", "add", "company1")
    reference = make_payment(expires_at=datetime.now(UTC) + timedelta(minutes=15))
    assert "has never run" in run("payment", "cancel", reference).stderr
    beat(datetime.now(UTC), 100, [])
    again = run("payment", "cancel", reference)
    assert (again.exit_code, again.stderr) == (0, "")
    assert "the daemon will cancel it now" in again.stdout
    assert [command.kind for command in DaemonCommand.select()] == [CANCEL]
    assert "it has expired already" in refusal(run("payment", "cancel", make_payment(2)))
    paid = make_payment(3, status="received", received_sats=1)
    assert "money has come to it, and it is received" in refusal(run("payment", "cancel", paid, "--json"))
    done = make_payment(4, status="expired", cancelled_at=NOW)
    assert "cancelled already" in run("payment", "cancel", done).stdout
    assert "no payment" in refusal(run("payment", "cancel", "PR-nothing"))
    assert DaemonCommand.select().count() == 1


def test_a_wrong_setting_ends_each_command_with_status_78(tmp_path: Path) -> None:
    """One line names the variable, and no file is created."""
    for arguments in (["seller", "list"], ["payment", "list"], ["wallet", "create"]):
        done = manage_py(tmp_path, *arguments, CONFIRMATIONS="many")
        assert done.returncode == 78
        assert done.stderr.startswith("nodetill: CONFIRMATIONS: ")
        assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_unusable_database_is_reported_in_one_line(tmp_path: Path) -> None:
    """The exit status is 1, and no password is shown."""
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


def test_a_read_only_database_is_reported_in_one_line(postgres: PostgresServer, tmp_path: Path) -> None:
    """A standby of PostgreSQL lists the sellers, and refuses a new one."""
    url = postgres.new_database()
    assert manage_py(tmp_path, "seller", "add", "company1", DATABASE_URL=url).returncode == 0
    standby = f"{url}?options=-c%20default_transaction_read_only%3Don"
    assert "company1" in manage_py(tmp_path, "seller", "list", DATABASE_URL=standby).stdout
    done = manage_py(tmp_path, "seller", "add", "company2", DATABASE_URL=standby)
    assert done.returncode == 1
    assert done.stderr.startswith("nodetill: the database cannot be used now"), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def test_a_terminal_that_lacks_a_character_shows_its_escape(tmp_path: Path) -> None:
    """Python reads the terminal's encoding when it starts."""
    western = {"DATABASE_URL": "sqlite:///n.db", "PYTHONIOENCODING": "latin-1"}
    assert manage_py(tmp_path, "seller", "add", "company1", "--name", "日本", **western).returncode == 0
    command = [sys.executable, str(PROJECT / "manage.py"), "seller", "list"]
    done = subprocess.run(command, cwd=tmp_path, env=western, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u65e5\\u672c" in done.stdout


def test_only_the_operator_can_read_the_created_files(tmp_path: Path) -> None:
    """The database has the webhook secrets."""
    assert manage_py(tmp_path, "seller", "add", "company1", DATABASE_URL="sqlite:///var/n.db").returncode == 0
    for path in tmp_path.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def manage_py(directory: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run manage.py in a process of its own."""
    return run_python("manage.py", directory, *arguments, **environ)


def test_each_command_has_a_help_text() -> None:
    def walk(command: Any, path: list[str]) -> Iterator[list[str]]:
        yield path
        for name, child in getattr(command, "commands", {}).items():
            yield from walk(child, [*path, name])

    for path in walk(manage, []):
        result = CliRunner().invoke(manage, [*path, "--help"])
        assert result.exit_code == 0
        assert len(result.output.splitlines()) > 3, path


def test_sellers_are_listed_by_id(run: Callable[..., Result]) -> None:
    """An empty list has a message."""
    assert "no sellers" in run("seller", "list").output
    for seller in ("b", "a"):
        run("seller", "add", seller)
    assert [row["seller_id"] for row in document(run("seller", "list", "--json"))] == ["a", "b"]
    assert Seller.select().count() == 2


def make_message(number: int = 1, **values: Any) -> str:
    """Store an email of a new event of an existing payment, and return the event's reference."""
    payment = PaymentRequest.get(PaymentRequest.reference == f"PR-{number}")
    event = new_event(
        payment, reference=f"evt_{Event.select().count() + 1}", revision=Event.select().count() + 1
    )
    new_message(event, **values)
    return str(event.reference)


GIVEN_UP: dict[str, Any] = {"next_attempt_at": None, "failed_at": NOW, "last_error": "550 no", "attempts": 13}


def test_undelivered_messages_are_listed(run: Callable[..., Result]) -> None:
    """They wait or were given up."""
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


def test_a_retry_is_stored_as_one_command_for_each_message(run: Callable[..., Result]) -> None:
    """It is for one event, for the events of a payment, or for all undelivered messages."""
    run("seller", "add", "company1")
    for number in (1, 2):
        make_payment(number)
    first, second, third = make_message(1, **GIVEN_UP), make_message(1), make_message(2, **GIVEN_UP)
    beat(datetime.now(UTC), 100, [])

    def stored_retries() -> list[str]:
        messages = (
            Message.select(Message, Event)
            .join(Event)
            .switch(Message)
            .join(DaemonCommand)
            .order_by(DaemonCommand.id)
        )
        return [message.event.reference for message in messages]

    assert [row["event_id"] for row in document(run("events", "retry", first, "--json"))] == [first]
    assert stored_retries() == [first]
    run("events", "retry", "PR-1")
    assert stored_retries() == [first, second]
    assert "all 3 again now" in run("events", "retry").output
    assert stored_retries() == [first, second, third]
    assert {command.kind for command in DaemonCommand.select()} == {REDELIVER}


def test_a_delivered_or_unknown_message_cannot_be_retried(run: Callable[..., Result]) -> None:
    """A retry without messages is no error. A warning is printed if the daemon does not run."""
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
def test_an_invalid_webhook_address_is_refused_with_advice(
    run: Callable[..., Result], url: str, advice: str
) -> None:
    """The error has the text to write instead, and shows no part of an address that may have a password."""
    result = run("seller", "add", "company1", "--webhook-url", url)
    assert result.exit_code == 2
    assert advice in result.output
    assert "hunter2" not in result.output


def test_the_password_of_an_old_webhook_address_is_not_shown(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    """An older version accepted one. The doctor names the seller, and the correction."""
    run("seller", "add", "company1")
    Webhook.update(url="http://user:hunter2@host/paid").execute()
    for arguments in (
        ["seller", "list"],
        ["seller", "list", "--json"],
        ["seller", "set", "company1", "--name", "x"],
    ):
        shown = run(*arguments).output
        assert "hunter2" not in shown
        assert "http://***@host/paid" in shown
    (finding,) = _of_webhook_addresses(load_settings({}, tmp_path))
    assert "manage.py seller set company1 --webhook-url" in finding.text
    assert "hunter2" not in finding.text
