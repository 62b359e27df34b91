"""Foreign transactions from the feed, one core: parsed, held against the address table, and let go."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import cast

from bench.database import Database
from bench.load import COIN_SCRIPT, Coin, random_script, signed, signed_all
from bench.part import Options
from bench.report import Row
from bench.site import filled
from config import load_settings
from daemon.chain.mempool import Mempool
from daemon.chain.transaction_handler import TransactionHandler
from daemon.chain.watchlist import Watchlist
from daemon.node.client import Bitcoind
from daemon.node.feed import BATCH_SIZE
from models.db.connection import disconnect
from models.db.schema import open_database
from payments.transaction import Transaction, parse_block, parse_transaction

PARSING_REACH, GROWTH_REACH = 0.5, 1.3
LARGE_COINS = 100


@dataclass(frozen=True, slots=True)
class MatchingPlan:
    """How many transactions, held against tables of how many addresses; and how many large ones, with how
    many outputs each."""

    address_counts: tuple[int, ...] = (1_000, 1_000_000, 10_000_000)
    transactions: int = 10_000
    large: int = 10
    outputs: int = 2_940
    runs: int = 5


REMARKS = """\
- Foreign transactions: as the feed brings them, 250 at a time, in one thread; half of them share a script.
  Their floor: parsing alone. Beside it, parsing and the least that a database can be asked, `SELECT 1` by the
  driver alone, once for each 250: on PostgreSQL that is a way to the server and back, which Nodetill's one
  statement for each 250 goes too. A block of large ones is 10 transactions that spend 100 coins and pay to
  2,940 scripts each, all of them somebody else's. A block's own rows have besides what bitcoind is asked, and
  what is stored.
"""

QUICK = MatchingPlan(address_counts=(1_000, 2_000), transactions=500, large=2, outputs=50, runs=1)


def rows(options: Options) -> Iterator[Row]:
    """A line for each size of the table, and one for growth."""
    plan = QUICK if options.is_quick else MatchingPlan()
    raws = [_foreign(number) for number in range(plan.transactions)]
    rates = []
    for count in plan.address_counts:
        database = filled(options, count)
        handler, watch = _open(database)
        floor = median(_parse(raws) for _ in range(plan.runs))
        asking = median(_ask(database, len(raws) // BATCH_SIZE) for _ in range(plan.runs))
        ours = median(_look(handler, raws) for _ in range(plan.runs))
        rates.append(len(raws) / ours)
        what = f"foreign transactions, {count:,} addresses"
        yield _row(what, len(raws), floor, ours)
        yield _row(f"{what}, beside parsing and asking for nothing", len(raws), floor + asking, ours, None)
        for what, parse in _blocks(plan, options):
            yield _beside_parsing(what, parse, watch, count, plan.runs)
        disconnect()
    if len(rates) > 1:
        yield _growth_row(plan, rates[0] / rates[-1])


def _blocks(
    plan: MatchingPlan, options: Options
) -> Iterator[tuple[str, Callable[[], Sequence[Transaction]]]]:
    """What blocks hold, each as what it is and how it is parsed."""
    if options.block:
        raw = options.block.read_bytes()
        yield "a block of the main chain", lambda: parse_block(raw).transactions
    raws = [_large(number, plan.outputs) for number in range(plan.large)]
    yield "a block of large ones", lambda: [parse_transaction(raw) for raw in raws]


def _growth_row(plan: MatchingPlan, growth: float) -> Row:
    return Row(
        f"foreign transactions, from {plan.address_counts[0]:,} to {plan.address_counts[-1]:,} addresses",
        "",
        "",
        f"{growth:.2f} times slower",
        f"at most {GROWTH_REACH:g} times",
        growth <= GROWTH_REACH,
    )


def _open(database: Database) -> tuple[TransactionHandler, Watchlist]:
    open_database(database.url)
    watch = Watchlist()
    while not watch.addresses.is_read:
        watch.addresses.read_on()
    # It is asked for nothing: none of these transactions concerns us.
    node = Bitcoind(load_settings({"DATABASE_URL": database.url}, Path()))
    return TransactionHandler(node, cast(Mempool, None), watch), watch


def _foreign(number: int) -> bytes:
    coin = Coin(number.to_bytes(36), 10_000)
    return signed(coin, [(1_000, random_script()), (1_000, COIN_SCRIPT if number % 2 else random_script())])


def _large(number: int, output_count: int) -> bytes:
    coins = [Coin((number * LARGE_COINS + place).to_bytes(36), 10_000) for place in range(LARGE_COINS)]
    return signed_all(coins, [(1_000, random_script()) for _ in range(output_count)])


def _parse(raws: Sequence[bytes]) -> float:
    began = time.perf_counter()
    for raw in raws:
        parse_transaction(raw)
    return time.perf_counter() - began


def _ask(database: Database, count: int) -> float:
    with database.connect() as connection:
        connection.value("SELECT 1")
        began = time.perf_counter()
        for _ in range(count):
            connection.value("SELECT 1")
        return time.perf_counter() - began


def _look(handler: TransactionHandler, raws: Sequence[bytes]) -> float:
    now = datetime.now(UTC)
    began = time.perf_counter()
    for start in range(0, len(raws), BATCH_SIZE):
        found = handler.look(raws[start : start + BATCH_SIZE], now)
        assert found is None
    return time.perf_counter() - began


def _row(what: str, count: int, floor: float, ours: float, reach: float | None = PARSING_REACH) -> Row:
    ratio = floor / ours
    return Row(
        what,
        f"{count / floor:,.0f} parsed a second",
        f"{count / ours:,.0f} a second",
        f"{ratio:.2f} times",
        "" if reach is None else f"at least {reach:g} times",
        None if reach is None else ratio >= reach,
    )


def _beside_parsing(
    what: str, parse: Callable[[], Sequence[Transaction]], watch: Watchlist, address_count: int, runs: int
) -> Row:
    """Parsing what a block holds, beside parsing and matching it."""
    parsing, both = [], []
    for _ in range(runs):
        began = time.perf_counter()
        transactions = parse()
        parsing.append(time.perf_counter() - began)
        assert not watch.matches(transactions)
        assert not list(watch.conflicting(transactions))
        both.append(time.perf_counter() - began)
    return Row(
        f"{what} ({len(transactions):,} transactions), {address_count:,} addresses",
        f"{1000 * median(parsing):.1f} ms to parse",
        f"{1000 * median(both):.1f} ms",
        f"{median(both) / median(parsing):.2f} times",
    )
