"""`manage.py settings` names each setting with its source, and prints no secret."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from config import Settings, variable_name
from manage import manage


@pytest.fixture(autouse=True)
def _in_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for row in fields(Settings):
        monkeypatch.delenv(variable_name(row), raising=False)


def run(*options: str, **environ: str) -> Result:
    return CliRunner(env=environ).invoke(manage, ["settings", *options])


def by_name(**environ: str) -> dict[str, Any]:
    result = run("--json", **environ)
    assert result.exit_code == 0, result.output
    return {each["name"]: each for each in json.loads(result.stdout)}


def test_every_setting_is_listed_with_its_source(tmp_path: Path) -> None:
    """The environment wins over .env. A file has its path."""
    (tmp_path / ".env").write_text("CONFIRMATIONS=3\nPAYMENT_EXPIRY=600\nMAIL_FROM_FILE=sender\n")
    (tmp_path / "sender").write_text("till@example.com\n")
    found = by_name(CONFIRMATIONS="2")
    assert [*found] == [variable_name(row) for row in fields(Settings)]
    expected = {
        "CONFIRMATIONS": ("2", "environment", None),
        "PAYMENT_EXPIRY": ("600", ".env", None),
        "MAIL_FROM": ("till@example.com", "file", "sender"),
        "LATE_PAYMENTS": ("review", "default", None),
    }
    shown = {name: (found[name]["value"], found[name]["source"], found[name]["file"]) for name in expected}
    assert shown == expected
    lines = [line.split() for line in run(CONFIRMATIONS="2").stdout.splitlines()]
    assert ["CONFIRMATIONS", "environment", "2"] in lines
    assert ["MAIL_FROM", "sender", "till@example.com"] in lines


def test_a_value_that_follows_from_other_settings_is_shown() -> None:
    """It is in force, although nobody has set it."""
    found = by_name(WEB_PORT="8081", HOME="/home/alice", BITCOIND_RPC_URL="http://127.0.0.1:18443")
    assert found["PUBLIC_URL"]["value"] == "http://127.0.0.1:8081"
    assert found["BITCOIND_COOKIE_FILE"]["value"] == "/home/alice/.bitcoin/regtest/.cookie"
    assert {found[name]["source"] for name in ("PUBLIC_URL", "BITCOIND_COOKIE_FILE")} == {"default"}
    assert found["WEBHOOK_PRIVATE_HOSTS"]["value"] is None


def test_no_secret_is_printed(tmp_path: Path) -> None:
    """The command prints only if each secret is set. The default of an address is no secret."""
    (tmp_path / "password").write_text("hunter2-in-a-file")
    (tmp_path / ".env").write_text("SMTP_URL=smtp://user:hunter2@mail.example.com\nMETRICS_TOKEN=hunter2\n")
    secrets = {
        "DATABASE_URL": "postgresql://user:hunter2@db/nodetill",
        "BITCOIND_RPC_URL": "http://user:hunter2@127.0.0.1:8332",
        "RATE_URL_KRAKEN": "https://rates.example/?key=hunter2",
        "OPERATOR_PASSWORD_FILE": "password",
    }
    for options in ([], ["--json"]):
        result = run(*options, **secrets)
        assert result.exit_code == 0, result.output
        assert "hunter2" not in result.output
    found = by_name(**secrets)
    set_ = {name for name, each in found.items() if each["is_secret"]}
    names = "DATABASE_URL BITCOIND_RPC_URL RATE_URL_KRAKEN OPERATOR_PASSWORD SMTP_URL METRICS_TOKEN"
    assert set_ == {*names.split()}
    assert {found[name]["value"] for name in set_} == {None}
    lines = [line.split() for line in run(**secrets).stdout.splitlines()]
    assert ["DATABASE_URL", "environment", "set"] in lines
    assert ["OPERATOR_PASSWORD", "password", "set"] in lines
    lines = [line.split() for line in run().stdout.splitlines()]
    assert ["OPERATOR_PASSWORD", "default", "unset"] in lines
    (tmp_path / ".env").unlink()
    assert by_name()["DATABASE_URL"]["value"] == "sqlite:///var/nodetill.db"


def test_wrong_settings_are_named_and_nothing_is_made(tmp_path: Path) -> None:
    """The exit status is the servers'. The command needs no database."""
    result = run(CONFIRMATIONS="many")
    assert (result.exit_code, result.stdout) == (78, "")
    assert result.stderr.startswith("nodetill: CONFIRMATIONS: ")
    assert run().exit_code == 0
    assert list(tmp_path.iterdir()) == []
