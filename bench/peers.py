"""Foreign transactions of the feed: Nodetill beside the package bitcoinwatcher, in the same run."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.blocks import stopped
from bench.load import FULL_BLOCK_WEIGHT, Load, foreign_weight
from bench.observer import Subscriber
from bench.report import Row
from bench.site import AMOUNT_SATS, Site
from bench.watching import WARM_UPS, Watching, bitcoinwatcher, nodetill
from payments.transaction import parse_transaction

FASTER_REACH = 1_000
SPARE = WARM_UPS + 10
A_BLOCK = FULL_BLOCK_WEIGHT // foreign_weight()

REMARKS = """\
- Foreign transactions: the program is stopped (SIGSTOP) while they go into the mempool, a payment last; from
  SIGCONT until it has seen the payment. Nodetill has seen it when the status is committed, `bitcoinwatcher`
  when it has written the txid. Each has its own number of transactions, so that neither takes minutes.
- `bitcoinwatcher` 2.18 runs like its simple_address_listener.py, for one address and without a log. It calls
  bitcoind for the spent outputs, which fails without -txindex, and goes on.
- A program in Python does not become 1,000 times faster than `bitcoinwatcher`. docs/scale.md has the reason.
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of the address table, the number of transactions for each program, and of rounds."""

    addresses: int = 1_000_000
    ours: int = 20_000
    theirs: int = 500
    rounds: int = 3


QUICK = Plan(addresses=2_000, ours=50, theirs=10, rounds=1)


def rows(directory: Path, *, is_quick: bool) -> Iterator[Row]:
    """Yield the one row. The programs take turns."""
    plan = QUICK if is_quick else Plan()
    ours, theirs = [], []
    with closing(Load.start(directory / "node", plan.ours + SPARE)) as load:
        site = Site(load, directory / "site", plan.addresses, 1)
        for _ in range(plan.rounds):
            ours.append(_rate(load, nodetill(site), plan.ours))
            theirs.append(_rate(load, bitcoinwatcher(load, directory), plan.theirs))
    faster = median(ours) / median(theirs)
    yield Row(
        f"foreign transactions, {plan.addresses:,} addresses",
        f"{_spread(theirs)}, bitcoinwatcher",
        _spread(ours),
        f"{faster:,.0f} times faster",
        f"{FASTER_REACH:,} times faster",
        faster >= FASTER_REACH,
    )


def _rate(load: Load, running: AbstractContextManager[Watching], count: int) -> float:
    """Return how many transactions of a backlog the program reads a second; then mine them."""
    with running as watching:
        raws = [load.foreign() for _ in range(count)]
        payment = load.payment(watching.script, AMOUNT_SATS)
        with closing(Subscriber("rawtx", load.node.zmq_rawtx)) as subscriber:
            with stopped(watching.pid):
                load.submit([*raws, payment])
                subscriber.wait_for(payment)
                began = time.perf_counter()
            rate = (count + 1) / (watching.wait_seen(parse_transaction(payment).txid) - began)
    load.begin_mine()
    load.finish()
    load.mine(1 + count // A_BLOCK)
    return rate


def _spread(rates: list[float]) -> str:
    return f"{median(rates):,.0f} a second ({min(rates):,.0f} – {max(rates):,.0f})"
