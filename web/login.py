"""In and out of the operator's pages.

After a wrong password the next try has to wait, whichever process or thread it reaches. All browsers that
nobody has logged in with share one pause, so that guesses can't be made side by side; one that is known has
its own, so that guesses don't keep the operator out.
"""

import hashlib
import hmac
import math
import re
from datetime import timedelta
from http import HTTPStatus

import structlog

from models.operator import begin_attempt, begin_session, end_session, forgive
from web.access import is_inside
from web.answer import not_found
from web.call import Call
from web.content import Content
from web.operator_pages import operator_page, see_other
from web.pages import template
from web.session import (
    BROWSER,
    BROWSER_SECONDS,
    KNOWN,
    SESSION,
    SESSION_SECONDS,
    STRANGER,
    cookie,
    new_id,
    seal_of,
)

log = structlog.get_logger(__name__)

_PAGE = template("login.tpl")
_STRANGERS = "strangers"
_OUR_PATH = re.compile(r"(operator(/[A-Za-z0-9-]+)+(\.csv)?)?(\?[!-~]*)?", re.ASCII)


def show(call: Call) -> Content:
    """GET /operator/login: the form. `to` names the page that was asked for."""
    to = call.parameters().get("to", "")
    if is_inside(call):
        return see_other(_checked(to), call)
    # SameSite=Strict: a link in somebody's webmail comes without our cookies, though they are there.
    is_from_elsewhere = call.header("Sec-Fetch-Site") == "cross-site"
    return _form(call, to, is_from_elsewhere=is_from_elsewhere)


def enter(call: Call) -> Content:
    """POST /operator/login: in, or the form again: 403 for a wrong password, 429 before the pause is over."""
    visitor, settings = call.visitor, call.settings
    to = visitor.form.get("to", "")
    who = visitor.id if visitor.is_known else _STRANGERS
    with call.writers.transaction():
        wait = begin_attempt(who, call.now)
    if wait is not None:
        return _refused(call, to, HTTPStatus.TOO_MANY_REQUESTS, wait)
    if not _is_right(call, visitor.form.get("password", "")):
        log.warning("operator not let in", reason="wrong password", address=call.environ.get("REMOTE_ADDR"))
        return _refused(call, to, HTTPStatus.FORBIDDEN)
    session = new_id()
    with call.writers.transaction():
        forgive(who)
        begin_session(session, call.now, call.now + timedelta(seconds=SESSION_SECONDS))
    log.info("operator logged in", address=call.environ.get("REMOTE_ADDR"))
    seal = seal_of(call)
    return see_other(
        _checked(to),
        call,
        cookie(SESSION, seal.sealed(SESSION, session), SESSION_SECONDS, settings),
        cookie(BROWSER, seal.sealed(KNOWN, visitor.id), BROWSER_SECONDS, settings),
    )


def leave(call: Call) -> Content:
    """POST /operator/logout: the session is over, wherever its cookie may be."""
    with call.writers.transaction():
        end_session(call.visitor.id)
    log.info("operator logged out")
    return see_other("operator/login", call, cookie(SESSION, "", 0, call.settings))


def _form(call: Call, to: str, status: int = HTTPStatus.OK, **values: object) -> Content:
    visitor = call.visitor
    values = {"is_from_elsewhere": False, "fault": None, **values}
    page = operator_page(_PAGE, call, status=status, to=_checked(to), **values)
    kind = KNOWN if visitor.is_known else STRANGER
    ours = cookie(BROWSER, seal_of(call).sealed(kind, visitor.id), BROWSER_SECONDS, call.settings)
    return Content(page.status, page.body, page.content_type, page.headers, (ours,))


def _refused(call: Call, to: str, status: int, wait: timedelta | None = None) -> Content:
    if wait is None:
        return _form(call, to, status, fault="The password is wrong.")
    seconds = math.ceil(wait.total_seconds())
    fault = (
        f"A wrong password was tried just now. Wait {seconds} second{'s' * (seconds != 1)}, then try again."
    )
    page = _form(call, to, status, fault=fault)
    return Content(
        page.status,
        page.body,
        page.content_type,
        {**page.headers, "Retry-After": str(seconds)},
        page.cookies,
    )


def _checked(to: str) -> str:
    """A page of the operator's, or the first one: nobody is led to another site by our form."""
    return to if _OUR_PATH.fullmatch(to) else ""


def _is_right(call: Call, password: str) -> bool:
    expected = call.settings.operator_password
    if expected is None:
        raise not_found()
    # Of digests the time to compare tells nothing, not even a length.
    digests = (
        hashlib.sha256(text.encode(errors="surrogateescape")).digest()
        for text in (password, expected.reveal())
    )
    return hmac.compare_digest(*digests)
