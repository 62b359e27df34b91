"""The check of a new wallet's key with bitcoind: its first addresses, and those that are used already."""

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import click

from admin.cli import CommandError
from admin.operator_rpc import OperatorRpc
from daemon.node.checks import network_problem
from daemon.node.errors import BitcoindError, RpcError
from models.address import known_positions
from models.daemon_status import daemon_report
from payments.descriptor import UnusableKey, WalletKey, read_wallet_key
from payments.network import MAIN

SHOWN = 3
WINDOW = 1000
"""The unused addresses after which the search ends, and the addresses of one call."""

SCAN_BATCH_SIZE = 10_000
SCAN_SECONDS = 6 * 3600.0
POLL_SECONDS = 1.0

_LONG_WORD = re.compile(r"\w{30,}")
_LAST_STEP = re.compile(r"/(\d+)\]")


@dataclass(frozen=True, slots=True)
class CheckedKey:
    """A key from which bitcoind derives addresses. `descriptor` is in bitcoind's form, with its checksum."""

    descriptor: str
    address_type: str
    is_guessed: bool
    addresses: tuple[str, ...]
    first_script: bytes


def check_key(rpc: OperatorRpc, text: str, address_type: str | None) -> CheckedKey:
    """Return the key's descriptor with its first addresses. Raise CommandError, RpcError or NodeError."""
    info = rpc.call("getblockchaininfo")
    problem = network_problem(info["chain"], info.get("signet_challenge"), daemon_report())
    if problem is not None:
        raise CommandError(problem)
    try:
        key = read_wallet_key(text, address_type, is_main=info["chain"] == MAIN)
    except UnusableKey as reason:
        raise CommandError(str(reason)) from None
    descriptor = _as_bitcoind_writes_it(rpc, key)
    addresses = _derive(rpc, descriptor, 0, SHOWN)
    if len(addresses) != SHOWN:
        raise CommandError("the descriptor has several addresses for each index; give the one of one type")
    script = rpc.call("validateaddress", addresses[0])["scriptPubKey"]
    return CheckedKey(descriptor, key.address_type, key.is_guessed, tuple(addresses), bytes.fromhex(script))


def next_unused(rpc: OperatorRpc, descriptor: str, start_index: int | None) -> int:
    """Return the index after all used addresses of the descriptor, and not before `start_index`.

    A used address has unspent coins in the chain, or is in the database. With `start_index` the chain is not
    scanned. Raise CommandError, RpcError or NodeError.
    """
    index = start_index or 0
    if start_index is None:
        index = _after_coins(rpc, descriptor)
    return _after_known(rpc, descriptor, index)


def _as_bitcoind_writes_it(rpc: OperatorRpc, key: WalletKey) -> str:
    try:
        info = rpc.call("getdescriptorinfo", key.descriptor)
    except RpcError as error:
        raise CommandError(f"bitcoind does not take this descriptor: {_without_keys(str(error))}") from None
    if info["hasprivatekeys"]:
        raise CommandError("the descriptor has a private key in it; give the one with the public key (xpub)")
    return str(info["descriptor"])


def _derive(rpc: OperatorRpc, descriptor: str, begin: int, end: int) -> list[str]:
    try:
        found: list[str] = rpc.call("deriveaddresses", descriptor, [begin, end - 1])
    except RpcError as error:
        text = _without_keys(str(error))
        raise CommandError(f"bitcoind derives no addresses from this descriptor: {text}") from None
    return found


def _after_coins(rpc: OperatorRpc, descriptor: str) -> int:
    """Return the index after the last address with unspent coins in the chain."""
    begin, after = 0, 0
    while after + WINDOW > begin:
        scanned = {"desc": descriptor, "range": [begin, begin + SCAN_BATCH_SIZE - 1]}
        with closing(rpc.another(SCAN_SECONDS)) as scanning, _progress(rpc):
            coins = scanning.call("scantxoutset", "start", [scanned])["unspents"]
        after = max([after, *(index + 1 for index in _newest_index(rpc, descriptor, coins))])
        begin += SCAN_BATCH_SIZE
    return after


def _newest_index(rpc: OperatorRpc, descriptor: str, coins: list[dict[str, Any]]) -> list[int]:
    """Return the highest index that one of these coins has, or no index.

    Each coin has a descriptor that names the steps to its keys. The script proves which step is the index.
    """
    named = {(int(step), coin["scriptPubKey"]) for coin in coins for step in _LAST_STEP.findall(coin["desc"])}
    for index, script in sorted(named, reverse=True):
        [address] = _derive(rpc, descriptor, index, index + 1)
        if rpc.call("validateaddress", address)["scriptPubKey"] == script:
            return [index]
    return []


def _after_known(rpc: OperatorRpc, descriptor: str, index: int) -> int:
    """Return the index after the last address that the database has, at least `index`."""
    begin = 0
    while begin < index + WINDOW:
        known = known_positions(_derive(rpc, descriptor, begin, begin + WINDOW))
        index = max([index, *(begin + position + 1 for position in known)])
        begin += WINDOW
    return index


@contextmanager
def _progress(rpc: OperatorRpc) -> Iterator[None]:
    """Print how far bitcoind's scan is, on a terminal. End the scan with the command."""
    is_over = threading.Event()

    def report() -> None:
        while not is_over.wait(POLL_SECONDS):
            with suppress(BitcoindError):
                status = rpc.call("scantxoutset", "status")
                if status is not None and sys.stderr.isatty():
                    click.echo(f"\r{status['progress']} % of the chain's coins ", nl=False, err=True)

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    is_done = False
    try:
        yield
        is_done = True
    finally:
        is_over.set()
        thread.join()
        if not is_done:
            with suppress(BitcoindError):
                rpc.call("scantxoutset", "abort")


def _without_keys(text: str) -> str:
    """Return bitcoind's message without the keys that it repeats."""
    return _LONG_WORD.sub("…", text)
