"""`python -m tests.support.fault_figures` measures how long each fault hides a payment.

It writes bench/faults.md. The times are in multiples of RECONCILE_INTERVAL, which docs/spec.md promises as
the longest delay.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median

from regtest.node import PROJECT, RegtestNode
from regtest.process import start_python
from tests.support.customer import Customer
from tests.support.merchant import Merchant, Order
from tests.support.rpc_fault_server import RpcFault, RpcFaultServer
from tests.support.zmq_forwarder import ZmqForwarder

INTERVAL_SECONDS = 15
PAYMENTS = 12
FAULT_SECONDS = 10.0
PATIENCE_SECONDS = 4.0 * INTERVAL_SECONDS

Row = tuple[str, list[float]]


def main() -> None:
    """Measure the delays, and print and write the table."""
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        directory = Path(name)
        with RegtestNode.start(directory / "bitcoind") as node:
            node.rpc("setmocktime", int(datetime.now(UTC).timestamp()) - 3600)
            node.fund_customer()
            node.rpc("setmocktime", 0)
            customer = Customer(node)
            rows = [*_with_feed(node, customer, directory), *_with_rpc(node, customer, directory)]
    text = _table(rows)
    sys.stdout.write(text)
    (PROJECT / "bench" / "faults.md").write_text(text, encoding="utf-8")


def _with_feed(node: RegtestNode, customer: Customer, directory: Path) -> Iterable[Row]:
    """Measure from the moment when bitcoind has a payment or a block until the daemon has processed it."""
    with ZmqForwarder(node) as feed:
        merchant = _merchant(node, directory / "feed", feed.settings)
        try:
            for loss, name in ((0.0, "whole"), (1 / 3, "a third lost"), (1.0, "all lost")):
                feed.loss = loss
                yield (
                    f"payments, the feed {name}",
                    [_payment_delay(merchant, customer) for _ in range(PAYMENTS)],
                )
                yield f"blocks, the feed {name}", [_block_delay(merchant) for _ in range(PAYMENTS // 3)]
        finally:
            merchant.close()


def _with_rpc(node: RegtestNode, customer: Customer, directory: Path) -> Iterable[Row]:
    """Measure from the end of a fault until the daemon has processed a payment from during the fault."""
    with RpcFaultServer(node) as server:
        merchant = _merchant(node, directory / "rpc", server.settings)
        try:
            for fault in RpcFault:
                if fault not in (RpcFault.NONE, RpcFault.SCANNING):
                    yield (
                        f"after {FAULT_SECONDS:g} s of {fault.value}",
                        [_delay_after_fault(merchant, customer, server, fault)],
                    )
        finally:
            merchant.close()


def _merchant(node: RegtestNode, directory: Path, settings: dict[str, str]) -> Merchant:
    interval = str(INTERVAL_SECONDS)
    return Merchant(node, directory, start_python, RECONCILE_INTERVAL=interval, **settings).open(
        is_well=False
    )


def _payment_delay(merchant: Merchant, customer: Customer) -> float:
    order = merchant.request()
    customer.pay(order.address, order.amount_sats)
    return _seconds_until(merchant, partial(_is_received, order))


def _block_delay(merchant: Merchant) -> float:
    merchant.node.mine()
    height = merchant.node.rpc("getblockcount")
    return _seconds_until(merchant, lambda: merchant.health().document["chain"]["height"] == height)


def _delay_after_fault(
    merchant: Merchant, customer: Customer, server: RpcFaultServer, fault: RpcFault
) -> float:
    order = merchant.request()
    server.begin(fault)
    is_over = time.monotonic() + FAULT_SECONDS
    merchant.wait(lambda: time.monotonic() > is_over - FAULT_SECONDS / 2, "wait")
    customer.pay(order.address, order.amount_sats)
    merchant.wait(lambda: time.monotonic() > is_over, "wait")
    server.end()
    return _seconds_until(merchant, partial(_is_received, order))


def _is_received(order: Order) -> bool:
    return bool(order.now()["status"] == "received")


def _seconds_until(merchant: Merchant, is_done: Callable[[], bool]) -> float:
    began = time.monotonic()
    merchant.wait(is_done, "process it", PATIENCE_SECONDS)
    return time.monotonic() - began


def _table(rows: Iterable[Row]) -> str:
    lines = [
        "# Time until Nodetill finds payments and blocks",
        "",
        "The table shows how long each fault hides a payment or a block. Each cell has the median and the",
        f"longest time, in multiples of RECONCILE_INTERVAL (here {INTERVAL_SECONDS} s, by default 60 s)",
        "and in seconds.",
        "`python -m tests.support.fault_figures`, part of `make soak`, writes this page.",
        "",
        "| | times the interval | seconds |",
        "| --- | --- | --- |",
    ]
    for name, found in rows:
        middle, longest = median(found), max(found)
        times = f"{middle / INTERVAL_SECONDS:.2f}, at most {longest / INTERVAL_SECONDS:.2f}"
        lines.append(f"| {name} | {times} | {middle:.2f}, at most {longest:.2f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
