"""Who may do what. Every call goes through one of these, and nothing else in web/ decides it."""

import hashlib
import hmac
import re
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from models.seller import Seller, seller_by_key_hash
from web.answer import Problem
from web.call import Environ

# What a proxy adds, and what a browser adds to what a page of somebody else's makes it send.
_PASSED_ON = re.compile(r"HTTP_(FORWARDED|X_FORWARDED_\w+|X_REAL_IP|VIA|ORIGIN)")
_BEARER = re.compile(r"bearer +([!-~]+)", re.IGNORECASE)


def anyone(_environ: Environ) -> Seller | None:
    """Open to the public."""
    return None


def key_holder(environ: Environ) -> Seller:
    """The seller whose API key came with the call. Raises Problem 401."""
    credentials = environ.get("HTTP_AUTHORIZATION", "")
    if not credentials:
        raise _unauthorized("this call needs the header Authorization: Bearer KEY", "Bearer")
    match = _BEARER.fullmatch(credentials)
    seller = _seller_with(match[1]) if match else None
    if seller is None:
        raise _unauthorized("no seller has this key", 'Bearer error="invalid_token"')
    return seller


def key_holder_or_neighbour(environ: Environ) -> Seller | None:
    """The seller whose key came with the call; None where none did and it was made on this machine.

    Raises Problem 401.
    """
    if environ.get("HTTP_AUTHORIZATION") or not _is_neighbour(environ):
        return key_holder(environ)
    return None


def check_seller(seller: Seller, seller_id: str) -> None:
    """A key acts for its seller alone. Raises Problem 403, whether or not there is another of that name."""
    if seller_id != seller.id:
        raise Problem(HTTPStatus.FORBIDDEN, "forbidden", f"this key acts for the seller {seller.id} alone")


def _is_neighbour(environ: Environ) -> bool:
    """Whether a program on this machine made the call itself, for itself.

    A proxy on this machine has a neighbour's address too. It gives itself away by a header, or by the name
    under which it was called.
    """
    is_passed_on = any(_PASSED_ON.fullmatch(name) for name in environ)
    return not is_passed_on and _is_loopback(environ["REMOTE_ADDR"]) and _is_called_locally(environ)


def _is_called_locally(environ: Environ) -> bool:
    try:
        name = urlsplit(f"//{environ.get('HTTP_HOST', '')}").hostname or "localhost"
    except ValueError:
        return False
    return name == "localhost" or name.endswith(".localhost") or _is_loopback(name)


def _is_loopback(address: str) -> bool:
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    return (mapped or ip).is_loopback


def _seller_with(key: str) -> Seller | None:
    key_hash = hashlib.sha256(key.encode()).hexdigest()
    seller = seller_by_key_hash(key_hash)
    if seller is not None and hmac.compare_digest(seller.api_key_hash, key_hash):
        return seller
    return None


def _unauthorized(detail: str, challenge: str) -> Problem:
    return Problem(HTTPStatus.UNAUTHORIZED, "unauthorized", detail, headers={"WWW-Authenticate": challenge})
