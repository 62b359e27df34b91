"""The check of the key that an operator gives for a wallet: an output descriptor or an extended public key.

BIP 380 defines descriptors and their checksum, BIP 389 those with several branches, and SLIP 132 the prefixes
of extended keys. bitcoind parses the descriptor that this module returns, and derives its addresses.
"""

import re
from dataclasses import dataclass

from payments.extended_key import (
    BECH32,
    BECH32M,
    DESCRIPTORS,
    LEGACY,
    P2SH_SEGWIT,
    MalformedKey,
    read_extended_key,
)

FORMS = "wpkh(…), tr(…), sh(wpkh(…)), pkh(…) or wsh(sortedmulti(…))"
NO_KEY = (
    f"KEY is neither an extended public key (xpub, ypub, zpub, tpub, upub, vpub) nor a descriptor: {FORMS}"
)
PRIVATE = (
    "KEY has a private key in it, which Nodetill never needs: give the extended public key (xpub), "
    "or the descriptor with that. If others can read this screen, move the coins of that key"
)

_WORD = re.compile(r"[1-9A-HJ-NP-Za-km-z]+")
_EXTENDED_PRIVATE = re.compile(r"(?<![A-Za-z0-9])[a-zA-Z]prv[1-9A-HJ-NP-Za-km-z]{20}")
# A key in wallet import format: 51 characters on a 5 or 9, or 52 characters on K, L or c.
_WALLET_IMPORT = re.compile(
    r"(?<![A-Za-z0-9])(?:[59][1-9A-HJ-NP-Za-km-z]{50}|[KLc][1-9A-HJ-NP-Za-km-z]{51})(?![A-Za-z0-9])"
)
_EXTENDED_PUBLIC = re.compile(r"(?<![A-Za-z0-9])[a-zA-Z]pub[1-9A-HJ-NP-Za-km-z]{20,}")
_BRANCHES = re.compile(r"<([^<>;]*)(?:;[^<>;]*)+>")
_HARDENED_STEP = re.compile(r"pub[1-9A-HJ-NP-Za-km-z]{20,}/[^,(){}]*[hH']")
_TYPES = (
    (re.compile(r"(raw)?tr\("), BECH32M),
    (re.compile(r"w(pkh|sh)\("), BECH32),
    (re.compile(r"sh\(w(pkh|sh)\("), P2SH_SEGWIT),
    (re.compile(r"(pkh|sh)\("), LEGACY),
)

_CHARACTERS = (
    "0123456789()[],'/*abcdefgh@:$%{}IJKLMNOPQRSTUVWXYZ&+-.;<=>?!^_|~ijklmnopqrstuvwxyzABCDEFGH`#\"\\ "
)
_CHECKSUM_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0xF5DEE51989, 0xA9FDCA3312, 0x1BAB10E32D, 0x3706B1677A, 0x644D626FFD)


class UnusableKey(ValueError):
    """The key can't be the key of a wallet. The message has the reason and the cure, and never a secret."""


@dataclass(frozen=True, slots=True)
class WalletKey:
    """A descriptor without a checksum, whose addresses have this type.

    `is_guessed` is true where the prefix of the key gives the type, but many programs use it for all types.
    """

    descriptor: str
    address_type: str
    is_guessed: bool = False


def read_wallet_key(text: str, address_type: str | None, *, is_main: bool) -> WalletKey:
    """Return the receiving descriptor of an extended public key or a descriptor.

    `address_type` is the operator's choice, or None. `is_main` is true if bitcoind is on the main network.
    Raise UnusableKey.
    """
    text = text.strip()
    if _EXTENDED_PRIVATE.search(text) or _WALLET_IMPORT.search(text):
        raise UnusableKey(PRIVATE)
    if "(" not in text:
        return _of_extended_key(text, address_type, is_main=is_main)
    if address_type is not None:
        raise UnusableKey(
            "--type is for an extended public key. A descriptor has its type, so leave --type out"
        )
    plain = _with_plain_keys(_without_checksum(text), is_main=is_main)
    descriptor = _BRANCHES.sub(r"\1", plain)
    _refuse_unusable(descriptor)
    return WalletKey(descriptor, _type_of(descriptor))


def descriptor_checksum(descriptor: str) -> str:
    """Return the checksum that BIP 380 defines. Raise UnusableKey for a character that no descriptor has."""
    state, group, count = 1, 0, 0
    for character in descriptor:
        position = _CHARACTERS.find(character)
        if position < 0:
            raise UnusableKey("the descriptor has a character that no descriptor has")
        state = _polymod(state, position & 31)
        group, count = 3 * group + (position >> 5), count + 1
        if count == 3:
            state, group, count = _polymod(state, group), 0, 0
    if count:
        state = _polymod(state, group)
    for _ in range(8):
        state = _polymod(state, 0)
    state ^= 1
    return "".join(_CHECKSUM_ALPHABET[state >> 5 * (7 - place) & 31] for place in range(8))


def _polymod(state: int, value: int) -> int:
    top = state >> 35
    state = (state & 0x7FFFFFFFF) << 5 ^ value
    for bit, factor in enumerate(_GENERATOR):
        if top >> bit & 1:
            state ^= factor
    return state


def _of_extended_key(text: str, address_type: str | None, *, is_main: bool) -> WalletKey:
    if not _WORD.fullmatch(text) or len(text) < 100:
        raise UnusableKey(NO_KEY)
    try:
        key = read_extended_key(text)
    except MalformedKey as fault:
        raise UnusableKey(f"KEY {fault}") from fault
    _refuse_other_network(key.prefix.is_main, is_main=is_main)
    if key.prefix.address_type is None:
        raise UnusableKey(
            "KEY is one key of a wallet that needs several signatures: give the descriptor with all keys, "
            "wsh(sortedmulti(…)), as your wallet program exports it"
        )
    chosen = address_type or key.prefix.address_type
    is_guessed = address_type is None and key.prefix.address_type == LEGACY
    return WalletKey(DESCRIPTORS[chosen].format(key=key.plain), chosen, is_guessed)


def _without_checksum(text: str) -> str:
    """Return the descriptor. Raise UnusableKey where it has a wrong checksum."""
    descriptor, mark, given = text.partition("#")
    if mark and given != descriptor_checksum(descriptor):
        raise UnusableKey(
            "the checksum after # is not that of the descriptor: copy it again, or leave the checksum out"
        )
    return descriptor


def _with_plain_keys(descriptor: str, *, is_main: bool) -> str:
    """Return the descriptor with xpub or tpub as the prefix of each key. Raise UnusableKey."""

    def plain(match: re.Match[str]) -> str:
        try:
            key = read_extended_key(match[0])
        except MalformedKey as fault:
            raise UnusableKey(f"a key of the descriptor {fault}") from fault
        _refuse_other_network(key.prefix.is_main, is_main=is_main)
        return key.plain

    return _EXTENDED_PUBLIC.sub(plain, descriptor)


def _refuse_other_network(is_key_of_main: bool, *, is_main: bool) -> None:
    if is_key_of_main != is_main:
        key, node = ("main", "a test") if is_key_of_main else ("test", "the main")
        need = "xpub, ypub or zpub" if is_main else "tpub, upub or vpub"
        raise UnusableKey(
            f"KEY is a key of the {key} network, and bitcoind is on {node} network: give a key of that "
            f"network ({need}), or set BITCOIND_RPC_URL to the other bitcoind"
        )


def _refuse_unusable(descriptor: str) -> None:
    if "*h" in descriptor or "*'" in descriptor or "*H" in descriptor:
        raise UnusableKey(
            "the descriptor ends in a hardened step (*h or *'), which needs the private key: let it end in /*"
        )
    if _HARDENED_STEP.search(descriptor):
        raise UnusableKey(
            "the descriptor has a hardened step (h or ') after the key, which needs the private key: give "
            "the public key at the end of the hardened steps, as your wallet program exports the account"
        )
    if "*" not in descriptor:
        raise UnusableKey(
            "the descriptor has a fixed address: it must end in /*, to have an address for each payment"
        )


def _type_of(descriptor: str) -> str:
    found = next((kind for form, kind in _TYPES if form.match(descriptor)), None)
    if found is None:
        raise UnusableKey(f"Nodetill takes no descriptor of this form: give {FORMS}")
    return found
