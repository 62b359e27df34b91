"""Live payments, and memory: two installations, alike but for the size of their address tables."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from statistics import median, quantiles

from bench.block import clear_mempool
from bench.ledger import Ledger
from bench.live import LiveSeconds, Seller, measure_live, measure_stored
from bench.load import Load
from bench.memory import Memory, memory_of, memory_rows
from bench.part import Options
from bench.processor import wait_until_quiet
from bench.report import Row, beside, spread
from bench.site import Site

MEDIAN_REACH, P99_REACH, GROWTH_REACH = 1.5, 10.0, 1.2

REMARKS = """\
- Live payment: from bitcoind's rawtx message, as a bare subscriber in another process gets it, to the status
  `received`, as that process can read it, or to the seller's webhook, as it receives it; once the filter
  before the address table has been read. Its floor: the subscriber stores one row durably when a foreign
  transaction's message comes.
- The rows behind it show why it can't be within 1.5 times that. A message proves nothing: Nodetill believes
  what bitcoind says when asked. A bare subscriber that asks for `getmempoolentry`, on a connection it keeps,
  before it stores the one row is above the target already. And one row is not a payment: one that asks, and
  then stores what has to be kept of it (output, outpoint, status, event, a message for each recipient) by the
  driver alone, into tables like Nodetill's, is the least that does what Nodetill does, but for deciding. For
  the webhook it then posts 1,400 bytes. All are measured in turns.
- The observer looks at the database every 0.2 ms, which takes a tenth of a core.
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured. In turns, so that a machine that gets slower does so for both sizes."""

    address_counts: tuple[int, ...] = (1_000, 1_000_000)
    rounds: int = 2
    payments: int = 120
    early: int = 20


LEAN = Plan(address_counts=(1_000_000,))
QUICK = Plan(address_counts=(1_000, 2_000), rounds=1, payments=3, early=2)


@dataclass(slots=True)
class Figures:
    """What was measured with one size of the address table."""

    address_count: int
    live: LiveSeconds = field(default_factory=LiveSeconds)
    early: list[float] = field(default_factory=list)
    idle: list[Memory] = field(default_factory=list)
    worked: list[Memory] = field(default_factory=list)


def rows(options: Options) -> Iterator[Row]:
    """Measure all of it, for each size of the address table in turns."""
    plan = options.choose(Plan(), LEAN, QUICK)
    figures = _measure(plan, options)
    for found in figures:
        yield from _live_rows(found)
    if len(figures) > 1:
        yield _growth_row(figures[0], figures[-1])
    for found in figures:
        yield from memory_rows(f"daemon's memory idle, {found.address_count:,} addresses", found.idle)
        yield from memory_rows(
            f"daemon's memory after live payments, {found.address_count:,} addresses", found.worked
        )


def _measure(plan: Plan, options: Options) -> list[Figures]:
    seller = Seller()
    with seller.open(), Load.start(options.directory / "node", 4 * plan.payments + plan.early) as load:
        sites = [
            Site(
                load,
                options.directory / str(count),
                count,
                plan.rounds * (plan.payments + plan.early),
                webhook_url=seller.url,
                new_database=options.new_database,
            )
            for count in plan.address_counts
        ]
        figures = [Figures(count) for count in plan.address_counts]
        kept = plan.rounds * plan.payments * len(sites)
        with closing(Ledger(options.new_database(options.directory / "ledger"), kept)) as ledger:
            for number in range(plan.rounds):
                for site, found in zip(sites, figures, strict=True):
                    print(
                        f"round {number + 1} of {plan.rounds}, {site.address_count:,} addresses", flush=True
                    )
                    _measure_round(plan, load, site, ledger, seller, found)
    return figures


def _measure_round(
    plan: Plan, load: Load, site: Site, ledger: Ledger, seller: Seller, found: Figures
) -> None:
    with site.running() as daemon:
        measure_stored(load, site, site.requests(plan.early), found.early)
        requests = site.requests(plan.payments)
        wait_until_quiet(daemon.pid)
        seller.forget()
        found.idle += filter(None, [memory_of(daemon.pid)])
        measure_live(load, site, ledger, requests, seller, found.live)
        clear_mempool(load, site)
        found.worked += filter(None, [memory_of(daemon.pid)])


def _live_rows(found: Figures) -> Iterator[Row]:
    live, size = found.live, f"{found.address_count:,} addresses"
    yield beside(f"live payment, {size}", live.floor, live.stored, MEDIAN_REACH)
    yield _why_row("a bare subscriber that asks bitcoind, and stores one row", live.floor, live.asked)
    yield _why_row("a bare subscriber that asks, and stores a payment", live.floor, live.kept)
    yield beside(f"live payment beside the latter, {size}", live.kept, live.stored)
    yield _p99_row(f"live payment's p99, {size}", live.floor, live.stored)
    yield beside(f"live payment in the first seconds after a start, {size}", live.stored, found.early)
    yield beside(f"webhook of a live payment, {size}", live.floor, live.called, MEDIAN_REACH)
    yield _why_row("that subscriber, which then posts", live.floor, live.kept_and_called)
    yield beside(f"webhook beside it, {size}", live.kept_and_called, live.called)
    yield _p99_row(f"webhook's p99, {size}", live.floor, live.called)


def _why_row(what: str, floor: list[float], least: list[float]) -> Row:
    """How far from the floor one is that does the least that Nodetill has to."""
    return Row(what, spread(floor), "", f"{spread(least)}: {median(least) / median(floor):.3g} times")


def _p99_row(what: str, floor: list[float], ours: list[float]) -> Row:
    middle, most = median(floor), quantiles(ours, n=100, method="inclusive")[-1]
    ratio = most / middle
    return Row(
        what,
        f"{1000 * middle:.1f} ms, its median",
        f"{1000 * most:.1f} ms",
        f"{ratio:.1f} times",
        f"within {P99_REACH:g} times",
        ratio <= P99_REACH,
    )


def _growth_row(few: Figures, many: Figures) -> Row:
    growth = median(many.live.stored) / median(few.live.stored)
    return Row(
        f"live payment, from {few.address_count:,} to {many.address_count:,} addresses",
        "",
        "",
        f"{growth:.2f} times",
        f"within {GROWTH_REACH:g} times",
        growth <= GROWTH_REACH,
    )
