"""`manage.py link` makes, lists, shows and closes the same links as the API."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from admin.audit.links import link_differences
from admin.audit.stored import read_stored_state
from admin.main import manage
from config import load_settings
from models.db.connection import disconnect
from models.link import Link
from tests.support.links import LinkShop, link_settings
from tests.support.prepared_database import open_prepared
from tests.support.web_server import NOW, open_shop, stock
from web.api.links import document_of_link

Run = Callable[..., Result]
ESCAPE = "\x1b[31mred\x1b[0m"


@pytest.fixture
def run(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    with opened(database_url):
        stock(20)

    def call(*words: str, answer: str | None = None) -> Result:
        runner = CliRunner(env={"DATABASE_URL": database_url})
        return runner.invoke(manage, ["link", *words], input=answer)

    return call


@contextmanager
def opened(database_url: str) -> Iterator[None]:
    open_prepared(database_url)
    try:
        yield
    finally:
        disconnect()


def made(run: Run, *words: str) -> dict[str, Any]:
    """Make a link by the command, and return its document."""
    result = run("create", "company1", "Invoice 17", "BTC", *words, "--json")
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_a_link_is_shown_with_its_address_and_a_qr_code(run: Run, database_url: str) -> None:
    result = run("create", "company1", "Invoice 17", "btc", "--amount", "0.001", "--due", "2030-12-24")
    assert result.exit_code == 0, result.output
    with opened(database_url):
        link = Link.get()
    assert (link.amount_fiat, link.currency, f"{link.due_at:%Y-%m-%d %H:%M:%S}") == (
        "0.001",
        "BTC",
        "2030-12-24 23:59:59",
    )
    assert f"http://127.0.0.1:8080/l/{link.reference}" in result.stdout
    assert "\N{FULL BLOCK}" in result.stdout or "\N{LOWER HALF BLOCK}" in result.stdout


def test_json_is_the_document_of_the_api(run: Run, tmp_path: Path, database_url: str) -> None:
    words = ("--reusable", "--suggested", "0.001", "--suggested", "0.002", "--thanks", "Thank you")
    document = made(run, *words)
    assert document["suggested"] == ["0.001", "0.002"]
    assert json.loads(run("list", "--json").stdout) == [document]
    assert json.loads(run("show", document["link_id"], "--json").stdout) == document
    with opened(database_url):
        link, settings = Link.get(), load_settings({"DATABASE_URL": database_url}, tmp_path)
        assert document_of_link(link, settings, NOW) == document


def test_links_are_found(run: Run) -> None:
    """A shorter list has the number of links."""
    made(run, "--order-id", "17")
    closed = made(run, "--note", "An Alpaca")["link_id"]
    assert run("close", closed).exit_code == 0
    for words in (("--state", "closed"), ("--search", "alpaca"), ("--search", closed[:9])):
        result = run("list", *words, "--json")
        assert [each["link_id"] for each in json.loads(result.stdout)] == [closed]
    assert run("list", "--search", "nothing").stdout == "There are no such links.\n"
    assert run("list", "--limit", "1").stdout.endswith("\n1 of 2 links\n")
    assert "of 2" not in run("list").stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nobody", "a", "BTC"), "there is no seller nobody"),
        (("company1", "", "BTC"), "TITLE must have 1 to 100 characters"),
        (("company1", "a", "BTC", "--amount", "much"), "--amount must be a plain decimal number"),
        (("company1", "a", "BTC", "--amount", "1", "--minimum", "1"), "--minimum is only for a link"),
        (("company1", "a", "BTC", "--due", "soon"), "--due must be a time such as"),
        (("company1", "a", "BTC", "--order-id", "4" * 101), "--order-id must have 1 to 100 characters"),
    ],
)
def test_a_wrong_option_is_named(run: Run, database_url: str, words: tuple[str, ...], message: str) -> None:
    result = run("create", *words)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"nodetill: {message}")
    with opened(database_url):
        assert Link.select().count() == 0


def test_late_money_has_its_payment(tmp_path: Path, database_url: str) -> None:
    with open_shop(tmp_path, database_url, {"ADDRESS_POOL": "20"}) as server:
        shop = LinkShop(server, link_settings(tmp_path, database_url, {}))
        request = shop.request(link_id := shop.link())
        shop.expire(request)
        shop.pay(request)
    result = CliRunner(env={"DATABASE_URL": database_url}).invoke(manage, ["link", "show", link_id])
    assert f"{request.reference}: Came 1 s late. Its worth today is unknown" in " ".join(
        result.stdout.split()
    )


def test_a_link_is_closed_once(run: Run) -> None:
    link_id = made(run)["link_id"]
    for _ in range(2):
        result = run("close", link_id)
        assert (result.exit_code, result.stdout) == (0, f"Link {link_id}: closed.\n")
    assert run("close", "LK-x").exit_code == 1


def test_closing_is_confirmed_at_a_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed link is closed again without a question."""
    monkeypatch.setattr("admin.cli.is_interactive", lambda: True)
    link_id, other = made(run)["link_id"], made(run)["link_id"]
    refused = run("close", link_id, answer="n\n")
    assert (refused.exit_code, "cannot undo this" in refused.stderr) == (1, True)
    assert json.loads(run("show", link_id, "--json").stdout)["closed_at"] is None
    assert run("close", link_id, answer="y\n").exit_code == 0
    assert run("close", link_id).stdout == f"Link {link_id}: closed.\n"
    assert run("close", other, "--yes").exit_code == 0


def test_texts_control_no_terminal(run: Run, database_url: str) -> None:
    """The command prints no escape sequence, even if an older version or another program stored one."""
    link_id = made(run)["link_id"]
    with opened(database_url):
        Link.update(title=ESCAPE, order_id=ESCAPE, note=ESCAPE).execute()
    for words in (("list",), ("show", link_id)):
        result = run(*words)
        assert result.exit_code == 0
        assert "\x1b" not in result.stdout
        assert "[31mred" in result.stdout


def test_the_audit_finds_a_link_that_is_wrongly_paid(tmp_path: Path, database_url: str) -> None:
    """The audit computes the state again from the outputs."""
    environ = {"ADDRESS_POOL": "20"}
    with open_shop(tmp_path, database_url, environ) as server:
        shop = LinkShop(server, link_settings(tmp_path, database_url, environ))
        link_id = shop.link()
        output = shop.pay(shop.request(link_id), depth=6)

        def differences() -> list[str]:
            return [each.text for each in link_differences(read_stored_state().entries, shop.tip)]

        assert differences() == []
        Link.update(paid_at=None).execute()
        assert differences() == [f"link {link_id} is paid, but is stored as not paid"]
        Link.update(paid_at=NOW).execute()
        type(output).update(block_height=None, block_hash=None, state="mempool").execute()
        assert differences() == [f"link {link_id} is not paid, but is stored as paid"]
