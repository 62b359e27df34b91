"""Who may do what. Every call goes through one of these, and nothing else in web/ decides it."""

import hashlib
import hmac
import re
from http import HTTPStatus

from models.seller import Seller, seller_by_key_hash
from web.answer import Problem
from web.call import Environ

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


def check_seller(seller: Seller, seller_id: str) -> None:
    """A key acts for its seller alone. Raises Problem 403, whether or not there is another of that name."""
    if seller_id != seller.id:
        raise Problem(HTTPStatus.FORBIDDEN, "forbidden", f"this key acts for the seller {seller.id} alone")


def _seller_with(key: str) -> Seller | None:
    key_hash = hashlib.sha256(key.encode()).hexdigest()
    seller = seller_by_key_hash(key_hash)
    if seller is not None and hmac.compare_digest(seller.api_key_hash, key_hash):
        return seller
    return None


def _unauthorized(detail: str, challenge: str) -> Problem:
    return Problem(HTTPStatus.UNAUTHORIZED, "unauthorized", detail, headers={"WWW-Authenticate": challenge})
