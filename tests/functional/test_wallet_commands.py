"""manage.py wallet create, on a real bitcoind."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from manage import manage
from regtest.node import RegtestNode

pytestmark = pytest.mark.bitcoind

# BIP 32's second test vector, as a public and as a private key of the test networks.
XPUB = (
    "tpubD6NzVbkrYhZ4WaWSyoBvQwbpLkojyoTZPRsgXELWz3Popb3qkjcJyJUGLnL4qHHoQvao8ESaAstxYSnhyswJ76uZPStJRJCTKvo"
    "sUCJZL5B"
)
XPRV = (
    "tprv8ZgxMBicQKsPeDgjzdC36fs6bMjGApWDNLR9erAXMs5skhMv36j9MV5ecvfavji5khqjWaWSFhN3YcCUUdiKH6isR4Pwy3U5y5e"
    "gddBr16m"
)
RECEIVING = f"wpkh({XPUB}/0/*)"
CHANGE = f"wpkh({XPUB}/1/*)"


@pytest.fixture
def create(
    regtest_node: RegtestNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Return a function that runs `wallet create` with Nodetill's RPC user and bitcoind's cookie file."""
    monkeypatch.chdir(tmp_path)

    def invoke(wallet: str, *arguments: str, **environ: str) -> Result:
        settings = {
            "BITCOIND_RPC_URL": regtest_node.rpc_url,
            "BITCOIND_COOKIE_FILE": str(regtest_node.cookie_file),
            "BITCOIND_WALLET": wallet,
        }
        result = CliRunner(env=settings | environ).invoke(manage, ["wallet", "create", *arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return invoke


def document(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def refusal(result: Result) -> str:
    assert result.exit_code == 1, result.output
    (line,) = result.stderr.splitlines()
    return line


def test_a_hot_wallet_is_created_once_and_then_loaded(
    regtest_node: RegtestNode, create: Callable[..., Result]
) -> None:
    """The command also loads a wallet that bitcoind has unloaded."""
    made = {"wallet": "hot", "created": True, "watch_only": False}
    assert document(create("hot", "--json")) == made
    assert regtest_node.rpc("getwalletinfo", wallet="hot")["descriptors"]
    assert document(create("hot", "--json")) == made | {"created": False}
    regtest_node.rpc("unloadwallet", "hot")
    assert "already" in create("hot").output
    assert "hot" in regtest_node.rpc("listwallets")


def test_a_created_wallet_is_loaded_when_bitcoind_restarts(
    start_node: Callable[..., RegtestNode], create: Callable[..., Result]
) -> None:
    node = start_node()
    environ = {"BITCOIND_RPC_URL": node.rpc_url, "BITCOIND_COOKIE_FILE": str(node.cookie_file)}
    assert create("shop", **environ).exit_code == 0
    node.restart()
    assert "shop" in node.rpc("listwallets")


@pytest.mark.parametrize("arguments", [[f"wpkh({XPUB}/<0;1>/*)"], [RECEIVING, "--change-descriptor", CHANGE]])
def test_a_watch_only_wallet_has_the_descriptors_addresses(
    regtest_node: RegtestNode, create: Callable[..., Result], arguments: list[str]
) -> None:
    """The wallet begins with the first address, watches its change, and can't spend."""
    wallet = f"watch{len(arguments)}"
    made = document(create(wallet, "--watch-only", *arguments, "--json"))
    assert made == {"wallet": wallet, "created": True, "watch_only": True}
    checked = regtest_node.rpc("getdescriptorinfo", RECEIVING)["descriptor"]
    first = regtest_node.rpc("deriveaddresses", checked, [0, 0])[0]
    assert regtest_node.rpc("getnewaddress", "", "bech32", wallet=wallet) == first
    changed = regtest_node.rpc("getdescriptorinfo", CHANGE)["descriptor"]
    change = regtest_node.rpc("deriveaddresses", changed, [0, 0])[0]
    assert regtest_node.rpc("getaddressinfo", change, wallet=wallet)["ismine"]
    assert not regtest_node.rpc("getwalletinfo", wallet=wallet)["private_keys_enabled"]
    assert not document(create(wallet, "--watch-only", *arguments, "--json"))["created"]


def test_a_descriptor_may_have_its_checksum(regtest_node: RegtestNode, create: Callable[..., Result]) -> None:
    """A wrong checksum is a typing error, and is refused before a wallet is created."""
    checked = regtest_node.rpc("getdescriptorinfo", RECEIVING)["descriptor"]
    assert document(create("checked", "--watch-only", checked, "--json"))["created"]
    wrong = checked[:-1] + ("q" if checked[-1] != "q" else "p")
    assert "checksum" in refusal(create("unchecked", "--watch-only", wrong))
    assert "unchecked" not in str(regtest_node.rpc("listwalletdir"))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([f"wpkh({XPRV}/0/*)"], "private key"),
        (["wpkh(cVt4o7BGAig1UXywgGSmARhxMdzP5qvQsxKkSsc1XEkw3tDTQFpy)"], "private key"),
        ([f"wpkh({XPUB}/0/0)"], "only one address"),
        ([f"wpkh({XPUB}/0/*"], "no descriptor"),
        (["xpub"], "no descriptor"),
        ([f"tr({XPUB}/0/*)"], "ADDRESS_TYPE=bech32m"),
        ([f"sh(wpkh({XPUB}/0/*))"], "ADDRESS_TYPE=p2sh-segwit"),
        ([f"pkh({XPUB}/0/*)"], "ADDRESS_TYPE=legacy"),
        ([f"wpkh({XPUB}/<0;1>/*)", "--change-descriptor", CHANGE], "leave out"),
        ([RECEIVING, "--change-descriptor", f"wpkh({XPRV}/1/*)"], "private key"),
    ],
)
def test_an_unusable_descriptor_is_refused_before_a_wallet_is_created(
    regtest_node: RegtestNode, create: Callable[..., Result], arguments: list[str], reason: str
) -> None:
    """One line gives the reason, without the private key."""
    line = refusal(create("unmade", "--watch-only", *arguments))
    assert reason in line
    assert XPRV not in line
    assert "unmade" not in str(regtest_node.rpc("listwalletdir"))


@pytest.mark.parametrize(
    ("kind", "descriptor"),
    [
        ("bech32m", f"tr({XPUB}/0/*)"),
        ("p2sh-segwit", f"sh(wpkh({XPUB}/0/*))"),
        ("legacy", f"pkh({XPUB}/0/*)"),
    ],
)
def test_each_address_type_has_its_descriptor(
    regtest_node: RegtestNode, create: Callable[..., Result], kind: str, descriptor: str
) -> None:
    """getnewaddress returns addresses of the type that ADDRESS_TYPE names."""
    assert create(kind, "--watch-only", descriptor, ADDRESS_TYPE=kind).exit_code == 0
    assert regtest_node.rpc("getnewaddress", "", kind, wallet=kind)


def test_another_wallet_of_the_same_name_is_refused(
    regtest_node: RegtestNode, create: Callable[..., Result]
) -> None:
    """The command changes no wallet with private keys or with another descriptor."""
    create("taken")
    assert "private keys" in refusal(create("taken", "--watch-only", RECEIVING))
    create("watched", "--watch-only", RECEIVING)
    assert "another descriptor" in refusal(create("watched", "--watch-only", CHANGE))


def test_an_empty_watch_only_wallet_gets_its_descriptor(
    regtest_node: RegtestNode, create: Callable[..., Result]
) -> None:
    """A crash between the two steps leaves an empty wallet."""
    regtest_node.rpc("createwallet", "empty", True, True)
    assert not document(create("empty", "--watch-only", RECEIVING, "--json"))["created"]
    assert regtest_node.rpc("getnewaddress", "", "bech32", wallet="empty")


def test_a_watch_only_wallet_gets_a_later_change_descriptor(
    regtest_node: RegtestNode, create: Callable[..., Result]
) -> None:
    """Without it, the wallet would count the money that is spent to change as lost."""
    create("later", "--watch-only", RECEIVING)
    given = {regtest_node.rpc("getnewaddress", "", "bech32", wallet="later") for _ in range(3)}
    both = ("later", "--watch-only", RECEIVING, "--change-descriptor", CHANGE, "--json")
    assert not document(create(*both))["created"]
    assert regtest_node.rpc("getrawchangeaddress", "bech32", wallet="later")
    assert not document(create(*both))["created"]
    assert len(regtest_node.rpc("listdescriptors", wallet="later")["descriptors"]) == 2
    assert regtest_node.rpc("getnewaddress", "", "bech32", wallet="later") not in given


def test_a_watch_only_wallet_gets_the_second_path_of_its_descriptor(
    regtest_node: RegtestNode, create: Callable[..., Result]
) -> None:
    create("path", "--watch-only", RECEIVING)
    given = {regtest_node.rpc("getnewaddress", "", "bech32", wallet="path") for _ in range(3)}
    assert not document(create("path", "--watch-only", f"wpkh({XPUB}/<0;1>/*)", "--json"))["created"]
    assert regtest_node.rpc("getrawchangeaddress", "bech32", wallet="path")
    assert regtest_node.rpc("getnewaddress", "", "bech32", wallet="path") not in given


def test_without_the_cookie_the_error_has_the_command_to_run(
    create: Callable[..., Result], tmp_path: Path
) -> None:
    """Nodetill's RPC user may load a wallet, but not create one."""
    create("there")
    nowhere = {"BITCOIND_COOKIE_FILE": str(tmp_path / "nowhere")}
    assert "already" in create("there", **nowhere).output
    line = refusal(create("not there", **nowhere))
    assert "bitcoin-cli -rpcport=" in line
    assert "wallet_name='not there'" in line
    assert "disable_private_keys=true" in refusal(create("not", "--watch-only", RECEIVING, **nowhere))


def test_an_unreachable_bitcoind_is_reported_in_one_line(
    create: Callable[..., Result], tmp_path: Path
) -> None:
    """The line has the address, and never the password."""
    line = refusal(create("any", BITCOIND_RPC_URL="http://nodetill:s3cret@127.0.0.1:1"))
    assert "http://127.0.0.1:1 cannot be reached" in line
    assert "s3cret" not in line
    alone = {"BITCOIND_RPC_URL": "http://127.0.0.1:1", "BITCOIND_COOKIE_FILE": str(tmp_path / "nowhere")}
    assert "BITCOIND_COOKIE_FILE" in refusal(create("any", **alone))


def test_a_change_descriptor_alone_is_a_usage_error(create: Callable[..., Result]) -> None:
    """Only a watch-only wallet has a change descriptor."""
    assert create("any", "--change-descriptor", CHANGE).exit_code == 2
