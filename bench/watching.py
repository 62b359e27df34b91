"""Nodetill and others that watch for payments, each a process: what pays them, and when they have seen it."""

import os
import queue
import subprocess
import sys
import threading
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from bench.live import STATUS
from bench.load import Load, random_script
from bench.observer import NothingHappenedError, Watcher
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

    @property
    def pid(self) -> int:
        """Its process's."""

    def payment(self) -> bytes:
        """A transaction that it should see."""

    def wait_seen(self) -> float:
        """The moment, as of time.perf_counter, at which it had seen the last `payment`."""


class Nodetill:
    """Has seen a payment when its status is committed."""

    def __init__(self, load: Load, requests: list[Request], watcher: Watcher, pid: int) -> None:
        self.pid = pid
        self._load = load
        self._requests = requests
        self._watcher = watcher
        self._paid = ""

    @classmethod
    @contextmanager
    def running(cls, load: Load, site: Site, payments: int) -> Iterator["Nodetill"]:
        """The whole of it, with requests for so many payments."""
        with site.running() as daemon, Watcher(site.database) as watcher:
            yield cls(load, site.requests(payments), watcher, daemon.pid)

    def payment(self) -> bytes:
        """A request's."""
        request = self._requests.pop()
        self._paid = request.reference
        return self._load.payment(request.script, AMOUNT_SATS)

    def wait_seen(self) -> float:
        """By its status."""
        return self._watcher.wait_for(STATUS, self._paid)


class Script:
    """Has seen a payment when it has written its txid to standard error."""

    def __init__(self, load: Load, command: list[str], directory: Path) -> None:
        user, _, password = load.node.cookie_file.read_text().partition(":")
        self._load = load
        self._script = random_script()
        self._seen: queue.Queue[tuple[str, float]] = queue.Queue()
        self._paid = ""
        told = {
            "RPC_USER": user,
            "RPC_PASSWORD": password,
            "RPC_HOST": "127.0.0.1",
            "RPC_PORT": str(load.node.rpc_port),
            "ZMQ_PORT": load.node.zmq_rawtx.rpartition(":")[2],
            "WATCHED_SCRIPT": self._script.hex(),
            # bitcoinlib would make itself a directory in the user's.
            "BCL_DATA_DIR": str(directory / "bitcoinlib"),
        }
        self._child = subprocess.Popen(
            command,
            cwd=PROJECT,
            env=os.environ | told,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=end_with_parent(),
        )
        threading.Thread(target=self._listen, daemon=True).start()

    @classmethod
    @contextmanager
    def running(cls, load: Load, command: list[str], directory: Path) -> Iterator["Script"]:
        """One that has seen a first payment."""
        script = cls(load, command, directory)
        try:
            script._warm_up()
            yield script
        finally:
            script._child.kill()
            script._child.wait()

    @property
    def pid(self) -> int:
        return self._child.pid

    def payment(self) -> bytes:
        """To the one script that it watches."""
        raw = self._load.payment(self._script, AMOUNT_SATS)
        self._paid = parse_transaction(raw).txid
        return raw

    def wait_seen(self) -> float:
        """By what it has written."""
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
        """Nothing says when its subscription has reached bitcoind."""
        for _ in range(WARM_UPS):
            self._load.submit([self.payment()])
            try:
                self._wait_seen(WARM_UP_SECONDS)
            except NothingHappenedError as error:
                last = error
            else:
                return
        raise last

    def _listen(self) -> None:
        assert self._child.stderr is not None
        for line in self._child.stderr:
            self._seen.put((line.strip(), time.perf_counter()))


def program(module: str) -> list[str]:
    """The command of one of ours."""
    return [sys.executable, "-m", f"bench.{module}"]


def bitcoinwatcher() -> list[str]:
    """The command of the package's watcher, which is fetched first if it isn't there."""
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
