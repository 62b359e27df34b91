"""An hour of a whole installation under moderate load: does its memory grow? Only with `--only hour`."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median

import pygal

from bench.block import HEIGHT
from bench.callers import Caller, get
from bench.load import FULL_BLOCK_WEIGHT, Load, foreign_weight
from bench.memory import REACH_MEBIBYTES, memory_of
from bench.observer import Watcher
from bench.part import Options
from bench.report import Row
from bench.site import AMOUNT_SATS, Site
from tests.support.endpoint import Endpoint, answers

GROWTH_REACH_MEBIBYTES = 2
POOL = 100
QUARTERS = 4

REMARKS = """\
- The hour: two new requests a second, of which three of four are paid at once and the others expire; ten
  foreign transactions a second; a block each 20 s, each ninth of them full; twenty status reads a second, a
  scrape of /metrics each 15 s, and a shop that takes the webhooks. Memory is sampled each 10 s; each figure
  is a quarter's median. What the last quarter has above the second is growth.

![The memory of both over the hour](hour.svg)
"""


@dataclass(frozen=True, slots=True)
class HourPlan:
    """How long, and the seconds from each thing to the next."""

    seconds: float = 3600
    request: float = 0.5
    foreign: float = 0.1
    status: float = 0.05
    block: float = 20
    scrape: float = 15
    sample: float = 10
    full_count: int = FULL_BLOCK_WEIGHT // foreign_weight() - 300


QUICK = HourPlan(seconds=6, block=2, scrape=1, sample=0.2, full_count=100)
PAID_OF, FULL_OF = 4, 9
"""Of so many requests one is not paid; of so many blocks one is full."""


@dataclass(slots=True)
class Life:
    """What goes on, counted, and the memory meanwhile: (minutes, MiB) of each process."""

    load: Load
    site: Site
    caller: Caller
    full_count: int
    requests: int = 0
    paid: int = 0
    blocks: int = 0
    paths: list[str] = field(default_factory=list)
    memory: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    def request(self) -> None:
        """A customer comes; most pay."""
        [request] = self.site.requests(1)
        self.requests += 1
        self.paths = [*self.paths[-1000:], f"/pay/{request.reference}/status"]
        if self.requests % PAID_OF:
            self.load.submit([self.load.payment(request.script, AMOUNT_SATS)])
            self.paid += 1

    def foreign(self) -> None:
        """Somebody pays somebody else."""
        self.load.submit([self.load.foreign()])

    def block(self) -> None:
        """A miner finds a block."""
        self.blocks += 1
        if self.blocks % FULL_OF == 0:
            self.load.submit([self.load.foreign() for _ in range(self.full_count)])
        self.load.begin_mine()
        self.load.finish()

    def status(self) -> None:
        """One of the open checkout pages asks how it stands."""
        if self.paths:
            self.paths = [*self.paths[1:], self.paths[0]]
            self.caller.call(get(self.paths[0]), b"200")

    def scrape(self) -> None:
        """Prometheus comes by."""
        self.caller.call(get("/metrics"), b"200")

    def sample(self) -> None:
        """How much memory both have now."""
        minutes = (time.monotonic() - self.began) / 60
        for process in (self.site.daemon, self.site.web):
            memory = memory_of(process.pid)
            if memory is not None:
                self.memory.setdefault(process.name, []).append((minutes, memory.resident))


@dataclass(slots=True)
class Recurring:
    """Something that is done every so many seconds; what is late is not made up for."""

    seconds: float
    do: Callable[[], None]
    due: float

    def look(self) -> None:
        """Do it if it is time."""
        if time.monotonic() >= self.due:
            self.do()
            self.due = max(self.due + self.seconds, time.monotonic())


def rows(options: Options) -> Iterator[Row]:
    """A line for each process and what they were asked for; the plot goes beside the table."""
    plan = QUICK if options.is_quick else HourPlan(seconds=options.minutes * 60)
    with (
        Load.start(options.directory / "node", plan.full_count + 1000) as load,
        Endpoint(answers(200)) as shop,
    ):
        site = Site(load, options.directory / "site", 1_000, POOL, webhook_url=shop.url)
        with site.running():
            life = _live(plan, load, site)
            seen = _paid(load, site)
        yield _life_row(life, seen, len(shop.requests), plan.seconds / 60)
    for name, samples in life.memory.items():
        yield _memory_row(name, [mebibytes for _, mebibytes in samples])
    (options.plots / "hour.svg").write_bytes(_plot(life))


def _live(plan: HourPlan, load: Load, site: Site) -> Life:
    life = Life(load, site, Caller(site.port), plan.full_count)
    names = ("request", "foreign", "status", "block", "scrape", "sample")
    things = [Recurring(getattr(plan, name), getattr(life, name), life.began) for name in names]
    while time.monotonic() < life.began + plan.seconds:
        for thing in things:
            thing.look()
        time.sleep(max(min(thing.due for thing in things) - time.monotonic(), 0))
    life.caller.close()
    return life


def _paid(load: Load, site: Site) -> int:
    """How many requests are known to be paid, as of one more block."""
    load.mine(1)
    height = load.height()
    with Watcher(site.database) as watcher:
        watcher.wait_for(HEIGHT, is_it=lambda reached: reached == height)
        return int(watcher.value("SELECT count(*) FROM payment_request WHERE received_sats = amount_sats"))


def _life_row(life: Life, seen: int, told: int, minutes: float) -> Row:
    return Row(
        f"{minutes:g} minutes, {life.requests:,} requests, {life.blocks:,} blocks",
        f"{life.paid:,} paid",
        f"{seen:,} seen as paid, {told:,} webhooks",
        "",
        "all of them",
        seen == life.paid,
    )


def _memory_row(name: str, samples: list[float]) -> Row:
    count = len(samples)
    quarters = [median(samples[count * q // QUARTERS : count * (q + 1) // QUARTERS]) for q in range(QUARTERS)]
    growth = quarters[-1] - quarters[1]
    figures = ", ".join(f"{quarter:.1f}" for quarter in quarters)
    return Row(
        f"{name}'s memory, quarter by quarter",
        "",
        f"{figures} MiB, at most {max(samples):.1f}",
        f"{growth:+.1f} MiB",
        f"at most {GROWTH_REACH_MEBIBYTES:+d}, below {REACH_MEBIBYTES} MiB",
        growth <= GROWTH_REACH_MEBIBYTES and max(samples) < REACH_MEBIBYTES,
    )


def _plot(life: Life) -> bytes:
    """An SVG that fetches nothing: pygal's own has a script of its makers' site."""
    chart = pygal.XY(
        js=[],
        show_dots=False,
        width=800,
        height=300,
        range=(0, REACH_MEBIBYTES),
        title="memory over time",
        x_title="minutes",
        y_title="MiB",
    )
    for name, samples in life.memory.items():
        chart.add(name, samples)
    image: bytes = chart.render()
    return image
