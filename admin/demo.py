"""`manage.py demo`: all of Nodetill on regtest, and one payment from its request to its last email."""

import json
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from email.message import EmailMessage
from pathlib import Path
from types import FrameType
from typing import Any

import click
import urllib3
from bitcoinrpc.authproxy import JSONRPCException

from admin.client import Client
from admin.installation import Installation
from admin.processes import ProcessError
from admin.regtest import CUSTOMER, PROJECT, NoBitcoindError, NodeError, RegtestNode, find_bitcoind
from admin.screen import BOLD, GREEN, RED, Screen, standard_output

SELLER = "company1"
ORDER = {"seller_id": SELLER, "amount_fiat": "135.99", "currency": "EUR", "note": "Alpaca socks"}
CONFIRMATIONS = 6
PATIENCE_SECONDS = 30.0
LOOK_SECONDS = 0.2


class DemoFailure(Exception):
    """What did not happen."""


@click.command()
@click.option("--once", is_flag=True, help="End after one payment: exit status 0 if all of it happened.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, with --once.")
@click.pass_context
def demo(context: click.Context, once: bool, as_json: bool) -> None:
    """Show all of Nodetill on regtest, with play money.

    Starts a bitcoind (fetches one where there is none), the daemon and the web server, in a temporary directory
    and on free ports; asks for a payment, pays it, and mines six blocks. Your own settings are not looked at.
    Stays up until Ctrl-C, unless --once is given.
    """
    if as_json and not once:
        raise click.UsageError("--json needs --once")
    screen = Screen(None if as_json else standard_output())
    report: dict[str, Any] = {"happened": False, "problem": None, "payment": None, "emails": []}
    try:
        with _signals_as_interrupts(), ExitStack() as stack:
            installation = _set_up(screen, stack)
            _play(installation, screen, report)
            report["happened"] = True
            if not once:
                _stay(installation, screen)
    except KeyboardInterrupt:
        report["problem"] = "it was interrupted"
    except (
        DemoFailure,
        NoBitcoindError,
        NodeError,
        ProcessError,
        JSONRPCException,
        urllib3.exceptions.HTTPError,
        OSError,
    ) as error:
        report["problem"] = str(error) or type(error).__name__
        report["happened"] = False
    _conclude(context, screen, report, as_json)


def _conclude(context: click.Context, screen: Screen, report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({**report, "steps": screen.steps}, indent=2))
    elif report["happened"]:
        screen.step("Stopped; nothing is left behind.")
    if not report["happened"]:
        screen.step("Not all of it happened.", RED)
        click.echo(f"nodetill: {report['problem']}", err=True)
        context.exit(1)


def _set_up(screen: Screen, stack: ExitStack) -> Installation:
    """Start everything; `stack` ends it, in the reverse order."""
    screen.title("Nodetill on regtest: a real bitcoind, and play money")
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nodetill-demo-")))
    screen.step("Finding bitcoind, or fetching one")
    command = find_bitcoind()
    screen.detail(command[-1])
    node = stack.enter_context(RegtestNode.start(directory / "bitcoind", command))
    screen.step("bitcoind runs, with the settings of bitcoin.conf.example")
    screen.detail(
        f"{node.rpc('getnetworkinfo')['subversion']}\nrawtx {node.zmq_rawtx}, hashblock {node.zmq_hashblock}"
    )
    node.fund_customer()
    screen.step(
        f"A customer has mined {node.rpc('getblockcount')} blocks, and can spend the first one's coins"
    )
    installation = stack.enter_context(Installation(node, directory / "nodetill"))
    _run(installation, screen, "wallet", "create")
    installation.start()
    screen.step("The daemon and the web server are ready")
    screen.detail(installation.url)
    return installation


def _play(installation: Installation, screen: Screen, report: dict[str, Any]) -> None:
    """One payment, from the request to the email that it is confirmed."""
    added = _run(installation, screen, "seller", "add", SELLER, "--name", "Alpaca Direct")
    client = installation.client(added["api_key"])
    payment = _ask(client, screen)
    screen.detail(f"the customer's page: {payment['checkout_url']}")
    report["payment"] = payment
    path = f"/api/v1/payments/{payment['payment_request_id']}"

    def wait_for(what: str, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            answer = client.try_get(path)
            return answer.document if answer and answer.status == 200 and is_so(answer.document) else None

        report["payment"] = installation.daemon.wait_until(look, what, PATIENCE_SECONDS)
        return report["payment"]

    amount, address = payment["amount_btc"], payment["address"]
    txid = installation.node.rpc("sendtoaddress", address, amount, wallet=CUSTOMER)
    screen.step(f"The customer sends {amount} BTC", BOLD)
    screen.detail(f"transaction {txid}")
    sent = time.monotonic()
    wait_for("say received", lambda now: now["status"] == "received" and now["txid"] == txid)
    screen.step(f"Nodetill says: received, {time.monotonic() - sent:.2f} s after it was sent", GREEN)
    _show_letter(installation, screen, report, "first")

    for depth in range(1, CONFIRMATIONS + 1):
        installation.node.mine()
        status = "confirmed" if depth == CONFIRMATIONS else "confirming"
        what = f"say {status} at {depth} confirmations"
        wait_for(what, lambda now, seen=(status, depth): (now["status"], now["confirmations"]) == seen)
        height = installation.node.rpc("getblockcount")
        colour = GREEN if depth == CONFIRMATIONS else ""
        screen.step(f"Block {height} is mined: {depth} of {CONFIRMATIONS} confirmations, {status}", colour)
    _show_letter(installation, screen, report, "second")
    screen.step("All of it happened.", GREEN)


def _ask(client: Client, screen: Screen) -> dict[str, Any]:
    """A new payment request."""
    screen.step("The shop asks: POST /api/v1/payments", BOLD)
    screen.detail(json.dumps(ORDER))
    answer = client.post("/api/v1/payments", ORDER)
    if answer.status != 201:
        raise DemoFailure(f"the shop got no payment request: {answer.status} {answer.body.decode()}")
    payment: dict[str, Any] = answer.document
    screen.step(f"and is answered {answer.status}: {payment['amount_btc']} BTC to {payment['address']}")
    screen.block(json.dumps(payment, indent=2))
    return payment


def _run(installation: Installation, screen: Screen, *arguments: str) -> dict[str, Any]:
    """Run manage.py with these arguments, and show its answer."""
    screen.step(f"$ manage.py {shlex.join(arguments)}", BOLD)
    document: dict[str, Any] = installation.managed(*arguments)
    screen.detail("\n".join(f"{name}: {value}" for name, value in document.items() if value))
    return document


def _show_letter(installation: Installation, screen: Screen, report: dict[str, Any], which: str) -> None:
    """Wait for the next email, and show it."""
    number = len(report["emails"]) + 1

    def look() -> EmailMessage | None:
        letters = installation.letters()
        return letters[number - 1] if len(letters) >= number else None

    letter = installation.daemon.wait_until(look, f"deliver the {which} email", PATIENCE_SECONDS)
    text = plain_text(letter)
    if len(installation.letters()) > number or report["payment"]["payment_request_id"] not in text:
        raise DemoFailure(f"the {which} email is not the one that was to come: {letter['Subject']}")
    report["emails"].append(str(letter["Subject"]))
    screen.step(f"The {which} email: {letter['Subject']}", GREEN)
    headers = "\n".join(f"{name}: {letter[name]}" for name in ("From", "To", "Subject"))
    screen.block(f"{headers}\n\n{text}")


def plain_text(letter: EmailMessage) -> str:
    """The email's text for a reader without HTML."""
    part = letter.get_body(("plain",))
    return "" if part is None else str(part.get_content())


def _stay(installation: Installation, screen: Screen) -> None:
    """Stay up until Ctrl-C, and tell of each further email. Raises DemoFailure where a server ends."""
    _invite(installation, screen)
    told = len(installation.letters())
    try:
        while True:
            for server in (installation.daemon, installation.web):
                if not server.is_running:
                    raise DemoFailure(f"{server.name} has ended; see {server.log_file}")
            letters = installation.letters()
            for letter in letters[told:]:
                screen.step(f"An email: {letter['Subject']}", GREEN)
            told = len(letters)
            time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        screen.plain("")


def _invite(installation: Installation, screen: Screen) -> None:
    """Say what one can do now."""
    bitcoin_cli, manage = _scripts(installation)
    key = _run(installation, screen, "seller", "rotate-key", SELLER)["api_key"]
    curl = f"curl -H 'Authorization: Bearer {key}'"
    order = shlex.quote(json.dumps(ORDER))
    screen.title("It stays up until Ctrl-C. In another terminal:")
    screen.plain(
        f"""\
  ask for a payment   {curl} -H 'Content-Type: application/json' -d {order} {installation.url}/api/v1/payments
  pay it              {bitcoin_cli} -rpcwallet={CUSTOMER} sendtoaddress ADDRESS AMOUNT_BTC
  mine a block        {bitcoin_cli} -rpcwallet={CUSTOMER} -generate 1
  see where it is     {curl} {installation.url}/api/v1/payments/ID
  all payments        {manage} payment list
  what the daemon did tail -f {installation.daemon.log_file}
"""
    )


def _scripts(installation: Installation) -> tuple[Path, Path]:
    """bitcoin-cli and manage.py for this node and these settings, each as a script to be typed."""
    node = installation.node
    beside = Path(node.command[-1]).with_name("bitcoin-cli")
    client = (
        [*node.command[:-1], str(beside)]
        if beside.exists()
        else [shutil.which("bitcoin-cli") or "bitcoin-cli"]
    )
    options = [f"-datadir={node.datadir}", "-chain=regtest", f"-rpcport={node.rpc_port}"]
    # Only what differs from the environment that the script is called in.
    settings = [f"{name}={value}" for name, value in installation.settings.items()]
    return (
        _script(installation.directory.parent / "bitcoin-cli", [*client, *options]),
        _script(
            installation.directory.parent / "manage",
            ["env", *settings, sys.executable, str(PROJECT / "manage.py")],
        ),
    )


def _script(path: Path, command: list[str]) -> Path:
    path.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    path.chmod(0o700)
    return path


@contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """What would end us at once ends us as Ctrl-C does: with all that was started."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
