"""Access control. Each route names one of these functions, and no other module in web/ decides on access."""

import hashlib
import hmac
import math
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import cache
from http import HTTPStatus

import structlog

from config import Secret, Settings
from models.api_key import hash_of, is_use_to_note, key_holder, note_use
from models.operator_session import (
    CROWD_PAUSE,
    clear_failures,
    is_crowded,
    record_failed_login,
    reserve_attempt,
    retry_after,
    session_exists,
)
from models.seller import Seller
from payments.greenfield.permissions import allows
from web.auth.cookies import BROWSER, KNOWN, SESSION, STRANGER, cookie_name, new_id, signer_of
from web.auth.cross_origin import check_same_origin
from web.auth.origin import client_address, is_from_this_machine, is_reported_by_front
from web.http.client_network import client_network
from web.http.request import BrowserSession, Environ, KeyHolder, Request
from web.http.responses import Problem

log = structlog.get_logger(__name__)

_BEARER = re.compile(r"bearer +([!-~]+)", re.IGNORECASE)
_KEY = re.compile(r"(?:bearer|token) +([!-~]+)", re.IGNORECASE)
"""`token` is the scheme of BTCPay's clients."""


def allow_anonymous(_call: Request) -> None:
    """Admit everybody."""


@cache
def require_key(policy: str) -> Callable[[Request], KeyHolder]:
    """Return the access for calls whose API key has this permission (payments/greenfield/permissions.py).

    The access raises Problem 401 without a key that works, and 403 if the key lacks the permission.
    """

    def access(request: Request) -> KeyHolder:
        return _with_permission(_key_holder(request), policy)

    return access


def require_any_key(request: Request) -> KeyHolder:
    """Return the caller by its key, which needs no permission. Raise Problem 401."""
    return _key_holder(request)


@cache
def require_key_or_local(policy: str) -> Callable[[Request], KeyHolder | None]:
    """Return the access for calls with such a key, and for programs on this machine without a key.

    The access returns None for the latter. It raises Problem 401 and 403.
    """

    def access(request: Request) -> KeyHolder | None:
        has_key = bool(request.environ.get("HTTP_AUTHORIZATION"))
        if has_key or not is_from_this_machine(request.environ, request.settings):
            return _with_permission(_key_holder(request), policy)
        return None

    return access


def check_permission(holder: KeyHolder, policy: str) -> None:
    """Raise Problem 403 unless the key has this permission."""
    if not allows(holder.api_key.permissions, policy):
        detail = (
            f"this key ({holder.api_key.reference}) lacks the permission {policy}; "
            "the operator can make a key that has it"
        )
        members = {"missing_permission": policy}
        raise Problem(HTTPStatus.FORBIDDEN, "missing-permission", detail, members=members)


def require_local_or_operator(request: Request) -> None:
    """Admit a monitor with METRICS_TOKEN, the operator who is logged in, and programs on this machine.

    Raise Problem 401.
    """
    if not may_see_details(request):
        detail = "this call needs the header Authorization: Bearer METRICS_TOKEN, or the operator's login"
        raise _unauthorized(detail, "Bearer")


def may_see_details(request: Request) -> bool:
    """Return whether the caller may read the figures and problems of this installation."""
    has_cookie = request.cookie(cookie_name(SESSION, request.settings)) is not None
    is_operator = has_cookie and request.settings.operator_password is not None and is_logged_in(request)
    return is_operator or is_monitor(request.environ, request.settings)


def is_monitor(environ: Environ, settings: Settings) -> bool:
    """Return whether the call has METRICS_TOKEN, or a program on this machine made it."""
    match = _BEARER.fullmatch(environ.get("HTTP_AUTHORIZATION", ""))
    has_token = match is not None and _is_secret(match[1], settings.metrics_token)
    return has_token or is_from_this_machine(environ, settings)


def browser_session(request: Request) -> BrowserSession:
    """Return the browser that visits the login page. Raise Problem 404 without OPERATOR_PASSWORD."""
    signer = signer_of(request)
    signed = request.cookie(cookie_name(BROWSER, request.settings))
    known, stranger = signer.unsign(KNOWN, signed), signer.unsign(STRANGER, signed)
    return BrowserSession(known or stranger or new_id(), is_known=known is not None)


def browser_session_form(request: Request) -> BrowserSession:
    """Return the same as `browser_session`, with the form. Raise Problem 403 for a form of another site."""
    return _with_form(browser_session(request), request)


def operator(request: Request) -> BrowserSession:
    """Return the operator's session. Raise Problem 401, or 404 as `browser_session` does."""
    session = _session(request)
    if session is None:
        raise _unauthorized("log in first", 'Cookie realm="operator"')
    return BrowserSession(session, is_known=True)


def first_page(request: Request) -> BrowserSession | None:
    """Return the operator's session, or None for a visitor of the bare first page.

    Raise Problem 401 for a visitor of a filtered list, which only the operator uses.
    """
    if request.settings.operator_password is None:
        return None
    if request.environ.get("QUERY_STRING"):
        return operator(request)
    session = _session(request)
    return None if session is None else BrowserSession(session, is_known=True)


def operator_form(request: Request) -> BrowserSession:
    """Return the same as `operator`, with the form. Raise Problem 403 for a form of another site."""
    return _with_form(operator(request), request)


def connecting_operator(request: Request) -> BrowserSession:
    """Return the same as `operator`, for the page that a shop's plug-in opens.

    Raise Problem 403 without OPERATOR_PASSWORD, because 404 would not help the merchant.
    """
    if request.settings.operator_password is None:
        detail = (
            "this page needs the operator's login: set OPERATOR_PASSWORD and start the web server again, or "
            "make a key with manage.py key add, and enter it in your shop"
        )
        raise Problem(HTTPStatus.FORBIDDEN, "no-operator-page", detail)
    return operator(request)


def connecting_operator_form(request: Request) -> BrowserSession:
    """Return the same as `connecting_operator`, with the form. Raise Problem 403 as `operator_form` does."""
    return _with_form(connecting_operator(request), request)


def check_password(request: Request, password: str) -> None:
    """Check the operator's password. After a wrong password, only the same client has to wait.

    Raise Problem 403 for a wrong password. Raise Problem 429 during the pause, without a comparison.
    """
    address = client_address(request.environ)
    client = request.session.id if request.session.is_known else client_network(address)
    # An attempt during the pause must not take the write lock.
    wait = retry_after(client, request.now) or _crowd_pause(request)
    if wait is None:
        with request.writers.transaction():
            wait = reserve_attempt(client, request.now)
    if wait is not None:
        raise _too_soon(wait)
    if not _is_secret(password, request.settings.operator_password):
        with request.writers.transaction():
            record_failed_login(address, request.now)
        log.warning("operator not let in", reason="wrong password", address=address)
        raise Problem(HTTPStatus.FORBIDDEN, "wrong-password", "The password is wrong.")
    with request.writers.transaction():
        clear_failures(client)


def _crowd_pause(request: Request) -> timedelta | None:
    """Return the pause that applies while many clients fail, or None.

    A client behind a plain TCP forwarder can write X-Forwarded-For itself, and so appear as many clients. A
    browser in which the operator has logged in before does not wait.
    """
    if request.session.is_known or not is_reported_by_front(request.environ):
        return None
    return CROWD_PAUSE if is_crowded(request.now) else None


def is_logged_in(request: Request) -> bool:
    """Return whether the operator is logged in. Raise Problem 404 as `browser_session` does."""
    return _session(request) is not None


def check_seller(seller: Seller, seller_id: str) -> None:
    """Raise Problem 403 unless the key belongs to `seller_id`.

    The problem does not reveal whether a seller of that name exists.
    """
    if seller_id != seller.id:
        raise Problem(HTTPStatus.FORBIDDEN, "forbidden", f"this key acts only for the seller {seller.id}")


def check_store(holder: KeyHolder, store: str, policy: str) -> None:
    """Raise Problem 403 unless the key belongs to this store, which is the seller's id.

    The problem is the same for another seller's store and for an unknown store.
    """
    if store != holder.seller.id:
        raise no_access(policy)


def no_access(policy: str) -> Problem:
    """Return 403 for an object that is not the caller's, in the form of a missing permission."""
    detail = f"this key has no permission {policy} here; it acts for one store, which api-keys/current names"
    return Problem(HTTPStatus.FORBIDDEN, "missing-permission", detail, members={"missing_permission": policy})


def _is_secret(text: str, secret: Secret | None) -> bool:
    if secret is None:
        return False
    # The time to compare digests reveals neither content nor length.
    pair = (each.encode(errors="surrogateescape") for each in (text, secret.reveal()))
    return hmac.compare_digest(*(hashlib.sha256(each).digest() for each in pair))


def _too_soon(wait: timedelta) -> Problem:
    seconds = math.ceil(wait.total_seconds())
    plural = "s" * (seconds != 1)
    detail = f"A wrong password was tried just now. Wait {seconds} second{plural}, then try again."
    headers = {"Retry-After": str(seconds)}
    return Problem(HTTPStatus.TOO_MANY_REQUESTS, "too-many-requests", detail, headers=headers)


def _session(request: Request) -> str | None:
    """Return the id of the call's session, or None without a valid session."""
    session = signer_of(request).unsign(SESSION, request.cookie(cookie_name(SESSION, request.settings)))
    return session if session is not None and session_exists(session, request.now) else None


def _with_form(session: BrowserSession, request: Request) -> BrowserSession:
    check_same_origin(request)
    return replace(session, form=request.form())


def _key_holder(request: Request) -> KeyHolder:
    """Return the caller by its key, and store the time of this use. Raise Problem 401."""
    credentials = request.environ.get("HTTP_AUTHORIZATION", "")
    if not credentials:
        raise _unauthorized("this call needs the header Authorization: Bearer KEY", "Bearer")
    match = _KEY.fullmatch(credentials)
    holder = _holder_of(match[1], request) if match else None
    if holder is None:
        raise _unauthorized("this key is invalid", 'Bearer error="invalid_token"')
    return holder


def _holder_of(key: str, request: Request) -> KeyHolder | None:
    key_hash = hash_of(key)
    found = key_holder(key_hash, request.now)
    if found is None or not hmac.compare_digest(found.key_hash, key_hash):
        return None
    if is_use_to_note(found, request.now):
        request.writers.run_if_free(lambda: note_use(found, request.now))
    return KeyHolder(found, key)


def _with_permission(holder: KeyHolder, policy: str) -> KeyHolder:
    check_permission(holder, policy)
    return holder


def _unauthorized(detail: str, challenge: str) -> Problem:
    return Problem(HTTPStatus.UNAUTHORIZED, "unauthorized", detail, headers={"WWW-Authenticate": challenge})
