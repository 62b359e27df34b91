"""The addresses of the feed: those of the settings, or with `auto` those that bitcoind itself names.

bitcoind names its addresses by getzmqnotifications, as bitcoin.conf has them (Bitcoin Core's doc/zmq.md).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from config import Settings
from config.addresses import is_ip_address, is_this_machine, is_unspecified_host, netloc_of
from daemon.node.types import Publication

RAWTX, HASHBLOCK, RAWBLOCK = "rawtx", "hashblock", "rawblock"
TRANSACTION_TOPICS, TIP_TOPICS = (RAWTX,), (HASHBLOCK, RAWBLOCK)
"""The topics that bring transactions, and the topics that announce a new tip. The first of each is best."""

RAWTX_SETTING, HASHBLOCK_SETTING = "BITCOIND_ZMQ_RAWTX", "BITCOIND_ZMQ_HASHBLOCK"

MIN_HWM = 20_000
"""More transactions than a block has. Each has at least 60 bytes, and all share one million bytes."""


@dataclass(frozen=True, slots=True)
class Source:
    """An address of the feed, and the topics to subscribe to. One of them is enough.

    `is_found` is true where the setting is `auto` and bitcoind has named the address.
    """

    topics: tuple[str, ...]
    address: str
    is_found: bool = False

    def __str__(self) -> str:
        return f"{self.topics[0]} at {self.address}"


@dataclass(frozen=True, slots=True)
class Sources:
    """The sources of transactions and of new tips. None stands for a source that is not there."""

    transactions: Source | None = None
    tips: Source | None = None


def choose(settings: Settings, published: Sequence[Publication] | None) -> Sources:
    """Return the sources by the settings, or with `auto` the best of the published ones.

    `published` is None where bitcoind does not answer this call.
    """
    host = settings.rpc_host
    return Sources(
        _source(settings.bitcoind_zmq_rawtx, TRANSACTION_TOPICS, published, host),
        _source(settings.bitcoind_zmq_hashblock, TIP_TOPICS, published, host),
    )


def _source(
    address: str | None, topics: tuple[str, ...], published: Sequence[Publication] | None, host: str
) -> Source | None:
    if address is None:
        return _best(topics, published or (), host)
    there = published_topics(topics, address, published or ())
    return Source(there[:1] or topics, address)


def published_topics(
    topics: tuple[str, ...], address: str, published: Sequence[Publication]
) -> tuple[str, ...]:
    """Return the given topics that bitcoind publishes at an address of the settings."""
    there = {each.topic for each in published if is_same_port(each.address, address)}
    return tuple(topic for topic in topics if topic in there)


def _best(topics: tuple[str, ...], published: Sequence[Publication], host: str) -> Source | None:
    """Return the source that loses the fewest messages, or None where none can be reached."""
    candidates = [
        (small_mark(each, published) is not None, topics.index(each.topic), seen)
        for each in published
        if each.topic in topics and not is_out_of_reach(each, host)
        for seen in _seen_from(each.address, host)
    ]
    if not candidates:
        return None
    _, topic, address = min(candidates, key=lambda each: each[:2])
    return Source((topics[topic],), address, is_found=True)


def is_out_of_reach(publication: Publication, host: str) -> bool:
    """Return whether only programs on bitcoind's own machine can connect, and RPC's `host` is another one.

    The same address on this machine may belong to another bitcoind.
    """
    parts = urlsplit(publication.address)
    is_local = parts.scheme != "tcp" or is_this_machine(parts.hostname or "")
    return is_local and not is_this_machine(host)


def small_mark(publication: Publication, published: Sequence[Publication]) -> int | None:
    """Return the high-water mark of the topic's queue if a block's transactions exceed it, else None.

    Topics at one address share one queue. Its mark is that of the first topic in the alphabet. Only rawtx has
    so many messages: the daemon's other subscription has a queue of its own.
    """
    if publication.topic != RAWTX:
        return None
    _, mark = min((each.topic, each.high_water_mark) for each in sharing(publication, published))
    return None if mark == 0 or mark >= MIN_HWM else mark


def sharing(publication: Publication, published: Sequence[Publication]) -> list[Publication]:
    """Return the topics at the address of this topic, itself included."""
    return [each for each in published if each.address == publication.address]


def is_same_port(published: str, listened: str) -> bool:
    """Compare the ports alone, because bitcoind may have a wildcard where we have a host."""
    if not published.startswith("tcp:"):
        return _socket_path(published) == _socket_path(listened)
    return port_of(published) == port_of(listened)


def port_of(address: str) -> int | None:
    """Return the port of a TCP address, or None where it has none, such as tcp://127.0.0.1:*."""
    parts = urlsplit(address)
    try:
        return parts.port if parts.scheme == "tcp" else None
    except ValueError:
        return None


def _seen_from(published: str, host: str) -> Iterator[str]:
    """Yield the address at which we reach a published address. Yield none if no client can connect to it."""
    if published.startswith(("ipc:", "unix:")):
        yield f"ipc://{_socket_path(published)}"
    port = port_of(published)
    if port is None:
        return
    theirs = urlsplit(published).hostname or ""
    # libzmq also binds to a network interface by its name, such as tcp://eth0:28332.
    is_specific = is_ip_address(theirs) and not is_unspecified_host(theirs)
    yield f"tcp://{netloc_of(theirs if is_specific else host, port)}"


def _socket_path(address: str) -> str:
    return address.removeprefix("ipc://").removeprefix("unix:")
