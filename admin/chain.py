"""`manage.py chain`: the operator's choice between two chains, where the daemon must not choose."""

from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import click

from admin.cli import CommandError, answer, confirm, json_option, open_settings_and_database, yes_option
from admin.operator_rpc import OperatorRpc
from daemon.node.checks import network_problem
from daemon.node.errors import OUT_OF_RANGE, NodeRefused, RpcError
from models.block import block_at, stored_tip
from models.command import add_chain_to_follow
from models.daemon_status import daemon_report
from models.output import Output


@click.group()
def chain() -> None:
    """Choose the chain that the daemon follows.

    \b
    manage.py chain follow
    """


@chain.command()
@yes_option
@json_option
def follow(yes: bool, as_json: bool) -> None:
    """Follow bitcoind's chain although it has less work.

    After a crash bitcoind may have to catch up. So the daemon changes nothing while bitcoind's chain has less
    work than the chain already read. Use this command if bitcoind's chain is the right chain. Examples are a
    split, invalidateblock, and a test network that was begun anew.

    The daemon then takes back the blocks of the other chain. A payment in these blocks alone is reported as
    reverted, and its seller gets the webhook. The command holds as long as bitcoind's chain has its present
    tip.

    \b
    manage.py chain follow
    manage.py chain follow --yes --json
    """
    with open_settings_and_database() as settings:
        try:
            with closing(OperatorRpc(settings)) as rpc:
                document = _compared(rpc)
        except (NodeRefused, RpcError) as error:
            raise CommandError(f"bitcoind's chain cannot be read: {error}") from error
        confirm(_warning(document), "Follow bitcoind's chain?", is_confirmed=yes)
        add_chain_to_follow(document["block_hash"], datetime.now(UTC))
    text = (
        f"The daemon follows bitcoind's chain to block {document['height']} as soon as it runs: see its log."
    )
    answer(document, text, as_json)


def _compared(rpc: OperatorRpc) -> dict[str, Any]:
    """Return the ends of both chains, and the number of outputs that following would take back.

    Raise CommandError where the daemon needs no command, or where the node is on another network.
    """
    info, stored, report = rpc.call("getblockchaininfo"), stored_tip(), daemon_report()
    if stored is None:
        raise CommandError("the daemon has read no chain yet, so it follows bitcoind's by itself")
    problem = network_problem(info["chain"], info.get("signet_challenge"), report)
    if problem is not None:
        raise CommandError(problem)
    is_begun_anew = report.first_block not in (None, _block_hash(rpc, 1))
    if not is_begun_anew and info["chainwork"] >= stored.chainwork:
        raise CommandError(
            "bitcoind's chain has no less work than the chain already read: the daemon follows it by itself"
        )
    fork_height = _fork_height(rpc, stored.height)
    is_above = Output.block_height > (-1 if fork_height is None else fork_height)
    return {
        "block_hash": info["bestblockhash"],
        "height": info["blocks"],
        "is_begun_anew": is_begun_anew,
        "read_height": stored.height,
        "fork_height": fork_height,
        "outputs_taken_back": Output.select().where(is_above).count(),
    }


def _fork_height(rpc: OperatorRpc, height: int) -> int | None:
    """Return the height of the newest block that both chains have, or None where it is no longer stored."""
    while (block := block_at(height)) is not None:
        if _block_hash(rpc, height) == block.hash:
            return height
        height -= 1
    return None


def _block_hash(rpc: OperatorRpc, height: int) -> str | None:
    try:
        return str(rpc.call("getblockhash", height))
    except RpcError as error:
        if error.code == OUT_OF_RANGE:
            return None
        raise


def _warning(document: dict[str, Any]) -> str:
    fork_height = document["fork_height"]
    since = "the oldest open request" if fork_height is None else f"block {fork_height}"
    difference = "is another chain" if document["is_begun_anew"] else "has more work"
    return (
        f"bitcoind's chain ends at block {document['height']} ({document['block_hash']}).\n"
        f"The chain already read ends at block {document['read_height']}, and {difference}.\n"
        f"The daemon takes back all blocks since {since}: {document['outputs_taken_back']} outputs to your "
        "addresses are in those blocks.\n"
        "It then reports each payment that bitcoind's chain and mempool lack as reverted.\n"
        "If bitcoind only has to catch up, answer no, and wait."
    )
