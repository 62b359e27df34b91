"""Problems and advice about bitcoind's ZMQ feed. Each is a line with its cure.

A wrong setting is a problem. A topic that bitcoind does not publish, or publishes with losses, is advice: the
daemon finds each payment without the feed, too. The log, /health, the operator's page and
`manage.py doctor` show the same lines.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from config import Settings
from config.addresses import is_ip_address, is_this_machine
from daemon.node.client import Bitcoind
from daemon.node.errors import METHOD_NOT_FOUND, NodeRefused, RpcError
from daemon.node.feed_places import (
    HASHBLOCK,
    HASHBLOCK_SETTING,
    RAWTX,
    RAWTX_SETTING,
    TIP_TOPICS,
    TRANSACTION_TOPICS,
    Source,
    Sources,
    choose,
    is_out_of_reach,
    is_same_port,
    port_of,
    published_topics,
    sharing,
    small_mark,
)
from daemon.node.types import Publication

LOOK_SECONDS = 2.0
"""The interval of the looks at chain and mempool while a part of the feed is missing."""

MEANWHILE = f"Nodetill looks at the chain and the mempool about every {LOOK_SECONDS:g} s instead"
FIRST_PORT = 28_332


@dataclass(frozen=True, slots=True)
class Part:
    """The feed's transactions or new tips. `configured` is None for `auto`."""

    name: str
    setting: str
    topics: tuple[str, ...]
    configured: str | None
    source: Source | None


@dataclass(frozen=True, slots=True)
class FeedSetUp:
    """The feed as it is found. `published` is None where bitcoind does not name its topics."""

    sources: Sources
    published: Sequence[Publication] | None
    problems: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()


def find_feed(settings: Settings, node: Bitcoind) -> FeedSetUp:
    """Request bitcoind's topics, and return the sources with their problems and advice.

    Raise NodeError or RpcError where bitcoind does not answer.
    """
    published, refusal = _published(settings, node)
    sources = choose(settings, published)
    parts = feed_parts(settings, sources)
    if published is None:
        is_auto = any(part.configured is None for part in parts)
        return FeedSetUp(sources, None, advice=(refusal,) if is_auto else ())
    problems = [problem for part in parts if (problem := place_problem(part, published)) is not None]
    lines = [line for part in parts for line in part_advice(part, published, settings.rpc_host)]
    return FeedSetUp(sources, published, tuple(problems), tuple(lines))


def feed_parts(settings: Settings, sources: Sources) -> tuple[Part, Part]:
    return (
        Part(RAWTX, RAWTX_SETTING, TRANSACTION_TOPICS, settings.bitcoind_zmq_rawtx, sources.transactions),
        Part(HASHBLOCK, HASHBLOCK_SETTING, TIP_TOPICS, settings.bitcoind_zmq_hashblock, sources.tips),
    )


def place_problem(part: Part, published: Sequence[Publication]) -> str | None:
    """Return a line if bitcoind does not publish the part at the address of its setting."""
    address, setting = part.configured, part.setting
    if address is None or published_topics(part.topics, address, published):
        return None
    published_at = [each.address for each in published if each.topic in part.topics]
    if not published_at:
        return (
            f"bitcoind does not publish {part.name} over ZMQ: "
            f"add zmqpub{part.name}={_as_published(address)} and zmqpub{part.name}hwm=0 to bitcoin.conf"
        )
    return (
        f"bitcoind publishes {part.name} at {', '.join(published_at)}, but {setting} is {address}: "
        f"set {setting}=auto, or set {setting}={_seen_from_here(published_at[0], address)}"
    )


def part_advice(part: Part, published: Sequence[Publication], host: str) -> Iterator[str]:
    """Yield a line for each thing that bitcoind could do better. `host` is that of BITCOIND_RPC_URL."""
    if part.configured is None and part.source is None:
        yield _absence_advice(part, published, host)
    mark = mark_advice(part, published)
    if mark is not None:
        yield mark


def mark_advice(part: Part, published: Sequence[Publication]) -> str | None:
    """Return a line if a full block has more messages than bitcoind queues for a slow subscriber."""
    for each in published:
        mark = small_mark(each, published) if _is_source(part.source, each) else None
        if mark is not None:
            names = sorted(other.topic for other in sharing(each, published))
            return (
                f"bitcoind keeps {mark} messages of {each.topic} at {each.address}, and a block may have "
                "more. Nodetill notices a lost message by the next one, and then looks at the chain and the "
                "mempool. "
                f"To lose none, add {' and '.join(f'zmqpub{name}hwm=0' for name in names)} to bitcoin.conf"
            )
    return None


def silence_advice(source: Source) -> str:
    """Return a line for a source that bitcoind names, but to which there is no connection."""
    return (
        f"there is no ZMQ connection to {source}, which bitcoind names. {MEANWHILE}. "
        "Check that no firewall blocks it"
    )


def _absence_advice(part: Part, published: Sequence[Publication], host: str) -> str:
    """Return a line for a part that bitcoind does not publish, or not where we can reach it."""
    named = [each for each in published if each.topic in part.topics and is_out_of_reach(each, host)]
    if named:
        topic, port = named[0].topic, port_of(named[0].address) or _free_port(part, published)
        return (
            f"bitcoind publishes {topic} at {named[0].address}, which only programs on its own machine can "
            f"reach. {MEANWHILE}. To be faster, write zmqpub{topic}=tcp://0.0.0.0:{port} into "
            "bitcoin.conf, and open that port to Nodetill's machine only"
        )
    lack = "does not publish rawtx" if part.name == RAWTX else "publishes neither hashblock nor rawblock"
    listens = "127.0.0.1" if is_this_machine(host) else "0.0.0.0"  # noqa: S104
    return (
        f"bitcoind {lack} over ZMQ. {MEANWHILE}. To be faster, add "
        f"zmqpub{part.name}=tcp://{listens}:{_free_port(part, published)} and zmqpub{part.name}hwm=0 to "
        "bitcoin.conf"
    )


def _published(settings: Settings, node: Bitcoind) -> tuple[list[Publication] | None, str]:
    """Return what bitcoind publishes, or None with a line where it never answers that."""
    cure = (
        f"or set {RAWTX_SETTING} and {HASHBLOCK_SETTING} to the addresses of zmqpubrawtx and "
        f"zmqpubhashblock. {MEANWHILE}"
    )
    try:
        return node.publications(), ""
    except NodeRefused as error:
        user = settings.rpc_username or "USER"
        return None, f"{error} (rpcwhitelist={user}:…,getzmqnotifications), {cure}"
    except RpcError as error:
        if error.code != METHOD_NOT_FOUND:
            raise
        return None, f"bitcoind was built without ZMQ. {MEANWHILE}. To be faster, run a bitcoind that has ZMQ"


def _is_source(source: Source | None, publication: Publication) -> bool:
    return (
        source is not None
        and publication.topic in source.topics
        and is_same_port(publication.address, source.address)
    )


def _free_port(part: Part, published: Sequence[Publication]) -> int:
    """Return a port for a topic that is not published yet. Both parts may need one."""
    taken = {port_of(each.address) for each in published}
    ports = [port for port in range(FIRST_PORT, FIRST_PORT + len(taken) + 2) if port not in taken]
    return ports[0] if part.name == RAWTX else ports[1]


def _as_published(address: str) -> str:
    """Return the address for bitcoin.conf that publishes at our address."""
    if address.startswith("ipc://"):
        # Bitcoin Core does not accept libzmq's own form.
        return f"unix:{address.removeprefix('ipc://')}"
    parts = urlsplit(address)
    if parts.scheme != "tcp" or parts.hostname is None or is_ip_address(parts.hostname):
        return address
    # libzmq does not bind to a host name.
    return f"tcp://{'127.0.0.1' if parts.hostname == 'localhost' else '0.0.0.0'}:{parts.port}"  # noqa: S104


def _seen_from_here(published: str, listened: str) -> str:
    """Return the address that bitcoind publishes at, with our name for its host."""
    theirs, ours = urlsplit(published), urlsplit(listened)
    if theirs.scheme != "tcp" or ours.scheme != "tcp":
        return published
    return f"tcp://{ours.netloc.rpartition(':')[0]}:{theirs.port}"
