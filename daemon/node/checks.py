"""Problems of bitcoind that keep Nodetill from its work. Each problem is a line with its cure.

The daemon's log, /health and `manage.py doctor` show the same lines.
"""

from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from config import Settings
from config.addresses import is_ip_address
from config.command import manage_command
from daemon.node.client import GET_BLOCKS_BACK, Bitcoind
from daemon.node.rpc import METHOD_NOT_FOUND, WALLET_NOT_FOUND, NodeError, NodeRefused, RpcError
from daemon.node.types import NodeTip, Publication
from daemon.unit_of_work import unit_of_work
from models.address import Address
from models.block import stored_tip
from models.command import blocks_to_follow
from models.daemon_status import DaemonReport, daemon_report, update_report

NO_WALLETS = (
    "bitcoind runs without wallets: add a wallet by its descriptor, which needs none (manage.py wallet add), "
    "or remove disablewallet=1 from bitcoin.conf"
)
CATCHING_UP = "bitcoind's chain is behind the one already read; nothing is decided until it has caught up"
STALLED = (
    "bitcoind's chain has less work than the one already read, and has not caught up for an hour; nothing is "
    "decided. See that bitcoind has peers. If its chain is the one that you mean (after a split, "
    "invalidateblock, or the reset of a test network), run manage.py chain follow"
)
LOADING = "bitcoind is still loading its mempool; nothing is decided until it is done"
DOWNLOADING = "bitcoind is in initial block download; nothing is decided until it is done"

MIN_HEIGHT = 100
"""Above this height no reorg replaces block 1, so block 1 identifies the chain."""

LEAST_MARK = 20_000
"""More transactions than a block has. Each has at least 60 bytes, and all share one million bytes."""


class WrongChain(Exception):
    """bitcoind is on another chain than this database."""


def check_chain(node: Bitcoind, tip: NodeTip) -> None:
    """Raise WrongChain unless the node is on the chain of this database. Store the chain's name.

    The operator may order to follow another chain of the same name. Its first block is stored later.
    """
    report = daemon_report()
    problem = chain_problem(node, tip, report)
    if problem is not None and not (report.chain == tip.chain and is_ordered(node)):
        raise WrongChain(problem)
    found: dict[str, str | None] = {"chain": tip.chain} if report.chain is None else {}
    if problem is not None:
        found["first_block"] = None
    elif report.first_block is None and tip.height >= MIN_HEIGHT and _has_stored_tip(node):
        found["first_block"] = str(node.block_hash(1))
    if found:
        with unit_of_work("chain-named"):
            update_report(**found)


def refuse_other_chain(node: Bitcoind) -> None:
    """Raise WrongChain, or NodeError where the node's chain has less work than the chain already read."""
    tip, stored = node.tip(), stored_tip()
    check_chain(node, tip)
    if stored is not None and tip.chainwork < stored.chainwork:
        raise NodeError(CATCHING_UP)


def is_ordered(node: Bitcoind) -> bool:
    """Return whether the operator has ordered to follow a chain that the node is still on."""
    headers = (node.header(block_hash) for block_hash in blocks_to_follow())
    return any(header is not None and header["confirmations"] > 0 for header in headers)


def chain_problem(node: Bitcoind, tip: NodeTip, report: DaemonReport) -> str | None:
    """Return a line if the node is on another chain than the database. Return None if both may agree."""
    if report.chain not in (None, tip.chain):
        return (
            f"bitcoind is on chain {tip.chain}, but this database belongs to {report.chain}: "
            "correct BITCOIND_RPC_URL or DATABASE_URL"
        )
    first_block = node.block_hash(1) if report.first_block is not None else None
    # A node without block 1 has not downloaded any block yet.
    if first_block in (None, report.first_block):
        return None
    return (
        f"bitcoind follows another {tip.chain} chain than this database: its block 1 is {first_block}, the "
        f"database's is {report.first_block}. Correct BITCOIND_RPC_URL or DATABASE_URL; for a chain "
        f"that was reset, set DATABASE_URL to a new database, or follow it by {manage_command()} chain follow"
    )


def _has_stored_tip(node: Bitcoind) -> bool:
    stored = stored_tip()
    return stored is None or node.block_hash(stored.height) == stored.hash


def pruning_problem(tip: NodeTip, read_height: int) -> str | None:
    """Return a line if blocks above the last one that was read are pruned."""
    if tip.pruned_below <= read_height + 1:
        return None
    return (
        f"blocks {read_height + 1} to {tip.pruned_below - 1} are not read yet, and bitcoind has pruned them; "
        f"they are not skipped, since payments may be in them: {GET_BLOCKS_BACK}"
    )


def feed_problems(settings: Settings, node: Bitcoind) -> list[str]:
    """Return a line for each problem that keeps transactions or blocks from the feed."""
    published = node.publications()
    problems = [place_problem(*topic, published) for topic in topics(settings)]
    return [problem for problem in (*problems, relay_problem(node)) if problem is not None]


def relay_problem(node: Bitcoind) -> str | None:
    """Return a line if bitcoind gets no transactions from its peers. Return None if that is unknown."""
    if node.relays_transactions() is not False:
        return None
    return (
        "bitcoind requests no transactions from its peers, so a payment is unknown until it is in a block: "
        "remove blocksonly=1 from bitcoin.conf"
    )


def topics(settings: Settings) -> tuple[tuple[str, str], ...]:
    """Return the topics of the feed, each with its ZMQ address."""
    return ("rawtx", settings.bitcoind_zmq_rawtx), ("hashblock", settings.bitcoind_zmq_hashblock)


def place_problem(topic: str, address: str, published: Sequence[Publication]) -> str | None:
    """Return a line if bitcoind does not publish `topic` at `address`."""
    published_at = [each.address for each in published if each.topic == topic]
    if not published_at:
        return (
            f"bitcoind does not publish {topic} over ZMQ: "
            f"add zmqpub{topic}={_as_published(address)} and zmqpub{topic}hwm=0 to bitcoin.conf"
        )
    if any(_is_same_port(each, address) for each in published_at):
        return None
    setting = f"BITCOIND_ZMQ_{topic.upper()}"
    return (
        f"bitcoind publishes {topic} at {', '.join(published_at)}, but {setting} is {address}: "
        f"set {setting}={_seen_from_here(published_at[0], address)}"
    )


def mark_problem(topic: str, address: str, published: Sequence[Publication]) -> str | None:
    """Return a line if a full block has more messages than bitcoind queues for a slow subscriber.

    Topics at one address share one queue. Its high-water mark is that of the first topic in the alphabet.
    """
    marks = sorted(
        (each.topic, each.high_water_mark) for each in published if _is_same_port(each.address, address)
    )
    shared = [name for name, _ in marks]
    if topic not in shared or "rawtx" not in shared or marks[0][1] == 0 or marks[0][1] >= LEAST_MARK:
        return None
    lines = " and ".join(f"zmqpub{name}hwm=0" for name in shared)
    return (
        f"bitcoind keeps {marks[0][1]} messages at {address} and loses the others, "
        f"but a block may have more: add {lines} to bitcoin.conf"
    )


def wallet_problems(settings: Settings, node: Bitcoind, addresses: Iterable[Address]) -> list[str]:
    """Return a line if the wallet can't list its transactions or make addresses. Load it if necessary.

    `addresses` are a sample of the table. The wallet must know each of them.
    """
    name = settings.bitcoind_wallet
    try:
        node.load_wallet()
        if node.is_wallet_scanning():
            return [f"wallet {name} is rescanning; new addresses come when it is done: wait"]
        unknown = [a.address for a in addresses if not node.is_address_known(a.address)]
    except RpcError as error:
        if error.code == WALLET_NOT_FOUND:
            cure = "create it with manage.py wallet create, or correct BITCOIND_WALLET"
            return [f"bitcoind has no wallet {name}: {cure}"]
        if error.code == METHOD_NOT_FOUND:
            return [NO_WALLETS]
        return [f"wallet {name} cannot be used: {error}"]
    except NodeRefused as error:
        return [str(error)]
    if unknown:
        problem = f"wallet {name} does not know address {unknown[0]}, which is in the address table"
        return [f"{problem}: correct BITCOIND_WALLET, or restore that wallet"]
    return []


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


def _is_same_port(published: str, listened: str) -> bool:
    """Compare the ports alone, because bitcoind may have a wildcard where we have a host."""
    if not published.startswith("tcp:"):
        return _socket_path(published) == _socket_path(listened)
    return urlsplit(published).port == urlsplit(listened).port


def _socket_path(address: str) -> str:
    return address.removeprefix("ipc://").removeprefix("unix:")
