"""A whole Nodetill on testnet4 and on a custom signet: addresses, pages and emails name the test network.

Without peers, a bitcoind of testnet4 has its genesis block alone. On a signet with the challenge OP_TRUE
anybody mines blocks (BIP325), which takes a few seconds of work for each.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from regtest.node import RegtestNode
from tests.conftest import NewDatabase
from tests.support.fork_server import fork_python
from tests.support.merchant import Merchant
from tests.support.operator_client import PASSWORD

pytestmark = [pytest.mark.bitcoind, pytest.mark.one_database]

OP_TRUE = "51"
MAX_TRIES = 2**31 - 1
NO_DOWNLOAD = ("-minimumchainwork=00", "-maxtipage=2000000000")
"""A node with the genesis block alone then counts as one that has finished its download."""

OpenMerchant = Callable[..., Merchant]


@pytest.fixture
def open_merchant(bitcoind: list[str], new_database: NewDatabase, tmp_path: Path) -> Iterator[OpenMerchant]:
    """Yield a function that opens a merchant on a node of this chain, with these options."""
    with ExitStack() as stack:

        def open_on(chain: str, *options: str) -> Merchant:
            started = RegtestNode.start(tmp_path / "bitcoind", bitcoind, options, chain=chain)
            node = stack.enter_context(started)
            settings = {
                "DATABASE_URL": new_database(tmp_path),
                "OPERATOR_PASSWORD": PASSWORD,
                "BITCOIND_ZMQ_RAWTX": "auto",
                "BITCOIND_ZMQ_HASHBLOCK": "auto",
            }
            merchant = Merchant(node, tmp_path / "till", fork_python, **settings)
            stack.callback(merchant.close)
            return merchant.open()

        yield open_on


def page(merchant: Merchant, path: str, language: str = "en") -> str:
    return merchant.client.get(path, {"Accept-Language": language}).body.decode()


def test_testnet4(open_merchant: OpenMerchant) -> None:
    merchant = open_merchant("testnet4", *NO_DOWNLOAD)
    order = merchant.request()
    assert order.document["network"] == "testnet4"
    assert order.address.startswith("tb1q")
    assert order.document["payment_uri"].startswith("bitcoin:TB1Q")
    assert "Test network (testnet4): not real money" in page(merchant, f"/pay/{order.id}")
    assert "Testnetz (testnet4)" in page(merchant, f"/pay/{order.id}", "de")
    assert "Test network (testnet4)" in page(merchant, "/operator/login")
    found = merchant.installation.manage("doctor")
    assert "testnet4, as this database's" in found.stdout


def test_a_custom_signet(open_merchant: OpenMerchant) -> None:
    """A coinbase pays the request. The public signet's explorer does not know its transaction."""
    merchant = open_merchant("signet", f"-signetchallenge={OP_TRUE}", *NO_DOWNLOAD)
    order = merchant.request()
    assert order.document["network"] == "custom-signet"
    assert order.address.startswith("tb1q")
    (block_hash,) = merchant.node.rpc("generatetoaddress", 1, order.address, MAX_TRIES)
    paid = order.wait("confirming")
    (txid,) = merchant.node.rpc("getblock", block_hash)["tx"]
    assert paid["txid"] == txid
    text = page(merchant, f"/pay/{order.id}")
    assert "Test network (custom signet): not real money" in text
    assert "eigenes Signet" in page(merchant, f"/pay/{order.id}", "de")
    assert txid in text
    assert "mempool.space" not in text
    order.wait_told("received")
    (letter,) = merchant.letters()
    assert letter["Subject"].startswith("[custom signet] ")
    assert "mempool.space" not in letter.as_string()
    assert "custom-signet, as this database's" in merchant.installation.manage("doctor").stdout
    descriptors = merchant.node.rpc("listdescriptors", wallet=merchant.wallet)["descriptors"]
    receiving = [each["desc"] for each in descriptors if not each["internal"]]
    key = next(each for each in receiving if each.startswith("wpkh("))
    added = merchant.installation.manage_json("wallet", "add", "shop", key, "--start-index", "900")
    assert added["addresses"][0].startswith("tb1q")
