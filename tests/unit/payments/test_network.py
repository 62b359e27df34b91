"""A test network is distinguished from real money, and each public network has an explorer."""

import pytest

from payments.network import EXPLORERS, NETWORKS, is_test_network, transaction_url

TXID = "ab" * 32
OWN = "https://explorer.example/{txid}"


@pytest.mark.parametrize(
    ("network", "address"),
    [
        ("main", f"https://mempool.space/tx/{TXID}"),
        ("testnet4", f"https://mempool.space/testnet4/tx/{TXID}"),
        ("signet", f"https://mempool.space/signet/tx/{TXID}"),
        ("test", f"https://mempool.space/testnet/tx/{TXID}"),
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


def test_only_the_main_network_has_real_money() -> None:
    """A network that is not known yet gets no mark."""
    assert [network for network in (*NETWORKS, None) if not is_test_network(network)] == ["main", None]
    assert set(EXPLORERS) < set(NETWORKS)
