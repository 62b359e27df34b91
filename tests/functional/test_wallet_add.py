"""manage.py wallet add, list, default and labels, on a real bitcoind without wallets of Nodetill's."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from manage import manage
from models.address import add_addresses
from models.daemon_status import update_report
from models.db.connection import disconnect
from models.db.schema import open_database
from models.wallet import Wallet
from payments.descriptor import descriptor_checksum
from payments.extended_key import base58check_decode, base58check_encode
from regtest.node import RegtestNode
from tests.conftest import sqlite_in
from tests.functional.test_wallet_commands import XPRV, XPUB

pytestmark = pytest.mark.bitcoind

SEED = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about".split()

# The account keys of the seed above: BIP 44, and the test vectors of BIP 84 and BIP 86.
BIP44 = (
    "xpub6BosfCnifzxcFwrSzQiqu2DBVTshkCXacvNsWGYJVVhhawA7d4R5WSWGFNbi8Aw6ZRc1brxMyWMzG3DSSSSoek"
    "kudhUd9yLb6qx39T9nMdj"
)
BIP84 = (
    "zpub6rFR7y4Q2AijBEqTUquhVz398htDFrtymD9xYYfG1m4wAcvPhXNfE3EfH1r1ADqtfSdVCToUG868RvUUkgDKf3"
    "1mGDtKsAYz2oz2AGutZYs"
)
BIP86 = (
    "xpub6BgBgsespWvERF3LHQu6CnqdvfEvtMcQjYrcRzx53QJjSxarj2afYWcLteoGVky7D3UKDP9QyrLprQ3VCECoY4"
    "9yfdDEHGCtMMj92pReUsQ"
)
# The account key of BIP 49's test vectors, whose network is the test network.
BIP49 = (
    "tprv8gRrNu65W2Msef2BdBSUgFdRTGzC8EwVXnV7UGS3faeXtuMVtGfEdidVeGbThs4ELEoayCAzZQ4uUji9DUiAs7"
    "erdVskqju7hrBcDvDsdbY"
)

Run = Callable[..., Result]


def on_regtest(key: str, prefix: str) -> str:
    """Return the key with the prefix of a test network, because its addresses have the same scripts there."""
    return base58check_encode(bytes.fromhex(prefix) + base58check_decode(key)[4:])


TPUB, UPUB, VPUB = (on_regtest(XPUB, prefix) for prefix in ("043587cf", "044a5262", "045f1cf6"))


@pytest.fixture(scope="module")
def node(start_node: Callable[..., RegtestNode]) -> RegtestNode:
    node = start_node()
    node.fund_customer()
    return node


@pytest.fixture
def run(node: RegtestNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Return a function that runs `manage.py` as Nodetill's RPC user, on a database of its own."""
    monkeypatch.chdir(tmp_path)
    settings = {
        "BITCOIND_RPC_URL": node.rpc_url,
        "BITCOIND_COOKIE_FILE": str(tmp_path / "nowhere"),
        "DATABASE_URL": sqlite_in(tmp_path),
    }

    def invoke(*arguments: str, **environ: str) -> Result:
        disconnect()
        result = CliRunner(env=settings | environ).invoke(manage, arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        open_database(settings["DATABASE_URL"])
        return result

    open_database(settings["DATABASE_URL"])
    yield invoke
    disconnect()


def document(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def add(run: Run, name: str, key: str, *more: str) -> dict[str, Any]:
    """Add a wallet without a search in the chain, and return the document."""
    found: dict[str, Any] = document(run("wallet", "add", name, key, "--start-index", "0", *more, "--json"))
    return found


def program(address: str) -> bytes | str:
    """Return what two networks' forms of an address have in common."""
    if address[:3] in ("bc1", "bcr"):
        return address.partition("1")[2][:-6]
    return base58check_decode(address)[1:]


@pytest.mark.parametrize(
    ("key", "more", "addresses"),
    [
        (
            on_regtest(BIP44, "043587cf"),
            [],
            ["1LqBGSKuX5yYUonjxT5qGfpUsXKYYWeabA", "1Ak8PffB2meyfYnbXZR9EGfLfFZVpzJvQP"],
        ),
        (
            on_regtest(BIP84, "045f1cf6"),
            [],
            ["bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu", "bc1qnjg0jd8228aq7egyzacy8cys3knf9xvrerkf9g"],
        ),
        (
            on_regtest(BIP86, "043587cf"),
            ["--type", "bech32m"],
            [
                "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr",
                "bc1p4qhjn9zdvkux4e44uhx8tc55attvtyu358kutcqkudyccelu0was9fqzwh",
            ],
        ),
    ],
)
def test_the_addresses_are_those_of_the_bips(
    run: Run, key: str, more: list[str], addresses: list[str]
) -> None:
    """BIP 44 has no test vector, so its addresses are those that programs show for the same seed."""
    found = add(run, "shop", key, *more)["addresses"]
    assert [program(each) for each in found[:2]] == [program(each) for each in addresses]


def test_the_addresses_are_those_of_bip_49(run: Run, node: RegtestNode) -> None:
    """The vector has the private key. bitcoind returns the descriptor with the public one."""
    public = node.rpc("getdescriptorinfo", f"sh(wpkh({BIP49}/0/*))")["descriptor"]
    upub = on_regtest(public.partition("(wpkh(")[2].partition("/")[0], "044a5262")
    first = "2Mww8dCYPUpKHofjgcXcBCEGmniw9CoaiD2"
    assert add(run, "shop", upub)["addresses"][0] == first
    assert document(run("wallet", "list", "--json"))[1]["type"] == "p2sh-segwit"


@pytest.mark.parametrize(
    ("key", "kind"),
    [(VPUB, "bech32"), (f"tr({TPUB}/<0;1>/*)", "bech32m"), (UPUB, "p2sh-segwit"), (TPUB, "legacy")],
)
def test_the_addresses_are_those_of_bitcoinds_own_wallet(
    run: Run, node: RegtestNode, key: str, kind: str
) -> None:
    found = add(run, "shop", key)
    wallet = f"own-{kind}"
    node.rpc("createwallet", wallet, True, True)
    row = {"desc": found["descriptor"], "active": True, "timestamp": "now"}
    assert node.rpc("importdescriptors", [row], wallet=wallet)[0]["success"]
    assert [node.rpc("getnewaddress", "", kind, wallet=wallet) for _ in range(3)] == found["addresses"]
    assert found["type"] == kind


def test_a_wallet_of_several_keys_is_added(run: Run, node: RegtestNode) -> None:
    other = on_regtest(BIP84, "043587cf")
    found = add(run, "vault", f"wsh(sortedmulti(2,{TPUB}/<0;1>/*,{other}/<0;1>/*))")
    assert found["type"] == "bech32"
    expected = node.rpc("deriveaddresses", found["descriptor"], [0, 2])
    assert found["addresses"] == expected
    assert "/0/*" in found["descriptor"]
    assert "/1/*" not in found["descriptor"]


CHECKED = f"wpkh({TPUB}/0/*)"


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ([XPRV], "private key"),
        ([f"wpkh({XPRV}/0/*)"], "private key"),
        (["cVt4o7BGAig1UXywgGSmARhxMdzP5qvQsxKkSsc1XEkw3tDTQFpy"], "private key"),
        (SEED, "one argument"),
        ([" ".join(SEED)], "neither"),
        ([f"wpkh({TPUB}/0/0)"], "fixed address"),
        (["bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"], "neither"),
        ([f"wpkh({TPUB}/0/*h)"], "hardened step"),
        ([f"wpkh({TPUB}/0'/*)"], "hardened step"),
        ([BIP84], "main network"),
        ([f"{CHECKED}#{descriptor_checksum(CHECKED)[:-1]}q"], "checksum after #"),
        ([f"combo({TPUB}/0/*)"], "no descriptor of this form"),
        ([f"wsh(wpkh({TPUB}/0/*))"], "bitcoind does not take this descriptor"),
        ([f"wpkh({TPUB}/0/*"], "bitcoind does not take this descriptor"),
        ([f"wsh(sortedmulti(1,{TPUB}/0/*,nonsense))"], "bitcoind does not take this descriptor"),
    ],
)
def test_an_unusable_key_is_refused_and_nothing_stored(run: Run, key: list[str], reason: str) -> None:
    """The error is one line without the key."""
    result = run("wallet", "add", "shop", *key)
    assert result.exit_code in (1, 2), result.output
    assert reason in " ".join(result.stderr.split())
    assert "Traceback" not in result.output
    for secret in (XPRV, SEED[0], "cVt4o7BG", TPUB):
        assert secret not in result.output
    assert Wallet.select().count() == 1


@pytest.mark.parametrize("name", ["", "bitcoind", "-x", "a b", "ü", "a" * 65, XPRV, "../x", "a\nb"])
def test_a_bad_name_is_refused_and_not_repeated(run: Run, name: str) -> None:
    result = run("wallet", "add", "--start-index", "0", "--", name, VPUB)
    assert result.exit_code == 2
    assert "NAME" in result.stderr or "choose another name" in result.stderr
    assert XPRV not in result.output
    assert Wallet.select().count() == 1


@pytest.mark.parametrize(
    "again",
    [
        VPUB,
        on_regtest(XPUB, "045f1cf6"),
        f"wpkh({TPUB}/0/*)",
        f"wpkh({VPUB}/<0;1>/*)",
        f"{CHECKED}#{descriptor_checksum(CHECKED)}",
        f"wpkh([d34db33f/84h/1h/0h]{TPUB}/0/*)",
    ],
)
def test_the_same_key_is_refused_in_any_form(run: Run, again: str) -> None:
    add(run, "shop", VPUB)
    result = run("wallet", "add", "second", again, "--start-index", "0")
    assert result.exit_code == 1
    assert "these keys are the wallet shop already" in result.stderr
    result = run("wallet", "add", "shop", f"tr({TPUB}/0/*)", "--start-index", "0")
    assert "there is a wallet shop already" in result.stderr
    assert Wallet.select().count() == 2


def test_another_type_of_the_same_key_is_another_wallet(run: Run) -> None:
    """So an operator can correct a wrong type."""
    result = run("wallet", "add", "wrong", TPUB, "--start-index", "0")
    assert "add the key under another name, with --type" in " ".join(result.stdout.split())
    assert add(run, "right", TPUB, "--type", "bech32")["addresses"][0].startswith("bcrt1q")


def test_a_wallet_begins_behind_its_used_addresses(run: Run, node: RegtestNode) -> None:
    """The chain has unspent coins, and the database has addresses that bitcoind's wallet gave."""
    found = add(run, "first", VPUB)
    used = node.rpc("deriveaddresses", found["descriptor"], [0, 1200])
    for index in (3, 700, 1150):
        node.rpc("sendtoaddress", used[index], 0.001, wallet="customer")
    node.mine()
    with_database = run("wallet", "list")
    assert with_database.exit_code == 0
    Wallet.delete().where(Wallet.name == "first").execute()
    again = document(run("wallet", "add", "shop", VPUB, "--default", "--json"))
    assert (again["next_index"], again["default"]) == (1151, True)
    Wallet.delete().where(Wallet.name == "shop").execute()
    Wallet.update(is_default=True).execute()
    known = [(used[index], bytes([index % 251])) for index in (900, 1180)]
    add_addresses(known, "nodetill", datetime.now(UTC))
    assert document(run("wallet", "add", "shop", VPUB, "--json"))["next_index"] == 1181
    Wallet.delete().where(Wallet.name == "shop").execute()
    assert add(run, "shop", VPUB)["next_index"] == 1181
    Wallet.delete().where(Wallet.name == "shop").execute()
    later = run("wallet", "add", "shop", VPUB, "--start-index", "5000", "--json")
    assert document(later)["next_index"] == 5000


def test_a_database_of_another_chain_takes_no_key(run: Run) -> None:
    update_report(chain="main")
    result = run("wallet", "add", "shop", VPUB)
    assert "this database belongs to main" in result.stderr


def test_an_unreachable_bitcoind_stores_nothing(run: Run) -> None:
    result = run("wallet", "add", "shop", VPUB, BITCOIND_RPC_URL="http://nodetill:s3cret@127.0.0.1:1")
    assert "cannot be reached" in result.stderr
    assert "s3cret" not in result.output
    assert Wallet.select().count() == 1


def test_the_default_and_the_sellers_wallets_are_chosen_by_name(run: Run) -> None:
    add(run, "shop", VPUB)
    add(run, "vault", f"tr({TPUB}/0/*)")
    assert document(run("wallet", "default", "shop", "--json")) == {"wallet": "shop", "default": True}
    added = document(run("seller", "add", "company1", "--wallet", "vault", "--json"))
    assert added["wallet"] == "vault"
    assert (
        document(run("seller", "set", "company1", "--wallet", "bitcoind", "--json"))["wallet"] == "bitcoind"
    )
    assert document(run("seller", "set", "company1", "--no-wallet", "--json"))["wallet"] is None
    assert "the default wallet" in run("seller", "show", "company1").stdout
    document(run("seller", "set", "company1", "--wallet", "vault", "--json"))
    assert "vault" in run("seller", "list").stdout
    listed = {each["wallet"]: each for each in document(run("wallet", "list", "--json"))}
    assert [name for name, each in listed.items() if each["in_use"]] == ["shop", "vault"]
    assert listed["vault"] == {
        "wallet": "vault",
        "type": "bech32m",
        "default": False,
        "in_use": True,
        "free": 0,
        "next_index": 0,
        "last_paid_index": None,
        "gap": 0,
    }
    for arguments in (
        ["wallet", "default", "x"],
        ["wallet", "labels", "x"],
        ["seller", "set", "company1", "--wallet", "x"],
    ):
        result = run(*arguments)
        assert (result.exit_code, "there is no wallet of this name" in result.stderr) == (1, True)
    both = run("seller", "set", "company1", "--wallet", "shop", "--no-wallet")
    assert both.exit_code == 2
