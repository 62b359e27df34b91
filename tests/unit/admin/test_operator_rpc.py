"""bitcoind's cookie is sent only to this machine's bitcoind, or to one whose cookie file is named."""

import base64
import socket
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from admin.doctor import feed
from manage import manage
from tests.support.endpoint import Endpoint, answers

COOKIE = "__cookie__:c0ffee"
TOKEN = base64.b64encode(COOKIE.encode()).decode()
ELSEWHERE = "node.example.com"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home directory with bitcoind's cookie. The name ELSEWHERE resolves to this machine.

    The doctor listens to the feed for a moment only, because nothing publishes there.
    """
    monkeypatch.setattr(feed, "LISTEN_SECONDS", 0.1)
    monkeypatch.setattr(feed, "LINGER_SECONDS", 0.1)
    (tmp_path / ".bitcoin").mkdir()
    (tmp_path / ".bitcoin" / ".cookie").write_text(COOKIE)
    find = socket.getaddrinfo

    def find_here(host: Any, *arguments: Any, **options: Any) -> Any:
        return find("127.0.0.1" if host == ELSEWHERE else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", find_here)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("command", [["wallet", "create"], ["doctor"]])
@pytest.mark.parametrize(
    ("host", "login", "is_named", "is_sent"),
    [
        ("127.0.0.1", "nodetill:wrong@", False, True),
        (ELSEWHERE, "nodetill:wrong@", False, False),
        (ELSEWHERE, "", False, False),
        (ELSEWHERE, "nodetill:wrong@", True, True),
    ],
)
def test_a_bitcoind_elsewhere_gets_only_a_named_cookie(
    home: Path, status: int, command: list[str], host: str, login: str, is_named: bool, is_sent: bool
) -> None:
    """It refuses the password of BITCOIND_RPC_URL. This machine's cookie allows to spend."""
    with Endpoint(answers(status)) as server:
        port = server.url.rpartition(":")[2].partition("/")[0]
        environ = {"HOME": str(home), "BITCOIND_RPC_URL": f"http://{login}{host}:{port}"}
        if is_named:
            environ["BITCOIND_COOKIE_FILE"] = str(home / ".bitcoin" / ".cookie")
        result = CliRunner(env=environ | {"RATE_SOURCES": "fixed:EUR=1"}).invoke(manage, command)
        sent = [str(request.headers) for request in server.requests]
    assert result.exit_code == 1
    assert "c0ffee" not in result.output
    if command == ["wallet", "create"] or not is_sent:
        assert any(TOKEN in headers for headers in sent) == is_sent
    if not login:
        assert "this machine's cookie is not sent there" in " ".join(result.output.split())
