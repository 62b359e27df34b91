"""Commands of the demo for another terminal."""

import json
import shlex
import shutil
import sys
from pathlib import Path

from regtest.console import Console
from regtest.demo_payment import ORDER
from regtest.installation import Installation
from regtest.node import CUSTOMER, PROJECT


def show_commands(installation: Installation, screen: Console, api_key: str) -> None:
    """Print commands that work while the demo runs."""
    payments = f"{installation.url}/api/v1/payments"
    curl = f"curl -sS -H 'Authorization: Bearer {api_key}'"
    order = f"-H 'Content-Type: application/json' -d {shlex.quote(json.dumps(ORDER))}"
    bitcoin_cli, manage = _scripts(installation)
    password = installation.settings["OPERATOR_PASSWORD"]
    screen.title("The demo runs until Ctrl-C. Commands for another terminal:")
    for purpose, line in {
        "create a payment request": f"{curl} {order} {payments}",
        "pay it": f"{bitcoin_cli} -rpcwallet={CUSTOMER} sendtoaddress ADDRESS AMOUNT_BTC",
        "mine a block": f"{bitcoin_cli} -rpcwallet={CUSTOMER} -generate 1",
        "show its status": f"{curl} {payments}/ID",
        f"open the operator's page with the password {password}": f"{installation.url}/operator/login",
        "list all payments, and all commands": f"{manage} payment list\n    {manage} --help",
        "follow the daemon's log": f"tail -f {installation.daemon.log_file}",
        "list the emails": f"ls {installation.mail}/new",
    }.items():
        screen.plain(f"  {purpose}\n    {line}")
    screen.plain("")


def _scripts(installation: Installation) -> tuple[Path, Path]:
    """Write scripts that run bitcoin-cli for this node, and manage.py with these settings."""
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
