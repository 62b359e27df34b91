"""`manage.py audit` reports each difference between the database and bitcoind, and nothing else."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from models.address import Address
from models.db.connection import Table
from models.outbox import Event, Message
from models.output import Output
from models.payment import PaymentRequest, payment_by_reference
from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.merchant import Merchant, Order
from tests.support.postgres import PostgresServer

UNKNOWN_TXID = "ab" * 32


def _set(table: Any, order: Order, **values: Any) -> None:
    """Change the order's only row in `table`."""
    column = table.address if table is Output else table.id
    row = _row(order)
    table.update(**values).where(column == (row.address_id if table is Output else row.id)).execute()


def _row(order: Order) -> PaymentRequest:
    row = payment_by_reference(order.id)
    assert row is not None
    return row


def _output(order: Order) -> Output:
    output: Output = Output.get(Output.address == _row(order).address_id)
    return output


def _delete_output(order: Order) -> None:
    Output.delete().where(Output.address == _row(order).address_id).execute()


def _add_output(order: Order) -> None:
    here = _output(order)
    place = {"state": "mined", "block_hash": here.block_hash, "block_height": here.block_height}
    Output.create(
        address=here.address_id,
        txid=UNKNOWN_TXID,
        vout=0,
        amount_sats=500,
        first_seen_at=here.first_seen_at,
        present_since=here.first_seen_at,
        **place,
    )


def _delay_first_seen(order: Order) -> None:
    _set(Output, order, first_seen_at=_output(order).first_seen_at + timedelta(hours=3))


def _delete_event(order: Order, kind: str) -> None:
    row = _row(order)
    Event.delete().where((Event.payment == row) & (Event.type == f"payment.{kind}")).execute()


def _delete_email(order: Order) -> None:
    Message.delete().where(Message.payment == _row(order)).execute()


def _change_script(order: Order) -> None:
    Address.update(script=b"\x00\x14" + bytes(20)).where(Address.id == _row(order).address_id).execute()


@dataclass(frozen=True, slots=True)
class Damage:
    """A wrong value of a confirmed payment, and the parts of the audit's report of it."""

    plant: Callable[[Order], None]
    report: tuple[str, ...]


DAMAGES = {
    "an output deleted": Damage(_delete_output, ("is not stored",)),
    "an output added": Damage(_add_output, (f"output {UNKNOWN_TXID}:0 is not in the chain",)),
    "an amount changed": Damage(
        lambda order: _set(Output, order, amount_sats=19_999), ("has 20000 sats, the database has 19999",)
    ),
    "an output stored as dropped": Damage(
        lambda order: _set(Output, order, state="dropped", block_hash=None, block_height=None),
        ("is in block", "stored as dropped"),
    ),
    "a block outside the chain": Damage(
        lambda order: _set(Output, order, block_hash=UNKNOWN_TXID), ("is in block", f"({UNKNOWN_TXID})")
    ),
    "a wrong height": Damage(lambda order: _set(Output, order, block_height=7), ("stored as in block 7 ",)),
    "a first_seen_at too late": Damage(_delay_first_seen, ("was first seen by",)),
    "a wrong status": Damage(
        lambda order: _set(PaymentRequest, order, status="received"),
        ("the status is confirmed, the database has received",),
    ),
    "a wrong received_sats": Damage(
        lambda order: _set(PaymentRequest, order, received_sats=1),
        ("received_sats is 20000, the database has 1",),
    ),
    "a wrong covered_height": Damage(
        lambda order: _set(PaymentRequest, order, covered_height=1), ("the height of cover is",)
    ),
    "a wrong is_late": Damage(
        lambda order: _set(PaymentRequest, order, is_late=True), ("late is False, the database has True",)
    ),
    "no next assessment": Damage(
        lambda order: _set(PaymentRequest, order, reassess_at_height=None, reassess_at=None),
        ("the next time to look is",),
    ),
    "no event of receipt": Damage(
        lambda order: _delete_event(order, "received"), ("event payment.received is missing",)
    ),
    "no event of confirmation": Damage(
        lambda order: _delete_event(order, "confirmed"), ("event payment.confirmed is missing",)
    ),
    "no email": Damage(_delete_email, ("event payment.confirmed evt_", "has no email")),
    "a wrong script": Damage(_change_script, ("has the script",)),
}


@pytest.fixture(scope="module")
def audited(make_merchant: MerchantMaker) -> Merchant:
    return make_merchant(CONFIRMATIONS="1").open()


@pytest.fixture(scope="module")
def differences_found(audited: Merchant, customer: Customer) -> dict[str, list[str]]:
    """Return one audit's report of each damage. The daemon is stopped, so it corrects none."""
    orders = {name: audited.request() for name in [*DAMAGES, "a forged confirmation", "nothing"]}
    unpaid = orders["a forged confirmation"]
    for order in orders.values():
        if order is not unpaid:
            customer.pay(order.address, order.amount_sats)
    audited.node.mine()
    for order in orders.values():
        if order is not unpaid:
            order.wait("confirmed")
            order.wait_told("received", "confirmed")
    audited.daemon.stop()
    with audited.database():
        for name, damage in DAMAGES.items():
            damage.plant(orders[name])
        _set(PaymentRequest, unpaid, status="confirmed")
    before = _stored(audited)
    done = audited.installation.manage("audit", "--json", "--patience", "0")
    assert done.returncode == 1, done.stderr
    assert _stored(audited) == before
    report = json.loads(done.stdout)
    assert report["requests"] == len(orders)
    assert report["height"] == audited.node.rpc("getblockcount")
    names = {order.id: name for name, order in orders.items()}
    found: dict[str, list[str]] = {name: [] for name in orders}
    for each in report["differences"]:
        found[names[each["payment_request_id"]]].append(each["difference"])
    return found


@pytest.mark.parametrize("name", DAMAGES)
def test_each_planted_damage_is_reported(differences_found: dict[str, list[str]], name: str) -> None:
    found = differences_found[name]
    assert any(all(part in text for part in DAMAGES[name].report) for text in found), found


def test_a_forged_confirmation_is_reported(differences_found: dict[str, list[str]]) -> None:
    """The status is confirmed, without a payment and without an event."""
    found = differences_found["a forged confirmation"]
    assert "the status is new, the database has confirmed" in found
    assert "event payment.confirmed is missing" in found


def test_a_correct_payment_has_no_difference(differences_found: dict[str, list[str]]) -> None:
    """Faults of other payments do not matter."""
    assert differences_found["nothing"] == []


def test_a_running_daemon_has_no_difference(make_merchant: MerchantMaker, customer: Customer) -> None:
    """Paid, confirmed, replaced, double-spent and late payments are all correct."""
    merchant = make_merchant(PAYMENT_EXPIRY="3").open()
    paid, bumped, robbed, late = (merchant.request(confirmations=1) for _ in range(4))
    customer.pay(paid.address, paid.amount_sats)
    old = customer.pay(bumped.address, bumped.amount_sats)
    stolen = customer.pay(robbed.address, robbed.amount_sats)
    bumped.wait("received", txid=old.txid)
    robbed.wait("received", txid=stolen.txid)
    new = customer.bump_fee(old)
    bumped.wait("received", txid=new.txid)
    customer.mine_only(customer.sign_double_spend(stolen).raw)
    merchant.node.mine()
    paid.wait("confirmed")
    late.wait("expired")
    customer.pay(late.address, late.amount_sats)
    late.wait("expired", late=True)
    robbed.wait("expired")
    assert merchant.installation.manage_json("audit") == {
        "differences": [],
        "not_checked": [],
        "requests": 4,
        "height": merchant.node.rpc("getblockcount"),
    }
    done = merchant.installation.manage("audit")
    assert done.stdout.splitlines()[-1].endswith("no difference.")


def test_an_address_missing_from_the_table_is_reported(
    make_merchant: MerchantMaker, customer: Customer
) -> None:
    """The daemon would not see money to the address. The next start stores it, and no request gets it."""
    merchant = make_merchant(ADDRESS_POOL="3").open()
    lost = merchant.node.rpc("getnewaddress", "nodetill", "bech32", wallet=merchant.wallet)
    done = merchant.installation.manage("audit", "--patience", "0")
    assert done.returncode == 1
    assert lost in done.stdout
    merchant.daemon.restart()
    merchant.daemon.wait_for_line("addresses of the wallet taken in", "count=1")
    assert merchant.installation.manage_json("audit")["differences"] == []
    assert lost not in {merchant.request().address for _ in range(6)}
    customer.pay(lost, 5_000)
    with merchant.database():
        merchant.wait(
            lambda: Output.select().join(Address).where(Address.address == lost).count() == 1,
            "store the output",
        )


def test_a_daemon_that_is_behind_is_a_difference(make_merchant: MerchantMaker) -> None:
    merchant = make_merchant().open()
    merchant.request()
    merchant.daemon.stop()
    merchant.node.mine()
    done = merchant.installation.manage("audit", "--patience", "0")
    assert done.returncode == 1
    assert "does not end at bitcoind's tip" in done.stdout


def test_the_audit_works_on_postgresql(
    make_merchant: MerchantMaker, postgres: PostgresServer, customer: Customer
) -> None:
    merchant = make_merchant(DATABASE_URL=postgres.new_database()).open()
    order = merchant.request()
    customer.pay(order.address, order.amount_sats)
    order.wait("received")
    assert merchant.installation.manage_json("audit")["differences"] == []
    merchant.daemon.stop()
    with merchant.database():
        _set(Output, order, amount_sats=30_000)
    done = merchant.installation.manage("audit", "--patience", "0")
    assert done.returncode == 1
    assert f"{order.id}: output " in done.stdout
    assert "has 20000 sats, the database has 30000" in done.stdout


def test_a_missing_database_is_not_created(make_merchant: MerchantMaker, tmp_path: Path) -> None:
    """The audit creates no file and no table."""
    path = tmp_path / "nodetill.db"
    merchant = make_merchant(DATABASE_URL=f"sqlite:///{path}")
    done = merchant.installation.manage("audit")
    assert done.returncode == 1
    assert done.stderr.startswith("nodetill: there is no database ")
    assert not path.exists()


def _stored(merchant: Merchant) -> list[list[str]]:
    """Return each row of each table."""
    with merchant.database():
        return [sorted(map(repr, table.select().tuples())) for table in Table.__subclasses__()]
