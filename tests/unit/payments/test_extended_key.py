"""Extended public keys are read with every prefix of SLIP 132, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.extended_key import (
    BECH32,
    LEGACY,
    P2SH_SEGWIT,
    PUBLIC,
    MalformedKey,
    base58check_decode,
    base58check_encode,
    read_extended_key,
)

# The account key of BIP 84's test vectors, and the same key with the usual prefix.
ZPUB = (
    "zpub6rFR7y4Q2AijBEqTUquhVz398htDFrtymD9xYYfG1m4wAcvPhXNfE3EfH1r1ADqtfSdVCToUG868RvUUkgDKf31mGDtKsAYz2oz2"
    "AGutZYs"
)
# BIP 32's second test vector.
XPUB = (
    "xpub661MyMwAqRbcFW31YEwpkMuc5THy2PSt5bDMsktWQcFF8syAmRUapSCGu8ED9W6oDMSgv6Zz8idoc4a6mr8BDzTJY47LJhkJ8UB7"
    "WEGuduB"
)


def with_prefix(key: str, prefix: str) -> str:
    return base58check_encode(bytes.fromhex(prefix) + base58check_decode(key)[4:])


def test_a_key_is_translated_to_the_prefix_of_descriptors() -> None:
    """The rest of the key stays as it is."""
    key = read_extended_key(ZPUB)
    assert key.plain.startswith("xpub")
    assert base58check_decode(key.plain)[4:] == base58check_decode(ZPUB)[4:]
    assert read_extended_key(XPUB).plain == XPUB


@pytest.mark.parametrize(
    ("shown", "is_main", "address_type"),
    [
        ("xpub", True, LEGACY),
        ("ypub", True, P2SH_SEGWIT),
        ("zpub", True, BECH32),
        ("Ypub", True, None),
        ("Zpub", True, None),
        ("tpub", False, LEGACY),
        ("upub", False, P2SH_SEGWIT),
        ("vpub", False, BECH32),
        ("Upub", False, None),
        ("Vpub", False, None),
    ],
)
def test_each_prefix_has_its_network_and_type(shown: str, is_main: bool, address_type: str | None) -> None:
    """The first four characters follow from the prefix's bytes."""
    [prefix] = [p for p in PUBLIC if with_prefix(XPUB, p.hex()).startswith(shown)]
    assert (PUBLIC[prefix].is_main, PUBLIC[prefix].address_type) == (is_main, address_type)


@pytest.mark.parametrize(
    "text", ["", "1", "xpub", ZPUB[:-1], ZPUB[:-1] + "t", f"{ZPUB}1", ZPUB.replace("z", "0"), "ü", "é" * 111]
)
def test_anything_else_is_malformed(text: str) -> None:
    with pytest.raises(MalformedKey) as caught:
        read_extended_key(text)
    assert not text or len(text) < 10 or text not in str(caught.value)


@given(st.binary(max_size=90))
def test_base58check_is_reversible(payload: bytes) -> None:
    """Leading zeros stay."""
    assert base58check_decode(base58check_encode(payload)) == payload
