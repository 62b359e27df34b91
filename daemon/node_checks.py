"""What about bitcoind keeps Nodetill from doing its work: each a line that says what to do."""

from urllib.parse import urlsplit

from config import Settings
from daemon.bitcoind import WALLET_NOT_FOUND, Bitcoind, NodeRefused, NodeTip, RpcError
from daemon.failpoint import transaction
from models.payment import sample_addresses
from models.report import daemon_report, update_report


class WrongChain(Exception):
    """bitcoind is on another chain than this database."""


def check_chain(tip: NodeTip) -> None:
    """Raises WrongChain unless the node is on the chain that this database was begun with."""
    known = daemon_report().chain
    if known is None:
        with transaction("chain-named"):
            update_report(chain=tip.chain)
    elif known != tip.chain:
        raise WrongChain(
            f"bitcoind is on chain {tip.chain}, but this database belongs to {known}: "
            "correct BITCOIND_RPC_URL or DATABASE_URL"
        )


def feed_problems(settings: Settings, node: Bitcoind) -> list[str]:
    """The topics that bitcoind does not publish where they are listened for."""
    published = node.notifications()
    problems = []
    for topic, address in (
        ("rawtx", settings.bitcoind_zmq_rawtx),
        ("hashblock", settings.bitcoind_zmq_hashblock),
    ):
        places = [where for what, where in published if what == topic]
        if not places:
            problems.append(
                f"bitcoind does not publish {topic} over ZMQ: add zmqpub{topic}={address} "
                f"and zmqpub{topic}hwm=0 to bitcoin.conf"
            )
        elif not any(_is_same_port(where, address) for where in places):
            setting = f"BITCOIND_ZMQ_{topic.upper()}"
            problems.append(f"bitcoind publishes {topic} at {', '.join(places)}, but {setting} is {address}")
    return problems


def wallet_problems(settings: Settings, node: Bitcoind) -> list[str]:
    """Why the wallet can't name its transactions or give addresses; loads it if it only isn't loaded."""
    name = settings.bitcoind_wallet
    try:
        node.load_wallet()
        if node.is_wallet_scanning():
            return [f"wallet {name} is rescanning; new addresses come when it is done"]
        strangers = [a.address for a in sample_addresses() if not node.is_address_known(a.address)]
    except RpcError as error:
        if error.code == WALLET_NOT_FOUND:
            return [f"bitcoind has no wallet {name}: create it with manage.py wallet create"]
        return [f"wallet {name} cannot be used: {error}"]
    except NodeRefused as error:
        return [str(error)]
    if strangers:
        problem = f"wallet {name} does not know address {strangers[0]}, which is in the address table"
        return [f"{problem}: correct BITCOIND_WALLET, or restore that wallet"]
    return []


def _is_same_port(published: str, listened: str) -> bool:
    """bitcoind may name a wildcard where we name a host, so only the port can be compared."""
    if not published.startswith("tcp:"):
        return published == listened
    return urlsplit(published).port == urlsplit(listened).port
