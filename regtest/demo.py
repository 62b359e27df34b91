"""`manage.py demo`: all of Nodetill on regtest, and one payment from the request to the last email."""

import json
import secrets
import shlex
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click
import urllib3

from admin.terminal import BOLD, RED
from daemon.node.errors import BitcoindError
from regtest.console import Console, standard_output
from regtest.demo_payment import SELLER, DemoFailed, Purchase
from regtest.demo_running import keep_running
from regtest.installation import Installation
from regtest.node import NoBitcoindError, NodeNotStarted, RegtestNode, find_bitcoind
from regtest.process import ProcessError, start_python

FAILURES = (
    DemoFailed,
    NoBitcoindError,
    NodeNotStarted,
    ProcessError,
    BitcoindError,
    urllib3.exceptions.HTTPError,
    OSError,
)


@click.command()
@click.option("--once", is_flag=True, help="End after one payment, with exit status 0 if every step worked.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, with --once.")
@click.pass_context
def demo(context: click.Context, once: bool, as_json: bool) -> None:
    """Show all of Nodetill on regtest, with play money.

    The demo starts bitcoind, the daemon and the web server in a temporary directory and on free ports. Where
    there is no bitcoind, the demo fetches one. It creates a payment request, pays it, and mines six blocks.
    The demo ignores your own settings. It stays up, unless --once is given. In a terminal, single keys then
    pay, mine, double-spend, and end the demo. Elsewhere it runs until Ctrl-C.

    \b
    manage.py demo
    manage.py demo --once
    manage.py demo --once --json
    """
    if as_json and not once:
        raise click.UsageError("--json goes with --once")
    screen = Console(None if as_json else standard_output())
    problem, purchase = _run(screen, once)
    if as_json:
        click.echo(json.dumps(_report(screen, problem, purchase), indent=2))
    if problem is not None:
        screen.step("Not all steps worked.", RED)
        click.echo(f"nodetill: {problem}", err=True)
        context.exit(1)
    screen.step("Stopped. Nothing is left behind.")


def _run(screen: Console, once: bool) -> tuple[str | None, Purchase | None]:
    """Run the demo, and stop all servers. Return the error, if there is one, and the payment so far."""
    purchase = None
    try:
        with _signals_as_interrupts(), ExitStack() as stack:
            installation = _set_up(screen, stack)
            added = command(installation, screen, "seller", "add", SELLER, "--name", "Alpaca Direct")
            purchase = Purchase(installation, screen, installation.client(added["api_key"]))
            purchase.run()
            if not once:
                keep_running(installation, screen, added["api_key"])
    except KeyboardInterrupt:
        return "interrupted", purchase
    except FAILURES as failure:
        return str(failure) or type(failure).__name__, purchase
    return None, purchase


def _set_up(screen: Console, stack: ExitStack) -> Installation:
    """Start all servers. `stack` stops them in the reverse order."""
    screen.title("Nodetill on regtest: a real bitcoind, and play money")
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nodetill-demo-")))
    screen.step("Finding bitcoind, or fetching one")
    program = find_bitcoind(report=screen.detail)
    screen.detail(program[-1])
    node = stack.enter_context(RegtestNode.start(directory / "bitcoind", program))
    screen.step("bitcoind runs, with the settings of bitcoin.conf.example")
    screen.detail(
        f"{node.rpc('getnetworkinfo')['subversion']} rawtx {node.zmq_rawtx} hashblock {node.zmq_hashblock}"
    )
    node.fund_customer()
    screen.step("A customer has mined 101 blocks, and can spend the coins of the first")
    settings = {
        "OPERATOR_PASSWORD": secrets.token_hex(4),
        # As an operator has it, without these two settings.
        "BITCOIND_ZMQ_RAWTX": "auto",
        "BITCOIND_ZMQ_HASHBLOCK": "auto",
    }
    installation = stack.enter_context(Installation(node, directory / "nodetill", start_python, **settings))
    command(installation, screen, "wallet", "create")
    installation.start()
    screen.step("The daemon and the web server are ready")
    screen.detail(installation.url)
    return installation


def command(installation: Installation, screen: Console, *arguments: str) -> dict[str, Any]:
    """Run manage.py with these arguments, show its JSON document, and return the document."""
    screen.step(f"$ manage.py {shlex.join(arguments)}", BOLD)
    document: dict[str, Any] = installation.manage_json(*arguments)
    screen.detail("\n".join(f"{name}: {value}" for name, value in document.items() if value))
    return document


def _report(screen: Console, problem: str | None, purchase: Purchase | None) -> dict[str, Any]:
    return {
        "happened": problem is None,
        "problem": problem,
        "payment": None if purchase is None else purchase.payment,
        "emails": [] if purchase is None else [str(letter["Subject"]) for letter in purchase.letters],
        "steps": screen.steps,
    }


@contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt at each signal that would end this process, so that all servers are stopped."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # SIGINT is in the list, because a shell lets its background processes ignore SIGINT.
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
