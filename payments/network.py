"""The Bitcoin networks, by the names that bitcoind returns as `chain`. None stands for an unknown network."""

from collections.abc import Mapping
from types import MappingProxyType

MAIN, TEST, TESTNET4, SIGNET, REGTEST = "main", "test", "testnet4", "signet", "regtest"
NETWORKS = (MAIN, TEST, TESTNET4, SIGNET, REGTEST)

EXPLORERS: Mapping[str, str] = MappingProxyType(
    {
        MAIN: "https://mempool.space/tx/{txid}",
        TEST: "https://mempool.space/testnet/tx/{txid}",
        TESTNET4: "https://mempool.space/testnet4/tx/{txid}",
        SIGNET: "https://mempool.space/signet/tx/{txid}",
    }
)
"""The default of EXPLORER_URL. No public explorer has the transactions of a regtest network."""


def is_test_network(network: str | None) -> bool:
    """Return whether the network is known and its coins are not real money."""
    return network not in (None, MAIN)


def network_mark(network: str | None) -> str | None:
    """Return the English line that marks a test network, or None for another network."""
    return f"Test network ({network}): not real money" if is_test_network(network) else None


def transaction_url(txid: str, network: str | None, explorer_url: str | None) -> str | None:
    """Return the link to a transaction, or None where there is no explorer.

    `explorer_url` is the setting: a URL with {txid}, "" for no links, or None for the network's default.
    """
    template = EXPLORERS.get(network or "") if explorer_url is None else explorer_url
    return template.replace("{txid}", txid) if template else None
