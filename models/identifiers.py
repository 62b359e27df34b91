"""Random text for public identifiers and secrets."""

import secrets
import string

_ALPHABET = string.digits + string.ascii_letters
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]


def random_text(pairs: int) -> str:
    """Return `pairs` pairs of random letters and digits. A pair has about 12 bits."""
    # One random number is faster than one for each character.
    number = secrets.randbelow(len(_PAIRS) ** pairs)
    found = []
    for _ in range(pairs):
        number, pair = divmod(number, len(_PAIRS))
        found.append(_PAIRS[pair])
    return "".join(found)
