"""Nodetill and the package bitcoinwatcher, each a process, and when they have seen a payment."""

import os
import subprocess
import threading
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.load import Load, random_script
from bench.observer import NothingHappenedError, Watcher
from bench.payments import STATUS
from bench.process import wait_until_quiet
from bench.site import AMOUNT_SATS, Site
from payments.transaction import parse_transaction
from regtest.child import end_with_parent
from regtest.node import PROJECT

PEERS = PROJECT / ".peers"
MAX_WAIT_SECONDS = 300.0
WARM_UP_SECONDS = 2.0
WARM_UPS = 10
POLL_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Watching:
    """A program that watches for payments to a script.

    `wait_seen` returns the time, as of time.perf_counter, at which it had seen the payment with this txid.
    """

    pid: int
    script: bytes
    wait_seen: Callable[[str], float]


@contextmanager
def nodetill(site: Site) -> Iterator[Watching]:
    """Run Nodetill, which has seen a payment when the status is committed."""
    with site.running() as daemon, closing(Watcher(site.database)) as watcher:
        (request,) = site.requests(1)
        wait_until_quiet(daemon.pid)
        yield Watching(daemon.pid, request.script, lambda _: watcher.wait_for(STATUS, request.reference))


@contextmanager
def bitcoinwatcher(load: Load, directory: Path) -> Iterator[Watching]:
    """Run the package's watcher, which has seen a payment when it has written the txid to standard error."""
    script = random_script()
    child = subprocess.Popen(
        _command(),
        cwd=PROJECT,
        env=os.environ | _environ(load, directory, script),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=end_with_parent(),
    )
    seen: dict[str, float] = {}

    def listen() -> None:
        for line in child.stderr or ():
            seen[line.strip()] = time.perf_counter()

    def wait_seen(txid: str, seconds: float = MAX_WAIT_SECONDS) -> float:
        deadline = time.monotonic() + seconds
        while txid not in seen:
            if time.monotonic() > deadline:
                raise NothingHappenedError("\n".join(["a payment was not seen", *seen]))
            time.sleep(POLL_SECONDS)
        return seen[txid]

    threading.Thread(target=listen, daemon=True).start()
    try:
        # Nothing reports that its subscription has reached bitcoind.
        for _ in range(WARM_UPS):
            payment = load.payment(script, AMOUNT_SATS)
            load.submit([payment])
            with suppress(NothingHappenedError):
                wait_seen(parse_transaction(payment).txid, WARM_UP_SECONDS)
                break
        yield Watching(child.pid, script, wait_seen)
    finally:
        child.kill()
        child.wait()


def _environ(load: Load, directory: Path, script: bytes) -> dict[str, str]:
    user, _, password = load.node.cookie_file.read_text().partition(":")
    return {
        "RPC_USER": user,
        "RPC_PASSWORD": password,
        "RPC_HOST": "127.0.0.1",
        "RPC_PORT": str(load.node.rpc_port),
        "ZMQ_PORT": load.node.zmq_rawtx.rpartition(":")[2],
        "WATCHED_SCRIPT": script.hex(),
        # Otherwise bitcoinlib makes a directory in the user's home.
        "BCL_DATA_DIR": str(directory / "bitcoinlib"),
    }


def _command() -> list[str]:
    """Return the command of the package's watcher; install the package first if it isn't there."""
    python = PEERS / "bin" / "python"
    wanted, installed = PROJECT / "bench" / "peers.lock", PEERS / "installed"
    if not installed.exists() or installed.read_text() != wanted.read_text():
        venv.create(PEERS, clear=True, with_pip=True)
        install = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        subprocess.run([*install, "--require-hashes", "--no-deps", "-r", str(wanted)], check=True)
        # Last, so that an installation that was cut short is done again.
        installed.write_text(wanted.read_text())
    # Not beside our own modules, which have names that others have too.
    return [str(python), "-P", str(PROJECT / "bench" / "watch_by_bitcoinwatcher.py")]
