"""Full blocks, of many small transactions and of few large ones; and with many requests open."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median

from bench.block import BlockSeconds, clear_mempool, measure_block, measure_floor, measure_look
from bench.database import Database
from bench.floor import store_again
from bench.load import FOREIGN_SATS, FULL_BLOCK_WEIGHT, Load, foreign_weight, random_script
from bench.memory import Memory, memory_of, memory_rows
from bench.part import Options
from bench.processor import wait_until_quiet
from bench.report import Row, beside, spread
from bench.requests import fill_requests, request_row
from bench.site import AMOUNT_SATS, Request, Site

BLOCK_REACH, OPEN_REACH = 1.5, 1.2
FIRST_ADDRESS = 2

REMARKS = """\
- Block: from the hashblock message to the block and the statuses at its height, committed; what it holds was
  in the mempool before, and the filter before the address table has been read. Its floor: a bare subscriber
  that fetches the block's bytes by REST and parses them when the message comes, while the daemon is held
  still. A large transaction is as large as is relayed, as of an exchange that pays out: 100 kvB, with 100
  inputs and 2,940 outputs, which but for the change are each to somebody else.
- Beside a look through it and storing: a bare subscriber to both topics, as the daemon is one, which parses
  what the feed brings, and from the hashblock message on fetches and parses the block and looks for each
  output's script in a set of all addresses' scripts; and then what the driver alone takes to store its
  payments, as for each payment more. The set has it easy: Nodetill's filter takes a hundredth of its memory.
  The row after it says for how long of the time the daemon's loop is computing: the rest it waits.
- Each payment more in a block: what a block of many takes beyond the one of one that was measured before it,
  the median of these. Its floor is the driver alone, which reads what the block has changed of these
  requests and their outputs, and writes it as it is, all of them in one durable commit.
"""


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """How much is measured. A large transaction has `coins` inputs, as many for change, and others."""

    address_count: int = 1_000_000
    rounds: int = 2
    runs: int = 3
    small: int = FULL_BLOCK_WEIGHT // foreign_weight()
    payments: int = 100
    large: int = 10
    coins: int = 100
    others: int = 2_840
    open_requests: int = 100_000


LEAN = BlockPlan(runs=2)
QUICK = BlockPlan(6_000, 1, 1, small=200, payments=4, large=2, coins=20, others=20, open_requests=500)


@dataclass(slots=True)
class Figures:
    """What was measured; `stored` for as many payments as a block has, `looked_through` for a block of large
    transactions and as many payments, `beside_open` with many requests."""

    small_floor: list[float] = field(default_factory=list)
    large_floor: list[float] = field(default_factory=list)
    one_of_small: BlockSeconds = field(default_factory=BlockSeconds)
    many_of_small: BlockSeconds = field(default_factory=BlockSeconds)
    one_of_large: BlockSeconds = field(default_factory=BlockSeconds)
    many_of_large: BlockSeconds = field(default_factory=BlockSeconds)
    stored: list[float] = field(default_factory=list)
    looked_through: list[float] = field(default_factory=list)
    beside_open: BlockSeconds = field(default_factory=BlockSeconds)
    memory: list[Memory] = field(default_factory=list)


def rows(options: Options) -> Iterator[Row]:
    """Measure all of it, in turns."""
    plan = options.choose(BlockPlan(), LEAN, QUICK)
    found = _measure(plan, options)
    small, few, many = f"{plan.small + 1:,} transactions", "one of them ours", f"{plan.payments} of them ours"
    yield _block_row(f"{small}, {few}", found.small_floor, found.one_of_small)
    yield _block_row(f"{small}, {many}", found.small_floor, found.many_of_small)
    yield _each_row(plan.payments, found)
    large = f"{plan.large + 1} transactions"
    yield _block_row(f"{large}, one output of ours", found.large_floor, found.one_of_large)
    paid = f"{plan.payments} outputs of ours"
    yield _block_row(f"{large}, {paid}", found.large_floor, found.many_of_large)
    yield from _look_rows(f"{large}, {paid}", found)
    yield _open_row(f"{small}, beside {plan.open_requests:,} open requests", found)
    yield from memory_rows(f"daemon's memory after that, {plan.open_requests:,} open requests", found.memory)


def _measure(plan: BlockPlan, options: Options) -> Figures:
    found = Figures()
    coins = max(plan.small, plan.large * plan.coins) + plan.payments
    count = plan.rounds * plan.runs * 2 * (1 + plan.payments)
    with Load.start(options.directory / "node", coins) as load:
        few, many = (
            Site(load, options.directory / name, plan.address_count, count, new_database=options.new_database)
            for name in ("few", "many")
        )
        open_requests(many.database, plan.open_requests)
        for number in range(plan.rounds):
            print(f"round {number + 1} of {plan.rounds}", flush=True)
            with few.running() as daemon:
                clear_mempool(load, few)
                wait_until_quiet(daemon.pid)
                for _ in range(plan.runs):
                    _measure_each(plan, load, few, found)
            with many.running() as daemon:
                clear_mempool(load, many)
                wait_until_quiet(daemon.pid)
                for request in many.requests(plan.runs):
                    measure_block(load, many, _small(plan, load, [request]), [request], found.beside_open)
                found.memory += filter(None, [memory_of(daemon.pid)])
    return found


def _measure_each(plan: BlockPlan, load: Load, site: Site, found: Figures) -> None:
    found.small_floor.append(measure_floor(load, site, _small(plan, load, [])))
    found.large_floor.append(measure_floor(load, site, _large(plan, load, [])))
    for count, block in ((1, found.one_of_small), (plan.payments, found.many_of_small)):
        requests = site.requests(count)
        measure_block(load, site, _small(plan, load, requests), requests, block)
    for count, block in ((1, found.one_of_large), (plan.payments, found.many_of_large)):
        requests = site.requests(count)
        measure_block(load, site, _large(plan, load, requests), requests, block)
    found.stored.append(store_again(site.database, [request.reference for request in requests]))
    look = measure_look(load, site, _large(plan, load, []))
    found.looked_through.append(look + found.stored[-1])


def _small(plan: BlockPlan, load: Load, paid: Sequence[Request]) -> list[bytes]:
    foreign = [load.foreign() for _ in range(plan.small - len(paid))]
    return foreign + [load.payment(request.script, AMOUNT_SATS) for request in paid]


def _large(plan: BlockPlan, load: Load, paid: Sequence[Request]) -> list[bytes]:
    """Each pays its part of the requests; every other output but the change is to somebody else."""
    share = plan.payments // plan.large
    parts = [paid[start : start + share] for start in range(0, plan.payments, share)]
    return [
        load.large([*_others(plan.others - len(part)), *((AMOUNT_SATS, r.script) for r in part)], plan.coins)
        for part in parts
    ]


def _others(count: int) -> list[tuple[int, bytes]]:
    return [(FOREIGN_SATS, random_script()) for _ in range(count)]


def open_requests(database: Database, count: int) -> None:
    """Put requests into the table that nobody has paid yet, at the oldest of its addresses of nobody."""
    now = datetime.now(UTC)
    with database.connect() as connection:
        connection.execute("BEGIN")
        fill_requests(connection, (request_row(n, FIRST_ADDRESS + n, now) for n in range(count)))
        connection.execute("COMMIT")
        connection.settle()


def _block_row(what: str, floor: Sequence[float], block: BlockSeconds) -> Row:
    return beside(f"block of {block.weight / 1e6:.2f} MWU: {what}", floor, block.seconds, BLOCK_REACH)


def _look_rows(what: str, found: Figures) -> Iterator[Row]:
    ours = found.many_of_large
    yield beside(f"{what}, beside a look through it and storing", found.looked_through, ours.seconds)
    if ours.computed:
        yield beside(f"{what}: what of it the daemon computes", ours.seconds, ours.computed)


def _each_row(count: int, found: Figures) -> Row:
    pairs = zip(found.one_of_small.seconds, found.many_of_small.seconds, strict=True)
    floor, ours = median(found.stored) / count, median(many - one for one, many in pairs) / (count - 1)
    cells = f"{1000 * floor:.3f} ms by the driver alone", f"{1000 * ours:.2f} ms"
    return Row("each payment more in a block", *cells, f"{ours / floor:.3g} times")


def _open_row(what: str, found: Figures) -> Row:
    growth = median(found.beside_open.seconds) / median(found.one_of_small.seconds)
    return Row(
        f"block of {found.beside_open.weight / 1e6:.2f} MWU: {what}",
        f"{spread(found.one_of_small.seconds)}, beside none",
        spread(found.beside_open.seconds),
        f"{growth:.2f} times",
        f"within {OPEN_REACH:g} times",
        growth <= OPEN_REACH,
    )
