"""`manage.py audit`: compare the stored open requests with bitcoind."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import click

from admin.audit.compare import Auditor, Difference, unrequested_differences
from admin.audit.links import link_differences
from admin.audit.node import FoundOutput, NodeReader, NodeState, WalletPayment
from admin.audit.stored import StoredPayment, StoredState, open_read_only, read_stored_state
from admin.cli import answer, database_errors, json_option, read_settings
from admin.operator_rpc import OperatorRpc
from admin.terminal import printable
from daemon.node.client import LABEL
from daemon.node.errors import NodeRefused, RpcError
from models.address import Address
from models.db.connection import snapshot
from models.wallet import BITCOIND, descriptor_wallets, is_bitcoind_used

LOOK_SECONDS = 1.0
PATIENCE_SECONDS = 8.0
"""A difference counts only if it lasts this long, because the daemon may be about to write a new fact.

The daemon waits for five seconds before it marks a payment as dropped.
"""

BEHIND = Difference(
    None,
    "the chain in the database does not end at bitcoind's tip, so nothing can be compared: the daemon does "
    "not run, or has to catch up (see its log, and /health)",
)


@dataclass(frozen=True, slots=True)
class Report:
    """The result of an audit. `height` is the tip's height at the last comparison."""

    differences: tuple[Difference, ...]
    not_checked: tuple[str, ...]
    requests: int
    height: int
    unpaid: tuple[str, ...] = ()
    """Claimed addresses that have no request and received nothing."""

    @property
    def document(self) -> dict[str, Any]:
        unpaid = {"addresses_without_request": list(self.unpaid)} if self.unpaid else {}
        return {
            "differences": [
                {"payment_request_id": each.payment, "difference": each.text} for each in self.differences
            ],
            "not_checked": list(self.not_checked),
            "requests": self.requests,
            "height": self.height,
            **unpaid,
        }

    @property
    def text(self) -> str:
        found = "no difference" if not self.differences else f"differences: {len(self.differences)}"
        if self.unpaid:
            found = f"{len(self.unpaid)} addresses have no request, and nothing came to them; {found}"
        return "\n".join(
            [
                *map(str, self.differences),
                *(f"not checked: {each}" for each in self.not_checked),
                f"Open requests: {self.requests}, at block {self.height}; {found}.",
            ]
        )


def _read_patience(_context: click.Context, _parameter: click.Parameter, seconds: float) -> float:
    if not math.isfinite(seconds):
        raise click.BadParameter("is no number of seconds; allowed: 0 or more")
    return seconds


@click.command()
@click.option(
    "--patience",
    type=click.FloatRange(0),
    callback=_read_patience,
    default=PATIENCE_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long a difference has to last.",
)
@json_option
def audit(patience: float, as_json: bool) -> None:
    """Compare the database with bitcoind.

    The audit computes every open request anew from bitcoind's data, and compares the result with the
    database. It prints each difference, and exits with status 1 if there is one. Money at an address without
    a request is a difference, too. The audit changes nothing, and may run beside the daemon. It reads the
    mempool, and all blocks since the oldest open request.

    \b
    manage.py audit
    manage.py audit --patience 60  # where the daemon is behind for some time
    manage.py audit --json
    """
    settings = read_settings()
    open_read_only(settings.database_url.reveal())
    with database_errors(), closing(OperatorRpc(settings)) as rpc:
        report = Audit(NodeReader(rpc), patience).run()
    text = "\n".join(map(printable, report.text.splitlines()))
    answer(report.document, text, as_json)
    raise SystemExit(1 if report.differences else 0)


@dataclass(slots=True)
class Audit:
    """An audit that compares several times, and keeps the differences that every comparison has."""

    node: NodeReader
    patience_seconds: float
    _not_checked: set[str] = field(default_factory=set)
    _requests: int = 0
    _height: int = 0
    _unpaid: tuple[str, ...] = ()

    def run(self) -> Report:
        """Return the result. Raise NodeError or RpcError where bitcoind cannot be read."""
        deadline = time.monotonic() + self.patience_seconds
        lasting: set[Difference] | None = None
        while True:
            found = self._compare()
            if found is not None:
                lasting = found if lasting is None else lasting & found
            if lasting == set() or time.monotonic() > deadline:
                break
            time.sleep(LOOK_SECONDS)
        differences = {BEHIND} if lasting is None else lasting
        in_order = sorted(differences, key=lambda each: (each.payment or "", each.text))
        not_checked = tuple(sorted(self._not_checked))
        return Report(tuple(in_order), not_checked, self._requests, self._height, self._unpaid)

    def _compare(self) -> set[Difference] | None:
        """Return the differences of this moment, or None where database and node have different tips."""
        with snapshot():
            before = read_stored_state()
        created = [entry.payment.created_at for entry in before.entries]
        since = min(created, default=datetime.now(UTC))
        scripts = {entry.payment.address.script for entry in before.entries}
        # No wallet in bitcoind lists the payments to the addresses of a descriptor.
        scripts |= {row.address.script for row in before.unrequested if row.address.wallet_id != BITCOIND}
        node_state = self.node.read_state(scripts, since)
        with snapshot():
            stored = read_stored_state()
            table = {row.address: bytes(row.script) for row in Address.select()}
            tip_height = 0 if node_state is None else node_state.height
            of_links = [*link_differences(stored.entries, tip_height)]
        if node_state is None:
            return None
        self._requests, self._height = len(stored.entries), node_state.height
        if stored.tip_hash != node_state.tip_hash:
            return None
        return {
            *self._of_requests(before, stored, node_state),
            *self._of_wallet(stored, table),
            *self._of_unrequested(stored, node_state),
            *of_links,
        }

    def _of_requests(
        self, before: StoredState, stored: StoredState, node_state: NodeState
    ) -> Iterator[Difference]:
        """Yield the differences of the requests that were stored before bitcoind was read."""
        known = {entry.payment.id for entry in before.entries}
        auditor = Auditor(self.node, node_state, datetime.now(UTC))
        for entry in stored.entries:
            if entry.payment.id in known:
                yield from auditor.differences(entry)
        self._not_checked = auditor.not_checked

    def _of_wallet(self, stored: StoredState, table: dict[str, bytes]) -> Iterator[Difference]:
        """Yield stored addresses that their wallet lacks, and the wallet's addresses that the table lacks."""
        descriptors = {wallet.id: str(wallet.descriptor) for wallet in descriptor_wallets()}
        try:
            for entry in stored.entries:
                yield from self._of_address(entry, descriptors.get(entry.payment.address.wallet_id))
        except NodeRefused as refusal:
            self._not_checked.add(f"whether the wallets have the addresses of the requests: {refusal}")
        except RpcError as error:
            self._not_checked.add(f"the addresses of the requests: {error}")
        if not is_bitcoind_used():
            return
        try:
            yield from self._of_unknown(self.node.labelled(LABEL) - table.keys())
        except NodeRefused as refusal:
            self._not_checked.add(f"whether the database has all of the wallet's addresses: {refusal}")
        except RpcError as error:
            self._not_checked.add(f"the wallet {self.node.rpc.wallet}: {error}")

    def _of_unknown(self, addresses: frozenset[str]) -> Iterator[Difference]:
        """Yield the wallet's addresses that the table lacks, with the amounts that they received."""
        payments = self.node.wallet_payments() if addresses else {}
        for address in addresses:
            received_sats = sum(each.amount_sats for each in payments.get(address, ()))
            yield Difference(
                None,
                f"the wallet's address {address} has the label {LABEL} and is not in the database"
                f"{f', and {received_sats} sats came to it' if received_sats else ''}: "
                "the daemon does not see money to it. The daemon stores the address at its next start",
            )

    def _of_unrequested(self, stored: StoredState, node_state: NodeState) -> Iterator[Difference]:
        """Yield the money at claimed addresses that have no request."""
        payments: Mapping[str, Sequence[WalletPayment]] = {}
        derived = [row for row in stored.unrequested if row.address.wallet_id != BITCOIND]
        try:
            if len(derived) < len(stored.unrequested):
                payments = self.node.wallet_payments()
        except (NodeRefused, RpcError) as error:
            self._not_checked.add(f"payments to addresses without a request: {error}")
        if derived:
            self._not_checked.add(
                f"payments before block {node_state.first_height} to descriptors' addresses without a request"
            )
        unpaid = []
        for row in stored.unrequested:
            received = payments.get(row.address.address, ())
            if row.address.wallet_id != BITCOIND:
                received = [*map(_as_payment, node_state.found.get(row.address.script, ()))]
            differences = [*unrequested_differences(row, received, node_state.mempool)]
            if not differences:
                unpaid.append(row.address.address)
            yield from differences
        self._unpaid = tuple(unpaid)

    def _of_address(self, entry: StoredPayment, descriptor: str | None) -> Iterator[Difference]:
        row = entry.payment.address
        if descriptor is not None:
            derived = self.node.derived(descriptor, row.derivation_index or 0)
            if derived != row.address:
                text = (
                    f"address {row.address} is not address {row.derivation_index} of its wallet, {derived} is"
                )
                yield Difference(entry.payment.reference, text)
        known = self.node.address(row.address, in_wallet=descriptor is None)
        if known["scriptPubKey"] != row.script.hex():
            text = (
                f"address {row.address} has the script {known['scriptPubKey']}, "
                f"the database has {row.script.hex()}"
            )
            yield Difference(entry.payment.reference, text)
        if descriptor is None and not (known["ismine"] or known.get("iswatchonly")):
            text = f"address {row.address} does not belong to the wallet {self.node.rpc.wallet}"
            yield Difference(entry.payment.reference, text)


def _as_payment(found: FoundOutput) -> WalletPayment:
    height = found.block.height if found.block else None
    return WalletPayment(found.txid, found.vout, found.amount_sats, height)
