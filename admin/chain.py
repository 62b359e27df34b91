"""`manage.py chain`: which of two chains is meant, where the daemon must not decide that by itself."""

from datetime import UTC, datetime
from typing import Any

import click

from admin.cli import CommandError, answer, json_option, open_settings_and_database
from admin.operator_rpc import Forbidden, OperatorRpc, RpcFault
from models.block import block_at, stored_tip
from models.command import add_chain_to_follow
from models.daemon_status import daemon_report
from models.output import Output

BLOCK_HEIGHT_OUT_OF_RANGE = -8


@click.group()
def chain() -> None:
    """The chain that the daemon follows.

    \b
    manage.py chain follow
    """


@chain.command()
@click.option("--yes", is_flag=True, help="Do it without a question.")
@json_option
def follow(yes: bool, as_json: bool) -> None:
    """Follow bitcoind's chain though it has less work, or was begun anew.

    The daemon holds everything while bitcoind's chain has less work than the one already read: after a crash
    bitcoind has to catch up, and no payment is gone. Use this command where that chain is the one that you
    mean: after a split, after invalidateblock, or on a test network that was begun anew.

    The blocks of the other chain are taken back. A payment that is in them alone is reported as reverted, and
    its seller gets the webhook. The order holds as long as bitcoind's chain has its present tip.

    \b
    manage.py chain follow
    manage.py chain follow --yes --json
    """
    with open_settings_and_database() as settings:
        try:
            document = _compared(OperatorRpc(settings))
        except (Forbidden, RpcFault) as error:
            raise CommandError(f"bitcoind does not say what its chain is: {error}") from error
        if not yes:
            click.echo(_warning(document), err=True)
            click.confirm("Follow bitcoind's chain?", abort=True, err=True)
        add_chain_to_follow(document["block_hash"], datetime.now(UTC))
    text = (
        f"The daemon follows bitcoind's chain to block {document['height']} as soon as it runs: see its log."
    )
    answer(document, text, as_json)


def _compared(rpc: OperatorRpc) -> dict[str, Any]:
    """Return where both chains end, and what following would take back.

    Raise CommandError where the daemon needs no order.
    """
    info, stored, report = rpc.call("getblockchaininfo"), stored_tip(), daemon_report()
    known = report.chain
    if stored is None:
        raise CommandError("the daemon has read no chain yet: it follows bitcoind's by itself")
    if info["chain"] != known:
        raise CommandError(
            f"bitcoind is on chain {info['chain']}, but this database belongs to {known}: "
            "correct BITCOIND_RPC_URL or DATABASE_URL"
        )
    is_begun_anew = report.first_block not in (None, _block_hash(rpc, 1))
    if not is_begun_anew and info["chainwork"] >= stored.chainwork:
        raise CommandError(
            "bitcoind's chain has no less work than the one already read: the daemon follows it by itself"
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
    """Return the height of the newest block that both chains have; None where it is not kept any more."""
    while (block := block_at(height)) is not None:
        if _block_hash(rpc, height) == block.hash:
            return height
        height -= 1
    return None


def _block_hash(rpc: OperatorRpc, height: int) -> str | None:
    try:
        return str(rpc.call("getblockhash", height))
    except RpcFault as fault:
        if fault.code == BLOCK_HEIGHT_OUT_OF_RANGE:
            return None
        raise


def _warning(document: dict[str, Any]) -> str:
    fork_height = document["fork_height"]
    since = "the oldest open request" if fork_height is None else f"block {fork_height}"
    difference = "is another one" if document["is_begun_anew"] else "has more work"
    return (
        f"bitcoind's chain ends at block {document['height']} ({document['block_hash']}).\n"
        f"The chain already read ends at block {document['read_height']}, and {difference}.\n"
        f"All that was read since {since} is taken back: {document['outputs_taken_back']} outputs to your "
        "addresses are in those blocks.\n"
        "A payment that bitcoind's chain and mempool lack is then reported as reverted.\n"
        "If bitcoind only has to catch up, answer no, and wait."
    )
