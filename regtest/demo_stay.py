"""The demo after its payment: it stays up, and says what one can try."""

import json
import shlex
import shutil
import sys
import time
from pathlib import Path

from admin.terminal import GREEN
from regtest.console import Console
from regtest.demo_payment import ORDER, Mishap
from regtest.installation import Installation
from regtest.node import CUSTOMER, PROJECT

LOOK_SECONDS = 0.2


def stay(installation: Installation, screen: Console, api_key: str) -> None:
    """Stay up until Ctrl-C, and tell of each further email. Raises Mishap where a server ends."""
    told = len(installation.letters())
    try:
        _invite(installation, screen, api_key)
        while True:
            for server in (installation.daemon, installation.web):
                if not server.is_running:
                    raise Mishap(f"{server.name} has ended: {' '.join(server.lines()[-1:])}")
            letters = installation.letters()
            for letter in letters[told:]:
                screen.step(f"An email: {letter['Subject']}", GREEN)
            told = len(letters)
            time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        screen.plain("")


def _invite(installation: Installation, screen: Console, api_key: str) -> None:
    payments = f"{installation.url}/api/v1/payments"
    curl = f"curl -sS -H 'Authorization: Bearer {api_key}'"
    order = f"-H 'Content-Type: application/json' -d {shlex.quote(json.dumps(ORDER))}"
    bitcoin_cli, manage = _scripts(installation)
    password = installation.settings["OPERATOR_PASSWORD"]
    screen.title("It stays up until Ctrl-C. In another terminal:")
    for what, line in {
        "ask for a payment": f"{curl} {order} {payments}",
        "pay it": f"{bitcoin_cli} -rpcwallet={CUSTOMER} sendtoaddress ADDRESS AMOUNT_BTC",
        "mine a block": f"{bitcoin_cli} -rpcwallet={CUSTOMER} -generate 1",
        "see how it stands": f"{curl} {payments}/ID",
        f"see all of it in a browser, by the password {password}": installation.url,
        "all payments, and what else there is": f"{manage} payment list\n    {manage} --help",
        "what the daemon does": f"tail -f {installation.daemon.log_file}",
        "the emails": f"ls {installation.mail}/new",
    }.items():
        screen.plain(f"  {what}\n    {line}")
    screen.plain("")


def _scripts(installation: Installation) -> tuple[Path, Path]:
    """bitcoin-cli for this node, and manage.py with these settings, each as a command of its own."""
    node, directory = installation.node, installation.directory.parent
    beside = Path(node.command[-1]).with_name("bitcoin-cli")
    found = shutil.which("bitcoin-cli") or "bitcoin-cli"
    client = [*node.command[:-1], str(beside)] if beside.exists() else [found]
    options = [f"-datadir={node.datadir}", "-chain=regtest", f"-rpcport={node.rpc_port}"]
    settings = [f"{name}={value}" for name, value in installation.settings.items()]
    return (
        _script(directory / "bitcoin-cli", [*client, *options]),
        _script(directory / "manage", ["env", *settings, sys.executable, str(PROJECT / "manage.py")]),
    )


def _script(path: Path, line: list[str]) -> Path:
    path.write_text(f'#!/bin/sh\nexec {shlex.join(line)} "$@"\n')
    path.chmod(0o700)
    return path
