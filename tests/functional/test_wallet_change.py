"""A new BITCOIND_WALLET gives the addresses, and payments to the old wallet are still found."""

from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.merchant import Merchant


def _owner(till: Merchant, address: str) -> str:
    """Return the name of the wallet that owns the address."""
    wallets: list[str] = till.node.rpc("listwallets")
    return next(name for name in wallets if till.node.rpc("getaddressinfo", address, wallet=name)["ismine"])


def test_a_new_wallet_gives_the_addresses_and_payments_to_the_old_one_are_found(
    make_till: MerchantMaker, customer: Customer
) -> None:
    """Free addresses of the old wallet are never assigned, because that wallet may be lost."""
    till = make_till(ADDRESS_POOL="5").open()
    before = till.request()
    till.daemon.stop()
    fresh = f"{till.wallet}-2"
    till.node.rpc("createwallet", fresh)
    till.daemon.environ["BITCOIND_WALLET"] = fresh
    till.daemon.start()
    till.daemon.wait_for_line("free addresses of another wallet retired", fresh)
    after = [till.request() for _ in range(3)]
    assert {_owner(till, order.address) for order in after} == {fresh}
    assert _owner(till, before.address) == till.wallet
    till.wait_problem(fresh, "does not know address", before.address)
    customer.pay(before.address, before.amount_sats)
    before.wait("received")
