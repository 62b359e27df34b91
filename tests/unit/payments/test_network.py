"""A test network is distinguished from real money, and each public network has an explorer."""

import pytest

from payments.network import (
    EXPLORERS,
    NETWORKS,
    PUBLIC_CHALLENGE,
    PUBLIC_FIRST_BLOCK,
    is_test_network,
    network_mark,
    network_of,
    transaction_url,
)

TXID = "ab" * 32
OWN = "https://explorer.example/{txid}"


@pytest.mark.parametrize(
    ("network", "address"),
    [
        ("main", f"https://mempool.space/tx/{TXID}"),
        ("testnet4", f"https://mempool.space/testnet4/tx/{TXID}"),
        ("signet", f"https://mempool.space/signet/tx/{TXID}"),
        ("test", f"https://mempool.space/testnet/tx/{TXID}"),
        ("custom-signet", None),
        ("regtest", None),
        (None, None),
        ("unknown", None),
    ],
)
def test_the_default_explorer_follows_the_network(network: str | None, address: str | None) -> None:
    """No public explorer has a regtest network."""
    assert transaction_url(TXID, network, None) == address


@pytest.mark.parametrize("network", [*NETWORKS, None])
def test_the_setting_wins_over_the_default(network: str | None) -> None:
    """The setting is an address, or the word off, which the settings return as an empty text."""
    assert transaction_url(TXID, network, OWN) == f"https://explorer.example/{TXID}"
    assert transaction_url(TXID, network, "") is None


@pytest.mark.parametrize(
    ("challenge", "first_block", "network"),
    [
        (PUBLIC_CHALLENGE, None, "signet"),
        ("51", None, "custom-signet"),
        ("51", PUBLIC_FIRST_BLOCK, "custom-signet"),
        (None, PUBLIC_FIRST_BLOCK, "signet"),
        (None, TXID, "custom-signet"),
        (None, None, "signet"),
    ],
)
def test_a_signet_is_named_by_its_challenge_or_its_first_block(
    challenge: str | None, first_block: str | None, network: str
) -> None:
    """bitcoind has the same name for all signets. Another chain keeps bitcoind's name."""
    assert network_of("signet", challenge, first_block) == network
    assert network_of("testnet4", challenge, first_block) == "testnet4"


def test_the_mark_has_the_name_that_people_use() -> None:
    assert network_mark("test") == "Test network (testnet3): not real money"
    assert network_mark("custom-signet") == "Test network (custom signet): not real money"
    assert network_mark("signet") == "Test network (signet): not real money"
    assert network_mark("main") is network_mark(None) is None


def test_only_the_main_network_has_real_money() -> None:
    """A network that is not known yet gets no mark."""
    assert [network for network in (*NETWORKS, None) if not is_test_network(network)] == ["main", None]
    assert set(EXPLORERS) < set(NETWORKS)
