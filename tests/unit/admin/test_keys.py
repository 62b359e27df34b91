"""`manage.py key` adds, lists and revokes API keys. Only `key add` prints a key."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from manage import manage
from models.api_key import BY_OPERATOR, ApiKey, hash_of, key_holder, keys_of
from models.db.connection import disconnect
from models.seller import Seller
from payments.greenfield.permissions import CREATE_INVOICES, POLICIES, PRESETS, VIEW_INVOICES
from tests.support.prepared_database import open_prepared
from tests.support.rows import NOW, new_key, new_seller

Run = Callable[..., Result]


@pytest.fixture
def run(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Return a function that runs `manage.py key` with arguments. Seller company1 exists, without a key."""
    monkeypatch.chdir(tmp_path)
    runner = CliRunner(env={"DATABASE_URL": database_url})

    def invoke(*arguments: str, answer: str | None = None) -> Result:
        disconnect()
        result = runner.invoke(manage, ["key", *arguments], input=answer)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    open_prepared(database_url)
    new_seller()
    yield invoke
    disconnect()


@pytest.fixture
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the commands treat their input as a terminal."""
    monkeypatch.setattr("admin.cli.is_interactive", lambda: True)


def document(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def works(api_key: str) -> bool:
    return key_holder(hash_of(api_key), datetime.now(UTC)) is not None


def test_a_key_for_a_shop_is_printed_once(run: Run) -> None:
    """The output has the values for the shop's plug-in. Only the hash is stored."""
    text = run("add", "company1", "--label", "WooCommerce", "--preset", "shop").stdout
    (api_key,) = re.findall(r"nt_[A-Za-z0-9_-]{43}", text)
    needed = ("store id  company1", "address   http://127.0.0.1:8080", "not shown again")
    for words in (*needed, *PRESETS["shop"]):
        assert words in text
    (row,) = keys_of("company1")
    assert (row.key_hash, row.label, row.created_by) == (hash_of(api_key), "WooCommerce", BY_OPERATOR)
    assert row.permissions == [*PRESETS["shop"]]
    for options in ([], ["--json"], ["--all"]):
        listed = run("list", *options).stdout
        assert row.reference in listed
        assert "nt_" not in listed
        assert row.key_hash not in listed


def test_a_key_without_a_list_may_do_everything(run: Run) -> None:
    added = document(run("add", "company1", "--json"))
    assert works(added["api_key"])
    assert (added["permissions"], added["label"], added["seller_id"]) == (None, "", "company1")
    assert "Everything that this seller may do" in run("add", "company1").stdout
    assert keys_of("company1")[0].permissions is None


def test_permissions_can_be_combined(run: Run) -> None:
    """A name may omit the prefix. A preset and single permissions can be combined."""
    options = ["--permission", "canviewinvoices", "--permission", CREATE_INVOICES]
    added = document(run("add", "company1", *options, "--json"))
    assert added["permissions"] == [VIEW_INVOICES, CREATE_INVOICES]
    options = ["--preset", "shop", "--permission", "canmodifystoresettings"]
    assert document(run("add", "company1", *options, "--json"))["permissions"] == [*POLICIES]
    assert "canviewinvoices, cancreateinvoice " in run("list").stdout
    assert " prestashop " in run("list").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add"], "Missing argument 'SELLER'"),
        (["add", "a b"], "is no id for a seller"),
        (["add", "company1", "--permission", "x"], f"'x' is no permission; allowed: {', '.join(POLICIES)}"),
        (["add", "company1", "--permission", ""], "'' is no permission; allowed: "),
        (["add", "company1", "--permission", f"{VIEW_INVOICES}:company1"], "is no permission"),
        (["add", "company1", "--preset", "x"], "'shop', 'prestashop'"),
        (["add", "company1", "--label", "x" * 101], "allowed: one line of up to 100 characters"),
        (["add", "company1", "--label", "a\x1b[31m"], "has control characters"),
        (["add", "company1", "--label", "a\nb"], "has control characters"),
        (["revoke"], "Missing argument 'KEY_ID'"),
        (["revoke", "x"], "the value is no id of a key; allowed: key_ and 16 letters and digits"),
        (["list", "a b"], "is no id for a seller"),
    ],
)
def test_wrong_values_are_usage_errors(run: Run, arguments: list[str], words: str) -> None:
    """The error names the allowed values, and nothing is stored."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert words in " ".join(result.stderr.split())
    assert keys_of("company1") == []


def test_a_key_that_is_given_as_an_id_is_not_repeated(run: Run) -> None:
    """The operator may confuse a key and its id."""
    assert "nt_secret" not in run("revoke", "nt_secret").output


def test_an_unknown_or_removed_seller_gets_no_key(run: Run) -> None:
    result = run("add", "nobody", "--json")
    assert (result.exit_code, result.stderr) == (
        1,
        "nodetill: there is no seller nobody; all sellers: seller list --all\n",
    )
    assert json.loads(result.stdout)["error"].startswith("there is no seller nobody")
    assert "there is no seller nobody" in run("list", "nobody").stderr
    Seller.update(removed_at=NOW).execute()
    assert "was removed" in run("add", "company1").stderr
    assert ApiKey.select().count() == 0


def test_a_revoked_key_never_works_again(run: Run) -> None:
    """Revoking again, or revoking an unknown id, is an error. With --all the list has the status."""
    added = document(run("add", "company1", "--label", "Woo", "--json"))
    other = document(run("add", "company1", "--json"))
    text = run("revoke", added["key_id"]).stdout
    assert text == f"The key {added['key_id']} (Woo) of seller company1 is revoked.\n"
    assert [works(each["api_key"]) for each in (added, other)] == [False, True]
    again = run("revoke", added["key_id"])
    assert again.exit_code == 1
    assert re.search(r"was revoked at 20\S+Z already", again.stderr)
    unknown = run("revoke", f"key_{'x' * 16}")
    assert unknown.exit_code == 1
    assert "there is no key key_xxxxxxxxxxxxxxxx; all keys: key list --all" in unknown.stderr
    assert [each["key_id"] for each in document(run("list", "--json"))] == [other["key_id"]]
    statuses = {each["key_id"]: each["status"] for each in document(run("list", "--all", "--json"))}
    assert statuses == {added["key_id"]: "revoked", other["key_id"]: "works"}
    assert document(run("revoke", other["key_id"], "--json"))["status"] == "revoked"
    assert run("list").stdout == "There are no keys.\n"


@pytest.mark.usefixtures("_terminal")
def test_revoking_a_key_needs_a_confirmation(run: Run) -> None:
    """The answer `n` changes nothing."""
    added = document(run("add", "company1", "--json"))
    refused = run("revoke", added["key_id"], answer="n\n")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert f"The key {added['key_id']} of seller company1 stops at once" in refused.stderr
    assert works(added["api_key"])
    assert run("revoke", added["key_id"], answer="y\n").exit_code == 0
    assert not works(added["api_key"])


def test_keys_are_listed_by_seller_with_their_status(run: Run) -> None:
    """The key of a removed seller and an expired key do not work."""
    first, gone = Seller.get(), new_seller("gone", removed_at=NOW)
    new_seller("a")
    new_key(first, key_hash="1", last_used_at=NOW, label="Shop")
    new_key(first, key_hash="2", expires_at=NOW)
    new_key(first, key_hash="3", expires_at=datetime.now(UTC) + timedelta(days=1))
    new_key(gone, key_hash="4")
    new_key(Seller.get(Seller.id == "a"), key_hash="5")
    listed = document(run("list", "--all", "--json"))
    assert [(each["seller_id"], each["status"]) for each in listed] == [
        ("a", "works"),
        ("company1", "works"),
        ("company1", "expired"),
        ("company1", "works"),
        ("gone", "seller removed"),
    ]
    assert listed[1]["last_used_at"] == "2026-11-23T12:00:00Z"
    text = run("list", "company1").stdout
    assert text.splitlines()[0].split("  ")[0] == "KEY"
    assert "EXPIRES" in text
    assert "STATUS" not in text
    assert "STATUS" in run("list", "company1", "--all").stdout
    assert len(document(run("list", "gone", "--all", "--json"))) == 1
