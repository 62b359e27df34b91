"""Live payments, and memory: two installations, alike but for the size of their address tables."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median, quantiles

from bench.block import clear_mempool
from bench.live import LiveSeconds, Seller, measure_live
from bench.load import Load
from bench.memory import Memory, memory_of, memory_rows
from bench.part import Options
from bench.report import Row, beside
from bench.site import Site

MEDIAN_REACH, P99_REACH, GROWTH_REACH = 1.5, 10.0, 1.2

REMARKS = """\
- Live payment: from bitcoind's rawtx message, as a bare subscriber in another process gets it, to the status
  `received`, as that process can read it, or to the seller's webhook, as it receives it. Its floor: the
  subscriber stores one row durably when a foreign transaction's message comes. But a message proves nothing:
  Nodetill believes what bitcoind says when asked. So beside it stands a bare subscriber that asks for
  `getmempoolentry`, on a connection it keeps, before it stores its row and, for the webhook, posts 1,400
  bytes. All three are measured in turns.
- The observer looks at the database every 0.2 ms, which takes a tenth of a core.
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured. In turns, so that a machine that gets slower does so for both sizes."""

    address_counts: tuple[int, ...] = (1_000, 1_000_000)
    rounds: int = 2
    payments: int = 120


LEAN = Plan(address_counts=(1_000_000,))
QUICK = Plan(address_counts=(1_000, 2_000), rounds=1, payments=3)


@dataclass(slots=True)
class Figures:
    """What was measured with one size of the address table."""

    address_count: int
    live: LiveSeconds = field(default_factory=LiveSeconds)
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
    with seller.open(), Load.start(options.directory / "node", 3 * plan.payments) as load:
        sites = [
            Site(
                load,
                options.directory / str(count),
                count,
                plan.rounds * plan.payments,
                webhook_url=seller.url,
                new_database=options.new_database,
            )
            for count in plan.address_counts
        ]
        figures = [Figures(count) for count in plan.address_counts]
        for number in range(plan.rounds):
            for site, found in zip(sites, figures, strict=True):
                print(f"round {number + 1} of {plan.rounds}, {site.address_count:,} addresses", flush=True)
                _measure_round(plan, load, site, seller, found)
    return figures


def _measure_round(plan: Plan, load: Load, site: Site, seller: Seller, found: Figures) -> None:
    with site.running() as daemon:
        requests = site.requests(plan.payments)
        found.idle += filter(None, [memory_of(daemon.pid)])
        measure_live(load, site, requests, seller, found.live)
        clear_mempool(load, site)
        found.worked += filter(None, [memory_of(daemon.pid)])


def _live_rows(found: Figures) -> Iterator[Row]:
    live, size = found.live, f"{found.address_count:,} addresses"
    yield beside(f"live payment, {size}", live.floor, live.stored, MEDIAN_REACH)
    yield beside(f"live payment beside a subscriber that asks bitcoind, {size}", live.asked, live.stored)
    yield _p99_row(f"live payment's p99, {size}", live.floor, live.stored)
    yield beside(f"webhook of a live payment, {size}", live.floor, live.called, MEDIAN_REACH)
    yield beside(
        f"webhook beside a subscriber that asks bitcoind and posts, {size}",
        live.asked_and_called,
        live.called,
    )
    yield _p99_row(f"webhook's p99, {size}", live.floor, live.called)


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
