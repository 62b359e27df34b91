"""Who may do what. Every call goes through one of these, and nothing else in web/ decides it."""

import hashlib
import hmac
import math
import re
from base64 import b64decode
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

import structlog

from models.operator_session import begin_attempt, forgive, is_session, pause_left
from models.seller import Seller, seller_by_key_hash
from web.auth.cookies import BROWSER, KNOWN, SESSION, STRANGER, cookie_name, new_id, seal_of
from web.auth.cross_origin import check_same_origin
from web.http.request import Call, Environ, Visitor
from web.http.responses import Problem

log = structlog.get_logger(__name__)

# What a proxy adds.
_PASSED_ON = re.compile(r"HTTP_(FORWARDED|X_FORWARDED_\w+|X_REAL_IP|VIA)")
_BASIC = re.compile(r"basic +([A-Za-z0-9+/=]+)", re.IGNORECASE | re.ASCII)
_BEARER = re.compile(r"bearer +([!-~]+)", re.IGNORECASE)

_MONITORS = "monitors"
"""Whoever asks for figures by the password: they wait for each other after a wrong one."""


def anyone(_call: Call) -> None:
    """Open to the public."""


def key_holder(call: Call) -> Seller:
    """The seller whose API key came with the call. Raises Problem 401."""
    credentials = call.environ.get("HTTP_AUTHORIZATION", "")
    if not credentials:
        raise _unauthorized("this call needs the header Authorization: Bearer KEY", "Bearer")
    match = _BEARER.fullmatch(credentials)
    seller = _seller_with(match[1]) if match else None
    if seller is None:
        raise _unauthorized("no seller has this key", 'Bearer error="invalid_token"')
    return seller


def key_holder_or_neighbour(call: Call) -> Seller | None:
    """The seller whose key came with the call; None where none did and it was made on this machine.

    Raises Problem 401.
    """
    if call.environ.get("HTTP_AUTHORIZATION") or not _is_neighbour(call.environ):
        return key_holder(call)
    return None


def operator_or_neighbour(call: Call) -> None:
    """A program on this machine; or the operator, logged in, or by Basic under any name.

    Raises Problem 401, and 403 and 429 as `check_password` does.
    """
    if _is_neighbour(call.environ):
        return
    has_door = call.settings.operator_password is not None
    password = _basic_password(call)
    if has_door and password is not None:
        check_password(call, password, _MONITORS)
    elif not has_door or not is_inside(call):
        detail = "this call is answered to this machine alone, and to others with the operator's password"
        raise _unauthorized(detail, 'Basic realm="operator"')


def visitor(call: Call) -> Visitor:
    """Whoever stands at the operator's door. Raises Problem 404 where OPERATOR_PASSWORD opens none."""
    seal = seal_of(call)
    sealed = call.cookie(cookie_name(BROWSER, call.settings))
    known, stranger = seal.opened(KNOWN, sealed), seal.opened(STRANGER, sealed)
    return Visitor(known or stranger or new_id(), is_known=known is not None)


def visitor_form(call: Call) -> Visitor:
    """The same, who sends a form of ours. Raises Problem 403 for anybody else's form."""
    return _with_form(visitor(call), call)


def operator(call: Call) -> Visitor:
    """The operator, logged in. Raises Problem 401, or 404 as `visitor` does."""
    session = _session(call)
    if session is None:
        raise _unauthorized("log in first", 'Cookie realm="operator"')
    return Visitor(session, is_known=True)


def operator_form(call: Call) -> Visitor:
    """The same, who sends a form of ours. Raises Problem 403 for anybody else's form."""
    return _with_form(operator(call), call)


def check_password(call: Call, password: str, who: str) -> None:
    """The operator's password, tried by `who`: those of one name wait for each other after a wrong one.

    Raises Problem 403 for a wrong one, and 429 before the pause is over, without a look at the password.
    """
    # Who tries all the same must not keep the writers busy.
    wait = pause_left(who, call.now)
    if wait is None:
        with call.writers.transaction():
            wait = begin_attempt(who, call.now)
    if wait is not None:
        raise _too_soon(wait)
    if not _is_password(call, password):
        log.warning("operator not let in", reason="wrong password", address=call.environ.get("REMOTE_ADDR"))
        raise Problem(HTTPStatus.FORBIDDEN, "wrong-password", "The password is wrong.")
    with call.writers.transaction():
        forgive(who)


def pause_of(visitor: Visitor, call: Call) -> str:
    """Whose pause a visitor waits for after a wrong password, so that guessing keeps no operator out.

    A browser that is known has its own; the rest share one, and on this machine (or through SSH) another.
    """
    if visitor.is_known:
        return visitor.id
    return "neighbours" if _is_from_here(call.environ) else "strangers"


def is_inside(call: Call) -> bool:
    """Whether the operator calls, logged in. Raises Problem 404 as `visitor` does."""
    return _session(call) is not None


def check_seller(seller: Seller, seller_id: str) -> None:
    """A key acts for its seller alone. Raises Problem 403, whether or not there is another of that name."""
    if seller_id != seller.id:
        raise Problem(HTTPStatus.FORBIDDEN, "forbidden", f"this key acts for the seller {seller.id} alone")


def _is_password(call: Call, password: str) -> bool:
    expected = call.settings.operator_password
    if expected is None:
        return False
    # Of digests the time to compare tells nothing, not even a length.
    pair = (text.encode(errors="surrogateescape") for text in (password, expected.reveal()))
    return hmac.compare_digest(*(hashlib.sha256(text).digest() for text in pair))


def _basic_password(call: Call) -> str | None:
    match = _BASIC.fullmatch(call.header("Authorization") or "")
    if match is None:
        return None
    try:
        return b64decode(match[1], validate=True).decode().partition(":")[2]
    except ValueError:
        return None


def _too_soon(wait: timedelta) -> Problem:
    seconds = math.ceil(wait.total_seconds())
    plural = "s" * (seconds != 1)
    detail = f"A wrong password was tried just now. Wait {seconds} second{plural}, then try again."
    headers = {"Retry-After": str(seconds)}
    return Problem(HTTPStatus.TOO_MANY_REQUESTS, "too-many-requests", detail, headers=headers)


def _session(call: Call) -> str | None:
    """The session that the call belongs to, if it lasts."""
    session = seal_of(call).opened(SESSION, call.cookie(cookie_name(SESSION, call.settings)))
    return session if session is not None and is_session(session, call.now) else None


def _with_form(who: Visitor, call: Call) -> Visitor:
    check_same_origin(call)
    return replace(who, form=call.form())


def _is_neighbour(environ: Environ) -> bool:
    """Whether a program on this machine made the call itself, for itself.

    A browser here may make it for a page of somebody else's: it says so by the header Origin.
    """
    return "HTTP_ORIGIN" not in environ and _is_from_here(environ)


def _is_from_here(environ: Environ) -> bool:
    """A proxy on this machine has its address too: it shows by a header, or by the name that was called."""
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
