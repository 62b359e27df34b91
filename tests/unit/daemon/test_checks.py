"""The checks of bitcoind's ZMQ settings, which the daemon and the doctor share."""

import pytest

from daemon.node.checks import LEAST_MARK, mark_problem, place_problem
from daemon.node.types import Publication

ADDRESS, OTHER = "tcp://127.0.0.1:28332", "tcp://127.0.0.1:28333"


def test_no_or_a_large_high_water_mark_is_accepted() -> None:
    """It keeps the messages of a full block."""
    for mark in (0, LEAST_MARK):
        assert mark_problem("rawtx", ADDRESS, [Publication("rawtx", ADDRESS, mark)]) is None


def test_a_small_high_water_mark_is_reported_with_the_line_to_add() -> None:
    """bitcoind's default of 1000 is too small for transactions, but enough for blocks."""
    published = [Publication("rawtx", ADDRESS, 1000), Publication("hashblock", OTHER, 1000)]
    problem = mark_problem("rawtx", ADDRESS, published)
    assert problem is not None
    assert problem.endswith("add zmqpubrawtxhwm=0 to bitcoin.conf")
    assert mark_problem("hashblock", OTHER, published) is None


def test_topics_at_one_address_share_the_mark_of_the_first_topic() -> None:
    """bitcoind uses the first topic in the alphabet, so rawtx's own mark of 0 has no effect."""
    published = [Publication("rawtx", ADDRESS, 0), Publication("hashblock", ADDRESS, 1000)]
    for topic in ("rawtx", "hashblock"):
        problem = mark_problem(topic, ADDRESS, published)
        assert problem is not None
        assert "zmqpubhashblockhwm=0 and zmqpubrawtxhwm=0" in problem
    published = [Publication("rawtx", ADDRESS, 1000), Publication("hashblock", ADDRESS, 0)]
    assert mark_problem("rawtx", ADDRESS, published) is None


@pytest.mark.parametrize("published", ["tcp://0.0.0.0:29000", "tcp://127.0.0.1:29000", "tcp://[::]:29000"])
def test_another_port_is_reported_with_the_configured_host(published: str) -> None:
    """bitcoind may name all addresses of its machine, which is none to connect to."""
    problem = place_problem("rawtx", "tcp://node.internal:28332", [Publication("rawtx", published, 0)])
    assert problem is not None
    assert problem.endswith("set BITCOIND_ZMQ_RAWTX=tcp://node.internal:29000")


def test_a_unix_socket_is_reported_by_its_path() -> None:
    published = [Publication("rawtx", "ipc:///run/bitcoind.sock", 0)]
    assert place_problem("rawtx", "ipc:///run/bitcoind.sock", published) is None
    problem = place_problem("rawtx", ADDRESS, published)
    assert problem is not None
    assert problem.endswith("set BITCOIND_ZMQ_RAWTX=ipc:///run/bitcoind.sock")
