"""`manage.py audit` finds whatever is not as bitcoind has it, and nothing else."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from daemon.node.rpc import RPC_CALLS
from models.address import Address
from models.db.connection import Table
from models.outbox import Event, Message
from models.output import Output
from models.payment import PaymentRequest, payment_by_reference
from regtest.node import RegtestNode
from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.merchant import Merchant, Order
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.bitcoind

NOBODY = "ab" * 32


def _set(table: Any, order: Order, **values: Any) -> None:
    """Change the only row of a confirmed order's in this table."""
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


def _invent_output(order: Order) -> None:
    here = _output(order)
    place = {"state": "mined", "block_hash": here.block_hash, "block_height": here.block_height}
    Output.create(
        address=here.address_id,
        txid=NOBODY,
        vout=0,
        amount_sats=500,
        first_seen_at=here.first_seen_at,
        present_since=here.first_seen_at,
        **place,
    )


def _see_late(order: Order) -> None:
    _set(Output, order, first_seen_at=_output(order).first_seen_at + timedelta(hours=3))


def _forget_event(order: Order, kind: str) -> None:
    row = _row(order)
    Event.delete().where((Event.payment == row) & (Event.type == f"payment.{kind}")).execute()


def _forget_email(order: Order) -> None:
    Message.delete().where(Message.payment == _row(order)).execute()


def _change_script(order: Order) -> None:
    Address.update(script=b"\x00\x14" + bytes(20)).where(Address.id == _row(order).address_id).execute()


@dataclass(frozen=True, slots=True)
class Plant:
    """A lie about a confirmed payment, and what the audit says to it."""

    tell: Callable[[Order], None]
    found: tuple[str, ...]


PLANTS = {
    "an output deleted": Plant(_delete_output, ("is not stored",)),
    "an output invented": Plant(_invent_output, (f"output {NOBODY}:0 is not in the chain",)),
    "an amount changed": Plant(
        lambda order: _set(Output, order, amount_sats=19_999), ("has 20000 sats, stored are 19999",)
    ),
    "an output called dropped": Plant(
        lambda order: _set(Output, order, state="dropped", block_hash=None, block_height=None),
        ("is in block", "stored as dropped"),
    ),
    "a block that isn't in the chain": Plant(
        lambda order: _set(Output, order, block_hash=NOBODY), ("is in block", f"({NOBODY})")
    ),
    "a wrong height": Plant(lambda order: _set(Output, order, block_height=7), ("stored as in block 7 ",)),
    "a first sight that is too late": Plant(_see_late, ("was first seen by",)),
    "a status forged": Plant(
        lambda order: _set(PaymentRequest, order, status="received"),
        ("the status is confirmed, stored is received",),
    ),
    "what was received forged": Plant(
        lambda order: _set(PaymentRequest, order, received_sats=1),
        ("received_sats is 20000, stored is 1",),
    ),
    "the cover's height forged": Plant(
        lambda order: _set(PaymentRequest, order, covered_height=1), ("the height of cover is",)
    ),
    "lateness forged": Plant(
        lambda order: _set(PaymentRequest, order, is_late=True), ("late is False, stored is True",)
    ),
    "a request that would never be looked at again": Plant(
        lambda order: _set(PaymentRequest, order, reassess_at_height=None, reassess_at=None),
        ("the next time to look is",),
    ),
    "an event of receipt missing": Plant(
        lambda order: _forget_event(order, "received"), ("event payment.received is missing",)
    ),
    "an event of confirmation missing": Plant(
        lambda order: _forget_event(order, "confirmed"), ("event payment.confirmed is missing",)
    ),
    "an email missing": Plant(_forget_email, ("event payment.confirmed evt_", "has no email")),
    "a script that is not the address's": Plant(_change_script, ("has the script",)),
}


@pytest.fixture(scope="module")
def audited(make_till: MerchantMaker) -> Merchant:
    return make_till(CONFIRMATIONS="1").open()


@pytest.fixture(scope="module")
def planted(audited: Merchant, customer: Customer) -> dict[str, list[str]]:
    """What one audit says of each lie, with the daemon stopped so that it mends none."""
    orders = {name: audited.request() for name in [*PLANTS, "a forged confirmation", "nothing"]}
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
        for name, plant in PLANTS.items():
            plant.tell(orders[name])
        _set(PaymentRequest, unpaid, status="confirmed")
    before = _stored(audited)
    done = audited.installation.manage("audit", "--json", "--patience", "0")
    assert done.returncode == 1, done.stderr
    assert _stored(audited) == before
    said = json.loads(done.stdout)
    assert said["requests"] == len(orders)
    assert said["height"] == audited.node.rpc("getblockcount")
    names = {order.id: name for name, order in orders.items()}
    found: dict[str, list[str]] = {name: [] for name in orders}
    for each in said["differences"]:
        found[names[each["payment_request_id"]]].append(each["difference"])
    return found


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_difference_is_found(planted: dict[str, list[str]], name: str) -> None:
    """Each lie about a payment is named for what it is."""
    assert any(all(part in said for part in PLANTS[name].found) for said in planted[name]), planted[name]


def test_a_forged_confirmation_is_found(planted: dict[str, list[str]]) -> None:
    """Nobody has paid, whatever the status says; and nobody was told, either."""
    said = planted["a forged confirmation"]
    assert "the status is new, stored is confirmed" in said
    assert "event payment.confirmed is missing" in said


def test_of_what_is_right_nothing_is_said(planted: dict[str, list[str]]) -> None:
    """One lie casts no doubt on another payment."""
    assert planted["nothing"] == []


def test_all_is_well_beside_a_daemon_at_work(make_till: MerchantMaker, customer: Customer) -> None:
    """Paid, confirmed, replaced, double-spent, late: none of it is a difference; exit status 0."""
    till = make_till(PAYMENT_EXPIRY="3").open()
    paid, bumped, robbed, late = (till.request(confirmations=1) for _ in range(4))
    customer.pay(paid.address, paid.amount_sats)
    old = customer.pay(bumped.address, bumped.amount_sats)
    stolen = customer.pay(robbed.address, robbed.amount_sats)
    bumped.wait("received", txid=old.txid)
    robbed.wait("received", txid=stolen.txid)
    new = customer.bump_fee(old)
    bumped.wait("received", txid=new.txid)
    customer.mine_only(customer.sign_double_spend(stolen).raw)
    till.node.mine()
    paid.wait("confirmed")
    late.wait("expired")
    customer.pay(late.address, late.amount_sats)
    late.wait("expired", late=True)
    robbed.wait("expired")
    assert till.installation.managed("audit") == {
        "differences": [],
        "not_checked": [],
        "requests": 4,
        "height": till.node.rpc("getblockcount"),
    }
    done = till.installation.manage("audit")
    assert done.stdout.splitlines()[-1].endswith("no difference.")


def test_an_address_of_the_wallet_that_the_table_lacks_is_found(
    make_till: MerchantMaker, customer: Customer
) -> None:
    """Money to it would not be seen. The daemon's next start mends it, and gives it to nobody."""
    till = make_till(ADDRESS_POOL="3").open()
    lost = till.node.rpc("getnewaddress", "nodetill", "bech32", wallet=till.wallet)
    done = till.installation.manage("audit", "--patience", "0")
    assert done.returncode == 1
    assert lost in done.stdout
    till.daemon.restart()
    till.daemon.wait_for_line("addresses of the wallet taken in", "count=1")
    assert till.installation.managed("audit")["differences"] == []
    assert lost not in {till.request().address for _ in range(6)}
    customer.pay(lost, 5_000)
    with till.database():
        till.wait(lambda: Output.select().join(Address).where(Address.address == lost).count() == 1, "see it")


def test_what_an_older_whitelist_forbids_is_said(
    start_node: Callable[..., RegtestNode], tmp_path: Path
) -> None:
    """The daemon does without; the audit does not call right what it could not see."""
    allowed = ",".join(sorted(RPC_CALLS - {"getaddressesbylabel", "gettransaction"}))
    node = start_node(f"-rpcwhitelist=nodetill:{allowed}")
    node.fund_customer()
    till = Merchant(node, tmp_path).open()
    try:
        till.daemon.wait_for_line(
            "check for addresses missing from the database skipped",
            "getaddressesbylabel: add it to rpcwhitelist",
        )
        customer, order = Customer(node), till.request(confirmations=1)
        # It is first met in a block, and the wallet can't be asked when it came.
        customer.mine_only(customer.write({order.address: order.amount_sats}).raw)
        order.wait("confirmed")
        till.installation.environ["BITCOIND_COOKIE_FILE"] = "/nonexistent"
        said = till.installation.managed("audit")
        assert said["differences"] == []
        assert "getaddressesbylabel" in said["not_checked"][0]
    finally:
        till.close()


def test_a_daemon_that_is_behind_is_a_difference(make_till: MerchantMaker) -> None:
    """What can't be compared is not called right."""
    till = make_till().open()
    till.request()
    till.daemon.stop()
    till.node.mine()
    done = till.installation.manage("audit", "--patience", "0")
    assert done.returncode == 1
    assert "does not end at bitcoind's tip" in done.stdout


def test_on_postgresql_it_is_the_same(
    make_till: MerchantMaker, postgres: PostgresServer, customer: Customer
) -> None:
    """Nothing is said of what is right, and a lie is found."""
    till = make_till(DATABASE_URL=postgres.new_database()).open()
    order = till.request()
    customer.pay(order.address, order.amount_sats)
    order.wait("received")
    assert till.installation.managed("audit")["differences"] == []
    till.daemon.stop()
    with till.database():
        _set(Output, order, amount_sats=30_000)
    done = till.installation.manage("audit", "--patience", "0")
    assert done.returncode == 1
    assert f"{order.id}: output " in done.stdout
    assert "has 20000 sats, stored are 30000" in done.stdout


def test_a_database_that_is_not_there_is_not_made(make_till: MerchantMaker, tmp_path: Path) -> None:
    """The audit creates nothing: no file, no table."""
    path = tmp_path / "nodetill.db"
    till = make_till(DATABASE_URL=f"sqlite:///{path}")
    done = till.installation.manage("audit")
    assert done.returncode == 1
    assert done.stderr.startswith("nodetill: there is no database ")
    assert not path.exists()


def _stored(till: Merchant) -> list[list[str]]:
    """Every row of every table."""
    with till.database():
        return [sorted(map(repr, table.select().tuples())) for table in Table.__subclasses__()]
