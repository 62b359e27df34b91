"""An older, another or a moved database in the place of the servers' own gives no address twice."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.output import Output
from regtest.process import Process
from tests.conftest import sqlite_in
from tests.functional.conftest import MerchantMaker, run_on_sqlite
from tests.support.customer import Customer
from tests.support.merchant import Merchant

POOL = 5


@pytest.fixture
def merchant(make_merchant: MerchantMaker, tmp_path: Path) -> Iterator[Merchant]:
    yield from run_on_sqlite(make_merchant, tmp_path, POOL)


@pytest.mark.broad
def test_the_audit_names_payments_to_addresses_without_a_request(
    make_merchant: MerchantMaker, customer: Customer, tmp_path: Path
) -> None:
    """A restored database lacks requests, both for addresses of its pool and for later addresses."""
    merchant = make_merchant(ADDRESS_POOL="3", DATABASE_URL=sqlite_in(tmp_path)).open()
    merchant.request()
    merchant.wait_full()
    copy = tmp_path / "copy.db"
    merchant.installation.manage_json("database", "backup", str(copy))
    *paid, unpaid = (merchant.request() for _ in range(7))
    merchant.installation.stop()
    for order in paid:
        customer.pay(order.address, order.amount_sats)
    merchant.node.mine()
    waiting = customer.pay(paid[0].address, 5_000)
    merchant.put_back(copy)
    merchant.installation.manage_json("database", "retire-pool")
    merchant.installation.start()
    with merchant.database():
        wanted = len(paid) + 1
        merchant.wait(
            lambda: Output.select().count() == wanted, "record the payments to addresses without a request"
        )
    done = merchant.installation.manage("audit")
    assert done.returncode == 1
    for order in paid[1:]:
        assert f"address {order.address} belongs to no request, and 20000 sats came to it" in done.stdout
    assert f"address {paid[0].address} belongs to no request, and 25000 sats came to it" in done.stdout
    assert waiting.txid in done.stdout
    assert unpaid.address not in done.stdout
    report = json.loads(merchant.installation.manage("audit", "--json").stdout)
    assert unpaid.address in report["addresses_without_request"]
    assert len(report["differences"]) == len(paid)

    merchant.daemon.stop()
    with merchant.database():
        Output.delete().where(Output.txid == waiting.txid).execute()
    done = merchant.installation.manage("audit", "--patience", "0")
    assert f"output {waiting.txid}:0 of 5000 sats is in the mempool, and is not stored" in done.stdout


def test_an_old_copy_of_the_database_gives_no_address_twice(merchant: Merchant, tmp_path: Path) -> None:
    """The wallet has made addresses since the copy, so each free address in the copy may be in use."""
    copy = tmp_path / "copy.db"
    merchant.installation.manage_json("database", "backup", str(copy))
    since = [merchant.request() for _ in range(POOL - 1)]
    merchant.wait_full()
    merchant.put_back(copy)
    merchant.daemon.start()
    merchant.daemon.wait_for_line("addresses of the wallet taken in", f"free_retired={POOL}")
    merchant.web.start()
    merchant.installation.wait_ready()
    merchant.request_addresses_of_the_wallet(POOL + 2, but=[order.address for order in since])


def test_servers_follow_a_database_that_replaces_theirs(merchant: Merchant, tmp_path: Path) -> None:
    """The servers have the old file open, and later writes to it would be lost."""
    copy = tmp_path / "copy.db"
    merchant.installation.manage_json("database", "backup", str(copy))
    lost = merchant.request()
    path = Path(merchant.installation.settings["DATABASE_URL"].removeprefix("sqlite:///"))
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink()
    copy.rename(path)
    assert merchant.client.get(lost.path).status == 404
    merchant.daemon.wait_for_line("lock lost", "another database is in its place")
    merchant.daemon.wait_for_line("addresses of the wallet taken in")
    kept = merchant.request()
    merchant.installation.stop()
    merchant.daemon.start()
    merchant.web.start()
    merchant.installation.wait_ready()
    assert kept.now()["payment_request_id"] == kept.id


@pytest.mark.broad
def test_two_paths_to_one_database_have_one_daemon(merchant: Merchant, tmp_path: Path) -> None:
    """The second daemon is a standby, although its DATABASE_URL is a link."""
    path = Path(merchant.installation.settings["DATABASE_URL"].removeprefix("sqlite:///"))
    link = tmp_path / "link.db"
    link.symlink_to(path)
    environ = merchant.installation.environ | {"DATABASE_URL": f"sqlite:///{link}"}
    second = Process("run_daemon.py", environ, tmp_path)
    second.start()
    try:
        second.wait_for_line("standby", "another daemon works on this database")
    finally:
        second.stop()
