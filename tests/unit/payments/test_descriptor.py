"""A wallet's key is read from a descriptor or an extended public key. No error repeats a secret."""

import pytest

from payments.descriptor import UnusableKey, WalletKey, descriptor_checksum, read_wallet_key
from payments.extended_key import base58check_decode, base58check_encode
from tests.unit.payments.test_extended_key import XPUB, ZPUB, with_prefix

TPUB, VPUB, UPUB = (with_prefix(XPUB, prefix) for prefix in ("043587cf", "045f1cf6", "044a5262"))
XPRV = (
    "xprv9s21ZrQH143K31xYSDQpPDxsXRTUcvj2iNHm5NUtrGiGG5e2DtALGdso3pGz6ssrdK4PFmM8NSpSBHNqPqm55Qn3LqFtT2emdEXVYsC"
    "zC2U"
)
WIF = "cVt4o7BGAig1UXywgGSmARhxMdzP5qvQsxKkSsc1XEkw3tDTQFpy"
SEED = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"


def read(text: str, address_type: str | None = None) -> WalletKey:
    return read_wallet_key(text, address_type, is_main=False)


# The vectors of BIP 380, and one of Bitcoin Core's doc/descriptors.md.
@pytest.mark.parametrize(
    ("descriptor", "checksum"),
    [
        ("raw(deadbeef)", "89f8spxm"),
        (
            "wpkh([d34db33f/84h/0h/0h]xpub6DJ2dNUysrn5Vt36jH2KLBT2i1auw1tTSSomg8PhqNiUtx8QX2SvC9nrHu81fT41fvDUnhMjEzQgXnQjKEu3oaqMSzhSrHMxyyoEAmUHQbY/0/*)",
            "cjjspncu",
        ),
    ],
)
def test_the_checksum_is_that_of_bip_380(descriptor: str, checksum: str) -> None:
    assert descriptor_checksum(descriptor) == checksum


@pytest.mark.parametrize(
    ("text", "address_type", "descriptor", "found"),
    [
        (VPUB, None, f"wpkh({TPUB}/0/*)", "bech32"),
        (UPUB, None, f"sh(wpkh({TPUB}/0/*))", "p2sh-segwit"),
        (TPUB, None, f"pkh({TPUB}/0/*)", "legacy"),
        (TPUB, "bech32", f"wpkh({TPUB}/0/*)", "bech32"),
        (TPUB, "bech32m", f"tr({TPUB}/0/*)", "bech32m"),
        (VPUB, "p2sh-segwit", f"sh(wpkh({TPUB}/0/*))", "p2sh-segwit"),
        (f" {VPUB}\n", None, f"wpkh({TPUB}/0/*)", "bech32"),
    ],
)
def test_an_extended_key_becomes_its_receiving_descriptor(
    text: str, address_type: str | None, descriptor: str, found: str
) -> None:
    """The prefix says the type, unless the operator says it."""
    key = read(text, address_type)
    assert (key.descriptor, key.address_type) == (descriptor, found)
    assert key.is_guessed == (text == TPUB and address_type is None)


@pytest.mark.parametrize(
    ("text", "descriptor", "found"),
    [
        (f"wpkh([d34db33f/84h/1h/0h]{TPUB}/0/*)", f"wpkh([d34db33f/84h/1h/0h]{TPUB}/0/*)", "bech32"),
        (f"wpkh({VPUB}/0/*)", f"wpkh({TPUB}/0/*)", "bech32"),
        (f"wpkh({TPUB}/<0;1>/*)", f"wpkh({TPUB}/0/*)", "bech32"),
        (f"tr({TPUB}/<0;1>/*)", f"tr({TPUB}/0/*)", "bech32m"),
        (f"pkh({TPUB}/0/*)", f"pkh({TPUB}/0/*)", "legacy"),
        (f"sh(wpkh({TPUB}/0/*))", f"sh(wpkh({TPUB}/0/*))", "p2sh-segwit"),
        (
            f"wsh(sortedmulti(1,{TPUB}/<0;1>/*,[d34db33f/48'/1'/0'/2']{VPUB}/<2;3>/*))",
            f"wsh(sortedmulti(1,{TPUB}/0/*,[d34db33f/48'/1'/0'/2']{TPUB}/2/*))",
            "bech32",
        ),
    ],
)
def test_a_descriptor_gives_its_receiving_branch_and_type(text: str, descriptor: str, found: str) -> None:
    """A correct checksum changes nothing, even where the descriptor has two branches (BIP 389)."""
    assert read(text) == WalletKey(descriptor, found)
    assert read(f"{text}#{descriptor_checksum(text)}") == WalletKey(descriptor, found)


CHECKED = f"wpkh({TPUB}/0/*)"


@pytest.mark.parametrize(
    ("text", "address_type", "reason"),
    [
        (XPRV, None, "private key"),
        (f"wpkh({XPRV}/0/*)", None, "private key"),
        (f"wpkh([d34db33f/84h]{XPRV[:-1]}/0/*)", None, "private key"),
        (with_prefix(XPRV, "04b2430c"), None, "private key"),
        (with_prefix(XPRV, "04358394"), None, "private key"),
        (WIF, None, "private key"),
        (f"wpkh({WIF})", None, "private key"),
        (SEED, None, "neither"),
        ("", None, "neither"),
        ("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", None, "neither"),
        (ZPUB, None, "key of the main network, and bitcoind is on a test network"),
        (f"wpkh({ZPUB}/0/*)", None, "key of the main network"),
        (VPUB[:-1], None, "checksum is wrong"),
        (f"wpkh({VPUB[:-1]}/0/*)", None, "checksum is wrong"),
        (with_prefix(XPUB, "02575483"), None, "several signatures"),
        (f"{CHECKED}#{descriptor_checksum(CHECKED)[:-1]}", None, "checksum after #"),
        (f"{CHECKED}#", None, "checksum after #"),
        (f"{CHECKED}#qqqqqqqq", None, "checksum after #"),
        (f"wpkh({TPUB}/0/0)", None, "fixed address"),
        (f"wpkh({TPUB})", None, "fixed address"),
        (f"wpkh({TPUB}/0/*h)", None, "ends in a hardened step"),
        (f"wpkh({TPUB}/0/*')", None, "ends in a hardened step"),
        (f"wpkh({TPUB}/0h/*)", None, "hardened step (h or ') after the key"),
        (f"wpkh([d34db33f]{TPUB}/84'/1'/0'/0/*)", None, "hardened step (h or ') after the key"),
        (f"combo({TPUB}/0/*)", None, "no descriptor of this form"),
        (f"pk({TPUB}/0/*)", None, "no descriptor of this form"),
        (f"wpkh({TPUB}/0/*)", "bech32", "leave --type out"),
        (f"wpkh({TPUB}/0/*)#é", None, "checksum after #"),
        (f"wpkh(é{TPUB}/0/*)#qqqqqqqq", None, "character"),
    ],
)
def test_an_unusable_key_is_refused_without_repeating_it(
    text: str, address_type: str | None, reason: str
) -> None:
    with pytest.raises(UnusableKey) as caught:
        read(text, address_type)
    message = str(caught.value)
    assert reason in message
    for secret in (XPRV, WIF, SEED, "abandon"):
        assert secret not in message


def test_a_test_networks_key_is_refused_on_the_main_network() -> None:
    with pytest.raises(UnusableKey, match="key of the test network, and bitcoind is on the main network"):
        read_wallet_key(VPUB, None, is_main=True)
    assert read_wallet_key(ZPUB, None, is_main=True).descriptor.startswith("wpkh(xpub")
    assert base58check_encode(base58check_decode(ZPUB)) == ZPUB
