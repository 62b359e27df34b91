"""Problems of bitcoind that keep Nodetill from its work. Each problem is a line with its cure.

The daemon's log, /health and `manage.py doctor` show the same lines.
"""

from collections.abc import Iterable

from config import Settings
from config.command import manage_command
from daemon.node.client import GET_BLOCKS_BACK, Bitcoind
from daemon.node.errors import METHOD_NOT_FOUND, WALLET_NOT_FOUND, NodeError, NodeRefused, RpcError
from daemon.node.types import NodeTip
from daemon.unit_of_work import unit_of_work
from models.address import Address
from models.block import stored_tip
from models.command import blocks_to_follow
from models.daemon_status import DaemonReport, daemon_report, update_report
from payments.network import SIGNET, network_of

NO_WALLETS = (
    "bitcoind runs without wallets: add a wallet by its descriptor, which needs none (manage.py wallet add), "
    "or remove disablewallet=1 from bitcoin.conf"
)
CATCHING_UP = "bitcoind's chain is behind the one already read; nothing is decided until it has caught up"
STALLED = (
    "bitcoind's chain has less work than the one already read, and has not caught up for an hour; nothing is "
    "decided. Check that bitcoind has peers. If you want its chain (after a split, invalidateblock, or the "
    "reset of a test network), run manage.py chain follow"
)
LOADING = "bitcoind is still loading its mempool; nothing is decided until it is done"
DOWNLOADING = "bitcoind is in initial block download; nothing is decided until it is done"

SHOWN_CHARACTERS = 24
"""The part of a signet's challenge that a line shows. A challenge may have thousands of characters."""

MIN_HEIGHT = 100
"""Above this height no reorg replaces block 1, so block 1 identifies the chain."""


class WrongChain(Exception):
    """bitcoind is on another chain than this database."""


def check_chain(node: Bitcoind, tip: NodeTip) -> None:
    """Raise WrongChain unless the node is on the chain of this database. Store the chain's names.

    The operator may order to follow another chain of the same name. Its first block is stored later.
    """
    report = daemon_report()
    problem = chain_problem(node, tip, report)
    is_other_network = network_problem(tip.chain, tip.signet_challenge, report) is not None
    if is_other_network or (problem is not None and not is_ordered(node)):
        raise WrongChain(problem)
    found: dict[str, str | None] = {"chain": tip.chain, "network": _network(node, tip)}
    found["signet_challenge"] = tip.signet_challenge or report.signet_challenge
    if problem is not None:
        found["first_block"] = None
    elif report.first_block is None and tip.height >= MIN_HEIGHT and _has_stored_tip(node):
        found["first_block"] = str(node.block_hash(1))
    changed = {name: value for name, value in found.items() if value != getattr(report, name)}
    if changed:
        with unit_of_work("chain-named"):
            update_report(**changed)


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
    problem = network_problem(tip.chain, tip.signet_challenge, report)
    if problem is not None:
        return problem
    first_block = node.block_hash(1) if report.first_block is not None else None
    # A node without block 1 has not downloaded any block yet.
    if first_block in (None, report.first_block):
        return None
    return (
        f"bitcoind follows another {tip.chain} chain than this database: its block 1 is {first_block}, the "
        f"database's is {report.first_block}. Correct BITCOIND_RPC_URL or DATABASE_URL; for a chain "
        f"that was reset, set DATABASE_URL to a new database, or follow it by {manage_command()} chain follow"
    )


def network_problem(chain: str, signet_challenge: str | None, report: DaemonReport) -> str | None:
    """Return a line if the node is on another network than the database, by name or by signet's challenge.

    `chain` and `signet_challenge` are the node's, as bitcoind names them.
    """
    cure = "correct BITCOIND_RPC_URL or DATABASE_URL"
    if report.chain not in (None, chain):
        return f"bitcoind is on chain {chain}, but this database belongs to {report.chain}: {cure}"
    if None in (report.signet_challenge, signet_challenge):
        return None
    if report.signet_challenge != signet_challenge:
        return (
            f"bitcoind is on the signet with the challenge {_short(signet_challenge)}, but this database "
            f"belongs to the signet with the challenge {_short(report.signet_challenge)}: {cure}"
        )
    return None


def _short(challenge: str | None) -> str:
    text = challenge or ""
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def _network(node: Bitcoind, tip: NodeTip) -> str:
    is_unclear = tip.chain == SIGNET and tip.signet_challenge is None
    return network_of(tip.chain, tip.signet_challenge, node.block_hash(1) if is_unclear else None)


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


def relay_problem(node: Bitcoind) -> str | None:
    """Return a line if bitcoind gets no transactions from its peers. Return None if that is unknown."""
    if node.relays_transactions() is not False:
        return None
    return (
        "bitcoind requests no transactions from its peers, so a payment is unknown until it is in a block: "
        "remove blocksonly=1 from bitcoin.conf"
    )


def wallet_problems(settings: Settings, node: Bitcoind, addresses: Iterable[Address]) -> list[str]:
    """Return a line if the wallet can't list its transactions or make addresses. Load it if necessary.

    `addresses` are a sample of the table. The wallet must have each of them.
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
        problem = f"wallet {name} lacks address {unknown[0]}, which is in the address table"
        return [f"{problem}: correct BITCOIND_WALLET, or restore that wallet"]
    return []
