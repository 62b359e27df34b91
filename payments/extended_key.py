"""Extended keys (BIP 32) as wallet programs show them, with the prefixes of SLIP 132.

This module translates prefixes, and does no elliptic-curve arithmetic. bitcoind derives all addresses.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
CHECKSUM_BYTES, EXTENDED_KEY_BYTES = 4, 78

BECH32, BECH32M, P2SH_SEGWIT, LEGACY = "bech32", "bech32m", "p2sh-segwit", "legacy"
ADDRESS_TYPES = (BECH32, BECH32M, P2SH_SEGWIT, LEGACY)

DESCRIPTORS: Mapping[str, str] = MappingProxyType(
    {
        BECH32: "wpkh({key}/0/*)",
        BECH32M: "tr({key}/0/*)",
        P2SH_SEGWIT: "sh(wpkh({key}/0/*))",
        LEGACY: "pkh({key}/0/*)",
    }
)
"""The receiving descriptor of an account's key, by the type of its addresses (BIP 44, 49, 84 and 86)."""

_XPUB, _TPUB = bytes.fromhex("0488b21e"), bytes.fromhex("043587cf")


@dataclass(frozen=True, slots=True)
class Prefix:
    """The meaning of the first four bytes of an extended public key.

    `address_type` is None for one key of several, because such a key alone makes no address.
    """

    is_main: bool
    address_type: str | None


PUBLIC: Mapping[bytes, Prefix] = MappingProxyType(
    {
        _XPUB: Prefix(True, LEGACY),
        bytes.fromhex("049d7cb2"): Prefix(True, P2SH_SEGWIT),
        bytes.fromhex("04b24746"): Prefix(True, BECH32),
        bytes.fromhex("0295b43f"): Prefix(True, None),
        bytes.fromhex("02aa7ed3"): Prefix(True, None),
        _TPUB: Prefix(False, LEGACY),
        bytes.fromhex("044a5262"): Prefix(False, P2SH_SEGWIT),
        bytes.fromhex("045f1cf6"): Prefix(False, BECH32),
        bytes.fromhex("024289ef"): Prefix(False, None),
        bytes.fromhex("02575483"): Prefix(False, None),
    }
)
"""SLIP 132: xpub, ypub, zpub, Ypub, Zpub on the main network; tpub, upub, vpub, Upub, Vpub on others."""


class MalformedKey(ValueError):
    """The text is no extended public key. The message never contains the text."""


@dataclass(frozen=True, slots=True)
class ExtendedKey:
    """An extended public key. `plain` is the same key with the prefix of descriptors, xpub or tpub."""

    prefix: Prefix
    plain: str


def read_extended_key(text: str) -> ExtendedKey:
    """Return the extended public key. Raise MalformedKey for any other text."""
    payload = base58check_decode(text)
    prefix = PUBLIC.get(payload[:4])
    if len(payload) != EXTENDED_KEY_BYTES or prefix is None:
        raise MalformedKey("is no extended public key (xpub, ypub, zpub, tpub, upub or vpub)")
    version = _XPUB if prefix.is_main else _TPUB
    return ExtendedKey(prefix, base58check_encode(version + payload[4:]))


def base58check_decode(text: str) -> bytes:
    """Return the payload without its checksum. Raise MalformedKey where a character is wrong or missing."""
    number = 0
    for character in text:
        digit = ALPHABET.find(character)
        if digit < 0:
            raise MalformedKey("has a character that no key has")
        number = 58 * number + digit
    zeros = len(text) - len(text.lstrip(ALPHABET[0]))
    raw = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8)
    payload, checksum = raw[:-CHECKSUM_BYTES], raw[-CHECKSUM_BYTES:]
    if _checksum(payload) != checksum:
        raise MalformedKey("has a typing error, because its checksum is wrong")
    return payload


def base58check_encode(payload: bytes) -> str:
    """Return the payload and its checksum as base58."""
    raw = payload + _checksum(payload)
    number, digits = int.from_bytes(raw), ""
    while number:
        number, digit = divmod(number, 58)
        digits = ALPHABET[digit] + digits
    return ALPHABET[0] * (len(raw) - len(raw.lstrip(b"\0"))) + digits


def _checksum(payload: bytes) -> bytes:
    return sha256(sha256(payload).digest()).digest()[:CHECKSUM_BYTES]
