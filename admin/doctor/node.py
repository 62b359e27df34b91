"""Checks of bitcoind, by the same calls that the daemon makes."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from admin.doctor.findings import Finding, advice, from_problem, not_tried, ok, wrong
from admin.operator_rpc import Access, OperatorRpc
from config import Settings
from daemon.node.calls import ADDING_CALLS, DESCRIPTOR_CALLS, RPC_CALLS, WALLET_CALLS
from daemon.node.checks import (
    CATCHING_UP,
    DOWNLOADING,
    LOADING,
    STALLED,
    chain_problem,
    pruning_problem,
    relay_problem,
    wallet_problems,
)
from daemon.node.client import Bitcoind
from daemon.node.errors import BitcoindError, NodeError, RpcError
from daemon.node.types import NodeTip
from models.block import stored_tip
from models.daemon_status import DaemonReport, daemon_report
from models.payment import sample_addresses
from models.wallet import BITCOIND, BITCOIND_NAME, Wallet, wallets_in_use
from payments.network import network_of

SPENDING_CALLS = (
    "sendtoaddress sendmany send sendall bumpfee signrawtransactionwithwallet walletprocesspsbt "
    "listdescriptors gethdkeys dumpprivkey dumpwallet backupwallet"
).split()
"""The calls that move coins or reveal private keys."""

OPTIONAL_CALLS = frozenset({"getzmqnotifications"})
"""The calls of RPC_CALLS without which the daemon is only slower."""

QUIET_CHAINS = ("regtest", "signet", "test", "testnet4")
MAX_SILENCE = timedelta(hours=6)
"""The median time lags by an hour. On the main chain five more hours without a block are no coincidence."""

HEADERS_BEHIND = 2
"""Up to this many blocks may be in download."""


class NodeDiagnosis:
    """Checks bitcoind over two connections, because some checks need calls that the daemon never makes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._node = Bitcoind(settings)
        self._rpc = OperatorRpc(settings)
        self._has_database = False
        self._wallets: list[Wallet] = []

    @property
    def node(self) -> Bitcoind:
        return self._node

    def close(self) -> None:
        self._node.close()
        self._rpc.close()

    def date(self) -> str | None:
        """Return the Date of bitcoind's HTTP server, or None where bitcoind does not answer."""
        try:
            return self._rpc.time_of_day()
        except NodeError:
            return None

    def median_time(self) -> datetime | None:
        """Return the median time of bitcoind's tip, or None where bitcoind does not answer."""
        try:
            return self._node.tip().median_time
        except BitcoindError:
            return None

    def findings(self, *, has_database: bool) -> Iterator[Finding]:
        """Yield all findings by RPC and REST. With `has_database`, compare bitcoind with the database."""
        self._has_database = has_database
        # A new database has only the wallet in bitcoind.
        self._wallets = wallets_in_use() if has_database else [Wallet(id=BITCOIND, name=BITCOIND_NAME)]
        parts: dict[str, Callable[[NodeTip], Iterator[Finding]]] = {
            "chain": self._chain,
            "sync": self._sync,
            "pruning": self._pruning,
            "relay": self._relay,
            "rpc user": self._rights,
            "blocks": self._blocks,
            "wallet": self._of_each_wallet,
        }
        try:
            tip = self._node.tip()
        except NodeError as error:
            yield wrong("bitcoind", str(error))
            yield from not_tried(parts, "bitcoind does not answer")
            return
        yield ok("bitcoind", f"answers at {self._settings.rpc_url_without_credentials}")
        for part, look in parts.items():
            try:
                yield from look(tip)
            except BitcoindError as error:
                yield wrong(part, str(error))

    def _chain(self, tip: NodeTip) -> Iterator[Finding]:
        report = daemon_report() if self._has_database else DaemonReport()
        problem = chain_problem(self._node, tip, report)
        if problem is not None:
            # The database's blocks and addresses belong to another chain.
            self._has_database = False
        whose = "as this database's" if report.chain else "which this database will belong to"
        name = network_of(tip.chain, tip.signet_challenge, None)
        yield from_problem("chain", problem, f"{name}, {whose}")

    def _sync(self, tip: NodeTip) -> Iterator[Finding]:
        stored = stored_tip() if self._has_database else None
        at = f"at block {tip.height} of {tip.headers}"
        if tip.is_initial_download:
            yield wrong("sync", f"{at}: {DOWNLOADING}")
        elif stored is not None and tip.chainwork < stored.chainwork:
            # After invalidateblock bitcoind may still count the headers that it must not follow.
            is_stalled = STALLED in daemon_report().problems
            yield wrong("sync", f"{at}: {STALLED if is_stalled else CATCHING_UP}")
        elif tip.headers - tip.height > HEADERS_BEHIND:
            yield wrong("sync", f"{at}: bitcoind is catching up; wait until it is done")
        elif not self._node.is_mempool_loaded():
            yield wrong("sync", LOADING)
        elif tip.chain not in QUIET_CHAINS and datetime.now(UTC) - tip.median_time > MAX_SILENCE:
            yield wrong(
                "sync",
                f"{at}, and no new block since about {tip.median_time:%Y-%m-%d %H:%M} UTC: check that "
                "bitcoind has peers (bitcoin-cli getconnectioncount), and that the clock is right",
            )
        else:
            yield ok("sync", f"at block {tip.height}, the best known block; the mempool is loaded")

    def _pruning(self, tip: NodeTip) -> Iterator[Finding]:
        stored = stored_tip() if self._has_database else None
        problem = pruning_problem(tip, stored.height) if stored else None
        kept = f"blocks from {tip.pruned_below} on are kept" if tip.pruned_below else "all blocks are kept"
        yield from_problem("pruning", problem, kept)

    def _relay(self, _tip: NodeTip) -> Iterator[Finding]:
        if self._node.relays_transactions() is None:
            yield from not_tried(["relay"], "bitcoind does not let us call getnetworkinfo")
        else:
            yield from_problem(
                "relay", relay_problem(self._node), "bitcoind gets transactions from its peers"
            )

    def _rights(self, _tip: NodeTip) -> Iterator[Finding]:
        needed = self._needed_calls()
        found = {method: self._rpc.access_to(method) for method in (*sorted(needed), *SPENDING_CALLS)}
        lacking = [method for method in sorted(needed) if found[method] is Access.FORBIDDEN]
        if lacking:
            judge = advice if OPTIONAL_CALLS.issuperset(lacking) else wrong
            calls = ", ".join(lacking)
            yield judge("rpc user", f"bitcoind does not let us call {calls}: {self._whitelist()}")
        # The check "wallet" reports a bitcoind without wallets.
        absent = [m for m in sorted(needed - WALLET_CALLS) if found[m] is Access.ABSENT]
        if absent:
            judge = advice if OPTIONAL_CALLS.issuperset(absent) else wrong
            calls = ", ".join(absent)
            yield judge("rpc user", f"bitcoind has no call {calls}: run Bitcoin Core 28 or later, with ZMQ")
        spending = [method for method in SPENDING_CALLS if found[method] is Access.ALLOWED]
        if spending:
            yield self._of_spending(spending)
        elif not lacking and not absent:
            yield ok("rpc user", f"{self._user()} may make all calls that Nodetill needs, and can't spend")

    def _needed_calls(self) -> frozenset[str]:
        """Return the calls that the daemon makes with the wallets in use."""
        unneeded: frozenset[str] = frozenset()
        if not any(wallet.is_bitcoind for wallet in self._wallets):
            unneeded |= WALLET_CALLS
        if all(wallet.is_bitcoind for wallet in self._wallets):
            unneeded |= DESCRIPTOR_CALLS
        return RPC_CALLS - unneeded

    def _of_spending(self, calls: list[str]) -> Finding:
        """Return `wrong` where a loaded wallet has private keys, else `advice`."""
        may = f"{self._user()} may call {', '.join(calls)}"
        wallets = self._rpc.wallets_with_keys()
        if not wallets:
            return advice("rpc user", f"{may}; no wallet that is loaded has keys. Safer: {self._whitelist()}")
        return wrong(
            "rpc user",
            f"{may}: an attacker on this machine could spend the coins of wallet {', '.join(wallets)}. "
            f"Nodetill needs none of these calls: {self._whitelist()}",
        )

    def _user(self) -> str:
        return self._settings.rpc_username or "the cookie's user"

    def _whitelist(self) -> str:
        """Return the lines of bitcoin.conf that allow the user the calls that Nodetill needs, and no others.

        bitcoind allows a user with two whitelists only the calls that both whitelists have.
        """
        username = self._settings.rpc_username
        calls = ",".join(sorted(RPC_CALLS | ADDING_CALLS))
        lines = f"rpcwhitelist={username or 'nodetill'}:{calls} and rpcwhitelistdefault=0"
        if username is not None:
            return f"write {lines} into bitcoin.conf, and remove any other rpcwhitelist of {username}"
        return (
            "make a user for Nodetill as in bitcoin.conf.example (rpcauth), and set BITCOIND_RPC_URL="
            f"{self._settings.rpc_url_without_credentials.replace('://', '://nodetill:PASSWORD@')}; "
            f"write {lines} into bitcoin.conf"
        )

    def _blocks(self, _tip: NodeTip) -> Iterator[Finding]:
        if self._settings.bitcoind_rest == "off":
            yield ok("blocks", "by RPC, since BITCOIND_REST=off")
        elif self._rpc.serves_rest():
            yield ok("blocks", "by REST, as raw bytes")
        else:
            yield advice(
                "blocks",
                "by RPC, which takes ten times as long as by REST: add rest=1 to bitcoin.conf, "
                "or set BITCOIND_REST=off to leave it so",
            )

    def _of_each_wallet(self, tip: NodeTip) -> Iterator[Finding]:
        for wallet in self._wallets:
            yield from self._wallet(tip) if wallet.is_bitcoind else self._descriptor(wallet)

    def _descriptor(self, wallet: Wallet) -> Iterator[Finding]:
        """Yield whether bitcoind derives the address that identifies the wallet."""
        addresses = self._node.derive(str(wallet.descriptor), 0, 1)
        if self._node.scripts_of(addresses) == [wallet.first_script]:
            yield ok(
                "wallet", f"bitcoind derives the addresses of {wallet.name}, and needs no wallet for that"
            )
        else:
            yield wrong(
                "wallet", f"bitcoind derives other addresses of {wallet.name}; correct BITCOIND_RPC_URL"
            )

    def _wallet(self, _tip: NodeTip) -> Iterator[Finding]:
        name = self._settings.bitcoind_wallet
        try:
            was_loaded = not self._node.load_wallet()
        except RpcError:
            was_loaded = True  # wallet_problems() below has the reason
        addresses = sample_addresses() if self._has_database else ()
        problems = wallet_problems(self._settings, self._node, addresses)
        for problem in problems:
            yield wrong("wallet", problem)
        if problems:
            return
        kind = "with keys" if name in self._rpc.wallets_with_keys() else "watch-only"
        if was_loaded:
            yield ok("wallet", f"{name} is loaded, {kind}")
        else:
            yield advice(
                "wallet",
                f"{name}, {kind}, was not loaded; the doctor has loaded it, as the daemon would have done; "
                f"to have bitcoind load it at its start, add wallet={name} to bitcoin.conf",
            )
