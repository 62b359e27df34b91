"""A new BITCOIND_WALLET gives the addresses, and payments to the old wallet are still found."""

from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.merchant import Merchant


def _owner(merchant: Merchant, address: str) -> str:
    """Return the name of the wallet that owns the address."""
    wallets: list[str] = merchant.node.rpc("listwallets")
    return next(
        name for name in wallets if merchant.node.rpc("getaddressinfo", address, wallet=name)["ismine"]
    )


def test_a_new_wallet_gives_the_addresses_and_payments_to_the_old_one_are_found(
    make_merchant: MerchantMaker, customer: Customer
) -> None:
    """Free addresses of the old wallet are never assigned, because that wallet may be lost."""
    merchant = make_merchant(ADDRESS_POOL="5").open()
    before = merchant.request()
    merchant.daemon.stop()
    fresh = f"{merchant.wallet}-2"
    merchant.node.rpc("createwallet", fresh)
    merchant.daemon.environ["BITCOIND_WALLET"] = fresh
    merchant.daemon.start()
    merchant.daemon.wait_for_line("free addresses of another wallet retired", fresh)
    after = [merchant.request() for _ in range(3)]
    assert {_owner(merchant, order.address) for order in after} == {fresh}
    assert _owner(merchant, before.address) == merchant.wallet
    merchant.wait_problem(fresh, "lacks address", before.address)
    customer.pay(before.address, before.amount_sats)
    before.wait("received")
