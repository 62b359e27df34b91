"""Nodetill and the package bitcoinwatcher, each a process, and when they have seen a payment."""

import os
import queue
import subprocess
import threading
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from bench.load import Load, random_script
from bench.observer import NothingHappenedError, Watcher
from bench.payments import STATUS
from bench.process import wait_until_quiet
from bench.site import AMOUNT_SATS, Request, Site
from payments.transaction import parse_transaction
from regtest.child import end_with_parent
from regtest.node import PROJECT

PEERS = PROJECT / ".peers"
LONGEST_SECONDS = 300.0
WARM_UP_SECONDS = 2.0
WARM_UPS = 10


class Watching(Protocol):
    """A program that watches."""

    pid: int

    def payment(self) -> bytes:
        """Return a transaction that the program should see."""

    def wait_seen(self) -> float:
        """Return the time, as of time.perf_counter, at which the program had seen the last `payment`."""


class Nodetill:
    """Nodetill, which has seen a payment when the status is committed."""

    def __init__(self, load: Load, requests: list[Request], watcher: Watcher, pid: int) -> None:
        self.pid = pid
        self._load = load
        self._requests = requests
        self._watcher = watcher
        self._paid = ""

    @classmethod
    @contextmanager
    def running(cls, load: Load, site: Site) -> Iterator["Nodetill"]:
        """Run it with a request for one payment."""
        with site.running() as daemon, Watcher(site.database) as watcher:
            requests = site.requests(1)
            wait_until_quiet(daemon.pid)
            yield cls(load, requests, watcher, daemon.pid)

    def payment(self) -> bytes:
        request = self._requests.pop()
        self._paid = request.reference
        return self._load.payment(request.script, AMOUNT_SATS)

    def wait_seen(self) -> float:
        return self._watcher.wait_for(STATUS, self._paid)


class Bitcoinwatcher:
    """The package's watcher, which has seen a payment when it has written the txid to standard error."""

    def __init__(self, load: Load, directory: Path) -> None:
        user, _, password = load.node.cookie_file.read_text().partition(":")
        self._load = load
        self._script = random_script()
        self._seen: queue.Queue[tuple[str, float]] = queue.Queue()
        self._paid = ""
        environ = {
            "RPC_USER": user,
            "RPC_PASSWORD": password,
            "RPC_HOST": "127.0.0.1",
            "RPC_PORT": str(load.node.rpc_port),
            "ZMQ_PORT": load.node.zmq_rawtx.rpartition(":")[2],
            "WATCHED_SCRIPT": self._script.hex(),
            # Else bitcoinlib makes a directory in the user's home.
            "BCL_DATA_DIR": str(directory / "bitcoinlib"),
        }
        self._child = subprocess.Popen(
            _command(),
            cwd=PROJECT,
            env=os.environ | environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=end_with_parent(),
        )
        self.pid = self._child.pid
        threading.Thread(target=self._listen, daemon=True).start()

    @classmethod
    @contextmanager
    def running(cls, load: Load, directory: Path) -> Iterator["Bitcoinwatcher"]:
        """Run one that has seen a first payment."""
        watching = cls(load, directory)
        try:
            watching._warm_up()
            yield watching
        finally:
            watching._child.kill()
            watching._child.wait()

    def payment(self) -> bytes:
        raw = self._load.payment(self._script, AMOUNT_SATS)
        self._paid = parse_transaction(raw).txid
        return raw

    def wait_seen(self) -> float:
        return self._wait_seen(LONGEST_SECONDS)

    def _wait_seen(self, seconds: float) -> float:
        deadline = time.monotonic() + seconds
        other: list[str] = []
        while True:
            try:
                line, moment = self._seen.get(timeout=max(deadline - time.monotonic(), 0))
            except queue.Empty:
                raise NothingHappenedError("\n".join(["a payment was not seen", *other])) from None
            if line == self._paid:
                return moment
            other.append(line)

    def _warm_up(self) -> None:
        """Pay until it sees a payment, because nothing reports that its subscription has reached bitcoind."""
        for number in range(WARM_UPS):
            self._load.submit([self.payment()])
            try:
                self._wait_seen(WARM_UP_SECONDS)
            except NothingHappenedError:
                if number == WARM_UPS - 1:
                    raise
            else:
                return

    def _listen(self) -> None:
        assert self._child.stderr is not None
        for line in self._child.stderr:
            self._seen.put((line.strip(), time.perf_counter()))


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
