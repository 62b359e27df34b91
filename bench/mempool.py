"""The mempool read again, for what the feed did not bring, with many foreign transactions in it."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from bench.database import Database
from bench.load import FOREIGN_SATS, Load, Rpc
from bench.memory import memory_of, memory_rows
from bench.observer import Watcher
from bench.part import Options
from bench.report import Row, beside
from bench.site import fill
from config import load_settings
from daemon.chain.mempool import BATCH_SIZE, Mempool
from daemon.chain.watchlist import Watchlist
from daemon.node.client import Bitcoind
from models.db.connection import disconnect
from models.db.schema import open_database
from regtest.installation import Installation, settings_for

FIRST_REACH, NEXT_REACH = 5.0, 2.0
OUTPUTS = "SELECT count(*) FROM output"


@dataclass(frozen=True, slots=True)
class MempoolPlan:
    """How many foreign transactions there are, how many are new at the next look, and how often."""

    transactions: int = 50_000
    new: int = 50
    payments: int = 20
    runs: int = 3


REMARKS = """\
- Mempool re-read: what the loop calls for it (`Mempool.reread`, again until it says that all is read), in the
  bench's own process. The floor: `getrawmempool`, from a bare client. By the wallet is how Nodetill is
  operated; where no wallet can be asked, each new transaction must be fetched: that alone, many at once, is
  the floor of the row after it. The daemon's memory is taken when one that has no wallet has found payments
  among them.
"""

QUICK = MempoolPlan(transactions=100, new=5, payments=2, runs=1)


def rows(options: Options) -> Iterator[Row]:
    """A line for the first re-read and one for the next, in each of the two ways."""
    plan = QUICK if options.is_quick else MempoolPlan()
    with Load.start(options.directory / "node", plan.transactions + 3 * plan.runs * plan.new + 100) as load:
        load.submit([load.foreign() for _ in range(plan.transactions)])
        database = options.new_database(options.directory)
        open_database(database.url)
        fill(database, 1_000)
        node = Bitcoind(load_settings(settings_for(load.node, options.directory), options.directory))
        rpc = Rpc(load.node.admin_url)
        list_all = partial(rpc.call, "getrawmempool")
        floor = [_seconds(list_all) for _ in range(plan.runs)]
        fetched = [_seconds(partial(_fetch_all, rpc, list_all())) for _ in range(plan.runs)]
        for way, by_wallet in (("by the wallet", True), ("where no wallet can be asked", False)):
            first, following = _reread(load, node, plan, by_wallet)
            what = f"mempool re-read with {plan.transactions:,} foreign transactions, {way}"
            yield beside(what, floor, first, FIRST_REACH)
            yield beside(f"the next one, with {plan.new} new, {way}", floor, following, NEXT_REACH)
        yield beside(
            "the first where no wallet can be asked, beside fetching each transaction", fetched, first
        )
        node.close()
        disconnect()
        yield from _memory_rows(load, plan, options.directory, database)


def _reread(
    load: Load, node: Bitcoind, plan: MempoolPlan, by_wallet: bool
) -> tuple[list[float], list[float]]:
    """The seconds of a first re-read and of the next one, in turns."""
    first, following = [], []
    for _ in range(plan.runs):
        watch = Watchlist()
        while not watch.addresses.is_read:
            watch.addresses.read_on()
        read = partial(_read_whole, Mempool(node, watch), node.tip().hash, by_wallet)
        first.append(_seconds(read))
        load.submit([load.foreign() for _ in range(plan.new)])
        following.append(_seconds(read))
    return first, following


def _read_whole(mempool: Mempool, tip_hash: str, by_wallet: bool) -> None:
    while not mempool.rescan(tip_hash, datetime.now(UTC), by_wallet=by_wallet):
        pass


def _fetch_all(rpc: Rpc, txids: list[str]) -> None:
    for start in range(0, len(txids), BATCH_SIZE):
        raws = rpc.batch("getrawtransaction", [[txid] for txid in txids[start : start + BATCH_SIZE]])
        assert all(bytes.fromhex(raw) for raw in raws)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _memory_rows(load: Load, plan: MempoolPlan, directory: Path, database: Database) -> Iterator[Row]:
    """Of a daemon that has just read all of it; payments are among it to be found."""
    with database.connect() as connection:
        scripts = connection.execute("SELECT script FROM address LIMIT ?", plan.payments).fetchall()
    load.submit([load.payment(script, FOREIGN_SATS) for (script,) in scripts])
    installation = Installation(load.node, directory, DATABASE_URL=database.url, BITCOIND_WALLET="none")
    with installation.daemon.start() as daemon, Watcher(database) as watcher:
        watcher.wait_for(OUTPUTS, is_it=lambda count: count == plan.payments)
        memory = memory_of(daemon.pid)
    if memory is not None:
        what = f"daemon's memory after a first re-read of {plan.transactions:,} without a wallet"
        yield from memory_rows(what, [memory])
