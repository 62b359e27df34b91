"""bitcoind is called through proxies of any kind, and at any of its addresses."""

import base64
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from daemon.node.errors import NodeError, RpcError
from daemon.node.rpc import Rpc
from tests.support.dead_address import NAME, dead_address, resolve
from tests.support.endpoint import Behaviour, Endpoint, Request, answers


@contextmanager
def rpc_of(behave: Behaviour) -> Iterator[Rpc]:
    """Connect to an HTTP server that stands for bitcoind."""
    with Endpoint(behave) as endpoint:
        rpc = Rpc(f"http://127.0.0.1:{endpoint.port}", lambda: "user:hidden")
        yield rpc
        rpc.close()


def result_answer(value: Any, status: int = 200, *headers: str) -> Behaviour:
    """Return a behaviour that answers with a result."""
    return answers(status, json.dumps({"result": value, "error": None, "id": 1}).encode(), *headers)


def error_answer(code: int, status: int, *headers: str) -> Behaviour:
    """Return a behaviour that answers with an error of bitcoind."""
    error = {"code": code, "message": "no"}
    return answers(status, json.dumps({"result": None, "error": error, "id": 1}).encode(), *headers)


CONTENT_TYPES = [
    "Content-Type: application/json",
    "Content-Type: application/json; charset=utf-8",
    "content-type: Application/JSON;charset=UTF-8",
    "Content-Type: text/plain",
    "Content-Type: application/json-rpc",
    "X: y",
]


@pytest.mark.parametrize("header", CONTENT_TYPES)
def test_an_answer_is_accepted_with_any_content_type(header: str) -> None:
    """A proxy may add a charset."""
    with rpc_of(result_answer("00ab", 200, header)) as rpc:
        assert rpc.call("getblockhash", 0) == "00ab"
    with rpc_of(answers(200, b'[{"id":0,"result":1,"error":null}]', header)) as rpc:
        assert rpc.batch("getblockhash", [[0]]) == [1]


@pytest.mark.parametrize("header", CONTENT_TYPES)
@pytest.mark.parametrize("status", [200, 404, 500])
def test_an_error_is_accepted_with_any_content_type(header: str, status: int) -> None:
    """bitcoind uses several HTTP statuses for errors."""
    with rpc_of(error_answer(-8, status, header)) as rpc, pytest.raises(RpcError) as caught:
        rpc.call("getblockhash", 0)
    assert caught.value.code == -8


@pytest.mark.parametrize("status", [401, 403, 429, 502, 503, 504])
@pytest.mark.parametrize(
    "body", [b"", b"hidden", b'{"error":"hidden"}', b'{"error":{"code":-8}}', b"[]", b"7"]
)
def test_a_refusal_of_a_proxy_is_no_answer_of_bitcoind(status: int, body: bytes) -> None:
    """The operator sees its status, but none of its text, even if that is JSON."""
    behave = answers(status, body, "Content-Type: application/json")
    with rpc_of(behave) as rpc, pytest.raises(NodeError) as caught:
        rpc.call("getblockhash", 0)
    assert "hidden" not in str(caught.value)
    expected = {401: "refuses our password", 403: "rpcallowip"}.get(status, str(status))
    assert expected in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"<html>", b"7", b'"x"', b"null", b"{}", b"[]", b"\xff"])
def test_an_answer_that_is_no_json_rpc_is_reported(body: bytes) -> None:
    """It has the status of a valid answer."""
    with rpc_of(answers(200, body)) as rpc, pytest.raises(NodeError, match="BITCOIND_RPC_URL"):
        rpc.call("getblockhash", 0)


def test_bitcoind_is_reached_by_a_live_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first address of its name drops every packet."""
    resolve(monkeypatch, "::1", "127.0.0.1")
    with Endpoint(result_answer(1)) as endpoint, dead_address("::1", endpoint.port):
        rpc = Rpc(f"http://{NAME}:{endpoint.port}", lambda: "user:hidden")
        assert rpc.call("getblockhash", 0) == 1
        rpc.close()


def test_the_password_is_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    """This holds for each level."""
    caplog.set_level(logging.DEBUG)
    with rpc_of(result_answer("00ab")) as rpc:
        rpc.call("getblockhash", 0)
    assert "hidden" not in caplog.text


@pytest.mark.parametrize("credentials", ["user:p/w@x?#%41", "__cookie__:c0ffee", "usér:pässwörd"])
def test_credentials_may_have_any_characters(credentials: str) -> None:
    """python-bitcoinrpc would not decode them in a URL."""
    with Endpoint(result_answer(1)) as endpoint:
        rpc = Rpc(f"http://127.0.0.1:{endpoint.port}", lambda: credentials)
        rpc.call("getwalletinfo", wallet="a b/c")
        rpc.close()
    (request,) = endpoint.requests
    assert request.line == "POST /wallet/a%20b%2Fc HTTP/1.1"
    assert user_of(request) == credentials


@pytest.mark.parametrize("header", ["X: y", "Connection: close"])
def test_a_new_connection_has_the_new_cookie(header: str) -> None:
    """bitcoind closes the connections when it stops, and makes a new cookie when it starts."""
    cookies = iter(["__cookie__:old", "__cookie__:new"])
    with Endpoint(result_answer(1, 200, header)) as endpoint:
        rpc = Rpc(f"http://127.0.0.1:{endpoint.port}", lambda: next(cookies))
        assert [rpc.call("getblockcount"), rpc.call("getblockcount")] == [1, 1]
        rpc.close()
    assert [user_of(request) for request in endpoint.requests] == ["__cookie__:old", "__cookie__:new"]


def user_of(request: Request) -> str:
    """Return the credentials of a request, as "user:password"."""
    return base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
