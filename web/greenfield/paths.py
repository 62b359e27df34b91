"""The paths of BTCPay's Greenfield API, which clients spell in several ways.

BTCPay reads paths without regard to case. One client adds a slash at the end, and others send two slashes at
the beginning. A redirect is no answer to them, because they do not follow it.
"""

import re

_PREFIX = "/api/v1/"
_OFFERED = frozenset("stores invoices api-keys server health webhooks".split())
_FOREIGN = frozenset(
    "apps files lightning misc notifications payment-requests payouts plugins pull-payments translations "
    "users".split()
)
"""BTCPay's other areas. Nodetill offers none of their calls, and refuses them in BTCPay's form."""
_FIXED = frozenset("api-keys server".split())
"""The areas without ids in their paths."""
_LEADING_SLASHES = re.compile("^/+")


def spelled(path: str) -> str:
    """Return the spelling of a path in the table of routes. Paths outside this API stay as they are.

    Every second name of such a path is an id, and ids keep their case: /api/v1/stores/ID/invoices/ID.
    """
    names = _names(path)
    if names is None:
        return path
    area = names[0]
    return _PREFIX + "/".join(
        name.lower() if number % 2 == 0 or area in _FIXED else name for number, name in enumerate(names)
    )


def is_greenfield(path: str) -> bool:
    """Return whether a client of BTCPay's API means this path."""
    return _names(path) is not None


def _names(path: str) -> list[str] | None:
    """Return the names after the prefix, the first in lower case, or None for a path outside this API."""
    plain = _LEADING_SLASHES.sub("/", path).removesuffix("/")
    if not plain.lower().startswith(_PREFIX):
        return None
    area, *rest = plain[len(_PREFIX) :].split("/")
    return [area.lower(), *rest] if area.lower() in _OFFERED | _FOREIGN else None
