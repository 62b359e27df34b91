"""The Bitcoin networks, by the names that bitcoind returns as `chain`. None stands for an unknown network.

A signet with a challenge of its own (BIP325) is another network than the public signet, though bitcoind
returns the same name for both, and both begin with the same genesis block. Its name here is `custom-signet`.
"""

from collections.abc import Mapping
from types import MappingProxyType

MAIN, TEST, TESTNET4, SIGNET, REGTEST = "main", "test", "testnet4", "signet", "regtest"
CUSTOM_SIGNET = "custom-signet"
NETWORKS = (MAIN, TEST, TESTNET4, SIGNET, CUSTOM_SIGNET, REGTEST)

PUBLIC_CHALLENGE = (
    "512103ad5e0edad18cb1f0fc0d28a3d4f1f3e445640337489abb10404f2d1e086be430"
    "210359ef5021964fe22d6f8e05b2463c9540ce96883fe3b278760f048f5189f2e6c452ae"
)
"""The challenge of the public signet (Bitcoin Core's chainparams.cpp), in hex."""

PUBLIC_FIRST_BLOCK = "00000086d6b2636cb2a392d45edc4ec544a10024d30141c9adf4bfd9de533b53"
"""The hash of block 1 of the public signet."""

LABELS: Mapping[str, str] = MappingProxyType({TEST: "testnet3", CUSTOM_SIGNET: "custom signet"})
"""The names for people, where they differ from bitcoind's."""

EXPLORERS: Mapping[str, str] = MappingProxyType(
    {
        MAIN: "https://mempool.space/tx/{txid}",
        TEST: "https://mempool.space/testnet/tx/{txid}",
        TESTNET4: "https://mempool.space/testnet4/tx/{txid}",
        SIGNET: "https://mempool.space/signet/tx/{txid}",
    }
)
"""The default of EXPLORER_URL. No public explorer has a regtest, or every custom signet."""


def network_of(chain: str, signet_challenge: str | None, first_block: str | None) -> str:
    """Return the name of the network on which bitcoind is.

    `chain` is bitcoind's name, `signet_challenge` is in hex, and `first_block` is the hash of block 1.
    Bitcoin Core returns the challenge from version 29 on. Without a challenge, block 1 shows the signet.
    """
    if chain != SIGNET:
        return chain
    if signet_challenge is not None:
        return SIGNET if signet_challenge == PUBLIC_CHALLENGE else CUSTOM_SIGNET
    return SIGNET if first_block in (None, PUBLIC_FIRST_BLOCK) else CUSTOM_SIGNET


def network_label(network: str) -> str:
    """Return the network's English name for people."""
    return LABELS.get(network, network)


def is_test_network(network: str | None) -> bool:
    """Return whether the network is known and its coins are not real money."""
    return network not in (None, MAIN)


def network_mark(network: str | None) -> str | None:
    """Return the English line that marks a test network, or None for another network."""
    if network is None or not is_test_network(network):
        return None
    return f"Test network ({network_label(network)}): not real money"


def transaction_url(txid: str, network: str | None, explorer_url: str | None) -> str | None:
    """Return the link to a transaction, or None where there is no explorer.

    `explorer_url` is the setting: a URL with {txid}, "" for no links, or None for the network's default.
    """
    template = EXPLORERS.get(network or "") if explorer_url is None else explorer_url
    return template.replace("{txid}", txid) if template else None
