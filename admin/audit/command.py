"""`manage.py audit`: is everything that is stored of the open requests what bitcoind says?"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import click

from admin.audit.compare import Auditor, Difference, unrequested_differences
from admin.audit.node import NodeReader, NodeState, WalletPayment
from admin.audit.stored import StoredPayment, StoredState, open_books, read_books
from admin.cli import answer, json_option, read_settings
from admin.operator_rpc import Forbidden, OperatorRpc, RpcFault
from admin.terminal import printable
from daemon.node.client import LABEL
from models.address import Address
from models.db.connection import disconnect, snapshot

LOOK_SECONDS = 1.0
PATIENCE_SECONDS = 8.0
"""A difference is one if it is there for so long: the daemon may be about to write what bitcoind knows, and
waits for five seconds before it calls a payment dropped."""

BEHIND = Difference(
    None,
    "the chain in the database does not end at bitcoind's tip: the daemon does not run, or is held up "
    "(see its log, and /health); nothing can be compared before it has caught up",
)


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit found. `height` is that of the last look's tip."""

    differences: tuple[Difference, ...]
    not_checked: tuple[str, ...]
    requests: int
    height: int
    unpaid: tuple[str, ...] = ()
    """The claimed addresses that no request has, and to which nothing came."""

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
                *(f"not checked: {what}" for what in self.not_checked),
                f"Open requests: {self.requests}, at block {self.height}; {found}.",
            ]
        )


@click.command()
@click.option(
    "--patience",
    type=click.FloatRange(0),
    default=PATIENCE_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long a difference has to last.",
)
@json_option
def audit(patience: float, as_json: bool) -> None:
    """Is all that is stored as bitcoind has it?

    Works out every open request anew from bitcoind alone, and compares. Each difference is printed; exit
    status 1 where there is any. Money at an address without a request is one, too. Nothing is changed. It may
    run beside the daemon, and takes as long as reading the blocks since the oldest open request and the
    mempool does.

    \b
    manage.py audit
    manage.py audit --patience 60    where the daemon is behind for some time
    manage.py audit --json
    """
    settings = read_settings()
    open_books(settings.database_url.reveal())
    try:
        report = Audit(NodeReader(OperatorRpc(settings)), patience).run()
    finally:
        disconnect()
    text = "\n".join(map(printable, report.text.splitlines()))
    answer(report.document, text, as_json)
    raise SystemExit(1 if report.differences else 0)


@dataclass(slots=True)
class Audit:
    """Looks again and again: what is no difference in one look is none."""

    witness: NodeReader
    patience_seconds: float
    _not_checked: set[str] = field(default_factory=set)
    _requests: int = 0
    _height: int = 0
    _unpaid: tuple[str, ...] = ()

    def run(self) -> Report:
        """Raises CommandError where bitcoind can't be asked."""
        deadline = time.monotonic() + self.patience_seconds
        lasting: set[Difference] | None = None
        while True:
            found = self._look()
            if found is not None:
                lasting = found if lasting is None else lasting & found
            if lasting == set() or time.monotonic() > deadline:
                break
            time.sleep(LOOK_SECONDS)
        differences = {BEHIND} if lasting is None else lasting
        in_order = sorted(differences, key=lambda each: (each.payment or "", each.text))
        not_checked = tuple(sorted(self._not_checked))
        return Report(tuple(in_order), not_checked, self._requests, self._height, self._unpaid)

    def _look(self) -> set[Difference] | None:
        """What differs now; None where the two are not at one tip."""
        with snapshot():
            asked = read_books()
        created = [entry.payment.created_at for entry in asked.entries]
        since = min(created, default=datetime.now(UTC))
        evidence = self.witness.look({entry.payment.address.script for entry in asked.entries}, since)
        with snapshot():
            books = read_books()
            table = {row.address: bytes(row.script) for row in Address.select()}
        if evidence is None:
            return None
        self._requests, self._height = len(books.entries), evidence.height
        if books.tip_hash != evidence.tip_hash:
            return None
        wallet = self._of_wallet(books, table)
        return {*self._of_requests(asked, books, evidence), *wallet, *self._of_unrequested(books, evidence)}

    def _of_requests(
        self, asked: StoredState, books: StoredState, evidence: NodeState
    ) -> Iterator[Difference]:
        """Of those that were there when bitcoind was asked."""
        known = {entry.payment.id for entry in asked.entries}
        auditor = Auditor(self.witness, evidence, datetime.now(UTC))
        for entry in books.entries:
            if entry.payment.id in known:
                yield from auditor.differences(entry)
        self._not_checked = auditor.not_checked

    def _of_wallet(self, books: StoredState, table: dict[str, bytes]) -> Iterator[Difference]:
        """Whose the addresses are, and whether the table has all of them."""
        try:
            for entry in books.entries:
                yield from self._of_address(entry)
            yield from self._of_unknown(self.witness.labelled(LABEL) - table.keys())
        except Forbidden as forbidden:
            self._not_checked.add(f"whether the database has all of the wallet's addresses: {forbidden}")
        except RpcFault as fault:
            self._not_checked.add(f"the wallet {self.witness.rpc.wallet}: {fault}")

    def _of_unknown(self, addresses: frozenset[str]) -> Iterator[Difference]:
        """Yield the wallet's addresses that the table lacks, with what came to them."""
        payments = self.witness.wallet_payments() if addresses else {}
        for address in addresses:
            came = sum(each.amount_sats for each in payments.get(address, ()))
            yield Difference(
                None,
                f"the wallet's address {address} has the label {LABEL} and is not in the database"
                f"{f', and {came} sats came to it' if came else ''}: "
                "money to it would not be seen. The daemon takes it in when it starts",
            )

    def _of_unrequested(self, books: StoredState, evidence: NodeState) -> Iterator[Difference]:
        """Yield what came to claimed addresses that no request has."""
        payments: Mapping[str, Sequence[WalletPayment]] = {}
        try:
            payments = self.witness.wallet_payments() if books.unrequested else {}
        except (Forbidden, RpcFault) as fault:
            self._not_checked.add(f"what came to addresses without a request: {fault}")
        unpaid = []
        for row in books.unrequested:
            differences = [*unrequested_differences(row, payments.get(row.address, ()), evidence.mempool)]
            if not differences:
                unpaid.append(row.address)
            yield from differences
        self._unpaid = tuple(unpaid)

    def _of_address(self, entry: StoredPayment) -> Iterator[Difference]:
        row = entry.payment.address
        known = self.witness.address(row.address)
        if known["scriptPubKey"] != row.script.hex():
            text = (
                f"address {row.address} has the script {known['scriptPubKey']}, stored is {row.script.hex()}"
            )
            yield Difference(entry.payment.reference, text)
        if not (known["ismine"] or known.get("iswatchonly")):
            text = f"address {row.address} is none of the wallet {self.witness.rpc.wallet}"
            yield Difference(entry.payment.reference, text)
