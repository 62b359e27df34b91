"""What bitcoind publishes, and whether that is enough: the words of the daemon and of the doctor."""

import pytest

from daemon.node.checks import LEAST_MARK, mark_problem, place_problem
from daemon.node.types import Publication

ADDRESS, OTHER = "tcp://127.0.0.1:28332", "tcp://127.0.0.1:28333"


def test_a_mark_of_none_or_of_many_is_right() -> None:
    """A full block's messages are kept."""
    for mark in (0, LEAST_MARK):
        assert mark_problem("rawtx", ADDRESS, [Publication("rawtx", ADDRESS, mark)]) is None


def test_a_small_mark_is_told_with_the_line_to_add() -> None:
    """As bitcoind's default of 1000 is; for blocks alone it is enough."""
    published = [Publication("rawtx", ADDRESS, 1000), Publication("hashblock", OTHER, 1000)]
    problem = mark_problem("rawtx", ADDRESS, published)
    assert problem is not None
    assert problem.endswith("add zmqpubrawtxhwm=0 to bitcoin.conf")
    assert mark_problem("hashblock", OTHER, published) is None


def test_topics_at_one_address_have_the_mark_of_the_first_in_the_alphabet() -> None:
    """rawtx's own mark of 0 does not help beside a hashblock, whatever bitcoind says."""
    published = [Publication("rawtx", ADDRESS, 0), Publication("hashblock", ADDRESS, 1000)]
    for topic in ("rawtx", "hashblock"):
        problem = mark_problem(topic, ADDRESS, published)
        assert problem is not None
        assert "zmqpubhashblockhwm=0 and zmqpubrawtxhwm=0" in problem
    published = [Publication("rawtx", ADDRESS, 1000), Publication("hashblock", ADDRESS, 0)]
    assert mark_problem("rawtx", ADDRESS, published) is None


@pytest.mark.parametrize("published", ["tcp://0.0.0.0:29000", "tcp://127.0.0.1:29000", "tcp://[::]:29000"])
def test_another_port_is_told_as_it_is_seen_from_here(published: str) -> None:
    """bitcoind may name all of its machine's addresses, which is none to connect to."""
    problem = place_problem("rawtx", "tcp://node.internal:28332", [Publication("rawtx", published, 0)])
    assert problem is not None
    assert problem.endswith("set BITCOIND_ZMQ_RAWTX=tcp://node.internal:29000")


def test_a_unix_socket_is_told_by_its_path() -> None:
    """As bitcoin.conf has it."""
    published = [Publication("rawtx", "ipc:///run/bitcoind.sock", 0)]
    assert place_problem("rawtx", "ipc:///run/bitcoind.sock", published) is None
    problem = place_problem("rawtx", ADDRESS, published)
    assert problem is not None
    assert problem.endswith("set BITCOIND_ZMQ_RAWTX=ipc:///run/bitcoind.sock")
