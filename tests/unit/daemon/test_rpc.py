"""bitcoind is asked through proxies of any manners, and at any of its addresses."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from config import load_settings
from daemon.node.rpc import NodeError, Rpc, RpcError
from tests.support.dead_address import NAME, dead_address, resolve
from tests.support.endpoint import Behaviour, Endpoint, answers


@contextmanager
def rpc_of(behave: Behaviour, directory: Path, host: str = "127.0.0.1") -> Iterator[Rpc]:
    """Ask something that answers HTTP as if it were bitcoind."""
    with Endpoint(behave) as endpoint:
        url = f"http://user:hidden@{host}:{endpoint.port}"
        rpc = Rpc(load_settings({"BITCOIND_RPC_URL": url}, directory))
        yield rpc
        rpc.close()


def result(value: Any, status: int = 200, *headers: str) -> Behaviour:
    """Answer with a result."""
    return answers(status, json.dumps({"result": value, "error": None, "id": 1}).encode(), *headers)


def fault(code: int, status: int, *headers: str) -> Behaviour:
    """Answer with an error of bitcoind's."""
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
def test_an_answer_is_one_whatever_its_content_type_is(header: str, tmp_path: Path) -> None:
    """A proxy may add a charset."""
    with rpc_of(result("00ab", 200, header), tmp_path) as rpc:
        assert rpc.call("getblockhash", 0) == "00ab"
    with rpc_of(answers(200, b'[{"id":0,"result":1,"error":null}]', header), tmp_path) as rpc:
        assert rpc.batch("getblockhash", [[0]]) == [1]


@pytest.mark.parametrize("header", CONTENT_TYPES)
@pytest.mark.parametrize("status", [200, 404, 500])
def test_an_error_is_one_whatever_its_content_type_is(header: str, status: int, tmp_path: Path) -> None:
    """With the status that bitcoind gives it."""
    with rpc_of(fault(-8, status, header), tmp_path) as rpc, pytest.raises(RpcError) as caught:
        rpc.call("getblockhash", 0)
    assert caught.value.code == -8


@pytest.mark.parametrize("status", [401, 403, 429, 502, 503, 504])
@pytest.mark.parametrize(
    "body", [b"", b"hidden", b'{"error":"hidden"}', b'{"error":{"code":-8}}', b"[]", b"7"]
)
def test_a_refusal_of_a_proxy_is_no_answer_of_bitcoind(status: int, body: bytes, tmp_path: Path) -> None:
    """Even where it is JSON. The operator reads its status, and nothing that it has written."""
    behave = answers(status, body, "Content-Type: application/json")
    with rpc_of(behave, tmp_path) as rpc, pytest.raises(NodeError) as caught:
        rpc.call("getblockhash", 0)
    assert "hidden" not in str(caught.value)
    expected = {401: "refuses our password", 403: "rpcallowip"}.get(status, str(status))
    assert expected in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"<html>", b"7", b'"x"', b"null", b"{}", b"[]", b"\xff"])
def test_what_is_no_answer_is_told_as_that(body: bytes, tmp_path: Path) -> None:
    """With the status of one that is."""
    with rpc_of(answers(200, body), tmp_path) as rpc, pytest.raises(NodeError, match="BITCOIND_RPC_URL"):
        rpc.call("getblockhash", 0)


def test_bitcoind_is_reached_by_the_address_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the first one of its name swallows every packet."""
    resolve(monkeypatch, "::1", "127.0.0.1")
    with Endpoint(result(1)) as endpoint, dead_address("::1", endpoint.port):
        rpc = Rpc(load_settings({"BITCOIND_RPC_URL": f"http://u:p@{NAME}:{endpoint.port}"}, tmp_path))
        assert rpc.call("getblockhash", 0) == 1
        rpc.close()


def test_nothing_of_the_password_gets_into_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """On any level."""
    caplog.set_level(logging.DEBUG)
    with rpc_of(result("00ab"), tmp_path) as rpc:
        rpc.call("getblockhash", 0)
    assert "hidden" not in caplog.text
