"""The choice of the feed's addresses, and the lines about them, which the daemon and the doctor share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from config import Settings, load_settings
from daemon.node.client import Bitcoind
from daemon.node.errors import METHOD_NOT_FOUND, NodeError, NodeRefused, RpcError
from daemon.node.feed_checks import FeedSetUp, find_feed
from daemon.node.feed_places import MIN_HWM, Source, Sources, choose
from daemon.node.types import Publication

ADDRESS, OTHER = "tcp://127.0.0.1:28332", "tcp://127.0.0.1:28333"
LOCAL, REMOTE = "http://127.0.0.1:8332", "http://u:p@node.internal:8332"

LoadSettings = Callable[..., Settings]


@pytest.fixture
def settings_of(tmp_path: Path) -> LoadSettings:
    """Return a function that loads the settings."""
    return lambda url=LOCAL, **more: load_settings({"BITCOIND_RPC_URL": url, **more}, tmp_path)


def published(*topics: tuple[str, str] | tuple[str, str, int]) -> list[Publication]:
    """Return these topics with their addresses. The default of the high-water mark is that of bitcoind."""
    return [Publication(topic, address, *(mark or [1000])) for topic, address, *mark in topics]


class OneCall(Bitcoind):
    """A bitcoind that answers what it publishes, or raises an error."""

    def __init__(self, answer: list[Publication] | Exception) -> None:
        self._answer = answer

    def publications(self) -> list[Publication]:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def found(settings: Settings, answer: list[Publication] | Exception) -> FeedSetUp:
    return find_feed(settings, OneCall(answer))


def chosen(settings: Settings, *topics: tuple[str, str] | tuple[str, str, int]) -> tuple[str, str]:
    """Return the addresses that auto chooses, "-" for none, the topic after that of rawblock."""
    sources = choose(settings, published(*topics))
    return (
        "-" if sources.transactions is None else sources.transactions.address,
        "-" if sources.tips is None else f"{sources.tips.address} {sources.tips.topics[0]}",
    )


# auto


def test_auto_takes_what_bitcoind_names(settings_of: LoadSettings) -> None:
    sources = choose(settings_of(), published(("rawtx", ADDRESS), ("hashblock", OTHER)))
    assert sources == Sources(Source(("rawtx",), ADDRESS, True), Source(("hashblock",), OTHER, True))


@pytest.mark.parametrize("host", ["0.0.0.0", "*", "[::]", "eth0"])
@pytest.mark.parametrize(
    ("url", "reached"),
    [(LOCAL, "127.0.0.1"), (REMOTE, "node.internal"), ("http://[fd00::1]:8332", "[fd00::1]")],
)
def test_a_wildcard_stands_for_the_host_of_the_rpc_url(
    settings_of: LoadSettings, url: str, reached: str, host: str
) -> None:
    """libzmq also binds to the name of a network interface."""
    place = f"tcp://{host}:28332"
    addresses = chosen(settings_of(url), ("rawtx", place), ("hashblock", place))
    assert addresses == (f"tcp://{reached}:28332", f"tcp://{reached}:28332 hashblock")


def test_an_address_of_bitcoind_s_machine_stays_as_it_is(settings_of: LoadSettings) -> None:
    addresses = chosen(settings_of(REMOTE), ("rawtx", "tcp://10.0.0.5:1"), ("hashblock", "tcp://[fd00::2]:2"))
    assert addresses == ("tcp://10.0.0.5:1", "tcp://[fd00::2]:2 hashblock")


def test_a_unix_socket_stays_as_it_is(settings_of: LoadSettings) -> None:
    """getzmqnotifications has libzmq's form, also where bitcoin.conf has the other one."""
    addresses = chosen(settings_of(), ("rawtx", "ipc:///run/a"), ("hashblock", "unix:/run/b"))
    assert addresses == ("ipc:///run/a", "ipc:///run/b hashblock")


def test_rawblock_takes_the_place_of_hashblock(settings_of: LoadSettings) -> None:
    """hashblock is shorter, so it comes first."""
    assert chosen(settings_of(), ("rawblock", OTHER)) == ("-", f"{OTHER} rawblock")
    assert chosen(settings_of(), ("rawblock", OTHER), ("hashblock", ADDRESS))[1] == f"{ADDRESS} hashblock"


def test_other_topics_and_addresses_without_a_port_are_left_out(settings_of: LoadSettings) -> None:
    topics = (("hashtx", ADDRESS), ("sequence", ADDRESS), ("rawtx", "tcp://127.0.0.1:*"))
    assert chosen(settings_of(), *topics) == ("-", "-")


def test_the_address_that_loses_least_is_chosen(settings_of: LoadSettings) -> None:
    """A queue of its own with mark 0 is better than the default, also where the default comes first."""
    topics = (("rawtx", ADDRESS), ("hashblock", ADDRESS), ("rawtx", OTHER, 0))
    assert chosen(settings_of(), *topics)[0] == OTHER


def test_an_address_that_another_machine_reaches_is_chosen(settings_of: LoadSettings) -> None:
    topics = (("rawtx", ADDRESS, 0), ("rawtx", "ipc:///run/a", 0), ("rawtx", "tcp://0.0.0.0:28334"))
    assert chosen(settings_of(REMOTE), *topics)[0] == "tcp://node.internal:28334"


@pytest.mark.parametrize("place", [OTHER, "tcp://[::1]:28333", "ipc:///run/a"])
def test_an_address_of_another_machine_alone_is_advice(settings_of: LoadSettings, place: str) -> None:
    """On this machine, the same address may belong to another bitcoind."""
    topics = published(("rawtx", place, 0), ("hashblock", "tcp://0.0.0.0:28334"))
    it = found(settings_of(REMOTE), topics)
    assert it.sources.transactions is None
    (line,) = it.advice
    assert f"publishes rawtx at {place}, which only programs on its own machine can reach" in line
    assert f"zmqpubrawtx=tcp://0.0.0.0:{28332 if 'ipc' in place else 28333} into bitcoin.conf" in line
    assert found(settings_of(), topics).advice == ()


def test_a_setting_wins_over_what_bitcoind_names(settings_of: LoadSettings) -> None:
    """At its address either of hashblock and rawblock is taken, and both where bitcoind does not answer."""
    settings = settings_of(BITCOIND_ZMQ_RAWTX=OTHER, BITCOIND_ZMQ_HASHBLOCK=OTHER)
    sources = choose(settings, published(("rawtx", ADDRESS), ("rawblock", OTHER)))
    assert sources == Sources(Source(("rawtx",), OTHER), Source(("rawblock",), OTHER))
    assert choose(settings, None).tips == Source(("hashblock", "rawblock"), OTHER)
    assert choose(settings_of(), None) == Sources(None, None)


# Advice


def test_no_or_a_large_high_water_mark_is_accepted(settings_of: LoadSettings) -> None:
    """It keeps the messages of a full block."""
    for mark in (0, MIN_HWM):
        topics = published(("rawtx", ADDRESS, mark), ("hashblock", OTHER))
        assert found(settings_of(), topics).advice == ()


def test_a_small_high_water_mark_is_advice_with_the_line_to_add(settings_of: LoadSettings) -> None:
    """bitcoind's default of 1000 is too small for transactions, but enough for blocks."""
    it = found(settings_of(), published(("rawtx", ADDRESS), ("hashblock", OTHER)))
    (line,) = it.advice
    assert line.endswith("add zmqpubrawtxhwm=0 to bitcoin.conf")
    assert it.problems == ()


def test_topics_at_one_address_share_the_mark_of_the_first_topic(settings_of: LoadSettings) -> None:
    """bitcoind uses the first topic in the alphabet, so rawtx's own mark of 0 has no effect."""
    (line,) = found(settings_of(), published(("rawtx", ADDRESS, 0), ("hashblock", ADDRESS))).advice
    assert "keeps 1000 messages of rawtx" in line
    assert line.endswith("add zmqpubhashblockhwm=0 and zmqpubrawtxhwm=0 to bitcoin.conf")
    assert found(settings_of(), published(("rawtx", ADDRESS), ("hashblock", ADDRESS, 0))).advice == ()


def test_an_unpublished_topic_is_advice_with_a_free_port(settings_of: LoadSettings) -> None:
    """The daemon finds payments and blocks by itself, so it is no problem."""
    it = found(settings_of(), [])
    rawtx, hashblock = it.advice
    assert "add zmqpubrawtx=tcp://127.0.0.1:28332 and zmqpubrawtxhwm=0 to bitcoin.conf" in rawtx
    assert "add zmqpubhashblock=tcp://127.0.0.1:28333 and" in hashblock
    assert "about every 2 s" in rawtx
    assert it.problems == ()
    (line,) = found(settings_of(REMOTE), published(("rawtx", "tcp://0.0.0.0:28332", 0))).advice
    assert "add zmqpubhashblock=tcp://0.0.0.0:28334 and" in line


@pytest.mark.parametrize("url", ["http://poor:p@127.0.0.1:8332", LOCAL])
def test_a_whitelist_without_the_call_is_advice_with_the_line(settings_of: LoadSettings, url: str) -> None:
    """With both addresses in the settings, the call is not needed."""
    refusal = NodeRefused("bitcoind does not let this user call getzmqnotifications: add it to rpcwhitelist")
    it = found(settings_of(url), refusal)
    (line,) = it.advice
    assert f"rpcwhitelist={'poor' if 'poor' in url else 'USER'}:…,getzmqnotifications" in line
    assert "set BITCOIND_ZMQ_RAWTX and BITCOIND_ZMQ_HASHBLOCK" in line
    assert (it.sources, it.problems) == (Sources(), ())
    settings = settings_of(url, BITCOIND_ZMQ_RAWTX=ADDRESS, BITCOIND_ZMQ_HASHBLOCK=OTHER)
    assert found(settings, refusal).advice == ()


def test_a_bitcoind_without_zmq_is_advice(settings_of: LoadSettings) -> None:
    (line,) = found(settings_of(), RpcError(METHOD_NOT_FOUND, "Method not found")).advice
    assert "built without ZMQ" in line


def test_no_answer_is_an_outage(settings_of: LoadSettings) -> None:
    for error in (NodeError("no answer"), RpcError(-1, "odd")):
        with pytest.raises(type(error)):
            found(settings_of(), error)


# Problems of addresses in the settings


@pytest.mark.parametrize("named", ["tcp://0.0.0.0:29000", "tcp://127.0.0.1:29000", "tcp://[::]:29000"])
def test_another_port_is_reported_with_the_configured_host(settings_of: LoadSettings, named: str) -> None:
    """bitcoind may name all addresses of its machine, which is none to connect to."""
    settings = settings_of(BITCOIND_ZMQ_RAWTX="tcp://node.internal:28332")
    (problem,) = found(settings, published(("rawtx", named, 0), ("hashblock", OTHER))).problems
    assert problem.endswith(
        "set BITCOIND_ZMQ_RAWTX=auto, or set BITCOIND_ZMQ_RAWTX=tcp://node.internal:29000"
    )


def test_a_unix_socket_is_reported_by_its_path(settings_of: LoadSettings) -> None:
    topics = published(("rawtx", "ipc:///run/bitcoind.sock", 0), ("hashblock", OTHER))
    assert found(settings_of(BITCOIND_ZMQ_RAWTX="ipc:///run/bitcoind.sock"), topics).problems == ()
    (problem,) = found(settings_of(BITCOIND_ZMQ_RAWTX=ADDRESS), topics).problems
    assert problem.endswith("set BITCOIND_ZMQ_RAWTX=ipc:///run/bitcoind.sock")


def test_either_of_hashblock_and_rawblock_suffices(settings_of: LoadSettings) -> None:
    settings = settings_of(BITCOIND_ZMQ_HASHBLOCK=OTHER)
    for topic in ("hashblock", "rawblock"):
        assert found(settings, published(("rawtx", ADDRESS, 0), (topic, OTHER))).problems == ()
    (problem,) = found(settings, published(("rawtx", OTHER, 0))).problems
    assert f"add zmqpubhashblock={OTHER} and zmqpubhashblockhwm=0" in problem
