"""Public identifiers and secrets: their random text, and the texts that can be one."""

import secrets
import string

_ALPHABET = string.digits + string.ascii_letters
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]


def is_searchable(text: str) -> bool:
    """Return whether a reference can be this text. PostgreSQL refuses a NUL and half a surrogate pair."""
    return text.isascii() and text.isprintable()


def random_text(pairs: int) -> str:
    """Return `pairs` pairs of random letters and digits. A pair has about 12 bits."""
    # One random number is faster than one for each character.
    number = secrets.randbelow(len(_PAIRS) ** pairs)
    found = []
    for _ in range(pairs):
        number, pair = divmod(number, len(_PAIRS))
        found.append(_PAIRS[pair])
    return "".join(found)
