"""A bitcoind in regtest mode, for the demo and the tests.

`python -m regtest.node` finds or fetches bitcoind, and prints its path.
"""

import hmac
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from functools import cache, partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from daemon.node.errors import BitcoindError, RpcError
from daemon.node.rpc import Rpc
from regtest.child import end_with_parent, free_ports
from regtest.fetch import FetchError, Report, fetch_bitcoind, silent

__all__ = [
    "NoBitcoindError",
    "NodeNotStarted",
    "RegtestNode",
    "end_with_parent",
    "find_bitcoind",
    "free_ports",
]

PROJECT = Path(__file__).resolve().parent.parent
CUSTOMER = "customer"

# A test node need not survive a power cut, and need not check its mempool at every transaction.
# The last two options are for Bitcoin Knots, whose blocks are else smaller than the rules allow.
SPEED = ("-checkmempool=0", "-unsafesqlitesync=1", "-blockmaxsize=4000000", "-blockmaxweight=4000000")

START_SECONDS = 60.0
STOP_SECONDS = 60.0


class NoBitcoindError(RuntimeError):
    """There is no bitcoind to run. The message has the places to get one."""


class NodeNotStarted(RuntimeError):
    """bitcoind did not start, or ended by itself. The message has the end of its output."""


def find_bitcoind(cache: Path = PROJECT / ".bitcoind", report: Report = silent) -> list[str]:
    """Return the command that runs bitcoind, from $BITCOIND, $PATH or `cache`, in this order.

    Fetch bitcoind into `cache` where all three have none, and call `report` with each step of the fetch.
    Raise NoBitcoindError.
    """
    named = os.environ.get("BITCOIND")
    if named:
        if not shutil.which(named):
            raise NoBitcoindError(f"BITCOIND: {named!a} is no program; allowed: the path of bitcoind")
        return [named]
    on_path = shutil.which("bitcoind")
    if on_path:
        return [on_path]
    try:
        return fetch_bitcoind(cache, report)
    except FetchError as error:
        raise NoBitcoindError(
            f"no bitcoind found, and none could be fetched ({error}). Get Bitcoin Core from "
            "https://bitcoincore.org or Bitcoin Knots from https://bitcoinknots.org, and set BITCOIND to the "
            "path of bitcoind"
        ) from error


DIRECTORIES = {"test": "testnet3"}
"""The names of the chains' directories, where they differ from those of the chains."""


class RegtestNode:
    """A bitcoind that runs in `datadir` with the settings of bitcoin.conf.example, on free ports.

    Its chain is regtest, unless a test needs another one. It has no peers.
    The kernel kills this bitcoind when the thread that started it ends. `rpc` calls as the cookie's user, who
    may make all calls. `rpc_url` is for Nodetill's own user, whom the whitelist restricts.
    """

    def __init__(
        self, datadir: Path, command: Sequence[str], extra: Sequence[str] = (), chain: str = "regtest"
    ) -> None:
        self.datadir = datadir
        self.chain = chain
        self.command = list(command)
        self.extra = list(extra)
        self.password = secrets.token_urlsafe()
        self.process: subprocess.Popen[bytes] | None = None
        self.rpc_port, rawtx_port, hashblock_port = free_ports(3)
        self.zmq_rawtx = f"tcp://127.0.0.1:{rawtx_port}"
        self.zmq_hashblock = f"tcp://127.0.0.1:{hashblock_port}"

    @classmethod
    def start(
        cls,
        datadir: Path,
        command: Sequence[str] | None = None,
        extra: Sequence[str] = (),
        *,
        fast: bool = True,
        chain: str = "regtest",
    ) -> Self:
        """Return a node that is ready. `command` is find_bitcoind's by default. Raise NodeNotStarted.

        With `fast`, add the options of SPEED that this bitcoind has.
        """
        command = command or find_bitcoind()
        options = [*(accepted_options(tuple(command)) if fast else ()), *extra]
        node = cls(datadir, command, options, chain)
        try:
            node.launch()
        except NodeNotStarted:
            # Probably another process has taken one of the ports meanwhile.
            node = cls(datadir, command, options, chain)
            node.launch()
        return node

    @property
    def url(self) -> str:
        """The address without credentials."""
        return f"http://127.0.0.1:{self.rpc_port}"

    @property
    def rpc_url(self) -> str:
        return f"http://nodetill:{self.password}@127.0.0.1:{self.rpc_port}"

    @property
    def admin_url(self) -> str:
        """The address with the cookie in it. The cookie changes at each start of the node."""
        return f"http://{self.cookie_file.read_text().strip()}@127.0.0.1:{self.rpc_port}"

    @property
    def cookie_file(self) -> Path:
        return self._chain_directory / ".cookie"

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def launch(self, *extra: str) -> None:
        """Start the process and wait until it is ready. Raise NodeNotStarted."""
        self.datadir.mkdir(parents=True, exist_ok=True)
        (self.datadir / "bitcoin.conf").write_text(self._configuration())
        options = [
            f"-datadir={self.datadir}",
            f"-chain={self.chain}",
            f"-rpcport={self.rpc_port}",
            "-listen=0",
            *(() if self.chain == "regtest" else ("-connect=0", "-dnsseed=0")),
            "-fallbackfee=0.0001",
            "-printtoconsole=0",
        ]
        with (self.datadir / "output.log").open("wb") as output:
            self.process = subprocess.Popen(
                [*self.command, *options, *self.extra, *extra],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=end_with_parent(),
            )
        try:
            self.wait_ready()
        except BaseException:
            self.kill()
            raise

    def wait_ready(self, seconds: float = START_SECONDS) -> None:
        """Wait until RPC answers. Raise NodeNotStarted where the process ends, or `seconds` have passed."""
        deadline = time.monotonic() + seconds
        while not self._is_ready():
            if self._has_ended_within(0.02) or time.monotonic() > deadline:
                raise NodeNotStarted(f"bitcoind did not start: {self._end_of_output()}")

    def rpc(self, method: str, *args: Any, wallet: str | None = None, seconds: float = 120) -> Any:
        """Return the call's result. Raise RpcError, or NodeError where bitcoind does not run."""
        with closing(Rpc(self.url, self.cookie_file.read_text, seconds)) as rpc:
            return rpc.call(method, *args, wallet=wallet)

    def mine(self, blocks: int = 1, address: str | None = None) -> list[str]:
        """Mine blocks, and return their hashes. The coins go to `address`, or to the customer's wallet."""
        return list(self.rpc("generatetoaddress", blocks, address or self._customer_address()))

    def fund_customer(self) -> None:
        """Give the wallet CUSTOMER coins. Coins of a block can be spent after 100 more blocks."""
        self.mine(101)

    def stop(self) -> None:
        """End the process by SIGTERM, as systemd does, and wait for its end."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the process by SIGKILL, which has the effect of a power cut."""
        self._end(signal.SIGKILL)

    def restart(self, *extra: str) -> None:
        """Stop and start the node with the same directory and ports. `extra` is for this start alone."""
        self.stop()
        self.launch(*extra)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _configuration(self) -> str:
        """Return bitcoin.conf.example with this node's password and addresses."""
        example = PROJECT / "bitcoin.conf.example"
        if not example.exists():
            raise NodeNotStarted("the demo needs Nodetill's sources: run it where you have unpacked them")
        text = example.read_text(encoding="utf-8")
        replacements = {
            r"#rpcauth=.*": rpcauth("nodetill", self.password),
            r"zmqpubrawtx=.*": f"zmqpubrawtx={self.zmq_rawtx}",
            r"zmqpubhashblock=.*": f"zmqpubhashblock={self.zmq_hashblock}",
        }
        for pattern, line in replacements.items():
            text, count = re.subn(f"(?m)^{pattern}$", line, text)
            assert count == 1, f"bitcoin.conf.example has {count} lines {pattern}"
        return text

    @property
    def _chain_directory(self) -> Path:
        return self.datadir / DIRECTORIES.get(self.chain, self.chain)

    def _is_ready(self) -> bool:
        try:
            self.rpc("getblockchaininfo", seconds=10)
        except BitcoindError:
            return False  # no cookie yet, no connection, or still warming up
        return True

    def _has_ended_within(self, seconds: float) -> bool:
        assert self.process is not None
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _end_of_output(self) -> str:
        output = (self.datadir / "output.log").read_text(errors="replace").strip()
        return output[-2000:] or f"no output; see {self._chain_directory / 'debug.log'}"

    def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        self.process.send_signal(number)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def _customer_address(self) -> str:
        if CUSTOMER not in self.rpc("listwallets"):
            try:
                self.rpc("loadwallet", CUSTOMER)
            except RpcError:
                # The last argument is load_on_startup, so bitcoind loads the wallet after a restart.
                self.rpc("createwallet", CUSTOMER, False, False, "", False, True, True)
        return str(self.rpc("getnewaddress", "", "bech32", wallet=CUSTOMER))


def rpcauth(username: str, password: str) -> str:
    """Return the user's line for bitcoin.conf, as Core's share/rpcauth/rpcauth.py makes it."""
    salt = secrets.token_hex(16)
    return f"rpcauth={username}:{salt}${hmac.new(salt.encode(), password.encode(), 'sha256').hexdigest()}"


@cache
def accepted_options(command: tuple[str, ...]) -> tuple[str, ...]:
    """Return the options of SPEED that this bitcoind has. It would not start with an unknown option."""
    known = subprocess.run([*command, "-help-debug"], capture_output=True, text=True, check=True).stdout
    return tuple(option for option in SPEED if f"  {option.partition('=')[0]}" in known)


if __name__ == "__main__":
    try:
        print(f"bitcoind: {find_bitcoind(report=partial(print, flush=True))[-1]}")
    except NoBitcoindError as problem:
        sys.exit(f"nodetill: {problem}")
