"""Live payments, full blocks, memory: two installations, alike but for the size of their address tables."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from statistics import median

from bench.block import BlockSeconds, clear_mempool, measure_block
from bench.live import LiveSeconds, measure_live
from bench.load import FULL_BLOCK_WEIGHT, Load, foreign_weight
from bench.memory import Memory, memory_of
from bench.part import Options
from bench.report import Row, spread
from bench.site import Site

LIVE_REACH_SECONDS = 0.005
BLOCK_REACH = 2.0
GROWTH_REACH = 1.2
MEMORY_REACH_MEBIBYTES = 80

REMARKS = """\
- Live payment: from bitcoind's rawtx message, as a bare subscriber in another process gets it, to the status
  `received`, as that process can read it. Its floor: the subscriber stores one row durably when a foreign
  transaction's message comes. The two are measured in turns.
- Block: from the hashblock message to the block and the statuses at its height, committed. Its floor: the
  block's bytes by REST, and parsing them, when all is quiet. A block has one payment where none are named.
- The observer looks at the database every 0.2 ms, which takes a tenth of a core.
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured. In turns, so that a machine that gets slower does so for both sizes."""

    address_counts: tuple[int, ...] = (1_000, 1_000_000)
    rounds: int = 2
    payments: int = 50
    blocks: int = 3
    foreign_count: int = FULL_BLOCK_WEIGHT // foreign_weight() - payments

    @property
    def requests(self) -> int:
        """A round's payment requests: for the live payments, one for each block, and a block with many."""
        return 2 * self.payments + self.blocks


LEAN = Plan(address_counts=(1_000_000,))
QUICK = Plan(address_counts=(1_000, 2_000), rounds=1, payments=3, blocks=1, foreign_count=200)


@dataclass(slots=True)
class Figures:
    """What was measured with one size of the address table."""

    address_count: int
    live: LiveSeconds = field(default_factory=LiveSeconds)
    block: BlockSeconds = field(default_factory=BlockSeconds)
    paying_block: BlockSeconds = field(default_factory=BlockSeconds)
    idle: list[Memory] = field(default_factory=list)
    worked: list[Memory] = field(default_factory=list)


def rows(options: Options) -> Iterator[Row]:
    """Measure all of it, for each size of the address table in turns."""
    plan = options.choose(Plan(), LEAN, QUICK)
    yield from _rows(plan, _measure(plan, options))


def _measure(plan: Plan, options: Options) -> list[Figures]:
    coins = plan.foreign_count + 2 * plan.payments
    with Load.start(options.directory / "node", coins) as load:
        requests = plan.rounds * plan.requests
        sites = [
            Site(load, options.directory / str(n), n, requests, new_database=options.new_database)
            for n in plan.address_counts
        ]
        figures = [Figures(n) for n in plan.address_counts]
        for number in range(plan.rounds):
            for site, found in zip(sites, figures, strict=True):
                print(f"round {number + 1} of {plan.rounds}, {site.address_count:,} addresses", flush=True)
                _measure_round(plan, load, site, found)
    return figures


def _measure_round(plan: Plan, load: Load, site: Site, found: Figures) -> None:
    with site.running() as daemon:
        requests = iter(site.requests(plan.requests))
        found.idle += filter(None, [memory_of(daemon.pid)])
        measure_live(load, site, list(islice(requests, plan.payments)), found.live)
        clear_mempool(load, site)
        for _ in range(plan.blocks):
            measure_block(load, site, [next(requests)], plan.foreign_count, found.block)
        measure_block(load, site, list(requests), plan.foreign_count, found.paying_block)
        found.worked += filter(None, [memory_of(daemon.pid)])


def _rows(plan: Plan, figures: list[Figures]) -> Iterator[Row]:
    few, many = figures[0], figures[-1]
    for found in figures:
        yield _live_row(found)
    if few is not many:
        yield _growth_row("live payment", few, many, few.live.ours, many.live.ours)
    for found in figures:
        yield _block_row(plan.foreign_count + 2, "", found.address_count, found.block, BLOCK_REACH)
    for found in figures:
        payments = f" with {plan.payments} payments"
        count = plan.foreign_count + 1 + plan.payments
        yield _block_row(count, payments, found.address_count, found.paying_block, None)
    if few is not many:
        yield _growth_row("full block", few, many, few.block.ours, many.block.ours)
    for found in figures:
        yield from _memory_rows(found)


def _live_row(found: Figures) -> Row:
    over = median(found.live.ours) - median(found.live.floor)
    return Row(
        f"live payment, {found.address_count:,} addresses",
        spread(found.live.floor),
        spread(found.live.ours),
        f"{1000 * over:+.1f} ms",
        f"within {1000 * LIVE_REACH_SECONDS:g} ms of the floor",
        over <= LIVE_REACH_SECONDS,
    )


def _block_row(
    count: int, payments: str, address_count: int, seconds: BlockSeconds, reach: float | None
) -> Row:
    ratio = median(seconds.ours) / median(seconds.floor)
    weight = median(seconds.weights) / 1e6
    return Row(
        f"block of {count:,} ({weight:.2f} MWU){payments}, {address_count:,} addresses",
        spread(seconds.floor),
        spread(seconds.ours),
        f"{ratio:.2f} times",
        f"within {reach:g} times the floor" if reach else "",
        ratio <= reach if reach else None,
    )


def _growth_row(what: str, few: Figures, many: Figures, before: list[float], after: list[float]) -> Row:
    growth = median(after) / median(before)
    return Row(
        f"{what}, from {few.address_count:,} to {many.address_count:,} addresses",
        "",
        "",
        f"{growth:.2f} times",
        f"within {GROWTH_REACH:g} times",
        growth <= GROWTH_REACH,
    )


def _memory_rows(found: Figures) -> Iterator[Row]:
    for when, measured in (("idle", found.idle), ("after the above", found.worked)):
        if measured:
            resident, peak = (max(getattr(m, name) for m in measured) for name in ("resident", "peak"))
            yield Row(
                f"daemon's memory {when}, {found.address_count:,} addresses",
                "",
                f"{resident:.1f} MiB, at most {peak:.1f}",
                "",
                f"below {MEMORY_REACH_MEBIBYTES} MiB",
                peak < MEMORY_REACH_MEBIBYTES,
            )
