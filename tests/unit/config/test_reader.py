"""config/reader.py: the sources of settings, and the errors of wrong ones."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from config import Secret, SettingsError, likely_typos
from tests.support.settings import errors_of, load


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """An empty value counts as unset."""
    (tmp_path / ".env").write_text("CONFIRMATIONS=3\nWEB_PORT=9000\nexport LOG_FORMAT='json' # quoted\n")
    settings = load(tmp_path, CONFIRMATIONS="1", WEB_PORT="")
    assert (settings.confirmations, settings.web_port, settings.log_format) == (1, 9000, "json")


def test_the_file_has_no_variable_references(tmp_path: Path) -> None:
    """A $ in a password has no meaning, and a byte order mark is no part of a name."""
    (tmp_path / ".env").write_text("OPERATOR_PASSWORD=a${HOME}$b\n", encoding="utf-8-sig")
    settings = load(tmp_path, HOME="/home/till")
    assert settings.operator_password == Secret("a${HOME}$b")


def test_a_setting_may_be_the_content_of_a_file(tmp_path: Path) -> None:
    """NAME_FILE names the file. The newline at its end is no part of the value."""
    (tmp_path / "password").write_text("open sesame\n")
    (tmp_path / ".env").write_text("OPERATOR_PASSWORD=from .env\n")
    settings = load(tmp_path, OPERATOR_PASSWORD_FILE=str(tmp_path / "password"))
    assert settings.operator_password == Secret("open sesame")


def test_a_value_and_its_file_together_are_refused(tmp_path: Path) -> None:
    """The intended one would be unclear."""
    (fault,) = errors_of(tmp_path, OPERATOR_PASSWORD="a", OPERATOR_PASSWORD_FILE="b")
    assert fault == "OPERATOR_PASSWORD: is set beside OPERATOR_PASSWORD_FILE; allowed: one of the two"


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff", b"two\nlines"])
def test_a_file_without_a_valid_value_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """It is missing, empty, no text, or longer than a line."""
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    (fault,) = errors_of(tmp_path, OPERATOR_PASSWORD_FILE=str(tmp_path / "secret"))
    assert fault.startswith("OPERATOR_PASSWORD")
    assert "two" not in fault


def test_a_misspelt_name_in_the_file_is_refused_with_the_right_one(tmp_path: Path) -> None:
    """Only Nodetill uses `.env`, but other programs use the environment."""
    (tmp_path / ".env").write_text("CONFIRMATION=3\nPOSTGRES_VERSION=18\nweb_port=1\n")
    assert errors_of(tmp_path) == [
        "CONFIRMATION: is not a setting; allowed: CONFIRMATIONS",
        "web_port: is not a setting; allowed: WEB_PORT",
    ]
    assert load(tmp_path / "elsewhere", CONFIRMATION="3").confirmations == 6


@pytest.mark.parametrize("content", [b"CONFIRMATIONS\n", b"WEB_PORT='1\n", b"\xff\xfe"])
def test_an_unreadable_env_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """A skipped line could have an important setting."""
    (tmp_path / ".env").write_bytes(content)
    assert errors_of(tmp_path)[0].startswith(".env: ")


def test_all_faults_are_listed_at_once_each_in_a_line(tmp_path: Path) -> None:
    """Each line names the variable, the fault and the allowed values."""
    assert errors_of(tmp_path, CONFIRMATIONS="145", WEB_PORT="80\n", LATE_PAYMENTS="maybe") == [
        (
            "WEB_PORT: '80\\n' has characters that can't be printed, such as the end of a line; "
            "allowed: a whole number from 1 to 65535; for example WEB_PORT=8080"
        ),
        (
            "CONFIRMATIONS: '145' is too large; "
            "allowed: a whole number from 0 to 144; for example CONFIRMATIONS=6"
        ),
        (
            "LATE_PAYMENTS: 'maybe' is none of the choices; "
            "allowed: review or accept; for example LATE_PAYMENTS=review"
        ),
    ]


def test_a_misspelt_variable_of_the_environment_is_found() -> None:
    """It may be another program's variable, so it is no error."""
    environ = {"BITCOIN_RPC_URL": "x", "WEB_PORT": "1", "WEB_PORT_FILE": "x", "PATH": "x", "SMTP_URI": "x"}
    assert likely_typos(environ) == [("BITCOIN_RPC_URL", "BITCOIND_RPC_URL"), ("SMTP_URI", "SMTP_URL")]


@pytest.mark.parametrize("mode", [0o602, 0o620, 0o666, 0o660, 0o622])
def test_an_env_file_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    """Other users could redirect the money. The advised command works."""
    env_file = tmp_path / ".env"
    env_file.write_text("CONFIRMATIONS=3\nnonsense\n")
    env_file.chmod(mode)
    (fault,) = errors_of(tmp_path)
    assert ".env: can be written by other users" in fault
    assert f"chmod go-w {env_file}" in fault
    env_file.write_text("CONFIRMATIONS=3\n")
    env_file.chmod(mode & ~0o022)
    assert load(tmp_path).confirmations == 3


def test_the_mode_of_a_linked_env_file_is_checked(tmp_path: Path) -> None:
    """A link has no mode of its own."""
    target = tmp_path / "target"
    target.write_text("CONFIRMATIONS=3\n")
    target.chmod(0o646)
    (tmp_path / ".env").symlink_to(target)
    assert "can be written by other users" in errors_of(tmp_path)[0]


SECRETS: Mapping[str, str] = {
    "DATABASE_URL": "postgresql://till:hunter2@db/till",
    "BITCOIND_RPC_URL": "http://till:hunter2@127.0.0.1:8332",
    "SMTP_URL": "smtp://till:hunter2@mail.example.com",
    "OPERATOR_PASSWORD": "hunter2",
    "PROXY": "socks5h://till:hunter2@127.0.0.1:9050",
    "RATE_HEADER_COINGECKO": "x-cg-demo-api-key: hunter2",
}


def test_no_secret_is_printed(tmp_path: Path) -> None:
    """This holds for repr, str and format, of the settings and of a secret."""
    settings = load(tmp_path, **SECRETS)
    assert settings.rpc_password is not None
    texts = [repr(settings), str(settings.rpc_password), f"{settings.database_url}", "%s" % settings.mail]  # noqa: UP031
    assert all("hunter2" not in text for text in texts)
    assert settings.rpc_password.reveal() == "hunter2"


@pytest.mark.parametrize("name", ["DATABASE_URL", "BITCOIND_RPC_URL", "SMTP_URL", "PROXY"])
@pytest.mark.parametrize(
    "mistake",
    ["\t{}", "x{}", "{}:[", "http://u:{}@h:x", "smtp://u:{}@", "postgresql://u:{}@h", "socks5h://u:{}@h"],
)
def test_no_error_shows_a_secret(tmp_path: Path, name: str, mistake: str) -> None:
    """No error has a part of a wrong value, and no traceback has one."""
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, **{name: mistake.format("hunter2")})
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
