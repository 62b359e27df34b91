"""The paths of BTCPay's Greenfield API, which clients spell in several ways.

BTCPay ignores the case of paths. One client adds a slash at the end, and others send two slashes at the
beginning. Nodetill does not redirect them, because these clients follow no redirect.
"""

import re

_PREFIX = "/api/v1/"
_OFFERED = frozenset("stores invoices api-keys server health webhooks".split())
_FOREIGN = frozenset(
    "apps files lightning misc notifications payment-requests payouts plugins pull-payments translations "
    "users".split()
)
"""BTCPay's other areas. Nodetill offers none of their calls, and answers with an error in BTCPay's form."""
_FIXED = frozenset("api-keys server".split())
"""The areas that have no ids in their paths."""
_LEADING_SLASHES = re.compile("^/+")


def spelled(path: str) -> str:
    """Return a path as the table of routes spells it. Return a path outside this API unchanged.

    Every second name of a path is an id, and ids keep their case, as in /api/v1/stores/ID/invoices/ID.
    """
    names = _names(path)
    if names is None:
        return path
    area = names[0]
    return _PREFIX + "/".join(
        name.lower() if number % 2 == 0 or area in _FIXED else name for number, name in enumerate(names)
    )


def is_greenfield(path: str) -> bool:
    """Return whether this path belongs to BTCPay's API, in any spelling."""
    return _names(path) is not None


def _names(path: str) -> list[str] | None:
    """Return the names after the prefix, the first in lower case, or None for a path outside this API."""
    plain = _LEADING_SLASHES.sub("/", path).removesuffix("/")
    if not plain.lower().startswith(_PREFIX):
        return None
    area, *rest = plain[len(_PREFIX) :].split("/")
    return [area.lower(), *rest] if area.lower() in _OFFERED | _FOREIGN else None
